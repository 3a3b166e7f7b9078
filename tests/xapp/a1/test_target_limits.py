"""Limits that follow from targets hold whatever the weights say: many decisions, counted by a checker of its own.

The checker knows what an RBG carries and what was asked for; what follows from that it works out by itself.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from limit_checker import Share, violations
from slice_checker import SliceLimits
from slice_checker import violations as slice_violations

from policy.allocation import Allocation
from policy.cell_state import CellState, make_cell_state
from policy.grammar import LAB, Grammar, compile_grammar
from policy.intent import Intent, SliceLimit, Target
from xapp.a1.target_keeper import TargetKeeper
from xapp.quotas.allocation_to_quota import Quota, QuotaRules
from xapp.quotas.slice_ratios import slice_targets

DECISIONS = int(os.environ.get("STACKMAC_SLICE_DECISIONS", "4000"))
"""docs/ccc.md has the command for 100 000."""
DECISIONS_A_CELL = 40
LARGEST_PERCENT = 70.0
K = 100
OWN = Quota(0, 100, 0)


class Asked(NamedTuple):
    """One target, and what an RBG of its UEs carries."""

    target: Target
    kbps_per_rbg: float
    hard_cap_percent: float = 100.0
    """The operator's own beside it."""

    def share(self, num_rbgs: int) -> Share:
        """What the UEs must own at least, and may hold at most."""
        least, most = self.target.min_kbps or 0.0, self.target.max_kbps
        ceiling = 100.0 if most is None else max(100.0, 100.0 * most / self.kbps_per_rbg) / num_rbgs
        return Share(
            self.target.ue_ids, 100.0 * least / self.kbps_per_rbg / num_rbgs, min(ceiling, self.hard_cap_percent)
        )

    def used_share(self, num_rbgs: int) -> float:
        """Of the cell, when exactly what is asked for is served."""
        kbps = self.target.min_kbps or self.target.max_kbps or 0.0
        return kbps / self.kbps_per_rbg / num_rbgs


def random_cell(rng: np.random.Generator) -> tuple[int, int, list[Asked]]:
    """RBGs, UEs 1, 2, ..., and what is asked for: floors that can all hold, of two slices and of a UE in neither."""
    num_rbgs, num_ues = int(rng.integers(6, 13)), int(rng.integers(3, 7))
    left = int(LARGEST_PERCENT / 100.0 * num_rbgs)
    middle = int(rng.integers(2, num_ues))
    groups = [("1", range(1, middle)), ("2", range(middle, num_ues)), ("", range(num_ues, num_ues + 1))]
    asked = []
    for name, ues in groups:
        kbps_per_rbg = float(rng.uniform(50.0, 3000.0))
        least = int(rng.integers(0, left + 1)) if rng.random() < 0.7 else 0
        left -= least
        most = int(rng.integers(max(1, least), num_rbgs + 1)) if rng.random() < 0.6 else 0
        # A tenth more than the floor is whole RBGs less a part of one; a ceiling is whole ones and a part.
        values: dict[str, Any] = {
            "min_kbps": (least - rng.uniform(0.1, 0.9)) * kbps_per_rbg / 1.1 if least else None,
            "max_kbps": (most + rng.uniform(0.0, 0.9)) * kbps_per_rbg if most else None,
        }
        if values["min_kbps"] is None and values["max_kbps"] is None:
            continue
        hard_cap = 100.0 * int(rng.integers(max(1, least), num_rbgs + 1)) / num_rbgs if rng.random() < 0.3 else 100.0
        of = f"slice {name}" if name else f"UE {num_ues}"
        asked.append(Asked(Target("p", of, frozenset(ues), name, **values), kbps_per_rbg, hard_cap))
    return num_rbgs, num_ues, asked


def intent_of(asked: list[Asked]) -> Intent:
    """As policies are compiled: the slices and their targets, with the operator's own limits."""
    slices = [each for each in asked if each.target.slice_name]
    return Intent(
        slice_limits=tuple(
            SliceLimit(each.target.slice_name, each.target.ue_ids, 0.0, each.hard_cap_percent) for each in slices
        ),
        max_share_percent={
            min(each.target.ue_ids): each.hard_cap_percent
            for each in asked
            if not each.target.slice_name and each.hard_cap_percent < 100.0
        },
        targets=tuple(each.target for each in asked),
    )


def measured(num_rbgs: int, num_ues: int, asked: list[Asked], period: int) -> CellState:
    served_U, share_U = np.zeros(num_ues), np.zeros(num_ues)
    for each in asked:
        rows, share = [ue - 1 for ue in each.target.ue_ids], each.used_share(num_rbgs)
        share_U[rows] = share / len(rows)
        served_U[rows] = share * num_rbgs * each.kbps_per_rbg / len(rows)
    ues = tuple(range(1, num_ues + 1))
    return make_cell_state(
        "c", num_rbgs=num_rbgs, slots_per_dcm=K, slot=K * period, ue_ids=ues,
        buffer_bits_U=np.full(num_ues, 4000.0), served_bits_per_slot_U=served_U, prb_share_U=share_U,
    )  # fmt: skip


def speak(rng: np.random.Generator, grammar: Grammar) -> Allocation:
    """A DCM as a model of random weights would say it: at each step the likeliest of the tokens that are allowed."""
    cursor = grammar.start()
    while not cursor.done:
        cursor.advance(int(np.where(cursor.mask(), rng.standard_normal(grammar.num_actions), -np.inf).argmax()))
    return cursor.allocation()


def acted_on(num_rbgs: int, num_ues: int, asked: list[Asked], periods: int) -> tuple[CellState, Intent]:
    """The newest state and intent, after so many periods in which what is asked for was served."""
    keeper, intent = TargetKeeper(LARGEST_PERCENT), intent_of(asked)
    for period in range(periods):
        state = measured(num_rbgs, num_ues, asked, period)
        keeper.on_decided(state, keeper.with_limits(intent, state))
    return state, keeper.with_limits(intent, state)


def test_limits_that_follow_from_targets_are_broken_by_no_decision_of_random_weights() -> None:
    rng, decided, broken, asked_for = np.random.default_rng(2026), 0, [], 0
    while decided < DECISIONS:
        num_rbgs, num_ues, asked = random_cell(rng)
        state, intent = acted_on(num_rbgs, num_ues, asked, int(rng.integers(2, 25)))
        grammar = compile_grammar(state, intent, LAB)
        assert grammar.limits.not_enforced == ()
        shares = [each.share(num_rbgs) for each in asked]
        for _ in range(DECISIONS_A_CELL):
            broken += violations(shares, speak(rng, grammar))
            decided += 1
        broken += broken_at_a_node_of_slices(asked, state, intent)
        asked_for += len(asked)
    assert broken == []
    assert asked_for > 1.5 * DECISIONS / DECISIONS_A_CELL


def broken_at_a_node_of_slices(asked: list[Asked], state: CellState, intent: Intent) -> list[str]:
    before = {each.target.slice_name: OWN for each in asked if each.target.slice_name}
    quotas = {name: tuple(each.quota) for name, each in slice_targets(before, state, intent, QuotaRules()).items()}
    shares = {each.target.slice_name: each.share(state.num_rbgs) for each in asked if each.target.slice_name}
    wanted = [SliceLimits(name, share.least_percent, share.most_percent) for name, share in shares.items()]
    return slice_violations(wanted, quotas)


def test_floors_that_claim_too_much_together_leave_the_rest_its_part() -> None:
    rng = np.random.default_rng(7)
    for _ in range(200):
        num_rbgs, num_ues, asked = random_cell(rng)
        greedy = [
            each._replace(target=replace(each.target, min_kbps=each.kbps_per_rbg * num_rbgs, max_kbps=None))
            for each in asked
        ]
        _, intent = acted_on(num_rbgs, num_ues, greedy, 12)
        claimed = [limit.min_share_percent for limit in intent.slice_limits] + list(intent.min_share_percent.values())
        assert sum(claimed) <= LARGEST_PERCENT + 1e-6
        assert len(greedy) != 1 or min(claimed[:1], default=0.0) <= greedy[0].hard_cap_percent


def test_the_checker_finds_what_is_broken() -> None:
    floor = Asked(Target("p", "slice 1", frozenset({1, 2}), "1", 1000.0), 400.0)
    ceiling = Asked(Target("p", "UE 3", frozenset({3}), "", None, 900.0), 400.0)
    shares = [each.share(6) for each in (floor, ceiling)]
    owners = np.array([0, 1, 2, 2, 2, -1], np.int16)
    found = violations(shares, Allocation((1, 2, 3), owners))
    assert found[0] == "UEs [1, 2] own 2 RBGs, at least 3 were promised"
    assert found[1] == "UEs [3] hold 3 RBGs, at most 2 are allowed"

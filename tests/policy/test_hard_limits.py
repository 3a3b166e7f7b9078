"""An operator's hard limits hold whatever the weights say: many decisions, counted by a checker of its own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from limit_checker import Share, violations

from policy.allocation import Allocation
from policy.cell_state import CellState, make_cell_state
from policy.grammar import LAB, PAPER, GrammarOptions, compile_grammar
from policy.intent import Intent, SliceLimit
from policy.leader import Leader, never_expires
from policy.leader_models.language_model import ModelConfig, new_leader_model
from policy.model_leader import ModelLeader
from policy.prompt.compact import PromptLayout
from policy.registry import make_leader
from policy.schedulers.estimate import Estimate, estimate

DECISIONS = 100_000
DECISIONS_A_CASE = 40


def random_limits(rng: np.random.Generator, state: CellState) -> tuple[Intent, list[Share]]:
    """Caps and floors of UEs and of two slices that can all hold at once: as an intent, and for the checker."""
    num_rbgs, left = state.num_rbgs, state.num_rbgs
    place = rng.integers(-1, 2, state.num_ues)
    caps: dict[int, float] = {}
    floors: dict[int, float] = {}
    slices: list[SliceLimit] = []
    for row in (-1, 0, 1):
        members = [ue for ue, slice_row in zip(state.ue_ids, place) if slice_row == row]
        cap = num_rbgs if row < 0 or rng.random() < 0.5 else int(rng.integers(1, num_rbgs + 1))
        room, able = min(cap, left), 0
        for ue in members:
            most = num_rbgs
            if rng.random() < 0.3:
                most = int(rng.integers(0, num_rbgs + 1))
                caps[ue] = 100.0 * most / num_rbgs + 0.3 * (most < num_rbgs)  # rounds down
            able += min(cap, most)
            if rng.random() < 0.4 and (least := int(rng.integers(0, min(most, room) + 1))):
                floors[ue] = 100.0 * least / num_rbgs - 0.3  # rounds up
                room -= least
        promised = min(cap, left) - room
        if row >= 0:
            least = int(rng.integers(0, max(0, min(cap, left, able)) + 1)) if rng.random() < 0.6 else 0
            promised = max(promised, least)
            shares = (100.0 * least / num_rbgs, 100.0 * cap / num_rbgs)
            slices.append(SliceLimit(f"slice {row}", frozenset(members), *shares))
        left -= promised
    intent = Intent(max_share_percent=caps, min_share_percent=floors, slice_limits=tuple(slices))
    shares_of_ues = [Share(frozenset({ue}), floors.get(ue, 0.0), caps.get(ue, 100.0)) for ue in state.ue_ids]
    shares_of_slices = [Share(s.ue_ids, s.min_share_percent, s.max_share_percent) for s in slices]
    return intent, shares_of_ues + shares_of_slices


def small_cell(rng: np.random.Generator, *, slots_per_dcm: int) -> CellState:
    num_ues, num_rbgs = int(rng.integers(1, 6)), int(rng.integers(2, 7))
    period = rng.integers(2, 9, num_ues).astype(float)
    return make_cell_state(
        "c",
        num_rbgs=num_rbgs,
        slots_per_dcm=slots_per_dcm,
        slot=int(rng.integers(0, 10**6)),
        ue_ids=tuple(np.sort(rng.choice(1000, num_ues, replace=False)).tolist()),
        traffic_class_U=rng.integers(0, 3, num_ues),
        buffer_bits_U=rng.choice([0.0, 4000.0], num_ues),
        cqi_U=rng.integers(0, 16, num_ues),
        arrival_period_slots_U=period,
        arrival_phase_slots_U=np.floor(rng.random(num_ues) * period),
    )


def speak(rng: np.random.Generator, grammar: object) -> Allocation:
    """A DCM as a model of random weights would say it: at each step any of the tokens that are allowed is likeliest."""
    cursor = grammar.start()  # type: ignore[attr-defined]
    for uniform in rng.random(grammar.max_tokens).tolist():  # type: ignore[attr-defined]
        allowed = cursor.mask().nonzero()[0].tolist()
        cursor.advance(allowed[int(uniform * len(allowed))])
        if cursor.done:
            break
    return cursor.allocation()


def estimated_once(state: CellState) -> Callable[[CellState], Estimate]:
    """An estimate goes by the state alone: it is the same for all decisions of one."""
    found = estimate(state)

    def known(asked: CellState) -> Estimate:
        assert asked is state
        return found

    return known


def test_a_hundred_thousand_decisions_of_random_weights_break_no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2026)
    options = (PAPER, LAB, GrammarOptions(max_periodic_grants=3), GrammarOptions(allow_open=False, allow_idle=False))
    decided, broken, limited = 0, [], 0
    while decided < DECISIONS:
        k = decided // DECISIONS_A_CASE
        state = small_cell(rng, slots_per_dcm=(1, 100)[k % 2])
        intent, shares = random_limits(rng, state)
        monkeypatch.setattr("policy.grammar.estimate", estimated_once(state))
        grammar = compile_grammar(state, intent, options[k % len(options)])
        assert grammar.limits.not_enforced == ()
        limited += grammar.limits.any
        for _ in range(DECISIONS_A_CASE):
            broken += violations(shares, speak(rng, grammar))
            decided += 1
    assert broken == []
    assert limited > 0.7 * DECISIONS / DECISIONS_A_CASE  # these were limits indeed


def random_model(options: GrammarOptions, seed: int) -> Leader:
    torch.set_num_threads(1)
    model = new_leader_model(ModelConfig(hidden_size=32, num_heads=2, intermediate_size=48), PromptLayout(), seed=seed)
    return ModelLeader(model, options, sampling_seed=seed)


@pytest.mark.parametrize("who", ["random paper", "random lab", "bundled"])
def test_the_real_models_break_none_either(who: str) -> None:
    rng = np.random.default_rng(7)
    leader = make_leader("bundled") if who == "bundled" else random_model(PAPER if "paper" in who else LAB, 3)
    states = [small_cell(rng, slots_per_dcm=(1, 100)[k % 2]) for k in range(128)]
    limits = [random_limits(rng, state) for state in states]
    broken = []
    for start in range(0, len(states), 32):
        batch = slice(start, start + 32)
        decisions = leader.decide(states[batch], [intent for intent, _ in limits[batch]], never_expires)
        for decision, (_, shares) in zip(decisions, limits[batch]):
            broken += violations(shares, decision.allocation)
    assert broken == []


def test_the_checker_finds_what_is_broken() -> None:
    owners = np.array([0, 0, 1, -2], np.int16)
    allocation = Allocation((1, 2), owners)
    assert violations([Share(frozenset({2}), 50.0)], allocation) == ["UEs [2] own 1 RBGs, at least 2 were promised"]
    found = violations([Share(frozenset({1}), 0.0, 25.0)], allocation)
    assert len(found) == 3 and "hold 2 RBGs, at most 1" in found[0]
    assert violations([Share(frozenset({1, 2}), 75.0)], allocation) == []

"""Allocations as quotas: what a UE may lose by the translation, and what an operator's limits do to it."""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.allocation import DYNAMIC, IDLE, NO_CAP, OPEN, Allocation, LeftoverRule, PeriodicGrant, all_dynamic
from policy.cell_state import ALL_CLASSES, CellState, TrafficClass, make_cell_state
from policy.guard import guard
from policy.intent import Intent, SliceLimit
from policy.limits import ROUNDING, compile_limits
from xapp.quotas.allocation_to_quota import RELEASED, CellQuotas, Quota, QuotaRules, Target, usable_rbgs_U

AT_ONCE = QuotaRules(smooth_periods=1)


def state(ues: int = 3, num_rbgs: int = 10, **columns: Any) -> CellState:
    ue_ids = tuple(range(1, ues + 1))
    return make_cell_state("cell", num_rbgs=num_rbgs, slots_per_dcm=100, slot=0, ue_ids=ue_ids, **columns)


def owned(*owners: int, **changes: Any) -> Allocation:
    ues = changes.pop("ues", 3)
    return Allocation(tuple(range(1, ues + 1)), np.array(owners, np.int16), **changes)


def quotas(
    allocation: Allocation, of: CellState | None = None, intent: Intent | None = None, rules: QuotaRules = AT_ONCE
) -> dict[int, Quota]:
    of = of or state(len(allocation.ue_ids), allocation.num_rbgs)
    return {ue: t.quota for ue, t in CellQuotas(rules).update(allocation, of, intent or Intent()).items()}


def test_a_ue_may_use_what_it_owns_and_what_is_left_to_the_node() -> None:
    allocation = owned(0, 0, 0, 0, 1, 1, DYNAMIC, DYNAMIC, IDLE, IDLE)
    assert quotas(allocation) == {1: Quota(0, 60), 2: Quota(0, 40), 3: Quota(0, 20)}


def test_everything_dynamic_limits_nobody() -> None:
    assert set(quotas(all_dynamic((1, 2, 3), 10)).values()) == {RELEASED}


@pytest.mark.parametrize(
    ("leftover", "allowed", "counts"),
    [
        (LeftoverRule(ALL_CLASSES, 1.2), (True, True, True), (True, True, True)),
        (LeftoverRule(ALL_CLASSES, 0.0), (True, True, True), (False, False, False)),
        (LeftoverRule(1 << TrafficClass.SPORADIC, 1.2), (True, True, True), (False, True, False)),
        (LeftoverRule(ALL_CLASSES, 1.2), (False, True, True), (False, True, True)),
    ],
)
def test_open_counts_for_those_who_may_contend(
    leftover: LeftoverRule, allowed: tuple[bool, ...], counts: tuple[bool, ...]
) -> None:
    classes = [float(TrafficClass.EMBB), float(TrafficClass.SPORADIC), np.nan]
    allocation = owned(*[OPEN] * 10, leftover=leftover, open_allowed_U=np.array(allowed))
    usable_U = usable_rbgs_U(allocation, state(traffic_class_U=classes))
    assert usable_U.tolist() == [10 * each for each in counts]


def test_a_periodic_grant_makes_room_on_its_rbg_once() -> None:
    grants = (PeriodicGrant(0, 0, 10, 3), PeriodicGrant(1, 9, 10, 3), PeriodicGrant(1, 9, 10, 4))
    allocation = owned(*[0] * 5, *[IDLE] * 5, periodic_grants=grants)
    assert usable_rbgs_U(allocation, state()).tolist() == [5, 1, 0]


def test_rounding_is_in_the_ues_favour() -> None:
    allocation = owned(*[0] * 6, *[IDLE] * 11)
    assert quotas(allocation)[1].max_percent == 36  # 35.29


@pytest.mark.parametrize(("num_rbgs", "min_share", "least"), [(17, 5, 6), (17, 0, 6), (17, 10, 10), (50, 1, 2)])
def test_nobody_is_cut_off_by_a_decision_or_by_rounding(num_rbgs: int, min_share: int, least: int) -> None:
    allocation = owned(*[0] * num_rbgs)
    rules = QuotaRules(min_share_percent=min_share, smooth_periods=1)
    assert quotas(allocation, rules=rules)[2] == Quota(0, least)
    # A node that can grant whole RBGs only still has one for it.
    assert least * num_rbgs >= 100


@pytest.mark.parametrize(("cap", "most"), [(0.0, 0), (0.9, 0), (3.0, 3), (4.99, 4), (5.0, 5), (37.5, 37), (100.0, 100)])
def test_an_operators_cap_rounds_down_and_wins_over_the_least_share(cap: float, most: int) -> None:
    intent = Intent(max_share_percent={1: cap})
    for owners in ([DYNAMIC] * 10, [1] * 10):
        of = state()
        checked, _ = guard(owned(*owners), of, intent)
        assert quotas(checked, of, intent)[1].max_percent <= most
    if most < 10:
        assert quotas(guard(owned(*[DYNAMIC] * 10), state(), intent).allocation, state(), intent)[1] == Quota(0, most)


def test_a_cap_holds_at_once_and_ends_at_once() -> None:
    cell, free, capped = CellQuotas(QuotaRules(smooth_periods=5)), Intent(), Intent(max_share_percent={1: 30.0})
    history = []
    for intent in (free, free, capped, capped, free):
        checked, _ = guard(all_dynamic((1, 2, 3), 10), state(), intent)
        history.append(cell.update(checked, state(), intent)[1])
    assert history == [
        *[Target(RELEASED)] * 2,
        *[Target(Quota(0, 30), 30)] * 2,
        Target(RELEASED),
    ]


def test_a_leaders_own_caps_are_averaged_like_its_grants() -> None:
    cell = CellQuotas(QuotaRules(smooth_periods=2))
    history = []
    for most in (4, 2, 2):
        caps_U = np.array([most, NO_CAP, NO_CAP], np.uint8)
        allocation = Allocation((1, 2, 3), np.full(10, DYNAMIC, np.int16), max_rbgs_U=caps_U)
        targets = cell.update(allocation, state(), Intent())
        history.append(targets[1])
        assert targets[2] == Target(RELEASED)
    assert history == [Target(Quota(0, percent)) for percent in (40, 30, 20)]


def test_a_floor_becomes_the_least_and_nothing_else_does() -> None:
    intent = Intent(min_share_percent={2: 25.0})
    checked, _ = guard(all_dynamic((1, 2, 3), 10), state(), intent)
    found = quotas(checked, state(), intent)
    assert found == {1: Quota(0, 70), 2: Quota(30, 100), 3: Quota(0, 70)}


def test_a_floor_above_a_cap_gives_way() -> None:
    intent = Intent(max_share_percent={2: 20.0}, min_share_percent={2: 40.0})
    checked, _ = guard(all_dynamic((1, 2, 3), 10), state(), intent)
    assert quotas(checked, state(), intent)[2] == Quota(20, 20)


def test_shares_are_averaged_over_the_last_decisions() -> None:
    cell = CellQuotas(QuotaRules(smooth_periods=4))
    first, second = owned(*[0] * 10), owned(*[1] * 10)
    shares = [
        cell.update(allocation, state(), Intent())[1].quota.max_percent
        for allocation in (first, second, first, second, second, second, second)
    ]
    assert shares == [100, 50, 67, 50, 25, 25, 10]
    cell.forget()
    assert cell.update(first, state(), Intent())[1].quota == RELEASED


def test_a_ue_that_comes_later_is_averaged_from_its_first_decision() -> None:
    cell = CellQuotas(QuotaRules(smooth_periods=4))
    for _ in range(4):
        cell.update(owned(*[0] * 10, ues=1), state(1), Intent())
    assert cell.update(owned(*[1] * 10, ues=2), state(2), Intent())[2].quota == RELEASED


@st.composite
def decisions(draw: st.DrawFn) -> tuple[CellState, Intent, Allocation]:
    """Any cell, any intent, anything that a leader may say, and what the guard makes of it."""
    ues, num_rbgs = draw(st.integers(1, 12)), draw(st.integers(1, 18))
    some_ues = st.dictionaries(st.integers(1, ues), st.floats(0, 100), max_size=4)
    intent = Intent(max_share_percent=draw(some_ues), min_share_percent=draw(some_ues))
    classes = draw(st.lists(st.sampled_from([0.0, 1.0, 2.0, np.nan]), min_size=ues, max_size=ues))
    of = state(ues, num_rbgs, traffic_class_U=classes)
    grant = st.builds(
        PeriodicGrant, st.integers(0, ues - 1), st.integers(0, num_rbgs - 1), st.integers(5, 9), st.integers(0, 4)
    )
    proposal = Allocation(
        of.ue_ids,
        np.array(draw(st.lists(st.integers(IDLE, ues - 1), min_size=num_rbgs, max_size=num_rbgs)), np.int16),
        LeftoverRule(draw(st.integers(0, ALL_CLASSES)), draw(st.sampled_from([0.0, 2.4]))),
        tuple(draw(st.lists(grant, max_size=3))),
        np.array(draw(st.lists(st.booleans(), min_size=ues, max_size=ues))),
        np.array(draw(st.lists(st.sampled_from([0, 1, 3, NO_CAP]), min_size=ues, max_size=ues)), np.uint8),
    )
    return of, intent, guard(proposal, of, intent).allocation


@settings(max_examples=150)
@given(decisions(), st.integers(0, 20), st.integers(1, 4))
def test_quotas_of_any_allocation_keep_every_limit(
    decision: tuple[CellState, Intent, Allocation], min_share: int, repeats: int
) -> None:
    of, intent, allocation = decision
    cell = CellQuotas(QuotaRules(min_share_percent=min_share, smooth_periods=3))
    for _ in range(repeats):
        targets = cell.update(allocation, of, intent)
    assert targets.keys() == set(of.ue_ids)
    usable_U, caps_U = usable_rbgs_U(allocation, of), allocation.max_rbgs_U
    # Caps of the leader's own; an operator's is in percent.
    usable_U = np.where(caps_U < compile_limits(of, intent).max_rbgs_U, np.minimum(usable_U, caps_U), usable_U)
    least = max(min_share, ceil(100 / of.num_rbgs))
    for (ue, (quota, cap_percent)), usable in zip(targets.items(), usable_U.tolist(), strict=True):
        cap = intent.max_share_percent.get(ue, 100.0)
        assert 0 <= quota.min_percent <= quota.max_percent <= cap_percent <= cap + ROUNDING
        assert quota.dedicated_percent == 100
        # Nobody loses what the allocation gives, in whole RBGs, nor is cut off: but for the operator's cap.
        if quota.max_percent < cap_percent:
            assert quota.max_percent >= least
            assert quota.max_percent * of.num_rbgs >= 100 * usable
            # Nor does anybody get more than that asks for.
            assert quota.max_percent < max(100 * usable / of.num_rbgs + 1, least + 1, quota.min_percent + 1)
        if ue not in intent.min_share_percent:
            assert quota.min_percent == 0
    assert sum(target.quota.min_percent for target in targets.values()) <= 100


def test_a_slices_cap_is_split_among_its_ues() -> None:
    of, intent = state(ues=4), Intent(slice_limits=(SliceLimit("s", frozenset({1, 2, 3, 99}), 0.0, 40.0),))
    checked, _ = guard(all_dynamic((1, 2, 3, 4), 10), of, intent)
    given = quotas(checked, of, intent)
    assert sum(given[ue].max_percent for ue in (1, 2, 3)) <= 40
    assert given[4] == RELEASED
    alone = Intent(max_share_percent={1: 5.0}, slice_limits=intent.slice_limits)
    assert quotas(guard(checked, of, alone).allocation, of, alone)[1].max_percent == 5


def test_a_slices_floor_is_split_among_its_ues_and_not_moved_by_what_a_window_owes() -> None:
    of = state(ues=4)
    for owed in (0.0, 3.0, -0.9):
        limit = SliceLimit("s", frozenset({1, 2}), 50.0, owed_rbgs=owed)
        intent = Intent(min_share_percent={1: 10.0}, slice_limits=(limit,), owed_rbgs={1: owed}, floor_window_periods=9)
        checked, _ = guard(all_dynamic((1, 2, 3, 4), 10), of, intent)
        least = {ue: quota.min_percent for ue, quota in quotas(checked, of, intent).items()}
        assert least == {1: 30, 2: 20, 3: 0, 4: 0}, owed

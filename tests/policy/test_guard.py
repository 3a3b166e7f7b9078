"""The last gate: whatever is proposed, what leaves it is safe; what was fine leaves it unchanged."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from math import ceil, floor, isfinite
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.allocation import DYNAMIC, IDLE, NO_CAP, OPEN, Allocation, LeftoverRule, PeriodicGrant
from policy.cell_state import CellState, make_cell_state
from policy.grammar import GrammarOptions, compile_grammar
from policy.guard import guard
from policy.intent import Intent
from policy.limits import compile_limits


def cell(ue_ids: tuple[int, ...], num_rbgs: int, slots_per_dcm: int = 1) -> CellState:
    count = len(ue_ids)
    return make_cell_state(
        "c",
        num_rbgs=num_rbgs,
        slots_per_dcm=slots_per_dcm,
        slot=0,
        ue_ids=ue_ids,
        arrival_period_slots_U=np.arange(2.0, 2.0 + count),
        arrival_phase_slots_U=np.arange(count) % 2.0,
    )


def is_safe(allocation: Allocation, state: CellState, intent: Intent) -> bool:
    """Every hard rule, written without the guard's or the grammar's code. For floors that fit the cell."""
    num_rbgs, rows = state.num_rbgs, range(state.num_ues)
    owners = allocation.owner_M.tolist()
    ok = allocation.ue_ids == state.ue_ids and len(owners) == num_rbgs
    ok &= allocation.owner_M.dtype == np.int16 and all(o in (OPEN, DYNAMIC, IDLE) or o in rows for o in owners)
    ok &= len(allocation.open_allowed_U) == len(allocation.max_rbgs_U) == state.num_ues
    class_mask, contenders = allocation.leftover
    ok &= 0 <= class_mask <= 7 and isfinite(contenders) and contenders >= 0
    for grant in allocation.periodic_grants:
        ok &= grant.ue in rows and 0 <= grant.rbg < num_rbgs
        ok &= 1 <= grant.period_slots <= 65535 and 0 <= grant.phase_slots < grant.period_slots
    for a, b in combinations(allocation.periodic_grants, 2):
        # Chinese remainder: they meet in a slot below lcm iff some slot of a is one of b; 400 slots cover these cases.
        meet = any(s % a.period_slots == a.phase_slots and s % b.period_slots == b.phase_slots for s in range(400))
        ok &= a.rbg != b.rbg or not meet
    granted = {grant.rbg for grant in allocation.periodic_grants}
    for row, ue in enumerate(state.ue_ids):
        cap = floor(intent.max_share_percent.get(ue, 100) * num_rbgs / 100)
        least = min(cap, ceil(intent.min_share_percent.get(ue, 0) * num_rbgs / 100))
        own = {rbg for rbg, owner in enumerate(owners) if owner == row}
        held = own | {grant.rbg for grant in allocation.periodic_grants if grant.ue == row}
        ok &= len(held) <= min(cap, int(allocation.max_rbgs_U[row])) and len(own - granted) >= least
        if cap < num_rbgs:
            ok &= allocation.max_rbgs_U[row] <= cap and not allocation.open_allowed_U[row]
    return bool(ok)


numbers = st.integers(-4, 12) | st.sampled_from([40_000, 70_000, -(10**6), 2.5, float("nan"), float("inf")])
grants = st.tuples(numbers, numbers, numbers, numbers).map(lambda parts: PeriodicGrant(*parts))
likely_grants = st.builds(PeriodicGrant, st.integers(0, 3), st.integers(0, 5), st.integers(1, 6), st.integers(0, 3))


@st.composite
def cells(draw: st.DrawFn) -> tuple[CellState, Intent]:
    ue_ids = tuple(range(1, 1 + draw(st.integers(0, 4))))
    state = cell(ue_ids, draw(st.integers(1, 6)), draw(st.sampled_from([1, 20])))
    share = 100 // max(1, len(ue_ids))
    caps = draw(st.dictionaries(st.sampled_from(ue_ids), st.integers(0, 100))) if ue_ids else {}
    # Rounding up may not make the floors exceed the cell: at most a whole RBG less than an even share each.
    most = max(0, floor(share * state.num_rbgs / 100) * 100 // state.num_rbgs)
    floors = draw(st.dictionaries(st.sampled_from(ue_ids), st.integers(0, most))) if ue_ids else {}
    return state, Intent(max_share_percent=caps, min_share_percent=floors)


@st.composite
def proposals(draw: st.DrawFn) -> Allocation:
    """From nearly legal to nonsense."""
    ue_ids = tuple(draw(st.lists(st.integers(1, 5), max_size=5)))
    owner_M = np.array(draw(st.lists(st.integers(-3, 4) | numbers, max_size=7)))
    leftover = LeftoverRule(draw(st.integers(0, 7) | numbers), draw(st.floats() | numbers))
    periodic = tuple(draw(st.lists(likely_grants | grants, max_size=5)))
    allowed = np.array(draw(st.lists(st.booleans(), max_size=5)), bool)
    caps = np.array(draw(st.lists(st.integers(0, 255), max_size=5)), np.uint8)
    return Allocation(ue_ids, owner_M, leftover, periodic, allowed, caps)


@given(cells(), proposals())
def test_any_proposal_becomes_safe(case: tuple[CellState, Intent], proposal: Allocation) -> None:
    state, intent = case
    guarded = guard(proposal, state, intent)
    assert is_safe(guarded.allocation, state, intent)
    again = guard(guarded.allocation, state, intent)
    assert again.changes == () and same(again.allocation, guarded.allocation)


@given(cells(), st.none() | st.integers() | st.text() | st.lists(st.integers()) | st.builds(dict))
def test_what_is_no_allocation_is_replaced(case: tuple[CellState, Intent], proposal: Any) -> None:
    state, intent = case
    guarded = guard(proposal, state, intent)
    assert is_safe(guarded.allocation, state, intent)
    assert guarded.changes[0].startswith("unreadable allocation")


@given(cells(), proposals(), st.sampled_from(["owner_M", "leftover", "periodic_grants", "ue_ids", "max_rbgs_U"]))
def test_fields_of_the_wrong_type_are_no_way_in(
    case: tuple[CellState, Intent], proposal: Allocation, field: str
) -> None:
    state, intent = case
    for rubbish in (None, "rubbish", {"a": 1}, [["x"]], object()):
        object.__setattr__(proposal, field, rubbish)
        guarded = guard(proposal, state, intent)
        assert is_safe(guarded.allocation, state, intent) and guarded.changes


@given(cells(), st.integers(0, 2**32 - 1))
def test_what_the_grammar_says_passes_unchanged(case: tuple[CellState, Intent], seed: int) -> None:
    state, intent = case
    rng = np.random.default_rng(seed)
    cursor = compile_grammar(state, intent, GrammarOptions(max_periodic_grants=4)).start()
    while not cursor.done:
        cursor.advance(int(rng.choice(np.flatnonzero(cursor.mask()))))
    allocation = cursor.allocation()
    assert is_safe(allocation, state, intent)
    guarded = guard(allocation, state, intent)
    assert guarded.changes == () and same(guarded.allocation, allocation)


def same(a: Allocation, b: Allocation) -> bool:
    return (
        (a.ue_ids, a.leftover, a.periodic_grants) == (b.ue_ids, b.leftover, b.periodic_grants)
        and a.owner_M.tolist() == b.owner_M.tolist()
        and a.open_allowed_U.tolist() == b.open_allowed_U.tolist()
        and a.max_rbgs_U.tolist() == b.max_rbgs_U.tolist()
    )


def test_a_late_decision_is_mapped_to_the_ues_of_now() -> None:
    allowed, caps = np.array([True, False, True]), np.array([NO_CAP, 1, NO_CAP], np.uint8)
    grant = PeriodicGrant(2, 3, 4, 1)
    late = Allocation((1, 2, 3), np.array([0, 1, 2, OPEN]), LeftoverRule(7, 1.2), (grant,), allowed, caps)
    guarded = guard(late, cell((2, 3, 9), 4), Intent())
    assert guarded.allocation.owner_M.tolist() == [OPEN, 0, 1, OPEN]  # 1 has left, its RBG is open to all
    assert guarded.allocation.periodic_grants == (PeriodicGrant(1, 3, 4, 1),)
    assert guarded.allocation.open_allowed_U.tolist() == [False, True, True]
    assert guarded.allocation.max_rbgs_U.tolist() == [1, NO_CAP, NO_CAP]
    assert guarded.allocation.leftover == LeftoverRule(7, 1.2)
    assert len(guarded.changes) == 2
    slow = guard(late, cell((2, 3, 9), 4, slots_per_dcm=20), Intent())
    assert slow.allocation.owner_M.tolist() == [DYNAMIC, 0, 1, OPEN]


def test_rbgs_above_a_cap_are_given_back_and_floors_filled() -> None:
    greedy = Allocation((1, 2), np.array([0, 0, 0, 0]), LeftoverRule(7, 1.2))
    guarded = guard(greedy, cell((1, 2), 4), Intent(max_share_percent={1: 75}, min_share_percent={2: 50}))
    assert guarded.allocation.owner_M.tolist() == [0, 0, 1, 1]
    assert guarded.allocation.max_rbgs_U.tolist() == [3, NO_CAP]
    assert guarded.allocation.open_allowed_U.tolist() == [False, True]


def test_grants_give_way_to_a_floor() -> None:
    grants = tuple(PeriodicGrant(0, rbg, 4, 1) for rbg in range(2))
    proposal = Allocation((1, 2), np.array([1, 1]), LeftoverRule(7, 0.0), grants)
    guarded = guard(proposal, cell((1, 2), 2), Intent(min_share_percent={2: 50}))
    assert guarded.allocation.owner_M.tolist() == [1, 1]
    assert guarded.allocation.periodic_grants == grants[:1]


def test_of_two_grants_that_meet_the_first_stays() -> None:
    grants = (PeriodicGrant(0, 0, 4, 1), PeriodicGrant(1, 0, 6, 3), PeriodicGrant(1, 0, 6, 2))
    proposal = Allocation((1, 2), np.array([OPEN]), LeftoverRule(7, 0.0), grants)
    guarded = guard(proposal, cell((1, 2), 1), Intent())
    assert guarded.allocation.periodic_grants == (grants[0], grants[2])


def test_a_stricter_allocation_than_the_intent_asks_for_is_kept() -> None:
    strict = Allocation(
        (1, 2),
        np.array([0, 1], np.int16),
        LeftoverRule(3, 0.6),
        (),
        np.array([False, True]),
        np.array([1, 2], np.uint8),
    )
    guarded = guard(strict, cell((1, 2), 2), Intent())
    assert guarded.changes == () and same(guarded.allocation, strict)


@pytest.mark.parametrize("seed", range(20))
def test_the_usual_proposal_is_judged_as_one_that_has_to_be_read_item_by_item(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ues, num_rbgs = int(rng.integers(1, 6)), int(rng.integers(1, 9))
    state = cell(tuple(range(ues)), num_rbgs)
    capped = {ue: float(rng.integers(20, 100)) for ue in range(ues) if rng.random() < 0.4}
    intent = Intent(max_share_percent=capped)
    limits = compile_limits(state, intent)
    owner_M = rng.integers(-4, ues + 1, num_rbgs).astype(np.int16)
    usual = Allocation(
        state.ue_ids, owner_M, LeftoverRule(7, 1.5), (), limits.open_allowed_U.copy(), limits.max_rbgs_U.copy()
    )
    quick, careful = (guard(each, state, intent) for each in (usual, replace(usual, owner_M=owner_M.astype(np.int64))))
    assert quick.changes == careful.changes
    for name in ("owner_M", "open_allowed_U", "max_rbgs_U"):
        ours, theirs = getattr(quick.allocation, name), getattr(careful.allocation, name)
        assert ours.tolist() == theirs.tolist() and ours.dtype == theirs.dtype
    assert quick.allocation.leftover == careful.allocation.leftover

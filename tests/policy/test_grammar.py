"""The Protocol Action Grammar: its language is exactly the set of feasible allocations, and it never gets stuck."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import combinations, product
from math import ceil, floor, gcd

import numpy as np
import pytest
from dcm_language import language

from policy.allocation import DYNAMIC, IDLE, NO_CAP, OPEN, Allocation, LeftoverRule, PeriodicGrant
from policy.cell_state import CellState, make_cell_state
from policy.grammar import (
    CONTENDERS,
    DYNAMIC_TOKEN,
    END_GRANTS,
    FIRST_CONTENDERS,
    FIRST_MASK,
    FIRST_UE,
    LAB,
    PAPER,
    GrammarError,
    GrammarOptions,
    StepKind,
    compile_grammar,
)
from policy.intent import Intent

QUIET = GrammarOptions(allow_contention=False)


def cell(num_ues: int, num_rbgs: int, periods: list[tuple[float, float]] | None = None) -> CellState:
    """A cell of UEs 10, 20, ...; periods are (period, phase) of their arrivals."""
    ue_ids = tuple(10 * (row + 1) for row in range(num_ues))
    columns = {}
    if periods is not None:
        columns = dict(zip(("arrival_period_slots_U", "arrival_phase_slots_U"), np.array(periods).T))
    return make_cell_state("c", num_rbgs=num_rbgs, slots_per_dcm=1, slot=0, ue_ids=ue_ids, **columns)


def meaning(allocation: Allocation) -> tuple[object, ...]:
    return (
        allocation.leftover,
        frozenset((g.ue, g.rbg) for g in allocation.periodic_grants),
        tuple(allocation.owner_M.tolist()),
    )


def rbgs_of_limits(state: CellState, intent: Intent) -> tuple[list[int], list[int]]:
    """Caps and floors as design.md words them (only for floors that fit the cell)."""
    caps = [floor(intent.max_share_percent.get(ue, 100) * state.num_rbgs / 100) for ue in state.ue_ids]
    floors = [ceil(intent.min_share_percent.get(ue, 0) * state.num_rbgs / 100) for ue in state.ue_ids]
    return caps, floors


def slots_meet(a: tuple[float, float], b: tuple[float, float]) -> bool:
    cycle = int(a[0] * b[0]) // gcd(int(a[0]), int(b[0]))
    return any(s % a[0] == a[1] and s % b[0] == b[1] for s in range(cycle))


def keeps_limits(owners: tuple[int, ...], grants: set[tuple[int, int]], caps: list[int], floors: list[int]) -> bool:
    granted_rbgs = {rbg for _, rbg in grants}
    for ue, (cap, least) in enumerate(zip(caps, floors)):
        own = {rbg for rbg, owner in enumerate(owners) if owner == ue}
        if len(own | {rbg for who, rbg in grants if who == ue}) > cap or len(own - granted_rbgs) < least:
            return False
    return True


def feasible(
    state: CellState, intent: Intent, options: GrammarOptions, periods: list[tuple[float, float]] | None
) -> set[tuple[object, ...]]:
    """Every allowed allocation (leftovers unused), by trying all."""
    caps, floors = rbgs_of_limits(state, intent)
    uncapped = [cap == state.num_rbgs for cap in caps]
    owners = [OPEN] * options.allow_open + [DYNAMIC] * options.allow_dynamic
    only_ues = options.allow_ue_grants and any(uncapped)
    owners += [IDLE] * (options.allow_idle or not (owners or only_ues))
    owners += [ue for ue in range(state.num_ues) if options.allow_ue_grants or floors[ue]]
    known = [ue for ue in range(state.num_ues) if periods is not None and not np.isnan(periods[ue]).any()]
    pairs = list(product(known, range(state.num_rbgs)))
    result: set[tuple[object, ...]] = set()
    for size in range(options.max_periodic_grants + 1):
        for grants in combinations(pairs, size):
            assert periods is not None or not grants
            if any(a[1] == b[1] and slots_meet(periods[a[0]], periods[b[0]]) for a, b in combinations(grants, 2)):
                continue
            for chosen in product(owners, repeat=state.num_rbgs):
                free_only = not options.allow_ue_grants
                if free_only and any(chosen.count(ue) > floors[ue] for ue in range(state.num_ues)):
                    continue
                if keeps_limits(chosen, set(grants), caps, floors):
                    result.add((LeftoverRule(0, 0.0), frozenset(grants), chosen))
    return result


def random_intent(rng: np.random.Generator, state: CellState) -> Intent:
    """Caps and floors that fit the cell."""
    room = state.num_rbgs
    caps: dict[int, float] = {}
    floors: dict[int, float] = {}
    for ue in state.ue_ids:
        cap = 100.0
        if rng.random() < 0.4:
            cap = caps[ue] = float(rng.integers(0, 101))
        if rng.random() < 0.4:
            most = min(room, floor(cap * state.num_rbgs / 100))
            least = int(rng.integers(0, most + 1))
            floors[ue] = 100.0 * least / state.num_rbgs - 0.5 * (least > 0)
            room -= least
    return Intent(max_share_percent=caps, min_share_percent=floors)


CASES = [(0, 3, 0), (1, 1, 0), (1, 5, 0), (2, 4, 0), (3, 5, 0), (4, 5, 0), (1, 3, 2), (2, 2, 3), (2, 3, 2), (3, 3, 1)]


@pytest.mark.parametrize(("num_ues", "num_rbgs", "max_grants"), CASES)
def test_language_equals_the_feasible_allocations(num_ues: int, num_rbgs: int, max_grants: int) -> None:
    rng = np.random.default_rng(100 * num_ues + 10 * num_rbgs + max_grants)
    for _ in range(12):
        allow = dict(
            zip(("allow_ue_grants", "allow_open", "allow_dynamic", "allow_idle"), (rng.random(4) < 0.6).tolist())
        )
        options = GrammarOptions(**allow, allow_contention=False, max_periodic_grants=max_grants)
        periods = None
        if max_grants:
            known = [(2.0, 0.0), (2.0, 1.0), (3.0, 1.0), (4.0, 3.0), (np.nan, 1.0), (4.0, np.nan)]
            periods = [known[k] for k in rng.integers(0, len(known), num_ues)]
        state = cell(num_ues, num_rbgs, periods)
        intent = random_intent(rng, state)
        grammar = compile_grammar(state, intent, options)
        assert grammar.limits.not_enforced == ()
        spoken = language(grammar)
        meanings = {meaning(allocation) for _, allocation in spoken}
        assert meanings == feasible(state, intent, options, periods)
        named = [tokens for tokens, allocation in spoken if grammar.tokens(allocation) == tokens]
        assert len(named) == len(meanings), "a meaning without one spelling that names every owner"
        if not (grammar.limits.needed and options.allow_dynamic):
            assert len(named) == len(spoken), "two spellings of one meaning"


def test_random_walks_are_never_stuck_and_keep_the_limits() -> None:
    rng = np.random.default_rng(7)
    for walk in range(6000):
        num_ues, num_rbgs = int(rng.integers(0, 24)), int(rng.integers(1, 19))
        flags = (rng.random(5) < 0.7).tolist()
        options = GrammarOptions(*flags, max_periodic_grants=int(rng.integers(0, 9)) * (walk % 2))
        period = rng.integers(1, 7, num_ues).astype(float)
        phase = np.floor(rng.random(num_ues) * period)
        period[rng.random(num_ues) < 0.3] = np.nan
        state = cell(num_ues, num_rbgs, list(zip(period, phase)) if num_ues else None)
        intent = random_intent(rng, state)
        grammar = compile_grammar(state, intent, options)
        cursor = grammar.start()
        # A walk that prefers UEs meets caps and tight floors more often than a uniform one.
        while not cursor.done:
            allowed = np.flatnonzero(cursor.mask())
            assert allowed.size, f"stuck after {cursor.tokens}"
            if allowed[-1] >= FIRST_UE and rng.random() < 0.8:
                allowed = allowed[allowed >= FIRST_UE]
            cursor.advance(int(allowed[int(rng.random() * allowed.size)]))
        allocation = cursor.allocation()
        assert allocation.ue_ids == state.ue_ids and allocation.num_rbgs == num_rbgs
        caps, floors = rbgs_of_limits(state, intent)
        grants = {(g.ue, g.rbg) for g in allocation.periodic_grants}
        assert keeps_limits(tuple(allocation.owner_M.tolist()), grants, caps, floors)
        for row, cap in enumerate(caps):
            assert allocation.open_allowed_U[row] == (cap == num_rbgs)
            assert allocation.max_rbgs_U[row] == (NO_CAP if cap == num_rbgs else cap)
        for a, b in combinations(allocation.periodic_grants, 2):
            assert a.rbg != b.rbg or not slots_meet((a.period_slots, a.phase_slots), (b.period_slots, b.phase_slots))
        assert len(cursor.tokens) <= grammar.max_tokens
        spelled = grammar.tokens(allocation)
        assert spelled is not None and meaning(grammar.allocation(spelled)) == meaning(allocation)
        if not (grammar.limits.needed and options.allow_dynamic):  # else floors may be paid without naming who is owed
            assert spelled == tuple(cursor.tokens)


def test_floors_are_paid_where_all_is_left_to_the_node() -> None:
    """A leader that says nothing of anybody keeps every floor, and everything else is the node's."""
    rng = np.random.default_rng(11)
    for _ in range(300):
        num_ues, num_rbgs = int(rng.integers(1, 24)), int(rng.integers(2, 19))
        state = cell(num_ues, num_rbgs, [(4.0, 1.0)] * num_ues)
        intent = random_intent(rng, state)
        grammar = compile_grammar(state, intent, LAB)
        silent = (FIRST_MASK, FIRST_CONTENDERS, END_GRANTS, *[DYNAMIC_TOKEN] * num_rbgs)
        owner_M = grammar.allocation(silent).owner_M
        _, floors = rbgs_of_limits(state, intent)
        assert [int((owner_M == ue).sum()) for ue in range(num_ues)] == floors
        assert (owner_M == DYNAMIC).sum() == num_rbgs - sum(floors)


def test_steps_of_a_dcm() -> None:
    state = cell(2, 3, [(4, 1), (np.nan, np.nan)])
    cursor = compile_grammar(state, Intent(), LAB).start()
    kinds = []
    for token in (FIRST_MASK + 5, FIRST_CONTENDERS + 2, FIRST_UE, 19 + 1, END_GRANTS, 0, 1, FIRST_UE + 1):
        kinds.append((cursor.step_kind, cursor.rbg))
        cursor.advance(token)
    head = [StepKind.MASK, StepKind.CONTENDERS, StepKind.GRANT_UE, StepKind.GRANT_RBG, StepKind.GRANT_UE]
    assert kinds == [*((kind, -1) for kind in head), *((StepKind.OWNER, rbg) for rbg in range(3))]
    assert cursor.done and cursor.step_kind is StepKind.DONE and not cursor.mask().any()
    allocation = cursor.allocation()
    assert allocation.leftover == LeftoverRule(5, 1.2)
    assert allocation.periodic_grants == (PeriodicGrant(0, 1, 4, 1),)
    assert allocation.owner_M.tolist() == [OPEN, DYNAMIC, 1]


def test_the_mask_is_the_callers_to_keep() -> None:
    cursor = compile_grammar(cell(2, 3), Intent(), PAPER).start()
    cursor.mask()[:] = False
    assert cursor.mask().any()


def test_an_illegal_token_is_refused_and_changes_nothing() -> None:
    grammar = compile_grammar(cell(2, 3), Intent(max_share_percent={10: 0}), PAPER)
    cursor = grammar.start()
    for token in (FIRST_UE, -1, grammar.num_actions):
        with pytest.raises(GrammarError, match="not legal as mask"):
            cursor.advance(token)
    for token in (FIRST_MASK, FIRST_CONTENDERS, END_GRANTS):
        cursor.advance(token)
    with pytest.raises(GrammarError, match=f"token {FIRST_UE} is not legal as owner"):
        cursor.advance(FIRST_UE)
    with pytest.raises(GrammarError, match="incomplete"):
        cursor.allocation()
    with pytest.raises(GrammarError, match="not legal as done"):
        grammar.allocation([*cursor.tokens, FIRST_UE + 1, 0, 0, 0])


@pytest.mark.parametrize("num_rbgs", [0, 19])
def test_a_cell_that_the_tokens_cannot_speak_about(num_rbgs: int) -> None:
    with pytest.raises(GrammarError, match=f"num_rbgs is {num_rbgs}"):
        compile_grammar(cell(1, num_rbgs), Intent(), PAPER)


def test_contenders_are_spoken_at_the_nearest_level() -> None:
    grammar = compile_grammar(cell(1, 2), Intent(), PAPER)
    for contenders, level in ((0.0, 0), (0.2, 0), (0.5, 1), (1.0, 2), (30.0, 5), (1e9, 6)):
        allocation = Allocation((10,), np.array([OPEN, 0], np.int16), LeftoverRule(7, contenders))
        tokens = grammar.tokens(allocation)
        assert tokens is not None
        assert grammar.allocation(tokens).leftover == LeftoverRule(7, CONTENDERS[level])


def test_what_cannot_be_said_has_no_tokens() -> None:
    state = cell(2, 2, [(4, 1), (np.nan, np.nan)])
    intent = Intent(max_share_percent={20: 50})
    grammar = compile_grammar(state, intent, LAB)
    kept = {"open_allowed_U": np.array([True, False]), "max_rbgs_U": np.array([NO_CAP, 1], np.uint8)}
    owners = np.array([0, OPEN], np.int16)

    def said(**changes: object) -> bool:
        parts = {"ue_ids": (10, 20), "owner_M": owners, **kept, **changes}
        return grammar.tokens(Allocation(**parts)) is not None  # type: ignore[arg-type]

    assert said() and said(periodic_grants=(PeriodicGrant(0, 1, 4, 1),))
    assert not said(ue_ids=(10, 30))
    assert not said(owner_M=owners[:1])
    assert not said(owner_M=np.array([1, 1], np.int16))  # above the cap
    assert not said(owner_M=np.array([2, 0], np.int16))
    assert not said(owner_M=np.array([-9, 0], np.int16))
    assert not said(max_rbgs_U=np.array([NO_CAP, 2], np.uint8))
    assert not said(open_allowed_U=np.array([True, True]))
    assert not said(leftover=LeftoverRule(8, 1.2))
    assert not said(periodic_grants=(PeriodicGrant(0, 1, 5, 1),))
    assert not said(periodic_grants=(PeriodicGrant(1, 1, 4, 1),))
    assert not said(periodic_grants=(PeriodicGrant(0, 2, 4, 1),))
    assert not said(periodic_grants=(PeriodicGrant(7, 0, 4, 1),))
    paper = compile_grammar(state, intent, PAPER)
    assert paper.tokens(Allocation((10, 20), np.array([DYNAMIC, 0], np.int16), **kept)) is None


def test_floors_that_exceed_the_cell_are_scaled_and_said_so() -> None:
    intent = Intent(min_share_percent={10: 100, 20: 50, 30: 50})
    grammar = compile_grammar(cell(3, 5), intent, PAPER)
    assert len(grammar.limits.not_enforced) == 1 and "11 of 5 RBGs" in grammar.limits.not_enforced[0].reason
    for tokens in [t for t, _ in language(grammar) if t[:2] == (FIRST_MASK, FIRST_CONTENDERS)]:
        # 5, 3 and 3 of 11, scaled to 5: 2.27, 1.36, 1.36 -> the two RBGs left over go to the larger remainders.
        assert grammar.allocation(tokens).rbgs_per_ue().tolist() == [2, 2, 1]


def test_a_cap_wins_over_the_same_ues_floor() -> None:
    grammar = compile_grammar(cell(2, 4), Intent(max_share_percent={10: 25}, min_share_percent={10: 75}), QUIET)
    assert len(grammar.limits.not_enforced) == 1 and grammar.limits.not_enforced[0].ue_ids == (10,)
    assert {int(allocation.rbgs_per_ue()[0]) for _, allocation in language(grammar)} == {1}


def test_limits_of_a_ue_that_is_not_there_wait() -> None:
    grammar = compile_grammar(cell(1, 2), Intent(min_share_percent={99: 100}, max_share_percent={98: 0}), QUIET)
    assert grammar.limits.not_enforced == ()
    assert len(language(grammar)) == 4**2


def test_percentages_of_whole_rbgs_mean_these_rbgs() -> None:
    for rbgs in range(18):
        percent = 100.0 * rbgs / 17
        grammar = compile_grammar(
            cell(1, 17), Intent(max_share_percent={10: percent}, min_share_percent={10: percent}), PAPER
        )
        assert grammar.limits.cap_U.tolist() == grammar.limits.floor_U.tolist() == [rbgs]


def test_options_survive_json() -> None:
    assert GrammarOptions(**json.loads(json.dumps(asdict(LAB)))) == LAB
    with pytest.raises(ValueError, match="max_periodic_grants is -1"):
        GrammarOptions(max_periodic_grants=-1)

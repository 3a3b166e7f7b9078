"""Limits of slices: the masked language is exactly what they allow, and everybody who allocates keeps them."""

from __future__ import annotations

from itertools import combinations, product
from math import gcd

import numpy as np
import pytest
from dcm_language import language
from limit_checker import Share, violations

from policy.allocation import DYNAMIC, IDLE, NO_CAP, OPEN, Allocation, LeftoverRule, PeriodicGrant
from policy.cell_state import CellState, make_cell_state
from policy.grammar import FIRST_UE, GrammarOptions, compile_grammar
from policy.guard import guard
from policy.intent import Intent, SliceLimit
from policy.limits import compile_limits
from policy.schedulers.schedulers import SCHEDULERS


def cell(num_ues: int, num_rbgs: int, *, slots_per_dcm: int = 1, slot: int = 0, **columns: object) -> CellState:
    """A cell of UEs 1, 2, ..."""
    ue_ids = tuple(range(1, num_ues + 1))
    return make_cell_state("c", num_rbgs=num_rbgs, slots_per_dcm=slots_per_dcm, slot=slot, ue_ids=ue_ids, **columns)


class Numbers:
    """Random limits in whole RBGs that can all hold at once, by UE row and by slice."""

    def __init__(self, rng: np.random.Generator, num_ues: int, num_rbgs: int) -> None:
        self.num_rbgs = num_rbgs
        self.slice_of = rng.integers(-1, 2, num_ues).tolist()
        self.cap = [int(rng.integers(0, num_rbgs + 1)) if rng.random() < 0.4 else num_rbgs for _ in range(num_ues)]
        self.floor = [0] * num_ues
        self.slice_cap, self.slice_floor, left = [], [], num_rbgs
        for row in (0, 1):
            members = [ue for ue in range(num_ues) if self.slice_of[ue] == row]
            cap = int(rng.integers(0, num_rbgs + 1)) if rng.random() < 0.5 else num_rbgs
            room = min(cap, left)
            for ue in members:
                if rng.random() < 0.4:
                    self.floor[ue] = int(rng.integers(0, min(self.cap[ue], room) + 1))
                    room -= self.floor[ue]
            most = min(cap, left, sum(min(cap, self.cap[ue]) for ue in members))
            least = int(rng.integers(0, most + 1)) if rng.random() < 0.6 else 0
            left -= max(least, sum(self.floor[ue] for ue in members))
            self.slice_cap.append(cap)
            self.slice_floor.append(least)
        for ue in range(num_ues):
            if self.slice_of[ue] < 0 and rng.random() < 0.4:
                self.floor[ue] = int(rng.integers(0, min(self.cap[ue], left) + 1))
                left -= self.floor[ue]

    def members(self, row: int) -> list[int]:
        return [ue for ue, slice_row in enumerate(self.slice_of) if slice_row == row]

    def needed(self, row: int) -> int:
        return max(self.slice_floor[row], sum(self.floor[ue] for ue in self.members(row)))

    def uncapped(self, ue: int) -> bool:
        row = self.slice_of[ue]
        return self.cap[ue] == self.num_rbgs and (row < 0 or self.slice_cap[row] == self.num_rbgs)

    def percent(self, rbgs: int) -> float:
        return 100.0 * rbgs / self.num_rbgs

    def intent(self) -> Intent:
        return Intent(
            max_share_percent={ue + 1: self.percent(n) for ue, n in enumerate(self.cap) if n < self.num_rbgs},
            min_share_percent={ue + 1: self.percent(n) for ue, n in enumerate(self.floor) if n},
            slice_limits=tuple(
                SliceLimit(
                    f"slice {row}",
                    frozenset(ue + 1 for ue in self.members(row)),
                    self.percent(self.slice_floor[row]),
                    self.percent(self.slice_cap[row]),
                )
                for row in (0, 1)
            ),
        )

    def shares(self) -> list[Share]:
        """The same for the checker."""
        ues = [
            Share(frozenset({ue + 1}), self.percent(least), self.percent(most))
            for ue, (least, most) in enumerate(zip(self.floor, self.cap))
        ]
        slices = zip((0, 1), self.slice_floor, self.slice_cap)
        return ues + [
            Share(frozenset(ue + 1 for ue in self.members(row)), self.percent(least), self.percent(most))
            for row, least, most in slices
        ]


def meet(a: tuple[int, int], b: tuple[int, int]) -> bool:
    return (a[1] - b[1]) % gcd(a[0], b[0]) == 0


def feasible(numbers: Numbers, options: GrammarOptions, periods: list[tuple[int, int]]) -> set[tuple[object, ...]]:
    """Every allocation that keeps the limits, by trying all (N), side by side."""
    ues, rbgs = range(len(numbers.cap)), range(numbers.num_rbgs)
    owners: list[int] = [OPEN] * options.allow_open + [DYNAMIC] * options.allow_dynamic
    only_ues = options.allow_ue_grants and any(numbers.uncapped(ue) for ue in ues)
    owners += [IDLE] * (options.allow_idle or not (owners or only_ues)) + list(ues)
    chosen_NM = np.array(list(product(owners, repeat=numbers.num_rbgs)))
    own_NUM = chosen_NM[:, None] == np.arange(len(ues))[:, None]
    owned_NU = own_NUM.sum(-1)
    result: set[tuple[object, ...]] = set()
    for size in range(options.max_periodic_grants + 1):
        for grants in combinations(product(ues, rbgs), size):
            if any(a[1] == b[1] and meet(periods[a[0]], periods[b[0]]) for a, b in combinations(grants, 2)):
                continue
            granted_UM = np.zeros((len(ues), len(rbgs)), bool)
            for ue, rbg in grants:
                granted_UM[ue, rbg] = True
            held_NU = (own_NUM | granted_UM).sum(-1)
            counted_NU = (own_NUM & ~granted_UM.any(0)).sum(-1)
            ok_N = ((held_NU <= numbers.cap) & (counted_NU >= numbers.floor)).all(-1)
            for row in (0, 1):
                members = numbers.members(row)
                if numbers.slice_cap[row] < numbers.num_rbgs:
                    ok_N &= held_NU[:, members].sum(-1) <= numbers.slice_cap[row]
                if members:
                    ok_N &= counted_NU[:, members].sum(-1) >= numbers.slice_floor[row]
                if not options.allow_ue_grants:  # then a UE owns what floors owe it, and no more
                    ok_N &= owned_NU[:, members].sum(-1) <= numbers.needed(row)
            if not options.allow_ue_grants:
                alone = [ue for ue in ues if numbers.slice_of[ue] < 0]
                ok_N &= (owned_NU <= numbers.floor)[:, alone].all(-1)
            result |= {(frozenset(grants), tuple(chosen)) for chosen in chosen_NM[ok_N].tolist()}
    return result


CASES = [(1, 4, 0), (2, 4, 0), (3, 4, 0), (4, 4, 0), (3, 5, 0), (4, 5, 0), (2, 3, 2), (3, 3, 1), (3, 2, 3)]


@pytest.mark.parametrize(("num_ues", "num_rbgs", "max_grants"), CASES)
def test_the_language_is_what_slices_allow(num_ues: int, num_rbgs: int, max_grants: int) -> None:
    rng = np.random.default_rng(100 * num_ues + 10 * num_rbgs + max_grants)
    for _ in range(8 if num_ues * num_rbgs > 15 else 20):
        flags = (rng.random(4) < 0.6).tolist()
        options = GrammarOptions(*flags, allow_contention=False, max_periodic_grants=max_grants)
        numbers = Numbers(rng, num_ues, num_rbgs)
        periods = [((2, 0), (2, 1), (3, 1), (4, 3))[k] for k in rng.integers(0, 4, num_ues)]
        columns = dict(zip(("arrival_period_slots_U", "arrival_phase_slots_U"), np.array(periods, float).T))
        grammar = compile_grammar(cell(num_ues, num_rbgs, **columns), numbers.intent(), options)
        assert grammar.limits.not_enforced == ()
        spoken = [allocation for _, allocation in language(grammar)]
        meanings = [
            (frozenset((g.ue, g.rbg) for g in said.periodic_grants), tuple(said.owner_M.tolist())) for said in spoken
        ]
        if not (grammar.limits.needed and options.allow_dynamic):  # floors may be paid without naming who is owed
            assert len(set(meanings)) == len(spoken), "two spellings of one meaning"
        assert set(meanings) == feasible(numbers, options, periods)
        for said in spoken:
            assert violations(numbers.shares(), said) == []
            assert grammar.tokens(said) is not None


@pytest.mark.parametrize("name", list(SCHEDULERS))
def test_every_scheduler_keeps_them_and_can_be_spoken(name: str) -> None:
    rng = np.random.default_rng(5)
    everything = GrammarOptions(max_periodic_grants=18)
    for slots_per_dcm in (1, 100):
        for _ in range(60):
            num_ues, num_rbgs = int(rng.integers(1, 9)), int(rng.integers(1, 10))
            numbers = Numbers(rng, num_ues, num_rbgs)
            period = rng.integers(2, 9, num_ues).astype(float)
            state = cell(
                num_ues,
                num_rbgs,
                slots_per_dcm=slots_per_dcm,
                slot=int(rng.integers(0, 1000)),
                traffic_class_U=rng.integers(0, 3, num_ues),
                buffer_bits_U=rng.choice([0.0, 4000.0, np.nan], num_ues),
                cqi_U=rng.integers(0, 16, num_ues),
                deadline_slots_U=np.full(num_ues, 4.0),
                age_slots_U=np.full(num_ues, 8.0),
                packet_bits_U=np.full(num_ues, 300.0),
                arrival_period_slots_U=period,
                arrival_phase_slots_U=np.floor(rng.random(num_ues) * period),
            )
            intent = numbers.intent()
            allocation = SCHEDULERS[name].schedule(state, intent)
            assert violations(numbers.shares(), allocation) == []
            assert guard(allocation, state, intent).changes == ()
            if name != "fair_caps":  # there are no words for caps of a leader's own
                assert compile_grammar(state, intent, everything).tokens(allocation) is not None


def test_the_guard_makes_any_proposal_keep_them() -> None:
    rng = np.random.default_rng(6)
    for case in range(1500):
        num_ues, num_rbgs = int(rng.integers(1, 6)), int(rng.integers(1, 8))
        numbers = Numbers(rng, num_ues, num_rbgs)
        state = cell(num_ues, num_rbgs, slots_per_dcm=(1, 100)[case % 2])
        grants = tuple(
            PeriodicGrant(int(rng.integers(0, num_ues)), int(rng.integers(0, num_rbgs)), int(rng.integers(1, 4)), 0)
            for _ in range(int(rng.integers(0, 4)))
        )
        proposal = Allocation(
            state.ue_ids,
            rng.integers(-3, num_ues, num_rbgs).astype(np.int16),
            LeftoverRule(7, 1.2),
            grants,
            rng.random(num_ues) < 0.5,
            rng.choice([0, 1, 2, NO_CAP], num_ues).astype(np.uint8),
        )
        guarded = guard(proposal, state, numbers.intent())
        assert violations(numbers.shares(), guarded.allocation) == [], case
        assert guard(guarded.allocation, state, numbers.intent()).changes == ()


def test_the_guard_names_the_slice_that_it_mends() -> None:
    greedy = Allocation((1, 2, 3), np.array([0, 0, 1, 1], np.int16), LeftoverRule(7, 1.2))
    intent = Intent(
        slice_limits=(SliceLimit("gold", frozenset({3}), 50.0), SliceLimit("best", frozenset({1, 2}), 0.0, 50.0))
    )
    guarded = guard(greedy, cell(3, 4), intent)
    assert sorted(guarded.allocation.owner_M.tolist()) == [0, 1, 2, 2]
    assert any("slice best: holds 4 RBGs, capped at 2" in change for change in guarded.changes)
    assert any("slice gold: owns 0 RBGs, its floor is 2" in change for change in guarded.changes)


def test_members_of_a_capped_slice_take_turns_where_the_node_decides() -> None:
    intent = Intent(slice_limits=(SliceLimit("s", frozenset({1, 2, 3}), 0.0, 20.0),))
    got = np.zeros(3, int)
    for period in range(3):
        state = cell(4, 6, slots_per_dcm=100, slot=100 * period)
        allocation = SCHEDULERS["dynamic"].schedule(state, intent)
        caps = allocation.max_rbgs_U.tolist()
        assert sum(caps[:3]) == 1 and caps[3] == NO_CAP
        assert allocation.open_allowed_U.tolist() == [False, False, False, True]
        got += caps[:3]
    assert got.tolist() == [1, 1, 1]


def test_every_other_period_those_come_first_that_have_something_to_send() -> None:
    intent = Intent(slice_limits=(SliceLimit("s", frozenset({1, 2, 3, 4}), 0.0, 20.0),))
    chosen = []
    for period in range(8):
        state = cell(4, 6, slots_per_dcm=100, slot=100 * period, buffer_bits_U=[0.0, 0.0, 0.0, 9000.0])
        chosen.append(int(SCHEDULERS["dynamic"].schedule(state, intent).max_rbgs_U.argmax()) + 1)
    assert chosen == [1, 4, 3, 4, 1, 4, 3, 4]


def test_a_capped_slice_stays_below_its_cap_in_the_simulated_mac() -> None:
    """The node's own scheduler decides; what its UEs used is counted by the simulator."""
    from training.simulator.cell import CellBatch
    from training.simulator.scenario import make_scenario

    scenario = make_scenario("lab").with_(slots_per_dcm=100)
    used = {}
    for most in (100.0, 20.0):
        batch = CellBatch(scenario, 1, 12, 3)
        before, shares = {}, []
        members = frozenset(batch.observe()[0].ue_ids[:6])
        for _ in range(12):
            intent = Intent(slice_limits=(SliceLimit("s", members, 0.0, most),))
            batch.play([SCHEDULERS["dynamic"].schedule(batch.observe()[0], intent)], 100, "best_response")
            table = batch.ue_table(0)
            now = dict(zip(table.ue_ids, table.rbg_slots_U.tolist()))
            shares.append(sum(now[ue] - before.get(ue, 0.0) for ue in members if ue in now) / 100)
            before = now
        used[most] = max(shares)
    assert used[20.0] <= 3.0 < used[100.0]  # 20 % of 17 RBGs


def test_a_ue_is_in_one_slice() -> None:
    with pytest.raises(ValueError, match="UE 2 is in slice b and in another one"):
        Intent(slice_limits=(SliceLimit("a", frozenset({1, 2})), SliceLimit("b", frozenset({2, 3}))))
    with pytest.raises(ValueError, match=r"max_share_percent of slice a is 101.0, expected 0 to 100"):
        SliceLimit("a", frozenset(), 0.0, 101.0)


# -- the written precedence -------------------------------------------------------------------------------------------


def compiled(intent: Intent, num_ues: int = 3, num_rbgs: int = 10) -> tuple[list[int], list[int], list[str]]:
    """UE floors, slice floors, reasons."""
    limits = compile_limits(cell(num_ues, num_rbgs), intent)
    return limits.floor_U.tolist(), limits.slice_floor_S.tolist(), [unmet.reason for unmet in limits.not_enforced]


def test_a_slices_cap_wins_over_its_floor_and_over_its_ues_floors() -> None:
    both = SliceLimit("s", frozenset({1, 2}), 60.0, 30.0)
    assert compiled(Intent(slice_limits=(both,))) == (
        [0, 0, 0],
        [3],
        ["slice s: floor of 6 RBGs exceeds its cap of 3: the cap holds"],
    )
    capped = SliceLimit("s", frozenset({1, 2}), 0.0, 30.0)
    assert compiled(Intent(slice_limits=(capped,), min_share_percent={1: 40.0, 2: 20.0})) == (
        [2, 1, 0],
        [0],
        ["slice s: its UEs' floors ask for 6 RBGs of its cap of 3: scaled down in proportion"],
    )


def test_a_slices_floor_beyond_what_its_ues_may_hold_is_said() -> None:
    slice_limit = SliceLimit("s", frozenset({1}), 50.0)
    assert compiled(Intent(slice_limits=(slice_limit,), max_share_percent={1: 20.0})) == (
        [0, 0, 0],
        [2],
        ["slice s: floor of 5 RBGs, but its UEs may hold 2: these hold"],
    )


def test_a_slice_without_live_ues_waits() -> None:
    assert compiled(Intent(slice_limits=(SliceLimit("s", frozenset({77}), 50.0),))) == ([0, 0, 0], [0], [])


def test_floors_beyond_the_cell_are_scaled_slices_and_ues_alike() -> None:
    intent = Intent(slice_limits=(SliceLimit("s", frozenset({1, 2}), 80.0),), min_share_percent={1: 60.0, 3: 80.0})
    floors, slice_floors, reasons = compiled(intent)
    assert (floors, slice_floors) == ([5, 0, 5], [5])
    assert reasons == ["floors ask for 16 of 10 RBGs: scaled down in proportion"]
    unmet = compile_limits(cell(3, 10), intent).not_enforced[0]
    assert (unmet.ue_ids, unmet.slices) == ((1, 3), ("s",))


# -- windows ----------------------------------------------------------------------------------------------------------


def test_what_is_owed_from_before_raises_the_floor_and_what_was_too_much_lowers_it() -> None:
    for owed, floor in ((0.0, 2), (0.5, 2), (0.6, 3), (-0.4, 2), (-0.5, 1), (-5.0, 0), (50.0, 10)):
        intent = Intent(min_share_percent={1: 15.0}, owed_rbgs={1: owed}, floor_window_periods=10)
        assert compiled(intent) == ([floor, 0, 0], [], []), owed
        limit = SliceLimit("s", frozenset({1, 2}), 15.0, owed_rbgs=owed)
        assert compiled(Intent(slice_limits=(limit,), floor_window_periods=10)) == ([0, 0, 0], [floor], []), owed


def test_a_window_holds_what_single_periods_cannot() -> None:
    """Three times 30 % of 5 RBGs is 1.5 each: rounded up 6 of 5, but over two periods 9 of 10."""
    shares = {1: 30.0, 2: 30.0, 3: 30.0}
    assert compiled(Intent(min_share_percent=shares), num_rbgs=5)[2] != []
    assert compiled(Intent(min_share_percent=shares, floor_window_periods=4), num_rbgs=5)[2] == []
    too_much = {1: 60.0, 2: 60.0}
    assert compiled(Intent(min_share_percent=too_much, floor_window_periods=4), num_rbgs=5)[2] != []


def test_no_grammar_is_ever_stuck_whatever_an_intent_asks_for() -> None:
    rng = np.random.default_rng(8)
    for case in range(1500):
        num_ues, num_rbgs = int(rng.integers(0, 9)), int(rng.integers(1, 12))
        place = rng.integers(-1, 3, num_ues)
        slices = tuple(
            SliceLimit(
                f"s{row}",
                frozenset((np.flatnonzero(place == row) + 1).tolist()),
                float(rng.integers(0, 101)),
                float(rng.integers(0, 101)),
                float(rng.normal()),
            )
            for row in range(3)
        )
        intent = Intent(
            max_share_percent={ue: float(rng.integers(0, 101)) for ue in range(1, num_ues + 1) if rng.random() < 0.3},
            min_share_percent={ue: float(rng.integers(0, 101)) for ue in range(1, num_ues + 1) if rng.random() < 0.3},
            slice_limits=slices,
            owed_rbgs={ue: float(rng.normal()) for ue in range(1, num_ues + 1)},
            floor_window_periods=int(rng.integers(1, 20)),
        )
        period = rng.integers(1, 7, num_ues).astype(float)
        columns = {"arrival_period_slots_U": period, "arrival_phase_slots_U": np.floor(rng.random(num_ues) * period)}
        state = cell(num_ues, num_rbgs, **columns)
        options = GrammarOptions(*(rng.random(5) < 0.7).tolist(), max_periodic_grants=4 * (case % 2))
        cursor = compile_grammar(state, intent, options).start()
        while not cursor.done:
            allowed = np.flatnonzero(cursor.mask())
            assert allowed.size, f"stuck after {cursor.tokens}"
            if allowed[-1] >= FIRST_UE and rng.random() < 0.8:
                allowed = allowed[allowed >= FIRST_UE]
            cursor.advance(int(allowed[int(rng.random() * allowed.size)]))
        assert guard(cursor.allocation(), state, intent).changes == ()

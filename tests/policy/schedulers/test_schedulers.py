"""The classical leaders do what their names say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from counting import calls_of

from policy.allocation import DYNAMIC, NO_CAP, OPEN, Allocation, PeriodicGrant
from policy.cell_state import CellState, make_cell_state
from policy.cqi import BITS_PER_RBG, BUFFER_MID_BITS, REPORTED_SNR, bits_per_rbg
from policy.grammar import LAB, PAPER, compile_grammar
from policy.intent import Intent
from policy.schedulers.fallback import fallback
from policy.schedulers.schedulers import SCHEDULERS


def cell(count: int, num_rbgs: int, *, k: int = 1, slot: int = 0, **columns: Any) -> CellState:
    defaults = {"buffer_bits_U": 40_000.0, "cqi_U": 10.0, "served_bits_per_slot_U": 300.0, "age_slots_U": 8.0}
    full = {name: np.broadcast_to(np.asarray(c, float), count) for name, c in (defaults | columns).items()}
    ids = tuple(range(1, count + 1))
    return make_cell_state("c", num_rbgs=num_rbgs, slots_per_dcm=k, slot=slot, ue_ids=ids, **full)


def run(name: str, state: CellState, intent: Intent | None = None) -> Allocation:
    return SCHEDULERS[name].schedule(state, intent or Intent())


def dense_greedy(state: CellState, weight_U: np.ndarray) -> list[int]:
    """The reference game's greedy, for K = 1: recompute the gain of every (UE, RBG), take the first best, again."""
    snr_UM = np.repeat(REPORTED_SNR[state.cqi_U.astype(int)][:, None], state.num_rbgs, axis=1)
    rbgs = np.arange(state.num_rbgs)
    snr_UM = snr_UM * np.where(rbgs == state.preferred_rbg_U[:, None], 2.0, 0.85)
    backlog_U = np.maximum(0.0, state.buffer_bits_U - state.inflight_bits_U)
    held_UM = np.zeros(snr_UM.shape, bool)
    owners = [OPEN] * state.num_rbgs
    for _ in rbgs:
        best, choice = 0.0, None
        for ue in range(state.num_ues):
            now = bits_per_rbg(snr_UM[ue] / max(1, held_UM[ue].sum())) @ held_UM[ue]
            for rbg in rbgs:
                if owners[rbg] != OPEN:
                    continue
                more = held_UM[ue] | (rbgs == rbg)
                bits = bits_per_rbg(snr_UM[ue] / more.sum()) @ more
                gain = (min(backlog_U[ue], bits) - min(backlog_U[ue], now)) * weight_U[ue]
                if gain > best * (1 + 1e-9) + 1e-9:
                    best, choice = gain, (ue, rbg)
        if choice is None:
            break
        held_UM[choice] = True
        owners[choice[1]] = choice[0]
    return owners


@pytest.mark.parametrize("seed", range(25))
def test_greedy_schedulers_equal_a_greedy_that_recomputes_everything(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count, num_rbgs = int(rng.integers(1, 9)), int(rng.integers(1, 9))
    state = cell(
        count,
        num_rbgs,
        buffer_bits_U=rng.choice(BUFFER_MID_BITS, count),
        inflight_bits_U=rng.choice([0.0, 700.0], count),
        cqi_U=rng.integers(0, 16, count),
        preferred_rbg_U=rng.integers(0, num_rbgs, count),
        served_bits_per_slot_U=rng.random(count) * 2000.0,
    )
    backlog_U = np.maximum(0.0, state.buffer_bits_U - state.inflight_bits_U)
    weights = {
        "proportional_fair": 1.0 / (state.served_bits_per_slot_U + 50.0),
        "max_rate": np.ones(count),
        "max_weight": backlog_U,
    }
    for name, weight_U in weights.items():
        assert run(name, state).owner_M.tolist() == dense_greedy(state, weight_U), name


def test_round_robin_goes_on_where_the_last_period_ended() -> None:
    owners = [o for s in range(0, 20, 5) for o in run("round_robin", cell(3, 4, k=5, slot=s)).owner_M.tolist()]
    assert owners == [m % 3 for m in range(16)]


def test_round_robin_skips_the_capped_and_pays_the_owed() -> None:
    intent = Intent(max_share_percent={1: 25}, min_share_percent={3: 75})
    assert run("round_robin", cell(3, 4), intent).owner_M.tolist() == [0, 2, 2, 2]
    everybody = Intent(max_share_percent={1: 25, 2: 25, 3: 0})
    assert run("round_robin", cell(3, 4), everybody).owner_M.tolist() == [0, 1, OPEN, OPEN]
    assert run("round_robin", cell(3, 4, k=20), everybody).owner_M.tolist() == [0, 1, DYNAMIC, DYNAMIC]


def test_proportional_fair_does_not_schedule_bits_twice() -> None:
    state = cell(2, 2, buffer_bits_U=[1000.0, 1000.0], inflight_bits_U=[1000.0, 0.0], cqi_U=4)
    assert run("proportional_fair", state).owner_M.tolist() == [1, 1]


def test_alpha_decides_between_throughput_and_fairness() -> None:
    state = cell(2, 1, cqi_U=[15, 3], served_bits_per_slot_U=[900.0, 100.0])
    chosen = [int(run("proportional_fair", state, Intent(alpha=a)).owner_M[0]) for a in (0.0, 1.0, 5.0)]
    assert chosen == [0, 0, 1]


def test_rbgs_that_nobody_needs_are_open_more_eagerly_the_fewer_are_active() -> None:
    idle = run("proportional_fair", cell(10, 6, buffer_bits_U=0.0))
    assert set(idle.owner_M.tolist()) == {OPEN}
    busy = run("proportional_fair", cell(10, 6))
    assert OPEN not in busy.owner_M.tolist()
    assert idle.leftover.contenders > busy.leftover.contenders > 0


def test_without_buffer_status_everybody_is_served_by_what_they_were_served() -> None:
    state = cell(4, 8, buffer_bits_U=np.nan, served_bits_per_slot_U=[0.0, 2000.0, 0.0, 2000.0], cqi_U=12)
    got = run("max_rate", state).rbgs_per_ue()
    assert got.min() >= 1 and got[1] > got[0] and got[3] > got[2]


def test_over_many_slots_what_keeps_arriving_counts() -> None:
    columns = {"buffer_bits_U": [250.0, 250.0], "served_bits_per_slot_U": [1500.0, 0.0], "cqi_U": 8}
    got = run("max_rate", cell(2, 8, k=100, **columns)).rbgs_per_ue()
    assert got[0] > got[1]


@pytest.mark.parametrize("name", SCHEDULERS)
def test_an_empty_cell_is_left_to_whoever_comes(name: str) -> None:
    fast, slow = run(name, cell(0, 5)), run(name, cell(0, 5, k=100))
    assert len(set(fast.owner_M.tolist())) == len(set(slow.owner_M.tolist())) == 1
    expected = {"contention": OPEN, "dynamic": DYNAMIC, "static_config": DYNAMIC, "fair_caps": DYNAMIC}
    assert fast.owner_M[0] == expected.get(name, OPEN) and slow.owner_M[0] == expected.get(name, DYNAMIC)


def test_fair_caps_hold_each_ue_to_a_share_and_a_half_of_those_that_are_active() -> None:
    state = cell(6, 18, k=100, prb_share_U=[0.5, 0.1, 0.01, 0.0, 0.0, np.nan])
    allocation = run("fair_caps", state)
    assert set(allocation.owner_M.tolist()) == {DYNAMIC}
    assert allocation.max_rbgs_U.tolist() == [7] * 6  # 1.5 x 18 / 4
    idle = run("fair_caps", cell(6, 18, k=100, prb_share_U=[0.9, 0, 0, 0, 0, 0]))
    assert set(idle.max_rbgs_U.tolist()) == {NO_CAP}
    intent = Intent(max_share_percent={1: 10}, min_share_percent={2: 50})
    assert run("fair_caps", state, intent).max_rbgs_U.tolist() == [1, 9, 7, 7, 7, 7]
    crowd = run("fair_caps", cell(60, 17, k=100))
    assert set(crowd.max_rbgs_U.tolist()) == {1}


def test_contention_and_dynamic_own_nothing_but_floors() -> None:
    intent = Intent(min_share_percent={2: 50}, max_share_percent={1: 25})
    for name, owner in (("contention", OPEN), ("dynamic", DYNAMIC)):
        assert set(run(name, cell(3, 4)).owner_M.tolist()) == {owner}
        allocation = run(name, cell(3, 4), intent)
        assert sorted(allocation.owner_M.tolist()) == [owner, owner, 1, 1]
        assert allocation.open_allowed_U.tolist() == [False, True, True]


def sensors(**columns: Any) -> CellState:
    """A phone, two sensors that cannot wait for a report, one that can, and a sporadic UE."""
    known = {
        "traffic_class_U": [0, 1, 1, 1, 2],
        "deadline_slots_U": [20, 8, 8, 20, 8],
        "arrival_period_slots_U": [np.nan, 10, 20, 10, np.nan],
        "arrival_phase_slots_U": [np.nan, 3, 13, 4, np.nan],
        "packet_bits_U": [np.nan, 1000, 1000, 1000, 1000],
        "cqi_U": [10, 10, 8, 10, 10],
    }
    return cell(5, 17, k=100, **(known | columns))


def test_static_config_grants_what_reports_come_too_late_for() -> None:
    allocation = run("static_config", sensors())
    assert set(allocation.owner_M.tolist()) == {DYNAMIC}
    grants = allocation.periodic_grants
    assert {grant.ue for grant in grants} == {1, 2}
    assert {grant[2:] for grant in grants if grant.ue == 1} == {(10, 3)}
    # Slots 13, 33, ... of the one are slots of the other too: they may share no RBG.
    assert len({grant.rbg for grant in grants}) == len(grants)
    # The UE with the worse channel needs more RBGs for the same packet; one less would not carry it.
    sizes = [sum(grant.ue == ue for grant in grants) for ue in (1, 2)]
    assert sizes[1] > sizes[0]
    shares = np.arange(1, 9)
    carried = shares * bits_per_rbg(0.85 * REPORTED_SNR[8] / shares)
    assert carried[sizes[1] - 1] >= 1000 > carried[sizes[1] - 2]


def test_static_config_shares_an_rbg_in_slots_that_never_meet() -> None:
    state = sensors(arrival_phase_slots_U=[np.nan, 3, 4, 4, np.nan], cqi_U=15)
    grants = run("static_config", state).periodic_grants
    assert grants == (PeriodicGrant(1, 0, 10, 3), PeriodicGrant(2, 0, 20, 4))


@pytest.mark.parametrize(
    "column", ["arrival_period_slots_U", "arrival_phase_slots_U", "packet_bits_U", "deadline_slots_U", "age_slots_U"]
)
def test_static_config_grants_nothing_that_it_does_not_know(column: str) -> None:
    assert run("static_config", sensors(**{column: np.nan})).periodic_grants == ()


def test_static_config_leaves_out_whom_grants_cannot_carry() -> None:
    assert {grant.ue for grant in run("static_config", sensors(cqi_U=[10, 10, 1, 10, 10])).periodic_grants} == {1}


def test_static_config_keeps_caps_and_floors() -> None:
    intent = Intent(max_share_percent={2: 0}, min_share_percent={1: 90})
    allocation = run("static_config", sensors(), intent)
    assert {grant.ue for grant in allocation.periodic_grants} <= {2}
    assert allocation.rbgs_per_ue()[0] == 16


def test_static_config_keeps_leftovers_for_the_urgent_where_rbgs_are_scarce() -> None:
    classes = {"traffic_class_U": np.arange(12) % 3, "deadline_slots_U": 8}
    assert run("static_config", cell(12, 17, k=100, **classes)).leftover.class_mask == 0b111
    scarce = run("static_config", cell(12, 6, k=100, **classes)).leftover
    assert scarce.class_mask == 0b110 and scarce.contenders > 0
    nobody_urgent = cell(12, 6, k=100, traffic_class_U=0, deadline_slots_U=8)
    assert run("static_config", nobody_urgent).leftover.class_mask == 0b111
    assert run("static_config", cell(12, 6, k=100)).leftover.class_mask == 0b111


@pytest.mark.parametrize("seed", range(10))
def test_teachers_can_be_spoken_at_their_operating_point(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(0, 30))
    columns = {
        "traffic_class_U": rng.integers(0, 3, count),
        "deadline_slots_U": 8,
        "arrival_period_slots_U": rng.integers(5, 26, count),
        "arrival_phase_slots_U": rng.integers(0, 5, count),
        "packet_bits_U": 1000,
        "cqi_U": rng.integers(0, 16, count),
    }
    intent = Intent(max_share_percent={1: 30}, min_share_percent={2: 20})
    for k, options, names in (
        (1, PAPER, ("proportional_fair", "round_robin")),
        (100, LAB, ("static_config", "dynamic")),
    ):
        state = cell(count, 17, k=k, **columns)
        grammar = compile_grammar(state, intent, options)
        assert all(grammar.tokens(run(name, state, intent)) for name in names)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_decision_is_little_work(name: str) -> None:
    """Of the order of a millisecond for a cell of 20 UEs: so many calls, however busy the machine is."""
    rng = np.random.default_rng(1)
    state = cell(20, 17, cqi_U=rng.integers(0, 16, 20), preferred_rbg_U=rng.integers(0, 17, 20))
    run(name, state)
    assert calls_of(lambda: run(name, state)) < 1000


def test_fallback_is_classical_and_keeps_limits() -> None:
    intent = Intent(max_share_percent={1: 20})
    fast, slow = fallback(cell(3, 5), intent, "late"), fallback(cell(3, 5, k=100), intent, "late")
    assert fast is not None and slow is not None
    assert (fast.decided_by, fast.reason) == ("proportional_fair", "late")
    assert slow.decided_by == "dynamic" and set(slow.allocation.owner_M.tolist()) == {DYNAMIC}
    assert slow.allocation.max_rbgs_U[0] == fast.allocation.max_rbgs_U[0] == 1


def test_unlikely_values_are_clipped() -> None:
    odd = {"cqi_U": [99, -3], "preferred_rbg_U": [99, -7], "buffer_bits_U": [-5, np.inf], "inflight_bits_U": [0, -9]}
    for name in SCHEDULERS:
        assert run(name, cell(2, 3, **odd)).num_rbgs == 3
    assert run("proportional_fair", cell(2, 3, **odd)).rbgs_per_ue().tolist()[0] == 0
    assert BITS_PER_RBG[-1] > 3000

"""The MAC's rule: who may send on which RBG in which slot, and that breaking it is noticed."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.allocation import DYNAMIC, IDLE, NO_CAP, OPEN, Allocation, LeftoverRule, PeriodicGrant, all_dynamic
from policy.cell_state import ALL_CLASSES, CellState, TrafficClass
from policy.intent import Intent
from policy.leader import never_expires
from policy.schedulers.schedulers import SCHEDULERS
from training.simulator import core
from training.simulator.cell import CellBatch, SlotView
from training.simulator.scenario import LAB, LAB_PAPER, MIX, RIC20, SPORADIC, Scenario
from training.simulator.state import ARRIVED, DROPPED, SERVED, make_scratch
from training.simulator.world import draw_chunk, make_seats

BUSY_PRESENCE = LAB_PAPER.with_(present_slots=60.0, absent_slots=10.0)


def random_allocation(state: CellState, random: np.random.Generator) -> Allocation:
    ues, num_rbgs = state.num_ues, state.num_rbgs
    grants = tuple(
        PeriodicGrant(int(random.integers(ues)), int(random.integers(num_rbgs)), 5, int(random.integers(5)))
        for _ in range(random.integers(4))
    )
    return Allocation(
        state.ue_ids,
        random.integers(IDLE, ues, num_rbgs).astype(np.int16),
        LeftoverRule(int(random.integers(ALL_CLASSES + 1)), float(random.choice([0.0, 1.2, 64.0]))),
        grants,
        random.random(ues) < 0.7,
        random.choice([0, 1, 3, NO_CAP], ues).astype(np.uint8),
    )


@settings(max_examples=15)
@given(st.sampled_from([MIX, SPORADIC, BUSY_PRESENCE, LAB]), st.integers(0, 2**32))
def test_followers_that_keep_the_rule_never_send_outside_it(scenario: Scenario, seed: int) -> None:
    random = np.random.default_rng(seed)
    batch = CellBatch(scenario, 3, 5, seed)
    for _ in range(8):
        allocations = [random_allocation(state, random) for state in batch.observe()]
        batch.play(allocations, 7, "best_response" if random.random() < 0.7 else "obey")
    assert [m.transmissions_outside_grant for m in batch.metrics()] == [0, 0, 0]


def test_a_rogue_is_counted() -> None:
    def rogue(view: SlotView) -> np.ndarray:
        sends = np.zeros(view.entitlement_BUM.shape, bool)
        sends[:, 1] = view.entitlement_BUM[:, 1] == core.NONE
        return sends

    batch = CellBatch(MIX, 2, 3, seed=1)
    allocation = Allocation((1, 2, 3), np.array([0, 1, 2, IDLE, OPEN, DYNAMIC], np.int16), LeftoverRule())
    batch.play([allocation, allocation], 10, rogue)
    # Not its own, nor (with c = 0) open: RBGs 0, 2, 3, 4, and 5 unless the node's scheduler gave it away to UE 2.
    for metrics in batch.metrics():
        assert 40 <= metrics.transmissions_outside_grant <= 50


def test_a_mac_that_grants_what_the_control_does_not_say_is_counted_too() -> None:
    """The count does not take the word of the code that grants: here everything is said to be UE 1's."""
    batch = CellBatch(MIX, 1, 2, seed=1)
    owners = np.array([0, 1, IDLE, OPEN, DYNAMIC, 1], np.int16)
    grants = (PeriodicGrant(0, 5, 4, 0),)
    sends = np.zeros((1, 2, 6), bool)
    sends[0, 0] = True
    for slot, (leftover, outside) in enumerate(
        [
            (LeftoverRule(ALL_CLASSES, 0.0), 3),  # RBGs 1, 2 and 3; the node's own scheduler may give away RBG 4
            (LeftoverRule(ALL_CLASSES, 1.2), 3),  # 1 and 2, and 5, whose periodic grant is over
            (LeftoverRule(1 << TrafficClass.SPORADIC, 1.2), 4),  # UE 1 is of another class
        ]
    ):
        plan = batch.plan([Allocation((1, 2), owners, leftover, grants)])
        before = batch.metrics()[0].transmissions_outside_grant
        core.finish_slot(
            batch.state, batch.rules, plan, draw_chunk(MIX, 1, 1, 2, 0), slot, slot,
            np.zeros((1, 6), np.int64), np.ones((1, 2), bool), sends, make_scratch(2, 6),
        )  # fmt: skip
        assert batch.metrics()[0].transmissions_outside_grant - before == outside


def test_more_rbgs_than_the_cap_count_as_outside() -> None:
    batch = CellBatch(MIX, 1, 2, seed=1)
    cap = np.array([2, NO_CAP], np.uint8)
    allocation = Allocation((1, 2), np.zeros(6, np.int16), max_rbgs_U=cap)
    view = batch.begin_slot([allocation])
    assert (view.entitlement_BUM[0, 0] == core.OWN).sum() == 2
    batch.finish_slot(np.ones((1, 2, 6), bool) & (np.arange(2) == 0)[None, :, None])
    assert batch.metrics()[0].transmissions_outside_grant == 4 + 4  # not held, and above the cap


@settings(max_examples=15)
@given(st.integers(0, 2**32), st.integers(0, 3))
def test_the_nodes_scheduler_respects_caps_own_rbgs_included(seed: int, cap: int) -> None:
    batch = CellBatch(MIX.with_(num_rbgs=17, load=3.0), 8, 4, seed)
    caps = np.array([cap, cap, NO_CAP, NO_CAP], np.uint8)
    owners = np.full(17, DYNAMIC, np.int16)
    owners[3] = 0
    allocation = Allocation((1, 2, 3, 4), owners, max_rbgs_U=caps)
    batch.play([allocation] * 8, 60)
    most = np.zeros(4, int)
    for _ in range(20):
        held = (batch.begin_slot([allocation] * 8).entitlement_BUM == core.OWN).sum(axis=-1)
        most = np.maximum(most, held.max(axis=0))
        batch.finish_slot(np.zeros((8, 4, 17), bool))
    assert most[0] <= cap and most[1] <= cap
    assert most[2:].max() > 3, "the others are not held back"


def test_the_nodes_scheduler_is_the_leaders_proportional_fair_given_every_slot() -> None:
    """Two implementations of one rule: compiled in the node, and on CellState among the leaders."""
    for scenario in (MIX, SPORADIC, RIC20.with_(slots_per_dcm=1)):
        batch = CellBatch(scenario, 4, 6, seed=21)
        for _ in range(60):
            states = batch.observe()
            leader = SCHEDULERS["proportional_fair"].decide(states, [Intent()] * 4, never_expires)
            view = batch.begin_slot(None)
            for b, decision in enumerate(leader):
                node_UM = view.entitlement_BUM[b] == core.OWN
                owner_M = np.where(node_UM.any(axis=0), node_UM.argmax(axis=0), OPEN)
                np.testing.assert_array_equal(owner_M, decision.allocation.owner_M)
            batch.finish_slot(np.asarray(view.entitlement_BUM == core.OWN))


def test_a_periodic_grant_fires_in_its_slots_and_in_no_other() -> None:
    batch = CellBatch(MIX, 1, 3, seed=5)
    grants = (PeriodicGrant(2, 4, 5, 3), PeriodicGrant(1, 4, 10, 8))
    allocation = Allocation((1, 2, 3), np.zeros(6, np.int16), periodic_grants=grants)
    for slot in range(40):
        own_UM = batch.begin_slot([allocation]).entitlement_BUM[0] == core.OWN
        holder = 2 if slot % 5 == 3 else 0  # the first in the list wins over the second, and both over the owner
        assert own_UM[:, 4].tolist() == [u == holder for u in range(3)]
        assert own_UM[0, [0, 1, 2, 3, 5]].all()
        batch.finish_slot(np.zeros((1, 3, 6), bool))


def test_a_sensor_with_a_grant_at_its_phase_loses_less_than_one_that_waits_for_reports() -> None:
    drops = {}
    for granted in (False, True):
        batch = CellBatch(RIC20.with_(regime_slots=0.0), 20, 3, seed=3)
        sensor = 1
        assert make_seats(batch.scenario, batch.ues).traffic_class[sensor] == TrafficClass.PERIODIC
        allocations = []
        for state in batch.observe():
            period, phase = int(state.arrival_period_slots_U[sensor]), int(state.arrival_phase_slots_U[sensor])
            grants = tuple(PeriodicGrant(sensor, rbg, period, phase) for rbg in range(3)) if granted else ()
            allocations.append(
                Allocation(state.ue_ids, np.full(17, DYNAMIC, np.int16), periodic_grants=grants)
            )  # fmt: skip
        batch.play(allocations, 400)
        totals = batch.state.counters_BUC[:, sensor]
        drops[granted] = totals[:, DROPPED].sum() / totals[:, ARRIVED].sum()
    # Reports are as old as the sensor's deadline: without a grant nearly everything comes too late.
    assert drops[False] > 0.5 and drops[True] < 0.5 * drops[False]


def test_two_senders_on_one_rbg_lose_both() -> None:
    def both(view: SlotView) -> np.ndarray:
        sends = np.zeros(view.entitlement_BUM.shape, bool)
        sends[:, :, 0] = True
        return sends

    batch = CellBatch(MIX, 2, 2, seed=5)
    allocation = Allocation((1, 2), np.full(6, OPEN, np.int16), LeftoverRule(ALL_CLASSES, 64.0))
    batch.play([allocation] * 2, 25, both)
    for metrics in batch.metrics():
        assert metrics.collision_fraction == 1 / 6
        assert metrics.throughput_bits_per_slot == 0
        assert metrics.transmissions_outside_grant == 0


def test_eager_contention_collides_and_shy_contention_less() -> None:
    fractions = []
    for contenders in (0.0, 0.6, 64.0):
        batch = CellBatch(MIX, 50, 6, seed=5)
        allocation = Allocation(tuple(range(1, 7)), np.full(6, OPEN, np.int16), LeftoverRule(ALL_CLASSES, contenders))
        batch.play([allocation] * 50, 100)
        fractions.append(np.mean([m.collision_fraction for m in batch.metrics()]))
    assert fractions[0] == 0.0 < 2 * fractions[1] < fractions[2]


def test_the_leftover_rule_lets_in_classes_and_shuts_out_single_ues() -> None:
    batch = CellBatch(LAB_PAPER, 1, 5, seed=2)
    classes = make_seats(batch.scenario, batch.ues).traffic_class
    allowed = np.array([True, True, True, True, False])
    mask = 1 << TrafficClass.SPORADIC | 1 << TrafficClass.PERIODIC
    owners = np.array([OPEN, IDLE, 0, OPEN, IDLE, OPEN], np.int16)
    allocation = Allocation((1, 2, 3, 4, 5), owners, LeftoverRule(mask, 1.0), (), allowed)
    view = batch.begin_slot([allocation])
    may_UM = view.entitlement_BUM[0] == core.CONTEND
    may_U = (classes != TrafficClass.EMBB) & allowed
    assert 0 < may_U.sum() < 5
    np.testing.assert_array_equal(may_UM, may_U[:, None] & (owners == OPEN))
    assert view.probability_B[0] == 1.0 / may_U.sum()
    batch.finish_slot(np.zeros((1, 5, 6), bool))
    nothing = batch.begin_slot([Allocation((1, 2, 3, 4, 5), owners, LeftoverRule(ALL_CLASSES, 0.0))])
    assert not (nothing.entitlement_BUM == core.CONTEND).any()


def test_what_the_nodes_scheduler_leaves_over_is_open() -> None:
    batch = CellBatch(SPORADIC, 1, 3, seed=2)
    view = batch.begin_slot([all_dynamic((1, 2, 3), 6, LeftoverRule(ALL_CLASSES, 1.2))])
    held_M = (view.entitlement_BUM[0] == core.OWN).any(axis=0)
    open_M = (view.entitlement_BUM[0] == core.CONTEND).all(axis=0)
    np.testing.assert_array_equal(held_M, ~open_M)


def test_rbgs_of_a_ue_that_left_fall_to_the_nodes_scheduler_and_not_to_its_successor() -> None:
    batch = CellBatch(BUSY_PRESENCE, 20, 4, seed=13)
    first_ids = (1, 2, 3, 4)
    # Everything is UE 2's: while it is there nobody else sends; when it has gone the others do.
    allocation = Allocation(first_ids, np.ones(6, np.int16))
    served_by_others = {True: 0.0, False: 0.0}
    for _ in range(300):
        there_B = (batch.state.ue_id_BU == 2).any(axis=1)
        before = batch.state.counters_BUC[:, :, SERVED].copy()
        batch.play([allocation] * 20, 1)
        served_BU = batch.state.counters_BUC[:, :, SERVED] - before
        others = served_BU.sum(axis=1) - served_BU[:, 1] * there_B
        for there in (True, False):
            served_by_others[there] += float(others[there_B == there].sum())
    assert served_by_others[True] == 0.0 < served_by_others[False]

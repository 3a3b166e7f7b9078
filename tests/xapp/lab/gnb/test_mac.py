"""The simulated node's MAC without sockets: who governs, what is refused, what is counted."""

from __future__ import annotations

import numpy as np
import pytest

from policy.allocation import DYNAMIC, IDLE, OPEN, Allocation, LeftoverRule, PeriodicGrant
from policy.errors import UserMistake
from policy.observation import PROFILES
from training.simulator.cell import CellBatch
from training.simulator.scenario import make_scenario
from xapp.e2.dcm.messages import Carrier, Control, OutcomeCode
from xapp.lab.gnb.mac import Mac, onto_ues
from xapp.lab.gnb.measurements import MEASUREMENTS, Measured, measure, totals_since
from xapp.lab.gnb.ran_functions import make_carriers

UES = 4


def make_mac(scenario: str = "mix", k: int = 10, cells: int = 1, seed: int = 1) -> Mac:
    chosen = make_scenario(scenario).with_(slots_per_dcm=k)
    return Mac(chosen, make_carriers(1, cells, chosen.num_rbgs), UES, seed, "best_response")


def make_control(mac: Mac, decision_id: int, owners: int = IDLE, **changes: object) -> Control:
    carrier = mac.carriers[0]
    fields: dict[str, object] = {
        "instance_epoch": 1,
        "decision_id": decision_id,
        "based_on_indication_sn": 0,
        "carrier": carrier,
        "apply_from_slot": 0,
        "valid_for_slots": 2 * mac.scenario.slots_per_dcm,
        "release": False,
        "allocation": Allocation(tuple(range(1, UES + 1)), np.full(carrier.num_rbgs, owners, np.int16)),
    }
    return Control(**{**fields, **changes})  # type: ignore[arg-type]


def give(mac: Mac, control: Control) -> OutcomeCode:
    return mac.control(mac.carriers[0].cell, control).code


def play_to(mac: Mac, slot: int) -> None:
    while mac.slot < slot:
        mac.play(slot - mac.slot)


def test_slots_in_bursts_are_the_same_as_slots_at_once() -> None:
    mac, batch = make_mac(cells=2), CellBatch(make_scenario("mix").with_(slots_per_dcm=10), 2, UES, 1)
    while mac.slot < 200:
        mac.play(3)
    batch.play(None, 200)
    np.testing.assert_equal(mac.metrics(), batch.metrics())


def test_a_burst_ends_at_boundaries_and_where_a_lease_is_over() -> None:
    mac = make_mac()
    assert mac.play(100) == 10
    assert give(mac, make_control(mac, 1, valid_for_slots=4)) is OutcomeCode.OK
    assert mac.play(100) == 4
    assert mac.play(100) == 6
    assert mac.counts["applied"] == 1
    assert mac.own_scheduler_periods == 1


def test_a_control_that_is_overtaken_before_it_begins_was_not_applied() -> None:
    mac = make_mac()
    mac.play(1)
    for decision_id in (1, 2, 3):
        assert give(mac, make_control(mac, decision_id)) is OutcomeCode.OK
    play_to(mac, 11)
    assert (mac.counts["applied"], mac.counts["superseded"]) == (1, 2)
    assert give(mac, make_control(mac, 4)) is OutcomeCode.OK
    assert give(mac, make_control(mac, 5, release=True)) is OutcomeCode.OK
    assert (mac.counts["superseded"], mac.counts["released"]) == (3, 1)
    play_to(mac, 30)
    assert mac.counts["applied"] == 1


def test_controls_of_different_boundaries_wait_side_by_side() -> None:
    mac = make_mac()
    assert give(mac, make_control(mac, 1, apply_from_slot=10)) is OutcomeCode.OK
    assert give(mac, make_control(mac, 2, apply_from_slot=20)) is OutcomeCode.OK
    play_to(mac, 25)
    assert (mac.counts["applied"], mac.counts["superseded"]) == (2, 0)


def test_a_control_that_comes_after_its_period_began_is_late() -> None:
    for k, on_time in ((5, 0), (10, 9)):
        mac = make_mac(k=k)
        mac.observe()
        play_to(mac, on_time)
        give(mac, make_control(mac, 1))
        assert mac.counts["late"] == 0
        play_to(mac, mac.next_boundary_slot + 1)
        give(mac, make_control(mac, 2))
        play_to(mac, 40)
        assert (mac.counts["late"], mac.counts["applied"]) == (1, 2)


def test_a_control_is_late_for_the_period_after_the_report_that_it_names() -> None:
    mac = make_mac()
    mac.observe()
    mac.reported_as(0, 100)
    play_to(mac, 10)
    mac.observe()
    mac.reported_as(0, 101)
    # Slot 10 has not been played: the answer to the first report is just in time, and does not wait for slot 20.
    give(mac, make_control(mac, 1, based_on_indication_sn=100))
    mac.play(1)
    assert (mac.counts["applied"], mac.counts["late"]) == (1, 0)
    give(mac, make_control(mac, 2, based_on_indication_sn=100))
    give(mac, make_control(mac, 3, based_on_indication_sn=101))
    play_to(mac, 21)
    assert (mac.counts["applied"], mac.counts["superseded"], mac.counts["late"]) == (2, 1, 1)


def test_two_xapps_controls_of_one_number_are_two_controls() -> None:
    mac = make_mac()
    give(mac, make_control(mac, 1, instance_epoch=1, apply_from_slot=10))
    give(mac, make_control(mac, 1, instance_epoch=2, apply_from_slot=20))
    for slot, epoch in ((10, 1), (20, 2)):
        play_to(mac, slot)
        (report,) = mac.observe()
        assert report.applied is not None and report.applied.instance_epoch == epoch
    play_to(mac, 21)
    assert (mac.counts["applied"], mac.counts["superseded"]) == (2, 0)


def test_reports_say_which_control_governs() -> None:
    """An answer to the report of slot 0 governs from slot 10 on, however quick it is."""
    mac = make_mac()
    (report,) = mac.observe()
    assert report.applied is None
    give(mac, make_control(mac, 7, owners=OPEN, instance_epoch=3))
    play_to(mac, 10)
    for _ in range(2):
        (report,) = mac.observe()
        assert report.applied is not None
        assert (report.applied.instance_epoch, report.applied.decision_id) == (3, 7)
        play_to(mac, mac.slot + 10)
    assert mac.observe()[0].applied is None  # its lease is over


def test_next_boundary_is_this_one_for_a_fast_leader_and_the_next_for_a_slow_one() -> None:
    assert make_mac(k=5).next_boundary_slot == 0
    assert make_mac(k=10).next_boundary_slot == 10


def test_a_ue_is_known_if_it_is_there_or_was_in_the_report_that_the_control_names() -> None:
    mac = make_mac("lab_paper", k=5, seed=3)
    (report,) = mac.observe()
    mac.reported_as(0, 100)
    early = report.state.ue_ids
    while set(early) <= set(report.state.ue_ids):
        play_to(mac, mac.slot + 5)
        (report,) = mac.observe()
        mac.reported_as(0, 100 + mac.slot // 5)
    allocation = Allocation(early, np.full(6, DYNAMIC, np.int16))
    newest = 100 + mac.slot // 5
    based_on_newest = make_control(mac, 1, allocation=allocation, based_on_indication_sn=newest)
    assert give(mac, based_on_newest) is OutcomeCode.UNKNOWN_UE
    based_on_early = make_control(mac, 2, allocation=allocation, based_on_indication_sn=newest - 1)
    assert give(mac, based_on_early) is OutcomeCode.OK


def test_carriers_must_be_the_cells() -> None:
    mac = make_mac()
    other = Carrier.of(mac.carriers[0].cell, bwp_size_prb=24, rbg_size_prb=4, bwp_start_prb=4)
    assert give(mac, make_control(mac, 1, carrier=other)) is OutcomeCode.BAD_CARRIER
    assert mac.control("00f110000000099", make_control(mac, 1)).code is OutcomeCode.UNKNOWN_CELL
    with pytest.raises(UserMistake, match="RBGs"):
        Mac(make_scenario("mix"), make_carriers(1, 1, 5), UES, 1, "best_response")
    with pytest.raises(UserMistake, match="cells"):
        make_carriers(1, 16, 6)


def test_an_allocation_seen_over_other_ues() -> None:
    old = Allocation(
        (1, 2, 5),
        np.array([0, 1, 2, OPEN, IDLE], np.int16),
        LeftoverRule(5, 1.2),
        (PeriodicGrant(0, 1, 10, 3), PeriodicGrant(2, 4, 12, 0)),
        np.array([True, False, False]),
        np.array([255, 2, 3], np.uint8),
    )
    new = onto_ues(old, (2, 5, 9))
    assert new.owner_M.tolist() == [DYNAMIC, 0, 1, OPEN, IDLE]
    assert new.periodic_grants == (PeriodicGrant(1, 4, 12, 0),)
    assert new.open_allowed_U.tolist() == [False, False, True]
    assert new.max_rbgs_U.tolist() == [2, 3, 255]
    assert new.leftover == old.leftover
    assert onto_ues(old, old.ue_ids) is old


def test_measurements_add_up_with_the_radio() -> None:
    mac = make_mac()
    before = mac.batch.ue_table(0)
    play_to(mac, 100)
    (report,) = mac.observe()
    measured = Measured(report, totals_since(report.table, before, 100), mac.carriers[0])
    names = ("DRB.UEThpUl", "RRU.PrbTotUl", "RRU.PrbUsedUl", "DRB.AirIfDelayUl", "RRU.PrbAvailUl", "DRB.UEThpDl")
    table = measure(measured, names)
    (cell,) = mac.metrics()
    assert table[:, 0].sum() == pytest.approx(cell.throughput_bits_per_slot)  # bits a millisecond = kbit/s
    np.testing.assert_allclose(table[:, 2], 24 * table[:, 1] / 100, atol=1)
    assert np.nanmean(table[:, 3]) > 10.0
    assert (table[:, 4] == 24).all()
    assert np.isnan(table[:, 5]).all()
    assert all(name in MEASUREMENTS for profile in PROFILES.values() for name in profile.measurements)


def test_totals_of_a_newcomer_start_with_it() -> None:
    mac = make_mac("lab_paper", k=5, seed=3)
    before = mac.batch.ue_table(0)
    while set(mac.batch.ue_table(0).ue_ids) <= set(before.ue_ids):
        play_to(mac, mac.slot + 5)
    table = mac.batch.ue_table(0)
    totals = totals_since(table, before, mac.slot)
    new = [row for row, ue in enumerate(table.ue_ids) if ue not in before.ue_ids]
    np.testing.assert_array_equal(totals.served_bits_U[new], table.served_bits_U[new])
    assert (totals.rbg_slots_U >= 0).all()

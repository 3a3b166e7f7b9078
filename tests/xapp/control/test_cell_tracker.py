"""What a cell has reported becomes one state: sequence numbers, two kinds of report, KPM alone."""

from __future__ import annotations

import numpy as np
import pytest
from tracking import header, indication, report, state_of, tracker

from policy.cell_state import COLUMNS, RBG_COLUMNS, SERVED_DECAY_PER_SLOT, SERVED_START_BITS_PER_SLOT, CellState
from policy.observation import PROFILES
from training.simulator.scenario import Scenario, make_scenario
from xapp.config.model import KPM_MEASUREMENTS
from xapp.control.report_sequence import ReportSequence
from xapp.e2.dcm import messages as dcm
from xapp.e2.e2ap import hot_messages as e2ap
from xapp.e2.e2ap import procedures
from xapp.e2.e2ap.hot_messages import SN_RANGE
from xapp.e2.kpm import messages as kpm
from xapp.e2.kpm.report_reader import NO_UE, decode_report
from xapp.lab.counters import Counters
from xapp.lab.gnb.e2_agent import E2Agent
from xapp.lab.gnb.mac import Mac
from xapp.lab.gnb.ran_functions import KPM_FUNCTION_ID, make_carriers, make_identity
from xapp.nodes.subscription_plan import plan_node
from xapp.ric.nodes import E2Node, RanFunction

# -- sequence numbers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sn", "last", "newer"),
    [
        (0, None, True),
        (None, 7, True),
        (8, 7, True),
        (7, 7, False),
        (6, 7, False),
        (0, SN_RANGE - 1, True),
        (SN_RANGE - 1, 0, False),
        (SN_RANGE // 2 - 1, 0, True),
        (SN_RANGE // 2, 0, False),
    ],
)
def test_a_report_is_newer_when_it_follows_also_around_the_wrap(sn: int | None, last: int | None, newer: bool) -> None:
    sequence = ReportSequence()
    assert sequence.take(last)
    assert sequence.take(sn) is newer


def test_duplicates_and_late_reports_change_nothing() -> None:
    tracked = tracker()
    assert tracked.on_dcm(SN_RANGE - 1, header(0), indication((1,), buffer_bits=[100.0]))
    assert tracked.on_dcm(0, header(1), indication((1,), buffer_bits=[200.0]))
    for sn in (0, SN_RANGE - 1):
        assert not tracked.on_dcm(sn, header(9), indication((1, 2), buffer_bits=[9.0, 9.0]))
    assert tracked.on_kpm(5, report((1,)))
    assert not tracked.on_kpm(5, report((1,), values=[[9.0] * 4]))
    state = state_of(tracked)
    assert (state.slot, state.ue_ids, state.buffer_bits_U.tolist()) == (1, (1,), [200.0])
    assert state.prb_share_U.tolist() == [0.01]


def test_a_new_subscription_starts_its_numbers_anew_and_only_its_own() -> None:
    tracked = tracker()
    assert tracked.on_dcm(500, header(500), indication((1,)))
    assert tracked.on_kpm(500, report((1,)))
    tracked.restart("dcm")
    assert tracked.on_dcm(0, header(501), indication((1,)))
    assert not tracked.on_kpm(0, report((1,)))
    tracked.restart("kpm")
    assert tracked.on_kpm(0, report((1,)))


# -- one cell, two kinds of report ------------------------------------------------------------------------------------


def test_there_is_no_state_before_the_first_report_that_opens_a_period() -> None:
    tracked = tracker()
    assert tracked.state() is None
    assert not tracked.period_complete
    assert tracked.on_kpm(1, report((1,)))
    assert tracked.state() is None
    assert not tracked.period_complete


def test_kpm_rows_join_dcm_rows_by_their_ue() -> None:
    tracked = tracker()
    tracked.on_dcm(1, header(10), indication((3, 5, 8), cqi=[7.0, np.nan, np.nan]))
    tracked.on_kpm(1, report((8, 4, 3), values=[[1, 50, 2, 11], [1, 60, 2, 12], [1, 70, 2, 13]]))
    state = state_of(tracked)
    assert state.ue_ids == (3, 5, 8)
    np.testing.assert_array_equal(state.prb_share_U, [0.7, np.nan, 0.5])
    np.testing.assert_array_equal(state.cqi_U, [7.0, np.nan, 11.0])  # what the DCM indication says comes first


def test_a_period_is_complete_when_both_kinds_have_come_for_it() -> None:
    tracked = tracker()
    tracked.on_dcm(1, header(0), indication((1,)))
    assert not tracked.period_complete
    tracked.on_kpm(1, report((1,)))
    assert tracked.period_complete
    tracked.on_dcm(2, header(1), indication((1,)))
    assert not tracked.period_complete
    alone = tracker(has_kpm=False)
    alone.on_dcm(1, header(0), indication((1,)))
    assert alone.period_complete


def test_the_served_average_runs_over_the_periods_and_ends_with_the_ue() -> None:
    tracked = tracker()
    tracked.on_dcm(1, header(0), indication((1, 2), k=5, served_bits=[7.0, 7.0]))
    np.testing.assert_array_equal(state_of(tracked).served_bits_per_slot_U, [SERVED_START_BITS_PER_SLOT] * 2)
    tracked.on_dcm(2, header(5), indication((1, 3), k=5, served_bits=[1000.0, np.nan]))
    keep = SERVED_DECAY_PER_SLOT**5
    first = keep * SERVED_START_BITS_PER_SLOT + (1 - keep) * 200.0
    np.testing.assert_allclose(state_of(tracked).served_bits_per_slot_U, [first, SERVED_START_BITS_PER_SLOT])
    tracked.on_dcm(3, header(10), indication((1, 2), k=5, served_bits=[0.0, 0.0]))
    np.testing.assert_allclose(
        state_of(tracked).served_bits_per_slot_U, [keep * first, keep * SERVED_START_BITS_PER_SLOT]
    )


def test_throughput_stands_in_for_served_bits_that_are_not_reported() -> None:
    tracked = tracker()
    tracked.on_dcm(1, header(0), indication((3, 4), k=2, served_bits=[np.nan, np.nan]))
    tracked.on_kpm(1, report((3,), ("DRB.UEThpUl",), [[500.0]]))
    tracked.on_dcm(2, header(2), indication((3, 4), k=2, served_bits=[np.nan, 100.0]))

    keep = SERVED_DECAY_PER_SLOT**2
    expected = [keep * SERVED_START_BITS_PER_SLOT + (1 - keep) * rate for rate in (500.0, 50.0)]
    np.testing.assert_allclose(state_of(tracked).served_bits_per_slot_U, expected)


def test_a_lost_report_does_not_count_as_silence_of_the_ue() -> None:
    tracked = tracker()
    tracked.on_dcm(1, header(0), indication((1,), k=5, served_bits=[0.0]))
    tracked.on_dcm(9, header(40), indication((1,), k=5, served_bits=[1500.0]))
    np.testing.assert_allclose(state_of(tracked).served_bits_per_slot_U, [SERVED_START_BITS_PER_SLOT])


def test_a_node_that_starts_over_has_no_history() -> None:
    tracked = tracker()
    tracked.on_dcm(1, header(900), indication((1,), served_bits=[0.0]))
    tracked.on_dcm(2, header(901), indication((1,), served_bits=[9000.0]))
    assert state_of(tracked).served_bits_per_slot_U[0] > 2 * SERVED_START_BITS_PER_SLOT
    tracked.restart("dcm")
    tracked.on_dcm(0, header(0), indication((1,), served_bits=[0.0]))
    assert state_of(tracked).served_bits_per_slot_U.tolist() == [SERVED_START_BITS_PER_SLOT]
    assert state_of(tracked).slot == 0


def test_a_ue_that_has_just_come_has_reports_no_older_than_itself() -> None:
    tracked = tracker()
    tracked.on_dcm(1, header(100), indication((1,)))
    for slot in range(101, 108):
        tracked.on_dcm(slot, header(slot), indication((1, 2)))
        assert state_of(tracked).age_slots_U.tolist() == [4, min(4, slot - 101)]


def test_what_no_policy_could_look_up_is_not_reported() -> None:
    tracked = tracker()
    columns = {"preferred_rbg": [5, 6, 0], "cqi": [15, 16, 0]}
    tracked.on_dcm(1, header(0), indication((1, 2, 3), **columns))
    tracked.on_kpm(1, report((1, 2, 3), values=[[1, np.inf, 2, 3]] * 3))
    state = state_of(tracked)
    np.testing.assert_array_equal(state.preferred_rbg_U, [5, np.nan, 0])
    np.testing.assert_array_equal(state.cqi_U, [15, np.nan, 0])
    assert np.isnan(state.prb_share_U).all()


def test_an_empty_cell_is_a_state_too() -> None:
    tracked = tracker()
    tracked.on_dcm(1, header(0), indication(()))
    assert state_of(tracked).ue_ids == ()


# -- KPM alone --------------------------------------------------------------------------------------------------------


def test_a_cell_with_kpm_alone_has_what_kpm_can_say_and_nothing_else() -> None:
    tracked = tracker(has_dcm=False)
    tracked.on_kpm(1, report((9, 2), values=[[100, 30, 25, 8], [50, np.nan, np.nan, np.nan]]))
    assert tracked.period_complete
    state = state_of(tracked)
    assert (state.ue_ids, state.slots_per_dcm) == ((2, 9), 100)
    np.testing.assert_array_equal(state.prb_share_U, [np.nan, 0.3])
    np.testing.assert_array_equal(state.cqi_U, [np.nan, 8])
    # The delay of what was delivered (DRB.AirIfDelayUl) is not the age of what waits: that is not known.
    np.testing.assert_array_equal(state.head_delay_slots_U, [np.nan, np.nan])
    for column in ("buffer_bits_U", "inflight_bits_U", "preferred_rbg_U", "traffic_class_U", "deadline_slots_U"):
        assert np.isnan(getattr(state, column)).all()
    tracked.on_kpm(2, report((9, 2), values=[[100, 30, 25, 8], [50, 0, 0, 0]]))
    keep = SERVED_DECAY_PER_SLOT**100
    expected = keep * SERVED_START_BITS_PER_SLOT + (1 - keep) * np.array([50.0, 100.0])  # kbit/s = bits a slot
    np.testing.assert_allclose(state_of(tracked).served_bits_per_slot_U, expected)
    assert state_of(tracked).slot == 200


def test_rows_of_nobody_and_rows_given_twice_do_no_harm() -> None:
    tracked = tracker(has_dcm=False)
    tracked.on_kpm(1, report((NO_UE,)))
    assert state_of(tracked).ue_ids == ()
    huge = 2**64 - 1
    tracked.on_kpm(2, report((4, huge, 4), ("CQI",), [[3], [4], [5]]))
    assert state_of(tracked).ue_ids == (huge,), "which row of UE 4 is whose is not known"
    np.testing.assert_array_equal(state_of(tracked).cqi_U, [4])
    assert tracked.twins == {4: 2}
    tracked.on_kpm(3, report((4, huge), ("CQI",), [[3], [4]]))
    assert (state_of(tracked).ue_ids, tracked.twins) == ((4, huge), {})


# -- the whole way from the simulator's own observation ---------------------------------------------------------------


class Gnb:
    """The lab's node without its sockets, subscribed to as node_plan says."""

    def __init__(self, scenario: Scenario, ues: int, seed: int, period_ms: int) -> None:
        carriers = make_carriers(1, 2, scenario.num_rbgs)
        self.mac = Mac(scenario, carriers, ues, seed, "best_response")
        self.agent = E2Agent(
            self.mac, make_identity(1), period_ms=period_ms, profile=PROFILES["full"], counters=Counters()
        )
        setup = procedures.decode(self.agent.connected())
        assert isinstance(setup, procedures.E2SetupRequest)
        functions = tuple(RanFunction(f.function_id, f.oid, f.definition) for f in setup.functions)
        plan = plan_node(E2Node("gnb", True, functions), report_period_ms=period_ms, measurements=KPM_MEASUREMENTS)
        assert plan.problems == ()
        self.kinds: dict[int, tuple[str, str]] = {}
        for instance, wanted in enumerate(plan.wanted, start=1):
            request = procedures.SubscriptionRequest(
                e2ap.RicRequestId(123, instance),
                wanted.function_id,
                wanted.event_trigger,
                (procedures.Action(0, definition=wanted.action_definition),),
            )
            (answer,) = self.agent.handle(procedures.encode(request))
            assert isinstance(procedures.decode(answer), procedures.SubscriptionResponse)
            self.kinds[instance] = (wanted.cell_key, wanted.kind)
        assert {wanted.function_id for wanted in plan.wanted} == {KPM_FUNCTION_ID, dcm.DCM_FUNCTION_ID}
        self.trackers = {
            key: tracker(num_rbgs=scenario.num_rbgs, report_period_ms=period_ms)
            for key in {key for key, _ in self.kinds.values()}
        }
        self.cells = [f"gnb/{carrier.cell}" for carrier in carriers]

    def period(self) -> list[tuple[CellState, CellState]]:
        """Per cell what the simulator observes, and what arrives of it; then one period is played."""
        reports = self.mac.observe()
        for pdu in self.agent.indications(reports):
            arrived = e2ap.decode_indication(pdu)
            key, kind = self.kinds[arrived.request_id.instance]
            if kind == "dcm":
                assert self.trackers[key].on_dcm(
                    arrived.sn, dcm.decode_indication_header(arrived.header), dcm.decode_indication(arrived.message)
                )
            else:
                assert kpm.decode_indication_header(arrived.header)
                assert self.trackers[key].on_kpm(arrived.sn, decode_report(arrived.message, KPM_MEASUREMENTS))
        assert all(tracked.period_complete for tracked in self.trackers.values())
        pairs = [(report.state, state_of(self.trackers[cell])) for report, cell in zip(reports, self.cells)]
        slots = self.mac.scenario.slots_per_dcm
        while slots:
            slots -= self.mac.play(slots)
        return pairs


@pytest.mark.parametrize(
    ("scenario", "periods"),
    [
        (make_scenario("lab_paper").with_(present_slots=12.0, absent_slots=6.0), 60),
        (make_scenario("lab_paper").with_(slots_per_dcm=5, present_slots=40.0, absent_slots=10.0), 30),
        (make_scenario("lab").with_(present_slots=300.0, absent_slots=100.0), 12),
    ],
    ids=["K=1", "K=5", "K=100"],
)
def test_what_arrives_is_what_the_simulator_observes(scenario: Scenario, periods: int) -> None:
    gnb = Gnb(scenario, ues=8, seed=5, period_ms=100)
    ids, heard = set(), False
    for _ in range(periods):
        for observed, arrived in gnb.period():
            ids.add(observed.ue_ids)
            assert (arrived.num_rbgs, arrived.slots_per_dcm, arrived.slot, arrived.ue_ids) == (
                observed.num_rbgs,
                observed.slots_per_dcm,
                observed.slot,
                observed.ue_ids,
            )
            assert not np.isnan(arrived.buffer_bits_U).any()
            # What came of single RBGs in single slots is for leaders that are asked every few slots.
            heard |= bool(np.isfinite(arrived.last_cqi_UM).any() and np.isfinite(arrived.last_outcome_M).all())
            for column in (*COLUMNS, *RBG_COLUMNS):
                there, here = getattr(observed, column), getattr(arrived, column)
                # Columns are single precision on the wire.
                np.testing.assert_allclose(here, there, rtol=1e-6, err_msg=f"{column} at slot {observed.slot}")
    assert len(ids) > 5, "UEs should have come and gone"
    assert heard == (scenario.slots_per_dcm < 10)


def test_a_state_is_the_same_however_often_it_is_asked_for() -> None:
    gnb = Gnb(make_scenario("lab_paper"), ues=4, seed=2, period_ms=100)
    gnb.period()
    for tracked in gnb.trackers.values():
        first, second = state_of(tracked), state_of(tracked)
        for column in (*COLUMNS, *RBG_COLUMNS):
            np.testing.assert_array_equal(getattr(first, column), getattr(second, column))

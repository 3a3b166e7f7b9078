"""From report bytes to the state that a decision sees: for the simulator's own gNB equal column by column."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.cell_state import COLUMNS, RBG_COLUMNS, SERVED_DECAY_PER_SLOT, SERVED_START_BITS_PER_SLOT, CellState
from policy.observation import PROFILES
from training.simulator.scenario import Scenario, make_scenario
from xapp.config.model import KPM_MEASUREMENTS
from xapp.control.cell_tracker import SN_RANGE, CellTracker, is_newer
from xapp.e2.dcm import messages as dcm
from xapp.e2.e2ap import hot_messages as e2ap
from xapp.e2.e2ap import procedures
from xapp.e2.kpm import messages as kpm
from xapp.e2.kpm.report_reader import NO_UE, KpmReport, decode_report
from xapp.lab.counters import Counters
from xapp.lab.gnb.e2_agent import E2Agent
from xapp.lab.gnb.mac import Mac
from xapp.lab.gnb.ran_functions import KPM_FUNCTION_ID, make_carriers, make_identity
from xapp.nodes.subscription_plan import plan_node
from xapp.ric.nodes import E2Node, RanFunction

CELL = "gnb/00f110000000011"
NAMES = ("DRB.UEThpUl", "RRU.PrbTotUl", "DRB.AirIfDelayUl", "CQI")


def tracker(**changes: Any) -> CellTracker:
    return CellTracker(CELL, **{"num_rbgs": 6, "report_period_ms": 100, "has_kpm": True, "has_dcm": True, **changes})


def report(ue_keys: tuple[int, ...], names: tuple[str, ...] = NAMES, values: Any = None) -> KpmReport:
    """values [U, N]; by default row * 10 + column."""
    full = np.add.outer(np.arange(len(ue_keys)) * 10.0, np.arange(float(len(names)))) if values is None else values
    return KpmReport(ue_keys, names, np.array(full, dtype=float).reshape(len(ue_keys), len(names)), 100, 0, b"", ())


def indication(ue_ids: tuple[int, ...], k: int = 1, **columns: Any) -> dcm.Indication:
    return dcm.Indication(ue_ids, k, 0, 4, **{name: np.array(column, float) for name, column in columns.items()})


def header(slot: int) -> dcm.IndicationHeader:
    return dcm.IndicationHeader("00f110000000011", slot, 0)


def state_of(tracked: CellTracker) -> CellState:
    state = tracked.state()
    assert state is not None
    return state


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
    assert is_newer(sn, last) is newer


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


# -- what cannot be, and what was said before -------------------------------------------------------------------------

IMPOSSIBLE = {"DRB.UEThpUl": [-1.0, 1e308, np.inf], "RRU.PrbTotUl": [140.0, -1.0, 1e308], "CQI": [1835.0, -33.9, 16.0]}


@pytest.mark.parametrize("row", range(3))
def test_what_cannot_be_is_not_reported_and_leaves_the_averages_as_they_were(row: int) -> None:
    tracked, spoilt = tracker(has_dcm=False), tracker(has_dcm=False)
    names = tuple(IMPOSSIBLE)
    good = [[[100.0 + n, 50.0, 9.0]] for n in range(4)]
    for n, values in enumerate(good):
        for each in (tracked, spoilt):
            each.on_kpm(2 * n, report((1,), names, values))
    for n in range(40, 45):
        spoilt.on_kpm(n, report((1,), names, [[column[(row + n) % 3] for column in IMPOSSIBLE.values()]]))
        state = state_of(spoilt)
        assert np.isnan([state.prb_share_U[0], state.cqi_U[0]]).all()
        before = state_of(tracked)
        for column in ("served_bits_per_slot_U", "long_served_bits_per_slot_U", "cqi_mean_U"):
            np.testing.assert_array_equal(getattr(state, column), getattr(before, column))
    spoilt.on_kpm(50, report((1,), names, [[70.0, 20.0, 8.0]]))
    state = state_of(spoilt)
    assert (state.prb_share_U.tolist(), state.cqi_U.tolist()) == ([0.2], [8.0])
    assert 70.0 <= state.served_bits_per_slot_U[0] < 71.0


def test_a_case_from_the_field_reads_as_far_as_it_can_be(case: Callable[[str], bytes]) -> None:
    tracked = tracker(has_dcm=False)
    tracked.on_kpm(1, decode_report(case("kpm3-mixed-cqi1835-negative")))
    state = state_of(tracked)
    assert state.ue_ids == (0, 1, 2, 7)
    np.testing.assert_array_equal(state.cqi_U, [15, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(state.prb_share_U, [0.23, np.nan, np.nan, np.nan])
    # A first report finds no average yet: it begins where every UE's does, whatever was measured.
    assert state.served_bits_per_slot_U.tolist() == [SERVED_START_BITS_PER_SLOT] * 4


@given(st.lists(st.floats(width=32), min_size=4, max_size=4), st.integers(1, 3))
def test_whatever_is_reported_every_column_of_the_state_is_in_its_range(values: list[float], reports: int) -> None:
    tracked = tracker(has_dcm=False)
    for sn in range(reports):
        tracked.on_kpm(sn, report((1, 2), values=[values, values[::-1]]))
    state = state_of(tracked)
    for name, highest in {"cqi_U": 15, "prb_share_U": 1, "cqi_mean_U": 15, "served_bits_per_slot_U": 1e8}.items():
        column = getattr(state, name)
        assert np.all(np.isnan(column) | ((column >= 0) & (column <= highest))), name


def test_columns_of_dcm_indications_are_held_to_their_ranges_too() -> None:
    tracked = tracker()
    columns = {"buffer_bits": [1e38, 100.0], "head_delay_slots": [3e38, 5.0], "served_bits": [3e38, 10.0]}
    tracked.on_dcm(1, header(0), indication((1, 2), **columns))
    tracked.on_dcm(2, header(1), indication((1, 2), **columns))
    state = state_of(tracked)
    np.testing.assert_array_equal(state.buffer_bits_U, [np.nan, 100.0])
    np.testing.assert_array_equal(state.head_delay_slots_U, [np.nan, 5.0])
    assert (state.served_bits_per_slot_U <= SERVED_START_BITS_PER_SLOT).all()


# -- reports that say the same thing once more ------------------------------------------------------------------------


def measured(n: int) -> KpmReport:
    return report((1, 2), values=[[100.0 + n, 50, 2, 9 + n % 3], [200.0 + n, 40, 2, 5]])


@pytest.mark.parametrize("repeats", [1, 10])
def test_histories_count_measurements_not_reports(repeats: int) -> None:
    once, often = tracker(has_dcm=False), tracker(has_dcm=False)
    sn = 0
    for n in range(6):
        once.on_kpm(n, measured(n))
        for _ in range(repeats):
            often.on_kpm(sn, measured(n))
            sn += 1
            for column in ("served_bits_per_slot_U", "long_served_bits_per_slot_U", "cqi_mean_U"):
                np.testing.assert_array_equal(getattr(state_of(often), column), getattr(state_of(once), column))
        assert often.measurements == once.measurements == n + 1
    assert often.reports_per_measurement == repeats


def test_a_node_that_measures_for_every_report_may_report_the_same_twice() -> None:
    tracked = tracker(has_dcm=False)
    for n in range(5):
        tracked.on_kpm(n, measured(n))
    for n in range(5, 10):
        tracked.on_kpm(n, measured(4))
    assert (tracked.measurements, tracked.reports_per_measurement) == (10, 1)


def test_a_cell_at_rest_is_measured_all_the_same() -> None:
    tracked = tracker(has_dcm=False)
    for n in range(101):
        tracked.on_kpm(n, measured(0))
    assert (tracked.measurements, tracked.reports_per_measurement) == (11, 0), "once a second, until the pace is known"


def test_ues_that_come_and_go_between_measurements_are_no_measurement() -> None:
    tracked = tracker(has_dcm=False)
    tracked.on_kpm(0, report((1, 2), ("CQI",), [[3], [4]]))
    tracked.on_kpm(1, report((1, 2, 3), ("CQI",), [[3], [4], [5]]))
    assert (tracked.measurements, state_of(tracked).ue_ids) == (1, (1, 2, 3))
    assert state_of(tracked).cqi_mean_U.tolist() == [3, 4, 5]
    tracked.on_kpm(2, report((2,), ("CQI",), [[4]]))
    assert (tracked.measurements, state_of(tracked).ue_ids) == (1, (2,))


def test_throughput_of_a_kpm_report_that_did_not_come_again_is_counted_once() -> None:
    tracked = tracker()
    tracked.on_dcm(1, header(0), indication((1,)))
    tracked.on_kpm(1, report((1,), ("DRB.UEThpUl",), [[1000.0]]))
    tracked.on_dcm(2, header(1), indication((1,)))
    once = state_of(tracked).served_bits_per_slot_U
    assert once[0] > SERVED_START_BITS_PER_SLOT
    tracked.on_dcm(3, header(2), indication((1,)))
    np.testing.assert_array_equal(state_of(tracked).served_bits_per_slot_U, once)


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

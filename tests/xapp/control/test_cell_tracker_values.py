"""Values that cannot be, and measurements that come more than once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tracking import header, indication, report, state_of, tracker

from policy.cell_state import SERVED_START_BITS_PER_SLOT
from xapp.e2.kpm.report_reader import KpmReport, decode_report

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

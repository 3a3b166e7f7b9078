"""Which reports are new: a few forged or garbled numbers cost a few reports, and late ones never replace newer ones."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from xapp.control.report_sequence import CONSISTENT, MAX_STEP, ReportSequence
from xapp.e2.e2ap.hot_messages import SN_RANGE

numbers = st.integers(0, SN_RANGE - 1)


@given(numbers, st.integers(1, SN_RANGE // 2 - 1), st.integers(1, MAX_STEP))
def test_one_forged_report_far_ahead_costs_two_reports(first: int, ahead: int, step: int) -> None:
    sequence = ReportSequence()
    assert sequence.take(first)
    assert sequence.take((first + ahead) % SN_RANGE)
    nodes_own = [(first + number * step) % SN_RANGE for number in range(1, 8)]
    taken = [sequence.take(sn) for sn in nodes_own]
    assert taken.count(False) <= CONSISTENT - 1
    assert all(taken[CONSISTENT - 1 :])


def test_a_forger_that_goes_on_costs_reports_only_beside_its_own() -> None:
    sequence, taken = ReportSequence(), []
    for sn in range(100):
        if sn % 10 == 5:
            sequence.take((sn + 20_000 * (1 + sn // 10)) % SN_RANGE)
        taken.append(sequence.take(sn))
    assert taken.count(False) <= 10 * (CONSISTENT - 1)


@given(st.data())
def test_what_repeats_or_comes_late_replaces_nothing(data: st.DataObject) -> None:
    """Late ones that do not count on, duplicates of the newest, and whole streams that lag behind a live one."""
    sequence = ReportSequence()
    lag = data.draw(st.integers(1, 1000))
    for sn in itertools.islice(itertools.count(data.draw(numbers)), 20):
        assert sequence.take(sn % SN_RANGE)
        assert not sequence.take(sn % SN_RANGE)
        assert not sequence.take((sn - lag) % SN_RANGE)
    assert sequence.resynchronised == 0


def test_numbers_that_do_not_count_on_are_not_believed() -> None:
    sequence = ReportSequence()
    assert sequence.take(20_000)
    for sn in (9, 8, 7, 100, 50, 200, 150, 3, 3, 3, 3):
        assert not sequence.take(sn)


def test_a_new_subscription_starts_without_a_past() -> None:
    sequence = ReportSequence()
    assert sequence.take(9)
    assert not sequence.take(5)
    sequence.restart()
    assert sequence.take(5)
    assert sequence.last == 5

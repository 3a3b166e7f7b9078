"""The slot clock, with time as a number."""

from __future__ import annotations

import pytest

from xapp.lab.gnb.slot_clock import MAX_DEBT_S, SlotClock


def test_at_the_rics_pace_slots_come_due_one_by_one() -> None:
    clock = SlotClock(100, 0.1)
    assert clock.slots_due(0, 5.0, 10) == 0
    clock.start(10.0)
    assert clock.slots_due(0, 10.0, 10) == 0
    assert clock.slots_due(0, 10.0031, 10) == 3
    assert clock.slots_due(0, 10.0031, 2) == 2
    assert clock.slots_due(3, 10.0031, 10) == 0
    assert clock.due_at_s(99) == pytest.approx(10.1)


@pytest.mark.parametrize("k", [1, 5, 9])
def test_beside_a_leader_a_periods_slots_wait_for_its_end(k: int) -> None:
    clock = SlotClock(k, 0.1)
    clock.start(10.0)
    assert clock.slots_due(0, 10.099, 100) == 0
    assert clock.slots_due(0, 10.1001, 100) == k
    assert clock.slots_due(k, 10.1001, 100) == 0


def test_slots_more_than_a_period_late_are_counted() -> None:
    clock = SlotClock(10, 0.1)
    clock.start(0.0)
    clock.played(0, 10, 0.1)
    assert clock.slots_late == 0
    clock.played(10, 10, 0.255)  # due at .11 to .20: five of them by .15
    assert clock.slots_late == 5


def test_debt_beyond_a_second_is_let_go() -> None:
    clock = SlotClock(100, 0.1)
    clock.start(0.0)
    assert clock.slots_due(0, 0.5, 10_000) == 500
    assert clock.dropped_s == 0.0
    assert clock.slots_due(500, 10.0, 5) == 5
    clock.played(500, 5, 10.0)
    assert clock.slots_late == 5  # the others are on time from now on
    assert clock.dropped_s == pytest.approx(10.0 - 0.506)
    assert clock.dropped_s > MAX_DEBT_S
    assert clock.slots_due(505, 10.0, 10_000) == 1
    clock.played(505, 1, 10.0)
    assert clock.slots_due(506, 10.0, 10_000) == 0
    assert clock.slots_due(506, 10.0011, 10_000) == 1
    assert clock.slots_late == 5

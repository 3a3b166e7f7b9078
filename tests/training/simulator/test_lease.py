"""Which control governs which slot."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from policy.allocation import all_dynamic
from training.simulator.lease import FOREVER, ControlSchedule, Term

ALLOCATION = all_dynamic((1,), 6)


def test_a_control_begins_at_the_next_boundary_that_has_not_begun() -> None:
    schedule = ControlSchedule(10)
    assert schedule.offer(ALLOCATION, next_slot=20).first_slot == 20
    assert schedule.offer(ALLOCATION, next_slot=21).first_slot == 30
    assert schedule.offer(ALLOCATION, next_slot=21, apply_from_slot=41).first_slot == 50
    assert schedule.offer(ALLOCATION, next_slot=21, apply_from_slot=5).first_slot == 30


def test_a_lease_ends_and_the_node_takes_over() -> None:
    schedule = ControlSchedule(10)
    control = schedule.offer(ALLOCATION, next_slot=3)
    assert schedule.governing(9) == Term(None, 10)
    assert schedule.governing(10) == schedule.governing(29) == Term(control, 30)
    assert schedule.governing(30) == Term(None, FOREVER)


def test_a_newer_control_takes_over_for_good() -> None:
    schedule = ControlSchedule(10)
    long = schedule.offer(ALLOCATION, next_slot=0, valid_for_slots=100, decision=(1, 1))
    short = schedule.offer(ALLOCATION, next_slot=5, valid_for_slots=10, decision=(1, 2))
    assert schedule.governing(9) == Term(long, 10)
    assert schedule.governing(10) == Term(short, 20)
    assert schedule.governing(20) == Term(None, FOREVER)


def test_release_gives_the_cell_back_at_once() -> None:
    schedule = ControlSchedule(10)
    schedule.offer(ALLOCATION, next_slot=0)
    schedule.offer(ALLOCATION, next_slot=5)
    schedule.release()
    assert schedule.governing(7) == Term(None, FOREVER)


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 60), st.integers(0, 40)), max_size=12), st.integers(1, 7))
def test_who_governs_is_the_newest_control_that_has_begun(
    offers: list[tuple[int, int, int]], slots_per_dcm: int
) -> None:
    """Against the rule written down naively, slot by slot, offers arriving in between."""
    schedule = ControlSchedule(slots_per_dcm)
    begun: list[tuple[int, int, int]] = []  # first slot, end slot, decision id
    waiting: list[tuple[int, int, int]] = []
    slot = 0
    for number, (wait, apply_from, valid_for) in enumerate(offers, start=1):
        for _ in range(wait):
            begun += [c for c in waiting if c[0] == slot]
            waiting = [c for c in waiting if c[0] > slot]
            expected = begun[-1][2] if begun and slot < begun[-1][1] else None
            term = schedule.governing(slot)
            assert (term.control.decision[1] if term.control else None) == expected
            assert term.end_slot > slot
            slot += 1
        control = schedule.offer(
            ALLOCATION, next_slot=slot, apply_from_slot=apply_from, valid_for_slots=valid_for, decision=(1, number)
        )
        first = next(s for s in range(max(slot, apply_from), 10**6) if s % slots_per_dcm == 0)
        end = first + (valid_for or 2 * slots_per_dcm)
        assert (control.first_slot, control.end_slot) == (first, end)
        waiting = [c for c in waiting if c[0] < first] + [(first, end, number)]

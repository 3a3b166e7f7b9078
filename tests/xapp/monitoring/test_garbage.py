"""Garbage is collected between periods, and young and old at their own pace."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from xapp.monitoring.garbage import BACKSTOP, MIDDLE_AGED_S, OLD_S, YOUNG_OBJECTS, Garbage


@pytest.fixture
def thresholds() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


class Ring:
    """Only the collector can free it."""

    def __init__(self) -> None:
        self.own = self


def test_what_only_the_collector_can_free_is_freed_between_periods_and_not_before(thresholds: None) -> None:
    garbage = Garbage()
    garbage.keep_out_of_decisions()
    gone = weakref.ref(Ring())
    more = [Ring() for _ in range(2 * YOUNG_OBJECTS)]
    assert gone() is not None
    garbage.between_periods()
    assert gone() is None
    assert len(more) == 2 * YOUNG_OBJECTS


def test_the_older_it_is_the_more_rarely_it_is_looked_through() -> None:
    now_s, collected = [0.0], []
    garbage = Garbage(lambda: now_s[0], collected.append)
    while now_s[0] < 2 * OLD_S:
        now_s[0] += 0.1
        garbage.between_periods()
    assert collected.count(2) in (1, 2)
    assert collected.count(1) == pytest.approx(2 * OLD_S / MIDDLE_AGED_S, abs=3)


def test_python_collects_where_nobody_comes_between_periods_any_more(thresholds: None) -> None:
    Garbage().keep_out_of_decisions()
    gone = weakref.ref(Ring())
    _ = [Ring() for _ in range(2 * BACKSTOP[0])]
    assert gone() is None

"""When Python looks for garbage: between two periods, not in the middle of a decision.

What is kept of decisions lives for minutes, so that Python's own rule would look through all of it every few seconds
while many cells report, for ten milliseconds, with every thread standing still.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

YOUNG_OBJECTS = 700
"""Of so many it is worth looking: Python's own number."""
MIDDLE_AGED_S = 2.0
OLD_S = 60.0
"""How often what has outlived the younger ages is looked through, at most."""
BACKSTOP = (50_000, 20, 1000)
"""Python's own thresholds meanwhile: they are reached where nobody comes between periods any more."""


class Garbage:
    """Of a process. `between_periods` is called by one thread."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, collect: Callable[[int], object] = gc.collect
    ) -> None:
        self._clock, self._collect = clock, collect
        self._middle_aged_at_s = clock() + MIDDLE_AGED_S
        self._old_at_s = clock() + OLD_S

    def keep_out_of_decisions(self) -> None:
        """From now on it is collected between periods."""
        gc.set_threshold(*BACKSTOP)

    def between_periods(self) -> None:
        """A moment at which nobody waits: a fraction of a millisecond, longer once in OLD_S."""
        now_s = self._clock()
        if now_s >= self._old_at_s:
            self._old_at_s, self._middle_aged_at_s = now_s + OLD_S, now_s + MIDDLE_AGED_S
            self._collect(2)
        elif now_s >= self._middle_aged_at_s:
            self._middle_aged_at_s = now_s + MIDDLE_AGED_S
            self._collect(1)
        elif gc.get_count()[0] >= YOUNG_OBJECTS:
            self._collect(0)

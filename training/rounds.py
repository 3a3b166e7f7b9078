"""The way every training goes: rounds of updates, each begun with a checkpoint, until all is done or time is up.

All of a round's randomness is its own, so that a checkpoint of its begin is all that going on takes: an interrupted
run, resumed, is the unbroken one to the last bit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

Report = TypeVar("Report")


class Clock:
    """Tells when a run's time is up."""

    def __init__(self, seconds: float = math.inf) -> None:
        """seconds: from now on."""
        self._end = time.monotonic() + seconds

    @property
    def left_s(self) -> float:
        return max(0.0, self._end - time.monotonic())

    @property
    def is_up(self) -> bool:
        return self.left_s == 0.0


class Rounds(Protocol[Report]):
    """A run that is done in rounds."""

    @property
    def is_done(self) -> bool: ...

    def save(self) -> None:
        """Write a checkpoint of a round's begin."""

    def round(self) -> Iterator[Report | None]:
        """One update after another until the round is over; None where worlds were played and nothing learnt yet."""

    def record(self, report: Report) -> None:
        """Count and show an update."""

    def end(self) -> None:
        """What is to be done after the last round, its checkpoint included."""


def run_rounds(run: Rounds[Report], time_is_up: Callable[[], bool]) -> bool:
    """Learn until all is done (True), or until time is up or Ctrl-C (False)."""
    try:
        while not run.is_done:
            run.save()
            updates = run.round()
            while not run.is_done:
                if time_is_up():
                    return False
                try:
                    report = next(updates)
                except StopIteration:
                    break
                if report is not None:
                    run.record(report)
        run.end()
    except KeyboardInterrupt:
        # Nothing is lost: the checkpoint is of this round's begin, the bundle of the last finished update.
        return False
    return True

"""The way every training goes: rounds of updates, until all is done, time is up or somebody asks for an end.

A checkpoint is written where a round begins, and where a run stops: at the end of an update, the round's worlds
included. So an interrupted run, resumed, is the unbroken one to the last bit, and does no update twice; one that is
killed goes back to its last checkpoint.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, NamedTuple, Protocol, TypeVar

Report = TypeVar("Report")

STOPPING_SIGNALS = (signal.SIGINT, signal.SIGTERM)
AT_ONCE_AFTER_S = 1.0
"""A signal this long after the first ends an update half-way. One sooner is the same: who starts processes passes on
what a terminal has sent to all of them already."""
NOTE = b"stops when this update is done; once more: at once, back to the last checkpoint\n"


class Clock:
    """Tells when a run is to stop: its time is up, or a signal came. A context, while signals are to be its."""

    def __init__(self, seconds: float = math.inf) -> None:
        """seconds: from now on."""
        self._end = time.monotonic() + seconds
        self._asked_at: float | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Clock:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._on_signal) for number in STOPPING_SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before = {}

    @property
    def left_s(self) -> float:
        return max(0.0, self._end - time.monotonic())

    @property
    def is_up(self) -> bool:
        return self.left_s == 0.0

    @property
    def is_asked(self) -> bool:
        """Whether somebody wants an end: Ctrl-C, SIGTERM."""
        return self._asked_at is not None

    def ask(self) -> None:
        """Want an end."""
        if self._asked_at is None:
            self._asked_at = time.monotonic()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._asked_at is not None and time.monotonic() - self._asked_at > AT_ONCE_AFTER_S:
            raise KeyboardInterrupt
        if self._asked_at is None and sys.stderr.isatty():
            os.write(sys.stderr.fileno(), NOTE)  # a signal may come while something else is being printed
        self.ask()


class Rounds(Protocol[Report]):
    """A run that is done in rounds."""

    @property
    def is_done(self) -> bool: ...

    @property
    def made(self) -> int:
        """Updates that are counted: learnt and recorded."""

    @property
    def is_in_round(self) -> bool:
        """Whether a round has begun and is not over."""

    def begin_round(self) -> None:
        """Draw what the round is of. All of its randomness is its own."""

    def learn(self) -> Report | None:
        """One update; None where worlds were played and nothing learnt yet."""

    def record(self, report: Report) -> None:
        """Log an update, count it, and show it: in this order."""

    def save(self) -> None:
        """Write a checkpoint of how things stand between two updates."""

    def end(self) -> None:
        """What is to be done after the last round, its checkpoint included."""


class Ending(NamedTuple):
    """How a run left its rounds."""

    complete: bool
    is_asked: bool
    """Somebody wanted it: a complete run may have been asked in its last update."""
    within_update: bool = False
    """At once: weights are neither those before the update nor those after it, and the last checkpoint counts."""


def run_rounds(
    run: Rounds[Report], clock: Clock, any_rank: Callable[[bool], bool] = bool, until: float = math.inf
) -> Ending:
    """Learn until all is done, or the clock says stop: after one update at least, where only the time is up.

    any_rank: whether something is so in any of the processes that run together, all of which ask at once. until: stop
    after so many updates, as the clock would; a run that has made as many already makes none.
    """
    has_learnt = False
    while not run.is_done:
        if any_rank(clock.is_asked or (has_learnt and clock.is_up)) or run.made >= until:
            run.save()
            return Ending(complete=False, is_asked=any_rank(clock.is_asked))
        before = run.made
        try:
            if not run.is_in_round:
                run.save()
                run.begin_round()
            report = run.learn()
            if report is not None:
                run.record(report)
                has_learnt = True
        except KeyboardInterrupt:
            if run.made == before:
                return Ending(complete=False, is_asked=True, within_update=True)
            clock.ask()
    run.end()
    return Ending(complete=True, is_asked=any_rank(clock.is_asked))

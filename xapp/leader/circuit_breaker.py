"""A leader that fails too often is not asked for a while; then it is tried, and trusted again if all goes well.

    closed --(too many failures)--> open --(time)--> half-open --(a trial without one)--> closed
                                     ^------------------(a failure)--'

Pure: the clock is the caller's. One thread calls it, any may read its status.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Any

from xapp.config.leader_limits import BreakerConfig

MOST_DOUBLED = 10
"""The longest time that it stays open, in multiples of the first."""
BUCKETS = 20
"""Parts of the window that are counted together."""


class BreakerState(StrEnum):
    CLOSED = "closed"
    """The leader is asked."""
    OPEN = "open"
    """It is not."""
    HALF_OPEN = "half_open"
    """It is tried."""


class Outcome(Enum):
    """What became of a decision that the leader was asked for."""

    GOOD = "good"
    ERROR = "leader errors"
    LATE = "late answers"
    CHANGED = "changes by the guard"


@dataclass(slots=True)
class _Bucket:
    since_s: float
    counts: Counter[Outcome] = field(default_factory=Counter)


class CircuitBreaker:
    """Of one leader."""

    def __init__(self, config: BreakerConfig) -> None:
        self._config = config
        self._limits = {
            Outcome.ERROR: config.errors_percent,
            Outcome.LATE: config.late_percent,
            Outcome.CHANGED: config.guard_changes_percent,
        }
        self._window: deque[_Bucket] = deque()
        self._good_in_trial = 0
        self._open_s = config.open_s
        self._opened_s = 0.0
        self.state = BreakerState.CLOSED
        self.opened = 0
        """Times that it opened."""
        self.why = ""
        """Why it opened last; empty while it is closed."""

    def may_ask(self, now_s: float) -> bool:
        """Whether the leader is to be asked now; the first time after an open one's time begins a trial."""
        if self.state is BreakerState.OPEN and now_s - self._opened_s >= self._open_s:
            self.state, self._good_in_trial = BreakerState.HALF_OPEN, 0
        return self.state is not BreakerState.OPEN

    def add(self, outcome: Outcome, now_s: float, count: int = 1) -> None:
        """That many decisions ended so."""
        if self.state is BreakerState.HALF_OPEN:
            self._add_to_trial(outcome, now_s, count)
        elif self.state is BreakerState.CLOSED:
            self._count(outcome, now_s, count)
            if why := self._too_many(outcome):
                self._open(why, self._config.open_s, now_s)

    def status(self) -> dict[str, Any]:
        return {"state": self.state.value, "opened": self.opened, "why": self.why}

    def _add_to_trial(self, outcome: Outcome, now_s: float, count: int) -> None:
        if outcome is not Outcome.GOOD:
            longest_s = MOST_DOUBLED * self._config.open_s
            self._open(f"a trial ended with {outcome.value}", min(longest_s, 2 * self._open_s), now_s)
            return
        self._good_in_trial += count
        if self._good_in_trial >= self._config.trial_decisions:
            self.state, self.why = BreakerState.CLOSED, ""
            self._window.clear()

    def _count(self, outcome: Outcome, now_s: float, count: int) -> None:
        if not self._window or now_s - self._window[-1].since_s >= self._config.window_s / BUCKETS:
            self._window.append(_Bucket(now_s))
        self._window[-1].counts[outcome] += count
        while self._window[0].since_s <= now_s - self._config.window_s:
            self._window.popleft()

    def _too_many(self, outcome: Outcome) -> str:
        """Why the leader is not to be asked any more; empty = it is."""
        if outcome is Outcome.GOOD:
            return ""
        all_of_them = sum(bucket.counts.total() for bucket in self._window)
        bad = sum(bucket.counts[outcome] for bucket in self._window)
        if all_of_them < self._config.fewest or 100 * bad < self._limits[outcome] * all_of_them:
            return ""
        return f"{outcome.value}: {bad} of {all_of_them} decisions in {self._config.window_s:g} s"

    def _open(self, why: str, open_s: float, now_s: float) -> None:
        self.state, self.why = BreakerState.OPEN, why
        self._opened_s, self._open_s = now_s, open_s
        self.opened += 1
        self._window.clear()

"""Chores: whatever is periodic, or may block (HTTP, SDL, DNS), and so has no business in the decision path.

A chore belongs to a lane, which is a thread: chores of one lane run one after the other, those of different lanes do
not wait for each other. What must stay prompt (subscriptions) has a lane to itself.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from xapp.monitoring.metrics import Metrics

log = logging.getLogger(__name__)

SLOW = "slow"
"""The lane of chores that nobody waits for."""
RETRY_S = 1.0
"""A chore that failed is due again after this; twice as long after each further failure."""
MAX_RETRY_S = 30.0


@dataclass(frozen=True, slots=True)
class Chore:
    """Something to be done again and again."""

    name: str
    """A fixed name, for logs and metrics: failures are counted as `chore_failed_<name>`."""
    run: Callable[[], float]
    """Does what is due and says in how many seconds it is due next (`wake` may make it earlier)."""
    lane: str = SLOW


def every(period_s: float, do: Callable[[], object]) -> Callable[[], float]:
    """`run` of a chore that is due `period_s` after it was done."""

    def run() -> float:
        do()
        return period_s

    return run


@dataclass(slots=True)
class _Duty:
    """A chore and when it is due."""

    chore: Chore
    due_s: float = 0.0
    failures: int = 0
    """In a row."""
    woken: bool = False
    """Asked for while it was running: what it saw may be out of date."""


@dataclass(slots=True)
class _Lane:
    duties: list[_Duty] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    thread: threading.Thread | None = None


class Housekeeping:
    """Runs the chores from `start` to `stop`. A chore that fails is logged and counted, and holds up no other."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._lanes: dict[str, _Lane] = {}
        self._duties: dict[str, tuple[_Lane, _Duty]] = {}
        self._stopping = threading.Event()

    def add(self, chore: Chore) -> None:
        """Have a chore done, at once and then whenever it is due. Before `start`; names are unique."""
        if chore.name in self._duties:
            raise ValueError(f"there is a chore {chore.name!r} already")
        lane = self._lanes.setdefault(chore.lane, _Lane())
        duty = _Duty(chore)
        lane.duties.append(duty)
        self._duties[chore.name] = lane, duty

    def wake(self, name: str) -> None:
        """The chore is due now (again, if it is being done). From any thread; never waits for a chore."""
        lane, duty = self._duties[name]
        with lane.changed:
            duty.due_s, duty.woken = 0.0, True
            lane.changed.notify_all()

    def start(self) -> None:
        """One thread for each lane."""
        for name, lane in self._lanes.items():
            lane.thread = threading.Thread(target=self._run, args=(lane,), name=f"chores-{name}", daemon=True)
            lane.thread.start()

    def stop(self, timeout_s: float) -> bool:
        """No chore is begun any more; False if one is still busy after `timeout_s`."""
        self._stopping.set()
        until_s = time.monotonic() + timeout_s
        for lane in self._lanes.values():
            with lane.changed:
                lane.changed.notify_all()
        threads = [lane.thread for lane in self._lanes.values() if lane.thread is not None]
        for thread in threads:
            thread.join(max(0.0, until_s - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def _run(self, lane: _Lane) -> None:
        while not self._stopping.is_set():
            with lane.changed:
                if self._stopping.is_set():  # `stop` may have come, and notified nobody, since the line above
                    return
                duty = min(lane.duties, key=lambda each: each.due_s)
                wait_s = duty.due_s - time.monotonic()
                if wait_s > 0:
                    lane.changed.wait(wait_s)
                    continue
                duty.woken = False
            next_s = self._do(duty)
            with lane.changed:
                if not duty.woken:
                    duty.due_s = time.monotonic() + next_s

    def _do(self, duty: _Duty) -> float:
        """Seconds until it is due next."""
        try:
            next_s = duty.chore.run()
            duty.failures = 0
            return next_s
        except Exception:  # a chore's bug must cost that chore one turn, not the others theirs
            if self._stopping.is_set():
                return RETRY_S  # what it works with was closed under it
            self._metrics.drop(f"chore_failed_{duty.chore.name}")
            log.exception("housekeeping: %s failed", duty.chore.name)
            duty.failures += 1
            return min(MAX_RETRY_S, RETRY_S * 2 ** min(duty.failures - 1, 16))

"""The model's own thread: a forward pass cannot be cancelled, so nobody ever waits for it beyond the deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from policy.cell_state import CellState
from policy.intent import Intent
from policy.leader import Decision, Leader, LeaderNotReady

CLOSED = "closed"
"""Answer.reason when the worker was closed meanwhile: nothing is to be sent any more."""


@dataclass(slots=True)
class _Job:
    states: Sequence[CellState]
    intents: Sequence[Intent]
    deadline_s: float
    done: threading.Event = field(default_factory=threading.Event)
    late: bool = False
    """Nobody waits any more, or the deadline has passed: a leader that saw it pass may return anything that is legal.

    Guarded by the worker's lock, so that an answer is either taken or counted as late.
    """
    decisions: list[Decision] | None = None
    reason: str = "error"
    """Why there are none."""
    decided_ms: float = 0.0

    def expired(self) -> bool:
        return time.monotonic() >= self.deadline_s


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one question. `decisions` is None when there is none in time, and `reason` says why."""

    decisions: list[Decision] | None
    reason: str = ""
    decided_ms: float = 0.0


class Worker:
    """Runs one leader, one batch at a time."""

    def __init__(self, leader: Leader, *, on_late: Callable[[], None], on_error: Callable[[str], None]) -> None:
        self._leader = leader
        self._on_late = on_late
        self._on_error = on_error
        self._condition = threading.Condition()
        self._job: _Job | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="leader", daemon=True)
        self._thread.start()

    def ask(self, states: Sequence[CellState], intents: Sequence[Intent], deadline_s: float) -> Answer:
        """The leader's decisions if they are there by `deadline_s` (time.monotonic).

        Reasons: `busy` (still at an earlier batch whose deadline has passed), `late`, `error`, `wrong_count`, `closed`;
        and what a leader that is not ready says.
        """
        job = _Job(states, intents, deadline_s)
        if job.expired():
            return Answer(None, "late")  # the reports waited too long: a model that starts now would be late, and busy
        with self._condition:
            if self._closed:
                return Answer(None, CLOSED)
            if self._job is not None:
                return Answer(None, "busy")
            self._job = job
            self._condition.notify()
        job.done.wait(max(0.0, deadline_s - time.monotonic()))
        with self._condition:
            if self._job is job or job.late:
                job.late = True
                return Answer(None, CLOSED if self._closed else "late")
        if job.decisions is None:
            return Answer(None, job.reason)
        if len(job.decisions) != len(states):
            return Answer(None, "wrong_count")
        return Answer(job.decisions, "", job.decided_ms)

    def close(self) -> None:
        """Let the thread end once it is idle, and `ask` return now; does not wait for a running forward pass."""
        with self._condition:
            self._closed = True
            if self._job is not None:
                self._job.done.set()
            self._condition.notify()

    def _run(self) -> None:
        while True:
            with self._condition:
                while self._job is None and not self._closed:
                    self._condition.wait()
                if self._job is None:
                    return
                job = self._job
            started_s = time.perf_counter()
            try:
                job.decisions = _checked(self._leader.decide(job.states, job.intents, job.expired))
            except LeaderNotReady as error:
                job.reason = str(error)
            except BaseException as error:  # a plug-in may raise anything, sys.exit too; the fallback takes its place
                self._on_error(f"{type(error).__name__}: {error}")
            job.decided_ms = (time.perf_counter() - started_s) * 1e3
            with self._condition:
                self._job = None
                job.late |= job.expired()
            job.done.set()
            if job.late and job.decisions is not None:
                self._on_late()


def _checked(decisions: object) -> list[Decision]:
    """What a leader returned, if that is what the contract says. Raises TypeError."""
    if not isinstance(decisions, list) or not all(isinstance(decision, Decision) for decision in decisions):
        raise TypeError(f"the leader returned {type(decisions).__name__}, expected a list of Decision")
    return decisions

"""The model's own thread: a forward pass cannot be cancelled, so nobody ever waits for it beyond the deadline.

A leader is not trusted to answer. What it returns is checked and made anew here, before anybody else sees it; one that
does not return is given up with its thread, and a fresh one takes its place in another. So many threads may hang; then
the leader is given up for good.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

from policy.cell_state import CellState
from policy.intent import Intent
from policy.leader import Decision, Leader, LeaderNotReady
from xapp.config.leader_limits import LeaderLimits
from xapp.leader.answer_check import MAX_NAME_CHARACTERS, AnswerCheck, MalformedAnswer, is_list_of_decisions
from xapp.leader.reasons import BUSY, CLOSED, ERROR, EXCUSES, GIVEN_UP, LATE, MALFORMED, NOT_READY, WRONG_COUNT

log = logging.getLogger(__name__)

SHOWN_CHARACTERS = 300
"""Of what a leader raised."""

Signal = SimpleQueue[None]
"""Wakes one thread. A condition of `threading` takes several locks, and as many microseconds, to do that."""


@dataclass(slots=True)
class _Job:
    states: Sequence[CellState]
    intents: Sequence[Intent]
    deadline_s: float
    done: Signal = field(default_factory=SimpleQueue)
    late: bool = False
    """Nobody waits any more, or the deadline has passed: a leader that saw it pass may return anything that is legal.

    Guarded by the worker's lock, so that an answer is either taken or counted as late.
    """
    started_s: float = field(default_factory=time.monotonic)
    decisions: list[Decision] | None = None
    reason: str = ERROR
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

    def __init__(
        self,
        leader: Leader,
        *,
        on_late: Callable[[], None],
        on_error: Callable[[str], None],
        on_given_up: Callable[[], None] = lambda: None,
        limits: LeaderLimits | None = None,
        renew: Callable[[], Leader] | None = None,
    ) -> None:
        """on_given_up: called whenever a leader is. renew: makes a fresh one, in the thread that will be its own;
        without it the same object is asked in another thread.
        """
        self._on_late, self._on_error, self._on_given_up = on_late, on_error, on_given_up
        self._limits = limits or LeaderLimits()
        self._renew = renew or (lambda: leader)
        self._check = AnswerCheck(getattr(leader, "name", ""))
        self._lock = threading.Lock()
        self._job: _Job | None = None
        self._closed = False
        self._seat = 0
        """Which thread is the leader's; the ones before it were given up."""
        self._wake = Signal()
        """That thread's: there is a job, or it is to end."""
        self.hanging = 0
        """Given-up threads whose leader has not returned to this day."""
        self.given_up = False
        """For good: nobody is asked any more."""
        self._start(lambda: leader)

    def ask(self, states: Sequence[CellState], intents: Sequence[Intent], deadline_s: float) -> Answer:
        """The leader's decisions if they are there by `deadline_s` (time.monotonic).

        Why there are none: one of xapp.leader.reasons.
        """
        job = _Job(states, intents, deadline_s)
        if job.expired():
            return Answer(None, LATE)  # the reports waited too long: a model that starts now would be late, and busy
        with self._lock:
            if self._closed:
                return Answer(None, CLOSED)
            if self._job is not None and time.monotonic() - self._job.started_s > self._limits.give_up_s:
                self._replace()
            if self.given_up:
                return Answer(None, GIVEN_UP)
            if self._job is not None:
                return Answer(None, BUSY)
            self._job = job
            self._wake.put(None)
        try:
            job.done.get(timeout=max(0.0, deadline_s - time.monotonic()))
        except Empty:
            pass
        with self._lock:
            if self._job is job or job.late:
                job.late = True
                return Answer(None, CLOSED if self._closed else LATE)
        if job.decisions is None:
            return Answer(None, job.reason)
        return Answer(job.decisions, "", job.decided_ms)

    def close(self) -> None:
        """Let the thread end once it is idle, and `ask` return now; does not wait for a running forward pass."""
        with self._lock:
            self._closed = True
            if self._job is not None:
                self._job.done.put(None)
            self._wake.put(None)

    def _replace(self) -> None:
        """Give the leader up that does not return, and its thread. Locked."""
        self._on_given_up()
        self._job = None
        self._seat += 1
        self._wake = Signal()
        self.hanging += 1
        if self.hanging > self._limits.given_up:
            self.given_up = True
            log.error("%d leaders have not returned: the fallback decides from now on", self.hanging)
        else:
            log.error("the leader has not returned for %g s: a fresh one takes its place", self._limits.give_up_s)
            self._start(self._renew)

    def _start(self, make: Callable[[], Leader]) -> None:
        args = self._seat, self._wake, make
        threading.Thread(target=self._run, args=args, name="leader", daemon=True).start()

    def _run(self, seat: int, wake: Signal, make: Callable[[], Leader]) -> None:
        leader, problem = None, ""
        try:
            leader = make()
        except BaseException as error:  # a plug-in may raise anything
            problem = f"no fresh leader: {_described(error)}"
        while True:
            with self._lock:
                if seat != self._seat:
                    self.hanging -= 1
                    return
                job = self._job
                if job is None and self._closed:
                    return
            if job is None:
                wake.get()
                continue
            started_s = time.perf_counter()
            self._decide(job, leader, problem)
            job.decided_ms = (time.perf_counter() - started_s) * 1e3
            with self._lock:
                if self._job is job:
                    self._job = None
                job.late |= job.expired()
            job.done.put(None)
            if job.late and job.decisions is not None:
                self._on_late()

    def _decide(self, job: _Job, leader: Leader | None, problem: str) -> None:
        """Ask the leader, and read its answer; never raises."""
        try:
            if leader is None:
                self._on_error(problem)
                return
            self._read(job, leader.decide(job.states, job.intents, job.expired))
        except LeaderNotReady as error:
            job.reason = _excuse(error)
        except BaseException as error:  # a plug-in may raise anything, sys.exit too; the fallback takes its place
            job.decisions = None
            if type(error) is MalformedAnswer:
                job.reason = MALFORMED
            self._on_error(_described(error))

    def _read(self, job: _Job, answer: object) -> None:
        """What a leader returned, if that is what the contract says. May raise anything that reading it raises."""
        if isinstance(answer, list) and list.__len__(answer) != len(job.states):
            job.reason = WRONG_COUNT
        elif not is_list_of_decisions(answer):
            raise TypeError(f"the leader returned {type(answer).__name__}, expected a list of Decision")
        elif job.expired():
            job.decisions = []  # nobody waits: it is late, whatever it says
        else:
            job.reason = MALFORMED
            job.decisions = self._check.checked(answer, job.states)  # type: ignore[arg-type]


def _described(error: BaseException) -> str:
    """One line; an error may be anybody's, and fail to say what it is."""
    kind = type.__getattribute__(type(error), "__name__")[:MAX_NAME_CHARACTERS]
    if type(error) is MalformedAnswer:
        kind = "its answer is malformed"
    try:
        text = " ".join(str(error)[:SHOWN_CHARACTERS].split())
    except BaseException:  # its own __str__
        text = "(it cannot say what)"
    return f"{kind}: {text}"[:SHOWN_CHARACTERS]


def _excuse(error: LeaderNotReady) -> str:
    """One of few words."""
    given = BaseException.args.__get__(error)  # type: ignore[attr-defined]  # not what a class of its own says
    return given[0] if given and type(given[0]) is str and given[0] in EXCUSES else NOT_READY

"""Runs periodic tasks: what may block (HTTP, SDL, DNS), and so has no business in the decision path.

Tasks of one thread run one after the other, those of different threads do not wait for each other. What must stay
prompt (subscriptions) has a thread to itself.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from xapp.monitoring.metrics import Metrics

log = logging.getLogger(__name__)

SLOW = "slow"
"""The thread of tasks that nobody waits for."""
RETRY_S = 1.0
"""A task that failed is due again after this; twice as long after each further failure."""
MAX_RETRY_S = 30.0
FAILING_S = 60.0
"""A task counts as failing from its failure on until it has done well again, and for this long at least."""
MAX_ERROR_CHARS = 200

Result = TypeVar("Result")


class TaskFailure(NamedTuple):
    """What became of a task that has failed, however it does now."""

    failures: int
    """Since the start."""
    error: str
    """The newest."""
    is_failing: bool


@dataclass(frozen=True, slots=True)
class PeriodicTask:
    """Something to be done again and again."""

    name: str
    """A fixed name, for logs and metrics: failures are counted as `task_failed_<name>`."""
    run: Callable[[], float]
    """Does what is due and says in how many seconds it is due next (`wake` may make it earlier)."""
    task_thread: str = SLOW


def every(period_s: float, do: Callable[[], object]) -> Callable[[], float]:
    """`run` of a task that is due `period_s` after it was done."""

    def run() -> float:
        do()
        return period_s

    return run


@dataclass(slots=True)
class _Duty:
    """A task and when it is due."""

    task: PeriodicTask
    due_s: float = 0.0
    failures: int = 0
    """In a row."""
    total_failures: int = 0
    error: str = ""
    """The newest."""
    failed_s: float = 0.0
    woken: bool = False
    """Asked for while it was running: what it saw may be out of date."""


@dataclass(slots=True)
class _TaskThread:
    duties: list[_Duty] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    thread: threading.Thread | None = None


class TaskRunner:
    """Runs the tasks from `start` to `stop`. A task that fails is logged and counted, and holds up no other."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._task_threads: dict[str, _TaskThread] = {}
        self._duties: dict[str, tuple[_TaskThread, _Duty]] = {}
        self._beside: dict[str, _Duty] = {}
        """What is done by `attempt`, once it has failed."""
        self._stopping = threading.Event()

    def add(self, task: PeriodicTask) -> None:
        """Have a task done, at once and then whenever it is due. Before `start`; names are unique."""
        if task.name in self._duties:
            raise ValueError(f"there is a task {task.name!r} already")
        task_thread = self._task_threads.setdefault(task.task_thread, _TaskThread())
        duty = _Duty(task)
        task_thread.duties.append(duty)
        self._duties[task.name] = task_thread, duty

    def wake(self, name: str) -> None:
        """The task is due now (again, if it is being done). From any thread; never waits for a task."""
        task_thread, duty = self._duties[name]
        with task_thread.changed:
            duty.due_s, duty.woken = 0.0, True
            task_thread.changed.notify_all()

    def attempt(self, name: str, do: Callable[[], Result]) -> Result | None:
        """Do something as if it were a task, in the caller's own thread: None = it failed, and is named as one."""
        try:
            result = do()
        except Exception as error:  # as in a task: it ends nothing but itself
            self._failed(self._beside.setdefault(name, _Duty(PeriodicTask(name, lambda: MAX_RETRY_S))), error)
            return None
        if name in self._beside:
            self._beside[name].failures = 0
        return result

    @property
    def failures(self) -> dict[str, TaskFailure]:
        """By task, of those that have failed at all."""
        since_s = time.monotonic() - FAILING_S
        duties = [duty for _, duty in self._duties.values()] + list(self._beside.values())
        return {
            duty.task.name: TaskFailure(
                duty.total_failures, duty.error, is_failing=duty.failures > 0 or duty.failed_s > since_s
            )
            for duty in duties
            if duty.total_failures
        }

    def start(self) -> None:
        """One thread for each thread."""
        for name, task_thread in self._task_threads.items():
            task_thread.thread = threading.Thread(
                target=self._run, args=(task_thread,), name=f"tasks-{name}", daemon=True
            )
            task_thread.thread.start()

    def stop(self, timeout_s: float) -> bool:
        """No task is begun any more; False if one is still busy after `timeout_s`."""
        self._stopping.set()
        until_s = time.monotonic() + timeout_s
        for task_thread in self._task_threads.values():
            with task_thread.changed:
                task_thread.changed.notify_all()
        threads = [task_thread.thread for task_thread in self._task_threads.values() if task_thread.thread is not None]
        for thread in threads:
            thread.join(max(0.0, until_s - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def _run(self, task_thread: _TaskThread) -> None:
        while not self._stopping.is_set():
            with task_thread.changed:
                if self._stopping.is_set():  # `stop` may have come, and notified nobody, since the line above
                    return
                duty = min(task_thread.duties, key=lambda each: each.due_s)
                wait_s = duty.due_s - time.monotonic()
                if wait_s > 0:
                    task_thread.changed.wait(wait_s)
                    continue
                duty.woken = False
            next_s = self._do(duty)
            with task_thread.changed:
                if not duty.woken:
                    duty.due_s = time.monotonic() + next_s

    def _do(self, duty: _Duty) -> float:
        """Seconds until it is due next."""
        try:
            next_s = duty.task.run()
            duty.failures = 0
            return next_s
        except Exception as error:  # a task's bug must cost that task one turn, not the others theirs
            if self._stopping.is_set():
                return RETRY_S  # what it works with was closed under it
            self._failed(duty, error)
            return min(MAX_RETRY_S, RETRY_S * 2 ** min(duty.failures - 1, 16))

    def _failed(self, duty: _Duty, error: Exception) -> None:
        """Count it, and remember what a status and an alarm are to name."""
        self._metrics.drop(f"task_failed_{duty.task.name}")
        log.error("task %s failed", duty.task.name, exc_info=error)
        duty.error = " ".join(f"{type(error).__name__}: {error}".split())[:MAX_ERROR_CHARS]
        duty.failed_s = time.monotonic()
        duty.failures += 1
        duty.total_failures += 1

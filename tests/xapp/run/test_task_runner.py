"""PeriodicTasks: each in its time, none at another's expense."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

import xapp.run.task_runner
from xapp.monitoring.metrics import Metrics
from xapp.run.task_runner import PeriodicTask, TaskRunner, every

PATIENCE_S = 30.0
NEVER_S = 3600.0


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def house(metrics: Metrics) -> Iterator[TaskRunner]:
    made = TaskRunner(metrics)
    yield made
    assert made.stop(PATIENCE_S)


class Visits:
    """A task's `run` that can be waited for."""

    def __init__(self, next_s: float) -> None:
        self.next_s = next_s
        self._seen = threading.Semaphore(0)

    def __call__(self) -> float:
        self._seen.release()
        return self.next_s

    def wait(self, times: int = 1) -> None:
        for _ in range(times):
            assert self._seen.acquire(timeout=PATIENCE_S), "it was not done"

    def come_again(self, within_s: float) -> bool:
        return self._seen.acquire(timeout=within_s)


def test_a_chore_is_done_at_once_and_then_whenever_it_says(house: TaskRunner) -> None:
    often, once = Visits(0.001), Visits(NEVER_S)
    house.add(PeriodicTask("often", often))
    house.add(PeriodicTask("once", once))
    house.start()
    often.wait(5)
    once.wait()
    assert not once.come_again(0.05)


def test_every_makes_a_chore_of_a_function() -> None:
    done: list[int] = []
    run = every(2.5, lambda: done.append(1))
    assert run() == 2.5
    assert done == [1]


def test_a_task_that_fails_is_counted_and_the_others_go_on(
    house: TaskRunner, metrics: Metrics, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(xapp.run.task_runner, "RETRY_S", 0.001)
    attempts = Visits(NEVER_S)

    def fail() -> float:
        attempts()
        raise RuntimeError("no broom")

    other = Visits(0.001)
    house.add(PeriodicTask("fails", fail))
    house.add(PeriodicTask("other", other))
    house.start()
    attempts.wait(3)
    other.wait(3)
    assert metrics.summary()["dropped"]["task_failed_fails"] >= 2
    assert "no broom" in caplog.text


def test_a_slow_chore_holds_up_its_own_lane_only(house: TaskRunner) -> None:
    begun, let_go = threading.Event(), threading.Event()

    def hang() -> float:
        begun.set()
        assert let_go.wait(PATIENCE_S)
        return NEVER_S

    prompt, same_lane = Visits(0.001), Visits(NEVER_S)
    house.add(PeriodicTask("hangs", hang))
    house.add(PeriodicTask("same thread", same_lane))
    house.add(PeriodicTask("prompt", prompt, task_thread="prompt"))
    house.start()
    assert begun.wait(PATIENCE_S)
    prompt.wait(5)
    assert not same_lane.come_again(0.0)
    assert not house.stop(0.01)
    let_go.set()


def test_a_chore_that_is_woken_is_done_now(house: TaskRunner) -> None:
    visits = Visits(NEVER_S)
    house.add(PeriodicTask("sleeper", visits))
    house.start()
    visits.wait()
    for _ in range(3):
        house.wake("sleeper")
        visits.wait()


def test_a_chore_that_is_woken_while_it_runs_runs_again(house: TaskRunner) -> None:
    runs = Visits(NEVER_S)
    begun, go_on = threading.Semaphore(0), threading.Semaphore(0)

    def run() -> float:
        begun.release()
        assert go_on.acquire(timeout=PATIENCE_S)
        return runs()

    house.add(PeriodicTask("busy", run))
    house.start()
    assert begun.acquire(timeout=PATIENCE_S)
    house.wake("busy")
    go_on.release(2)
    runs.wait(2)


def test_two_chores_of_one_name_are_a_mistake(house: TaskRunner) -> None:
    house.add(PeriodicTask("twin", Visits(NEVER_S)))
    with pytest.raises(ValueError, match="'twin'"):
        house.add(PeriodicTask("twin", Visits(NEVER_S), task_thread="another"))


def test_nothing_is_begun_after_the_stop(metrics: Metrics) -> None:
    house, visits = TaskRunner(metrics), Visits(0.001)
    house.add(PeriodicTask("often", visits))
    house.start()
    visits.wait()
    assert house.stop(PATIENCE_S)
    while visits.come_again(0.0):
        pass
    assert not visits.come_again(0.02)

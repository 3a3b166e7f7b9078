"""The leader's thread: nobody waits beyond the deadline, and whatever a leader does has a name."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from policy.cell_state import CellState, make_cell_state
from policy.intent import Intent
from policy.leader import Decision
from policy.schedulers.schedulers import SCHEDULERS
from xapp.control.leader_thread import Worker

PATIENCE_S = 10.0
Decide = Callable[[Sequence[CellState], Sequence[Intent], Callable[[], bool]], Any]


def state(cell: str = "n/c") -> CellState:
    return make_cell_state(
        cell, num_rbgs=6, slots_per_dcm=1, slot=0, ue_ids=(1, 2), buffer_bits_U=np.full(2, 1000.0), cqi_U=np.full(2, 9)
    )


class Bench:
    """A worker with a leader that does what the test says, and what the worker told."""

    def __init__(self) -> None:
        self.late = 0
        self.errors: list[str] = []
        self.told = threading.Condition()
        self.workers: list[Worker] = []

    def worker(self, decide: Decide) -> Worker:
        class Plugin:
            name = "plug-in"

        Plugin.decide = staticmethod(decide)  # type: ignore[attr-defined]
        worker = Worker(Plugin(), on_late=self._on_late, on_error=self._on_error)  # type: ignore[arg-type]
        self.workers.append(worker)
        return worker

    def _on_late(self) -> None:
        with self.told:
            self.late += 1
            self.told.notify_all()

    def _on_error(self, error: str) -> None:
        with self.told:
            self.errors.append(error)
            self.told.notify_all()


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    for worker in made.workers:
        worker.close()


def in_time() -> float:
    return time.monotonic() + PATIENCE_S


def good(states: Sequence[CellState], intents: Sequence[Intent], expired: Callable[[], bool]) -> list[Decision]:
    return SCHEDULERS["proportional_fair"].decide(states, intents, expired)


def test_an_answer_in_time_is_the_leaders(bench: Bench) -> None:
    worker = bench.worker(good)
    for _ in range(3):
        answer = worker.ask([state("n/a"), state("n/b")], [Intent(), Intent()], in_time())
        assert answer.reason == ""
        assert answer.decisions is not None and len(answer.decisions) == 2
        assert 0.0 < answer.decided_ms < PATIENCE_S * 1e3
    assert (bench.late, bench.errors) == (0, [])


def test_nobody_waits_beyond_the_deadline_and_the_late_answer_is_counted_once(bench: Bench) -> None:
    go = threading.Event()

    def slow(*args: Any) -> list[Decision]:
        go.wait(PATIENCE_S)
        return good(*args)

    worker = bench.worker(slow)
    started_s = time.monotonic()
    answer = worker.ask([state()], [Intent()], started_s + 0.05)
    assert 0.05 <= time.monotonic() - started_s < PATIENCE_S / 2
    assert (answer.decisions, answer.reason) == (None, "late")
    assert worker.ask([state()], [Intent()], in_time()).reason == "busy"
    assert bench.late == 0
    go.set()
    with bench.told:
        assert bench.told.wait_for(lambda: bench.late == 1, PATIENCE_S)
    assert worker.ask([state()], [Intent()], in_time()).reason == ""
    assert bench.late == 1


def test_every_question_is_answered_or_late_never_both(bench: Bench) -> None:
    """Deadlines that fall together with the answer: each question is either taken or counted."""
    pause_s = 0.002

    def paused(*args: Any) -> list[Decision]:
        time.sleep(pause_s)
        return good(*args)

    worker = bench.worker(paused)
    reasons = []
    for step in range(60):
        deadline_s = time.monotonic() + pause_s * (0.8 + 0.02 * (step % 40))
        reasons.append(worker.ask([state()], [Intent()], deadline_s).reason)
        with bench.told:
            assert bench.told.wait_for(lambda: bench.late == reasons.count("late"), PATIENCE_S)
    assert set(reasons) <= {"", "late"}
    assert worker.ask([state()], [Intent()], in_time()).reason == ""
    assert bench.late == reasons.count("late")


def test_what_a_leader_says_once_it_saw_the_deadline_pass_is_dropped(bench: Bench) -> None:
    """It may return early with anything legal: that is no answer, however soon it comes."""

    def gives_up(states: Any, intents: Any, expired: Callable[[], bool]) -> list[Decision]:
        while not expired():
            pass
        return good(states, intents, expired)

    worker = bench.worker(gives_up)
    for asked in range(1, 11):
        answer = worker.ask([state()], [Intent()], time.monotonic() + 0.005)
        assert (answer.decisions, answer.reason) == (None, "late")
        with bench.told:
            assert bench.told.wait_for(lambda asked=asked: bench.late == asked, PATIENCE_S)


def test_a_deadline_that_has_passed_is_late(bench: Bench) -> None:
    worker = bench.worker(good)
    assert worker.ask([state()], [Intent()], time.monotonic() - 1.0).reason == "late"
    assert worker.ask([state()], [Intent()], in_time()).reason == ""
    assert bench.late == 0, "the leader was not even asked"


def test_a_leader_sees_its_deadline_pass(bench: Bench) -> None:
    seen = threading.Event()

    def watching(states: Any, intents: Any, expired: Callable[[], bool]) -> list[Decision]:
        assert not expired()
        give_up_at = time.monotonic() + PATIENCE_S
        while not expired() and time.monotonic() < give_up_at:
            time.sleep(0.001)
        if expired():
            seen.set()
        return good(states, intents, expired)

    assert bench.worker(watching).ask([state()], [Intent()], time.monotonic() + 0.03).reason == "late"
    assert seen.wait(PATIENCE_S)


@pytest.mark.parametrize("error", [RuntimeError("out of ideas"), SystemExit(3), KeyError("x"), MemoryError()])
def test_a_leader_that_raises_is_an_error_and_asked_again(bench: Bench, error: BaseException) -> None:
    calls = []

    def moody(*args: Any) -> list[Decision]:
        calls.append(None)
        if len(calls) == 1:
            raise error
        return good(*args)

    worker = bench.worker(moody)
    assert worker.ask([state()], [Intent()], in_time()).reason == "error"
    assert bench.errors == [f"{type(error).__name__}: {error}"]
    assert worker.ask([state()], [Intent()], in_time()).reason == ""


@pytest.mark.parametrize("answer", [None, 7, "DCM", (), [None], [object()], {}])
def test_what_is_no_list_of_decisions_is_an_error(bench: Bench, answer: object) -> None:
    worker = bench.worker(lambda *args: answer)
    assert worker.ask([state()], [Intent()], in_time()).reason == "error"
    assert "expected a list of Decision" in bench.errors[0]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_the_wrong_number_of_decisions_is_refused(bench: Bench, count: int) -> None:
    worker = bench.worker(lambda states, intents, expired: good([states[0]] * count, [intents[0]] * count, expired))
    answer = worker.ask([state("n/a"), state("n/b")], [Intent(), Intent()], in_time())
    assert (answer.decisions, answer.reason) == (None, "wrong_count")


def test_closing_wakes_who_waits_and_refuses_who_asks(bench: Bench) -> None:
    started, go = threading.Event(), threading.Event()

    def stuck(*args: Any) -> list[Decision]:
        started.set()
        go.wait(PATIENCE_S)
        return good(*args)

    worker = bench.worker(stuck)
    reasons: list[str] = []
    asker = threading.Thread(target=lambda: reasons.append(worker.ask([state()], [Intent()], in_time()).reason))
    asker.start()
    assert started.wait(PATIENCE_S)
    worker.close()
    asker.join(PATIENCE_S / 2)
    assert reasons == ["closed"]
    assert worker.ask([state()], [Intent()], in_time()).reason == "closed"
    go.set()

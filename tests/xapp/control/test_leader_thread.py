"""The leader's thread: nobody waits beyond the deadline, and whatever a leader does has a name."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from waiting import PATIENCE_S, wait_for

from policy.cell_state import CellState, make_cell_state
from policy.intent import Intent
from policy.leader import Decision
from policy.schedulers.schedulers import SCHEDULERS
from xapp.control.leader_thread import Worker

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
    while (reason := worker.ask([state()], [Intent()], time.monotonic() + 0.05).reason) == "late":
        pass  # the machine was so busy that the leader was not asked before the deadline
    assert (reason, bench.late) == ("busy", 0)
    go.set()
    with bench.told:
        assert bench.told.wait_for(lambda: bench.late == 1, PATIENCE_S)
    assert worker.ask([state()], [Intent()], in_time()).reason == ""
    assert bench.late == 1


def test_every_question_that_the_leader_was_asked_is_answered_or_late_never_both(bench: Bench) -> None:
    """Deadlines that fall together with the answer: each question is either taken or counted."""
    pause_s = 0.002
    asked: list[int] = []

    def paused(*args: Any) -> list[Decision]:
        asked.append(1)
        time.sleep(pause_s)
        return good(*args)

    worker = bench.worker(paused)
    reasons: list[str] = []

    def is_free_again() -> bool:
        """And so has counted all that came before."""
        reason = worker.ask([state()], [Intent()], in_time()).reason
        if reason != "busy":
            reasons.append(reason)
        return reason == ""

    for step in range(60):
        deadline_s = time.monotonic() + pause_s * (0.8 + 0.02 * (step % 40))
        # Late without the leader having been asked, if the machine was busy until the deadline.
        reasons.append(worker.ask([state()], [Intent()], deadline_s).reason)
        wait_for(is_free_again)
    assert set(reasons) <= {"", "late"}
    assert len(asked) == reasons.count("") + bench.late


def test_what_a_leader_says_once_it_saw_the_deadline_pass_is_dropped(bench: Bench) -> None:
    """It may return early with anything legal: that is no answer, however soon it comes."""

    def gives_up(states: Any, intents: Any, expired: Callable[[], bool]) -> list[Decision]:
        while not expired():
            pass
        return good(states, intents, expired)

    worker = bench.worker(gives_up)
    reasons = set()
    while bench.late < 10:
        answer = worker.ask([state()], [Intent()], time.monotonic() + 0.005)
        assert answer.decisions is None
        reasons.add(answer.reason)
    assert reasons <= {"late", "busy"}


def test_a_deadline_that_has_passed_is_late(bench: Bench) -> None:
    worker = bench.worker(good)
    assert worker.ask([state()], [Intent()], time.monotonic() - 1.0).reason == "late"
    assert worker.ask([state()], [Intent()], in_time()).reason == ""
    assert bench.late == 0, "the leader was not even asked"


def test_a_leader_sees_its_deadline_pass(bench: Bench) -> None:
    seen: list[list[bool]] = []

    def watching(states: Any, intents: Any, expired: Callable[[], bool]) -> list[Decision]:
        had_time = not expired()
        wait_for(expired)
        seen.append([had_time, expired()])
        return good(states, intents, expired)

    worker = bench.worker(watching)

    def sees() -> bool:
        """Once the machine has been quick enough to ask it before the deadline."""
        assert worker.ask([state()], [Intent()], time.monotonic() + 0.03).reason in ("late", "busy")
        return [True, True] in seen

    wait_for(sees)


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

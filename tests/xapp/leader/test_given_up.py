"""A leader that does not return is given up and replaced; so many, and nobody is asked any more."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from deciding import AllIdle, Deciding
from waiting import PATIENCE_S, wait_for

from policy.allocation import IDLE
from policy.leader import Decision, Leader
from xapp.control.control_loop import ControlLoop

GIVE_UP_S = 1.0
"""No machine is so busy that a leader which answers at once does not answer within it."""
REPORT_PERIOD_S = 0.02
"""As fast as they can, loops would decide hundreds of times until a leader is given up."""
LIMITS = {"give_up_s": GIVE_UP_S, "given_up": 2}
LENIENT = {"fewest": 100_000}


class Sleeper(AllIdle):
    """Does not return until it is told to."""

    def __init__(self, wake: threading.Event) -> None:
        super().__init__()
        self.wake = wake

    def decide(self, *args: Any) -> list[Decision]:
        self.wake.wait(6 * PATIENCE_S)
        return super().decide(*args)


@pytest.fixture
def wake() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def deciding_with(node: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Deciding]]:
    made: list[Deciding] = []

    def start(leader: Leader, renew: Callable[[], Leader]) -> Deciding:
        whole = ControlLoop.__init__
        with monkeypatch.context() as patched:
            patched.setattr(
                ControlLoop, "__init__", lambda self, *args, **more: whole(self, *args, renew_leader=renew, **more)
            )
            made.append(Deciding(node, leader, decision_deadline_ms=20.0, leader_limits=LIMITS, breaker=LENIENT))
        made[-1].loop.start()
        return made[-1]

    yield start
    for deciding in made:
        deciding.loop.close()


def controls(deciding: Deciding) -> Iterator[list[int]]:
    """The owners of one control after the other, each asked for by a report, at a node's pace."""
    for sn in range(1, 10_000):
        yield deciding.decided(sn).allocation.owner_M.tolist()
        time.sleep(REPORT_PERIOD_S)


def test_a_leader_that_sleeps_is_given_up_and_a_fresh_one_decides(
    deciding_with: Callable[..., Deciding], wake: threading.Event
) -> None:
    fresh = AllIdle()
    deciding = deciding_with(Sleeper(wake), lambda: fresh)
    for owners in controls(deciding):
        if owners == [IDLE] * 6:
            break
        assert all(owner >= 0 for owner in owners), "meanwhile the fallback decides"
    assert deciding.metrics["leaders_given_up"] == 1
    assert deciding.loop.watched_leader.status() == {
        "state": "closed", "opened": 0, "why": "", "given_up": False, "hanging": 1
    }  # fmt: skip
    wake.set()
    wait_for(lambda: deciding.loop.watched_leader.status()["hanging"] == 0)
    assert deciding.metrics["leaders_given_up"] == 1


def test_threads_that_hang_are_bounded_and_then_the_fallback_decides_for_good(
    deciding_with: Callable[..., Deciding], wake: threading.Event
) -> None:
    def leaders() -> int:
        return sum(thread.name == "leader" for thread in threading.enumerate())

    before = leaders()
    deciding = deciding_with(Sleeper(wake), lambda: Sleeper(wake))
    following = controls(deciding)
    for owners in following:
        assert all(owner >= 0 for owner in owners)
        assert leaders() <= before + LIMITS["given_up"] + 1
        if deciding.loop.watched_leader.problem:
            break
    assert "given_up" in deciding.loop.watched_leader.problem
    assert deciding.metrics["leaders_given_up"] == LIMITS["given_up"] + 1
    wake.set()
    wait_for(lambda: deciding.loop.watched_leader.status()["hanging"] == 0)
    decisions = deciding.metrics["decisions"]
    next(following)
    wait_for(lambda: deciding.metrics["decisions"] > decisions)
    assert deciding.loop.last_decisions()[deciding.node.cell]["decided_by"] == "fallback:given_up"


def test_a_fresh_leader_that_cannot_be_made_is_an_error(
    deciding_with: Callable[..., Deciding], wake: threading.Event
) -> None:
    def renew() -> Leader:
        raise SystemExit(3)

    deciding = deciding_with(Sleeper(wake), renew)
    for owners in controls(deciding):
        assert all(owner >= 0 for owner in owners)
        if "fallback:error" in deciding.decided_by:
            return

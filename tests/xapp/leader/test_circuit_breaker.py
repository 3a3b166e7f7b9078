"""The circuit breaker: who fails too often is not asked for a while, and trusted again only after a trial."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from deciding import AllIdle, Deciding
from hypothesis import given
from hypothesis import strategies as st
from waiting import wait_for

from policy.allocation import IDLE, Allocation
from policy.leader import Decision, LeaderNotReady
from xapp.config.leader_limits import BreakerConfig
from xapp.leader.circuit_breaker import MOST_DOUBLED, BreakerState, CircuitBreaker, Outcome

CONFIG = BreakerConfig()
BAD = [outcome for outcome in Outcome if outcome is not Outcome.GOOD]
LIMITS = {
    Outcome.ERROR: CONFIG.errors_percent,
    Outcome.LATE: CONFIG.late_percent,
    Outcome.CHANGED: CONFIG.guard_changes_percent,
}


class Clocked:
    """A breaker and its clock."""

    def __init__(self) -> None:
        self.breaker, self.now_s = CircuitBreaker(CONFIG), 1000.0

    def add(self, outcome: Outcome, count: int) -> None:
        for _ in range(count):
            self.breaker.add(outcome, self.now_s)

    def asks(self) -> bool:
        return self.breaker.may_ask(self.now_s)


@pytest.fixture
def clocked() -> Clocked:
    return Clocked()


@pytest.mark.parametrize("bad", BAD)
def test_it_opens_when_failures_reach_their_rate_and_not_before(clocked: Clocked, bad: Outcome) -> None:
    good = round((100 - LIMITS[bad]) / 10)
    clocked.add(Outcome.GOOD, 3 * good + 1)
    clocked.add(bad, 3 * (10 - good))
    assert clocked.asks() and clocked.breaker.why == ""
    clocked.add(bad, 10 * (10 - good))
    assert not clocked.asks()
    assert bad.value in clocked.breaker.why
    assert clocked.breaker.status()["opened"] == 1


@pytest.mark.parametrize("bad", BAD)
def test_a_few_decisions_say_nothing(clocked: Clocked, bad: Outcome) -> None:
    clocked.add(bad, CONFIG.fewest - 1)
    assert clocked.asks()
    clocked.add(bad, 1)
    assert not clocked.asks()


def test_failures_of_long_ago_are_forgotten(clocked: Clocked) -> None:
    for _ in range(10):
        clocked.add(Outcome.ERROR, CONFIG.fewest - 1)
        clocked.now_s += CONFIG.window_s + 1
    assert clocked.asks()


def test_open_half_open_closed(clocked: Clocked) -> None:
    clocked.add(Outcome.ERROR, CONFIG.fewest)
    clocked.now_s += CONFIG.open_s - 0.1
    assert not clocked.asks()
    clocked.now_s += 0.2
    assert clocked.asks() and clocked.breaker.state is BreakerState.HALF_OPEN
    clocked.add(Outcome.GOOD, CONFIG.trial_decisions - 1)
    assert clocked.breaker.state is BreakerState.HALF_OPEN and clocked.breaker.why
    clocked.add(Outcome.GOOD, 1)
    assert clocked.breaker.state is BreakerState.CLOSED and not clocked.breaker.why
    clocked.add(Outcome.ERROR, CONFIG.fewest - 1)
    assert clocked.asks(), "what was before the trial counts no longer"


@pytest.mark.parametrize("bad", BAD)
def test_a_failed_trial_opens_it_for_longer_up_to_a_bound(clocked: Clocked, bad: Outcome) -> None:
    clocked.add(Outcome.ERROR, CONFIG.fewest)
    open_s = CONFIG.open_s
    for _ in range(6):
        clocked.now_s += open_s
        assert clocked.asks()
        clocked.add(bad, 1)
        open_s = min(2 * open_s, MOST_DOUBLED * CONFIG.open_s)
        clocked.now_s += open_s - 0.1
        assert not clocked.asks()
        clocked.now_s -= open_s - 0.1
    assert clocked.breaker.status()["opened"] == 7
    clocked.now_s += open_s
    assert clocked.asks()
    clocked.add(Outcome.GOOD, CONFIG.trial_decisions)
    clocked.add(Outcome.ERROR, CONFIG.fewest)
    clocked.now_s += CONFIG.open_s
    assert clocked.asks(), "after a trial without a failure it opens for the first time again"


@given(st.lists(st.tuples(st.sampled_from(list(Outcome)), st.floats(0, 100), st.integers(1, 300)), max_size=200))
def test_it_is_always_asked_again_some_time(events: list[tuple[Outcome, float, int]]) -> None:
    breaker, now_s = CircuitBreaker(CONFIG), 0.0
    for outcome, later_s, count in events:
        now_s += later_s
        breaker.may_ask(now_s)
        breaker.add(outcome, now_s, count)
        assert bool(breaker.why) is (breaker.state is not BreakerState.CLOSED)
    assert breaker.may_ask(now_s + MOST_DOUBLED * CONFIG.open_s + 1)


# -- in the loop, on the wire -----------------------------------------------------------------------------------------

FEWEST, TRIAL = 4, 2
QUICK = {"fewest": FEWEST, "open_s": 0.3, "trial_decisions": TRIAL}


class Moody(AllIdle):
    """Fails, or gives the cell to a UE that is not there, until it is cured."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.cured = how, False

    def decide(self, states: Any, *rest: Any) -> list[Decision]:
        answer = super().decide(states, *rest)
        if self.cured:
            return answer
        if self.how == "error":
            raise RuntimeError("no idea")
        return [Decision(Allocation(s.ue_ids, np.full(s.num_rbgs, 77, np.int16)), decided_by="model") for s in states]


@pytest.mark.parametrize("how", ["error", "guard"])
def test_a_leader_that_fails_is_not_asked_for_a_while_and_comes_back_after_a_trial(
    make: Callable[..., Deciding], how: str
) -> None:
    moody = Moody(how)
    deciding = make(moody, breaker=QUICK)
    watched = deciding.loop.watched_leader
    sn = 0

    def decided() -> list[int]:
        nonlocal sn
        sn += 1
        owners: list[int] = deciding.decided(sn).allocation.owner_M.tolist()
        wait_for(lambda: deciding.metrics["decisions"] == sn)
        return owners

    for _ in range(FEWEST):
        decided()
    assert watched.breaker.state is BreakerState.OPEN
    assert "circuit breaker open" in watched.problem and watched.status()["opened"] == 1
    asked = len(moody.asked)
    decided()
    assert len(moody.asked) == asked and deciding.decided_by["fallback:breaker_open"] == 1
    moody.cured = True

    def is_closed() -> bool:
        decided()
        return watched.breaker.state is BreakerState.CLOSED

    wait_for(is_closed)
    assert len(moody.asked) == asked + TRIAL
    assert decided() == [IDLE] * 6, "the leader's own answer"
    assert watched.problem == "" and deciding.metrics["breaker_opened"] == 1


def test_late_answers_open_it(make: Callable[..., Deciding]) -> None:
    class Late(AllIdle):
        def decide(self, states: Any, intents: Any, expired: Callable[[], bool]) -> list[Decision]:
            wait_for(expired)
            return super().decide(states)

    deciding = make(Late(), decision_deadline_ms=10.0, breaker=QUICK)
    for sn in range(1, 10):
        deciding.decided(sn)
    wait_for(lambda: deciding.metrics["decisions"] == 9)
    assert deciding.loop.watched_leader.breaker.opened >= 1
    assert "fallback:breaker_open" in deciding.decided_by


def test_a_leader_that_is_not_ready_is_not_judged(make: Callable[..., Deciding]) -> None:
    class Cold(AllIdle):
        def decide(self, *_: Any) -> list[Decision]:
            raise LeaderNotReady("compiling")

    deciding = make(Cold(), breaker=QUICK)
    for sn in range(1, 10):
        deciding.decided(sn)
    wait_for(lambda: deciding.metrics["decisions"] == 9)
    assert deciding.decided_by == {"fallback:compiling": 9}
    assert deciding.loop.watched_leader.status()["state"] == "closed"

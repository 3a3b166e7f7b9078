"""The leader's thread behind its circuit breaker: what the pacer asks."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

from policy.cell_state import CellState
from policy.intent import Intent
from policy.leader import Leader
from xapp.config.leader_limits import BreakerConfig
from xapp.control.cold_start import ColdLeader, FailedLeader
from xapp.control.leader_thread import Answer, Worker
from xapp.leader.circuit_breaker import BreakerState, CircuitBreaker, Outcome
from xapp.leader.reasons import BREAKER_OPEN, ERRORS, GIVEN_UP, OVERDUE
from xapp.monitoring.metrics import Metrics

log = logging.getLogger(__name__)

_OUTCOMES = dict.fromkeys(ERRORS, Outcome.ERROR) | dict.fromkeys(OVERDUE, Outcome.LATE)
"""By reason; for any other (it compiles, the xApp stops) nobody is judged."""


class WatchedLeader:
    """The pacer's thread calls it; any may read its status."""

    def __init__(self, leader: Leader, worker: Worker, config: BreakerConfig, metrics: Metrics) -> None:
        self._leader, self._worker = leader, worker
        self._metrics = metrics
        self.breaker = CircuitBreaker(config)

    def ask(self, states: Sequence[CellState], intents: Sequence[Intent], deadline_s: float) -> Answer:
        """As Worker.ask; `breaker_open` while the leader is not asked."""
        if not self.breaker.may_ask(time.monotonic()):
            return Answer(None, BREAKER_OPEN)
        answer = self._worker.ask(states, intents, deadline_s)
        if (outcome := _OUTCOMES.get(answer.reason)) is not None:
            self._add(outcome, len(states))
        return answer

    def guarded(self, changed: bool) -> None:
        """What the guard made of one of the leader's decisions that was about the newest state."""
        self._add(Outcome.CHANGED if changed else Outcome.GOOD)

    def close(self) -> None:
        self._worker.close()

    @property
    def problem(self) -> str:
        """Why the leader is not asked; empty = it is."""
        if isinstance(self._leader, FailedLeader | ColdLeader) and self._leader.problem:
            return self._leader.problem
        if self._worker.given_up:
            return f"{GIVEN_UP}: leaders did not return"
        return f"circuit breaker {self.breaker.state.value}: {self.breaker.why}" if self.breaker.why else ""

    def status(self) -> dict[str, Any]:
        return {**self.breaker.status(), "given_up": self._worker.given_up, "hanging": self._worker.hanging}

    def _add(self, outcome: Outcome, count: int = 1) -> None:
        before, opened = self.breaker.state, self.breaker.opened
        self.breaker.add(outcome, time.monotonic(), count)
        if self.breaker.opened > opened:
            self._metrics.count("breaker_opened")
            log.error("the leader is not asked for a while: %s", self.breaker.why)
        elif before is BreakerState.HALF_OPEN and self.breaker.state is BreakerState.CLOSED:
            log.warning("the leader is trusted again")

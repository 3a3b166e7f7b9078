"""What the xApp counts and times: Prometheus metrics (own registry) and the same numbers as one JSON summary."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from xapp.monitoring.own_counts import DECISIONS, OwnCounts
from xapp.monitoring.process import started_at_s

KEPT_TIMES = 100_000
"""Newest decision times kept for exact percentiles (at 10 decisions/s: close to three hours)."""
_TIME_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


COUNTERS = {
    "indications_received": "E2 indications that came in.",
    "decode_errors": "Messages that were not what they should be.",
    "ue_reports_elsewhere": "Reports of a UE that counts for another cell of its node.",
    "report_numbers_resynchronised": "Times that reports which had seemed late were the node's own.",
    "superseded_reports": "Reports that a newer one replaced before anybody decided.",
    "controls_sent": "Controls handed to RMR.",
    "controls_acked": "Controls that nodes acknowledged.",
    "controls_failed": "Controls that nodes refused.",
    "controls_unanswered": "Controls and releases that nobody answered in time.",
    "releases_sent": "Releases handed to RMR: a cell or UE given back to the node's own scheduler.",
    "releases_acked": "Releases that nodes acknowledged.",
    "releases_failed": "Releases that nodes refused.",
    "answers_unmatched": "Answers to controls that this instance did not send, or had given up.",
    "late_answers": "Answers of the model that came after the deadline.",
    "leader_errors": "Failures of the model.",
    "leaders_given_up": "Leaders that did not return and were given up.",
    "breaker_opened": "Times that the leader failed too often and was not asked for a while.",
    "hold_outs": "Hold-outs of the KPI guard begun: for a moment the node decides about a cell.",
    "leaders_reverted": "Times that the KPI guard found a cell worse off with the leader.",
    "releases_by_heartbeat": "Cells released by another thread because the pacer stood still.",
    "guard_changes": "Changes that the guard made to proposed allocations.",
    "stale_releases": "Cells released because their reports stopped.",
    "a1_ok": "A1 policies taken.",
    "a1_error": "A1 policies refused.",
    "a1_deleted": "A1 policies deleted.",
    "a1_queries_sent": "Times that the A1 mediator was asked for its policies.",
}
"""Event -> what it counts; exported as `stackmac_<event>_total`."""
GAUGES = {
    "in_control": "1 = this instance controls, 0 = it waits or stands by.",
    "registered": "1 = appmgr knows this xApp.",
    "rmr_ready": "1 = there is a route table.",
    "sdl_healthy": "1 = the shared data layer answered last time.",
    "nodes_connected": "E2 nodes connected.",
    "subscriptions_wanted": "Subscriptions that there should be.",
    "subscriptions_active": "Subscriptions that there are.",
    "cells": "Cells that report.",
    "ue_twins": "UEs that cannot be told apart by their ids: never limited.",
    "ues_limited": "UEs that may be under an E2SM-RC quota.",
    "quotas_waiting": "Quotas that are to change and have not been sent.",
    "policies": "A1 policies in force.",
    "policies_not_enforced": "Those of them of which something does not hold.",
    "pacer_stands_still": "1 = nothing is decided any more; another thread has released the cells.",
    "breaker_open": "1 = the leader is not asked for a while, or is on trial.",
    "cells_held_out": "Cells in a hold-out of the KPI guard.",
    "cells_reverted": "Cells whose leader the KPI guard has reverted.",
    "alarms_active": "Alarms raised and not cleared.",
    "configuration_error": "1 = the descriptor's newest content cannot be used.",
    "restart_needed": "Fields of the descriptor that a restart would change.",
}
"""State -> what it says; exported as `stackmac_<state>`."""


class Metrics:
    """Thread safe. Counting costs microseconds: it is called from the decision path."""

    def __init__(self) -> None:
        self._own = own = OwnCounts("stackmac", COUNTERS, _TIME_BUCKETS_S)
        self._lock, self._counts, self._decided_by, self._drops = own.lock, own.events, own.decided_by, own.drops
        self._decision_ms: deque[float] = deque(maxlen=KEPT_TIMES)
        self._loop_ms: deque[float] = deque(maxlen=KEPT_TIMES)
        self._started_at_s = started_at_s()  # here: a decision reads no files
        self._first_decision_at_s: float | None = None
        self.registry = CollectorRegistry()
        self.registry.register(own)
        self._gauges = {name: Gauge(f"stackmac_{name}", what, registry=self.registry) for name, what in GAUGES.items()}

    def count(self, event: str, by: int = 1) -> None:
        """Count an event of the loop (indications_received, controls_sent, ...)."""
        with self._lock:
            self._counts[event] += by

    def add_source(self, name: str, what: str, label: str, counts: Callable[[], Mapping[str, float]]) -> None:
        """Export counters that somebody else keeps, as `stackmac_<name>_total`. `counts` must not block."""
        self.registry.register(_Source(f"stackmac_{name}", what, label, counts))

    def add_states(self, name: str, what: str, label: str, values: Callable[[], Mapping[str, float]]) -> None:
        """Export states that somebody else keeps, as `stackmac_<name>`. `values` must not block."""
        self.registry.register(_Source(f"stackmac_{name}", what, label, values, GaugeMetricFamily))

    def drop(self, reason: str) -> None:
        """Count an input that was dropped, by reason (a fixed name, never text from outside)."""
        with self._lock:
            self._drops[reason] += 1

    def decided(self, decided_by: str, decision_ms: float, loop_ms: float) -> None:
        """Count one decision and its two times."""
        with self._lock:
            self._counts[DECISIONS] += 1
            self._decided_by[decided_by] += 1
            if self._first_decision_at_s is None and not decided_by.startswith("fallback:"):
                self._first_decision_at_s = time.monotonic()
            self._decision_ms.append(decision_ms)
            self._loop_ms.append(loop_ms)
            self._own.decision.add(decision_ms / 1e3)
            self._own.loop.add(loop_ms / 1e3)

    def set_state(self, name: str, value: float) -> None:
        """Set one of GAUGES."""
        self._gauges[name].set(value)

    def __getitem__(self, event: str) -> int:
        with self._lock:
            return self._counts[event]

    def totals(self) -> tuple[dict[str, int], dict[str, int]]:
        """All counts by event, and decisions by who made them: cheaper than `summary`."""
        with self._lock:
            return dict(self._counts), dict(self._decided_by)

    def prometheus(self) -> bytes:
        """The exposition text for GET /ric/v1/metrics."""
        return generate_latest(self.registry)

    def summary(self) -> dict[str, Any]:
        """Counters and percentiles for status lines; times in ms."""
        with self._lock:
            names = (
                "indications_received",
                "decode_errors",
                "decisions",
                "controls_sent",
                "controls_acked",
                "controls_failed",
                "controls_unanswered",
                "late_answers",
                "guard_changes",
                "releases_sent",
                "releases_acked",
                "releases_failed",
                "superseded_reports",
                "ue_reports_elsewhere",
            )
            summary: dict[str, Any] = {name: self._counts[name] for name in names}
            summary["decided_by"] = dict(self._decided_by)
            summary["dropped"] = dict(self._drops)
            start_s, first_s = self._started_at_s, self._first_decision_at_s
            summary["start_to_first_decision_s"] = (
                None if start_s is None or first_s is None else round(first_s - start_s, 2)
            )
            decision_ms, loop_ms = list(self._decision_ms), list(self._loop_ms)
        summary["decision_ms"] = percentiles(decision_ms)
        summary["loop_ms"] = percentiles(loop_ms)
        return summary


class _Source(Collector):
    """Counters, or states, that are read when somebody asks."""

    def __init__(
        self,
        name: str,
        what: str,
        label: str,
        counts: Callable[[], Mapping[str, float]],
        kind: type[CounterMetricFamily | GaugeMetricFamily] = CounterMetricFamily,
    ) -> None:
        self._name, self._what, self._label, self._counts, self._kind = name, what, label, counts, kind

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        family = self._kind(self._name, self._what, labels=[self._label])
        for key, value in sorted(self._counts().items()):
            family.add_metric([key], value)
        yield family

    def describe(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """Without values: asking for those may not be possible yet."""
        yield self._kind(self._name, self._what, labels=[self._label])


def percentiles(values: list[float]) -> dict[str, float | None]:
    """{p50, p95, p99} rounded to microseconds (values in ms); None where there is no value."""
    if not values:
        return {"p50": None, "p95": None, "p99": None}
    p50, p95, p99 = np.percentile(values, (50, 95, 99))
    return {"p50": round(float(p50), 3), "p95": round(float(p95), 3), "p99": round(float(p99), 3)}

"""What the xApp counts and times: Prometheus metrics (own registry) and the same numbers as one JSON summary."""

from __future__ import annotations

import threading
from collections import Counter, deque
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry, Gauge, Histogram
from prometheus_client import Counter as PrometheusCounter
from prometheus_client.exposition import generate_latest

KEPT_TIMES = 100_000
"""Newest decision times kept for exact percentiles (at 10 decisions/s: close to three hours)."""
_TIME_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


class Metrics:
    """Thread safe. Counting costs microseconds: it is called from the decision path."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._decided_by: Counter[str] = Counter()
        self._drops: Counter[str] = Counter()
        self._decision_ms: deque[float] = deque(maxlen=KEPT_TIMES)
        self._loop_ms: deque[float] = deque(maxlen=KEPT_TIMES)
        self.registry = CollectorRegistry()
        self._events = PrometheusCounter(
            "stackmac_events", "Events of the loop by name.", ["event"], registry=self.registry
        )
        self._decisions = PrometheusCounter(
            "stackmac_decisions", "Decisions by who made them.", ["decided_by"], registry=self.registry
        )
        self._dropped = PrometheusCounter(
            "stackmac_dropped", "Inputs dropped, by reason.", ["reason"], registry=self.registry
        )
        self._decision_s = Histogram(
            "stackmac_decision_seconds", "State to decision.", buckets=_TIME_BUCKETS_S, registry=self.registry
        )
        self._loop_s = Histogram(
            "stackmac_loop_seconds",
            "Report frame received to control handed to RMR.",
            buckets=_TIME_BUCKETS_S,
            registry=self.registry,
        )
        self._gauges = Gauge("stackmac_state", "States of the xApp by name.", ["state"], registry=self.registry)

    def count(self, event: str, by: int = 1) -> None:
        """Count an event of the loop (indications_received, controls_sent, ...)."""
        with self._lock:
            self._counts[event] += by
        self._events.labels(event).inc(by)

    def drop(self, reason: str) -> None:
        """Count an input that was dropped, by reason (a fixed name, never text from outside)."""
        with self._lock:
            self._drops[reason] += 1
        self._dropped.labels(reason).inc()

    def decided(self, decided_by: str, decision_ms: float, loop_ms: float) -> None:
        """Count one decision and its two times."""
        with self._lock:
            self._counts["decisions"] += 1
            self._decided_by[decided_by] += 1
            self._decision_ms.append(decision_ms)
            self._loop_ms.append(loop_ms)
        self._decisions.labels(decided_by).inc()
        self._decision_s.observe(decision_ms / 1e3)
        self._loop_s.observe(loop_ms / 1e3)

    def set_state(self, name: str, value: float) -> None:
        """Set a gauge (nodes_connected, subscriptions_active, ...)."""
        self._gauges.labels(name).set(value)

    def __getitem__(self, event: str) -> int:
        with self._lock:
            return self._counts[event]

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
                "superseded_reports",
            )
            summary: dict[str, Any] = {name: self._counts[name] for name in names}
            summary["decided_by"] = dict(self._decided_by)
            summary["dropped"] = dict(self._drops)
            decision_ms, loop_ms = list(self._decision_ms), list(self._loop_ms)
        summary["decision_ms"] = percentiles(decision_ms)
        summary["loop_ms"] = percentiles(loop_ms)
        return summary


def percentiles(values: list[float]) -> dict[str, float | None]:
    """{p50, p95, p99} rounded to microseconds (values in ms); None where there is no value."""
    if not values:
        return {"p50": None, "p95": None, "p99": None}
    p50, p95, p99 = np.percentile(values, (50, 95, 99))
    return {"p50": round(float(p50), 3), "p95": round(float(p95), 3), "p99": round(float(p99), 3)}

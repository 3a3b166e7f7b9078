"""What the xApp itself counts and times, kept as plain numbers: Prometheus' families are made of them when it asks.

prometheus_client's own objects take a lock and several calls for each event; a decision counts a dozen.
"""

from __future__ import annotations

import os
import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping

from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

DECISIONS = "decisions"
"""The event that has a label of its own: who decided."""


class Times:
    """How often something took at most so long."""

    def __init__(self, bounds_s: tuple[float, ...]) -> None:
        self.bounds_s = bounds_s
        self.counts = [0] * (len(bounds_s) + 1)
        self.sum_s = 0.0

    def add(self, time_s: float) -> None:
        self.counts[bisect_left(self.bounds_s, time_s)] += 1
        self.sum_s += time_s

    def cumulated(self) -> list[tuple[str, float]]:
        """Each bound, as Prometheus writes it, and how many were no longer."""
        total, buckets = 0, []
        for bound_s, count in zip((*self.bounds_s, float("inf")), self.counts, strict=True):
            total += count
            buckets.append((floatToGoString(bound_s), float(total)))
        return buckets


class OwnCounts(Collector):
    """Whoever holds `lock` may change what is counted."""

    def __init__(self, prefix: str, counters: Mapping[str, str], bounds_s: tuple[float, ...]) -> None:
        """counters: event -> what it counts, of those that have a metric of their own."""
        self.lock = threading.Lock()
        self.events: Counter[str] = Counter()
        self.decided_by: Counter[str] = Counter()
        self.drops: Counter[str] = Counter()
        self.decision = Times(bounds_s)
        self.loop = Times(bounds_s)
        self._prefix = prefix
        self._counters = counters
        self._created_s = time.time()

    def collect(self) -> Iterator[Metric]:
        with self.lock:
            events, decided_by, drops = dict(self.events), dict(self.decided_by), dict(self.drops)
            times = [(each.cumulated(), each.sum_s) for each in (self.decision, self.loop)]
        created_s = None if _is_without_created() else self._created_s
        for name, what in self._counters.items():
            yield CounterMetricFamily(f"{self._prefix}_{name}", what, events.get(name, 0), created=created_s)
        others = {name: n for name, n in events.items() if name not in self._counters and name != DECISIONS}
        for name, what, label, counts in (
            ("events", "Events without a metric of their own.", "event", others),
            (DECISIONS, "Decisions by who made them.", "decided_by", decided_by),
            ("dropped", "What was dropped or went wrong, by reason.", "reason", drops),
        ):
            family = CounterMetricFamily(f"{self._prefix}_{name}", what, labels=[label])
            for key, number in counts.items():
                family.add_metric([key], number, created=created_s)
            yield family
        for name, what, (buckets, sum_s) in (
            ("decision_seconds", "State to decision.", times[0]),
            ("loop_seconds", "Report frame received to control handed to RMR.", times[1]),
        ):
            histogram = HistogramMetricFamily(f"{self._prefix}_{name}", what, buckets, sum_s)
            if created_s is not None:
                histogram.add_sample(f"{self._prefix}_{name}_created", {}, created_s)
            yield histogram


def _is_without_created() -> bool:
    """As prometheus_client itself is, by its variable."""
    return os.environ.get("PROMETHEUS_DISABLE_CREATED_SERIES", "").lower() in ("true", "1", "t")

"""Reports, the windows that they make, and how one window is compared with another: each UE with itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

UTILITY_BITS = 100.0
"""Utility is log(1 + rate / this), rate in bits a slot."""
FEWEST_UES = 2
"""Fewer matched UEs are no comparison."""
UNKNOWN_CLASS = -1

FloatU = NDArray[np.float64]


class GuardReport(NamedTuple):
    """What one report of a cell has to say. [U] in the order of `ue_ids`; NaN = not reported."""

    ue_ids: tuple[int, ...]
    served_bits_U: FloatU
    traffic_class_U: FloatU
    buffer_bits_U: FloatU
    cqi_U: FloatU
    slots: int
    """That it covers."""
    exempt: frozenset[int] = frozenset()
    """UEs that an operator allows nothing."""
    by_leader: bool | None = None
    """Whether the leader's discretion governed the cell, as far as the node says what did."""
    by_another: bool = False
    """Somebody else's control governed it, or none: the report says nothing."""
    lost_packets_U: FloatU | None = None
    delivered_packets_U: FloatU | None = None


@dataclass(slots=True)
class UeTotals:
    """One UE in one window."""

    bits: float = 0.0
    reports: int = 0
    traffic_class: int = UNKNOWN_CLASS
    lost: float = 0.0
    delivered: float = 0.0


@dataclass(slots=True)
class Window:
    """Reports under one mode; those at its beginning are not in it."""

    held_out: bool
    reports: int = 0
    slots: int = 0
    ues: dict[int, UeTotals] = field(default_factory=dict)

    def add(self, report: GuardReport, before: frozenset[int]) -> None:
        """before: UEs of the report before. One that came since then was there for a part of this one only."""
        self.reports += 1
        self.slots += report.slots
        served, classes = report.served_bits_U.tolist(), report.traffic_class_U.tolist()
        lost = report.lost_packets_U.tolist() if report.lost_packets_U is not None else None
        delivered = report.delivered_packets_U.tolist() if report.delivered_packets_U is not None else None
        for row, ue in enumerate(report.ue_ids):
            if ue not in before or math.isnan(served[row]):
                continue
            totals = self.ues.setdefault(ue, UeTotals())
            totals.bits += served[row]
            totals.reports += 1
            totals.traffic_class = UNKNOWN_CLASS if math.isnan(classes[row]) else int(classes[row])
            if lost is not None and delivered is not None and not math.isnan(lost[row] + delivered[row]):
                totals.lost += lost[row]
                totals.delivered += delivered[row]

    def utility(self, ues: Sequence[int]) -> float:
        """Mean of log(1 + rate / 100) over these UEs; NaN without any."""
        if not ues or not self.slots:
            return math.nan
        scale = self.slots * UTILITY_BITS
        return sum(math.log1p(self.ues[ue].bits / scale) for ue in ues) / len(ues)

    def delivery(self, ues: Sequence[int]) -> float:
        """Mean of log(1 + 10 x the fraction of packets that got through) over those of these UEs that had any."""
        shares = [t.delivered / (t.delivered + t.lost) for t in map(self.ues.__getitem__, ues) if t.delivered + t.lost]
        return sum(map(_delivery_utility, shares)) / len(shares) if shares else math.nan


def _delivery_utility(share: float) -> float:
    return math.log1p(10.0 * share)


def matched(windows: Sequence[Window], *, latency: bool = False) -> list[int]:
    """UEs that were there in all reports of all these windows, and of the same class.

    latency: of the latency classes only.
    """
    first, *rest = windows
    found = []
    for ue, totals in first.ues.items():
        if totals.reports < first.reports or (latency and totals.traffic_class < 1):
            continue
        others = [window.ues.get(ue) for window in rest]
        if all(
            other is not None and other.reports == window.reports and other.traffic_class == totals.traffic_class
            for other, window in zip(others, rest)
        ):
            found.append(ue)
    return found


class Kpi(NamedTuple):
    """What is compared."""

    name: str
    value: Callable[[Window, Sequence[int]], float]
    latency: bool = False
    """Of UEs of the latency classes only."""

    def matched(self, windows: Sequence[Window]) -> list[int]:
        return matched(windows, latency=self.latency)


UTILITY = Kpi("utility", Window.utility)
LATENCY_UTILITY = Kpi("latency_utility", Window.utility, latency=True)
DELIVERY = Kpi("delivery", Window.delivery, latency=True)
KPIS = (UTILITY, LATENCY_UTILITY)


class Difference(NamedTuple):
    """A window above its two neighbours."""

    above: float
    level: float
    """The window's own value."""


def difference(before: Window, window: Window, after: Window, kpi: Kpi) -> Difference:
    """NaN where there is nobody to compare."""
    three = (before, window, after)
    ues = kpi.matched(three)
    if len(ues) < FEWEST_UES:
        return Difference(math.nan, math.nan)
    own = kpi.value(window, ues)
    return Difference(own - (kpi.value(before, ues) + kpi.value(after, ues)) / 2, own)

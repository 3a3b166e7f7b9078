"""Reports, the windows that they make, and how one window is compared with another: each UE with itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

UTILITY_BITS = 100.0
"""Utility is log(1 + rate / this), rate in bits a slot."""
FEWEST_UES = 2
"""Fewer matched UEs are no comparison."""
UNKNOWN_CLASS = -1

FloatU = NDArray[np.float64]
IntU = NDArray[np.int64]


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


_BITS, _REPORTS, _LOST, _DELIVERED = range(4)
"""Columns of a window's totals."""


class Window:
    """Reports under one mode; those at its beginning are not in it. UEs have a row each, in the order they came."""

    def __init__(self, held_out: bool) -> None:
        self.held_out = held_out
        self.reports = 0
        self.slots = 0
        self.has_packets = False
        """A report said what was lost and delivered."""
        self._ues: tuple[int, ...] = ()
        self._row_of: dict[int, int] = {}
        self._totals_UC: FloatU = np.zeros((0, 4))
        self._class_U: IntU = np.zeros(0, np.int64)
        self._reported: tuple[int, ...] = ()
        """UEs of the report before, and ..."""
        self._rows: IntU = np.zeros(0, np.int64)
        """... their rows."""
        self._made_at = -1
        """Reports that what follows was made of, when it was asked for."""
        self._stayed_U: NDArray[np.bool_] = np.zeros(0, bool)
        """There in all reports."""
        self._utility_U: FloatU = np.zeros(0)

    def add(self, report: GuardReport, before: frozenset[int]) -> None:
        """before: UEs of the report before. One that came since then was there for a part of this one only."""
        self.reports += 1
        self.slots += report.slots
        if report.ue_ids != self._reported:
            self._seat(report.ue_ids)
        served_U, class_U = report.served_bits_U, report.traffic_class_U
        counts_U = ~np.isnan(served_U)
        if not before.issuperset(report.ue_ids):
            counts_U &= np.fromiter((ue in before for ue in report.ue_ids), bool, len(report.ue_ids))
        rows = self._rows[counts_U]
        self._totals_UC[rows, _BITS] += served_U[counts_U]
        self._totals_UC[rows, _REPORTS] += 1
        self._class_U[rows] = np.where(np.isnan(class_U), UNKNOWN_CLASS, class_U)[counts_U].astype(np.int64)
        lost_U, delivered_U = report.lost_packets_U, report.delivered_packets_U
        if lost_U is not None and delivered_U is not None:
            known_U = counts_U & ~np.isnan(lost_U + delivered_U)
            self._totals_UC[self._rows[known_U], _LOST] += lost_U[known_U]
            self._totals_UC[self._rows[known_U], _DELIVERED] += delivered_U[known_U]
            self.has_packets = True

    def _seat(self, ues: tuple[int, ...]) -> None:
        """A row for each UE, new ones for those that have none."""
        new = [ue for ue in ues if ue not in self._row_of]
        if new:
            self._row_of.update(zip(new, range(len(self._ues), len(self._ues) + len(new))))
            self._ues += tuple(new)
            self._totals_UC = np.concatenate([self._totals_UC, np.zeros((len(new), 4))])
            self._class_U = np.concatenate([self._class_U, np.full(len(new), UNKNOWN_CLASS)])
        self._reported, self._rows = ues, self._rows_of(ues)

    def _rows_of(self, ues: Sequence[int]) -> IntU:
        """-1 = it was never there."""
        return np.array([self._row_of.get(ue, -1) for ue in ues], np.int64)

    def _make(self) -> None:
        if self._made_at != self.reports:
            self._stayed_U = self._totals_UC[:, _REPORTS] == self.reports
            self._utility_U = np.log1p(self._totals_UC[:, _BITS] / (max(1, self.slots) * UTILITY_BITS))
            self._made_at = self.reports

    @property
    def _stayed(self) -> NDArray[np.bool_]:
        self._make()
        return self._stayed_U

    def utility(self, rows: IntU) -> float:
        """Mean of log(1 + rate / 100) over the UEs in these rows; NaN without any."""
        if not rows.size or not self.slots:
            return math.nan
        self._make()
        return float(self._utility_U[rows].sum()) / rows.size

    def delivery(self, rows: IntU) -> float:
        """Mean of log(1 + 10 x the fraction of packets that got through) over those of these UEs that had any."""
        if not self.has_packets:
            return math.nan
        delivered_U = self._totals_UC[rows, _DELIVERED]
        packets_U = delivered_U + self._totals_UC[rows, _LOST]
        had_any = packets_U.nonzero()[0]
        if not had_any.size:
            return math.nan
        shares_U = delivered_U[had_any] / packets_U[had_any]
        return float(np.log1p(10.0 * shares_U).sum()) / had_any.size


def matched(windows: Sequence[Window], *, latency: bool = False) -> list[IntU]:
    """UEs that were there in all reports of all these windows, and of the same class: their rows in each window.

    latency: of the latency classes only.
    """
    first, *rest = windows
    if not all(window._ues for window in windows):
        return [np.zeros(0, np.int64)] * len(windows)
    candidates = first._stayed & (first._class_U >= 1) if latency else first._stayed
    if all(window._ues == first._ues for window in rest):  # nobody came: rows are the same in all
        for window in rest:
            candidates = candidates & window._stayed & (window._class_U == first._class_U)
        return [candidates.nonzero()[0]] * len(windows)
    rows = candidates.nonzero()[0]
    ues = [first._ues[row] for row in rows.tolist()]
    found = [rows, *(window._rows_of(ues) for window in rest)]
    same = np.ones(rows.size, bool)
    for window, theirs in zip(rest, found[1:]):
        same &= (theirs >= 0) & window._stayed[theirs] & (window._class_U[theirs] == first._class_U[rows])
    return [theirs[same] for theirs in found]


class Kpi(NamedTuple):
    """What is compared."""

    name: str
    value: Callable[[Window, IntU], float]
    """Of a window's UEs in these rows."""
    latency: bool = False
    """Of UEs of the latency classes only."""

    def matched(self, windows: Sequence[Window]) -> list[IntU]:
        """Of each window the rows of UEs that can be compared."""
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
    if kpi is DELIVERY and not (before.has_packets and window.has_packets and after.has_packets):
        return Difference(math.nan, math.nan)
    rows_before, rows, rows_after = kpi.matched((before, window, after))
    if rows.size < FEWEST_UES:
        return Difference(math.nan, math.nan)
    own = kpi.value(window, rows)
    return Difference(own - (kpi.value(before, rows_before) + kpi.value(after, rows_after)) / 2, own)

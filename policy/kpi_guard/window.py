"""Reports, the windows that they make, and how one window is compared with another: each UE with itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

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


_ROOM = 8
"""UEs that a new window has room for; it doubles."""
_COLUMNS = 5
_BITS, _REPORTS, _CLASS, _LOST, _DELIVERED = range(_COLUMNS)


class Window:
    """Reports under one mode; those at its beginning are not in it. Not thread safe.

    Columns are what each UE had in it, in the order in which UEs came: row by row in `ids`.
    """

    def __init__(self, held_out: bool) -> None:
        self.held_out = held_out
        self.reports = self.slots = 0
        self.ids: list[int] = []
        self._row_of: dict[int, int] = {}
        self._columns_CU = np.zeros((_COLUMNS, _ROOM))
        self._newest: tuple[tuple[int, ...], NDArray[np.int64]] = ((), np.zeros(0, np.int64))
        """UEs of the newest report, and their rows."""
        self._utility_U: list[float] | None = None
        self._delivery_U: list[float] | None = None
        """By row; NaN = no packets. None = to be made."""

    def add(self, report: GuardReport, before: frozenset[int]) -> None:
        """before: UEs of the report before. One that came since then was there for a part of this one only."""
        self.reports += 1
        self.slots += report.slots
        self._utility_U = self._delivery_U = None
        rows_U, columns_CU = self._rows(report.ue_ids), self._columns_CU
        served_U, classes_U = report.served_bits_U, report.traffic_class_U
        counts_U = ~np.isnan(served_U)
        if not before.issuperset(report.ue_ids):
            counts_U &= [ue in before for ue in report.ue_ids]
        if counts_U.all():
            there_U: NDArray[Any] | slice = slice(None)
        else:
            there_U = np.flatnonzero(counts_U)
            rows_U, served_U, classes_U = rows_U[there_U], served_U[there_U], classes_U[there_U]
        columns_CU[_BITS, rows_U] += served_U
        columns_CU[_REPORTS, rows_U] += 1.0
        columns_CU[_CLASS, rows_U] = np.trunc(np.where(np.isnan(classes_U), UNKNOWN_CLASS, classes_U))
        if report.lost_packets_U is not None and report.delivered_packets_U is not None:
            lost_U, delivered_U = report.lost_packets_U[there_U], report.delivered_packets_U[there_U]
            known_U = ~np.isnan(lost_U + delivered_U)
            columns_CU[_LOST, rows_U] += np.where(known_U, lost_U, 0.0)
            columns_CU[_DELIVERED, rows_U] += np.where(known_U, delivered_U, 0.0)

    def _rows(self, ue_ids: tuple[int, ...]) -> NDArray[np.int64]:
        """Of these UEs, with new ones for those that are new."""
        if ue_ids == self._newest[0]:
            return self._newest[1]
        row_of = self._row_of
        for ue in ue_ids:
            if ue not in row_of:
                row_of[ue] = len(self.ids)
                self.ids.append(ue)
        while len(self.ids) > self._columns_CU.shape[1]:
            self._columns_CU = np.hstack([self._columns_CU, np.zeros_like(self._columns_CU)])
        self._newest = ue_ids, np.array([row_of[ue] for ue in ue_ids], np.int64)
        return self._newest[1]

    def rows_of(self, ids: Sequence[int]) -> NDArray[np.int64]:
        """Of these UEs; -1 = never seen."""
        return np.array([self._row_of.get(ue, -1) for ue in ids], np.int64)

    def always_there_U(self, rows_U: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether the UEs in these rows were in all reports."""
        there_U: NDArray[np.bool_] = (rows_U >= 0) & (self._columns_CU[_REPORTS, rows_U] == self.reports)
        return there_U

    def traffic_class_U(self, rows_U: NDArray[np.int64]) -> FloatU:
        return self._columns_CU[_CLASS, rows_U]

    def utility(self, rows: Sequence[int]) -> float:
        """Mean of log(1 + rate / 100) over the UEs in these rows; NaN without any."""
        if not len(rows) or not self.slots:
            return math.nan
        if self._utility_U is None:
            scale = self.slots * UTILITY_BITS
            self._utility_U = [math.log1p(bits / scale) for bits in self._columns_CU[_BITS, : len(self.ids)].tolist()]
        return sum(map(self._utility_U.__getitem__, rows)) / len(rows)

    def delivery(self, rows: Sequence[int]) -> float:
        """Mean of log(1 + 10 x the fraction of packets that got through) over those in these rows that had any."""
        if self._delivery_U is None:
            self._delivery_U = [
                math.log1p(10.0 * (delivered / (delivered + lost))) if delivered + lost else math.nan
                for lost, delivered in self._columns_CU[_LOST:, : len(self.ids)].T.tolist()
            ]
        shares = [share for share in map(self._delivery_U.__getitem__, rows) if not math.isnan(share)]
        return sum(shares) / len(shares) if shares else math.nan


class Matched(NamedTuple):
    """UEs that were there in all reports of some windows, and of the same class in all."""

    rows_WU: list[list[int]]
    """Theirs in each of the windows."""
    latency: list[int]
    """Places among them of UEs of the latency classes."""

    def of(self, kpi: Kpi) -> list[list[int]]:
        """Rows of the UEs that a KPI is about, in each window."""
        return [[rows[at] for at in self.latency] for rows in self.rows_WU] if kpi.latency else self.rows_WU


def match(windows: Sequence[Window]) -> Matched:
    """The UEs of one window found again in the others."""
    first, *rest = windows
    rows_U = np.arange(len(first.ids))
    kept_U = first.always_there_U(rows_U)
    class_U = first.traffic_class_U(rows_U)
    rows_WU = [rows_U]
    for window in rest:
        other_U = rows_U if window.ids == first.ids else window.rows_of(first.ids)
        kept_U &= window.always_there_U(other_U) & (window.traffic_class_U(other_U) == class_U)
        rows_WU.append(other_U)
    return Matched([each[kept_U].tolist() for each in rows_WU], np.flatnonzero(class_U[kept_U] >= 1).tolist())


class Kpi(NamedTuple):
    """What is compared."""

    name: str
    value: Callable[[Window, Sequence[int]], float]
    """Of a window, over the UEs in these rows."""
    latency: bool = False
    """Of UEs of the latency classes only."""


UTILITY = Kpi("utility", Window.utility)
LATENCY_UTILITY = Kpi("latency_utility", Window.utility, latency=True)
DELIVERY = Kpi("delivery", Window.delivery, latency=True)
KPIS = (UTILITY, LATENCY_UTILITY)


class Difference(NamedTuple):
    """A window above its two neighbours."""

    above: float
    level: float
    """The window's own value."""


NOTHING = Difference(math.nan, math.nan)


def differences(before: Window, window: Window, after: Window, kpis: Sequence[Kpi]) -> tuple[Difference, ...]:
    """By KPI; NaN where there is nobody to compare."""
    matched = match((before, window, after))
    found = []
    for kpi in kpis:
        earlier, now, later = matched.of(kpi)
        if len(now) < FEWEST_UES:
            found.append(NOTHING)
            continue
        own = kpi.value(window, now)
        found.append(Difference(own - (kpi.value(before, earlier) + kpi.value(after, later)) / 2, own))
    return tuple(found)

"""How many reports carry one measurement: nodes refresh their values at a pace of their own. Pure.

OCUDU and srsRAN measure once per `du_report_period` (a second unless set) and repeat that until the next. Values that
are equal to the last ones are either the same measurement or an equal new one (a UE that rests). The smallest distance
between two changes tells: a node whose values ever change from one report to the next measures for every report.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from xapp.e2.kpm.report_reader import KpmReport

UNKNOWN_PACE_MS = 1000
"""Assumed until two changes were seen: the slowest that is usual."""
REMEMBERED = 8
"""Newest distances between changes that count."""
CLAIMED_AFTER = 3
"""Distances that must have been seen before anything is said of the node, most of them alike."""
WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


class MeasurementPace:
    """One cell's. Not thread safe."""

    def __init__(self, report_period_ms: int) -> None:
        self._assumed = max(1, round(UNKNOWN_PACE_MS / report_period_ms))
        self._previous: KpmReport | None = None
        self._distances: deque[int] = deque(maxlen=REMEMBERED)
        self._since_measurement = 0
        self._since_change: int | None = None
        """Reports since values changed; None: they never did, or the measurement under way began before the first."""

    def is_new(self, report: KpmReport) -> bool:
        """Take the next report; False: it carries the last measurement once more."""
        previous, self._previous = self._previous, report
        self._since_measurement += 1
        if self._since_change is not None:
            self._since_change += 1
        if previous is None:
            new = True
        elif _differs(previous, report):
            if self._since_change is not None:
                self._distances.append(self._since_change)
            self._since_change = 0
            new = True
        else:
            new = self._since_measurement >= min(self._distances, default=self._assumed)
        if new:
            self._since_measurement = 0
        return new

    @property
    def reports_per_measurement(self) -> int:
        """How many reports carry one measurement, as far as that is sure; 0 = not known."""
        if not self._distances or len(self._distances) < CLAIMED_AFTER:
            return 0
        least = min(self._distances)
        # Timers drift by a report; a change in between would be one of a node that measures more often.
        alike = [distance for distance in self._distances if distance <= least + max(1, least // 4)]
        return round(sum(alike) / len(alike)) if 3 * len(alike) >= 2 * len(self._distances) else 0


def pace_text(reports: int) -> str:
    """Say how many reports carry one measurement, and what to do about it."""
    number = WORDS[reports] if reports < len(WORDS) else str(reports)
    return f"{number} reports carry one measurement: lower du_report_period or raise report_period_ms"


def _differs(before: KpmReport, after: KpmReport) -> bool:
    """Whether any UE that is in both has other values: who comes and goes between measurements is none."""
    if before.names != after.names:
        return True
    if before.ue_keys == after.ue_keys:
        return not np.array_equal(before.values, after.values, equal_nan=True)
    row_of = {ue: row for row, ue in enumerate(before.ue_keys)}
    pairs = [(row_of[ue], row) for row, ue in enumerate(after.ue_keys) if ue in row_of]
    if not pairs:
        return True
    then, now = zip(*pairs, strict=True)
    return not np.array_equal(before.values[list(then)], after.values[list(now)], equal_nan=True)

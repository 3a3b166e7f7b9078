"""What each reported value can be: whatever lies outside is as good as not reported. Pure.

Nodes send CQIs of 1835, rates below zero and counters that were never set (all ones), and one such value in an average
lasts as long as the average. The bounds are what no radio reaches, not what is usual: a value is dropped only where it
must be wrong.

Suffix: U = UEs.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from policy.cell_state import MAX_LAST_CQI_AGE, NUM_OUTCOMES, TrafficClass
from policy.observation import MEASUREMENTS

Values = NDArray[np.float64]


class Range(NamedTuple):
    """Both ends belong to it."""

    lowest: float
    highest: float


MAX_BITS = 1e13
"""Of a buffer, or served in a report period: 100 Gbit/s for 100 s."""
MAX_SLOTS = 1e9
"""Older than days: nothing that is reported."""
MAX_CQI = 15

KPM_RANGES = {name: Range(0, measurement.highest) for name, measurement in MEASUREMENTS.items()}
"""By E2SM-KPM measurement, in its unit."""
ANY_MEASUREMENT = Range(0, 1e15)
"""Of a measurement that is not in the table: none that is asked for can be negative."""
DCM_RANGES = {
    "traffic_class": Range(0, max(TrafficClass)),
    "buffer_bits": Range(0, MAX_BITS),
    "buffer_bits_before": Range(0, MAX_BITS),
    "inflight_bits": Range(0, MAX_BITS),
    "served_bits": Range(0, MAX_BITS),
    "packet_bits": Range(0, MAX_BITS),
    "lost_packets": Range(0, MAX_BITS),
    "delivered_packets": Range(0, MAX_BITS),
    "cqi": Range(0, MAX_CQI),
    "head_delay_slots": Range(0, MAX_SLOTS),
    "deadline_slots": Range(0, MAX_SLOTS),
    "arrival_period_slots": Range(0, MAX_SLOTS),
    "arrival_phase_slots": Range(0, MAX_SLOTS),
    "slots_since_served": Range(0, MAX_SLOTS),
    "ucm": Range(0, 2**16),
    "heard_cqi": Range(0, MAX_CQI),
    "heard_age_slots": Range(0, MAX_LAST_CQI_AGE),
    "last_outcome": Range(0, NUM_OUTCOMES - 1),
}
"""By column of a DCM indication; the preferred RBG depends on the carrier."""


def within(values: Values, allowed: Range) -> Values:
    """What lies outside, or is no finite number, as NaN."""
    return np.where((values >= allowed.lowest) & (values <= allowed.highest), values, np.nan)


def kpm_columns(names: tuple[str, ...], values_NU: Values) -> Values:
    """Measurements' columns as they may be believed, a row a name."""
    lowest_N, highest_N = _kpm_bounds(names)
    return np.where((values_NU >= lowest_N) & (values_NU <= highest_N), values_NU, np.nan)


@lru_cache(maxsize=64)
def _kpm_bounds(names: tuple[str, ...]) -> tuple[Values, Values]:
    """[N, 1] each."""
    bounds_NB = np.array([KPM_RANGES.get(name, ANY_MEASUREMENT) for name in names]).reshape(-1, 2)
    return bounds_NB[:, :1], bounds_NB[:, 1:]


def dcm_column(name: str, values: Values) -> Values:
    """A column of a DCM indication as it may be believed."""
    return within(values, DCM_RANGES[name])

"""Means with 95 % intervals by Student's t."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

NORMAL_95 = 1.959963984540054
T_95 = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281)
"""Two-sided 95 % quantiles of Student's t for 1 to 10 degrees of freedom; beyond, an expansion is exact enough."""


class Interval(NamedTuple):
    """A mean and the two ends of its interval; NaN where there is nothing to tell them from."""

    mean: float
    low: float
    high: float

    @classmethod
    def around(cls, mean: float, half_width: float) -> Interval:
        return cls(mean, mean - half_width, mean + half_width)


def student_t(degrees: int) -> float:
    """Two-sided 95 % quantile, to 1e-4; ValueError below one degree of freedom."""
    if degrees < 1:
        raise ValueError(f"{degrees} degrees of freedom, expected at least 1")
    if degrees <= len(T_95):
        return T_95[degrees - 1]
    z, n = NORMAL_95, degrees
    # Cornish-Fisher expansion in 1/n (Abramowitz and Stegun, 26.7.5).
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / n + second / n**2 + third / n**3


def mean_interval(values: Sequence[float]) -> Interval:
    """Of independent values, those that are not finite apart; one alone has no width."""
    finite = np.array([v for v in values if math.isfinite(v)])
    if not len(finite):
        return Interval(math.nan, math.nan, math.nan)
    if len(finite) == 1:
        return Interval.around(float(finite[0]), math.nan)
    half_width = student_t(len(finite) - 1) * float(finite.std(ddof=1)) / math.sqrt(len(finite))
    return Interval.around(float(finite.mean()), half_width)

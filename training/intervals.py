"""Means with 95 % intervals by Student's t, and differences of two samples, paired or not."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NORMAL_95 = 1.959963984540054
T_95 = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281)
"""Two-sided 95 % quantiles of Student's t for 1 to 10 degrees of freedom; beyond, an expansion is exact enough."""

Sample = Sequence[float] | NDArray[np.float64]


class Interval(NamedTuple):
    """A mean and the two ends of its interval; NaN where there is nothing to tell them from."""

    mean: float
    low: float
    high: float

    @classmethod
    def around(cls, mean: float, half_width: float) -> Interval:
        return cls(mean, mean - half_width, mean + half_width)

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2


def student_t(degrees: float) -> float:
    """Two-sided 95 % quantile, to 1e-4 for whole degrees of freedom; ValueError below one.

    Between whole numbers up to 10 (Welch's degrees) the lower one's quantile is taken: wider, never narrower.
    """
    if degrees < 1:
        raise ValueError(f"{degrees} degrees of freedom, expected at least 1")
    if degrees < len(T_95) + 1:
        return T_95[int(degrees) - 1]
    z, n = NORMAL_95, degrees
    # Cornish-Fisher expansion in 1/n (Abramowitz and Stegun, 26.7.5).
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / n + second / n**2 + third / n**3


def mean_and_error(values: NDArray[np.float64]) -> tuple[float, float]:
    """The mean of independent values, two at least, and its standard error."""
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


def mean_interval(values: Sample) -> Interval:
    """The mean of independent values and its interval; values that are not finite are left out, one has no width."""
    finite = _finite(values)
    if not len(finite):
        return Interval(math.nan, math.nan, math.nan)
    if len(finite) == 1:
        return Interval.around(float(finite[0]), math.nan)
    half_width = student_t(len(finite) - 1) * float(finite.std(ddof=1)) / math.sqrt(len(finite))
    return Interval.around(float(finite.mean()), half_width)


def difference(mine: Sample, theirs: Sample, *, paired: bool) -> Interval:
    """mean(mine) - mean(theirs). Unpaired it is Welch's, in which a single value counts as exactly known."""
    if paired:
        return mean_interval(np.asarray(mine) - np.asarray(theirs))
    a, b = _finite(mine), _finite(theirs)
    if not len(a) or not len(b):
        return Interval(math.nan, math.nan, math.nan)
    mean = float(a.mean() - b.mean())
    parts = [(float(x.var(ddof=1)) / len(x), len(x) - 1) for x in (a, b) if len(x) > 1]
    variance = sum(part for part, _ in parts)
    if not parts:
        return Interval.around(mean, math.nan)
    if variance == 0.0:
        return Interval.around(mean, 0.0)
    degrees = variance**2 / sum(part**2 / n for part, n in parts)
    return Interval.around(mean, student_t(max(1.0, degrees)) * math.sqrt(variance))


def percent_above(mine: Sample, theirs: Sample, *, paired: bool) -> Interval:
    """100 (mean(mine) / mean(theirs) - 1); its interval is the linearised ratio's. NaN unless mean(theirs) > 0."""
    a, b = np.asarray(mine, np.float64), np.asarray(theirs, np.float64)
    if paired:
        a, b = (x[np.isfinite(a) & np.isfinite(b)] for x in (a, b))
    else:
        a, b = _finite(a), _finite(b)
    base = float(b.mean()) if len(b) else math.nan
    if not len(a) or not base > 0:
        return Interval(math.nan, math.nan, math.nan)
    ratio = float(a.mean()) / base
    around_zero = difference(a / base, ratio * b / base, paired=paired)
    return Interval.around(100 * (ratio - 1), 100 * around_zero.half_width)


def finite_mean(values: Iterable[float | None]) -> float:
    """The mean of the values that there are; NaN if none is finite."""
    finite = [value for value in values if value is not None and math.isfinite(value)]
    return float(np.mean(finite)) if finite else math.nan


def _finite(values: Sample) -> NDArray[np.float64]:
    array = np.asarray(values, np.float64)
    return array[np.isfinite(array)]

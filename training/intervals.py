"""Means with 95 % intervals by Student's t: of samples, of differences, and of trainings crossed with worlds.

**Trainings crossed with worlds.** Every training seed s of a player plays in every world w, and both are drawn from
many: an interval over the training seeds of four fixed worlds says nothing of other worlds. The model is two-way random
effects without replication,

    y_sw = mu + a_s + b_w + e_sw

with a, b and e independent. The mean's variance is taken as V = (MS_a + MS_b) / (S W) from the two mean squares, with
Satterthwaite's degrees of freedom. The unbiased estimate subtracts MS_e, which both hold; with a handful of seeds that
makes intervals that are too narrow (tests/training/test_intervals.py: with five trainings in six worlds these hold 94
to 97 times of 100), so it is not. With one training or one world it is Student's t over the other.
Suffixes: S training seeds, W worlds.
"""

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


def crossed_mean(values_SW: NDArray[np.float64]) -> Interval:
    """The mean over training seeds and worlds, both drawn from many; worlds with a value that is not finite are left
    out."""
    return crossed_difference(values_SW, np.zeros((1, np.shape(values_SW)[1])), paired=True)


def crossed_difference(mine_SW: NDArray[np.float64], theirs_SW: NDArray[np.float64], *, paired: bool) -> Interval:
    """mean(mine) - mean(theirs), in the same worlds, over training seeds and worlds.

    paired: row s of both is of one training seed; a single row stands beside each. Otherwise the rows of either side
    are trainings of their own, and a single one counts as exactly known.
    """
    mine_SW, theirs_SW = np.asarray(mine_SW, np.float64), np.asarray(theirs_SW, np.float64)
    fine_W = np.isfinite(mine_SW).all(axis=0) & np.isfinite(theirs_SW).all(axis=0)
    mine_SW, theirs_SW = mine_SW[:, fine_W], theirs_SW[:, fine_W]
    if not mine_SW.size or not theirs_SW.size:
        return Interval(math.nan, math.nan, math.nan)
    together = paired or len(theirs_SW) == 1 or len(mine_SW) == 1
    sides = [mine_SW - theirs_SW] if together else [mine_SW, theirs_SW]
    between_W = mine_SW.mean(axis=0) - theirs_SW.mean(axis=0)
    # Each part: its share of the mean's variance, and its degrees of freedom.
    parts = [_spread(side_SW.mean(axis=1)) for side_SW in sides if len(side_SW) > 1]
    if len(between_W) > 1:
        parts.append(_spread(between_W))
    middle, variance = float(between_W.mean()), sum(part.variance for part in parts)
    if not parts:
        return Interval.around(middle, math.nan)
    if variance == 0.0:
        return Interval.around(middle, 0.0)
    degrees = variance**2 / sum(part.variance**2 / part.degrees for part in parts)
    # A whole number may come out a little less than it is.
    return Interval.around(middle, student_t(degrees + 1e-9) * math.sqrt(variance))


def crossed_percent(mine_SW: NDArray[np.float64], theirs_SW: NDArray[np.float64], *, paired: bool) -> Interval:
    """100 (mean(mine) / mean(theirs) - 1), over training seeds and worlds; its interval is the linearised ratio's.

    NaN unless mean(theirs) > 0.
    """
    mine_SW, theirs_SW = np.asarray(mine_SW, np.float64), np.asarray(theirs_SW, np.float64)
    fine_W = np.isfinite(mine_SW).all(axis=0) & np.isfinite(theirs_SW).all(axis=0)
    mine_SW, theirs_SW = mine_SW[:, fine_W], theirs_SW[:, fine_W]
    base = float(theirs_SW.mean()) if theirs_SW.size else math.nan
    if not mine_SW.size or not base > 0:
        return Interval(math.nan, math.nan, math.nan)
    ratio = float(mine_SW.mean()) / base
    around_zero = crossed_difference(mine_SW / base, ratio * theirs_SW / base, paired=paired)
    return Interval.around(100 * (ratio - 1), 100 * around_zero.half_width)


class _Spread(NamedTuple):
    """The variance of a mean over one factor, and its degrees of freedom."""

    variance: float
    degrees: int


def _spread(means: NDArray[np.float64]) -> _Spread:
    return _Spread(float(means.var(ddof=1)) / len(means), len(means) - 1)


def finite_mean(values: Iterable[float | None]) -> float:
    """The mean of the values that there are; NaN if none is finite."""
    finite = [value for value in values if value is not None and math.isfinite(value)]
    return float(np.mean(finite)) if finite else math.nan


def _finite(values: Sample) -> NDArray[np.float64]:
    array = np.asarray(values, np.float64)
    return array[np.isfinite(array)]

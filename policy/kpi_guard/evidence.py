"""Evidence against a leader, by one KPI: an e-process over cycles of windows, one of each a hold-out at random.

Within a cycle the hold-out's place was drawn uniformly from `places`. If the leader changes nothing, every place's
difference is what it is wherever the hold-out was, so that exp(g z_k) / mean_j exp(g z_j) has mean 1: whatever the load
does, however windows depend on each other. M restarts at 1 (a sum of such processes bounds it), so the mean time to a
false alarm is at least A cycles.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from policy.kpi_guard.rules import BETS
from policy.kpi_guard.window import Difference

FIRST_NOISE = 0.10
"""Relative, until enough windows have been seen."""
LEAST_NOISE = 0.01
FEWEST_RESIDUALS = 15
MAX_RESIDUALS = 200
MAD_TO_SIGMA = 1.48
MOST_SIGMA = 8.0
"""Nothing says more than this: one wild window is not the end of a leader."""

_BETS_G = np.array(BETS)


class Evidence:
    """Of one cell and one KPI."""

    def __init__(self, margin: float) -> None:
        self.margin = margin
        self.m_G: NDArray[np.float64] = np.ones(len(BETS))
        self.noise = FIRST_NOISE
        self._residuals: deque[float] = deque(maxlen=MAX_RESIDUALS)

    @property
    def m(self) -> float:
        """M: the mean over all bets."""
        return float(self.m_G.mean())

    def restart(self) -> None:
        """Nothing is held against the leader any more; the noise is as it was."""
        self.m_G = np.ones(len(BETS))

    def learn(self, relative: Sequence[float]) -> None:
        """Differences of windows under the leader, relative to their level: they are the noise."""
        self._residuals.extend(value for value in relative if math.isfinite(value))
        if len(self._residuals) >= FEWEST_RESIDUALS:
            self.noise = max(MAD_TO_SIGMA * median_size(self._residuals), LEAST_NOISE)

    def add_cycle(self, differences: Sequence[Difference], held_out: int) -> NDArray[np.float64] | None:
        """A cycle's differences at each place where the hold-out could have been, and where it was. Returns e by bet;
        None = there was nothing to compare. The margin is in the hold-out's disfavour.
        """
        usable = [found for found in differences if math.isfinite(found.above)]
        if not math.isfinite(differences[held_out].above) or len(usable) < 2:
            return None
        above_J, level_J = np.array(usable).T
        level = float(level_J.mean())
        if level <= 0.0:
            return None
        x_J = above_J / level
        k = sum(math.isfinite(found.above) for found in differences[:held_out])
        e_G = e_values(x_J, k, self.margin, self.noise)
        self.m_G = np.maximum(self.m_G, 1.0) * e_G
        self.learn(np.delete(x_J, k).tolist())
        return e_G


def median_size(values: Iterable[float]) -> float:
    """The median of |value|. numpy takes five times as long for so few."""
    in_order = sorted(map(abs, values))
    return (in_order[(len(in_order) - 1) // 2] + in_order[len(in_order) // 2]) / 2.0


def e_values(x_J: NDArray[np.float64], k: int, margin: float, noise: float) -> NDArray[np.float64]:
    """By bet: mean 1 over a uniform k for any x, and less with a margin."""
    z_J = x_J.copy()
    z_J[k] -= margin
    z_J = np.clip(z_J / noise, -MOST_SIGMA, MOST_SIGMA)
    powers_GJ = np.exp(_BETS_G[:, None] * z_J[None, :])
    e_G: NDArray[np.float64] = powers_GJ[:, k] / powers_GJ.mean(axis=1)
    return e_G

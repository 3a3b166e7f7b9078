"""The gross rule: a difference so large that three comparisons in a row are enough, and a sudden fall that asks for a
hold-out.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import numpy as np

from policy.kpi_guard.evidence import MAD_TO_SIGMA, median_size
from policy.kpi_guard.rules import GuardRules
from policy.kpi_guard.window import FEWEST_UES, UTILITY, Window, match

IN_A_ROW = 3
SIGMAS = 4.0
FIRST_NOISE = 0.15
FEWEST_NOISE = 10
MAX_NOISE = 300
FALL_WINDOWS = 4
"""All under the leader: the last against those before it."""


class Gross:
    """Of one cell."""

    def __init__(self, rules: GuardRules) -> None:
        self._least = rules.gross
        self._noise: deque[float] = deque(maxlen=MAX_NOISE)
        self.worse: deque[float] = deque(maxlen=IN_A_ROW)
        """The newest comparisons: how much less utility under the leader, relative."""
        self.levels = math.nan, math.nan
        """Of the newest of them: utility with the leader and without."""

    @property
    def threshold(self) -> float:
        noise = MAD_TO_SIGMA * median_size(self._noise) if len(self._noise) >= FEWEST_NOISE else FIRST_NOISE
        return max(self._least, SIGMAS * noise)

    def restart(self) -> None:
        self.worse.clear()

    def add(self, before: Window, window: Window) -> float:
        """Compare a window that has ended with the one before it. Returns how much worse the leader was; 0 = they
        cannot be compared.
        """
        rows_then, rows_now = match((before, window)).of(UTILITY)
        if len(rows_now) < FEWEST_UES:
            return 0.0
        then, now = before.utility(rows_then), window.utility(rows_now)
        if before.held_out == window.held_out:
            if max(then, now) > 0.0:
                self._noise.append(abs(now - then) / max(then, now))
            return 0.0
        with_leader, without = (then, now) if window.held_out else (now, then)
        worse = 1.0 - with_leader / without if without > 0.0 else 0.0
        self.worse.append(worse)
        self.levels = with_leader, without
        return worse

    @property
    def found(self) -> bool:
        """Three comparisons in a row were grossly worse under the leader."""
        return len(self.worse) == IN_A_ROW and self._is_gross(min(self.worse))

    def _is_gross(self, worse: float) -> bool:
        return worse >= self._least and worse >= self.threshold  # what the first says costs nothing

    def fell(self, windows: Sequence[Window]) -> bool:
        """Whether utility under the leader has just fallen by as much."""
        if len(windows) < FALL_WINDOWS:
            return False
        newest = windows[-FALL_WINDOWS:]
        if any(window.held_out for window in newest):
            return False
        *rows_before, rows_now = match(newest).of(UTILITY)
        if len(rows_now) < FEWEST_UES:
            return False
        before = float(np.mean([window.utility(rows) for window, rows in zip(newest, rows_before)]))
        now = newest[-1].utility(rows_now)
        return now < (1.0 - self._least) * before and now < (1.0 - self.threshold) * before

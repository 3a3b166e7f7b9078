"""How fast weights follow, over a run: learning-rate schedules of every training."""

from __future__ import annotations

import math


def cosine(update: int, updates: int, first: float, last: float) -> float:
    """A half cosine from `first` to `last`, which it keeps."""
    share = 0.5 + 0.5 * math.cos(math.pi * min(update / updates, 1.0))
    return last + (first - last) * share


def warm_up(update: int, updates: int) -> float:
    """A line from almost 0 to 1, which it keeps."""
    return min(1.0, (update + 1) / updates)

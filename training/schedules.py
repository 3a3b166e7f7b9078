"""How fast weights follow, over a run: learning-rate schedules of every training."""

from __future__ import annotations

import math


def cosine(update: int, updates: int, first: float, last: float) -> float:
    """From `first` to `last`, which it keeps."""
    share = 0.5 + 0.5 * math.cos(math.pi * min(update / updates, 1.0))
    return last + (first - last) * share


def warm_up(update: int, updates: int) -> float:
    """From almost 0 to 1, linearly."""
    return min(1.0, (update + 1) / updates)

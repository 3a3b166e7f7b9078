"""What all bundles' READMEs have in common: where they lie, and how a curve is drawn in a line of text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

CARD = "README.md"
_BLOCKS = "▁▂▃▄▅▆▇█"
_WIDTH = 40


def sparkline(values: Sequence[float]) -> str:
    """At most 40 characters, from the least to the most."""
    if not values:
        return ""
    means = [float(np.mean(part)) for part in np.array_split(np.array(values), min(_WIDTH, len(values)))]
    low, high = min(means), max(means)
    spread = (high - low) or 1.0
    return "".join(_BLOCKS[min(int((v - low) / spread * len(_BLOCKS)), len(_BLOCKS) - 1)] for v in means)

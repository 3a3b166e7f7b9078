"""What all bundles' READMEs have in common: their file, the command, and how the figures of training changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

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


def made_by(provenance: Mapping[str, Any]) -> list[str]:
    """Lines that say which command makes the bundle again."""
    return ["## Made by", "", "```", str(provenance.get("command") or "(not recorded)"), "```", ""]


def curves(reports: Sequence[object], names: Sequence[str]) -> list[str]:
    """Lines of a table: each figure in the first and last tenth of the reports that have it, and as a curve."""
    lines = ["| | first tenth | last tenth | |", "|---|---|---|---|"]
    for name in names:
        values = [float(value) for report in reports if (value := getattr(report, name)) is not None]
        if values:
            tenth = max(1, len(values) // 10)
            first, last = np.mean(values[:tenth]), np.mean(values[-tenth:])
            lines.append(f"| {name} | {first:.4g} | {last:.4g} | `{sparkline(values)}` |")
    return lines


def figures(metrics: Mapping[str, Any]) -> list[str]:
    """Lines that list what a bundle keeps of its training."""
    return ["## Figures of training", "", *(f"- {name}: {value}" for name, value in metrics.items()), ""]

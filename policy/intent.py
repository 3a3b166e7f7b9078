"""An operator's intent for a cell, compiled from A1 policies: a soft objective and hard share limits per UE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Mode(StrEnum):
    """What the xApp may do with a cell."""

    CONTROL = "control"
    SHADOW = "shadow"
    """Decide and record, send nothing."""
    FALLBACK = "fallback"
    """Send the classical schedule, ask no model."""


@dataclass(frozen=True, slots=True)
class Intent:
    """Limits are percent of the cell's RBGs, keyed by UE id; caps round down, floors round up."""

    alpha: float = 1.0
    """Exponent of the alpha-fair objective: 0 = throughput, 1 = proportional fair, larger = more even."""
    max_share_percent: Mapping[int, float] = field(default_factory=dict)
    min_share_percent: Mapping[int, float] = field(default_factory=dict)
    mode: Mode = Mode.CONTROL

    def __post_init__(self) -> None:
        if not 0.0 <= self.alpha <= 10.0:
            raise ValueError(f"alpha is {self.alpha}, expected 0 to 10")
        for name in ("max_share_percent", "min_share_percent"):
            for ue, percent in getattr(self, name).items():
                if not 0.0 <= percent <= 100.0:
                    raise ValueError(f"{name} of UE {ue} is {percent}, expected 0 to 100")

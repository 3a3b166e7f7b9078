"""An operator's intent for a cell, compiled from A1 policies: a soft objective and hard share limits.

Limits are percent of the cell's RBGs; caps round down, floors up. A floor holds over a window of periods: what rounding
or a lost control left undone comes back as `owed_rbgs`, counted by whoever keeps the time (policy/ is stateless).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

MAX_WINDOW_PERIODS = 1000


class Mode(StrEnum):
    """What the xApp may do with a cell."""

    CONTROL = "control"
    SHADOW = "shadow"
    """Decide and record, send nothing."""
    FALLBACK = "fallback"
    """Send the classical schedule, ask no model."""


@dataclass(frozen=True, slots=True)
class SliceLimit:
    """A limit on what the members of a slice hold together."""

    name: str
    ue_ids: frozenset[int]
    """The slice's members, alive or not."""
    min_share_percent: float = 0.0
    max_share_percent: float = 100.0
    owed_rbgs: float = 0.0
    """RBGs of earlier periods that its floor still owes; slightly negative = rounding gave it more."""

    def __post_init__(self) -> None:
        for name in ("min_share_percent", "max_share_percent"):
            _check_percent(f"{name} of slice {self.name}", getattr(self, name))


@dataclass(frozen=True, slots=True)
class TargetResult:
    """What came of a target in its newest window."""

    state: str = "unknown"
    """`met`, `missed`, `idle` (less was offered), `out of reach` or `unknown`: the worst of what it asks."""
    text: str = ""
    """What was measured, and why not."""
    verdicts: Mapping[str, str] = field(default_factory=dict)
    """Of each thing that it asks, by name."""
    bits_per_rbg: float = 0.0


@dataclass(frozen=True, slots=True)
class Target:
    """What an operator wants to come of the limits. None = no target."""

    policy: str
    """Id of the policy that has it."""
    of: str
    """`slice 1-0000ff`, `UE 7`."""
    ue_ids: frozenset[int]
    """Live UEs: the slice's members together, or the one."""
    slice_name: str = ""
    """"" = it is of a UE."""
    min_kbps: float | None = None
    max_kbps: float | None = None
    max_delay_ms: float | None = None
    max_loss_rate: float | None = None
    result: TargetResult | None = None
    """So far; None = no window has ended."""


@dataclass(frozen=True, slots=True)
class Intent:
    """Shares of single UEs are keyed by UE id. Raises ValueError for what makes no sense, naming it."""

    alpha: float = 1.0
    """Exponent of the alpha-fair objective: 0 = throughput, 1 = proportional fair, larger = more even."""
    max_share_percent: Mapping[int, float] = field(default_factory=dict)
    min_share_percent: Mapping[int, float] = field(default_factory=dict)
    mode: Mode = Mode.CONTROL
    slice_limits: tuple[SliceLimit, ...] = ()
    """Their members must not overlap: a UE counts for one slice."""
    owed_rbgs: Mapping[int, float] = field(default_factory=dict)
    """RBGs that each UE's floor still owes, by UE id: see SliceLimit.owed_rbgs."""
    floor_window_periods: int = 1
    """Periods over which floors hold; 1 = in every single one, without anything owed."""
    targets: tuple[Target, ...] = ()
    """Nothing that decides reads them: what follows from them is in the limits."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.alpha <= 10.0:
            raise ValueError(f"alpha is {self.alpha}, expected 0 to 10")
        if not 1 <= self.floor_window_periods <= MAX_WINDOW_PERIODS:
            raise ValueError(f"floor_window_periods is {self.floor_window_periods}, expected 1 to {MAX_WINDOW_PERIODS}")
        for name in ("max_share_percent", "min_share_percent"):
            for ue, percent in getattr(self, name).items():
                _check_percent(f"{name} of UE {ue}", percent)
        seen: set[int] = set()
        for limit in self.slice_limits:
            if both := seen & limit.ue_ids:
                raise ValueError(f"UE {min(both)} is in slice {limit.name} and in another one, expected one slice a UE")
            seen |= limit.ue_ids


def _check_percent(what: str, percent: float) -> None:
    if not 0.0 <= percent <= 100.0:
        raise ValueError(f"{what} is {percent}, expected 0 to 100")

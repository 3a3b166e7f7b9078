"""What the guard found, with what an operator needs to believe it."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Rule(StrEnum):
    """By which a leader was found to do harm."""

    STARVATION = "starvation"
    GROSS = "gross"
    EVIDENCE = "evidence"
    POOL = "pool"
    """The evidence of all cells under the same leader."""


class State(StrEnum):
    """What a cell's guard is at."""

    LEARNING = "learning"
    WATCHING = "watching"
    SUSPICIOUS = "suspicious"
    """A rule asks for hold-outs, or there is some evidence."""
    REVERTED = "reverted"
    """The node's own scheduler decides until probation."""
    LATCHED = "latched"
    """... until an operator says otherwise."""
    NOT_JUDGED = "not_judged"
    """What the leader decides has no effect in this cell: there is nothing to compare."""


class Verdict(NamedTuple):
    """Why a leader was found to do harm."""

    rule: Rule
    kpi: str
    with_leader: float
    """Utility, or slots without service of the UE that starved longest."""
    without_leader: float
    worse_percent: float
    noise_percent: float
    """One standard deviation of a comparison."""
    matched_ues: int
    hold_outs: int
    m: float
    a: float
    ue_ids: tuple[int, ...] = ()
    """That starve."""

    def text(self) -> str:
        """One line."""
        if self.rule is Rule.STARVATION:
            ues = ", ".join(map(str, self.ue_ids[:8]))
            return (
                f"starvation: UEs {ues} have data and were served nothing for up to {self.with_leader:g} slots under"
                f" the leader; hold-outs served them"
            )
        interval = f"{self.worse_percent:.1f} % [+-{2 * self.noise_percent:.1f}]"
        return (
            f"{self.rule.value}: {self.kpi} {self.with_leader:.3g} with the leader, {self.without_leader:.3g} without:"
            f" {interval} worse, {self.matched_ues} UEs, {self.hold_outs} hold-outs, M {self.m:.3g}, A {self.a:.3g}"
        )

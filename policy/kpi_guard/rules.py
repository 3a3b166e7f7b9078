"""What the KPI guard goes by, in slots: windows, margins, evidence. Each field's meaning is in docs/guard.md."""

from __future__ import annotations

from dataclasses import dataclass

BETS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""g: how much is bet on a hold-out's being better, in units of the noise. A mixture needs no tuning."""
FALSE_ALARM_CYCLES = 6e4
"""A: with 60 windows of a second a cycle, one false alarm per cell-month (41 days)."""


@dataclass(frozen=True, slots=True)
class GuardRules:
    """Of one cell."""

    window_slots: int = 1000
    ignored_slots: int = 200
    """At the beginning of a window: the control that changed was not in force yet, or buffers still show the last."""
    learning_windows: int = 20
    """After control begins: without hold-outs, but those that starvation asks for."""
    fast_cycle: int = 4
    """Windows of a cycle, one of them a hold-out, in the first cycles and under suspicion, ..."""
    slow_cycle: int = 60
    """... and once nothing has been found."""
    fast_cycles: int = 20
    margin: float = 0.03
    """How much less utility is no harm."""
    latency_margin: float = 0.03
    """The same for UEs of the latency classes."""
    false_alarm_cycles: float = FALSE_ALARM_CYCLES
    gross: float = 0.25
    """Less utility by this, three comparisons in a row, needs no further evidence; at least 4 sigma."""
    starved_slots: int = 1000
    """A UE with data, and a channel, and nothing served for so long starves."""
    starved_together_slots: int = 600
    """So do two or more after this."""
    silent_slots: int = 5000
    """Where buffers are not reported: a UE that was served nothing for so long may starve."""
    silent_share: float = 0.3
    """Where buffers are not reported: so many UEs silent for `starved_slots` may starve."""
    probation_slots: int = 600_000
    """After a revert, until the leader is tried again."""
    max_reverts: int = 3
    """The last of them waits for an operator."""
    cycles: bool = True
    """Hold-outs at random; False = only where starvation asks for one."""
    acts: bool = True
    """False = no hold-out and no revert: UEs that starve are named, and that is all."""

    def __post_init__(self) -> None:
        if not 0 <= self.ignored_slots < self.window_slots:
            raise ValueError(f"ignored_slots is {self.ignored_slots}, expected 0 to {self.window_slots - 1}")
        if not 3 <= self.fast_cycle <= self.slow_cycle:
            raise ValueError(f"fast_cycle is {self.fast_cycle}, expected 3 to slow_cycle ({self.slow_cycle})")

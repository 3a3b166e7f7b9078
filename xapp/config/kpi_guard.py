"""The KPI guard: a section of the `controls`. What each field means for detection and cost is in docs/guard.md."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from policy.kpi_guard.rules import FALSE_ALARM_CYCLES, GuardRules
from policy.time_scales import SLOT_MS

Act = Literal["off", "alarm", "revert"]
SLOTS_FOR_CYCLES = 10
"""K below which there are no hold-outs but those that starvation asks for, and starvation is looked for per slot: a
leader that grants single RBGs is far better than the node's own rule, and a second without it is dear."""
FAST_WINDOW_SLOTS, FAST_IGNORED_SLOTS = 100, 20
FAST_STARVED_SLOTS, FAST_STARVED_TOGETHER_SLOTS = 100, 60
"""Under the shipped bundle no UE with data waits longer than 15 slots (docs/guard.md)."""


class KpiGuardConfig(BaseModel):
    """Whether a cell is worse off with the leader than without, in short hold-outs; if so it is reverted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dcm: Act = Field(
        default="revert",
        description="Cells that are controlled by dcm: revert = hold-outs, and the node's own scheduler in place of a"
        " leader that does harm; alarm = no hold-outs, UEs that starve raise an alarm; off = nothing.",
    )
    rc: Act = Field(default="revert", description="The same for cells that are controlled by rc.")
    window_ms: int = Field(default=1000, ge=100, le=600_000, description="Length of a window, and of a hold-out.")
    ignored_ms: int = Field(
        default=200, ge=0, le=599_999, description="Of each window, until the change shows in reports."
    )
    rc_window_ms: int = Field(default=10_000, ge=100, le=600_000, description="window_ms where quotas take their time.")
    rc_ignored_ms: int = Field(default=5000, ge=0, le=599_999, description="ignored_ms of these.")
    learning_windows: int = Field(
        default=20, ge=1, le=10_000, description="Windows after control begins in which noise is learned: no hold-outs."
    )
    cycle_windows: int = Field(
        default=60, ge=4, le=10_000, description="Windows of which one is a hold-out, once nothing has been found."
    )
    margin_percent: float = Field(default=3.0, ge=0.1, le=50, description="Less utility by this is no harm.")
    latency_margin_percent: float = Field(
        default=3.0, ge=0.1, le=50, description="The same for UEs with deadlines: periodic and sporadic traffic."
    )
    false_alarm_cycles: float = Field(
        default=FALSE_ALARM_CYCLES,
        ge=100,
        le=1_000_000_000,
        description="A: mean number of cycles to a false alarm, at least; 6e4 = a cell-month, 2e6 = 1000 cells' day.",
    )
    gross_percent: float = Field(
        default=25.0, ge=1, le=100, description="Less utility by this in three comparisons in a row reverts at once."
    )
    starved_ms: int = Field(
        default=1000, ge=10, le=600_000, description="A UE with data that is served nothing for so long starves."
    )
    starved_together_ms: int = Field(default=600, ge=10, le=600_000, description="So do two or more UEs after this.")
    probation_s: float = Field(
        default=600.0, ge=1, le=86_400, description="After a revert, until the leader is tried again."
    )
    max_reverts: int = Field(default=3, ge=1, le=100, description="The last of so many reverts waits for an operator.")
    pool: bool = Field(default=False, description="Cells under one leader share the evidence against it.")

    @model_validator(mode="after")
    def _something_counts(self) -> Self:
        for name in ("", "rc_"):
            window, ignored = getattr(self, f"{name}window_ms"), getattr(self, f"{name}ignored_ms")
            if ignored >= window:
                raise ValueError(f"{name}ignored_ms is {ignored}, expected less than {name}window_ms, {window}")
        return self

    def act(self, kind: str) -> Act:
        """What is done about cells that are controlled by `kind`."""
        return {"dcm": self.dcm, "rc": self.rc}.get(kind, "alarm")

    def rules(self, kind: str, slots_per_dcm: int) -> GuardRules:
        """For a cell that is controlled by `kind`, whose decisions are about so many slots."""
        slow = kind == "rc"
        fast = slots_per_dcm < SLOTS_FOR_CYCLES
        return GuardRules(
            window_slots=FAST_WINDOW_SLOTS if fast else _slots(self.rc_window_ms if slow else self.window_ms),
            ignored_slots=FAST_IGNORED_SLOTS if fast else _slots(self.rc_ignored_ms if slow else self.ignored_ms),
            learning_windows=self.learning_windows,
            slow_cycle=self.cycle_windows,
            margin=self.margin_percent / 100.0,
            latency_margin=self.latency_margin_percent / 100.0,
            false_alarm_cycles=self.false_alarm_cycles,
            gross=self.gross_percent / 100.0,
            starved_slots=FAST_STARVED_SLOTS if fast else _slots(self.starved_ms),
            starved_together_slots=FAST_STARVED_TOGETHER_SLOTS if fast else _slots(self.starved_together_ms),
            probation_slots=_slots(self.probation_s * 1e3),
            max_reverts=self.max_reverts,
            cycles=not fast,
            acts=self.act(kind) == "revert",
        )


def _slots(milliseconds: float) -> int:
    return max(1, round(milliseconds / SLOT_MS))

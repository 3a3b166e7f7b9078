"""How far a leader is trusted: sections of the `controls`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class BreakerConfig(BaseModel):
    """The circuit breaker: a leader that fails too often is not asked for a while, and the fallback decides."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    window_s: float = Field(default=10.0, ge=1, le=3600, description="Seconds over which decisions are counted.")
    fewest: int = Field(default=20, ge=1, le=100_000, description="Fewer decisions in the window say nothing.")
    errors_percent: float = Field(
        default=50.0,
        gt=0,
        le=100,
        description="Share of decisions for which the leader failed, or gave nothing that can be used, that opens it.",
    )
    late_percent: float = Field(
        default=90.0, gt=0, le=100, description="Share of decisions without an answer in time that opens it."
    )
    guard_changes_percent: float = Field(
        default=50.0, gt=0, le=100, description="Share of decisions that the guard had to change that opens it."
    )
    open_s: float = Field(
        default=10.0,
        ge=0.1,
        le=3600,
        description="Seconds for which the fallback decides; twice as long after each failed trial, up to ten times.",
    )
    trial_decisions: int = Field(
        default=10,
        ge=1,
        le=10_000,
        description="Decisions of a trial afterwards, all of which must be good to close it.",
    )


class LeaderLimits(BaseModel):
    """What a leader may take before it is replaced."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    give_up_s: float = Field(
        default=10.0,
        ge=0.1,
        le=3600,
        description="A leader that has not returned after this is given up, and a fresh one takes its place.",
    )
    given_up: int = Field(
        default=3,
        ge=0,
        le=16,
        description="Given-up leaders whose threads may hang at a time; one more, and the fallback decides for good.",
    )
    memory_mb: int = Field(
        default=1024, ge=64, le=1 << 20, description="Memory of a leader's own process (leader_process), MiB."
    )

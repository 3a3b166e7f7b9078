"""Slices as a configuration names them: which a node has, and who is in them."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, model_validator


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SliceId(_Section):
    """A slice's S-NSSAI, and the shares of a cell that CCC gives it back when nothing limits it any more."""

    sst: int = Field(ge=0, le=255, description="Slice/service type.")
    sd: str = Field(
        default="", pattern=r"^([0-9a-fA-F]{6})?$", description="Slice differentiator, 6 hex digits; empty = none."
    )
    min_ratio: int | None = Field(
        default=None, ge=0, le=100, description="rRMPolicyMinRatio as the node has it; without it CCC leaves the slice."
    )
    max_ratio: int | None = Field(default=None, ge=0, le=100, description="rRMPolicyMaxRatio as the node has it.")
    dedicated_ratio: int = Field(default=0, ge=0, le=100, description="rRMPolicyDedicatedRatio as the node has it.")

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.min_ratio is None) != (self.max_ratio is None):
            raise ValueError("min_ratio and max_ratio go together: give both or neither")
        if self.min_ratio is not None and self.max_ratio is not None and self.min_ratio > self.max_ratio:
            raise ValueError(f"min_ratio {self.min_ratio} is above max_ratio {self.max_ratio}")
        return self

    @property
    def name(self) -> str:
        """As policies call it: `1-0000ff`, `1`."""
        return f"{self.sst}-{self.sd.lower()}" if self.sd else f"{self.sst}"


class SliceMembers(_Section):
    """Who is in a slice: no report says that, so A1 policies of an S-NSSAI need it, or a list of their own."""

    sst: int = Field(default=1, ge=0, le=255, description="Slice/service type.")
    sd: str = Field(
        default="", pattern=r"^([0-9a-fA-F]{6})?$", description="Slice differentiator, 6 hex digits; empty = none."
    )
    traffic_classes: tuple[Literal["embb", "periodic", "sporadic"], ...] = Field(
        default=(), description="All UEs of these classes (a DCM node reports them)."
    )
    cells: tuple[str, ...] = Field(
        default=(), description="Where that holds, `<RAN name>/<NR-CGI>`; empty: everywhere."
    )
    ue_ids: tuple[NonNegativeInt, ...] = Field(default=(), description="These UEs, by their node's own numbers.")

"""An A1 policy as an operator writes it: which cells, slices and UEs, and what is to hold there.

The policy type's JSON schema is generated from this model (descriptors/a1-policy-type.json). There is no free text in
it: nothing that an operator writes can reach a prompt, except numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from policy.cell_state import TrafficClass
from policy.errors import UserMistake
from policy.intent import Mode
from policy.time_scales import MAX_PERIOD_MS, MIN_PERIOD_MS
from xapp.a1.json_schema import DRAFT, inlined, without_null
from xapp.a1.repeated_keys import repeated_keys
from xapp.config.mistakes import Contradictions, mistakes_of
from xapp.config.model import INTENT_TYPE_ID

POLICY_TYPE_ID = INTENT_TYPE_ID
POLICY_TYPE_NAME = "stackmac_intent"
MAX_UES = 1000
"""Named by one policy, in its scope and its slices together."""

CELL_FORM = r"^[^/\s]{1,31}/([0-9a-f]{15}|node)$"
Cell = Annotated[str, Field(pattern=CELL_FORM)]
"""`<RAN name>/<NR-CGI as 15 hex digits>`; `<RAN name>/node`: the only cell of a node that names none."""
UeId = Annotated[int, Field(ge=0, lt=2**32)]
"""A node's own number of a UE (gNB-CU-UE-F1AP-ID on a DU)."""
Percent = Annotated[float, Field(ge=0, le=100)]
ClassName = Literal["embb", "periodic", "sporadic"]
Model = TypeVar("Model", bound=BaseModel)


class PolicyError(UserMistake):
    """A policy that cannot be taken: of each mistake the field, its value and what was expected."""

    def __init__(self, *mistakes: str) -> None:
        """One line together."""
        super().__init__("; ".join(mistakes))
        self.mistakes = mistakes


class Part(BaseModel):
    """A part of a policy: strict, and without a field that is not its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class SliceScope(Part):
    """A slice: an S-NSSAI (TS 23.003 28.4), or all UEs of a traffic class."""

    sst: int | None = Field(default=None, ge=0, le=255, description="Slice/service type.")
    sd: str | None = Field(default=None, pattern="^[0-9a-fA-F]{6}$", description="Slice differentiator, 6 hex digits.")
    traffic_class: ClassName | None = Field(default=None, description="Instead of sst: all UEs of this class.")
    ue_ids: tuple[UeId, ...] = Field(
        default=(), max_length=1000, description="Members of the S-NSSAI, besides those that the configuration names."
    )

    @field_validator("sd")
    @classmethod
    def _lower(cls, sd: str | None) -> str | None:
        return sd.lower() if sd is not None else None

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.sst is None) == (self.traffic_class is None):
            raise ValueError("expected either sst or traffic_class")
        if self.traffic_class is not None and (self.sd is not None or self.ue_ids):
            raise ValueError("sd and ue_ids go with sst, not with traffic_class")
        return self

    @property
    def name(self) -> str:
        """`1-0000ff`, `1`, or the class."""
        return self.traffic_class or slice_name(self.sst, self.sd)


class Scope(Part):
    """Where a policy holds. Everything empty: in all cells, for all UEs."""

    cells: tuple[Cell, ...] = Field(default=(), max_length=1000, description="Empty = every cell.")
    slices: tuple[SliceScope, ...] = Field(default=(), max_length=64, description="Slices that the limits are of.")
    ue_ids: tuple[UeId, ...] = Field(default=(), max_length=1000, description="UEs that the limit per UE is of.")

    @property
    def numbers(self) -> frozenset[int]:
        """Of all UEs that are named, as members of slices, too."""
        return frozenset(self.ue_ids).union(*(each.ue_ids for each in self.slices))


class Objective(Part):
    """What is to be maximised: the sum of alpha-fair utilities of the rates."""

    alpha: float = Field(ge=0, le=10, description="0 = throughput, 1 = proportional fair, larger = more even.")


class ShareLimit(Part):
    """Hard limits, percent of the cell's RBGs. Floors round up, caps down."""

    min_share_percent: Percent = Field(default=0.0, description="Floor.")
    max_share_percent: Percent = Field(default=100.0, description="Cap.")

    @model_validator(mode="after")
    def _floor_below_cap(self) -> Self:
        if self.min_share_percent > self.max_share_percent:
            raise ValueError(
                f"min_share_percent {self.min_share_percent:g} is above max_share_percent {self.max_share_percent:g}"
            )
        return self


class PolicyLimits(Part):
    per_ue: ShareLimit | None = Field(
        default=None, description="Of each UE in the scope: its UEs, its slices' members, else every UE of its cells."
    )
    per_slice: ShareLimit | None = Field(default=None, description="Of each slice in the scope, all members together.")


class TargetSet(Part):
    """What is to come of it in every window of a second; limits follow the throughputs, the others are tracked."""

    min_throughput_kbps: float | None = Field(default=None, gt=0, le=1e8, description="Uplink throughput, at least.")
    max_throughput_kbps: float | None = Field(default=None, gt=0, le=1e8, description="Uplink throughput, at most.")
    max_delay_ms: float | None = Field(default=None, gt=0, le=1e6, description="Uplink packet delay, at most.")
    max_loss_rate: float | None = Field(default=None, ge=0, le=1, description="Share of uplink packets lost, at most.")

    @model_validator(mode="after")
    def _floor_below_ceiling(self) -> Self:
        least, most = self.min_throughput_kbps, self.max_throughput_kbps
        if least is not None and most is not None and least > most:
            raise ValueError(f"min_throughput_kbps {least:g} is above max_throughput_kbps {most:g}")
        return self


class PolicyTargets(Part):
    """Of UEs and slices, as limits are."""

    per_ue: TargetSet | None = Field(default=None, description="Of each UE, as limits.per_ue.")
    per_slice: TargetSet | None = Field(default=None, description="Of each slice in the scope, all members together.")


class Policy(Part):
    """One policy instance. What it does not say it leaves to others, or to the defaults."""

    scope: Scope = Scope()
    objective: Objective | None = Field(default=None, description="Of the scope's cells.")
    limits: PolicyLimits = PolicyLimits()
    targets: PolicyTargets = PolicyTargets()
    mode: Literal["control", "shadow", "fallback"] | None = Field(
        default=None,
        description="control; shadow: decide and record, send nothing; fallback: the classical schedule, no model.",
    )
    period_ms: int | None = Field(
        default=None,
        ge=MIN_PERIOD_MS,
        le=MAX_PERIOD_MS,
        description="Report and decision period. Not enforced if it is another one.",
    )

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if found := list(self._contradictions()):
            raise Contradictions(found)
        return self

    def _contradictions(self) -> Iterator[str]:
        limits, targets, scope = self.limits, self.targets, self.scope
        for name, per_slice in (("limits", limits.per_slice), ("targets", targets.per_slice)):
            if per_slice is not None and not scope.slices:
                yield f"{name}.per_slice needs scope.slices"
        of_ues = (limits.per_ue, targets.per_ue)
        of_either = (*of_ues, limits.per_slice, targets.per_slice)
        if not scope.cells and (scope.ue_ids or any(s.ue_ids for s in scope.slices)):
            yield "ue_ids are a node's own numbers: scope.cells must say of which cells"
        if (scope.slices or scope.ue_ids) and of_either == (None,) * 4:
            yield "scope names slices or UEs, but there are no limits: objective and mode are of whole cells"
        elif scope.ue_ids and of_ues == (None, None):
            yield "scope.ue_ids needs limits.per_ue"
        ues = len(scope.ue_ids) + sum(len(s.ue_ids) for s in scope.slices)
        if ues > MAX_UES:
            yield f"the policy names {ues} UEs, in scope.ue_ids and its slices, expected at most {MAX_UES}"
        names = [s.name for s in scope.slices]
        for twice in sorted({name for name in names if names.count(name) > 1}):
            yield f"scope.slices names {twice} twice"
        if (*of_either, self.objective, self.mode, self.period_ms) == (None,) * 7:
            yield "the policy says nothing: expected limits, targets, objective, mode or period_ms"

    def covers(self, cell: str) -> bool:
        """Whether the scope has the cell."""
        return not self.scope.cells or cell in self.scope.cells

    @property
    def names_cells(self) -> bool:
        """The scope is of some cells, and not of every one."""
        return bool(self.scope.cells)

    @property
    def stored(self) -> dict[str, Any]:
        """What shared data hold of it."""
        return self.model_dump(mode="json")

    @property
    def intent_mode(self) -> Mode | None:
        return Mode(self.mode) if self.mode is not None else None


def slice_name(sst: int | None, sd: str | None) -> str:
    """How a slice is called in reasons and statuses."""
    return f"{sst}-{sd.lower()}" if sd else f"{sst}"


def class_of(name: ClassName) -> TrafficClass:
    return TrafficClass[name.upper()]


def parse_policy(text: str | bytes) -> Policy:
    """A policy from its JSON. Raises PolicyError for all that is wrong with it."""
    return parsed(Policy, text)


TEXT_FORM, OBJECT_FORM = "<text>", "<object>"
"""The forms that a field may have; they are no part of the field's path."""


def parsed(model: type[Model], text: str | bytes) -> Model:
    """A document of a policy type's. Raises PolicyError for all that is wrong with it."""
    repeated = repeated_keys(text)
    try:
        document = model.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["type"] == "json_invalid":
            raise PolicyError(f"not JSON: {first['msg'].removeprefix('Invalid JSON: ')}") from None
        mistakes = mistakes_of(error, model, whole="policy", forms=(TEXT_FORM, OBJECT_FORM))
        raise PolicyError(*repeated, *mistakes) from None
    if repeated:
        raise PolicyError(*repeated)
    return document


def make_policy_type() -> dict[str, Any]:
    """The policy type as the A1 mediator takes it: PUT .../policytypes/20100."""
    return {
        "name": POLICY_TYPE_NAME,
        "description": "What an operator wants of cells: an objective, hard limits of shares, a mode.",
        "policy_type_id": POLICY_TYPE_ID,
        "create_schema": {"$schema": DRAFT, **without_null(inlined(Policy.model_json_schema()))},
    }

"""O-RAN's own policy types, as operators write them (A1TD, TS 103 988): ORAN_SliceSLATarget, ORAN_UELevelTarget,
ORAN_QoSTarget. Each becomes a policy of ours; what is not ours (downlink, sessions, steering) is named, the rest holds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple, Self

from pydantic import Field, model_validator

from xapp.a1.json_schema import DRAFT, inlined, without_null
from xapp.a1.policy_model import Policy, PolicyError, PolicyTargets, Scope, SliceScope, TargetSet, parsed
from xapp.a1.standard_scope import (
    CellId,
    Fields,
    GlobalGnbId,
    NamedUe,
    OneOf,
    QosScope,
    SliceId,
    TaI,
    UeLevelScope,
    named_ue,
)
from xapp.config.model import A1Config

NotNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Priority = Annotated[float, Field(ge=1)]
Kbps = Annotated[float, Field(gt=0, le=1e8)]
Ms = Annotated[float, Field(gt=0, le=1e6)]
Rate = Annotated[float, Field(ge=0, le=1)]
MAX_UE_NUMBER = 2**32 - 1


class Unheeded(NamedTuple):
    """A field that is not ours."""

    path: str
    why: str
    is_scope: bool = False


class Reliability(Fields):
    """Both spellings of the probability are published."""

    packetSize: Positive
    userPlaneLatency: Ms
    successProbability: Rate | None = None
    successProbility: Rate | None = None

    @model_validator(mode="after")
    def _has_probability(self) -> Self:
        if (self.successProbability is None) == (self.successProbility is None):
            raise ValueError("expected successProbability, or the older successProbility")
        return self

    @property
    def loss_rate(self) -> float:
        return 1.0 - (self.successProbability or self.successProbility or 0.0)


class SliceSlaScope(Fields):
    sliceId: SliceId


class SliceSlaObjectives(Fields):
    maxNumberOfUes: NotNegative | None = None
    maxNumberOfPduSessions: NotNegative | None = None
    guaDlThptPerSlice: Kbps | None = None
    maxDlThptPerSlice: Kbps | None = None
    maxDlThptPerUe: Kbps | None = None
    guaUlThptPerSlice: Kbps | None = None
    maxUlThptPerSlice: Kbps | None = None
    maxUlThptPerUe: Kbps | None = None
    maxDlPacketDelayPerUe: Ms | None = None
    maxUlPacketDelayPerUe: Ms | None = None
    maxDlPdcpSduPacketLossRatePerUe: Rate | None = None
    maxUlRlcSduPacketLossRatePerUe: Rate | None = None
    minDlReliabilityPerUe: Reliability | None = None
    minUlReliabilityPerUe: Reliability | None = None
    maxDlJitterPerUe: Ms | None = None
    maxUlJitterPerUe: Ms | None = None
    dlSlicePriority: Priority | None = None
    ulSlicePriority: Priority | None = None
    maxDlPktSize: Positive | None = None
    maxUlPktSize: Positive | None = None

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        _in_order(self, "guaUlThptPerSlice", "maxUlThptPerSlice")
        return _some(self)


class SliceSlaResources(OneOf):
    cellIdList: tuple[CellId, ...] | None = Field(default=None, min_length=1, max_length=1000)
    taIList: tuple[TaI, ...] | None = Field(default=None, min_length=1, max_length=1000)


class SliceSlaTarget(Fields):
    """ORAN_SliceSLATarget, versions 1 to 4."""

    scope: SliceSlaScope
    sliceSlaObjectives: SliceSlaObjectives
    sliceSlaResources: SliceSlaResources | None = None

    def policy(self) -> StandardPolicy:
        objectives, resources = self.sliceSlaObjectives, self.sliceSlaResources
        reliability = objectives.minUlReliabilityPerUe
        delays = [objectives.maxUlPacketDelayPerUe, reliability.userPlaneLatency if reliability else None]
        losses = [
            objectives.maxUlRlcSduPacketLossRatePerUe,
            reliability.loss_rate if reliability else None,
        ]
        per_slice = _targets(objectives.guaUlThptPerSlice, objectives.maxUlThptPerSlice)
        per_ue = _targets(None, objectives.maxUlThptPerUe, _least(delays), _least(losses))
        ours = {
            "guaUlThptPerSlice",
            "maxUlThptPerSlice",
            "maxUlThptPerUe",
            "maxUlPacketDelayPerUe",
            "maxUlRlcSduPacketLossRatePerUe",
            "minUlReliabilityPerUe",
        }
        unheeded = list(_not_ours("sliceSlaObjectives", objectives, ours))
        cells: tuple[CellId, ...] | None = None
        if resources is not None:
            cells = resources.cellIdList or ()
            if resources.taIList is not None:
                text = "tracking areas are not known here: no cell is meant"
                unheeded.append(Unheeded("sliceSlaResources.taIList", text, is_scope=True))
        return _standard(
            "ORAN_SliceSLATarget", self, unheeded, slice_id=self.scope.sliceId, cells=cells, per_slice=per_slice,
            per_ue=per_ue,
        )  # fmt: skip


class UeLevelObjectives(Fields):
    ulThroughput: Kbps | None = None
    dlThroughput: Kbps | None = None
    ulPacketDelay: Ms | None = None
    dlPacketDelay: Ms | None = None
    ulPdcpSduPacketLossRate: Rate | None = None
    dlRlcSduPacketLossRate: Rate | None = None
    dlRlcSduPacketLossRate_: Rate | None = Field(default=None, alias="dlRlcSduPacketLossRate ")
    """As it is published: with a space."""
    ulReliability: Reliability | None = None
    dlReliability: Reliability | None = None

    @model_validator(mode="after")
    def _has_one(self) -> Self:
        return _some(self)


class UeLevelTarget(Fields):
    """ORAN_UELevelTarget."""

    scope: UeLevelScope
    ueLevelObjectives: UeLevelObjectives

    def policy(self) -> StandardPolicy:
        objectives = self.ueLevelObjectives
        reliability = objectives.ulReliability
        delays = [objectives.ulPacketDelay, reliability.userPlaneLatency if reliability else None]
        losses = [objectives.ulPdcpSduPacketLossRate, reliability.loss_rate if reliability else None]
        per_ue = _targets(objectives.ulThroughput, None, _least(delays), _least(losses))
        ours = {"ulThroughput", "ulPacketDelay", "ulPdcpSduPacketLossRate", "ulReliability"}
        unheeded = list(_not_ours("ueLevelObjectives", objectives, ours))
        return _of_ues("ORAN_UELevelTarget", self, self.scope, unheeded, per_ue)


class QosObjectives(Fields):
    gfbr: Kbps | None = None
    mfbr: Kbps | None = None
    priorityLevel: NotNegative | None = None
    pdb: Ms | None = None

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        _in_order(self, "gfbr", "mfbr")
        return _some(self)


class QosTarget(Fields):
    """ORAN_QoSTarget."""

    scope: QosScope
    qosObjectives: QosObjectives

    def policy(self) -> StandardPolicy:
        objectives = self.qosObjectives
        per_ue = _targets(objectives.gfbr, objectives.mfbr, objectives.pdb)
        unheeded = list(_not_ours("qosObjectives", objectives, {"gfbr", "mfbr", "pdb"}))
        return _of_ues("ORAN_QoSTarget", self, self.scope, unheeded, per_ue)


class StandardPolicy(Policy):
    """A policy of ours that a document of the standard's has become."""

    type_name: str
    document: dict[str, Any]
    unheeded: tuple[Unheeded, ...] = ()
    nr_cgis: tuple[str, ...] | None = None
    """Cells, on whatever node; None = every one."""

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        return self  # the document has been checked; it may be about nobody, which its status says

    gnb: GlobalGnbId | None = None
    """Cells of this gNB; None = of every one."""

    def covers(self, cell: str) -> bool:
        nr_cgi = cell.rpartition("/")[2]
        if self.gnb is not None and not self.gnb.has(nr_cgi):
            return False
        return self.nr_cgis is None or nr_cgi in self.nr_cgis

    @property
    def names_cells(self) -> bool:
        return self.nr_cgis is not None or self.gnb is not None

    @property
    def stored(self) -> dict[str, Any]:
        return {"policy_type": self.type_name, "policy": self.document}


StandardDocument = SliceSlaTarget | UeLevelTarget | QosTarget
STANDARD_TYPES: dict[str, type[StandardDocument]] = {
    "ORAN_SliceSLATarget": SliceSlaTarget,
    "ORAN_UELevelTarget": UeLevelTarget,
    "ORAN_QoSTarget": QosTarget,
}
STATEMENTS = {
    "sliceSlaObjectives": "ORAN_SliceSLATarget",
    "ueLevelObjectives": "ORAN_UELevelTarget",
    "qosObjectives": "ORAN_QoSTarget",
}
"""The field by which a document shows of which type it is."""


def type_names(a1: A1Config) -> dict[int, str]:
    """Names of the standard's types by their id in this RIC."""
    return {
        a1.slice_sla_type_id: "ORAN_SliceSLATarget",
        a1.ue_level_type_id: "ORAN_UELevelTarget",
        a1.qos_type_id: "ORAN_QoSTarget",
    }


def type_of(text: str | bytes) -> str:
    """The standard's type that a document is of, told by its content; "" = none of them."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    keys = document if isinstance(document, dict) else {}
    return next((name for statement, name in STATEMENTS.items() if statement in keys), "")


def parse_standard(type_name: str, text: str | bytes) -> StandardPolicy:
    """A document of that type as a policy of ours. Raises PolicyError with the field's path."""
    return parsed(STANDARD_TYPES[type_name], text).policy()


def parse_stored(value: Any) -> Any:
    """What `stored` has written; a document of our own type as it is. Raises PolicyError."""
    if not isinstance(value, dict) or "policy_type" not in value:
        return value
    name = value["policy_type"]
    if name not in STANDARD_TYPES:
        raise PolicyError(f"policy_type is {name!r:.60}, expected one of {', '.join(STANDARD_TYPES)}")
    return parse_standard(name, json.dumps(value.get("policy")))


def make_standard_type(type_name: str, type_id: int) -> dict[str, Any]:
    """The policy type as the A1 mediator takes it."""
    schema = STANDARD_TYPES[type_name].model_json_schema()
    return {
        "name": type_name,
        "description": f"O-RAN's {type_name}: uplink objectives are acted on or tracked.",
        "policy_type_id": type_id,
        "create_schema": {"$schema": DRAFT, **without_null(inlined(schema))},
    }


def _some(objectives: Any) -> Any:
    if all(getattr(objectives, name) is None for name in type(objectives).model_fields):
        raise ValueError("expected one objective at least")
    return objectives


def _in_order(objectives: Fields, least: str, most: str) -> None:
    low, high = getattr(objectives, least), getattr(objectives, most)
    if low is not None and high is not None and low > high:
        raise ValueError(f"{least} {low:g} is above {most} {high:g}")


def _least(values: list[float | None]) -> float | None:
    return min((value for value in values if value is not None), default=None)


def _targets(
    least_kbps: float | None, most_kbps: float | None, delay_ms: float | None = None, loss: float | None = None
) -> TargetSet | None:
    values = least_kbps, most_kbps, delay_ms, loss
    if values == (None,) * 4:
        return None
    return TargetSet(
        min_throughput_kbps=least_kbps, max_throughput_kbps=most_kbps, max_delay_ms=delay_ms, max_loss_rate=loss
    )


def _not_ours(path: str, objectives: Fields, ours: set[str]) -> Iterator[Unheeded]:
    for name in type(objectives).model_fields:
        if getattr(objectives, name) is not None and name not in ours:
            why = "the downlink is not controlled here" if "dl" in name.lower()[:6] else "it is not controlled here"
            yield Unheeded(f"{path}.{name.removesuffix('_')}", why)


def _of_ues(
    name: str, document: Any, scope: UeLevelScope | QosScope, unheeded: list[Unheeded], per_ue: TargetSet | None
) -> StandardPolicy:
    """A policy about single UEs: the named one, or each of a slice."""
    ue_ids: tuple[int, ...] = ()
    slice_id, ue = scope.sliceId, NamedUe(None)
    if scope.ueId is not None:
        ue, slice_id = named_ue(scope.ueId), None
        if ue.number is None:
            unheeded.append(Unheeded("scope.ueId", "no node's UEs are known by such an identity", is_scope=True))
        elif ue.number > MAX_UE_NUMBER:
            unheeded.append(Unheeded("scope.ueId", "no node's own number of a UE is so large", is_scope=True))
        else:
            ue_ids = (ue.number,)
    elif scope.groupId is not None:
        unheeded.append(Unheeded("scope.groupId", "groups of UEs are not known here", is_scope=True))
        slice_id = None
    elif slice_id is None:
        unheeded.append(Unheeded("scope.qosId", "flows are not seen here, only UEs: name a UE or a slice", True))
    elif scope.qosId is not None:
        unheeded.append(Unheeded("scope.qosId", "flows are not seen here: it holds for the slice's UEs", True))
    cells = None if scope.cellId is None else (scope.cellId,)
    if not ue_ids and slice_id is None:
        per_ue = None
    return _standard(name, document, unheeded, slice_id=slice_id, ue_ids=ue_ids, cells=cells, per_ue=per_ue, gnb=ue.gnb)


def _standard(
    name: str,
    document: Fields,
    unheeded: list[Unheeded],
    *,
    slice_id: SliceId | None = None,
    ue_ids: tuple[int, ...] = (),
    cells: tuple[CellId, ...] | None = None,
    per_slice: TargetSet | None = None,
    per_ue: TargetSet | None = None,
    gnb: GlobalGnbId | None = None,
) -> StandardPolicy:
    nr_cgis = None
    if cells is not None:
        nr_cgis = tuple(cell.nr_cgi for cell in cells if cell.nr_cgi)
        if len(nr_cgis) < len(cells):
            unheeded.append(Unheeded("cId.ecI", "cells of LTE are not controlled here", is_scope=True))
    slices = () if slice_id is None else (SliceScope(sst=slice_id.sst, sd=slice_id.sd),)
    return StandardPolicy(
        scope=Scope(slices=slices, ue_ids=ue_ids),
        targets=PolicyTargets(per_ue=per_ue, per_slice=per_slice),
        type_name=name,
        document=document.model_dump(mode="json", exclude_none=True, by_alias=True),
        unheeded=tuple(unheeded),
        nr_cgis=nr_cgis,
        gnb=gnb,
    )

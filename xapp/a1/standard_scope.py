"""Whom O-RAN's own policies are about, as A1TD (TS 103 988, clause 6.3.1) names UEs, groups, slices, flows and cells.

Until version 3 of its common types a UE was 16 hex digits; since then it is one of several identities, each with whom
it is unique in. Both are read.
"""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple, Self

from pydantic import Discriminator, Field, Tag, model_validator

from xapp.a1.policy_model import OBJECT_FORM, TEXT_FORM, Part

BITS_OF_NCI = 36


class Fields(Part):
    """A part of a standard document: what may be left out may not be null instead."""

    @model_validator(mode="after")
    def _no_null(self) -> Self:
        for name in type(self).model_fields:
            if name in self.model_fields_set and getattr(self, name) is None:
                raise ValueError(f"{name} is null, expected a value or no such field")
        return self


class PlmnId(Fields):
    mcc: str = Field(pattern="^[0-9]{3}$")
    mnc: str = Field(pattern="^[0-9]{2,3}$")

    @property
    def octets(self) -> str:
        """As an NR-CGI begins, 6 hex digits."""
        digits = f"{self.mcc}{self.mnc}f"
        return "".join(digits[i] for i in (1, 0, 5, 2, 4, 3))


class SliceId(Fields):
    sst: int = Field(ge=0, le=255)
    sd: str | None = Field(default=None, pattern="^[A-Fa-f0-9]{6}$")
    plmnId: PlmnId


class OneOf(Fields):
    """Exactly one of its fields is given."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        fields = type(self).model_fields
        if sum(getattr(self, name) is not None for name in fields) != 1:
            names = [field.alias or name for name, field in fields.items()]
            raise ValueError(f"expected either {' or '.join(names)}")
        return self


class CId(OneOf):
    ncI: int | None = Field(default=None, ge=0, lt=2**BITS_OF_NCI)
    ecI: int | None = Field(default=None, ge=0, lt=2**28)


class CellId(Fields):
    plmnId: PlmnId
    cId: CId

    @property
    def nr_cgi(self) -> str:
        """15 hex digits; "" = a cell of LTE."""
        return "" if self.cId.ncI is None else f"{self.plmnId.octets}{self.cId.ncI:09x}"


class TaI(Fields):
    plmnId: PlmnId
    tac: str = Field(pattern="^[A-Fa-f0-9]{6}$")


class QosId(OneOf):
    field_5qI: int | None = Field(default=None, alias="5qI", ge=1, le=256)
    qcI: int | None = Field(default=None, ge=1, le=256)


class GroupId(OneOf):
    spId: int | None = Field(default=None, ge=1, le=256)
    rfspIndex: int | None = Field(default=None, ge=1, le=256)


class GnbId(Fields):
    gnbIdLength: int = Field(ge=22, le=32)
    gnbIdValue: int = Field(ge=0, lt=2**32)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        most = 2**self.gnbIdLength - 1
        if self.gnbIdValue > most:  # of more bits than cells begin with: none would be the gNB's
            raise ValueError(f"gnbIdValue is {self.gnbIdValue}, expected 0 to {most} in {self.gnbIdLength} bits")
        return self


class GlobalGnbId(Fields):
    plmnId: PlmnId
    gnbId: GnbId

    def has(self, nr_cgi: str) -> bool:
        """Whether a cell is one of the gNB's: its NR cell identity begins with the gNB's. Not one without an NR-CGI."""
        if len(nr_cgi) != len(self.plmnId.octets) + BITS_OF_NCI // 4:
            return False
        own = int(nr_cgi[6:], 16) >> BITS_OF_NCI - self.gnbId.gnbIdLength
        return nr_cgi.startswith(self.plmnId.octets) and own == self.gnbId.gnbIdValue

    @property
    def first_cell(self) -> str:
        """The NR-CGI that the gNB's cell number 1 has, for an example."""
        return f"{self.plmnId.octets}{self.gnbId.gnbIdValue << BITS_OF_NCI - self.gnbId.gnbIdLength | 1:09x}"


class GuRanUeId(Fields):
    globalGnbId: GlobalGnbId
    ranUeId: str = Field(pattern="^[A-Fa-f0-9]{16}$")


class GuGnbCuUeF1apId(Fields):
    globalGnbId: GlobalGnbId
    gnbCuUeF1apId: int = Field(ge=0, lt=2**32)


class GuAmI(Fields):
    plmnId: PlmnId
    amfRegionId: str = Field(pattern="^[A-Fa-f0-9]{2}$")
    amfSetId: str = Field(pattern="^[0-3][A-Fa-f0-9]{2}$")
    amfPointer: str = Field(pattern="^[0-3][A-Fa-f0-9]$")


class GuAmfUeNgapId(Fields):
    guAmI: GuAmI
    amfUeNgapId: int = Field(ge=0, lt=2**40)


class GlobalUeId(OneOf):
    """One identity of a UE. Of those that no node reports a DU's UEs by, the parts are not looked at."""

    guRanUeId: GuRanUeId | None = None
    guAmfUeNgapId: GuAmfUeNgapId | None = None
    guGnbCuUeF1apId: GuGnbCuUeF1apId | None = None
    guMmeUeS1apId: dict[str, Any] | None = None
    guGnbCuCpUeE1apId: dict[str, Any] | None = None
    guEnbUeX2apId: dict[str, Any] | None = None
    guNgRanNodeUeXnapUeId: dict[str, Any] | None = None


RanUeId = Annotated[str, Field(pattern="^[A-Fa-f0-9]{16}$")]
UeId = Annotated[
    Annotated[RanUeId, Tag(TEXT_FORM)] | Annotated[GlobalUeId, Tag(OBJECT_FORM)],
    Discriminator(lambda value: OBJECT_FORM if isinstance(value, dict | GlobalUeId) else TEXT_FORM),
]


class NamedUe(NamedTuple):
    """A UE by its node's own number."""

    number: int | None
    """None: by an identity that no node of ours reports."""
    gnb: GlobalGnbId | None = None
    """Where it is; None = everywhere."""


def named_ue(ue: str | GlobalUeId) -> NamedUe:
    if isinstance(ue, str):
        return NamedUe(int(ue, 16))
    if ue.guRanUeId is not None:
        return NamedUe(int(ue.guRanUeId.ranUeId, 16), ue.guRanUeId.globalGnbId)
    if ue.guGnbCuUeF1apId is not None:
        return NamedUe(ue.guGnbCuUeF1apId.gnbCuUeF1apId, ue.guGnbCuUeF1apId.globalGnbId)
    return NamedUe(ue.guAmfUeNgapId.amfUeNgapId if ue.guAmfUeNgapId is not None else None)


class UeLevelScope(Fields):
    """Whose targets ORAN_UELevelTarget has: one UE's, whatever else is said beside it."""

    ueId: UeId
    groupId: GroupId | None = None
    qosId: QosId | None = None
    sliceId: SliceId | None = None
    cellId: CellId | None = None


class QosScope(Fields):
    """Whose flows ORAN_QoSTarget is about: a UE's, a group's, a slice's or everybody's."""

    qosId: QosId
    ueId: UeId | None = None
    groupId: GroupId | None = None
    sliceId: SliceId | None = None
    cellId: CellId | None = None

    @model_validator(mode="after")
    def _not_both(self) -> Self:
        if self.groupId is not None and self.sliceId is not None:
            raise ValueError("expected groupId or sliceId, not both")
        return self

"""stackmac's DCM service model: plain values in, bytes out, and back. Import everything of it from here.

dcm.proto is the specification; this file has its small messages, `dcm_indication` and `dcm_control` the two that
matter. Decoders take any bytes: a value or one E2DecodeError. Encoders refuse what they could not decode again.
"""

from __future__ import annotations

from dataclasses import dataclass

from xapp.e2.asn1.errors import E2DecodeError, E2EncodeError
from xapp.e2.dcm import dcm_pb2
from xapp.e2.dcm.carrier import (
    DCM_FUNCTION_ID,
    DCM_OID,
    MAX_CARRIER_RBGS,
    Carrier,
    DcmColumnError,
    carrier_num_rbgs,
    check_cell,
    encodable_cell,
    parse,
    serialise,
)
from xapp.e2.dcm.control import (
    Bitmaps,
    Control,
    ControlHeader,
    Outcome,
    OutcomeCode,
    allocation_bitmaps,
    decode_control,
    decode_control_header,
    decode_outcome,
    encode_control,
    encode_control_header,
    encode_outcome,
    encode_release,
)
from xapp.e2.dcm.indication import (
    INDICATION_COLUMNS,
    RBG_COLUMNS,
    AppliedControl,
    Indication,
    IndicationHeader,
    columns_of,
    decode_indication,
    decode_indication_header,
    encode_indication,
    encode_indication_header,
)

__all__ = [
    "DCM_FUNCTION_ID",
    "DCM_OID",
    "FEATURE_PACKETS",
    "INDICATION_COLUMNS",
    "MAX_CARRIER_RBGS",
    "RBG_COLUMNS",
    "ActionDefinition",
    "AppliedControl",
    "Bitmaps",
    "Carrier",
    "Control",
    "ControlHeader",
    "DcmColumnError",
    "EventTrigger",
    "Indication",
    "IndicationHeader",
    "Outcome",
    "OutcomeCode",
    "RanFunction",
    "allocation_bitmaps",
    "carrier_num_rbgs",
    "columns_of",
    "decode_action_definition",
    "decode_control",
    "decode_control_header",
    "decode_event_trigger",
    "decode_indication",
    "decode_indication_header",
    "decode_outcome",
    "decode_ran_function",
    "encode_action_definition",
    "encode_control",
    "encode_control_header",
    "encode_event_trigger",
    "encode_indication",
    "encode_indication_header",
    "encode_outcome",
    "encode_ran_function",
    "encode_release",
]


FEATURE_PACKETS = 1
"""RanFunction.features: indications say how many packets were lost and delivered."""


@dataclass(frozen=True, slots=True)
class RanFunction:
    """What a node says of itself in E2 setup: its cells and their carriers."""

    cells: tuple[Carrier, ...]
    short_name: str = "STACKMAC-DCM"
    oid: str = DCM_OID
    description: str = "Device control messages: per-UE RBG bitmaps"
    features: int = 0
    """FEATURE_... bits."""

    @property
    def reports_packets(self) -> bool:
        return bool(self.features & FEATURE_PACKETS)


@dataclass(frozen=True, slots=True)
class EventTrigger:
    """How often to report."""

    report_period_ms: int


@dataclass(frozen=True, slots=True)
class ActionDefinition:
    """Which cell to report on."""

    cell: str


def encode_ran_function(function: RanFunction) -> bytes:
    """Encode a RAN function's definition. Raises E2EncodeError."""
    return serialise(
        dcm_pb2.RanFunction,
        short_name=function.short_name,
        oid=function.oid,
        description=function.description,
        cells=[carrier.to_message() for carrier in function.cells],
        features=function.features,
    )


def decode_ran_function(data: bytes) -> RanFunction:
    """Decode a RAN function's definition.

    Raises E2DecodeError, also for an OID that is not DCM's and for a cell named twice.
    """
    path = "DCM RAN function"
    message = parse(dcm_pb2.RanFunction.FromString, data, path)
    if message.oid != DCM_OID:
        raise E2DecodeError(f"oid is {message.oid!r}, expected {DCM_OID}", path=path)
    cells = tuple(Carrier.from_message(cell, f"{path}.cells[{i}]") for i, cell in enumerate(message.cells))
    if len({carrier.cell for carrier in cells}) < len(cells):
        raise E2DecodeError("a cell is named twice", path=f"{path}.cells")
    return RanFunction(cells, message.short_name, message.oid, message.description, message.features)


def encode_event_trigger(trigger: EventTrigger) -> bytes:
    """Encode an event trigger. Raises E2EncodeError."""
    if trigger.report_period_ms < 1:
        raise E2EncodeError(f"report_period_ms is {trigger.report_period_ms}, expected at least 1")
    return serialise(dcm_pb2.EventTrigger, report_period_ms=trigger.report_period_ms)


def decode_event_trigger(data: bytes) -> EventTrigger:
    """Decode an event trigger. Raises E2DecodeError."""
    message = parse(dcm_pb2.EventTrigger.FromString, data, "DCM event trigger")
    if message.report_period_ms < 1:
        raise E2DecodeError("report_period_ms is 0, expected at least 1", path="DCM event trigger")
    return EventTrigger(message.report_period_ms)


def encode_action_definition(definition: ActionDefinition) -> bytes:
    """Encode an action definition. Raises E2EncodeError."""
    return serialise(dcm_pb2.ActionDefinition, cell=encodable_cell(definition.cell))


def decode_action_definition(data: bytes) -> ActionDefinition:
    """Decode an action definition. Raises E2DecodeError."""
    path = "DCM action definition"
    return ActionDefinition(check_cell(parse(dcm_pb2.ActionDefinition.FromString, data, path).cell, path))

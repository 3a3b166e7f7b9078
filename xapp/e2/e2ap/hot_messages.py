"""E2AP's four hot messages by hand: RICindication, RICcontrolRequest, RICcontrolAcknowledge, RICcontrolFailure.

Everything that travels once a period. All other procedures are in `e2ap_procedures`, thirty times slower. Both speak
E2AP v2 and v3. Decoders take any bytes: a value or E2DecodeError, in linear time. Unknown information elements are
skipped unless their sender says "reject".
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

from xapp.e2.e2ap import elements as ie
from xapp.e2.e2ap.cause import CAUSES, Cause, decode_cause, encode_cause
from xapp.e2.e2ap.elements import Criticality, PduKind, PduType, Procedure, RicRequestId, peek

__all__ = [
    "AckRequest",
    "CAUSES",
    "Cause",
    "Criticality",
    "IndicationType",
    "PduKind",
    "PduType",
    "Procedure",
    "RicRequestId",
    "ControlAcknowledge",
    "ControlFailure",
    "ControlRequest",
    "Indication",
    "decode_control_acknowledge",
    "decode_control_failure",
    "decode_control_request",
    "decode_indication",
    "encode_control_acknowledge",
    "encode_control_failure",
    "encode_control_request",
    "encode_indication",
    "peek",
]


class IndicationType(IntEnum):
    REPORT = 0
    INSERT = 1


class AckRequest(IntEnum):
    """Whether a control is to be acknowledged when it succeeds (a failure is always answered)."""

    NO_ACK = 0
    ACK = 1


class Indication(NamedTuple):
    """One report from a node."""

    request_id: RicRequestId
    function_id: int
    action_id: int
    indication_type: IndicationType
    header: bytes
    message: bytes
    sn: int | None = None
    call_process_id: bytes | None = None


class ControlRequest(NamedTuple):
    """One control to a node."""

    request_id: RicRequestId
    function_id: int
    header: bytes
    message: bytes
    call_process_id: bytes | None = None
    ack_request: AckRequest | None = None
    """None = the element is absent: the node decides."""


class ControlAcknowledge(NamedTuple):
    """The node obeyed."""

    request_id: RicRequestId
    function_id: int
    call_process_id: bytes | None = None
    outcome: bytes | None = None


class ControlFailure(NamedTuple):
    """The node did not obey, and why."""

    request_id: RicRequestId
    function_id: int
    cause: Cause
    call_process_id: bytes | None = None
    outcome: bytes | None = None
    cause_criticality: Criticality = Criticality.IGNORE
    """IGNORE by the standard; nodes that send REJECT exist."""


# Faster than calling the enumeration.
SN_RANGE = 65_536
"""RICindicationSN is 0..65535 and wraps."""

_INDICATION_TYPES = (IndicationType.REPORT, IndicationType.INSERT)
_ACK_REQUESTS = (AckRequest.NO_ACK, AckRequest.ACK)

_INDICATION = ie.shape(
    "RICindication",
    PduKind.INITIATING,
    Procedure.RIC_INDICATION,
    Criticality.IGNORE,
    (ie.ACTION_ID, ie.INDICATION_TYPE, ie.INDICATION_HEADER, ie.INDICATION_MESSAGE),
    (ie.INDICATION_SN, ie.CALL_PROCESS_ID),
)
_CONTROL_REQUEST = ie.shape(
    "RICcontrolRequest",
    PduKind.INITIATING,
    Procedure.RIC_CONTROL,
    Criticality.REJECT,
    (ie.CONTROL_HEADER, ie.CONTROL_MESSAGE),
    (ie.CALL_PROCESS_ID, ie.ACK_REQUEST),
)
_CONTROL_ACKNOWLEDGE = ie.shape(
    "RICcontrolAcknowledge",
    PduKind.SUCCESSFUL,
    Procedure.RIC_CONTROL,
    Criticality.REJECT,
    (),
    (ie.CALL_PROCESS_ID, ie.OUTCOME),
)
_CONTROL_FAILURE = ie.shape(
    "RICcontrolFailure",
    PduKind.UNSUCCESSFUL,
    Procedure.RIC_CONTROL,
    Criticality.REJECT,
    (ie.CAUSE,),
    (ie.CALL_PROCESS_ID, ie.OUTCOME),
)


# -- decoding ---------------------------------------------------------------------------------------------------------


def decode_indication(pdu: bytes) -> Indication:
    """Decode an indication. Raises E2DecodeError."""
    try:
        usual = _usual_indication(pdu)
    except (IndexError, struct.error):  # too short for it
        usual = None
    return usual or _any_indication(pdu)


_USUAL_ENVELOPE = bytes((PduKind.INITIATING << 5, Procedure.RIC_INDICATION, Criticality.IGNORE << 6))
_USUAL_ELEMENTS = struct.Struct(">3s5sHH4sH4sB4sH4sB")
_USUAL_HEADS = (
    b"\0\0\x07",  # so many elements
    bytes((0, ie.REQUEST_ID, 0, 5, 0)),
    bytes((0, ie.FUNCTION_ID, 0, 2)),
    bytes((0, ie.ACTION_ID, 0, 1)),
    bytes((0, ie.INDICATION_SN, 0, 2)),
    bytes((0, ie.INDICATION_TYPE, 0, 1)),
)
_USUAL_HEADER_HEAD, _USUAL_MESSAGE_HEAD = bytes((0, ie.INDICATION_HEADER, 0)), bytes((0, ie.INDICATION_MESSAGE, 0))


def _usual_indication(pdu: bytes) -> Indication | None:
    """The elements that nodes send, in the order of the standard and as critical as it says. None, IndexError or
    struct.error = this is for a closer look.
    """
    if pdu[:3] != _USUAL_ENVELOPE:
        return None
    start, stop = _span(pdu, 3)
    if stop != len(pdu):
        return None
    found = _USUAL_ELEMENTS.unpack_from(pdu, start)
    count, request, requestor, instance, function, function_id, action, action_id, number, sn, type_head, kind = found
    if (count, request, function, action, number, type_head) != _USUAL_HEADS or function_id > 4095 or kind & 0x80:
        return None
    at = start + _USUAL_ELEMENTS.size
    header_at, header_stop = _wrapped(pdu, at, _USUAL_HEADER_HEAD)
    message_at, message_stop = _wrapped(pdu, header_stop, _USUAL_MESSAGE_HEAD)
    if message_stop != stop:
        return None
    return Indication(
        ie.RicRequestId(requestor, instance),
        function_id,
        action_id,
        _INDICATION_TYPES[kind >> 6 & 1],
        pdu[header_at:header_stop],
        pdu[message_at:message_stop],
        sn,
    )


def _span(pdu: bytes, at: int) -> tuple[int, int]:
    """Where that begins and ends which has its length at octet `at`; IndexError for one in fragments."""
    first = pdu[at]
    if first < 0x80:
        return at + 1, at + 1 + first
    if first < 0xC0:
        return at + 2, at + 2 + ((first & 0x3F) << 8 | pdu[at + 1])
    raise IndexError


def _wrapped(pdu: bytes, at: int, head: bytes) -> tuple[int, int]:
    """The same of the OCTET STRING in the element at octet `at`; IndexError if that is another, or does not fit."""
    inner_at, stop = _span(pdu, at + 3)
    span = _span(pdu, inner_at)
    if pdu[at : at + 3] != head or span[1] != stop:
        raise IndexError
    return span


def _any_indication(pdu: bytes) -> Indication:
    elements, _ = ie.open_pdu(pdu, _INDICATION)
    path = "RICindication"
    number = elements.get(ie.INDICATION_SN)
    kind = ie.fixed(elements[ie.INDICATION_TYPE], 1, path, ie.INDICATION_TYPE)
    if kind & 0x80:
        ie.fail("a type of a later version", path, ie.INDICATION_TYPE)
    return Indication(
        ie.request_id(elements[ie.REQUEST_ID], path),
        ie.function_id(elements[ie.FUNCTION_ID], path),
        ie.fixed(elements[ie.ACTION_ID], 1, path, ie.ACTION_ID),
        _INDICATION_TYPES[kind >> 6 & 1],
        ie.unwrap(elements[ie.INDICATION_HEADER], path, ie.INDICATION_HEADER),
        ie.unwrap(elements[ie.INDICATION_MESSAGE], path, ie.INDICATION_MESSAGE),
        None if number is None else ie.fixed(number, 2, path, ie.INDICATION_SN),
        ie.optional(elements, path, ie.CALL_PROCESS_ID),
    )


def decode_control_request(pdu: bytes) -> ControlRequest:
    """Decode a control request. Raises E2DecodeError."""
    elements, _ = ie.open_pdu(pdu, _CONTROL_REQUEST)
    path = "RICcontrolRequest"
    ack_request: AckRequest | None = None
    if ie.ACK_REQUEST in elements:
        ack = ie.fixed(elements[ie.ACK_REQUEST], 1, path, ie.ACK_REQUEST)
        if ack & 0x80:
            ie.fail("a request of a later version", path, ie.ACK_REQUEST)
        ack_request = _ACK_REQUESTS[ack >> 6 & 1]
    return ControlRequest(
        ie.request_id(elements[ie.REQUEST_ID], path),
        ie.function_id(elements[ie.FUNCTION_ID], path),
        ie.unwrap(elements[ie.CONTROL_HEADER], path, ie.CONTROL_HEADER),
        ie.unwrap(elements[ie.CONTROL_MESSAGE], path, ie.CONTROL_MESSAGE),
        ie.optional(elements, path, ie.CALL_PROCESS_ID),
        ack_request,
    )


def decode_control_acknowledge(pdu: bytes) -> ControlAcknowledge:
    """Decode a control acknowledge. Raises E2DecodeError."""
    elements, _ = ie.open_pdu(pdu, _CONTROL_ACKNOWLEDGE)
    path = "RICcontrolAcknowledge"
    return ControlAcknowledge(
        ie.request_id(elements[ie.REQUEST_ID], path),
        ie.function_id(elements[ie.FUNCTION_ID], path),
        ie.optional(elements, path, ie.CALL_PROCESS_ID),
        ie.optional(elements, path, ie.OUTCOME),
    )


def decode_control_failure(pdu: bytes) -> ControlFailure:
    """Decode a control failure. Raises E2DecodeError."""
    elements, criticalities = ie.open_pdu(pdu, _CONTROL_FAILURE)
    path = "RICcontrolFailure"
    return ControlFailure(
        ie.request_id(elements[ie.REQUEST_ID], path),
        ie.function_id(elements[ie.FUNCTION_ID], path),
        decode_cause(elements[ie.CAUSE], f"{path}.Cause"),
        ie.optional(elements, path, ie.CALL_PROCESS_ID),
        ie.optional(elements, path, ie.OUTCOME),
        Criticality(criticalities[ie.CAUSE]),
    )


# -- encoding ---------------------------------------------------------------------------------------------------------


def encode_indication(indication: Indication) -> bytes:
    """Encode an indication. Raises E2EncodeError."""
    parts = [
        ie.head(indication.request_id, indication.function_id),
        ie.element(ie.ACTION_ID, ie.number(indication.action_id, 1, "RICactionID")),
    ]
    if indication.sn is not None:
        parts.append(ie.element(ie.INDICATION_SN, ie.number(indication.sn, 2, "RICindicationSN")))
    parts += (
        ie.element(ie.INDICATION_TYPE, b"\x40" if indication.indication_type else b"\x00"),
        ie.element(ie.INDICATION_HEADER, ie.prefixed(indication.header)),
        ie.element(ie.INDICATION_MESSAGE, ie.prefixed(indication.message)),
    )
    if indication.call_process_id is not None:
        parts.append(ie.element(ie.CALL_PROCESS_ID, ie.prefixed(indication.call_process_id)))
    return ie.close_pdu(_INDICATION, parts)


def encode_control_request(request: ControlRequest) -> bytes:
    """Encode a control request. Raises E2EncodeError."""
    parts = [ie.head(request.request_id, request.function_id)]
    if request.call_process_id is not None:
        parts.append(ie.element(ie.CALL_PROCESS_ID, ie.prefixed(request.call_process_id)))
    parts += (
        ie.element(ie.CONTROL_HEADER, ie.prefixed(request.header)),
        ie.element(ie.CONTROL_MESSAGE, ie.prefixed(request.message)),
    )
    if request.ack_request is not None:
        parts.append(ie.element(ie.ACK_REQUEST, b"\x40" if request.ack_request else b"\x00"))
    return ie.close_pdu(_CONTROL_REQUEST, parts)


def encode_control_acknowledge(acknowledge: ControlAcknowledge) -> bytes:
    """Encode a control acknowledge. Raises E2EncodeError."""
    parts = [ie.head(acknowledge.request_id, acknowledge.function_id)]
    if acknowledge.call_process_id is not None:
        parts.append(ie.element(ie.CALL_PROCESS_ID, ie.prefixed(acknowledge.call_process_id)))
    if acknowledge.outcome is not None:
        parts.append(ie.element(ie.OUTCOME, ie.prefixed(acknowledge.outcome)))
    return ie.close_pdu(_CONTROL_ACKNOWLEDGE, parts)


def encode_control_failure(failure: ControlFailure) -> bytes:
    """Encode a control failure. Raises E2EncodeError, also for a cause that E2AP does not have."""
    parts = [ie.head(failure.request_id, failure.function_id)]
    if failure.call_process_id is not None:
        parts.append(ie.element(ie.CALL_PROCESS_ID, ie.prefixed(failure.call_process_id)))
    parts.append(ie.element(ie.CAUSE, encode_cause(failure.cause), failure.cause_criticality))
    if failure.outcome is not None:
        parts.append(ie.element(ie.OUTCOME, ie.prefixed(failure.outcome)))
    return ie.close_pdu(_CONTROL_FAILURE, parts)

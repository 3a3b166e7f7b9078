"""The envelope of an E2AP PDU and the information elements that the hot messages share, by hand.

A PDU is a choice, a procedure code, a criticality and an open type that holds a count and the elements; each element
an id, a criticality and an open type. All of it lies on octets, so nothing here reads bits but a cause.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple, NoReturn

from xapp.e2.asn1.aper import FRAGMENT
from xapp.e2.asn1.aper_reader import BitReader
from xapp.e2.asn1.aper_writer import BitWriter
from xapp.e2.asn1.errors import E2DecodeError, E2EncodeError


class PduKind(IntEnum):
    """Alternatives of E2AP-PDU."""

    INITIATING = 0
    SUCCESSFUL = 1
    UNSUCCESSFUL = 2


class Procedure(IntEnum):
    """E2AP's procedure codes."""

    E2_SETUP = 1
    ERROR_INDICATION = 2
    RESET = 3
    RIC_CONTROL = 4
    RIC_INDICATION = 5
    RIC_SERVICE_QUERY = 6
    RIC_SERVICE_UPDATE = 7
    RIC_SUBSCRIPTION = 8
    RIC_SUBSCRIPTION_DELETE = 9


class Criticality(IntEnum):
    """What a receiver that does not know an element is to do with its message."""

    REJECT = 0
    IGNORE = 1
    NOTIFY = 2


class PduType(NamedTuple):
    """What a PDU is, without decoding it."""

    kind: PduKind
    procedure: int
    """A Procedure, or a code of a later version."""


class RicRequestId(NamedTuple):
    """RICrequestID: whose request (the submgr gives the xApp its requestor id), and which of them."""

    requestor: int
    instance: int


# Ids of information elements.
CAUSE = 1
FUNCTION_ID = 5
ACTION_ID = 15
CALL_PROCESS_ID = 20
ACK_REQUEST = 21
CONTROL_HEADER = 22
CONTROL_MESSAGE = 23
INDICATION_HEADER = 25
INDICATION_MESSAGE = 26
INDICATION_SN = 27
INDICATION_TYPE = 28
REQUEST_ID = 29
OUTCOME = 32

_NAMES = {
    CAUSE: "Cause",
    FUNCTION_ID: "RANfunctionID",
    ACTION_ID: "RICactionID",
    CALL_PROCESS_ID: "RICcallProcessID",
    ACK_REQUEST: "RICcontrolAckRequest",
    CONTROL_HEADER: "RICcontrolHeader",
    CONTROL_MESSAGE: "RICcontrolMessage",
    INDICATION_HEADER: "RICindicationHeader",
    INDICATION_MESSAGE: "RICindicationMessage",
    INDICATION_SN: "RICindicationSN",
    INDICATION_TYPE: "RICindicationType",
    REQUEST_ID: "RICrequestID",
    OUTCOME: "RICcontrolOutcome",
}


class Shape(NamedTuple):
    """The envelope of one message."""

    name: str
    kind: PduKind
    procedure: Procedure
    criticality: Criticality
    mandatory: tuple[int, ...]
    known: frozenset[int]


def shape(
    name: str,
    kind: PduKind,
    procedure: Procedure,
    criticality: Criticality,
    mandatory: tuple[int, ...],
    optional: tuple[int, ...],
) -> Shape:
    mandatory = (REQUEST_ID, FUNCTION_ID, *mandatory)
    return Shape(name, kind, procedure, criticality, mandatory, frozenset((*mandatory, *optional)))


def peek(pdu: bytes) -> PduType:
    """What a PDU is, from its first octets. Raises E2DecodeError."""
    if len(pdu) < 4:
        raise E2DecodeError(f"{len(pdu)} octets are no PDU", path="E2AP-PDU", offset_bits=8 * len(pdu))
    alternative = pdu[0] >> 5
    if alternative > 2:
        raise E2DecodeError(f"alternative {alternative} is not known", path="E2AP-PDU", offset_bits=0)
    if pdu[2] >> 6 > Criticality.NOTIFY:
        raise E2DecodeError(f"criticality {pdu[2] >> 6} does not exist", path="E2AP-PDU", offset_bits=16)
    return PduType(PduKind(alternative), pdu[1])


# -- reading ----------------------------------------------------------------------------------------------------------


def fail(reason: str, path: str, element: int) -> NoReturn:
    raise E2DecodeError(reason, path=f"{path}.{_NAMES[element]}")


def check_envelope(pdu: bytes) -> PduType:
    """What a PDU is; E2DecodeError unless its length is the one it announces."""
    kind = peek(pdu)
    try:
        _, end = _string(pdu, 3, "E2AP-PDU")
    except IndexError:
        raise E2DecodeError("ends within its length", path="E2AP-PDU", offset_bits=8 * len(pdu)) from None
    if end != len(pdu):
        raise E2DecodeError(f"{len(pdu) - end} octets left over", path="E2AP-PDU", offset_bits=8 * end)
    return kind


def open_pdu(pdu: bytes, shape: Shape) -> tuple[dict[int, bytes], dict[int, int]]:
    """The known elements of a PDU that must have this shape: id -> contents of its open type, id -> criticality."""
    kind, procedure = peek(pdu)
    if kind != shape.kind or procedure != shape.procedure:
        raise E2DecodeError(
            f"a PDU of kind {kind.name}, procedure {procedure}; expected {shape.kind.name}, procedure "
            f"{shape.procedure.value}",
            path=shape.name,
            offset_bits=0,
        )
    try:
        body, end = _string(pdu, 3, shape.name)
    except IndexError:
        raise E2DecodeError("ends within its length", path=shape.name, offset_bits=8 * len(pdu)) from None
    if end != len(pdu):
        raise E2DecodeError(f"{len(pdu) - end} octets left over", path=shape.name, offset_bits=8 * end)
    # Where the message lies in the PDU, so that errors point into the caller's bytes; fragments break the line.
    base = end - len(body) if len(body) < FRAGMENT else 0
    elements: dict[int, bytes] = {}
    criticalities: dict[int, int] = {}
    position = 3
    try:
        for _ in range(body[1] << 8 | body[2]):
            element = body[position] << 8 | body[position + 1]
            criticality = body[position + 2] >> 6
            value, following = _string(body, position + 3, shape.name, base)
            if element in elements:
                fail("given twice", shape.name, element)
            if element in shape.known:
                elements[element] = value
                criticalities[element] = criticality
            elif criticality == Criticality.REJECT:
                reason = f"element {element} is not known and must not be ignored"
                raise E2DecodeError(reason, path=shape.name, offset_bits=8 * (base + position))
            if criticality > Criticality.NOTIFY:
                reason = f"element {element} has criticality {criticality}"
                raise E2DecodeError(reason, path=shape.name, offset_bits=8 * (base + position))
            position = following
    except IndexError:
        raise E2DecodeError("ends within its elements", path=shape.name, offset_bits=8 * (base + len(body))) from None
    if body[0] & 0x80:
        _skip_additions(body, position, shape.name)
    elif position != len(body):
        reason = f"{len(body) - position} octets left over"
        raise E2DecodeError(reason, path=shape.name, offset_bits=8 * (base + position))
    for element in shape.mandatory:
        if element not in elements:
            fail("is missing", shape.name, element)
    return elements, criticalities


def _string(data: bytes, at: int, path: str, base: int = 0) -> tuple[bytes, int]:
    """What lies behind a length determinant at octet `at`, and where it ends. IndexError if even that is beyond.

    base: where `data` lies in the bytes that an error is to point into.
    """
    first = data[at]
    if first < 0x80:
        start = at + 1
        stop = start + first
    elif first < 0xC0:
        start = at + 2
        stop = start + ((first & 0x3F) << 8 | data[at + 1])
    else:
        reader = BitReader(data, path, start=at)
        return reader.octet_string(), reader.position >> 3
    if stop > len(data):
        reason = f"{stop - start} octets announced, {len(data) - start} left"
        raise E2DecodeError(reason, path=path, offset_bits=8 * (base + at))
    return data[start:stop], stop


def _skip_additions(data: bytes, at: int, path: str) -> None:
    """What follows the root of an extended SEQUENCE belongs to a later version, but it must be well formed."""
    reader = BitReader(data, path, start=at)
    reader.skip_additions(True)
    reader.finish()


def unwrap(value: bytes, path: str, element: int) -> bytes:
    """The OCTET STRING in an open type."""
    try:
        octets, end = _string(value, 0, f"{path}.{_NAMES[element]}")
    except IndexError:
        fail("ends within its length", path, element)
    if end != len(value):
        fail(f"{len(value) - end} octets left over", path, element)
    return octets


def optional(elements: dict[int, bytes], path: str, element: int) -> bytes | None:
    value = elements.get(element)
    return None if value is None else unwrap(value, path, element)


def fixed(value: bytes, octets: int, path: str, element: int) -> int:
    """The number in an open type of exactly so many octets."""
    if len(value) != octets:
        fail(f"{len(value)} octets, expected {octets}", path, element)
    return value[0] if octets == 1 else value[0] << 8 | value[1]


def function_id(value: bytes, path: str) -> int:
    number = fixed(value, 2, path, FUNCTION_ID)
    if number > 4095:
        fail(f"{number} is outside 0..4095", path, FUNCTION_ID)
    return number


def request_id(value: bytes, path: str) -> RicRequestId:
    # An extension bit, padding, two 16-bit numbers.
    if len(value) != 5 and (len(value) < 5 or not value[0] & 0x80):
        fail(f"{len(value)} octets, expected 5", path, REQUEST_ID)
    if value[0] & 0x80:
        _skip_additions(value, 5, f"{path}.{_NAMES[REQUEST_ID]}")
    return RicRequestId(value[1] << 8 | value[2], value[3] << 8 | value[4])


# -- writing ----------------------------------------------------------------------------------------------------------

_U16 = struct.Struct(">H")
_HEAD = struct.Struct(">HBBBHH HBBH")
"""RICrequestID and RANfunctionID, the first two elements of every message here."""


def prefixed(data: bytes) -> bytes:
    """`data` behind its length: an OCTET STRING or an open type."""
    n = len(data)
    if n < 0x80:
        return bytes((n,)) + data
    if n < FRAGMENT:
        return _U16.pack(0x8000 | n) + data
    writer = BitWriter()
    writer.octet_string(data)
    return writer.to_bytes()


def element(element: int, value: bytes, criticality: int = Criticality.REJECT) -> bytes:
    return bytes((0, element, criticality << 6)) + prefixed(value)


def head(request_id: RicRequestId, function_id: int) -> bytes:
    requestor, instance = request_id
    if not 0 <= function_id <= 4095:
        raise E2EncodeError(f"RANfunctionID is {function_id}, expected 0 to 4095")
    try:
        return _HEAD.pack(REQUEST_ID, 0, 5, 0, requestor, instance, FUNCTION_ID, 0, 2, function_id)
    except struct.error:
        raise E2EncodeError(f"RICrequestID is {requestor}, {instance}, expected two of 0 to 65535") from None


def number(value: int, octets: int, name: str) -> bytes:
    try:
        return value.to_bytes(octets, "big")
    except OverflowError:
        raise E2EncodeError(f"{name} is {value}, expected 0 to {256**octets - 1}") from None


def close_pdu(shape: Shape, parts: list[bytes]) -> bytes:
    """The PDU around its elements; the first part holds two."""
    body = b"\x00" + _U16.pack(len(parts) + 1) + b"".join(parts)
    return bytes((shape.kind << 5, shape.procedure, shape.criticality << 6)) + prefixed(body)

"""The octet walk over a DCM indication, compiled: fields where encoders usually put them, columns that are what they
should be. Stricter than what protobuf and `indication` read, never laxer: everything else is left to Python.

Suffixes: U = UEs, C = columns, F = fields by their numbers, N = numbers, P = fields of octets.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policy.engine import jit
from policy.engine.code_cache import EntryPoint
from policy.engine.jit import kernel

OTHER = -1
"""In place of a count: it is for Python to say what this is."""
ABSENT = -1
MAX_FIELD = 63
MAX_VARINT_OCTETS = 9
"""More would not fit into a signed number."""

Octets = NDArray[np.uint8]
Table = NDArray[np.int64]
"""Of two dimensions."""
Values = NDArray[np.float64]
"""Of two dimensions."""


@kernel
def varint_at(data: Octets, at: int) -> tuple[int, int]:
    """(number, octet after it), OTHER for what ends too soon or is too long."""
    number = 0
    for k in range(MAX_VARINT_OCTETS):
        if at + k >= len(data):
            return OTHER, OTHER
        octet = int(np.int64(data[at + k]))
        number |= (octet & 0x7F) << (7 * k)
        if octet < 0x80:
            return number, at + k + 1
    return OTHER, OTHER


@kernel
def find_fields(data: Octets, fields_F3: Table, numbers_N: NDArray[np.int64], places_P2: Table) -> bool:
    """Whether every field is known and is one that fits; the last of several of a kind counts."""
    at = 0
    while at < len(data):
        tag = int(np.int64(data[at]))
        at += 1
        if tag > 0x7F:
            if at >= len(data) or data[at] == 0 or data[at] > 0x7F:
                return False
            tag = tag & 0x7F | int(np.int64(data[at])) << 7
            at += 1
        field, wire_type = tag >> 3, tag & 7
        if field > MAX_FIELD:
            return False
        number_at, place_at, bits = fields_F3[field, 0], fields_F3[field, 1], fields_F3[field, 2]
        value, at = varint_at(data, at)
        if at == OTHER:
            return False
        if wire_type == 0 and number_at != ABSENT:
            if bits < 63 and value >> bits:
                return False
            numbers_N[number_at] = value
        elif wire_type == 2 and place_at != ABSENT:
            if value > len(data) - at:
                return False
            places_P2[place_at, 0] = at
            places_P2[place_at, 1] = at + value
            at += value
        else:
            return False
    return True


def walk_indication(
    data: Octets, fields_F3: Table, bounds_C2: Values, numbers_N: NDArray[np.int64], places_P2: Table, values_CU: Values
) -> int:
    """How many UEs there are; columns are filled where `values_CU` has room for exactly so many.

    fields_F3: each field's place among the numbers, that among the octets (ABSENT: it is not of the kind), and its
    bits. The first places are those of the UE ids and of the columns, the first column is one of whole numbers.
    bounds_C2: the least and the most that a column holds.
    """
    numbers_N[:] = 0
    places_P2[:] = 0
    if not find_fields(data, fields_F3, numbers_N, places_P2):
        return OTHER
    octets = places_P2[0, 1] - places_P2[0, 0]
    count = octets >> 2
    if octets & 3 or not count:
        return OTHER
    columns, room = values_CU.shape
    for c in range(columns):
        first, end = places_P2[1 + c, 0], places_P2[1 + c, 1]
        if end > first and end - first != octets:
            return OTHER
    if room != count:
        return count
    for c in range(columns):
        first, end = places_P2[1 + c, 0], places_P2[1 + c, 1]
        if end == first:
            values_CU[c] = np.nan
            continue
        least, most = bounds_C2[c, 0], bounds_C2[c, 1]
        for u in range(count):
            at = first + 4 * u
            bits = (
                np.uint32(data[at])
                | np.uint32(data[at + 1]) << np.uint32(8)
                | np.uint32(data[at + 2]) << np.uint32(16)
                | np.uint32(data[at + 3]) << np.uint32(24)
            )
            value = np.float64(np.uint32(bits).view(np.float32))
            if value < least or value > most or (c == 0 and value % 1.0 > 0.0):
                return OTHER
            values_CU[c, u] = value
    return count


_SOURCES = (Path(__file__), Path(jit.__file__))
walk: Any = EntryPoint(
    walk_indication,
    sources_digest=hashlib.sha256(b"".join(path.read_bytes() for path in _SOURCES)).hexdigest()[:12],
    folder=Path(__file__).parent,
)

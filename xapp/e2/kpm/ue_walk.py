"""The octet walk over the UEs of a format 3 report, compiled: UEs that look like the one before them.

What UEs have in common is their `UeForm` (compiled_walk). This walk is stricter than the one in Python (report_reader)
and never laxer: where a UE looks different in any way it stops, and Python reads that one. Behind the report there are
PADDING octets more, so that what a short one seems to hold is read before it is found to be too short.
Suffixes: U = UEs, N = measurements, P = places in which numbers of UEs are unique: AMFs.
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

POWERS = np.ldexp(1.0, np.arange(256) - np.arange(256) // 128 * 256)
"""2 to the power of an exponent octet."""
GNB_F1AP_IDS, GNB_RAN_UEID = 0x200, 0x80
"""Bits of a gNB-UEID's first two octets: what it has beside AMF id and GUAMI."""
GUAMI_OCTETS, RAN_UEID_OCTETS = 6, 8
KEY_OCTETS = 5
"""Low octets of a ran-UEID that are in the UE's key; the others tell where that is unique."""
OTHER = -1
"""In place of where something ends: it is of another form."""

Octets = NDArray[np.uint8]
OctetRows = NDArray[np.uint8]
"""Of two dimensions."""


@kernel
def number_at(data: Octets, at: int, octets: int) -> int:
    """An unsigned number."""
    number = 0
    for k in range(octets):
        number = number << 8 | int(np.int64(data[at + k]))
    return number


@kernel
def bits_at(data: Octets, position: int, count: int) -> int:
    """At most 9 bits."""
    return (number_at(data, position >> 3, 2) << (position & 7) & 0xFFFF) >> (16 - count)


@kernel
def are_equal(data: Octets, at: int, expected: Octets, first: int, count: int) -> bool:
    """Whether `count` octets are those of `expected` from `first` on."""
    differs = np.uint8(0)
    for k in range(count):
        differs |= data[at + k] ^ expected[first + k]
    return bool(differs == 0)


@kernel
def read_plain_id(data: Octets, at: int, kind: int) -> tuple[int, int]:
    """(number, octet after it) of a gNB-DU's or a gNB-CU-UP's id."""
    first = number_at(data, at, 1)
    if first & 0xFC != kind:
        return 0, OTHER
    octets = bits_at(data, at * 8 + 7, 2) + 1
    after = at + 2 + octets
    return number_at(data, at + 2, octets), after + RAN_UEID_OCTETS if first & 2 else after


@kernel
def read_gnb_id(
    data: Octets, at: int, presence: int, places_P: OctetRows, key_above_P: NDArray[np.int64]
) -> tuple[int, int]:
    """(key, octet after the id) of a gNB-UEID with at most one F1AP id, of one of the places that are known."""
    first = number_at(data, at, 2)
    octets = (first >> 2 & 7) + 1
    if first & 0xFFE0 != presence or octets > 5 or data[at + 2 + octets] & 0x80:
        return 0, OTHER
    number = number_at(data, at + 2, octets)
    guami_at = at + octets + 3
    at = guami_at + GUAMI_OCTETS
    if presence & GNB_F1AP_IDS:
        first = number_at(data, at, 1)
        octets = (first >> 3 & 3) + 1
        if first & 0xE0:
            return 0, OTHER
        number = number_at(data, at + 1, octets)
        at += 1 + octets
    rest_at, rest = at, 0
    if presence & GNB_RAN_UEID:
        if not presence & GNB_F1AP_IDS:
            rest = RAN_UEID_OCTETS - KEY_OCTETS
            number = number_at(data, at + rest, KEY_OCTETS)
        at += RAN_UEID_OCTETS
    for p in range(len(places_P)):
        place = places_P[p]
        if are_equal(data, guami_at, place, 0, GUAMI_OCTETS) and are_equal(data, rest_at, place, GUAMI_OCTETS, rest):
            return key_above_P[p] | number, at
    return 0, OTHER


@kernel
def read_values(data: Octets, at: int, end: int, values_N: NDArray[np.float64]) -> int:
    """The bit after a record that begins at octet `at`."""
    position = at * 8
    for column in range(len(values_N)):
        if position >> 3 >= end:
            return OTHER
        choice = bits_at(data, position, 3)  # extension bit and 2 bits of choice
        if choice == 0:  # an integer
            octets = bits_at(data, position + 3, 2) + 1
            at = (position + 12) >> 3
            values_N[column] = number_at(data, at, octets)
            position = (at + octets) * 8
        elif choice == 1:  # a real: of base 2, with one octet of exponent and at most seven of mantissa, or zero
            at = (position + 10) >> 3
            octets, form = number_at(data, at, 1), number_at(data, at + 1, 1)
            if octets == 0:
                values_N[column] = 0.0
            elif 3 <= octets <= 9 and (form == 0x80 or form == 0xC0):
                value = number_at(data, at + 3, octets - 2) * POWERS[data[at + 2]]
                values_N[column] = value if form == 0x80 else -value
            else:
                return OTHER
            position = (at + 1 + octets) * 8
        elif choice == 2:  # no value
            values_N[column] = np.nan
            position += 3
        else:
            return OTHER
    return position


@kernel
def pass_tail(data: Octets, position: int, end: int, head: int, tail: Octets) -> int:
    """The bit after measurement list and granularity period, where they are those of the form."""
    at, skipped = (position + 7) >> 3, 0
    if position & 7 and not head & 0x40:  # no list, which would be aligned: the granularity follows at once
        if not head & 0x20:
            return position if at <= end else OTHER
        if bits_at(data, position, 2) != number_at(tail, 0, 1) >> 6:
            return OTHER
        at, skipped = (position + 9) >> 3, 1
    count = len(tail) - skipped
    if at + count > end or not are_equal(data, at, tail, skipped, count):
        return OTHER
    return (at + count) * 8


def walk_ues(
    data: Octets,
    end: int,
    at: int,
    count: int,
    kind: int,
    presence: int,
    places_P: OctetRows,
    key_above_P: NDArray[np.int64],
    head: int,
    tail: Octets,
    keys_U: NDArray[np.int64],
    positions_U: NDArray[np.int64],
    values_UN: NDArray[np.float64],
) -> tuple[int, int]:
    """Read at most `count` UEs from octet `at` of a report that ends before octet `end`: (how many, the bit after).

    kind to tail: see UeForm. The rest takes what is read.
    """
    num_values = values_UN.shape[1]
    for ue in range(count):
        start = at
        if start >= end:
            return ue, start * 8
        if kind:
            number, at = read_plain_id(data, at, kind)
            key = key_above_P[0] | number
        else:
            key, at = read_gnb_id(data, at, presence, places_P, key_above_P)
        # One data item of so many values, nothing incomplete.
        if (
            at == OTHER
            or at + 5 > end
            or data[at] != head
            or number_at(data, at + 1, 3)
            or number_at(data, at + 4, 1) != num_values
        ):
            return ue, start * 8
        position = read_values(data, at + 5, end, values_UN[ue])
        if position != OTHER:
            position = pass_tail(data, position, end, head, tail)
        if position == OTHER:
            return ue, start * 8
        keys_U[ue] = key
        positions_U[ue] = start * 8 + 1
        if position & 7:  # the next UE begins within an octet
            return ue + 1, position
        at = position >> 3
    return count, at * 8


_SOURCES = (Path(__file__), Path(jit.__file__))
walk: Any = EntryPoint(
    walk_ues,
    sources_digest=hashlib.sha256(b"".join(path.read_bytes() for path in _SOURCES)).hexdigest()[:12],
    folder=Path(__file__).parent,
)

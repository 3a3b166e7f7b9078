"""Measurement reports written from columns: what a node sends, E2SM-KPM indication message format 3."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from xapp.e2.asn1.aper_writer import BitWriter
from xapp.e2.asn1.errors import E2EncodeError
from xapp.e2.asn1.real import real_to_octets
from xapp.e2.dialect import Dialect
from xapp.e2.kpm import schema as kpm_schema
from xapp.e2.ue_id.ue_id import UeId, write_ue_id

MAX_INTEGER = 2**32 - 1
_ONE_OCTET = tuple(bytes((0x00, value)) for value in range(256))
_SIZES = ((256, b"\x00", 1), (2**16, b"\x08", 2), (2**24, b"\x10", 3), (2**32, b"\x18", 4))
"""Of an integer below the first, the octet before it and its octets."""


def encode_report(
    ue_ids: Sequence[UeId],
    names: Sequence[str],
    values_UN: NDArray[np.float64],
    granularity_ms: int,
    *,
    reals: Collection[str] = (),
    with_names: bool = True,
    dialect: Dialect = Dialect.STANDARD,
) -> bytes:
    """Write one format 3 message: a row of `values_UN` per UE, a column per name, NaN = noValue.

    `reals`: the names sent as REAL, rounded to single precision since deployed decoders take at most 3 octets of
    mantissa; the others are sent as integers (0..2^32-1, fractions dropped). `with_names` False: the names are left to
    the subscription. Raises E2EncodeError; a message needs at least one UE and one name.
    """
    values_UN = np.asarray(values_UN, dtype=np.float64)
    if values_UN.shape != (len(ue_ids), len(names)) or not 1 <= len(ue_ids) <= 65535 or not 1 <= len(names) < 16384:
        raise E2EncodeError(
            f"values of shape {values_UN.shape} for {len(ue_ids)} UEs and {len(names)} measurements, "
            "1 to 65535 UEs and 1 to 16383 measurements expected"
        )
    is_real = tuple(name in reals for name in names)
    if any(is_real):
        values_UN = values_UN.copy()
        with np.errstate(over="ignore"):  # beyond single precision: infinity
            values_UN[:, is_real] = values_UN[:, is_real].astype(np.float32)
    ints_UN = values_UN[:, ~np.array(is_real)]
    if (bad := (ints_UN < 0) | (ints_UN >= MAX_INTEGER + 1)).any():
        raise E2EncodeError(f"{ints_UN[bad][0]} is outside 0..{MAX_INTEGER}, what an integer measurement can be")

    head = _record_head(len(names), with_names)
    tail = _tail(tuple(names) if with_names else (), granularity_ms)
    gaps_U = [any(map(math.isnan, row)) for row in values_UN.tolist()]
    start = b"\x20" if dialect is Dialect.FLEXRIC else b"\x00"  # FlexRIC: format 3 as the third root, no open type
    parts = [start + (len(ue_ids) - 1).to_bytes(2, "big")]
    for ue_id, row, has_gap in zip(ue_ids, values_UN.tolist(), gaps_U, strict=True):
        parts.append(_ue_id_octets(ue_id))
        parts.append(head)
        if has_gap:
            parts.append(_record_with_gaps(row, is_real, tail if with_names else b"", granularity_ms))
        else:
            parts.extend(map(_item, row, is_real))
            parts.append(tail)
    if dialect is Dialect.FLEXRIC:
        return b"".join(parts)
    writer = BitWriter()
    writer.bits(0b010000000, 9)  # no extension; the choice's extension 0 is format 3
    writer.open_type(b"".join(parts))
    return writer.to_bytes()


def _record_head(count: int, with_names: bool) -> bytes:
    """Presence bits of the measurement report, one data item, the number of its values."""
    writer = BitWriter()
    writer.bits(0b011 if with_names else 0b001, 3)
    writer.octets(b"\0\0")
    writer.bits(0, 2)
    writer.length(count)
    return writer.to_bytes()


@lru_cache(maxsize=64)
def _tail(names: tuple[str, ...], granularity_ms: int) -> bytes:
    """Measurement list (if names are sent) and granularity: the octets that end every UE's report."""
    writer = BitWriter()
    if names:
        kpm_schema.MEASUREMENT_INFO_LIST.write(writer, measurement_list(names), "measInfoList")
    kpm_schema.PERIOD.write(writer, granularity_ms, "granulPeriod")
    return writer.to_bytes()


def measurement_list(names: Sequence[str]) -> list[dict[str, object]]:
    """measInfoList of measurements without labels."""
    labelled = next((name for name in names if "{" in name or name.startswith("#")), None)
    if labelled is not None:
        raise E2EncodeError(f"measurement {labelled!r}: only names without labels are written")
    return [{"measType": {"measName": name}, "labelInfoList": [{"measLabel": {"noLabel": "true"}}]} for name in names]


@lru_cache(maxsize=4096, typed=True)  # ids of two kinds with the same numbers are equal as tuples
def _ue_id_octets(ue_id: UeId) -> bytes:
    """The report item up to its measurements, which start on an octet."""
    writer = BitWriter()
    writer.flag(False)
    write_ue_id(writer, ue_id)
    if not writer.is_aligned:
        raise E2EncodeError(f"{ue_id!r}: an id that ends in a global node id within an octet is not written in reports")
    return writer.to_bytes()


def _item(value: float, real: bool) -> bytes:
    if real:
        octets = real_to_octets(value)
        return bytes((0x20, len(octets))) + octets
    number = int(value)
    if number < 256:
        return _ONE_OCTET[number]
    for limit, head, size in _SIZES[1:]:
        if number < limit:
            return head + number.to_bytes(size, "big")
    raise E2EncodeError(f"{number} is outside 0..{MAX_INTEGER}")


def _record_with_gaps(row: list[float], is_real: tuple[bool, ...], tail: bytes, granularity_ms: int) -> bytes:
    """The values and what follows them; a noValue is 3 bits, after which nothing is aligned by itself."""
    writer = BitWriter()
    for value, real in zip(row, is_real, strict=True):
        if math.isnan(value):
            writer.bits(2, 3)
        elif real:
            writer.bits(1, 3)
            writer.real(value)
        else:
            writer.bits(0, 3)
            writer.constrained(int(value), 0, MAX_INTEGER)
    if tail:
        writer.octets(tail)
    else:
        kpm_schema.PERIOD.write(writer, granularity_ms, "granulPeriod")
    return writer.to_bytes()

"""Measurement reports read straight into columns: E2SM-KPM indication messages of formats 1 and 3.

Two readers, one meaning. `decode_report` walks the octets itself: a record item's first octet is 00/08/10/18 for an
integer of 1-4 octets and 20 for a REAL; a noValue is 3 bits and breaks octet alignment until the record ends; the
measurement list repeats byte for byte per UE, so it is parsed once and compared from then on. Whatever looks different
- extensions, several granularity periods, lists that differ, damage - is left to the composed types of kpm_schema.py,
one UE at a time. `decode_report_generic` uses only those, and tests hold the two against each other.

Legend: U UEs (rows), N measurements (columns).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xapp.e2 import kpm_schema, schema
from xapp.e2.aper import BitReader
from xapp.e2.errors import E2DecodeError
from xapp.e2.real import MAX_REAL_OCTETS, real_from_octets
from xapp.e2.ue_id import UeId, read_ue_id, ue_id_from_value, ue_key

NO_UE = -1
"""The row of a format 1 message: it measures a cell, or the UE of its subscription, and names none."""
MAX_FILL = 8
"""A table may have this many cells per octet of its message, no more: UEs with ever different measurements would
otherwise turn a small message into a huge table. A table of equal lists never has more than 3."""
PATH = "kpm-indication-message"


@dataclass(frozen=True, slots=True, eq=False)
class KpmReport:
    """One indication message as a table."""

    ue_keys: tuple[int, ...]
    """Per row, see `ue_key`; (NO_UE,) for format 1."""
    names: tuple[str, ...]
    """Per column, `measurement_names`."""
    values: NDArray[np.float64]
    """[U, N]; NaN = noValue, notSatisfied, incomplete, or not measured for this UE."""
    granularity_ms: int | None
    """Of the first UE that says it."""
    incomplete: int
    """How many measurement records were flagged incomplete; they are not in `values`."""
    _data: bytes = field(default=b"", repr=False)
    _ue_ids: tuple[UeId | int | None, ...] = field(default=(), repr=False)
    # Per row the id, or the bit of _data at which it starts.

    def ue_id(self, row: int) -> UeId | None:
        """The full identity of a row's UE, parsed when asked for; None for format 1."""
        ue_id = self._ue_ids[row]
        if not isinstance(ue_id, int):
            return ue_id
        reader = BitReader(self._data, PATH)
        reader.position = ue_id
        return read_ue_id(reader)


class _Row(NamedTuple):
    names: tuple[str, ...]
    values: list[float]
    granularity_ms: int | None
    incomplete: int


class _UnusualError(Exception):
    """Not for the octet walk."""


def measurement_names(info_list: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """Column names of a measurement list: one for each label of each measurement.

    `DRB.UEThpUl`, with labels `DRB.UEThpUl{fiveQI=9}`; a measurement known by number is `#17`.
    """
    names = []
    for item in info_list:
        kind = item["measType"]
        base = kind["measName"] if "measName" in kind else f"#{kind['measID']}"
        for label in item["labelInfoList"]:
            what = ",".join(f"{key}={value}" for key, value in label["measLabel"].items() if key != "noLabel")
            names.append(f"{base}{{{what}}}" if what else base)
    return tuple(names)


# -- by the composed types --------------------------------------------------------------------------------------------


def decode_report_generic(message: bytes, known_names: Sequence[str] = ()) -> KpmReport:
    """The same as `decode_report` for every message, and many times slower."""
    formats = schema.decode(kpm_schema.INDICATION_MESSAGE, message, PATH)["indicationMessage-formats"]
    known = tuple(known_names)
    if "indicationMessage-Format1" in formats:
        row = _row(formats["indicationMessage-Format1"], known)
        return _table(message, (NO_UE,), (None,), [row])
    ue_reports = formats["indicationMessage-Format3"]["ueMeasReportList"]
    ue_ids = tuple(ue_id_from_value(each["ueID"]) for each in ue_reports)
    rows = [_row(each["measReport"], known) for each in ue_reports]
    return _table(message, tuple(ue_key(ue_id) for ue_id in ue_ids), ue_ids, rows)


def _row(report: dict[str, Any], known_names: tuple[str, ...]) -> _Row:
    """A decoded measurement report: the last complete record, all NaN where none is complete."""
    names = measurement_names(report["measInfoList"]) if "measInfoList" in report else known_names
    if not names:
        raise E2DecodeError("no measurement list in the report, and none known from the subscription", path=PATH)
    complete = [item["measRecord"] for item in report["measData"] if "incompleteFlag" not in item]
    values = [_number(item) for item in complete[-1]] if complete else [float("nan")] * len(names)
    if len(values) != len(names):
        raise E2DecodeError(f"{len(values)} values for {len(names)} measurements", path=PATH)
    return _Row(names, values, report.get("granulPeriod"), len(report["measData"]) - len(complete))


def _number(item: dict[str, Any]) -> float:
    value = item.get("integer", item.get("real"))
    return float("nan") if value is None else float(value)


def _table(message: bytes, keys: tuple[int, ...], ue_ids: tuple[UeId | int | None, ...], rows: list[_Row]) -> KpmReport:
    """Rows side by side; where their measurements differ, the union of them in order of first appearance."""
    names = rows[0].names
    if any(row.names is not names and row.names != names for row in rows):
        column = {name: index for index, name in enumerate(dict.fromkeys(name for row in rows for name in row.names))}
        names = tuple(column)
        if len(rows) * len(names) > MAX_FILL * len(message):
            raise E2DecodeError(f"{len(names)} different measurements in a report of {len(rows)} UEs", path=PATH)
        values = np.full((len(rows), len(names)), np.nan)
        for row, line in zip(rows, values, strict=True):
            line[[column[name] for name in row.names]] = row.values
    else:
        values = np.array([row.values for row in rows], dtype=np.float64)
    granularity_ms = next((row.granularity_ms for row in rows if row.granularity_ms is not None), None)
    return KpmReport(keys, names, values, granularity_ms, sum(row.incomplete for row in rows), message, ue_ids)


# -- by the octets ----------------------------------------------------------------------------------------------------

_POWERS = tuple(2.0 ** (exponent if exponent < 128 else exponent - 256) for exponent in range(256))
_NAN = float("nan")


def decode_report(message: bytes, known_names: Sequence[str] = ()) -> KpmReport:
    """Read an indication message of format 1 or 3.

    `known_names`: the measurements subscribed to, for nodes that do not repeat them. Raises E2DecodeError.
    """
    if message[:2] != b"\x40\x00":  # not format 3, or with extensions around it
        return decode_report_generic(message, known_names)
    outer = BitReader(message, PATH)
    outer.position = 9
    body = outer.open_type("indicationMessage-Format3")
    outer.finish()
    if body.flag("indicationMessage-Format3"):
        return decode_report_generic(message, known_names)
    count = body.count(1, 65535, item_bits=40, what="ueMeasReportList")
    return _Walk(body, tuple(known_names)).read(count)


class _Walk:
    """The walk over the UEs of one format 3 message."""

    __slots__ = ("data", "granularity_ms", "known_names", "names", "reader", "tail")

    def __init__(self, reader: BitReader, known_names: tuple[str, ...]) -> None:
        self.reader = reader
        self.data = reader.data
        self.known_names = known_names
        # The last one parsed, and what it said: presence bits, then the octets of measurement list and granularity.
        self.tail = b""
        self.names: tuple[str, ...] = ()
        self.granularity_ms: int | None = None

    def read(self, count: int) -> KpmReport:
        keys, positions, rows = [], [], []
        reader = self.reader
        for _ in range(count):
            start = reader.position
            positions.append(start + 1)
            try:
                if start & 7:
                    raise _UnusualError
                key, row = self._walk_ue(start >> 3)
            except (_UnusualError, IndexError, E2DecodeError):
                # Again from its start: an error found now is the one that the composed types would report.
                reader.position = start
                value = kpm_schema.UE_REPORT.read(reader, "ueMeasReportList")
                key, row = ue_key(ue_id_from_value(value["ueID"])), _row(value["measReport"], self.known_names)
            keys.append(key)
            rows.append(row)
        reader.finish()
        return _table(self.data, tuple(keys), tuple(positions), rows)

    def _walk_ue(self, at: int) -> tuple[int, _Row]:
        """One UE whose report starts at octet `at`."""
        key, at = _walk_ue_id(self.data, at)
        data = self.data
        # Extension bit 0, list present, granularity present; one data item (count - 1 = 0), no flag, < 128 values.
        head = data[at]
        if head & 0x9F or data[at + 1 : at + 4] != b"\0\0\0" or not 0 < data[at + 4] < 128:
            raise _UnusualError
        values, position = _walk_values(data, at + 5, data[at + 4])
        tail, after = self.tail, (position + 7) >> 3
        if position & 7 and not head & 0x40:  # no list, which would be aligned: the granularity follows at once
            self.reader.position = position
            names, granularity_ms = self._read_tail(head)
        elif tail and tail[0] == head and data.startswith(tail[1:], after):
            self.reader.position = (after + len(tail) - 1) * 8
            names, granularity_ms = self.names, self.granularity_ms
        else:
            self.reader.position = after * 8
            names, granularity_ms = self._read_tail(head)
            if not self.reader.position & 7:
                self.tail = bytes([head]) + data[after : self.reader.position >> 3]
                self.names, self.granularity_ms = names, granularity_ms
        if len(values) != len(names) or self.reader.remaining_bits < 0:
            raise _UnusualError
        return key, _Row(names, values, granularity_ms, 0)

    def _read_tail(self, head: int) -> tuple[tuple[str, ...], int | None]:
        names = self.known_names
        if head & 0x40:
            start = self.reader.position
            try:
                names, at = _walk_names(self.data, (start + 7) >> 3)
                self.reader.position = at * 8
            except (_UnusualError, IndexError):
                self.reader.position = start
                names = measurement_names(kpm_schema.MEASUREMENT_INFO_LIST.read(self.reader, "measInfoList"))
        return names, kpm_schema.PERIOD.read(self.reader, "granulPeriod") if head & 0x20 else None


def _walk_ue_id(data: bytes, at: int) -> tuple[int, int]:
    """(key, octet after it) of a report item's UE id: gNB-DU, gNB-CU-UP, or gNB with at most one F1AP id."""
    head = data[at]
    # Extension bits of item and choice, 3 bits of choice, extension bit, ran-UEID present, 2 size bits; padding.
    if head & 0xFC in (0x08, 0x10):
        size = ((head & 1) << 1 | data[at + 1] >> 7) + 1
        key = int.from_bytes(data[at + 2 : at + 2 + size], "big")
        at += 2 + size
        return key, at + 8 if head & 2 else at
    # gNB-UEID: F1AP list, E1AP list, ran-UEID, XnAP id, global gNB id present; 3 size bits of the AMF id; padding.
    bits = head << 8 | data[at + 1]
    if bits & 0xFD60:  # extensions, another kind, E1AP list, XnAP id or global gNB id
        raise _UnusualError
    size = (bits >> 2 & 7) + 1
    if size > 5 or data[at + 2 + size] & 0x80:  # the AMF id too long, an extended GUAMI
        raise _UnusualError
    amf_id = int.from_bytes(data[at + 2 : at + 2 + size], "big")
    at += size + 9  # head, AMF id, GUAMI: extension bit, PLMN, 24 bits
    f1ap_id = ran_ueid = None
    if bits & 0x200:
        head = data[at]  # count - 1, extension bit, 2 size bits
        if head & 0xE0:
            raise _UnusualError
        size = (head >> 3 & 3) + 1
        f1ap_id = int.from_bytes(data[at + 1 : at + 1 + size], "big")
        at += 1 + size
    if bits & 0x80:
        ran_ueid = int.from_bytes(data[at : at + 8], "big")
        at += 8
    if f1ap_id is not None:
        return f1ap_id, at
    return (amf_id if ran_ueid is None else ran_ueid), at


def _walk_names(data: bytes, at: int) -> tuple[tuple[str, ...], int]:
    """(names, octet after them) of a measurement list at octet `at` in which all have a name and the label noLabel."""
    names = []
    for _ in range((data[at] << 8 | data[at + 1]) + 1):
        head = data[at + 2] << 8 | data[at + 3]  # extension bit, 2 bits of choice, extension bit, 8 bits of size - 1
        size = (head >> 4) + 1
        name = data[at + 4 : at + 4 + size].decode("latin-1")
        at += size + 6
        if head & 0xF00F or size > 150 or data[at - 2 : at + 2] != b"\x01\x20\0\0":
            raise _UnusualError
        if not (name.isascii() and name.isprintable()):
            raise _UnusualError
        names.append(name)
    return tuple(names), at + 2


def _walk_values(data: bytes, at: int, count: int) -> tuple[list[float], int]:
    """(values, bit position after them) of a record that starts at octet `at`."""
    values: list[float] = []
    append = values.append
    for _ in range(count):
        head = data[at]
        if head == 0x00:
            append(data[at + 1])
            at += 2
        elif head == 0x08:
            append(data[at + 1] << 8 | data[at + 2])
            at += 3
        elif head == 0x20:
            size = data[at + 1]
            first = data[at + 2] if size else 0
            if not 2 < size < 10 or (first != 0x80 and first != 0xC0):
                append(_real(data, at + 1))
            else:
                number = int.from_bytes(data[at + 4 : at + 2 + size], "big") * _POWERS[data[at + 3]]
                append(number if first == 0x80 else -number)
            at += 2 + size
        elif head == 0x10:
            append(data[at + 1] << 16 | data[at + 2] << 8 | data[at + 3])
            at += 4
        elif head == 0x18:
            append(int.from_bytes(data[at + 1 : at + 5], "big"))
            at += 5
        else:
            return values, _walk_bits(data, at * 8, count - len(values), values)
    return values, at * 8


def _walk_bits(data: bytes, position: int, count: int, values: list[float]) -> int:
    """The rest of a record with a noValue in it, bit by bit; returns the position after it."""
    for _ in range(count):
        at, shift = position >> 3, position & 7
        window = (data[at] << 8 | data[at + 1]) << shift & 0xFFFF
        kind = window >> 13  # extension bit and 2 bits of choice
        if kind == 2:
            values.append(_NAN)
            position += 3
        elif kind == 0:
            size = (window >> 11 & 3) + 1
            at = (position + 12) >> 3
            values.append(int.from_bytes(data[at : at + size], "big"))
            position = (at + size) * 8
        elif kind == 1:
            at = (position + 10) >> 3
            values.append(_real(data, at))
            position = (at + 1 + data[at]) * 8
        else:
            raise _UnusualError
    return position


def _real(data: bytes, at: int) -> float:
    size = data[at]
    if size > MAX_REAL_OCTETS:
        raise _UnusualError
    try:
        return real_from_octets(data[at + 1 : at + 1 + size])
    except ValueError:
        raise _UnusualError from None

"""Measurement reports read straight into columns: E2SM-KPM indication messages of format 3, by their octets.

Three readers, one meaning. `decode_report` walks the octets itself: a record item's first octet is 00/08/10/18 for an
integer of 1-4 octets and 20 for a REAL; a noValue is 3 bits and breaks octet alignment until the record ends; the
measurement list repeats byte for byte per UE, so it is parsed once and compared from then on. Whatever looks different
- extensions, several granularity periods, lists that differ, damage - is left to the composed types of schema.py,
one UE at a time, and messages of the other formats as a whole. Where the walk is compiled (xapp.e2.kpm.compiled_walk)
it reads the UEs that look like one that was read here. `decode_report_generic` uses only the composed types, and tests
hold all three against each other.
"""

from __future__ import annotations

from collections.abc import Sequence

from xapp.e2.asn1.aper_reader import BitReader
from xapp.e2.asn1.errors import E2DecodeError
from xapp.e2.asn1.real import MAX_REAL_OCTETS, real_from_octets
from xapp.e2.dialect import Dialect
from xapp.e2.kpm import schema as kpm_schema
from xapp.e2.kpm.compiled_walk import LIST, CompiledWalk
from xapp.e2.kpm.report_table import (
    NO_UE,
    PATH,
    KpmReport,
    Row,
    decode_report_generic,
    make_table,
    measurement_names,
    read_row,
)
from xapp.e2.ue_id.ue_id import ue_id_from_value, ue_key
from xapp.e2.ue_id.ue_key import UeIdKind, key_of

__all__ = [
    "NO_UE",
    "KpmReport",
    "decode_report",
    "decode_report_generic",
    "decode_report_of_any_form",
    "measurement_names",
    "use_compiled_walk",
]


class _UnusualError(Exception):
    """Not for the octet walk."""


_POWERS = tuple(2.0 ** (exponent if exponent < 128 else exponent - 256) for exponent in range(256))
_NAN = float("nan")


_compiled_walk: CompiledWalk | None = None
FEW_UES = 8
"""If no more UEs in a row look alike, the compiled walk does not pay."""
MAX_SHORT_WALKS = 4
"""So often is it tried nevertheless, in one report."""


def use_compiled_walk(walk: CompiledWalk | None) -> None:
    """For all reports read in this process from now on; None = do without."""
    global _compiled_walk
    _compiled_walk = walk


def decode_report(message: bytes, known_names: Sequence[str] = (), dialect: Dialect = Dialect.STANDARD) -> KpmReport:
    """Read an indication message of any format.

    `known_names`: the measurements subscribed to, for nodes that do not repeat them. Raises E2DecodeError.
    """
    body = _format_3_body(message, dialect)
    if body is None:
        return decode_report_generic(message, known_names, dialect)
    count = body.count(1, 65535, item_bits=40, what="ueMeasReportList")
    return _Walk(body, tuple(known_names)).read(count)


def decode_report_of_any_form(message: bytes, known_names: Sequence[str] = ()) -> tuple[KpmReport, Dialect]:
    """A report of a node of which nobody knows how it writes, and the dialect that it is in.

    The standard comes first; nodes that write otherwise send reports that cannot be read by it. Raises E2DecodeError
    where no dialect fits, the standard's.
    """
    try:
        return decode_report(message, known_names), Dialect.STANDARD
    except E2DecodeError as error:
        try:
            return decode_report(message, known_names, Dialect.FLEXRIC), Dialect.FLEXRIC
        except E2DecodeError:
            raise error from None


def _format_3_body(message: bytes, dialect: Dialect) -> BitReader | None:
    """At the list of UEs; None for other formats and for extensions around it."""
    if dialect is Dialect.FLEXRIC:
        if message[:1] != b"\x20":  # two extension bits, the third root, no extension
            return None
        return BitReader(message, PATH, start=1)
    if message[:2] != b"\x40\x00":  # no extension; the choice's extension 0
        return None
    outer = BitReader(message, PATH)
    outer.position = 9
    body = outer.open_type("indicationMessage-Format3")
    outer.finish()
    return None if body.flag("indicationMessage-Format3") else body


class _Walk:
    """The walk over the UEs of one format 3 message."""

    __slots__ = ("data", "end", "granularity_ms", "head", "known_names", "names", "reader", "tail")

    def __init__(self, reader: BitReader, known_names: tuple[str, ...]) -> None:
        self.reader = reader
        self.data = reader.data
        self.end = (reader.position + reader.remaining_bits) >> 3
        self.known_names = known_names
        # The last one parsed, and what it said: presence bits, then the octets of measurement list and granularity.
        self.tail = b""
        self.names: tuple[str, ...] = ()
        self.granularity_ms: int | None = None
        self.head = 0  # presence bits of the UE read last

    def read(self, count: int) -> KpmReport:
        compiled = _compiled_walk
        padded = compiled.padded(self.data) if compiled is not None else None
        keys: list[int] = []
        positions: list[int] = []
        rows: list[Row] = []
        reader, short_walks = self.reader, 0
        while len(keys) < count:
            start = reader.position
            if padded is not None and compiled is not None and not start & 7:
                left = count - len(keys)
                found = compiled.read(padded, self.data, start >> 3, self.end, left, self.known_names)
                if found is not None:
                    reader.position = start = found.end
                    if len(found.keys) == count:
                        reader.finish()
                        uniform = found.names, found.values_UN, found.granularity_ms, 0
                        return KpmReport(tuple(found.keys), *uniform, self.data, tuple(found.positions))
                    keys += found.keys
                    positions += found.positions
                    rows += found.rows()
                    if len(found.keys) == left:
                        break
                short_walks += found is None or len(found.keys) <= FEW_UES
                if short_walks > MAX_SHORT_WALKS:
                    compiled = None
            key, row = self._read_ue(start, compiled)
            keys.append(key)
            positions.append(start + 1)
            rows.append(row)
        reader.finish()
        return make_table(self.data, tuple(keys), tuple(positions), rows)

    def _read_ue(self, start: int, compiled: CompiledWalk | None) -> tuple[int, Row]:
        """One UE whose report starts at bit `start`, and whose like the compiled walk may then read."""
        try:
            if start & 7:
                raise _UnusualError
            key, row = self._walk_ue(start >> 3)
        except (_UnusualError, IndexError, E2DecodeError):
            # Again from its start: an error found now is the one that the composed types would report.
            reader = self.reader
            reader.position = start
            value = kpm_schema.UE_REPORT.read(reader, "ueMeasReportList")
            return ue_key(ue_id_from_value(value["ueID"])), read_row(value["measReport"], self.known_names)
        is_tail_known = not self.head & LIST or (self.tail[:1] == bytes([self.head]) and self.names is row.names)
        if compiled is not None and is_tail_known:
            compiled.learn(self.data, start >> 3, key, row, self.head, self.tail[1:], self.known_names)
        return key, row

    def _walk_ue(self, at: int) -> tuple[int, Row]:
        """One UE whose report starts at octet `at`."""
        key, at = _walk_ue_id(self.data, at)
        data = self.data
        # Extension bit 0, list present, granularity present; one data item (count - 1 = 0), no flag, < 128 values.
        head = self.head = data[at]
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
        return key, Row(names, values, granularity_ms, 0)

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
        if head & 0x10:
            key = key_of(UeIdKind.CU_UP_E1AP, key)
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
    guami = data[at - 6 : at]
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
        return key_of(UeIdKind.GNB_F1AP, f1ap_id, guami), at
    if ran_ueid is not None:
        return key_of(UeIdKind.GNB_RAN, ran_ueid, guami), at
    return key_of(UeIdKind.GNB_AMF, amf_id, guami), at


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

"""Protobuf messages of numbers, octets and text, read and written without protobuf's objects.

protobuf in Python takes a microsecond or more a field. What is written here is what it writes, octet for octet; what is
read is what encoders usually write. Everything else is left to it, which alone says what is no message.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import lru_cache
from operator import index
from types import SimpleNamespace
from typing import Any

from xapp.e2.asn1.errors import E2EncodeError

VARINT, FIXED64, LENGTH_DELIMITED = 0, 1, 2
"""Wire types."""
OCTETS, TEXT = 0, -1
"""In place of how many bits a number has."""


class FlatMessage:
    """How the messages of one type are read and written."""

    def __init__(self, message: Any) -> None:
        """message: the class that protobuf generates."""
        fields = sorted(message.DESCRIPTOR.fields, key=lambda field: field.number)
        self._defaults = {field.name: field.default_value for field in fields}
        self._readable: dict[int, tuple[str, int]] = {}  # by tag: name, and the bits of a number, or OCTETS, or TEXT
        self._writers: list[tuple[str, bytes, Callable[[str, Any], bytes]]] = []
        for field in fields:
            kind = _KINDS[field.type]
            tag = field.number << 3 | kind.wire_type
            self._writers.append((field.name, varint(tag), kind.write))
            if kind.bits is not None:
                self._readable[tag] = field.name, kind.bits

    def numbers_and_bits(self) -> dict[str, tuple[int, int]]:
        """Of the fields that can be read: their numbers, and the bits of a number, or OCTETS, or TEXT."""
        return {name: (tag >> 3, bits) for tag, (name, bits) in self._readable.items()}

    def read(self, data: bytes) -> SimpleNamespace | None:
        """The message with its fields as attributes; None = for protobuf to say."""
        found = dict(self._defaults)
        readable, size, at = self._readable, len(data), 0
        try:
            while at < size:
                tag = data[at]
                at += 1
                if tag > 0x7F:
                    tag = tag & 0x7F | data[at] << 7
                    if tag < 0x80:
                        return None  # longer than it need be: to protobuf it is another tag
                    at += 1
                name, bits = readable[tag]
                number = data[at]
                at += 1
                if number > 0x7F:
                    number, at = _long_varint(data, at - 1)
                if bits > 0:
                    if number >> bits:
                        return None  # of protobuf's implementations some take the low bits
                    found[name] = number
                    continue
                start, at = at, at + number
                if at > size:
                    return None
                found[name] = data[start:at] if bits == OCTETS else data[start:at].decode()
        except (IndexError, KeyError, UnicodeDecodeError):
            return None
        return SimpleNamespace(**found)

    def write(self, **values: Any) -> bytes:
        """The message with these fields; messages within are given as their octets.

        Raises E2EncodeError for a number that its field does not hold.
        """
        if not values.keys() <= self._defaults.keys():
            raise TypeError(f"no fields: {sorted(values.keys() - self._defaults.keys())}")
        parts: list[bytes] = []
        for name, tag, write in self._writers:
            if name in values and (octets := write(name, values[name])):
                parts += tag, octets
        return b"".join(parts)


@lru_cache(maxsize=4096)
def varint(number: int) -> bytes:
    """An unsigned number, seven bits an octet, the low ones first."""
    octets = bytearray()
    while number > 0x7F:
        octets.append(number & 0x7F | 0x80)
        number >>= 7
    octets.append(number)
    return bytes(octets)


def _long_varint(data: bytes, at: int) -> tuple[int, int]:
    """(number, octet after it). Of more octets than protobuf reads it becomes a number that no field holds."""
    number = shift = 0
    while True:
        octet = data[at]
        at += 1
        number |= (octet & 0x7F) << shift
        shift += 7
        if octet < 0x80:
            return (number if shift <= 70 else 1 << 70), at


class _Kind:
    """A type of fields. What it writes does not have the tag; nothing = the default, which has no place on the wire."""

    def __init__(self, wire_type: int, write: Callable[[str, Any], bytes], bits: int | None = None) -> None:
        """bits: as in FlatMessage; None = only written here."""
        self.wire_type, self.write, self.bits = wire_type, write, bits


def _number_writer(bits: int) -> Callable[[str, Any], bytes]:
    def write(name: str, value: Any) -> bytes:
        try:
            number = index(value)
        except TypeError as error:
            raise E2EncodeError(f"{name}: {error}") from None
        if not 0 <= number < 1 << bits:
            raise E2EncodeError(f"{name} is {number}, expected 0 to {(1 << bits) - 1}")
        return varint(number) if number else b""

    return write


def _write_double(name: str, value: Any) -> bytes:
    return struct.pack("<d", value) if value else b""


def _write_octets(name: str, value: bytes) -> bytes:
    return varint(len(value)) + value if value else b""


def _write_text(name: str, value: str) -> bytes:
    return _write_octets(name, value.encode())


def _write_message(name: str, value: bytes) -> bytes:
    """One that is there has a place, even without fields."""
    return varint(len(value)) + value


def _write_flag(name: str, value: bool) -> bytes:
    return b"\x01" if value else b""


# By the numbers of google.protobuf.descriptor.FieldDescriptor.TYPE_*.
_KINDS = {
    1: _Kind(FIXED64, _write_double),
    4: _Kind(VARINT, _number_writer(64), 64),
    8: _Kind(VARINT, _write_flag),
    9: _Kind(LENGTH_DELIMITED, _write_text, TEXT),
    11: _Kind(LENGTH_DELIMITED, _write_message),
    12: _Kind(LENGTH_DELIMITED, _write_octets, OCTETS),
    13: _Kind(VARINT, _number_writer(32), 32),
}

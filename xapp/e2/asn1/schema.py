"""Types to compose a message from: each knows how to read itself from bits and to write itself to them.

A value is what JSON can say, under the ASN.1 names of the specification: a SEQUENCE is a dict of its present fields, a
CHOICE a dict of one key, an OCTET STRING hexadecimal text, a BIT STRING text of 0s and 1s, an ENUMERATED its name, NULL
null, a REAL a float ("nan", "inf", "-inf" where JSON has no number). So a decoded value can be printed, edited and
written again, bit for bit. Extension additions that a later version brought are skipped, and lost on writing again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NoReturn, Protocol

from xapp.e2.asn1.aper import BitString
from xapp.e2.asn1.aper_reader import BitReader
from xapp.e2.asn1.aper_writer import BitWriter
from xapp.e2.asn1.errors import E2EncodeError

Value = Any
"""A JSON-like value; which shape is the type's business."""


class Type(Protocol):
    """`what` names the field in errors: its own name when read, its whole path when written."""

    def read(self, reader: BitReader, what: str) -> Value: ...

    def write(self, writer: BitWriter, value: Value, what: str) -> None: ...


def decode(kind: Type, data: bytes, path: str) -> Value:
    """The one value that `data` is the whole encoding of. Raises E2DecodeError."""
    reader = BitReader(data, path)
    value = kind.read(reader, "")
    reader.finish()
    return value


def encode(kind: Type, value: Value, path: str) -> bytes:
    """Encode a message. Raises E2EncodeError, naming the field."""
    writer = BitWriter()
    kind.write(writer, value, path)
    return writer.to_bytes()


def _expected(expectation: str, value: Value, what: str) -> NoReturn:
    shown = repr(value)
    raise E2EncodeError(f"{what}: {expectation} expected, not {shown if len(shown) <= 60 else shown[:57] + '...'}")


class Integer:
    """INTEGER (lo..hi[, ...]), or without bounds."""

    __slots__ = ("extensible", "hi", "lo")

    def __init__(self, lo: int | None = None, hi: int | None = None, *, extensible: bool = False) -> None:
        self.lo, self.hi, self.extensible = lo, hi, extensible

    def read(self, reader: BitReader, what: str) -> int:
        if self.lo is None or self.hi is None:
            return reader.integer(what)
        return reader.constrained(self.lo, self.hi, extensible=self.extensible, what=what)

    def write(self, writer: BitWriter, value: Value, what: str) -> None:
        if self.lo is None or self.hi is None:
            writer.integer(value, what)
        else:
            writer.constrained(value, self.lo, self.hi, extensible=self.extensible, what=what)


class Real:
    """REAL."""

    __slots__ = ()

    def read(self, reader: BitReader, what: str) -> float | str:
        value = reader.real(what)
        return value if math.isfinite(value) else str(value)

    def write(self, writer: BitWriter, value: Value, what: str) -> None:
        if value in ("nan", "inf", "-inf"):
            value = float(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            _expected("a number", value, what)
        try:
            writer.real(float(value))
        except OverflowError:
            _expected("a number in the range of a double", value, what)


class Boolean:
    """BOOLEAN."""

    __slots__ = ()

    def read(self, reader: BitReader, what: str) -> bool:
        return reader.flag(what)

    def write(self, writer: BitWriter, value: Value, what: str) -> None:
        if not isinstance(value, bool):
            _expected("true or false", value, what)
        writer.flag(value)


class Null:
    """NULL: no bits."""

    __slots__ = ()

    def read(self, reader: BitReader, what: str) -> None:
        return None

    def write(self, writer: BitWriter, value: Value, what: str) -> None:
        if value is not None:
            _expected("null", value, what)


class Printable:
    """PrintableString (SIZE (lo..hi[, ...]))."""

    __slots__ = ("extensible", "hi", "lo")

    def __init__(self, lo: int = 0, hi: int | None = None, *, extensible: bool = False) -> None:
        self.lo, self.hi, self.extensible = lo, hi, extensible

    def read(self, reader: BitReader, what: str) -> str:
        return reader.printable_string(self.lo, self.hi, extensible=self.extensible, what=what)

    def write(self, writer: BitWriter, value: Value, what: str) -> None:
        writer.printable_string(value, self.lo, self.hi, extensible=self.extensible, what=what)


class Octets:
    """OCTET STRING (SIZE (lo..hi)), as hexadecimal text."""

    __slots__ = ("hi", "lo")

    def __init__(self, lo: int = 0, hi: int | None = None) -> None:
        self.lo, self.hi = lo, hi

    def read(self, reader: BitReader, what: str) -> str:
        return reader.octet_string(self.lo, self.hi, what=what).hex()

    def write(self, writer: BitWriter, value: Value, what: str) -> None:
        try:
            data = bytes.fromhex(value)
        except (TypeError, ValueError):
            _expected("octets as hexadecimal text", value, what)
        writer.octet_string(data, self.lo, self.hi, what=what)


def bits_to_text(bits: BitString) -> str:
    """One character a bit. Raises E2EncodeError for a number of more bits."""
    if not 0 <= bits.value < 1 << bits.size:
        raise E2EncodeError(f"{bits.value} in {bits.size} bits, expected 0 to {(1 << bits.size) - 1}")
    return format(bits.value, f"0{bits.size}b") if bits.size else ""


def bits_from_text(text: str) -> BitString:
    """Read a bit string from text of 0s and 1s."""
    return BitString(int(text or "0", 2), len(text))


class Bits:
    """BIT STRING (SIZE (lo..hi)), as text of 0s and 1s."""

    __slots__ = ("hi", "lo")

    def __init__(self, lo: int = 0, hi: int | None = None) -> None:
        self.lo, self.hi = lo, hi

    def read(self, reader: BitReader, what: str) -> str:
        return bits_to_text(reader.bit_string(self.lo, self.hi, what=what))

    def write(self, writer: BitWriter, value: Value, what: str) -> None:
        if not isinstance(value, str) or value.strip("01"):
            _expected("text of 0s and 1s", value, what)
        writer.bit_string(bits_from_text(value), self.lo, self.hi, what=what)


class Enumerated:
    """ENUMERATED {names..., ...}: always extensible here; a value beyond the names is an error."""

    __slots__ = ("names",)

    def __init__(self, *names: str) -> None:
        self.names = names

    def read(self, reader: BitReader, what: str) -> str:
        index = reader.enumerated(len(self.names), what=what)
        if index >= len(self.names):
            reader.fail(f"unknown value {index} of an enumeration", what)
        return self.names[index]

    def write(self, writer: BitWriter, value: Value, what: str) -> None:
        if value not in self.names:
            _expected(f"one of {', '.join(self.names)}", value, what)
        writer.enumerated(self.names.index(value), len(self.names))


class Unsupported:
    """An alternative that the specification has and this project does not speak."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def read(self, reader: BitReader, what: str) -> NoReturn:
        reader.fail(f"{self.name} is not supported")

    def write(self, writer: BitWriter, value: Value, what: str) -> NoReturn:
        raise E2EncodeError(f"{what}: {self.name} is not supported")


class Choice:
    """CHOICE {roots, ..., extensions}: always extensible; `extensions` go in open types."""

    __slots__ = ("alternatives", "roots")

    def __init__(self, roots: Mapping[str, Type], extensions: Mapping[str, Type] | None = None) -> None:
        self.alternatives = (*roots.items(), *(extensions or {}).items())
        self.roots = len(roots)

    def read(self, reader: BitReader, what: str) -> dict[str, Value]:
        index = reader.enumerated(self.roots, what=what)
        if index >= len(self.alternatives):
            reader.fail(f"unknown extension {index - self.roots} of a choice", what)
        name, kind = self.alternatives[index]
        if index < self.roots:
            return {name: kind.read(reader, name)}
        inner = reader.open_type(name)
        value = kind.read(inner, name)
        inner.finish()
        return {name: value}

    def write(self, writer: BitWriter, value: Value, what: str) -> None:
        names = [name for name, _ in self.alternatives]
        if not isinstance(value, Mapping) or len(value) != 1 or next(iter(value)) not in names:
            _expected(f"an object with one key of {', '.join(names)}", value, what)
        index = names.index(next(iter(value)))
        name, kind = self.alternatives[index]
        writer.enumerated(index, self.roots)
        if index < self.roots:
            kind.write(writer, value[name], f"{what}.{name}")
        else:
            writer.open_type(encode(kind, value[name], f"{what}.{name}"))


class Optional:
    """Marks a field of a SEQUENCE as OPTIONAL."""

    __slots__ = ("kind",)

    def __init__(self, kind: Type) -> None:
        self.kind = kind


class Sequence:
    """SEQUENCE {fields, ..., additions}: always extensible; every addition is optional and goes in an open type."""

    __slots__ = ("additions", "fields", "names", "optionals")

    def __init__(self, fields: Mapping[str, Type | Optional], additions: Mapping[str, Type] | None = None) -> None:
        self.optionals = sum(isinstance(kind, Optional) for kind in fields.values())
        self.fields = tuple(
            (name, kind.kind if isinstance(kind, Optional) else kind, isinstance(kind, Optional))
            for name, kind in fields.items()
        )
        self.additions = tuple((additions or {}).items())
        self.names = {*fields, *(additions or {})}

    def read(self, reader: BitReader, what: str) -> dict[str, Value]:
        extended = reader.flag(what)
        present = reader.bits(self.optionals, what)
        bit = 1 << self.optionals
        value: dict[str, Value] = {}
        for name, kind, optional in self.fields:
            if optional:
                bit >>= 1
                if not present & bit:
                    continue
            value[name] = kind.read(reader, name)
        if extended:
            self._read_additions(reader, value, what)
        return value

    def _read_additions(self, reader: BitReader, value: dict[str, Value], what: str) -> None:
        for index, here in enumerate(reader.additions(what)):
            if not here:
                continue
            inner = reader.open_type(what)
            if index < len(self.additions):
                name, kind = self.additions[index]
                value[name] = kind.read(inner, name)
                inner.finish()

    def write(self, writer: BitWriter, value: Value, what: str) -> None:
        if not isinstance(value, Mapping):
            _expected("an object", value, what)
        unknown = [key for key in value if key not in self.names]
        if unknown:
            raise E2EncodeError(f"{what}: unknown key {unknown[0]!r}, the keys are {', '.join(sorted(self.names))}")
        added = [name in value for name, _ in self.additions]
        writer.flag(any(added))
        for name, _, optional in self.fields:
            if optional:
                writer.flag(name in value)
            elif name not in value:
                raise E2EncodeError(f"{what}: the key {name!r} is missing")
        for name, kind, _ in self.fields:
            if name in value:
                kind.write(writer, value[name], f"{what}.{name}")
        if any(added):
            writer.additions(added)
            for name, kind in self.additions:
                if name in value:
                    writer.open_type(encode(kind, value[name], f"{what}.{name}"))


class ListOf:
    """SEQUENCE (SIZE (lo..hi)) OF item. `item_bits`: what an item takes at least, bounding how many there can be."""

    __slots__ = ("hi", "item", "item_bits", "lo")

    def __init__(self, item: Type, lo: int, hi: int, *, item_bits: int = 1) -> None:
        self.item, self.lo, self.hi, self.item_bits = item, lo, hi, item_bits

    def read(self, reader: BitReader, what: str) -> list[Value]:
        count = reader.count(self.lo, self.hi, item_bits=self.item_bits, what=what)
        item = self.item
        return [item.read(reader, what) for _ in range(count)]

    def write(self, writer: BitWriter, value: Value, what: str) -> None:
        if not isinstance(value, list | tuple):
            _expected("a list", value, what)
        writer.size(len(value), self.lo, self.hi, what=what)
        for index, item in enumerate(value):
            self.item.write(writer, item, f"{what}[{index}]")

"""Messages of composed types for people: bytes to a JSON value and back, bit for bit (schema.py says how they look)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from xapp.e2.asn1 import schema
from xapp.e2.dialect import Dialect


@dataclass(frozen=True, slots=True)
class Codec:
    """One kind of message."""

    name: str
    kinds: Mapping[Dialect, schema.Type]

    def decode(self, data: bytes, dialect: Dialect = Dialect.STANDARD) -> dict[str, Any]:
        """Raises E2DecodeError."""
        value: dict[str, Any] = schema.decode(self.kinds[dialect], data, self.name)
        return value

    def encode(self, value: dict[str, Any], dialect: Dialect = Dialect.STANDARD) -> bytes:
        """Raises E2EncodeError, naming the key that is unknown, missing or wrong."""
        return schema.encode(self.kinds[dialect], value, self.name)


def codecs(kinds: Mapping[str, schema.Type | Mapping[Dialect, schema.Type]]) -> dict[str, Codec]:
    """Return all codecs by name; a type that is not given by dialect is the same in all."""
    return {
        name: Codec(name, kind if isinstance(kind, Mapping) else dict.fromkeys(Dialect, kind))
        for name, kind in kinds.items()
    }

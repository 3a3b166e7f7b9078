"""E2SM-KPM messages for people: bytes to a JSON value and back, bit for bit (schema.py says how values look)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from xapp.e2 import kpm_schema, schema


class Codec(NamedTuple):
    decode: Callable[[bytes], dict[str, Any]]
    """Raises E2DecodeError."""
    encode: Callable[[dict[str, Any]], bytes]
    """Raises E2EncodeError, naming the key that is unknown, missing or wrong."""


def _codec(name: str, kind: schema.Type) -> Codec:
    return Codec(partial(schema.decode, kind, path=name), partial(schema.encode, kind, path=name))


KPM_TYPES = {
    name: _codec(name, kind)
    for name, kind in {
        "kpm-event-trigger": kpm_schema.EVENT_TRIGGER,
        "kpm-action-definition": kpm_schema.ACTION_DEFINITION,
        "kpm-indication-header": kpm_schema.INDICATION_HEADER,
        "kpm-indication-message": kpm_schema.INDICATION_MESSAGE,
        "kpm-ran-function": kpm_schema.RAN_FUNCTION,
    }.items()
}

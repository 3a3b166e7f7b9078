"""Which of a node's RAN functions is which service model: by OID, or by its own short name where the OID is none. Pure.

E2SM says that a function has the OID of its service model. Some nodes write anything there (OSC's kpm_sim: `OID123`);
in their function's definition stands the name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Protocol

from xapp.e2.asn1.errors import E2DecodeError
from xapp.ric.nodes import E2Node, RanFunction, oid_matches

_OID = re.compile(r"\.?[0-9]+(\.[0-9]+)*\.?")


class Described(Protocol):
    """A RAN function definition, of whichever service model."""

    @property
    def short_name(self) -> str: ...


def find_function(
    node: E2Node, oids: Sequence[str], short_name: str, decode: Callable[[bytes], Described]
) -> RanFunction | None:
    """The node's function with one of these OIDs, the first named first; else one without any OID that calls itself
    `short_name`. decode raises ValueError for a definition that is none of this service model.
    """
    by_oid = next((f for oid in oids for f in node.functions if oid_matches(f.oid, oid)), None)
    if by_oid is not None:
        return by_oid
    nameless = [f for f in node.functions if _OID.fullmatch(f.oid.strip()) is None]
    return next((f for f in nameless if _short_name(f, decode) == short_name.casefold()), None)


def _short_name(function: RanFunction, decode: Callable[[bytes], Described]) -> str:
    try:
        return decode(function.definition).short_name.strip().casefold()
    except E2DecodeError:
        return ""

"""Two ways to write E2SM-KPM and E2SM-RC: by the standard, and as FlexRIC up to v2.0.0 did.

What the standard added after an extension marker has moved into the root of its CHOICE or SEQUENCE there: index,
presence bits and open type differ. Newer FlexRIC and OpenAirInterface write the standard's form. Reports per UE can be
read in one form only, so that the first one tells; a control header can be valid in both and mean different things, so
that none is written before.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from xapp.e2.asn1.schema import Choice, Optional, Sequence, Type, Unsupported


class Dialect(StrEnum):
    """How a node writes formats that the standard added later."""

    STANDARD = "standard"
    FLEXRIC = "flexric"
    """Moved."""


def choice(
    dialect: Dialect,
    roots: Mapping[str, Type],
    flexric_roots: Mapping[str, Type],
    later: Mapping[str, Type] | None = None,
) -> Choice:
    """A CHOICE: `flexric_roots` are extensions in the standard and roots in FlexRIC; `later` are extensions in both."""
    if dialect is Dialect.FLEXRIC:
        return Choice({**roots, **flexric_roots}, later)
    return Choice(roots, {**flexric_roots, **(later or {})})


def sequence(dialect: Dialect, fields: Mapping[str, Type | Optional], flexric_roots: Mapping[str, Type]) -> Sequence:
    """A SEQUENCE: `flexric_roots` are additions in the standard and optional fields in FlexRIC."""
    if dialect is Dialect.FLEXRIC:
        return Sequence({**fields, **{name: Optional(kind) for name, kind in flexric_roots.items()}})
    return Sequence(fields, {name: kind for name, kind in flexric_roots.items() if not isinstance(kind, Unsupported)})

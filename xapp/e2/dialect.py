"""Two ways to write E2SM-KPM and E2SM-RC: by the standard, and as FlexRIC and OpenAirInterface do.

Formats that the standard added after an extension marker have moved into the root of their CHOICE there, so that index
and open type differ. One octet string may be valid in both and mean different things: which one a node speaks is a
setting of the node, never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from xapp.e2.schema import Choice, Type


class Dialect(StrEnum):
    """How a node writes formats that the standard added later."""

    STANDARD = "standard"
    FLEXRIC = "flexric"


def formats(
    dialect: Dialect, roots: Mapping[str, Type], moved: Mapping[str, Type], later: Mapping[str, Type] | None = None
) -> Choice:
    """A CHOICE of formats: `moved` are extensions in the standard and roots in FlexRIC; `later` extensions in both."""
    if dialect is Dialect.FLEXRIC:
        return Choice({**roots, **moved}, later)
    return Choice(roots, {**moved, **(later or {})})

"""How numbers are listed in what people read."""

from __future__ import annotations

from collections.abc import Sequence

MAX_NAMED = 12
"""Of a list, so many are named and the rest counted."""


def listed(what: str, numbers: Sequence[int]) -> str:
    """`UEs 1, 2 and 3 more`; `no UE` where there is none."""
    if not numbers:
        return f"no {what}"
    named = ", ".join(map(str, numbers[:MAX_NAMED]))
    more = f" and {len(numbers) - MAX_NAMED} more" if len(numbers) > MAX_NAMED else ""
    return f"{what}{'s' if len(numbers) > 1 else ''} {named}{more}"

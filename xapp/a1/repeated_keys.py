"""Keys that stand twice in one object.

JSON leaves open which of the values counts: whoever wrote them may mean another one than is taken.
"""

from __future__ import annotations

import json
from typing import Any

MAX_NAMED = 12
SHOWN_CHARACTERS = 40


def repeated_keys(text: str | bytes) -> tuple[str, ...]:
    """A line for each such key; none also where the text is no JSON, as its reader says."""
    found: dict[str, None] = {}

    def look(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen and len(found) < MAX_NAMED:
                found[key] = None
            seen.add(key)

    try:  # what numbers there are does not matter, nor how long they are
        json.loads(text, object_pairs_hook=look, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return ()
    return tuple(f"the key {_shown(key)} is there twice in one object, expected once" for key in found)


def _shown(key: str) -> str:
    text = key if key.isprintable() else repr(key)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 3] + "..."

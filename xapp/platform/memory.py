"""Memory that was freed and that the C library keeps for itself."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache


def give_memory_back() -> None:
    """To the system; takes a millisecond for some ten megabytes. Nothing where the C library has no such call."""
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    """glibc's; musl has none, and gives memory back by itself."""
    found: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return found

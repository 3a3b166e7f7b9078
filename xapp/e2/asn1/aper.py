"""ALIGNED PER (X.691): what the reader and the writer of the bits under every E2 message agree upon.

Both take `what`, the name of the field, for the message only.

Two readings of one integer field: `constrained(lo, hi)` is the form inside its declared range, `extensible=True` adds
the leading bit by which a later version of the protocol may leave that range.
"""

from __future__ import annotations

from typing import NamedTuple

FRAGMENT = 16384
"""Lengths from here on come in fragments of 1-4 times this many units (X.691 11.9.3.8)."""
MAX_INTEGER_OCTETS = 8
"""No field of E2AP, E2SM-KPM or E2SM-RC needs more; longer ones are refused rather than turned into huge integers."""


class BitString(NamedTuple):
    """`size` bits, the first one the most significant of `value`."""

    value: int
    size: int


def octets_for(value: int) -> int:
    """Octets that a number from 0 on takes: at least one."""
    return max(1, (value.bit_length() + 7) // 8)

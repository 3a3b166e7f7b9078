"""REAL (X.690 8.5): a double as the contents octets that APER carries behind a length, and back."""

from __future__ import annotations

import math

MAX_REAL_OCTETS = 16
"""Header, exponent and a mantissa of at most 8 octets, with room for their length octets."""


def real_from_octets(octets: bytes) -> float:
    """The contents octets of a REAL; ValueError says what is wrong with them."""
    if not octets:
        return 0.0
    first = octets[0]
    if first < 0x80:
        special = {0x40: math.inf, 0x41: -math.inf, 0x42: math.nan, 0x43: -0.0}.get(first)
        if special is None or len(octets) != 1:
            raise ValueError(f"REAL {octets.hex()} is in decimal or unknown form, only binary is read")
        return special
    exponent_octets, at = (first & 3) + 1, 1
    if exponent_octets == 4:
        exponent_octets, at = (octets[1] if len(octets) > 1 else 0), 2
    mantissa = octets[at + exponent_octets :]
    if not 1 <= exponent_octets <= 4 or not 1 <= len(mantissa) <= 8 or first & 0x30 == 0x30:
        raise ValueError(f"REAL {octets.hex()} is malformed")
    exponent = int.from_bytes(octets[at : at + exponent_octets], "big", signed=True)
    bits_per_exponent = {0x00: 1, 0x10: 3, 0x20: 4}[first & 0x30]  # base 2, 8, 16
    number = int.from_bytes(mantissa, "big") << (first >> 2 & 3)
    try:
        value = math.ldexp(float(number), exponent * bits_per_exponent)
    except OverflowError:
        raise ValueError(f"REAL {octets.hex()} is too large for a double") from None
    return -value if first & 0x40 else value


def real_to_octets(value: float) -> bytes:
    """Contents octets: 0x80 | sign << 6, one exponent octet (two where needed), odd mantissa in minimal octets."""
    if value == 0.0:
        return b"\x43" if math.copysign(1.0, value) < 0 else b""
    if not math.isfinite(value):
        return b"\x42" if math.isnan(value) else (b"\x40" if value > 0 else b"\x41")
    mantissa, denominator = abs(value).as_integer_ratio()
    zeros = (mantissa & -mantissa).bit_length() - 1
    exponent = zeros - (denominator.bit_length() - 1)
    mantissa >>= zeros
    first = 0x80 | (0x40 if value < 0 else 0)
    wide = not -128 <= exponent <= 127
    return (
        bytes([first | wide])
        + exponent.to_bytes(2 if wide else 1, "big", signed=True)
        + mantissa.to_bytes((mantissa.bit_length() + 7) // 8, "big")
    )

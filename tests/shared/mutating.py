"""Damage to messages that were whole, for property tests."""

from __future__ import annotations

from hypothesis import strategies as st


@st.composite
def mutations(draw: st.DrawFn, data: bytes) -> bytes:
    """Bits flipped, octets cut out, put in or repeated, the end cut off."""
    mutated = bytearray(data)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(0, len(mutated) - 1)))
        match draw(st.sampled_from(["flip", "set", "insert", "delete", "repeat", "truncate"])):
            case "flip" if mutated:
                mutated[at] ^= 1 << draw(st.integers(0, 7))
            case "set" if mutated:
                mutated[at] = draw(st.sampled_from([0x00, 0x01, 0x20, 0x40, 0x7F, 0x80, 0xC1, 0xFF]))
            case "insert":
                mutated[at:at] = draw(st.binary(min_size=1, max_size=4))
            case "delete":
                del mutated[at : at + draw(st.integers(1, 4))]
            case "repeat":
                mutated[at:at] = mutated[at : at + draw(st.integers(1, 40))]
            case "truncate":
                del mutated[at:]
    return bytes(mutated)

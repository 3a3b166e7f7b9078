"""The one error of every E2 decoder."""

from __future__ import annotations


class E2DecodeError(ValueError):
    """Bytes that are not what they should be: says where (`path`, `offset_bits`) and why."""

    def __init__(self, reason: str, *, path: str = "", offset_bits: int | None = None) -> None:
        self.reason = reason
        self.path = path
        self.offset_bits = offset_bits
        where = f"{path}: " if path else ""
        at = f" (at byte {offset_bits // 8}, bit {offset_bits % 8})" if offset_bits is not None else ""
        super().__init__(f"{where}{reason}{at}")


class E2EncodeError(ValueError):
    """A value that cannot be encoded: names the field, its value and what was expected."""

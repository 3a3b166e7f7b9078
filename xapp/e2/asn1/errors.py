"""The one error of every E2 decoder, and the one of every encoder."""

from __future__ import annotations

from policy.errors import DecodeError, EncodeError


class E2DecodeError(DecodeError):
    """Bytes that are not what they should be: says where (`path`, `offset_bits`) and why."""

    def __init__(self, reason: str, *, path: str = "", offset_bits: int | None = None) -> None:
        self.reason = reason
        self.path = path
        self.offset_bits = offset_bits
        where = f"{path}: " if path else ""
        at = f" (at byte {offset_bits // 8}, bit {offset_bits % 8})" if offset_bits is not None else ""
        super().__init__(f"{where}{reason}{at}")


class E2EncodeError(EncodeError):
    """A value that cannot be encoded: names the field, its value and what was expected."""

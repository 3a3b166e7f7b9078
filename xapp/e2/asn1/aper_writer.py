"""ALIGNED PER, written. A writer refuses what does not fit with E2EncodeError."""

from __future__ import annotations

from xapp.e2.asn1.aper import FRAGMENT, MAX_INTEGER_OCTETS, BitString, octets_for
from xapp.e2.asn1.errors import E2EncodeError
from xapp.e2.asn1.real import real_to_octets


class BitWriter:
    """Bits in, octets out (`to_bytes`)."""

    __slots__ = ("_bits", "_done", "_pending")

    def __init__(self) -> None:
        self._done = bytearray()
        self._pending = 0  # the bits of the octet under way
        self._bits = 0  # how many of them, 0-7

    def to_bytes(self) -> bytes:
        """The complete encoding, padded to an octet; of no bits at all: one zero octet (X.691 11.1.3)."""
        if self._bits:
            return bytes(self._done) + bytes([self._pending << (8 - self._bits)])
        return bytes(self._done) or b"\x00"

    @property
    def is_aligned(self) -> bool:
        """Whether what is written so far ends on an octet."""
        return not self._bits

    def bits(self, value: int, n: int, what: str = "") -> None:
        """The n low bits of `value`, which must fit."""
        if value < 0 or value >> n:
            raise E2EncodeError(f"{what or 'value'}: {value} does not fit {n} bits")
        pending = self._pending << n | value
        whole, self._bits = divmod(self._bits + n, 8)
        if whole:
            self._done += (pending >> self._bits).to_bytes(whole, "big")
        self._pending = pending & ((1 << self._bits) - 1)

    def flag(self, value: bool) -> None:
        self.bits(1 if value else 0, 1)

    def align(self) -> None:
        if self._bits:
            self.bits(0, 8 - self._bits)

    def octets(self, data: bytes | bytearray) -> None:
        """Octets after alignment (none at all for empty data)."""
        if data:
            self.align()
            self._done += data

    # -- numbers ------------------------------------------------------------------------------------------------------

    def constrained(self, value: int, lo: int, hi: int, *, extensible: bool = False, what: str = "") -> None:
        """INTEGER (lo..hi[, ...]); a value outside is an error, or the extended form where that exists."""
        if isinstance(value, bool) or not isinstance(value, int):
            raise E2EncodeError(f"{what or 'value'}: an integer expected, not {value!r}")
        inside = lo <= value <= hi
        if extensible:
            self.flag(not inside)
            if not inside:
                self.integer(value, what)
                return
        elif not inside:
            raise E2EncodeError(f"{what or 'value'}: {value} is outside {lo}..{hi}")
        span, value = hi - lo, value - lo
        if span < 255:
            self.bits(value, span.bit_length())
        elif span < 65536:
            self.octets(value.to_bytes(1 if span == 255 else 2, "big"))
        else:
            n = octets_for(value)
            self.bits(n - 1, (octets_for(span) - 1).bit_length())
            self.octets(value.to_bytes(n, "big"))

    def integer(self, value: int, what: str = "") -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            raise E2EncodeError(f"{what or 'value'}: an integer expected, not {value!r}")
        n = ((value if value >= 0 else ~value).bit_length() + 8) // 8
        if n > MAX_INTEGER_OCTETS:
            raise E2EncodeError(f"{what or 'value'}: {value} takes more than {MAX_INTEGER_OCTETS} octets")
        self.length(n)
        self.octets(value.to_bytes(n, "big", signed=True))

    def small(self, value: int) -> None:
        if value < 64:
            self.bits(value, 7)
            return
        self.flag(True)
        n = octets_for(value)
        self.length(n)
        self.octets(value.to_bytes(n, "big"))

    def enumerated(self, index: int, roots: int, *, extensible: bool = True, what: str = "") -> None:
        """ENUMERATED or CHOICE index; from `roots` on an extension (for a CHOICE, write `open_type` next)."""
        if extensible:
            self.flag(index >= roots)
            if index >= roots:
                self.small(index - roots)
                return
        self.constrained(index, 0, roots - 1, what=what)

    def real(self, value: float) -> None:
        octets = real_to_octets(value)
        self.length(len(octets))
        self.octets(octets)

    # -- lengths and what they count ----------------------------------------------------------------------------------

    def length(self, n: int, what: str = "") -> None:
        """Length determinant of something that cannot be fragmented."""
        if n < 0x80:
            self.octets(bytes([n]))
        elif n < FRAGMENT:
            self.octets((n | 0x8000).to_bytes(2, "big"))
        else:
            raise E2EncodeError(f"{what or 'length'}: {n} units, fewer than {FRAGMENT} expected")

    def size(self, n: int, lo: int, hi: int | None, *, extensible: bool = False, what: str = "") -> None:
        """SIZE (lo..hi[, ...]); hi None or >= 65536 means the general length."""
        inside = lo <= n and (hi is None or n <= hi)
        if not inside and not extensible:
            raise E2EncodeError(f"{what or 'size'}: {n} is outside {lo}..{hi if hi is not None else ''}")
        if hi is None or hi >= 65536:
            self.length(n, what)
            return
        if extensible:
            self.flag(not inside)
            if not inside:
                self.length(n, what)
                return
        self.constrained(n, lo, hi, what=what)

    def octet_string(
        self, data: bytes, lo: int = 0, hi: int | None = None, *, extensible: bool = False, what: str = ""
    ) -> None:
        """OCTET STRING (SIZE (lo..hi[, ...])); no bounds: of any length, fragmented from 16384 octets."""
        n = len(data)
        if hi is None or hi >= 65536:
            if n < lo:
                raise E2EncodeError(f"{what or 'octet string'}: {n} octets, at least {lo} expected")
            self._parts(data)
        elif extensible and not lo <= n <= hi:
            self.flag(True)
            self._parts(data)
        else:
            self.size(n, lo, hi, extensible=extensible, what=what)
            if lo == hi and n <= 2:
                self.bits(int.from_bytes(data, "big"), 8 * n)
            else:
                self.octets(data)

    def _parts(self, data: bytes) -> None:
        start = 0
        while len(data) - start >= FRAGMENT:
            blocks = min(4, (len(data) - start) // FRAGMENT)
            self.octets(bytes([0xC0 | blocks]))
            self.octets(data[start : start + blocks * FRAGMENT])
            start += blocks * FRAGMENT
        self.length(len(data) - start)
        self.octets(data[start:])

    def bit_string(
        self, bits: BitString, lo: int = 0, hi: int | None = None, *, extensible: bool = False, what: str = ""
    ) -> None:
        self.size(bits.size, lo, hi, extensible=extensible, what=what)
        if bits.size and not (lo == hi == bits.size and bits.size <= 16):
            self.align()
        self.bits(bits.value, bits.size, what)

    def printable_string(
        self, text: str, lo: int, hi: int | None = None, *, extensible: bool = False, what: str = ""
    ) -> None:
        if not isinstance(text, str) or not all(" " <= character <= "~" for character in text):
            raise E2EncodeError(f"{what or 'string'}: {text!r} is not a printable string")
        n = len(text)
        self.size(n, lo, hi, extensible=extensible, what=what)
        if hi is not None and (hi < 2 or lo == hi == 2) and lo <= n <= hi:
            self.bits(int.from_bytes(text.encode("ascii"), "big"), 8 * n)
        else:
            self.octets(text.encode("ascii"))

    # -- extension ----------------------------------------------------------------------------------------------------

    def open_type(self, encoding: bytes) -> None:
        """A complete encoding (`BitWriter.to_bytes()`) behind its length: of an empty value, `01 00`."""
        self._parts(encoding)

    def additions(self, present: list[bool]) -> None:
        """Presence bits of a SEQUENCE's extension additions (its extension bit was set); open types follow."""
        n = len(present)
        if n <= 64:
            self.bits(n - 1, 7)
        else:
            self.flag(True)
            self.length(n)
        for bit in present:
            self.flag(bit)

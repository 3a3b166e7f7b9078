"""ALIGNED PER, read.

A reader never looks beyond its bytes and never allocates more than they justify; whatever is wrong with them is one
E2DecodeError with the bit offset.
"""

from __future__ import annotations

from typing import NoReturn

from xapp.e2.asn1.aper import FRAGMENT, MAX_INTEGER_OCTETS, BitString, octets_for
from xapp.e2.asn1.errors import E2DecodeError
from xapp.e2.asn1.real import MAX_REAL_OCTETS, real_from_octets


class BitReader:
    """A cursor over `data`. `path` names the message in errors; `position` counts bits from the start of `data`."""

    __slots__ = ("_end", "_start", "data", "path", "position")

    def __init__(self, data: bytes, path: str = "", *, start: int = 0, end: int | None = None) -> None:
        """Read octets start..end-1 of `data` (by default all): a window keeps offsets in errors those of `data`."""
        self.data = data
        self.path = path
        self.position = self._start = start * 8
        self._end = (len(data) if end is None else end) * 8

    @property
    def remaining_bits(self) -> int:
        return self._end - self.position

    def fail(self, reason: str, what: str = "") -> NoReturn:
        """Raise the one decode error, here."""
        raise E2DecodeError(f"{what}: {reason}" if what else reason, path=self.path, offset_bits=self.position)

    def bits(self, n: int, what: str = "") -> int:
        """The next n bits as an unsigned number (n = 0: 0)."""
        position = self.position
        stop = position + n
        if stop > self._end:
            self.fail(f"{n} bits wanted, {self._end - position} left", what)
        self.position = stop
        last = (stop + 7) >> 3
        return (int.from_bytes(self.data[position >> 3 : last], "big") >> (last * 8 - stop)) & ((1 << n) - 1)

    def flag(self, what: str = "") -> bool:
        """One bit: a presence bit, an extension bit, a BOOLEAN."""
        position = self.position
        if position >= self._end:
            self.fail("1 bit wanted, 0 left", what)
        self.position = position + 1
        return bool(self.data[position >> 3] >> (7 - (position & 7)) & 1)

    def align(self) -> None:
        """Skip padding up to the next octet; what it holds does not matter. Windows end on octets: never beyond."""
        self.position = (self.position + 7) & ~7

    def octets(self, n: int, what: str = "") -> bytes:
        """The next n octets, after alignment (none for n = 0: an empty field has no place to align)."""
        if n == 0:
            return b""
        start = (self.position + 7) >> 3
        stop = start + n
        if stop * 8 > self._end:
            self.fail(f"{n} octets wanted, {self._end // 8 - start} left", what)
        self.position = stop * 8
        return self.data[start:stop]

    def finish(self) -> None:
        """The message must end here: at most the padding of its last octet may be left.

        An empty value is one octet of nothing but padding (X.691 11.1.3).
        """
        if self.position == self._start:
            self.position = min(self.position + 8, self._end)
        self.align()
        if self.position < self._end:
            self.fail(f"{self.remaining_bits // 8} octets left over after the end of the message")

    # -- numbers ------------------------------------------------------------------------------------------------------

    def constrained(self, lo: int, hi: int, *, extensible: bool = False, what: str = "") -> int:
        """INTEGER (lo..hi[, ...]).

        0..2^32-1 is 2 bits (octets - 1), alignment, octets; 0..2^40-1 the same with 3 bits; up to 256 values are a bit
        field (exactly 256: an aligned octet), up to 65536 two aligned octets.
        """
        if extensible and self.flag(what):
            return self.integer(what)
        span = hi - lo
        if span < 255:
            value = self.bits(span.bit_length(), what)
        elif span < 65536:
            value = int.from_bytes(self.octets(1 if span == 255 else 2, what), "big")
        else:
            n = self.bits((octets_for(span) - 1).bit_length(), what) + 1
            if n > octets_for(span):
                self.fail(f"an integer of {n} octets, at most {octets_for(span)} expected", what)
            value = int.from_bytes(self.octets(n, what), "big")
        if value > span:
            self.fail(f"{value + lo} is outside {lo}..{hi}", what)
        return value + lo

    def integer(self, what: str = "") -> int:
        """INTEGER without constraint: a length and two's complement."""
        n = self.length(what)
        if not 1 <= n <= MAX_INTEGER_OCTETS:
            self.fail(f"an integer of {n} octets, 1 to {MAX_INTEGER_OCTETS} are read", what)
        return int.from_bytes(self.octets(n, what), "big", signed=True)

    def small(self, what: str = "") -> int:
        """Normally small number: the index of an extension alternative (6 bits below 64, else a length and octets)."""
        if not self.flag(what):
            return self.bits(6, what)
        n = self.length(what)
        if not 1 <= n <= 4:
            self.fail(f"an extension index of {n} octets", what)
        return int.from_bytes(self.octets(n, what), "big")

    def enumerated(self, roots: int, *, extensible: bool = True, what: str = "") -> int:
        """ENUMERATED or CHOICE index: 0..roots-1, or `roots` + k for extension k (of a CHOICE: an open type)."""
        if extensible and self.flag(what):
            return roots + self.small(what)
        return self.constrained(0, roots - 1, what=what)

    def real(self, what: str = "") -> float:
        """REAL (X.690 8.5): binary forms of base 2, 8 and 16 and the special values; decimal text is refused."""
        n = self.length(what)
        if n > MAX_REAL_OCTETS:
            self.fail(f"a REAL of {n} octets, at most {MAX_REAL_OCTETS} are read", what)
        try:
            return real_from_octets(self.octets(n, what))
        except ValueError as error:
            self.fail(str(error), what)

    # -- lengths and what they count ----------------------------------------------------------------------------------

    def length(self, what: str = "") -> int:
        """Length determinant of something that cannot be fragmented (below 16384)."""
        n, fragment = self._length_part(what)
        if fragment:
            self.fail(f"{FRAGMENT} units or more, which only octets are read with", what)
        return n

    def _length_part(self, what: str) -> tuple[int, bool]:
        """(units, another part follows): < 128 in one octet, < 16384 in two (10...), else fragments of 16 K (11...)."""
        first = self.octets(1, what)[0]
        if first < 0x80:
            return first, False
        if first < 0xC0:
            return (first & 0x3F) << 8 | self.octets(1, what)[0], False
        blocks = first & 0x3F
        if not 1 <= blocks <= 4:
            self.fail(f"a fragment of {blocks} blocks, 1 to 4 are possible", what)
        return blocks * FRAGMENT, True

    def size(self, lo: int, hi: int | None, *, extensible: bool = False, what: str = "") -> int:
        """SIZE (lo..hi[, ...]) below 16384; hi None or >= 65536 means the general length.

        SIZE(1..65535) and (1..32768): two aligned octets of n-1; SIZE(1..2147483647): general length carrying n.
        """
        if hi is None or hi >= 65536 or (extensible and self.flag(what)):
            n = self.length(what)
            if n < lo and not extensible:
                self.fail(f"size {n}, at least {lo} expected", what)
            return n
        return self.constrained(lo, hi, what=what)

    def count(self, lo: int, hi: int, *, item_bits: int = 1, what: str = "") -> int:
        """Size of a list whose items take at least `item_bits` each: a count the bytes left cannot hold is refused."""
        n = self.size(lo, hi, what=what)
        if n * item_bits > self.remaining_bits:
            self.fail(f"{n} items announced, {self.remaining_bits} bits left", what)
        return n

    def octet_string(self, lo: int = 0, hi: int | None = None, *, extensible: bool = False, what: str = "") -> bytes:
        """OCTET STRING (SIZE (lo..hi[, ...])); no arguments: of any length, fragments included."""
        if hi is None or hi >= 65536 or (extensible and self.flag(what)):
            return self._parts(what)
        if lo == hi and lo <= 2:
            return self.bits(8 * lo, what).to_bytes(lo, "big")
        return self.octets(self.constrained(lo, hi, what=what), what)

    def _parts(self, what: str) -> bytes:
        n, more = self._length_part(what)
        if not more:
            return self.octets(n, what)
        parts = [self.octets(n, what)]
        while more:
            n, more = self._length_part(what)
            parts.append(self.octets(n, what))
        return b"".join(parts)

    def bit_string(self, lo: int = 0, hi: int | None = None, *, extensible: bool = False, what: str = "") -> BitString:
        """BIT STRING (SIZE (lo..hi[, ...])); no arguments: of any length below 16384 bits."""
        n = self.size(lo, hi, extensible=extensible, what=what)
        if n and not (lo == hi == n and n <= 16):
            self.align()
        return BitString(self.bits(n, what), n)

    def printable_string(self, lo: int, hi: int | None = None, *, extensible: bool = False, what: str = "") -> str:
        """PrintableString (SIZE (lo..hi[, ...])): 8 bits a character, aligned unless the whole range is under 2 octets.

        Any visible ASCII is let through, not only the PrintableString alphabet: deployed nodes send `_` in names.
        """
        extended = extensible and self.flag(what)
        n = self.size(lo, None if extended else hi, extensible=extended, what=what)
        short = not extended and hi is not None and (hi < 2 or lo == hi == 2)
        octets = self.bits(8 * n, what).to_bytes(n, "big") if short else self.octets(n, what)
        if not all(0x20 <= octet < 0x7F for octet in octets):
            self.fail(f"{octets[:40]!r} is not a printable string", what)
        return octets.decode("ascii")

    # -- extension ----------------------------------------------------------------------------------------------------

    def open_type(self, what: str = "") -> BitReader:
        """A reader of the open type that comes next, skipped here. Offsets stay ours unless it is fragmented."""
        n, more = self._length_part(what)
        if not more:
            self.octets(n, what)
            stop = self.position >> 3
            return BitReader(self.data, self.path, start=stop - n, end=stop)
        parts = [self.octets(n, what)]
        while more:
            n, more = self._length_part(what)
            parts.append(self.octets(n, what))
        return BitReader(b"".join(parts), self.path)

    def additions(self, what: str = "") -> list[bool]:
        """Presence bits of the extension additions of a SEQUENCE whose extension bit was set."""
        if self.flag(what):
            n = self.length(what)
        else:
            n = self.bits(6, what) + 1
        bits = self.bits(n, what)
        return [bool(bits >> (n - 1 - i) & 1) for i in range(n)]

    def skip_additions(self, extended: bool, what: str = "") -> None:
        """Pass over every extension addition of a SEQUENCE: what a later version added, and we do not know."""
        if extended:
            for present in self.additions(what):
                if present:
                    self.open_type(what)

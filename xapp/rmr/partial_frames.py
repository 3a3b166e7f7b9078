"""Bytes of frames that have begun and not ended, over all connections of an endpoint: a bound for them together.

Each connection alone may hold one frame; hundreds that begin one and go no further would hold hundreds of megabytes. A
frame of an honest peer is whole within milliseconds, so beyond the bound that connection gives way whose frame began
first.
"""

from __future__ import annotations

from typing import NamedTuple

from xapp.platform.memory import give_memory_back
from xapp.rmr.link import Link

MUCH_BYTES = 1 << 22
"""After holding so much it is worth a millisecond to give it back ..."""
LITTLE_BYTES = 1 << 16
"""... once so little is left ..."""
GIVE_BACK_S = 10.0
"""... and not more often than this."""


class _Begun(NamedTuple):
    held_bytes: int
    since_s: float


class PartialFrames:
    """Belongs to the I/O thread."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._begun: dict[Link, _Begun] = {}
        self.held_bytes = 0
        """All together."""
        self._most_bytes = 0
        """Since memory was last given back."""
        self._gave_back_s = 0.0

    def note(self, link: Link, now_s: float, *, is_another: bool) -> None:
        """After something came in. is_another: a frame has ended, so what is left belongs to another one."""
        before = self._begun.pop(link, None)
        self.held_bytes -= before.held_bytes if before is not None else 0
        held_bytes = link.reader.held_bytes
        if held_bytes:
            since_s = now_s if before is None or is_another else before.since_s
            self._begun[link] = _Begun(held_bytes, since_s)
            self.held_bytes += held_bytes
            self._most_bytes = max(self._most_bytes, self.held_bytes)

    def forget(self, link: Link) -> None:
        """Its connection has ended."""
        before = self._begun.pop(link, None)
        self.held_bytes -= before.held_bytes if before is not None else 0

    def tidy(self, now_s: float) -> None:
        """Give back what a flood has taken, after it: the C library would keep it."""
        was_much = self._most_bytes >= MUCH_BYTES and self.held_bytes <= LITTLE_BYTES
        if was_much and now_s - self._gave_back_s >= GIVE_BACK_S:
            self._most_bytes, self._gave_back_s = self.held_bytes, now_s
            give_memory_back()

    def too_many(self) -> Link | None:
        """Who gives way, if anybody has to: peers that called before those that we called."""
        if self.held_bytes <= self._max_bytes:
            return None
        return min(self._begun, key=lambda link: (bool(link.endpoint), self._begun[link].since_s))

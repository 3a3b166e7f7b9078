"""When an instance speaks again that a node refused for its epoch, and how far above that epoch it then begins.

A refusal may be right (a younger instance is there), wrong (the clock was set back, the shared data were lost) or
forged. Right ones are seen in shared data; the others must not silence a cell for good, nor let two instances that
cannot see each other take turns at every report. So it comes back, after longer and longer waits and with larger and
larger leaps, as long as it is refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable

LEAP_NS = 60_000_000_000
"""The first leap of an epoch: a minute. A node that knows of a younger epoch is caught up with in a few of them."""
LEAP_FACTOR = 8
MAX_LEAP_NS = 365 * 24 * 3600 * 10**9
"""A clock that starts at zero catches up within the hour; whoever forges refusals needs hours to use epochs up."""
ALONE_S = 5.0
"""The first wait where nobody can be asked: a rolling update is over by then."""
MAX_WAIT_S = 60.0
FORGIVE_S = 300.0
"""After so long without a refusal the next one is a first one."""


class Comeback:
    """Not thread safe: the leader election's task asks it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._refusals = 0
        self._refused_s = 0.0
        self._due_s = 0.0
        self.pending = False
        """Refused, and not yet back."""

    def refused(self, *, was_asked: bool) -> None:
        """A node refused our epoch. was_asked: shared data name nobody younger, so the first time costs no wait."""
        now_s = self._clock()
        if now_s - self._refused_s > FORGIVE_S:
            self._refusals = 0
        self._refusals += 1
        doublings = 2 ** min(self._refusals - 1, 16)
        self._due_s = now_s + min(MAX_WAIT_S, doublings - 1 if was_asked else ALONE_S * doublings)
        self._refused_s, self.pending = now_s, True

    def explained(self) -> None:
        """A younger instance is there: the refusal was right, and what ends it is that instance's end."""
        self._refusals, self.pending = 0, False

    @property
    def is_due(self) -> bool:
        """Nothing speaks against beginning again."""
        return not self.pending or self._clock() >= self._due_s

    def begin(self) -> int:
        """It comes back: by how many ns its next epoch must lie above the refused one; 0 = it was not refused."""
        if not self.pending:
            return 0
        self.pending = False
        return min(MAX_LEAP_NS, LEAP_NS * LEAP_FACTOR ** min(self._refusals - 1, 16))

"""Which reports of a subscription are new, by their sequence numbers. Pure: no clock, so that a replay comes to the
same.

A number that is not ahead of the newest is late, or a duplicate. But one report with a wrong number far ahead, forged
or garbled, would make all that follow it late: so a few late ones in a row that count on as a node counts are believed.
"""

from __future__ import annotations

from xapp.e2.e2ap.hot_messages import SN_RANGE

CONSISTENT = 3
"""Late reports in a row, each the next of the one before, that are the node's own."""
MAX_STEP = 4
"""From one to the next: some may have been lost."""


class ReportSequence:
    """Of one subscription."""

    def __init__(self) -> None:
        self.last: int | None = None
        """The newest number taken."""
        self.resynchronised = 0
        self._late: int | None = None
        """The newest of the late ones in a row ..."""
        self._in_a_row = 0
        """... and how many they are."""

    def restart(self) -> None:
        """A new subscription: numbers begin anew."""
        self.last, self._late, self._in_a_row = None, None, 0

    def is_ahead(self, sn: int | None) -> bool:
        """Whether a number is ahead of the newest; half the range is. A report without a number is."""
        return sn is None or self.last is None or 0 < (sn - self.last) % SN_RANGE < SN_RANGE // 2

    def take(self, sn: int | None) -> bool:
        """Whether this is a new report: it is ahead, or one of a few that count on."""
        if sn is not None and not self.is_ahead(sn):
            if not self._counts_on(sn):
                return False
            self.resynchronised += 1
        self.last, self._late, self._in_a_row = sn, None, 0
        return True

    def _counts_on(self, sn: int) -> bool:
        """A late one: whether it is the last of a few that count on."""
        step = (sn - self._late) % SN_RANGE if self._late is not None else 0
        if self._late is None or step > MAX_STEP:
            self._in_a_row = 1
        elif step:  # else a duplicate of the last: nothing said
            self._in_a_row += 1
        self._late = sn
        return self._in_a_row >= CONSISTENT

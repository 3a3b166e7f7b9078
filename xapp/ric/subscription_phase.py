"""When in a report period the subscriptions of a cell are asked for.

A node that reports every so often counts from the moment at which it took the subscription, as E2SM-KPM's trigger has a
period and no phase. Those of a hundred cells that are asked for in one go would all report in the same milliseconds,
and all of them but one would wait. Asked for one after another they come when there is time for each. A node that
reports at boundaries of its own (DCM's period is the MAC's) does as before.
"""

from __future__ import annotations

from collections.abc import Hashable

GOLDEN = 0.6180339887498949
"""However many cells there are by now, the next one falls into one of the widest gaps."""


class SubscriptionPhases:
    """Gives every cell its part of the period, the first one none. Not thread safe."""

    def __init__(self, period_s: float) -> None:
        """period_s: 0 = everything is asked for at once."""
        self._period_s = period_s
        self._numbers: dict[Hashable, int] = {}
        self._origin_s: float | None = None

    def due_at(self, cell: Hashable, now_s: float) -> float:
        """When to ask: at the cell's phase, within a period from `now_s`."""
        if not self._period_s:
            return now_s
        if self._origin_s is None:
            self._origin_s = now_s
        number = self._numbers.get(cell)
        if number is None:
            used = set(self._numbers.values())
            number = next(each for each in range(len(used) + 1) if each not in used)
            self._numbers[cell] = number
        phase_s = number * GOLDEN % 1.0 * self._period_s
        return now_s + (self._origin_s + phase_s - now_s) % self._period_s

    def forget(self, cell: Hashable) -> None:
        """Another cell may have its part."""
        self._numbers.pop(cell, None)

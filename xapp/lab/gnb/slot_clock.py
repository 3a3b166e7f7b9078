"""When slots are due: simulated slots against the wall clock.

A period of K slots takes `period_s` of wall time. At the RIC's pace (K >= SLOW_LEADER_SLOTS) its slots come due one
after the other. With a smaller K all of them come due at the period's end: the leader beside the node has the period to
answer, and its decision governs these very slots.
"""

from __future__ import annotations

from training.simulator.scenario import SLOW_LEADER_SLOTS

MAX_DEBT_S = 1.0
"""A node further behind than this lets the time go instead of hurrying after it."""


class SlotClock:
    """Wall time in seconds of any steady clock, from outside. Not running until `start`."""

    def __init__(self, slots_per_period: int, period_s: float) -> None:
        self.slots_per_period = slots_per_period
        self.period_s = period_s
        self.slots_late = 0
        """Slots played later than due by more than a period."""
        self.dropped_s = 0.0
        """Wall time given up because the node was too far behind."""
        self._start_s: float | None = None

    @property
    def started(self) -> bool:
        return self._start_s is not None

    def start(self, now_s: float) -> None:
        """Slot 0 begins now."""
        self._start_s = now_s

    def due_at_s(self, slot: int) -> float:
        """When `slot` is to be played; only once started."""
        assert self._start_s is not None
        if self.slots_per_period < SLOW_LEADER_SLOTS:
            periods = float(slot // self.slots_per_period + 1)
        else:
            periods = (slot + 1) / self.slots_per_period
        return self._start_s + periods * self.period_s

    def slots_due(self, next_slot: int, now_s: float, most: int) -> int:
        """How many slots from `next_slot` on are due, at most `most`."""
        if self._start_s is None:
            return 0
        count = 0
        while count < most and self.due_at_s(next_slot + count) <= now_s:
            count += 1
        return count

    def played(self, first_slot: int, count: int, now_s: float) -> None:
        """Count those of `count` slots that were played too late; let debt beyond MAX_DEBT_S go."""
        for slot in range(first_slot, first_slot + count):
            self.slots_late += now_s - self.due_at_s(slot) > self.period_s
        debt_s = now_s - self.due_at_s(first_slot + count)
        if debt_s > MAX_DEBT_S:
            assert self._start_s is not None  # due_at_s would not have answered
            self._start_s += debt_s
            self.dropped_s += debt_s

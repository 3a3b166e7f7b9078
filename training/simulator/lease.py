"""Which control governs which slot: apply-from, period boundaries and leases, for the gNB and for replays alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from policy.allocation import Allocation
from policy.time_scales import LEASE_PERIODS
from training.simulator.scenario import Scenario

FOREVER = 2**62
"""A slot that never comes."""


class Control(NamedTuple):
    """An accepted control and the slots it may govern."""

    allocation: Allocation
    first_slot: int
    """A period boundary."""
    end_slot: int
    """First slot in which its lease is over."""
    decision: tuple[int, int] = (0, 0)
    """Instance epoch and decision id."""


class Term(NamedTuple):
    """Who governs a slot, and for how long nothing changes."""

    control: Control | None
    """None = the node's own scheduler."""
    end_slot: int
    """First slot in which something may change; FOREVER without a coming change."""


class ControlSchedule:
    """The controls of one cell. A control governs from its first slot until its lease ends or a newer one begins."""

    def __init__(self, slots_per_dcm: int) -> None:
        self.slots_per_dcm = slots_per_dcm
        self._controls: list[Control] = []  # ascending first_slot; at most one per boundary

    def boundary(self, next_slot: int, apply_from_slot: int = 0) -> int:
        """The first period boundary at or after `apply_from_slot` that has not begun when `next_slot` is next."""
        return -(-max(next_slot, apply_from_slot) // self.slots_per_dcm) * self.slots_per_dcm

    def offer(
        self,
        allocation: Allocation,
        *,
        next_slot: int,
        apply_from_slot: int = 0,
        valid_for_slots: int = 0,
        decision: tuple[int, int] = (0, 0),
    ) -> Control:
        """Accept a control while `next_slot` is the next slot to be played; 0 = the next boundary, and LEASE_PERIODS.

        It replaces whatever was to begin at its boundary or later.
        """
        first = self.boundary(next_slot, apply_from_slot)
        control = Control(allocation, first, first + (valid_for_slots or LEASE_PERIODS * self.slots_per_dcm), decision)
        self._controls = [c for c in self._controls if c.first_slot < first]
        self._controls.append(control)
        return control

    @property
    def controls(self) -> tuple[Control, ...]:
        """Those that govern or are to."""
        return tuple(self._controls)

    def put_back(self, controls: Sequence[Control]) -> None:
        """Stand as the schedule did that had these."""
        self._controls = list(controls)

    def release(self) -> None:
        """Give the cell back to the node's own scheduler now."""
        self._controls.clear()

    def governing(self, slot: int) -> Term:
        """Who governs `slot`. Slots are asked for in ascending order: what lies behind is forgotten."""
        while len(self._controls) > 1 and self._controls[1].first_slot <= slot:
            self._controls.pop(0)
        if self._controls and self._controls[0].end_slot <= slot:
            # Only the newest control that has begun counts: an older one with a longer lease does not come back.
            self._controls.pop(0)
        if not self._controls:
            return Term(None, FOREVER)
        head = self._controls[0]
        if slot < head.first_slot:
            return Term(None, head.first_slot)
        following = self._controls[1].first_slot if len(self._controls) > 1 else FOREVER
        return Term(head, min(head.end_slot, following))


class BatchSchedule:
    """The controls of many cells of one scenario, each decided once a period on the state at its beginning."""

    def __init__(self, scenario: Scenario, cells: int) -> None:
        self._scenario = scenario
        self._schedules = [ControlSchedule(scenario.slots_per_dcm) for _ in range(cells)]

    def offer(self, allocations: Sequence[Allocation | None], slot: int) -> None:
        """Accept what was decided on the states observed at the boundary `slot`; None = that cell gets no control."""
        scenario = self._scenario
        first = slot + scenario.control_lead_periods * scenario.slots_per_dcm
        for schedule, allocation in zip(self._schedules, allocations, strict=True):
            if allocation is not None:
                schedule.offer(allocation, next_slot=slot, apply_from_slot=first, valid_for_slots=scenario.lease_slots)

    def governing(self, slot: int) -> list[Allocation | None]:
        """What each cell is played under in the period that begins with `slot`; None = the node's own scheduler.

        Controls begin, and leases of whole periods end, at boundaries only.
        """
        controls = [schedule.governing(slot).control for schedule in self._schedules]
        return [control.allocation if control else None for control in controls]

    def keep(self) -> tuple[tuple[Control, ...], ...]:
        """Each cell's controls."""
        return tuple(schedule.controls for schedule in self._schedules)

    def put_back(self, controls: Sequence[Sequence[Control]]) -> None:
        """Stand as the schedule did that kept these."""
        for schedule, own in zip(self._schedules, controls, strict=True):
            schedule.put_back(own)

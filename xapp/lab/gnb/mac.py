"""The simulated node's MAC: cells played in bursts, governed by controls under lease, observed at period boundaries.

One thread owns it. Suffix: U = UEs of a cell, ascending by id.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import NamedTuple

import numpy as np

from policy.allocation import DYNAMIC, NO_CAP, Allocation, PeriodicGrant
from policy.cell_state import CellState
from policy.errors import UserMistake
from training.simulator.cell import CellBatch, Followers
from training.simulator.lease import ControlSchedule
from training.simulator.metrics import CellMetrics, UeTable
from training.simulator.plan import Plan
from training.simulator.scenario import Scenario
from xapp.e2.ccc.messages import Ratios
from xapp.e2.dcm.messages import Carrier, Control, Outcome, OutcomeCode
from xapp.lab.gnb.empty_cells import EmptyCells
from xapp.lab.gnb.quota_table import QuotaTable
from xapp.lab.gnb.slice_table import SliceTable, with_slices
from xapp.quotas.allocation_to_quota import Quota

FARTHEST_PERIODS = 100
"""A control may ask to be applied at most this many periods ahead: what waits must stay bounded."""
REMEMBERED_REPORTS = 32
"""Reports whose UEs a late control may still speak of after they left."""


class Applied(NamedTuple):
    """The control that governs a cell, seen over the UEs that are there now."""

    instance_epoch: int
    decision_id: int
    allocation: Allocation


class CellReport(NamedTuple):
    """One cell at a period boundary, before the period's first slot is played."""

    state: CellState
    table: UeTable
    applied: Applied | None
    """None = the node's own scheduler."""


class _Reported(NamedTuple):
    """What is remembered of a report: a control says by its number on which one it is based."""

    numbers: set[int]
    """Of its DCM indications."""
    ue_ids: frozenset[int]
    answer_slot: int
    """Its next_boundary_slot: where the answer is to begin."""


class _Cell:
    """What the MAC keeps of one cell beside the radio."""

    def __init__(self, slots_per_dcm: int) -> None:
        self.schedule = ControlSchedule(slots_per_dcm)
        self.newest = (0, 0)
        """Epoch and decision id of the newest accepted control."""
        self.waiting: dict[tuple[int, int], int] = {}
        """First slot of each accepted control, by epoch and decision id, until it is played or overtaken."""
        self.reported: deque[_Reported] = deque(maxlen=REMEMBERED_REPORTS)

    def based_on(self, number: int) -> _Reported | None:
        """The report that had this number."""
        return next((report for report in reversed(self.reported) if number in report.numbers), None)


class Mac:
    """All cells of one node, in lock step."""

    def __init__(
        self, scenario: Scenario, carriers: tuple[Carrier, ...], ues: int, seed: int, followers: Followers
    ) -> None:
        """One cell per carrier. Raises UserMistake when scenario, carriers and numbers do not fit together."""
        for carrier in carriers:
            if carrier.num_rbgs != scenario.num_rbgs:
                raise UserMistake(f"{carrier} for a scenario of {scenario.num_rbgs} RBGs")
        self.scenario, self.carriers, self.followers = scenario, carriers, followers
        self.batch: CellBatch | EmptyCells = (
            CellBatch(scenario, len(carriers), ues, seed) if ues else EmptyCells(scenario, len(carriers))
        )
        self.own_scheduler_periods = 0
        """Periods (per cell) that began under the node's own scheduler."""
        self.counts: Counter[str] = Counter()
        """applied (quotas too), superseded, released, and late: accepted when the period it was made for had begun."""
        self.quotas = tuple(QuotaTable(carrier) for carrier in carriers)
        """By row: what the node's own scheduler is held to, where no control governs."""
        self.slices = tuple(SliceTable.of(carrier) for carrier in carriers)
        """By row: what the node's own scheduler knows of slices, where no control governs."""
        self.least_quota_percent = 100
        """The smallest that any UE was ever held to."""
        self._cells = [_Cell(scenario.slots_per_dcm) for _ in carriers]
        self._row_of = {carrier.cell: row for row, carrier in enumerate(carriers)}
        self._reports: list[CellReport] = []

    @property
    def slot(self) -> int:
        """The next slot to be played."""
        return self.batch.slot

    @property
    def at_boundary(self) -> bool:
        return self.slot % self.scenario.slots_per_dcm == 0

    @property
    def next_boundary_slot(self) -> int:
        """Where the answer to a report of this boundary is expected to take effect."""
        return self.slot + self.scenario.control_lead_periods * self.scenario.slots_per_dcm

    def row_of(self, cell: str) -> int | None:
        """Row of the cell with this NR-CGI."""
        return self._row_of.get(cell)

    # -- playing --------------------------------------------------------------------------------------------------

    def play(self, slots: int) -> int:
        """Play up to `slots` slots, at most to the next period boundary or change of control; returns how many."""
        terms = [cell.schedule.governing(self.slot) for cell in self._cells]
        k = self.scenario.slots_per_dcm
        count = min(slots, k - self.slot % k, min(term.end_slot for term in terms) - self.slot)
        for cell, term in zip(self._cells, terms):
            if self.at_boundary and term.control is None:
                self.own_scheduler_periods += 1
            if term.control is not None and cell.waiting.pop(term.control.decision, None) is not None:
                self.counts["applied"] += 1
        allocations = [
            term.control.allocation if term.control else self._under_quotas(row) for row, term in enumerate(terms)
        ]
        played: list[Allocation | None] | Plan = allocations
        if isinstance(self.batch, CellBatch) and any(table.limited for table in self.slices):
            own_B = [term.control is None for term in terms]
            played = with_slices(self.batch.plan(allocations), self.slices, self.batch.state.ue_id_BU, own_B)
        self.batch.play(played, count, self.followers)
        return count

    def _under_quotas(self, row: int) -> Allocation | None:
        if not self.quotas[row].limited() and not self.slices[row].limited:
            return None
        held = self.quotas[row] if self.quotas[row].limited() else self.slices[row]
        return held.allocation(self.batch.ue_table(row).ue_ids, self.scenario.node_contenders)

    # -- observing ------------------------------------------------------------------------------------------------

    def observe(self) -> list[CellReport]:
        """One report per cell; call it once at every boundary."""
        states = self.batch.observe()
        self._reports = []
        for row, (cell, state) in enumerate(zip(self._cells, states)):
            control = cell.schedule.governing(self.slot).control
            applied = None
            if control is not None:
                applied = Applied(*control.decision, onto_ues(control.allocation, state.ue_ids))
            self._reports.append(CellReport(state, self.batch.ue_table(row), applied))
            self.quotas[row].keep(state.ue_ids)
            cell.reported.append(_Reported(set(), frozenset(state.ue_ids), self.next_boundary_slot))
        return self._reports

    def reported_as(self, row: int, sequence_number: int) -> None:
        """The newest report went out as the DCM indication of this number."""
        self._cells[row].reported[-1].numbers.add(sequence_number)

    def metrics(self) -> list[CellMetrics]:
        """One row per cell, since slot 0."""
        return self.batch.metrics()

    # -- controls -------------------------------------------------------------------------------------------------

    def control(self, cell_id: str, control: Control) -> Outcome:
        """Accept or refuse a control for the cell that its header named."""
        row = self._row_of.get(cell_id)
        if row is None:
            return _refusal(OutcomeCode.UNKNOWN_CELL, f"no cell {cell_id}", control)
        cell, carrier = self._cells[row], self.carriers[row]
        refused = self._freshness_problem(cell, control)
        if refused is not None:
            return refused
        if control.carrier != carrier:
            return _refusal(OutcomeCode.BAD_CARRIER, f"{control.carrier}, expected {carrier}", control)
        if control.release:
            self.counts["released"] += 1
            self._overtake(cell, 0)
            cell.schedule.release()
            cell.newest = (control.instance_epoch, control.decision_id)
            return Outcome(OutcomeCode.OK, "", control.decision_id, self.slot)
        if unknown := self._unknown_ues(row, control):
            return _refusal(OutcomeCode.UNKNOWN_UE, f"no UE {', '.join(map(str, unknown[:8]))}", control)
        farthest = self.slot + FARTHEST_PERIODS * self.scenario.slots_per_dcm
        if control.apply_from_slot > farthest:
            detail = f"apply_from_slot {control.apply_from_slot} is too far ahead, expected at most {farthest}"
            return _refusal(OutcomeCode.MALFORMED, detail, control)
        wanted_slot = control.apply_from_slot or self._answer_slot(cell, control)
        cell.newest = (control.instance_epoch, control.decision_id)
        accepted = cell.schedule.offer(
            control.allocation,
            next_slot=self.slot,
            apply_from_slot=wanted_slot,
            valid_for_slots=control.valid_for_slots,
            decision=cell.newest,
        )
        self.counts["late"] += accepted.first_slot > cell.schedule.boundary(wanted_slot)
        self._overtake(cell, accepted.first_slot)
        cell.waiting[cell.newest] = accepted.first_slot
        return Outcome(OutcomeCode.OK, "", control.decision_id, accepted.first_slot)

    def limit(self, row: int, ue: int, quota: Quota) -> bool:
        """Hold a UE to a quota from the next slot on; False = there is no such UE."""
        if not 0 <= row < len(self._cells) or ue not in self.batch.ue_table(row).ue_ids:
            return False
        self.quotas[row].set(ue, quota, self.slot)
        self.least_quota_percent = min(self.least_quota_percent, quota.max_percent)
        self.counts["applied"] += 1
        return True

    def limit_slice(self, row: int, slice_row: int, ratios: Ratios) -> None:
        """Hold a slice of a cell to these ratios from the next slot on."""
        self.slices[row].set(slice_row, ratios, self.slot)
        self.least_quota_percent = min(self.least_quota_percent, ratios.max_percent)
        self.counts["applied"] += 1

    def _answer_slot(self, cell: _Cell, control: Control) -> int:
        """Where a control begins that does not say so itself: a quick answer does not begin before its period."""
        report = cell.based_on(control.based_on_indication_sn) or (cell.reported[-1] if cell.reported else None)
        return report.answer_slot if report else 0

    def _overtake(self, cell: _Cell, first_slot: int) -> None:
        """Controls that were to begin at `first_slot` or later never will."""
        for decision in [known for known, begins_slot in cell.waiting.items() if begins_slot >= first_slot]:
            del cell.waiting[decision]
            self.counts["superseded"] += 1

    def _freshness_problem(self, cell: _Cell, control: Control) -> Outcome | None:
        epoch, decision_id = cell.newest
        if control.instance_epoch < epoch:
            return _refusal(OutcomeCode.STALE_EPOCH, f"epoch {control.instance_epoch}, newest {epoch}", control)
        if control.instance_epoch == epoch and control.decision_id <= decision_id:
            return _refusal(OutcomeCode.STALE_DECISION, f"id {control.decision_id}, newest {decision_id}", control)
        return None

    def _unknown_ues(self, row: int, control: Control) -> list[int]:
        """UEs of the control that neither are there nor were in the report that it is based on.

        A number that no remembered report had (another subscription's, or none) is taken for any of them.
        """
        cell = self._cells[row]
        report = cell.based_on(control.based_on_indication_sn)
        known = set(self.batch.ue_table(row).ue_ids).union(*(r.ue_ids for r in ([report] if report else cell.reported)))
        return [ue for ue in control.allocation.ue_ids if ue not in known]


def _refusal(code: OutcomeCode, detail: str, control: Control) -> Outcome:
    return Outcome(code, detail, control.decision_id)


def onto_ues(allocation: Allocation, ue_ids: tuple[int, ...]) -> Allocation:
    """The allocation with its rows in the order of `ue_ids`; as in the MAC, RBGs of UEs that are gone are DYNAMIC."""
    if allocation.ue_ids == ue_ids:
        return allocation
    row_of = {ue: row for row, ue in enumerate(ue_ids)}
    new_row = [row_of.get(ue, DYNAMIC) for ue in allocation.ue_ids]
    owners = [new_row[owner] if owner >= 0 else owner for owner in allocation.owner_M.tolist()]
    grants = tuple(PeriodicGrant(new_row[g.ue], *g[1:]) for g in allocation.periodic_grants if new_row[g.ue] >= 0)
    open_allowed_U, max_rbgs_U = np.ones(len(ue_ids), bool), np.full(len(ue_ids), NO_CAP, np.uint8)
    for old, new in enumerate(new_row):
        if new >= 0:
            open_allowed_U[new], max_rbgs_U[new] = allocation.open_allowed_U[old], allocation.max_rbgs_U[old]
    return Allocation(ue_ids, np.array(owners, np.int16), allocation.leftover, grants, open_allowed_U, max_rbgs_U)

"""One cell as the KPI guard sees it: reports and decisions of the loop in, reports of policy.kpi_guard out."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policy.intent import Intent
from policy.kpi_guard.cell_guard import CellGuard
from policy.kpi_guard.rules import GuardRules
from policy.kpi_guard.verdict import State, Verdict
from policy.kpi_guard.window import GuardReport
from policy.limits import compile_limits
from xapp.control.cell_link import Report
from xapp.control.decision_record import DecisionRecord
from xapp.leader.reasons import HOLD_OUT, WITHHELD

KEPT_CONTROLS = 64
"""Controls of which it is remembered whether they were the leader's."""
NOT_SENT = ("shadow", "no_function", "yielded", "closing", "stood_still")


class CellWatch:
    """Not thread safe."""

    def __init__(self, kind: str, slots_per_dcm: int, guard: CellGuard, *, is_judged: bool) -> None:
        """is_judged: False = what the leader decides is not in the controls, or nothing is to be looked for."""
        self.kind, self.slots_per_dcm, self.guard, self.is_judged = kind, slots_per_dcm, guard, is_judged
        self.last_s = 0.0
        """Of the newest report."""
        self.is_sent = True
        """Decisions reach the node."""
        self.held_out_now = False
        self.reverted_at_s: float | None = None
        self._by_leader: OrderedDict[tuple[int, int], bool] = OrderedDict()
        """By epoch and id of a control."""
        self._measurement: int | None = None

    def report(self, report: Report, intent: Intent) -> None:
        """Give the guard what a report of the cell says, if it says something new."""
        service = report.service
        if service is None or (report.measurement is not None and report.measurement == self._measurement):
            return
        self._measurement = report.measurement
        state = report.state
        row_of = {ue: row for row, ue in enumerate(service.ue_ids)}
        rows = np.array([row_of.get(ue, -1) for ue in state.ue_ids], np.int64)
        by_leader, by_another = self._governed(report)
        self.guard.report(
            GuardReport(
                state.ue_ids,
                _picked(service.served_bits_U, rows),
                state.traffic_class_U,
                state.buffer_bits_U,
                state.cqi_U,
                service.slots,
                exempt=_allowed_nothing(report, intent),
                by_leader=by_leader,
                by_another=by_another,
                lost_packets_U=None if service.lost_packets_U is None else _picked(service.lost_packets_U, rows),
                delivered_packets_U=(
                    None if service.delivered_packets_U is None else _picked(service.delivered_packets_U, rows)
                ),
            )
        )

    def decided(self, record: DecisionRecord) -> None:
        """What was sent."""
        self.is_sent = record.outcome.nothing not in NOT_SENT
        self.held_out_now = record.decision.reason == HOLD_OUT
        withheld = record.decision.reason in WITHHELD
        if withheld or not record.decision.reason:  # the fallback's decisions are neither the leader's nor the node's
            for control in record.outcome.controls:
                if control.what == "controls":
                    self._by_leader[control.instance_epoch, control.decision_id] = not withheld
        while len(self._by_leader) > KEPT_CONTROLS:
            self._by_leader.popitem(last=False)

    def _governed(self, report: Report) -> tuple[bool | None, bool]:
        """Whether the leader's discretion governed the cell, as far as the node names the control; and whether it was
        somebody else, or an expired lease.
        """
        if not report.link.tracker.has_dcm or not self._by_leader:
            return None, False
        if report.applied is None:
            return None, True
        known = self._by_leader.get((report.applied.instance_epoch, report.applied.decision_id))
        return known, known is None

    @property
    def state(self) -> State:
        return self.guard.state if self.is_judged or self.guard.reverted else State.NOT_JUDGED

    def document(self) -> dict[str, Any]:
        """For people and programs."""
        guard, verdict = self.guard, self.guard.verdict
        return {
            "state": self.state.value,
            "control": self.kind,
            "hold_out_now": self.held_out_now,
            "reverts": guard.reverts,
            "hold_outs": guard.hold_outs,
            "hold_out_share": round(guard.reports_held_out / max(1, guard.reports), 4),
            "cycles": guard.cycles,
            "evidence": {kpi: round(m, 3) for kpi, m in guard.evidence().items()},
            "reverts_at": guard.threshold,
            "noise_percent": {kpi: round(100 * noise, 2) for kpi, noise in guard.noise().items()},
            "starving": sorted(guard.starved) if not guard.rules.acts else [],
            "verdict": None if verdict is None else _written(verdict),
        }


def _picked(column_U: NDArray[np.float64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """The entries in these rows; NaN for -1."""
    return np.append(column_U, np.nan)[rows]


def _written(verdict: Verdict) -> dict[str, Any]:
    """As JSON, which has no NaN."""
    values = {name: value if value == value else None for name, value in verdict._asdict().items()}
    return {**values, "rule": verdict.rule.value, "text": verdict.text()}


def _allowed_nothing(report: Report, intent: Intent) -> frozenset[int]:
    """UEs with a cap of 0: an operator's word is no harm."""
    if not intent.max_share_percent and not intent.slice_limits:
        return frozenset()
    caps = compile_limits(report.state, intent).cap_U.tolist()
    return frozenset(ue for ue, cap in zip(report.state.ue_ids, caps) if cap == 0)


def new_guard(rules: GuardRules, seed: int, **options: Any) -> CellGuard:
    """Its hold-outs are where nobody can foresee them."""
    return CellGuard(rules, np.random.default_rng(seed), **options)

"""The newest decision of each cell, for a screen. A period keeps references only; the words are made when asked for."""

from __future__ import annotations

from typing import Any, NamedTuple

from xapp.control.cell_link import ControlTarget
from xapp.control.decision_record import DecisionRecord
from xapp.leader.reasons import WITHHELD


class _Newest(NamedTuple):
    record: DecisionRecord
    sent: bool
    target: ControlTarget | None
    fallbacks: int
    """Decisions about the cell so far that were not the leader's own."""


class NewestDecisions:
    """One thread adds; any may ask."""

    def __init__(self) -> None:
        self._by_cell: dict[str, _Newest] = {}

    def add(self, record: DecisionRecord, sent: bool, target: ControlTarget | None) -> None:
        before, reason = self._by_cell.get(record.cell), record.decision.reason
        fallbacks = (before.fallbacks if before is not None else 0) + (bool(reason) and reason not in WITHHELD)
        self._by_cell[record.cell] = _Newest(record, sent, target, fallbacks)

    def by_cell(self) -> dict[str, dict[str, Any]]:
        """Strip, times, who decided, how often it was not the leader, and more."""
        return {cell: _described(newest) for cell, newest in self._by_cell.copy().items()}


def _described(newest: _Newest) -> dict[str, Any]:
    record, allocation = newest.record, newest.record.allocation
    return {
        "decided_by": record.decided_by,
        "withheld": record.decision.reason if record.decision.reason in WITHHELD else "",
        "decision_ms": round(record.decision_ms, 3),
        "loop_ms": round(record.loop_ms, 3),
        "strip": allocation.strip(),
        "leftover": list(allocation.leftover),
        "periodic_grants": len(allocation.periodic_grants),
        "ue_ids": list(allocation.ue_ids),
        "fallbacks": newest.fallbacks,
        "guard_changes": list(record.guard_changes),
        "sent": newest.sent,
        **(newest.target.encoder.explain(record.cell) if newest.target is not None else {}),
    }

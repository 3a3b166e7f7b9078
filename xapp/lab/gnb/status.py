"""The simulated gNB's numbers: the metrics of a run, and what a screen shows of its cells now."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from policy.cell_state import TrafficClass
from policy.limits import held_rbgs
from policy.time_scales import SLOT_MS
from training.simulator.metrics import CellMetrics, UeTable
from xapp.lab.gnb.mac import Applied, CellReport, onto_ues
from xapp.lab.gnb.measurements import Totals, totals_since
from xapp.quotas.allocation_to_quota import Quota


def mean_known(values: Iterable[float]) -> float | None:
    """Mean of what is not NaN; None when nothing is left."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else None


def figures(cells: Sequence[CellMetrics]) -> dict[str, Any]:
    """Metrics of a run, averaged over cells. Throughput is one cell's. None = nothing to average."""
    by_class = zip(*(cell.drop_fraction_by_class for cell in cells))
    return {
        "throughput_mbps": mean_known(cell.throughput_bits_per_slot / SLOT_MS / 1e3 for cell in cells),
        "jain": mean_known(cell.jain for cell in cells),
        "utility": mean_known(cell.utility for cell in cells),
        "mean_delay_ms": mean_known(cell.mean_delay_slots * SLOT_MS for cell in cells),
        "collision_fraction": mean_known(cell.collision_fraction for cell in cells),
        "waste_fraction": mean_known(cell.waste_fraction for cell in cells),
        "drop_fraction": mean_known(cell.drop_fraction for cell in cells),
        "drop_fraction_by_class": {
            traffic_class.name.lower(): mean_known(fractions)
            for traffic_class, fractions in zip(TrafficClass, by_class)
        },
    }


KEPT_CONTROLS = 20
"""Applied controls of a cell that a status line still shows: more than there are periods between two lines."""


class CellScreen:
    """One cell's row of the screen: who governs, and each UE over the newest whole period."""

    def __init__(self, cell: str, num_rbgs: int) -> None:
        self._cell, self._num_rbgs = cell, num_rbgs
        self._table: UeTable | None = None
        self._slot = 0
        self._applied: Applied | None = None
        self._controls: deque[dict[str, Any]] = deque(maxlen=KEPT_CONTROLS)
        self._totals: dict[int, tuple[float, float]] = {}
        """Per UE: bits served and RBG-slots used, per slot."""

    def on_report(self, report: CellReport) -> None:
        """A period boundary."""
        slot = report.state.slot
        if self._table is not None and slot > self._slot:
            totals: Totals = totals_since(report.table, self._table, slot - self._slot)
            per_slot = zip(
                report.table.ue_ids,
                (totals.served_bits_U / totals.slots).tolist(),
                (totals.rbg_slots_U / totals.slots).tolist(),
            )
            self._totals = {ue: (served, rbgs) for ue, served, rbgs in per_slot}
        self._table, self._slot, self._applied = report.table, slot, report.applied
        if report.applied is not None:
            self._controls.append({"slot": slot, **_summary(report.applied)})

    def show(self, now: UeTable, quotas: Mapping[int, Quota]) -> dict[str, Any]:
        """`now`: the UEs as they are; `quotas`: those that limit one."""
        strip = "*" * self._num_rbgs
        if self._applied is not None:
            strip = onto_ues(self._applied.allocation, now.ue_ids).strip()
        ues = []
        for row, ue in enumerate(now.ue_ids):
            served, rbgs = self._totals.get(ue, (0.0, 0.0))
            ues.append(
                {
                    "id": ue,
                    "traffic_class": int(now.traffic_class_U[row]),
                    "buffer_bits": float(now.buffer_bits_U[row]),
                    "cqi": int(now.cqi_U[row]),
                    "rbgs": round(rbgs, 3),
                    "throughput_mbps": round(served / SLOT_MS / 1e3, 4),
                    "quota_percent": quotas[ue].max_percent if ue in quotas else None,
                }
            )
        return {
            "cell": self._cell,
            "strip": strip,
            "decision_id": self._applied.decision_id if self._applied is not None else 0,
            "controls": list(self._controls),
            "ues": ues,
        }


def _summary(applied: Applied) -> dict[str, Any]:
    """What a control lets each UE have."""
    allocation = applied.allocation
    held_U = held_rbgs(len(allocation.ue_ids), allocation.owner_M, allocation.periodic_grants)
    return {
        "instance_epoch": applied.instance_epoch,
        "decision_id": applied.decision_id,
        "rbgs": dict(zip(allocation.ue_ids, held_U.tolist())),
        "max_rbgs": dict(zip(allocation.ue_ids, allocation.max_rbgs_U.tolist())),
        "may_contend": [ue for ue, allowed in zip(allocation.ue_ids, allocation.open_allowed_U.tolist()) if allowed],
    }

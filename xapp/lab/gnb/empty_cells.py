"""Cells without any UE seat: time passes and nothing else. Stands where training.simulator.cell.CellBatch would."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from policy.allocation import Allocation
from policy.cell_state import CellState, TrafficClass, make_cell_state
from training.simulator.cell import Followers
from training.simulator.metrics import CellMetrics, UeTable
from training.simulator.plan import Plan
from training.simulator.scenario import Scenario

_NAN = float("nan")


class EmptyCells:
    """The part of CellBatch that a MAC uses."""

    def __init__(self, scenario: Scenario, cells: int) -> None:
        self.scenario, self.cells, self.slot = scenario, cells, 0

    def observe(self) -> list[CellState]:
        scenario = self.scenario
        return [
            make_cell_state(
                f"empty/{row}",
                num_rbgs=scenario.num_rbgs,
                slots_per_dcm=scenario.slots_per_dcm,
                slot=self.slot,
                ue_ids=(),
            )
            for row in range(self.cells)
        ]

    def ue_table(self, cell: int) -> UeTable:
        """The table of a report about nobody."""
        return UeTable((), *(np.zeros(0) for _ in UeTable._fields[1:]))

    def play(self, allocations: Sequence[Allocation | None] | Plan | None, slots: int, followers: Followers) -> None:
        """Let slots pass."""
        self.slot += slots

    def metrics(self) -> list[CellMetrics]:
        """Nothing was served; what is an average over UEs is not known."""
        by_class = tuple(_NAN for _ in TrafficClass)
        row = CellMetrics(0.0, _NAN, _NAN, 0.0, 0.0, 0.0, _NAN, by_class, _NAN, _NAN, _NAN, 0, self.slot)
        return [row] * self.cells

"""The simulator is the reference game: its baseline rows stand where the prototype's stood."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import pytest
from round_robin import round_robin_plan

from training.baselines.reference import all_open_plan, genie_aloha, oracle_plan
from training.simulator import cell
from training.simulator.cell import CellBatch
from training.simulator.scenario import MIX, SPORADIC, Scenario
from training.simulator.world import CHUNK_SLOTS, Draws, draw_chunk

SLOTS = 100
CELLS = 1000
"""Of half as many chance would move some rows by more than is tolerated."""
UNTUNED_CONTENDERS = 1.2
TOLERANCE = 0.05

PLAIN = {"node_subtracts_inflight": False}


def _round_robin(scenario: Scenario, ues: int) -> CellBatch:
    batch = CellBatch(scenario, CELLS, ues, seed=5)
    for _ in range(SLOTS):
        batch.play(round_robin_plan(batch), 1, "obey")
    return batch


def _aloha(scenario: Scenario, ues: int) -> CellBatch:
    batch = CellBatch(scenario, CELLS, ues, seed=5)
    batch.play(all_open_plan(batch), SLOTS, genie_aloha)
    return batch


def _proportional_fair(scenario: Scenario, ues: int) -> CellBatch:
    batch = CellBatch(scenario.with_(node_contenders=0.0, **PLAIN), CELLS, ues, seed=5)
    batch.play(None, SLOTS, "obey")
    return batch


def _proportional_fair_smart(scenario: Scenario, ues: int) -> CellBatch:
    batch = CellBatch(scenario.with_(node_contenders=UNTUNED_CONTENDERS, **PLAIN), CELLS, ues, seed=5)
    batch.play(None, SLOTS)
    return batch


def _oracle(scenario: Scenario, ues: int) -> CellBatch:
    batch = CellBatch(scenario, CELLS, ues, seed=5)
    for _ in range(SLOTS):
        batch.play(oracle_plan(batch, UNTUNED_CONTENDERS), 1)
    return batch


Row = tuple[Callable[[Scenario, int], CellBatch], Scenario, dict[int, tuple[float, float, float]]]
# UEs -> throughput (bits/slot), Jain, utility of the prototype.
ROWS: dict[str, Row] = {
    "round robin, mix": (_round_robin, MIX, {3: (1780, 0.75, 1.62), 5: (2026, 0.75, 1.40), 10: (2039, 0.72, 0.95)}),
    "ALOHA, mix": (_aloha, MIX, {3: (1425, 0.70, 1.37), 5: (1433, 0.67, 1.04), 10: (1469, 0.65, 0.66)}),
    "PF obey, mix": (_proportional_fair, MIX, {3: (1867, 0.77, 1.75), 5: (2224, 0.77, 1.54), 10: (2629, 0.79, 1.18)}),
    "PF smart, mix": (
        _proportional_fair_smart,
        MIX,
        {3: (2060, 0.78, 1.86), 5: (2347, 0.78, 1.60), 10: (2679, 0.80, 1.22)},
    ),
    "oracle, mix": (_oracle, MIX, {3: (2325, 0.81, 2.00), 5: (2692, 0.83, 1.75), 10: (3069, 0.84, 1.34)}),
    "round robin, sporadic": (
        _round_robin,
        SPORADIC,
        {3: (661, 0.61, 0.78), 5: (808, 0.57, 0.67), 10: (855, 0.52, 0.42)},
    ),
    "ALOHA, sporadic": (_aloha, SPORADIC, {3: (763, 0.58, 0.89), 5: (940, 0.51, 0.76), 10: (1083, 0.47, 0.51)}),
    "PF obey, sporadic": (
        _proportional_fair,
        SPORADIC,
        {3: (546, 0.59, 0.74), 5: (811, 0.52, 0.71), 10: (1159, 0.49, 0.60)},
    ),
    "PF smart, sporadic": (
        _proportional_fair_smart,
        SPORADIC,
        {3: (797, 0.62, 0.99), 5: (1016, 0.55, 0.87), 10: (1284, 0.51, 0.67)},
    ),
    "oracle, sporadic": (_oracle, SPORADIC, {3: (1000, 0.64, 1.15), 5: (1334, 0.60, 1.05), 10: (1716, 0.57, 0.84)}),
}


@pytest.mark.parametrize("ues", [3, 5, 10])
@pytest.mark.parametrize("scenario", [MIX, SPORADIC], ids=lambda scenario: scenario.name)
def test_baseline_rows_stand_where_the_prototypes_stood(
    scenario: Scenario, ues: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    @lru_cache(maxsize=-(-SLOTS // CHUNK_SLOTS))
    def drawn(*which: int) -> Draws:
        return draw_chunk(scenario, *which)

    # All rows meet the same worlds: they are drawn once. What the node does is no part of them.
    monkeypatch.setattr(cell, "draw_chunk", lambda _, *which: drawn(*which))
    rows = [(name, play, pins[ues]) for name, (play, of, pins) in ROWS.items() if of is scenario]
    assert len(rows) == 5
    for name, play, pin in rows:
        metrics = play(scenario, ues).metrics()
        row = [
            np.mean([getattr(m, field) for m in metrics]) for field in ("throughput_bits_per_slot", "jain", "utility")
        ]
        np.testing.assert_allclose(row, pin, rtol=TOLERANCE, err_msg=f"{name}, {ues} UEs")
        assert sum(m.transmissions_outside_grant for m in metrics) == 0

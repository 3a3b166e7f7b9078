"""Replays of the same worlds under different leaders, and the difference between them.

Every row of a comparison meets the same cells, traffic and coins (common random numbers), so rows are compared cell by
cell: unpaired runs differ by several percent for no reason.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, NotRequired, TypedDict, Unpack

import numpy as np

from policy.intent import Intent
from policy.leader import Leader, never_expires
from policy.observation import FULL, make_profile, observed
from policy.registry import make_leader
from training.intervals import difference
from training.simulator.cell import CellBatch, Followers
from training.simulator.lease import BatchSchedule
from training.simulator.metrics import CellMetrics
from training.simulator.scenario import Scenario

NODE_SCHEDULER = "node_scheduler"
"""The row without an xApp: the node's own scheduler, leftovers contended for at its tuned rate."""
NODE_IDLE = "node_idle"
"""The same, leftovers unused."""

COMPARED = ("throughput_bits_per_slot", "jain", "utility", "drop_fraction", "mean_delay_slots")


class Comparison(NamedTuple):
    """One metric of one row against the baseline's, paired by cell."""

    row: str
    metric: str
    mean: float
    baseline_mean: float
    difference: float
    """mean - baseline_mean, over the cells in which both have a value."""
    half_width: float
    """Half the 95 % confidence interval of the difference, Student's t; NaN with fewer than two cells."""
    cells: int


class Worlds(TypedDict):
    """Which cells are played, for how long, and who follows: the keywords of every replay."""

    ues: int
    cells: int
    seed: int
    periods: int
    followers: NotRequired[Followers]
    """The best-response rule unless given."""
    observe: NotRequired[str]
    """Profile of what the leader sees; everything unless given."""


def replay(scenario: Scenario, leader: Leader | None, **worlds: Unpack[Worlds]) -> list[CellMetrics]:
    """Metrics of each cell of a `replay_batch`."""
    return replay_batch(scenario, leader, **worlds).metrics()


def replay_batch(scenario: Scenario, leader: Leader | None, **worlds: Unpack[Worlds]) -> CellBatch:
    """The cells after `periods` periods from slot 0 under `leader`; None = the node's own scheduler.

    The period rule is the gNB's: the state is observed at every boundary before its slot is played, the decision takes
    effect `control_lead_periods` later under a lease until two periods after the report, and without one the node
    schedules for itself. Raises ValueError for an unknown profile.
    """
    cells = worlds["cells"]
    followers, profile = worlds.get("followers", "best_response"), make_profile(worlds.get("observe", FULL))
    batch = CellBatch(scenario, cells, worlds["ues"], worlds["seed"])
    schedule = BatchSchedule(scenario, cells)
    for _ in range(worlds["periods"]):
        if leader is not None:
            states = [observed(state, profile) for state in batch.observe()]
            decisions = leader.decide(states, [Intent()] * cells, never_expires)
            schedule.offer([decision.allocation for decision in decisions], batch.slot)
        batch.play(schedule.governing(batch.slot), scenario.slots_per_dcm, followers)
    return batch


def replay_row(scenario: Scenario, row: str, **worlds: Unpack[Worlds]) -> list[CellMetrics]:
    """`replay` by name: node_idle, node_scheduler, or any leader's (policy.registry). Raises LeaderError."""
    if row == NODE_IDLE:
        scenario = scenario.with_(node_contenders=0.0)
    leader = None if row in (NODE_IDLE, NODE_SCHEDULER) else make_leader(row)
    return replay(scenario, leader, **worlds)


def compare(
    rows: Mapping[str, Sequence[CellMetrics]], baseline: str, metrics: Sequence[str] = COMPARED
) -> list[Comparison]:
    """Every row but the baseline's against it, metric by metric. Rows must be replays of the same worlds.

    Raises ValueError for rows of different lengths.
    """
    result = []
    for row, cells in rows.items():
        if row == baseline:
            continue
        if len(cells) != len(rows[baseline]):
            raise ValueError(f"{row} has {len(cells)} cells, {baseline} has {len(rows[baseline])}")
        for metric in metrics:
            values_B = np.array([getattr(cell, metric) for cell in cells])
            base_B = np.array([getattr(cell, metric) for cell in rows[baseline]])
            both_B = np.isfinite(values_B) & np.isfinite(base_B)
            result.append(_paired(row, metric, values_B[both_B], base_B[both_B]))
    return result


def _paired(row: str, metric: str, values_B: np.ndarray, base_B: np.ndarray) -> Comparison:
    cells = len(values_B)
    if not cells:
        return Comparison(row, metric, *(math.nan,) * 4, 0)
    found = difference(values_B, base_B, paired=True)
    return Comparison(row, metric, float(values_B.mean()), float(base_B.mean()), found.mean, found.half_width, cells)

"""What an evaluation measures: policies in the same worlds, as rows, each against every baseline.

Worlds are numbered by seeds of their own, `cells` cells each. A difference is taken cell by cell; its interval is
Student's t over the world seeds' mean differences, or over cells where there is one seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np

from policy.cell_state import TrafficClass
from training.baselines.players import INFLIGHT_PF_SMART, ORACLE, Player, World
from training.evaluation import compare
from training.intervals import Interval, mean_interval
from training.simulator.metrics import CellMetrics
from training.simulator.scenario import Scenario

FIRST_WORLD_SEED = 700_001
"""World seeds count up from here: nothing is tuned on these."""
OBSERVATION_PROFILE = "full"
"""What the simulator lets a leader see: KPM and the DCM service's indication."""


class Against(NamedTuple):
    """One row against one baseline, paired by cell."""

    throughput_pct: float
    """Of the means."""
    utility_diff: Interval


class Row(NamedTuple):
    """One policy at one number of UEs; means over all cells of all world seeds."""

    policy: str
    ues: int
    k: int
    profile: str
    decoding: str | None
    followers: str
    throughput_bits_per_slot: float
    jain: float
    utility: float
    collision_fraction: float
    waste_fraction: float
    drop_fraction: float
    drop_fraction_by_class: dict[str, float]
    """By class name; NaN for a class without arrivals."""
    delay_slots_p50: float
    """Mean over cells of each cell's quantile."""
    delay_slots_p95: float
    train_seeds: tuple[int, ...]
    world_seeds: tuple[int, ...]
    cells: int
    """Per world seed."""
    oracle_gap_share: float
    """Utility: (this - inflight_pf_smart) / (oracle - inflight_pf_smart); NaN unless both are among the rows."""
    vs: dict[str, Against]

    @property
    def label(self) -> str:
        return self.policy if self.decoding is None else f"{self.policy} ({self.decoding})"


class Setup(NamedTuple):
    """What to measure. `seeds` world seeds of `cells` cells for every number of UEs."""

    scenario: Scenario
    ues: tuple[int, ...]
    seeds: int
    cells: int
    periods: int

    @property
    def slots(self) -> int:
        return self.periods * self.scenario.slots_per_dcm

    def world(self, ues: int, seed: int) -> World:
        return World(self.scenario, ues, self.cells, seed, self.periods)


class Evaluation(NamedTuple):
    """The rows, and over how many of the setup's world seeds they go."""

    setup: Setup
    rows: list[Row]
    seeds_done: int

    @property
    def complete(self) -> bool:
        return self.seeds_done == self.setup.seeds

    @property
    def interval(self) -> str:
        """What the intervals are taken over."""
        return "95 %, Student's t over world seeds" if self.seeds_done > 1 else "95 %, over cells of one world seed"

    def as_json(self) -> dict[str, Any]:
        """For a result file: NaN is null, the scenario is spelled out."""
        scenario = self.setup.scenario
        return {
            "scenario": asdict(scenario),
            "scenario_hash": scenario.hash,
            "slots": self.setup.slots,
            "interval": self.interval,
            "complete": self.complete,
            "rows": [_plain(row) for row in self.rows],
        }


def evaluate(players: Sequence[Player], setup: Setup, step: Callable[[str], None] = lambda what: None) -> Evaluation:
    """Play everybody in every world. Ctrl-C keeps the world seeds that are finished; before the first it is raised.

    step: told what begins, len(players) x len(ues) x seeds times.
    """
    finished: list[dict[int, dict[str, list[CellMetrics]]]] = []
    try:
        for seed in _world_seeds(setup.seeds):
            by_ues: dict[int, dict[str, list[CellMetrics]]] = {}
            for ues in setup.ues:
                by_ues[ues] = {}
                for player in players:
                    step(f"{player.label}, {ues} UEs, world seed {len(finished) + 1}/{setup.seeds}")
                    by_ues[ues][player.label] = player.play(setup.world(ues, seed))
            finished.append(by_ues)
    except KeyboardInterrupt:
        if not finished:
            raise
    rows = [row for ues in setup.ues for row in rows_of(players, [seed[ues] for seed in finished], setup, ues)]
    return Evaluation(setup, rows, len(finished))


def rows_of(
    players: Sequence[Player], seeds: Sequence[dict[str, list[CellMetrics]]], setup: Setup, ues: int
) -> list[Row]:
    """The rows of one number of UEs from each world seed's metrics by label, in the order of the players."""
    cells = {player.label: [cell for seed in seeds for cell in seed[player.label]] for player in players}
    utility = {label: _mean(cells[label], "utility") for label in cells}
    start = utility.get(INFLIGHT_PF_SMART, math.nan)
    gap = utility.get(ORACLE, math.nan) - start
    against = {player.label: _differences(seeds, player.label) for player in players if player.decoding is None}
    rows = []
    for player in players:
        mine = cells[player.label]
        throughput = _mean(mine, "throughput_bits_per_slot")
        rows.append(
            Row(
                policy=player.policy,
                ues=ues,
                k=setup.scenario.slots_per_dcm,
                profile=OBSERVATION_PROFILE,
                decoding=player.decoding,
                followers=player.followers,
                throughput_bits_per_slot=throughput,
                jain=_mean(mine, "jain"),
                utility=utility[player.label],
                collision_fraction=_mean(mine, "collision_fraction"),
                waste_fraction=_mean(mine, "waste_fraction"),
                drop_fraction=_mean(mine, "drop_fraction"),
                drop_fraction_by_class={
                    traffic_class.name.lower(): _finite_mean([cell.drop_fraction_by_class[i] for cell in mine])
                    for i, traffic_class in enumerate(TrafficClass)
                },
                delay_slots_p50=_mean(mine, "p50_delay_slots"),
                delay_slots_p95=_mean(mine, "p95_delay_slots"),
                train_seeds=player.train_seeds,
                world_seeds=_world_seeds(len(seeds)),
                cells=setup.cells,
                oracle_gap_share=(utility[player.label] - start) / gap if gap else math.nan,
                vs={
                    baseline: Against(
                        100 * (throughput / _mean(cells[baseline], "throughput_bits_per_slot") - 1)
                        if _mean(cells[baseline], "throughput_bits_per_slot")
                        else math.nan,
                        differences[player.label],
                    )
                    for baseline, differences in against.items()
                    if baseline != player.label
                },
            )
        )
    return rows


def _differences(seeds: Sequence[dict[str, list[CellMetrics]]], baseline: str) -> dict[str, Interval]:
    """Utility of every other label minus the baseline's."""
    by_seed = [compare(seed, baseline, ("utility",)) for seed in seeds]
    if len(by_seed) == 1:
        return {c.row: Interval.around(c.difference, c.half_width) for c in by_seed[0]}
    return {same[0].row: mean_interval([c.difference for c in same]) for same in zip(*by_seed)}


def _world_seeds(count: int) -> tuple[int, ...]:
    return tuple(range(FIRST_WORLD_SEED, FIRST_WORLD_SEED + count))


def _mean(cells: Sequence[CellMetrics], metric: str) -> float:
    return _finite_mean([getattr(cell, metric) for cell in cells])


def _finite_mean(values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return float(np.mean(finite)) if finite else math.nan


def _plain(value: Any) -> Any:
    """As JSON can carry it: named tuples as objects, NaN as null."""
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return _plain(value._asdict())
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

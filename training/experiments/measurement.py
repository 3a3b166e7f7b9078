"""Players in the same worlds, as parts of a study; differences are paired cell by cell.

An interval goes over training seeds crossed with world seeds where there are several trainings (training.intervals),
else it is Student's t over world seeds, or over the cells of one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from policy.plug_ins.loading import is_plug_in
from training.evaluation.plug_in_players import make_players, plug_in_digest
from training.experiments.study import Part, Results
from training.intervals import Interval, crossed_mean, finite_mean, mean_interval
from training.run_length import SLOW_GAME_PERIODS
from training.simulator.metrics import CellMetrics
from training.simulator.scenario import SLOW_LEADER_SLOTS, Scenario
from training.world_seeds import FIRST_WORLD_SEED

METRICS = (
    "utility",
    "throughput_bits_per_slot",
    "jain",
    "collision_fraction",
    "waste_fraction",
    "drop_fraction",
)


KEPT_DIGITS = 7
"""Significant digits of what is kept of a world: far finer than worlds differ."""


class PlayerSpec(NamedTuple):
    """Who plays: a rule by name, a bundle, or a bundle as a learned baseline (training.evaluation.bundle_players) by
    name."""

    label: str
    baseline: str = ""
    bundle: Path | None = None
    decoding: str = "greedy"
    followers: str = "rule"
    """How a bundle's followers answer: rule or learned."""
    code: str = ""
    """sha256 of the file of a leader of one's own, whose name then stands in `baseline`."""


def subject(label: str, given: str, default: Path) -> PlayerSpec:
    """The player of a study's `--bundle`: a directory, module:Class, or the usual one. Raises UserMistake."""
    if is_plug_in(given):
        return PlayerSpec(label, given, code=plug_in_digest(given))
    return PlayerSpec(label, bundle=Path(given) if given else default)


class World(NamedTuple):
    """Equal worlds are equal to the last coin, whoever plays."""

    scenario: Scenario
    ues: int
    cells: int
    seeds: int
    slots: int

    @property
    def slots_per_dcm(self) -> int:
        return self.scenario.slots_per_dcm


def long_enough(scenario: Scenario, slots: int) -> int:
    """`slots`, or what gives a RIC enough decisions to be judged by."""
    slots_per_dcm = scenario.slots_per_dcm
    return max(slots, SLOW_GAME_PERIODS * slots_per_dcm) if slots_per_dcm >= SLOW_LEADER_SLOTS else slots


def part(player: PlayerSpec, world: World, seed: int) -> Part:
    """One player in the worlds of one seed."""
    who = player._asdict()
    if not player.code:
        del who["code"]
    return Part(
        f"{world.scenario.name} K={world.slots_per_dcm} I={world.ues} {player.label}, "
        f"world seed {seed - FIRST_WORLD_SEED + 1}",
        play,
        {
            **who,
            "label": "",  # what a table calls it changes nothing
            "scenario": world.scenario,
            "ues": world.ues,
            "cells": world.cells,
            "seed": seed,
            "slots": world.slots,
            "by_cell": world.seeds == 1,
        },
    )


def world_seeds(world: World) -> range:
    return range(FIRST_WORLD_SEED, FIRST_WORLD_SEED + world.seeds)


def play(
    label: str,
    baseline: str,
    bundle: Path | None,
    decoding: str,
    followers: str,
    scenario: Scenario,
    ues: int,
    cells: int,
    seed: int,
    slots: int,
    code: str = "",
    by_cell: bool = True,
) -> Results:
    """Every metric of every cell, by name; or their means, where intervals go over world seeds."""
    from training.baselines.players import BASELINES
    from training.baselines.players import World as Played
    from training.evaluation.bundle_players import enter_baseline, enter_bundles

    slots_per_dcm = scenario.slots_per_dcm
    if bundle is None:
        player = make_players(baseline)[0] if code else BASELINES[baseline]
    elif baseline:
        (player,) = enter_baseline(baseline, str(bundle), slots_per_dcm, decoding, followers).players
    else:
        (player,) = enter_bundles(str(bundle), slots_per_dcm, (decoding,), followers).players
    (played,) = player.plays
    found = played(Played(scenario, ues, cells, seed, max(1, slots // slots_per_dcm)))
    return metrics_of(found) if by_cell else finite_means(found)


def metrics_of(cells: Sequence[CellMetrics]) -> Results:
    """Each metric by name, one value a cell; None where there is none."""
    return {name: [_finite(getattr(cell, name)) for cell in cells] for name in METRICS}


def finite_means(cells: Sequence[CellMetrics]) -> Results:
    """Each metric's mean over the cells, as the one value of a world."""
    return {name: [_finite(finite_mean(values))] for name, values in metrics_of(cells).items()}


class Measured(NamedTuple):
    """One player in one world: the results of its world seeds, of each training seed."""

    player: str
    world: World
    runs: list[list[Results]]
    """[training seed][world seed]; a baseline has one row."""
    train_seeds: int = 0
    """Trainings that it is over."""

    def mean(self, metric: str) -> float:
        return finite_mean(v for run in self.runs for result in run for v in result[metric])

    def interval(self, metric: str) -> Interval:
        """The interval of the mean itself: worlds differ, so it is wider than that of a difference."""
        if len(self.runs) > 1:
            return crossed_mean(
                np.array([[finite_mean(result[metric]) for result in run] for run in self.runs], np.float64)
            )
        return _over(self.runs[0], lambda result: result[metric])

    def minus(self, other: Measured, metric: str) -> Interval:
        """The paired difference and its interval. Raises ValueError unless both were in the same worlds."""
        if self.world != other.world:
            raise ValueError(f"{self.player} and {other.player} were not in the same worlds")
        trainings = max(len(self.runs), len(other.runs))
        if trainings > 1:
            pairs = [(_same(self.runs, k), _same(other.runs, k)) for k in range(trainings)]
            differences_SW = [
                [finite_mean(_paired([m], [t], metric)) for m, t in zip(mine, theirs, strict=True)]
                for mine, theirs in pairs
            ]
            return crossed_mean(np.array(differences_SW, np.float64))
        worlds = list(zip(self.runs[0], other.runs[0]))
        return _over(worlds, lambda pair: _paired([pair[0]], [pair[1]], metric))

    def percent_above(self, other: Measured, metric: str) -> float:
        """How far this mean is above the other, percent."""
        base = other.mean(metric)
        return 100 * (self.mean(metric) / base - 1) if base else math.nan


def _same(runs: list[list[Results]], k: int) -> list[Results]:
    return runs[k] if len(runs) > 1 else runs[0]


def _over(items: Sequence[Any], values: Any) -> Interval:
    if len(items) > 1:
        return mean_interval([finite_mean(values(item)) for item in items])
    return mean_interval([math.nan if v is None else v for v in values(items[0])])


def _paired(mine: Sequence[Results], theirs: Sequence[Results], metric: str) -> list[float]:
    return [
        a - b
        for m, t in zip(mine, theirs, strict=True)
        for a, b in zip(m[metric], t[metric], strict=True)
        if a is not None and b is not None
    ]


def _finite(value: float) -> float | None:
    return kept(value) if math.isfinite(value) else None


def kept(value: float) -> float:
    """To the digits that are kept."""
    return float(f"{value:.{KEPT_DIGITS}g}")


def pooled(found: Sequence[Measured]) -> Measured:
    """One player in several worlds of equal seeds, each counting alike; its world is the first one's, of 0 UEs."""
    first = found[0]
    runs = [
        [{name: [v for result in results for v in result[name]] for name in METRICS} for results in zip(*same)]
        for same in zip(*(m.runs for m in found), strict=True)
    ]
    return first._replace(world=first.world._replace(ues=0), runs=runs)


class Plan(NamedTuple):
    """What is to be measured: who (one player a training seed) in which world."""

    who: Sequence[PlayerSpec]
    world: World


def measure(run: Any, plans: Sequence[Plan]) -> list[Measured]:
    """All of it at once, so that parts can run side by side. run: Study.run."""
    parts = [
        part(player, plan.world, seed) for plan in plans for player in plan.who for seed in world_seeds(plan.world)
    ]
    results = iter(run(parts))
    return [
        Measured(
            plan.who[0].label,
            plan.world,
            [[next(results) for _ in world_seeds(plan.world)] for _ in plan.who],
            len(plan.who) if plan.who[0].bundle else 0,
        )
        for plan in plans
    ]

"""What an evaluation measures: players in the same worlds, as rows, each against every baseline.

Worlds are numbered by seeds of their own, `cells` cells each, and shared by everybody. A player that was trained with
several seeds is judged over training seeds crossed with worlds (training.intervals: two-way random effects), so that
the interval is of other trainings and of other worlds. Otherwise it is Student's t over worlds. A world is the mean
over the cells of a world seed; with one world seed each of its cells is a world.
Axes: S training seeds, W world seeds, C cells of a world seed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.baselines.players import INFLIGHT_PF, INFLIGHT_PF_SMART, ORACLE, Player, World
from training.evaluation.columns import COLUMNS, mean_of
from training.intervals import Interval, crossed_difference, crossed_percent
from training.simulator.metrics import CellMetrics
from training.simulator.scenario import Scenario
from training.world_seeds import FIRST_WORLD_SEED

DICTATOR = "dictator"
"""Stands in `vs` for the best by utility of DICTATORS."""
DICTATORS = ("proportional_fair", INFLIGHT_PF, "dictator_learned")
UNTRAINED_PERCENT = 2.0
"""A learned baseline that is so far below its own teacher's utility has not been trained: no claim rests on it."""


class Against(NamedTuple):
    """One row against one baseline, paired."""

    throughput_pct: float
    """How far the mean is above the baseline's, percent."""
    utility_diff: Interval
    utility_pct: Interval
    throughput_pct_interval: Interval
    over: str
    """What the intervals go over: world seeds or cells, with `training seeds x` before where there are several."""


class Row(NamedTuple):
    """One player at one number of UEs; means over all cells of all world seeds and training seeds."""

    player: str
    ues: int
    k: int
    profile: str
    """What leaders saw; it changes nothing for those that do not decide from reports (node, ALOHA, oracle)."""
    decoding: str | None
    followers: str
    figures: dict[str, Any]
    """Each figure by the key of its column (training.evaluation.columns)."""
    train_seeds: tuple[int, ...]
    world_seeds: tuple[int, ...]
    cells: int
    """Per world seed."""
    oracle_gap_share: float
    """Utility: (this - inflight_pf_smart) / (oracle - inflight_pf_smart); NaN unless both are among the rows."""
    untrained: bool | None
    """See UNTRAINED_PERCENT; None = unknown: no teacher, or no number of UEs that it was trained on."""
    vs: dict[str, Against]
    label: str
    """Tells the rows of one table apart."""

    @property
    def utility(self) -> float:
        return float(self.figures["utility"])

    @property
    def jain(self) -> float:
        return float(self.figures["jain"])

    @property
    def throughput_bits_per_slot(self) -> float:
        return float(self.figures["throughput_bits_per_slot"])


class Setup(NamedTuple):
    """What to measure. `seeds` world seeds of `cells` cells for every number of UEs."""

    scenario: Scenario
    ues: tuple[int, ...]
    seeds: int
    cells: int
    periods: int
    observe: str = "full"
    first_seed: int = FIRST_WORLD_SEED
    """Others than the first ones are for whoever has looked at those while choosing."""

    @property
    def slots(self) -> int:
        return self.periods * self.scenario.slots_per_dcm

    def world(self, ues: int, seed: int) -> World:
        return World(self.scenario, ues, self.cells, seed, self.periods, self.observe)


class Sheet(NamedTuple):
    """What one player came to at one number of UEs."""

    player: Player
    cells_SWC: list[list[list[CellMetrics]]]

    @property
    def every_cell(self) -> list[CellMetrics]:
        return [cell for worlds in self.cells_SWC for cells in worlds for cell in cells]

    def mean(self, metric: str) -> float:
        return mean_of(metric)(self.every_cell)

    def values_SWC(self, metric: str) -> NDArray[np.float64]:
        return np.array([[[getattr(cell, metric) for cell in cells] for cells in worlds] for worlds in self.cells_SWC])

    def alone(self, s: int) -> Sheet:
        """What the player came to with one of its training seeds."""
        player = self.player
        one = player._replace(plays=player.plays[s : s + 1], train_seeds=player.train_seeds[s : s + 1])
        return Sheet(one, self.cells_SWC[s : s + 1])


Sheets = Mapping[str, Sheet]
"""The sheets by label, in the order of a table."""


def world_seeds(count: int, first: int = FIRST_WORLD_SEED) -> tuple[int, ...]:
    return tuple(range(first, first + count))


def rows_of(sheets: Sheets, setup: Setup, ues: int, untrained: Mapping[str, bool | None]) -> list[Row]:
    """A row for each sheet. untrained: `untrained_of` all numbers of UEs."""
    return [_row(sheet, sheets, setup, ues, untrained, within_seed=False) for sheet in sheets.values()]


def seed_rows_of(sheets: Sheets, setup: Setup, ues: int, untrained: Mapping[str, bool | None]) -> list[Row]:
    """A row for each training seed of every player that has several."""
    return [
        _row(sheet.alone(s), sheets, setup, ues, untrained, within_seed=True)
        for sheet in sheets.values()
        if len(sheet.cells_SWC) > 1
        for s in range(len(sheet.cells_SWC))
    ]


def untrained_of(sheets_by_ues: Mapping[int, Sheets]) -> dict[str, bool | None]:
    """Whether each label is untrained, judged where it was trained: at other numbers of UEs it may not generalise."""
    found: dict[str, bool | None] = {}
    for sheets in sheets_by_ues.values():
        for label, sheet in sheets.items():
            player = sheet.player
            margins = [
                (at[label].mean("utility") - teacher) / max(abs(teacher), 1e-9)
                for ues, at in sheets_by_ues.items()
                if player.teacher in at and (not player.trained_ues or ues in player.trained_ues)
                for teacher in [at[player.teacher].mean("utility")]
            ]
            found[label] = 100 * float(np.mean(margins)) < -UNTRAINED_PERCENT if margins else None
    return found


def dictator_of(sheets: Sheets, untrained: Mapping[str, bool | None]) -> str | None:
    """The better of the Dictators that are there; None = there is none."""
    candidates = [name for name in DICTATORS if name in sheets and not untrained.get(name)]
    return max(candidates, key=lambda name: sheets[name].mean("utility"), default=None)


def _row(
    sheet: Sheet, sheets: Sheets, setup: Setup, ues: int, untrained: Mapping[str, bool | None], *, within_seed: bool
) -> Row:
    player, mine = sheet.player, sheet.every_cell
    utility = sheet.mean("utility")
    start = sheets[INFLIGHT_PF_SMART].mean("utility") if INFLIGHT_PF_SMART in sheets else math.nan
    gap = sheets[ORACLE].mean("utility") - start if ORACLE in sheets else math.nan
    baselines = [other for label, other in sheets.items() if other.player.baseline and label != player.label]
    vs = {other.player.name: against(sheet, other, within_seed=within_seed) for other in baselines}
    dictator = dictator_of(sheets, untrained)
    if dictator is not None and dictator in vs:
        vs[DICTATOR] = vs[dictator]
    return Row(
        player=player.name,
        ues=ues,
        k=setup.scenario.slots_per_dcm,
        profile=setup.observe,
        decoding=player.decoding,
        followers=player.followers,
        figures={column.key: column.value(mine) for column in COLUMNS},
        train_seeds=player.train_seeds,
        world_seeds=world_seeds(len(sheet.cells_SWC[0]), setup.first_seed),
        cells=setup.cells,
        oracle_gap_share=(utility - start) / gap if gap else math.nan,
        untrained=untrained.get(player.label),
        vs=vs,
        label=player.label,
    )


def against(mine: Sheet, base: Sheet, *, within_seed: bool = False) -> Against:
    """Paired by world and cell always; by training seed where both were trained with the same ones.

    within_seed: `mine` is one training seed among several; the baseline is the mean over its own.
    """
    paired = mine.player.train_seeds == base.player.train_seeds and len(mine.cells_SWC) == len(base.cells_SWC)
    units: dict[str, list[NDArray[np.float64]]] = {}
    for metric in ("utility", "throughput_bits_per_slot"):
        base_SWC = base.values_SWC(metric)
        if within_seed:
            base_SWC = base_SWC.mean(axis=0, keepdims=True)
        units[metric] = [_by_world(values_SWC) for values_SWC in (mine.values_SWC(metric), base_SWC)]
    utilities, throughputs = units.values()
    throughput = crossed_percent(*throughputs, paired=paired)
    worlds = "world seeds" if len(mine.cells_SWC[0]) > 1 else "cells"
    several = max(len(values_SW) for values_SW in utilities) > 1
    return Against(
        throughput_pct=throughput.mean,
        utility_diff=crossed_difference(*utilities, paired=paired),
        utility_pct=crossed_percent(*utilities, paired=paired),
        throughput_pct_interval=throughput,
        over=f"training seeds x {worlds}" if several else worlds,
    )


def _by_world(values_SWC: NDArray[np.float64]) -> NDArray[np.float64]:
    """[S, W]; of one world seed, each cell is a world."""
    return values_SWC.mean(axis=2) if values_SWC.shape[1] > 1 else values_SWC[:, 0]

"""An evaluation from end to end: everybody plays in every world, by one process or several, and rows come of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from training.baselines.players import ORACLE, Player, Tuned
from training.command_line.result_file import as_plain
from training.evaluation.process_pool import Report, Task, play_tasks
from training.evaluation.rows import (
    Row,
    Setup,
    Sheet,
    Sheets,
    dictator_of,
    rows_of,
    seed_rows_of,
    untrained_of,
    world_seeds,
)
from training.replay import NODE_SCHEDULER
from training.simulator.metrics import CellMetrics

ADAPTIVE = "adaptive"
"""What stands in place of a c where the rule chooses it anew in every decision, from reports."""


class Key(NamedTuple):
    """One play: a player of one training seed in the cells of one world seed."""

    label: str
    training: int
    """Which of the player's training seeds, counted from 0."""
    ues: int
    world_seed: int

    def __str__(self) -> str:
        return f"{self.label} (training {self.training}) with {self.ues} UEs in world seed {self.world_seed}"


Cells = dict[Key, list[CellMetrics]]
"""All that was played."""
Keep = Callable[[Key, Sequence[CellMetrics]], None]


class Evaluation(NamedTuple):
    """The rows, and over how many of the setup's world seeds they go."""

    setup: Setup
    players: list[Player]
    cells: Cells
    """What the rows are made of, in the order of the table."""
    rows: list[Row]
    seed_rows: list[Row]
    """One for each training seed of every player that has several."""
    contenders: dict[str, dict[int, float | str]]
    """See contenders_of."""
    dictators: dict[int, str]
    """Which player `dictator` stands for, by number of UEs."""
    seeds_done: int

    @property
    def complete(self) -> bool:
        return self.seeds_done == self.setup.seeds

    @property
    def interval(self) -> str:
        """What the intervals are taken over."""
        worlds = "world seeds" if self.seeds_done > 1 else "cells of one world seed"
        if self.seed_rows:
            return (
                f"95 %, training seeds crossed with {worlds} (two-way random effects) where a player has several, "
                f"else Student's t over {worlds}"
            )
        return f"95 %, Student's t over {worlds}"

    def as_json(self) -> dict[str, Any]:
        """The content of a result file: NaN is null, the scenario is spelled out."""
        scenario = self.setup.scenario
        return {
            "scenario": asdict(scenario),
            "scenario_hash": scenario.hash,
            "slots": self.setup.slots,
            "interval": self.interval,
            "complete": self.complete,
            "contenders": as_plain(self.contenders),
            "dictator": as_plain(self.dictators),
            "rows": [_row_json(row) for row in self.rows],
            "seed_rows": [_row_json(row) for row in self.seed_rows],
        }


def evaluate(
    players: Sequence[Player],
    setup: Setup,
    report: Report = lambda done, what: None,
    *,
    jobs: int = 1,
    known: Mapping[Key, list[CellMetrics]] = {},
    keep: Keep = lambda key, cells: None,
) -> Evaluation:
    """Play everybody in every world. Ctrl-C keeps the world seeds that are finished; before the first it is raised.

    jobs: processes; the rows do not depend on it. known: what was played before. keep: called with each play. report:
    called with how many of `count_tasks` are done.
    """
    tasks = [
        Task(index, player.label, training, play, setup.world(ues, seed))
        for index, seed in enumerate(world_seeds(setup.seeds, setup.first_seed))
        for ues in setup.ues
        for player in players
        for training, play in enumerate(player.plays)
    ]
    due = [task for task in tasks if _key(task) not in known]
    before = len(tasks) - len(due)
    cells: Cells = dict(known)
    contenders = contenders_of(players, setup)
    try:
        for one in play_tasks(due, jobs, lambda done, what: report(before + done, what)):
            cells[_key(one.task)] = one.cells
            keep(_key(one.task), one.cells)
    except KeyboardInterrupt:
        if not _seeds_done(players, setup, cells):
            raise
    return collect(players, setup, cells, contenders)


def count_tasks(players: Sequence[Player], setup: Setup) -> int:
    return sum(len(player.plays) for player in players) * len(setup.ues) * setup.seeds


def collect(
    players: Sequence[Player],
    setup: Setup,
    played: Mapping[Key, list[CellMetrics]],
    contenders: dict[str, dict[int, float | str]],
) -> Evaluation:
    """The rows of what was played, over the world seeds, from the first on, in which everything was."""
    done = _seeds_done(players, setup, played)
    seeds = world_seeds(done, setup.first_seed)
    cells: Cells = {
        key: played[key]
        for ues in setup.ues
        for player in players
        for s in range(len(player.plays))
        for key in [Key(player.label, s, ues, seed) for seed in seeds]
    }
    sheets_by_ues: dict[int, Sheets] = {
        ues: {
            player.label: Sheet(
                player,
                [[cells[Key(player.label, s, ues, seed)] for seed in seeds] for s in range(len(player.plays))],
            )
            for player in players
        }
        for ues in setup.ues
    }
    untrained = untrained_of(sheets_by_ues)
    rows, seed_rows, dictators = [], [], {}
    for ues, sheets in sheets_by_ues.items():
        rows += rows_of(sheets, setup, ues, untrained)
        seed_rows += seed_rows_of(sheets, setup, ues, untrained)
        dictator = dictator_of(sheets, untrained)
        if dictator is not None:
            dictators[ues] = dictator
    return Evaluation(setup, list(players), cells, rows, seed_rows, contenders, dictators, done)


def _key(task: Task) -> Key:
    return Key(task.label, task.train_index, task.world.ues, task.world.seed)


def _seeds_done(players: Sequence[Player], setup: Setup, played: Mapping[Key, list[CellMetrics]]) -> int:
    """World seeds from the first on in which everything was played."""
    for index, seed in enumerate(world_seeds(setup.seeds, setup.first_seed)):
        for ues in setup.ues:
            for player in players:
                if any(Key(player.label, s, ues, seed) not in played for s in range(len(player.plays))):
                    return index
    return setup.seeds


def contenders_of(players: Sequence[Player], setup: Setup) -> dict[str, dict[int, float | str]]:
    """c of the leftover rule by baseline and number of UEs, where the evaluation or the scenario sets it."""
    found: dict[str, dict[int, float | str]] = {}
    for player in players:
        play = player.plays[0]
        if isinstance(play, Tuned):
            tuned = {ues: play.contenders(setup.scenario, ues) for ues in setup.ues}
            found[player.name] = {ues: ADAPTIVE if c is None else c for ues, c in tuned.items()}
        elif player.name in (NODE_SCHEDULER, ORACLE):
            found[player.name] = dict.fromkeys(setup.ues, setup.scenario.node_contenders)
    return found


def _row_json(row: Row) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for key, value in as_plain(row).items():
        plain.update(value if key == "figures" else {key: value})
    del plain["label"]
    return plain

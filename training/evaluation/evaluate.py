"""An evaluation from end to end: everybody plays in every world, by one process or several, and rows come of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from training.baselines.players import ORACLE, Player, Tuned, open_contenders
from training.command_line.result_file import as_plain
from training.evaluation.process_pool import Played, Report, Task, play_tasks
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

ADAPTIVE = "adaptive"
"""What stands in place of a c where the rule chooses it anew in every decision, from reports."""


class Evaluation(NamedTuple):
    """The rows, and over how many of the setup's world seeds they go."""

    setup: Setup
    rows: list[Row]
    seed_rows: list[Row]
    """One for each training seed of every player that has several."""
    contenders: dict[str, dict[int, float | str]]
    """c of the leftover rule by baseline and number of UEs, where the evaluation or the scenario sets it."""
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
            return f"95 %, Student's t over training seeds where a player has several, else over {worlds}"
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
    players: Sequence[Player], setup: Setup, report: Report = lambda done, what: None, *, jobs: int = 1
) -> Evaluation:
    """Play everybody in every world. Ctrl-C keeps the world seeds that are finished; before the first it is raised.

    jobs: processes; the rows do not depend on it. report: called with how many of `count_tasks` are done.
    """
    tasks = [
        Task(index, player.label, train_index, play, setup.world(ues, seed))
        for index, seed in enumerate(world_seeds(setup.seeds, setup.first_seed))
        for ues in setup.ues
        for player in players
        for train_index, play in enumerate(player.plays)
    ]
    played: list[Played] = []
    try:
        for one in play_tasks(tasks, jobs, report):
            played.append(one)
    except KeyboardInterrupt:
        if not _seeds_done(played, len(tasks) // setup.seeds):
            raise
    return _collected(players, setup, played, _seeds_done(played, len(tasks) // setup.seeds))


def count_tasks(players: Sequence[Player], setup: Setup) -> int:
    return sum(len(player.plays) for player in players) * len(setup.ues) * setup.seeds


def _seeds_done(played: Sequence[Played], tasks_per_seed: int) -> int:
    """World seeds from the first on in which everything was played."""
    count = 0
    while sum(one.task.world_index == count for one in played) == tasks_per_seed:
        count += 1
    return count


def _collected(players: Sequence[Player], setup: Setup, played: Sequence[Played], seeds: int) -> Evaluation:
    cells = {(p.task.world.ues, p.task.label, p.task.train_index, p.task.world_index): p.cells for p in played}
    sheets_by_ues: dict[int, Sheets] = {
        ues: {
            player.label: Sheet(
                player,
                [[cells[ues, player.label, s, w] for w in range(seeds)] for s in range(len(player.plays))],
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
    return Evaluation(setup, rows, seed_rows, _contenders(players, setup), dictators, seeds)


def _contenders(players: Sequence[Player], setup: Setup) -> dict[str, dict[int, float | str]]:
    found: dict[str, dict[int, float | str]] = {}
    for player in players:
        play = player.plays[0]
        if isinstance(play, Tuned):
            tuned = {ues: open_contenders(setup.scenario, play.player, ues) for ues in setup.ues}
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

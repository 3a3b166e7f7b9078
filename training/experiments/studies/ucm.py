"""UCMs: does what followers say matter to the leader?

A leader that hears words is compared with one that was trained alike without them; and what it loses when they fall
silent, or when each UE's word reaches it under another UE's name, says how much it relies on them. Three times: beside
full reports, beside reports that are stale, and alone, where a node reports nothing of its queues.
"""

from __future__ import annotations

from typing import NamedTuple

from policy.errors import counted
from training.experiments.comparison import MEANS
from training.experiments.figure import Curve, Figure, Panel
from training.experiments.measurement import Measured, World, world_seeds
from training.experiments.paragraph import Claim, shown, verdict
from training.experiments.report import Report
from training.experiments.studies.ucm_hearing import Hearing, listen, listener_part, speaker_part
from training.experiments.study import Part, Study
from training.experiments.table import Column, Table, interval_cells, interval_columns
from training.simulator.scenario import Scenario

SCENARIO = "sporadic"
STALE_SLOTS = 12
WITHOUT, NEED, SILENT, SHUFFLED, LEARNED = "without words", "need", "silent", "shuffled", "learned words"
METRICS = ("throughput_bits_per_slot", "jain", "drop_fraction", "collision_fraction")


class Condition(NamedTuple):
    """How a leader is told of its UEs."""

    name: str
    delay_slots: int
    """Age of a report, and of the word that comes with it; 0 = the scenario's."""
    words_alone: bool
    """Reports say nothing of queues."""


CONDITIONS = (
    Condition("full reports", 0, False),
    Condition("stale reports", STALE_SLOTS, False),
    Condition("words alone", 0, True),
)

DEFINITIONS = (
    "without words: a leader trained alike whose prompt has none; all others are one leader that was trained with the "
    "words `need` (bits a slot that a UE must be served to keep its deadlines, in eight levels). silent: its words are "
    "taken away. shuffled: the words of a cell's speaking UEs change places. learned words: those of followers that "
    "learned under it, from `need` on, what to say. Leaders imitate the oracle; UEs send by the best-response rule, "
    "so that words alone differ. stale reports: they, and the words with them, are "
    f"{STALE_SLOTS} slots old. words alone: reports without buffer status and age of the oldest packet. Utility: mean "
    "over UEs of log(1 + throughput/100), minus .5 collisions and .1 waste per RBG-slot."
)

Found = dict[str, dict[str, Measured]]
"""By condition and row."""


def run(study: Study) -> Report:
    budget, options = study.budget, study.options
    base = options.scenario(SCENARIO)
    conditions = CONDITIONS[: budget.pick(smoke=1, quick=2, full=3)]
    ues = (options.ues or (4,))[0]
    found = {c.name: _measure(study, c, _scenario(base, c), ues) for c in conditions}
    seeds, worlds = budget.train_seeds, budget.world_seeds
    return Report(
        table=_table(found),
        figure=_figure(found),
        definitions=DEFINITIONS,
        paragraph=_paragraph(found),
        sample=f"{counted(seeds, 'training seed')}; {counted(worlds, 'world seed')} of {budget.cells} cells of "
        f"{ues} UEs, {budget.slots} slots each; {_steps(study)} steps of imitation; intervals over "
        f"{'training seeds crossed with world seeds' if seeds > 1 else 'world seeds'}.",
        scenarios=[base],
        findings={
            name: {row: m.minus(mine[WITHOUT], "utility") for row, m in mine.items()} for name, mine in found.items()
        },
    )


def _scenario(base: Scenario, condition: Condition) -> Scenario:
    return base.with_(report_delay_slots=condition.delay_slots) if condition.delay_slots else base


def _steps(study: Study) -> int:
    return study.budget.pick(smoke=2, quick=120, full=400)


def _measure(study: Study, condition: Condition, scenario: Scenario, ues: int) -> dict[str, Measured]:
    budget, seeds = study.budget, study.train_seeds
    batch = budget.pick(smoke=4, quick=24, full=48)
    own = {"scenario": scenario, "ues": scenario.ue_counts}

    def listeners(listens: bool) -> list[Part]:
        what = "with words" if listens else "without"
        return [
            Part(
                f"leader {what}, {condition.name}, seed {seed}",
                listener_part,
                {**own, "listens": listens, "words_alone": condition.words_alone, "steps": _steps(study),
                 "batch": batch, "seed": seed},
                trains=True,
            )
            for seed in seeds
        ]  # fmt: skip

    deaf, hearing = listeners(False), listeners(True)
    study.run([*deaf, *hearing])
    leaders = [study.folder_of(part) / "bundle" for part in hearing]
    rows: dict[str, tuple[list, list, Hearing]] = {
        WITHOUT: ([study.folder_of(part) / "bundle" for part in deaf], [None] * len(seeds), "as said"),
        NEED: (leaders, [None] * len(seeds), "as said"),
        SILENT: (leaders, [None] * len(seeds), "nothing"),
        SHUFFLED: (leaders, [None] * len(seeds), "shuffled"),
    }
    if not condition.words_alone:
        # Followers learn beside a leader that gets full reports.
        speakers = [
            Part(
                f"speakers, {condition.name}, seed {seed}",
                speaker_part,
                {**own, "bundle": leader, "updates": budget.pick(smoke=1, quick=15, full=60),
                 "cells": budget.pick(smoke=2, quick=16, full=32), "seed": seed},
                trains=True,
            )
            for seed, leader in zip(seeds, leaders, strict=True)
        ]  # fmt: skip
        study.run(speakers)
        rows[LEARNED] = (leaders, [study.folder_of(part) / "bundle" for part in speakers], "as said")
    world = World(scenario, ues, budget.cells, budget.world_seeds, budget.slots)
    parts = [
        Part(
            f"{condition.name}, {row}, run {run}, world seed {seed}",
            listen,
            {"leader": leader, "speakers": speaker, "hearing": how, "words_alone": condition.words_alone,
             "scenario": scenario, "ues": ues, "cells": world.cells, "slots": world.slots, "seed": seed},
        )
        for row, (led, talkers, how) in rows.items()
        for run, (leader, speaker) in enumerate(zip(led, talkers, strict=True))
        for seed in world_seeds(world)
    ]  # fmt: skip
    results = iter(study.run(parts))
    return {
        row: Measured(row, world, [[next(results) for _ in world_seeds(world)] for _ in seeds], len(seeds))
        for row in rows
    }


def _table(found: Found) -> Table:
    table = Table(
        (
            Column("reports", "how the leader is told of its UEs"),
            Column("words", "what it hears"),
            *interval_columns("utility", "nats per UE"),
            *interval_columns("above_without", "utility above the leader's that was trained without words, paired"),
            *interval_columns("above_need", "utility above the same leader's that hears `need`, paired"),
            *(Column(metric, MEANS[metric]) for metric in METRICS),
        )
    )
    for name, mine in found.items():
        for row, m in mine.items():
            table.add(
                reports=name,
                words=row,
                **interval_cells("utility", m.interval("utility")),
                **interval_cells("above_without", m.minus(mine[WITHOUT], "utility")),
                **interval_cells("above_need", m.minus(mine[NEED], "utility")),
                **{metric: m.mean(metric) for metric in METRICS},
            )
    return table


def _figure(found: Found) -> Figure:
    panels = []
    for base in (WITHOUT, NEED):
        rows = [row for row in (NEED, LEARNED, SILENT, SHUFFLED) if row != base]
        curves = []
        for row in rows:
            names = [name for name, mine in found.items() if row in mine]
            curves.append(Curve(row, names, [found[n][row].minus(found[n][base], "utility") for n in names]))
        title = "Above a leader trained without words" if base == WITHOUT else "Above the same leader that hears `need`"
        panels.append(Panel(title, "", "utility, nats per UE", curves, level=0.0))
    return Figure("What the leader hears of its UEs", panels)


def _paragraph(found: Found) -> str:
    sentences = []
    for name, mine in found.items():
        difference = mine[NEED].minus(mine[WITHOUT], "utility")
        learned = [Claim(row, mine[row].minus(mine[WITHOUT], "utility")) for row in (NEED, LEARNED) if row in mine]
        relied = [Claim(row, mine[row].minus(mine[NEED], "utility")) for row in (SILENT, SHUFFLED)]
        matters = "matter" if difference.low > 0 else "harm" if difference.high < 0 else "are not seen to matter"
        sentences.append(
            f"**{name}**: words {matters} ({shown(difference, signed=True)} utility of a leader that hears `need` over "
            f"one trained without). {verdict(learned, 'a leader without words')} Of the leader that was trained to "
            f"listen: {verdict(relied, 'hearing each UE its own word')}"
        )
    return " ".join(sentences)

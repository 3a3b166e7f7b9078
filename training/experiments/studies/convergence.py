"""Fig. 5: how many epochs until the system utility stands still, against the paper's ~1250.

An epoch is one update as the paper's Algorithm 1 counts: play, then learn from what was played. Bundles are kept on the
way and measured greedy in worlds that nothing was trained or tuned on; the log's sampled reward is drawn beside them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from policy.errors import counted
from training.experiments.comparison import FAIR
from training.experiments.figure import Curve, Figure, Panel
from training.experiments.measurement import Measured, Plan, PlayerSpec, World, measure, pooled
from training.experiments.paragraph import Claim, listed, shown, verdict
from training.experiments.report import Report
from training.experiments.study import Study
from training.experiments.table import Column, Table, interval_cells, interval_columns
from training.experiments.trainings import Recipe, Trained, budget_config, train_all
from training.intervals import Interval, mean_interval

SCENARIO = "paper"
UES = (3, 4, 5)
"""The paper's: a leader is trained on cells of all these sizes together, and looked at in each."""
PAPER_EPOCHS = 1250
FULL_EPOCHS = 1500
SETTLED_SHARE = 0.05
"""Share of the whole gain: closer than this to the last bundle, and staying there, is converged."""
SMOOTHED_SHARE = 1 / 60
"""Share of a run over which the sampled reward is averaged for its curve."""
SMOOTHED_UPDATES = 10
"""The least of these."""
MOST_STOPS = 8


class Variant(NamedTuple):
    """Who learns, and by which credit."""

    label: str
    changes: Mapping[str, Any]
    """Of the trainer's config."""
    followers: str = "rule"
    """Whose answers it is measured with."""


TOGETHER: Mapping[str, Any] = {"roles": ("leader", "follower"), "alternate": False}
VARIANTS = (
    Variant("regression", {"objective": "regression"}),
    Variant("counterfactual", {"objective": "counterfactual"}),
    Variant("sequence", {"objective": "sequence"}),
    Variant("sequence, both learn", {"objective": "sequence", **TOGETHER}, "learned"),
)
"""The default; PPO's clipped ratio with every token's own advantage; the paper's PPO with GAE over whole DCMs,
for the leader alone and as the whole algorithm, in which followers learn beside it."""
SEQUENCE_STATES: Mapping[str, Any] = {"worlds": 3, "cells": 4, "horizon": 8}
"""GAE needs time: as many DCMs an update as the others decide, of fewer cells over more slots."""

DEFINITIONS = (
    "Epoch: one update, as the paper's Algorithm 1 counts (play, then learn from what was played). regression, "
    "counterfactual: what every token was worth, from branches of the simulator, climbed by regression and by PPO's "
    "clipped ratio. sequence: the paper's PPO, one advantage by GAE for a whole DCM. Followers give the best response; "
    "where both learn, they are learned, from the same warm start on. Converged: the first bundle kept from which on "
    f"the mean utility over training seeds stays within {SETTLED_SHARE:.0%} of the whole gain (last less warm start) "
    "of the last one's; only where that gain's interval is clear of 0 and more bundles than the last are that near. "
    "This was laid down before the runs. System utility: mean over UEs of log(1 + throughput/100), minus .5 collisions "
    "and .1 waste per RBG-slot, greedy, in worlds that nothing was trained on; all cell sizes together are the mean of "
    "theirs."
)

Curves = dict[str, list[Measured]]
"""Of each variant, at each point."""


def run(study: Study) -> Report:
    budget, options = study.budget, study.options
    scenario = options.scenario(SCENARIO)
    counts = options.ues or UES
    variants = budget.pick(smoke=VARIANTS[::3], quick=VARIANTS[:3:2], full=VARIANTS)
    epochs = budget.pick(smoke=budget.updates, quick=budget.updates, full=FULL_EPOCHS)
    recipes = []
    for variant in variants:
        less = SEQUENCE_STATES if budget.level == "full" and variant.label.startswith("sequence") else {}
        config = budget_config(budget, [scenario], ues=counts, updates=epochs, **{**less, **variant.changes})
        recipes.append(Recipe(variant.label, config, stops_of(epochs, config.round_updates)))
    trained = train_all(study, recipes)
    points = [0, *recipes[0].stops]
    worlds = [World(scenario, ues, budget.cells, budget.world_seeds, budget.slots) for ues in counts]
    plans = [
        Plan(t.players(t.at(point), followers=variant.followers), world)
        for variant, t in zip(variants, trained)
        for point in points
        for world in worlds
    ]
    rules = [Plan((PlayerSpec(FAIR, FAIR),), world) for world in worlds]
    found = measure(study.run, [*plans, *rules])
    fair = _with_pooled(found[len(plans) :])
    rows = iter(found)
    curves: dict[int, Curves] = {size: {t.label: [] for t in trained} for size in (0, *counts)}
    for t in trained:
        for _ in points:
            for size, m in _with_pooled([next(rows) for _ in worlds]).items():
                curves[size][t.label].append(m)
    settled = {size: {label: converged(points, ms) for label, ms in mine.items()} for size, mine in curves.items()}
    return Report(
        table=_table(trained, curves, points, fair, settled),
        figure=_figure(trained, curves, points, fair, settled),
        definitions=DEFINITIONS,
        paragraph=_paragraph(curves, points, fair, settled),
        sample=f"{counted(budget.train_seeds, 'training seed')}; {counted(budget.world_seeds, 'world seed')} of "
        f"{budget.cells} cells of each size, {budget.slots} slots each; "
        f"trained on {listed([str(c) for c in counts])} UEs for {epochs} epochs after "
        f"{recipes[0].config.warm_up_steps} steps of imitation; intervals over "
        f"{'training seeds crossed with world seeds' if budget.train_seeds > 1 else 'world seeds'}.",
        scenarios=[scenario],
        findings={
            "converged_at_epoch": {_cells(size): mine for size, mine in settled.items()},
            "gain": {
                _cells(size): {label: ms[-1].minus(ms[0], "utility") for label, ms in mine.items()}
                for size, mine in curves.items()
            },
            "paper": PAPER_EPOCHS,
        },
    )


def _with_pooled(found: Sequence[Measured]) -> dict[int, Measured]:
    """By number of UEs; 0 = all together."""
    return {0: pooled(found)} | {m.world.ues: m for m in found}


def _cells(size: int) -> str:
    return f"{size} UEs" if size else "all"


def stops_of(updates: int, round_updates: int) -> tuple[int, ...]:
    """About evenly spread, the last one the end. A run is cheap to stop after a round's first update."""
    every = max(1, -(-updates // round_updates // MOST_STOPS)) * round_updates
    return (*(k + 1 for k in range(0, updates, every) if k and k + 1 < updates), updates)


def converged(points: Sequence[int], curve: Sequence[Measured]) -> int | None:
    """The epoch from which on the mean stays near the last; None where nothing was gained, or still is at the end."""
    gain = curve[-1].minus(curve[0], "utility")
    if not gain.low > 0:
        return None
    means = [m.mean("utility") for m in curve]
    near = abs(gain.mean) * SETTLED_SHARE
    settled = points[-1]
    for point, mean in reversed(list(zip(points, means))):
        if abs(mean - means[-1]) > near:
            break
        settled = point
    return settled if settled < points[-1] else None


def smoothed(logs: Sequence[list[dict[str, float]]]) -> tuple[list[int], list[Interval]]:
    """The logged reward over training seeds, means of some updates at a time."""
    length = min(map(len, logs))
    width = min(max(SMOOTHED_UPDATES, round(length * SMOOTHED_SHARE)), max(1, length))
    ends = list(range(width, length + 1, width))
    values = [
        mean_interval([sum(line["reward"] for line in log[end - width : end]) / width for log in logs]) for end in ends
    ]
    return ends, values


def _table(
    trained: list[Trained],
    curves: dict[int, Curves],
    points: list[int],
    fair: dict[int, Measured],
    settled: dict[int, dict[str, int | None]],
) -> Table:
    table = Table(
        (
            Column("objective", "what the leader climbs, and who learns"),
            Column("ues", "UEs per cell; all = every size that was trained on"),
            Column("epoch", "updates so far; 0 is the warm start"),
            Column("cell_steps", "slots x cells played so far, branches not counted"),
            *interval_columns("utility", "nats per UE, greedy"),
            *interval_columns("gain", "utility above the warm start's, paired"),
            *interval_columns("above_fair", f"utility above {FAIR}'s, paired"),
            Column("converged_at", "epoch; empty = no gain to converge to, or still gaining at the end"),
            Column("jain", "Jain's index of the UEs' throughputs"),
            Column("throughput_bits_per_slot", "bits per slot and cell"),
        )
    )
    for t in trained:
        for size, mine in curves.items():
            for point, m in zip(points, mine[t.label]):
                epoch = settled[size][t.label]
                table.add(
                    objective=t.label,
                    ues=size or "all",
                    epoch=point,
                    cell_steps=t.logs[0][point - 1]["cell_steps"] if point else 0,
                    **interval_cells("utility", m.interval("utility")),
                    **interval_cells("gain", m.minus(mine[t.label][0], "utility")),
                    **interval_cells("above_fair", m.minus(fair[size], "utility")),
                    converged_at=math.nan if epoch is None else epoch,
                    jain=m.mean("jain"),
                    throughput_bits_per_slot=m.mean("throughput_bits_per_slot"),
                )
    return table


def _figure(
    trained: list[Trained],
    curves: dict[int, Curves],
    points: list[int],
    fair: dict[int, Measured],
    settled: dict[int, dict[str, int | None]],
) -> Figure:
    panels = [
        Panel(
            f"System utility, {f'{size} UEs' if size else 'all sizes'}",
            "epoch (updates)",
            f"utility above {FAIR}, nats per UE",
            [Curve(label, points, [m.minus(fair[size], "utility") for m in ms]) for label, ms in mine.items()],
            level=0.0,
            marks=[(float(k), f"{label} converged") for label, k in settled[size].items() if k is not None],
        )
        for size, mine in curves.items()
    ]
    rewards = [Curve(t.label, *smoothed(t.logs)) for t in trained]
    panels.append(Panel("While training, sampled", "epoch (updates)", "slot reward, nats per UE", rewards))
    return Figure("Convergence (the paper's Fig. 5)", panels)


def _paragraph(
    curves: dict[int, Curves],
    points: list[int],
    fair: dict[int, Measured],
    settled: dict[int, dict[str, int | None]],
) -> str:
    sentences = []
    for label, ms in curves[0].items():
        gain = ms[-1].minus(ms[0], "utility")
        if settled[0][label] is None:
            still = "has not converged" if gain.low > 0 else "shows no gain to converge to"
            end = f"{still} within {points[-1]} epochs (the paper: ~{PAPER_EPOCHS})"
        else:
            end = f"converges at epoch {settled[0][label]} of {points[-1]} (the paper: ~{PAPER_EPOCHS})"
        sizes = ", ".join(
            f"{mine[label][-1].world.ues} UEs {_epoch(settled[size][label])}" for size, mine in curves.items() if size
        )
        sentences.append(
            f"{label} {end}; its gain over the warm start is {shown(gain, signed=True)} utility ({sizes})."
        )
    claims = [Claim(label, ms[-1].minus(fair[0], "utility")) for label, ms in curves[0].items()]
    sentences.append(f"At the end, utility. {verdict(claims, FAIR)}")
    if math.isnan(claims[0].difference.low):
        sentences.append("There is one world seed and one training seed: no intervals.")
    return " ".join(sentences)


def _epoch(settled: int | None) -> str:
    return "not converged" if settled is None else f"at {settled}"

"""Fig. 5: how many epochs until the system utility stands still, against the paper's ~1250.

An epoch is one update as the paper's Algorithm 1 counts: play, then learn from what was played. Leaders learn in cells
of 3, 4 and 5 UEs in turn. Bundles are kept on the way and measured greedy in cells of each of these sizes, in worlds
that nothing was trained or tuned on; the log's sampled reward is drawn beside them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from training.experiments.comparison import FAIR
from training.experiments.figure import Curve, Figure, Panel
from training.experiments.measurement import Measured, Plan, PlayerSpec, World, measure
from training.experiments.paragraph import Claim, listed, shown, verdict
from training.experiments.report import Report
from training.experiments.study import Study
from training.experiments.table import Column, Table, interval_cells, interval_columns
from training.experiments.trainings import Recipe, Trained, budget_config, train_all
from training.intervals import Interval, mean_interval

SCENARIO = "paper"
PAPER_EPOCHS = 1250
SETTLED_SHARE = 0.05
"""Share of the whole gain: closer than this to the last bundle, and staying there, is converged."""
CREDITS: dict[str, dict[str, Any]] = {
    "regression": {"objective": "regression"},
    "sequence": {"objective": "sequence"},
    "counterfactual": {"objective": "counterfactual"},
    "with followers": {"objective": "regression", "roles": ("leader", "follower")},
}
"""The trainer's default, the paper's own (GAE over whole DCMs inside PPO), the same by exact counterfactuals of single
tokens, and the first with followers that learn in turn with the leader."""
EPOCHS = 1500
SMOOTHED_UPDATES = 10
MOST_STOPS = 8

DEFINITIONS = (
    "Epoch: one update, as the paper's Algorithm 1 counts (play, then learn from what was played); one of `sequence` "
    "plays more periods than one of the others, see cell_steps. Converged: the first bundle kept from which on the "
    f"mean utility over training seeds stays within {SETTLED_SHARE:.0%} of the whole gain (last less warm start) of "
    "the last one's; only where that gain's interval is clear of 0 and more bundles than the last are that near. "
    "System utility: mean over UEs of log(1 + throughput/100), minus .5 collisions and .1 waste per RBG-slot, greedy, "
    "in worlds that nothing was trained on."
)


def run(study: Study) -> Report:
    budget, options = study.budget, study.options
    scenario = options.scenario(SCENARIO)
    counts = options.ues or scenario.ue_counts
    updates = budget.pick(smoke=budget.updates, quick=budget.updates, full=EPOCHS)
    labels = list(CREDITS)[: budget.pick(smoke=1, quick=2, full=4)]
    recipes = []
    for label in labels:
        config = budget_config(budget, [scenario], ues=counts, updates=updates, **CREDITS[label])
        recipes.append(Recipe(label, config, stops_of(config.updates, config.round_updates)))
    trained = train_all(study, recipes)
    worlds = [World(scenario, ues, budget.cells, budget.world_seeds, budget.slots) for ues in counts]
    points = [0, *recipes[0].stops]
    curves: dict[tuple[str, int], list[Measured]] = {}
    fair: dict[int, Measured] = {}
    for world in worlds:
        plans = [Plan(t.players(t.at(point), followers=_followers(t)), world) for t in trained for point in points]
        *found, fair[world.ues] = measure(study.run, [*plans, Plan((PlayerSpec(FAIR, FAIR),), world)])
        for k, t in enumerate(trained):
            curves[t.label, world.ues] = found[k * len(points) : (k + 1) * len(points)]
    settled = {key: converged(points, ms) for key, ms in curves.items()}
    return Report(
        table=_table(trained, curves, points, fair),
        figure=_figure(trained, curves, points, fair, settled),
        definitions=DEFINITIONS,
        paragraph=_paragraph(curves, points, fair, settled),
        sample=f"{budget.train_seeds} training seeds; {budget.world_seeds} world seeds of {budget.cells} cells of "
        f"{listed([str(c) for c in counts])} UEs, {budget.slots} slots each; trained on these counts in turn for "
        f"{updates} epochs after {recipes[0].config.warm_up_steps} steps of imitation; intervals "
        f"{'cross training with world' if budget.train_seeds > 1 else 'are over world'} seeds.",
        scenarios=[scenario],
        findings={
            "converged_at_epoch": {label: {ues: settled[label, ues] for ues in counts} for label in labels},
            "paper": PAPER_EPOCHS,
        },
    )


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
    """The logged reward over training seeds, means of SMOOTHED_UPDATES updates at a time."""
    length = min(map(len, logs))
    width = min(SMOOTHED_UPDATES, max(1, length))
    ends = list(range(width, length + 1, width))
    values = [
        mean_interval([sum(line["reward"] for line in log[end - width : end]) / width for log in logs]) for end in ends
    ]
    return ends, values


def _followers(trained: Trained) -> str:
    return "learned" if "roles" in CREDITS[trained.label] else "rule"


def _table(
    trained: list[Trained], curves: dict[tuple[str, int], list[Measured]], points: list[int], fair: dict[int, Measured]
) -> Table:
    table = Table(
        (
            Column("credit", "what the leader climbs; with followers = they learn, too, by regression"),
            Column("ues", "UEs per cell"),
            Column("epoch", "updates so far; 0 is the warm start"),
            Column("cell_steps", "slots x cells played so far, branches not counted"),
            *interval_columns("utility", "nats per UE, greedy"),
            *interval_columns("gain", "utility above the warm start's, paired"),
            *interval_columns("above_fair", f"utility above {FAIR}'s, paired"),
            Column("jain", "Jain's index of the UEs' throughputs"),
            Column("throughput_bits_per_slot", "bits per slot and cell"),
        )
    )
    logs = {t.label: t.logs[0] for t in trained}
    for (label, ues), measured in curves.items():
        for point, m in zip(points, measured):
            table.add(
                credit=label,
                ues=ues,
                epoch=point,
                cell_steps=logs[label][point - 1]["cell_steps"] if point else 0,
                **interval_cells("utility", m.interval("utility")),
                **interval_cells("gain", m.minus(measured[0], "utility")),
                **interval_cells("above_fair", m.minus(fair[ues], "utility")),
                jain=m.mean("jain"),
                throughput_bits_per_slot=m.mean("throughput_bits_per_slot"),
            )
    return table


def _figure(
    trained: list[Trained],
    curves: dict[tuple[str, int], list[Measured]],
    points: list[int],
    fair: dict[int, Measured],
    settled: dict[tuple[str, int], int | None],
) -> Figure:
    panels = [
        Panel(
            f"{ues} UEs: system utility, greedy, paired",
            "epoch (updates)",
            f"utility above {FAIR}, nats per UE",
            [Curve(t.label, points, [m.minus(fair[ues], "utility") for m in curves[t.label, ues]]) for t in trained],
            level=0.0,
            marks=[
                (float(epoch), f"{label} converged")
                for (label, count), epoch in settled.items()
                if count == ues and epoch is not None
            ],
        )
        for ues in fair
    ]
    rewards = [Curve(t.label, *smoothed(t.logs)) for t in trained]
    panels.append(Panel("While training, sampled", "epoch (updates)", "slot reward, nats per UE", rewards))
    return Figure("Convergence (the paper's Fig. 5)", panels)


def _paragraph(
    curves: dict[tuple[str, int], list[Measured]],
    points: list[int],
    fair: dict[int, Measured],
    settled: dict[tuple[str, int], int | None],
) -> str:
    sentences = []
    for (label, ues), ms in curves.items():
        gain, epoch = ms[-1].minus(ms[0], "utility"), settled[label, ues]
        if epoch is None:
            still = "has not converged" if gain.low > 0 else "shows no gain to converge to"
            end = f"{still} within {points[-1]} epochs (the paper: ~{PAPER_EPOCHS})"
        else:
            end = f"converges at epoch {epoch} of {points[-1]} (the paper: ~{PAPER_EPOCHS})"
        sentences.append(
            f"{label} {end}, {ues} UEs; its gain over the warm start is {shown(gain, signed=True)} utility."
        )
    claims = [Claim(f"{label}, {ues} UEs", ms[-1].minus(fair[ues], "utility")) for (label, ues), ms in curves.items()]
    sentences.append(f"At the end, utility. {verdict(claims, FAIR)}")
    if math.isnan(claims[0].difference.low):
        sentences.append("There is one world seed and one training seed: no intervals.")
    return " ".join(sentences)

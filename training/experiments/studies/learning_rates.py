"""Theorem 2: leader and followers learn at different rates, and their ratio decides whether the game settles.

Both learn together; the followers' rate stands still and the leader's is varied, kappa = kappa_1 / kappa_2 = leader's
rate / followers'. Seen are the end, the way (how much the reward swings late in the run), and runs that diverge.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from training.experiments.comparison import FAIR, compare, rules, sample_of, table_of
from training.experiments.figure import Curve, Figure, Panel
from training.experiments.measurement import Measured, World
from training.experiments.paragraph import Claim, listed, shown, verdict
from training.experiments.report import Report
from training.experiments.studies.convergence import smoothed
from training.experiments.study import Study
from training.experiments.trainings import Recipe, Trained, budget_config, train_all
from training.intervals import Interval, mean_interval

SCENARIO = "mix"
RATIOS = (0.1, 1.0, 10.0, 100.0)
"""Theorem 2 wants followers that are no slower than their leader, and steps that are small: 10 and 100 are neither."""
FULL_EPOCHS = 200
LATE_SHARE = 1 / 3
"""Share of a run, its end, in which it should be steady."""
START = "warm start"
TOGETHER: dict[str, Any] = {"roles": ("leader", "follower"), "alternate": False, "objective": "counterfactual"}
"""Both in every update, each by the gradient of its own objective: the game that the theorem is about."""

DEFINITIONS = (
    "kappa: the leader's learning rate over the followers', which stands still. Leader and followers learn together "
    "from the same warm start. Swing: standard deviation of the sampled slot reward over the last third of a run, nats "
    "per UE; worlds are drawn anew with equal seeds, so what differs between ratios is learning. Diverged: the run was "
    "stopped at a loss or gradient that is not finite. Utility with the learned followers."
)


def run(study: Study) -> Report:
    budget, options = study.budget, study.options
    scenario = options.scenario(SCENARIO)
    ratios = budget.pick(smoke=(1.0,), quick=(0.1, 1.0, 10.0), full=RATIOS)
    epochs = budget.pick(smoke=budget.updates, quick=budget.updates, full=FULL_EPOCHS)
    follower_lr = budget_config(budget, [scenario]).follower_lr
    recipes = [
        Recipe(
            _name(ratio),
            budget_config(
                budget, [scenario], ues=scenario.ue_counts, updates=epochs, leader_lr=ratio * follower_lr, **TOGETHER
            ),
        )
        for ratio in ratios
    ]
    trained = train_all(study, recipes)
    well = [t for t in trained if not any(t.diverged)]
    ues = (options.ues or (4,))[0]
    worlds = [World(scenario, ues, budget.cells, budget.world_seeds, budget.slots)]
    start = [p._replace(label=START) for p in trained[0].players(trained[0].warm_starts, followers="learned")]
    found = compare(study, [*(t.players(followers="learned") for t in well), start, *rules(FAIR)], worlds)
    swings = {t.label: swing(t.logs) for t in well}
    more: dict[str, tuple[str, dict[str, Any]]] = {
        "kappa": ("leader's learning rate over the followers'", {_name(r): r for r in ratios}),
        "swing": ("standard deviation of the reward late in the run", {k: i.mean for k, i in swings.items()}),
        "diverged": ("runs that diverged", {t.label: sum(t.diverged) for t in trained}),
    }
    return Report(
        table=table_of(found, (START, FAIR), "ratio of the learning rates", more),
        figure=_figure(found, trained, swings, dict(zip((_name(r) for r in ratios), ratios))),
        definitions=DEFINITIONS,
        paragraph=_paragraph(found, trained, swings),
        sample=sample_of(study, worlds) + f" Followers' learning rate {follower_lr:g}.",
        scenarios=[scenario],
        findings={"swing": {label: i.mean for label, i in swings.items()}},
    )


def _name(ratio: float) -> str:
    return f"kappa = {ratio:g}"


def swing(logs: Sequence[list[dict[str, float]]]) -> Interval:
    """The reward's swing late in the runs, over training seeds."""
    late = [[line["reward"] for line in log[-max(2, round(len(log) * LATE_SHARE)) :]] for log in logs]
    return mean_interval([float(np.std(values)) for values in late])


def _figure(
    found: list[Measured], trained: list[Trained], swings: dict[str, Interval], ratios: dict[str, float]
) -> Figure:
    labels = list(swings)
    base = next(m for m in found if m.player == START)
    ends = [m.minus(base, "utility") for label in labels for m in found if m.player == label]
    x = [ratios[label] for label in labels]
    ways = [Curve(t.label, *smoothed(t.logs)) for t in trained if t.label in swings]
    return Figure(
        "Ratio of the learning rates (Theorem 2)",
        [
            Panel(
                "End",
                "kappa = leader's rate / followers'",
                "utility above the warm start",
                [Curve("", x, ends)],
                log_x=True,
                level=0.0,
            ),
            Panel("Way", "epoch (updates)", "slot reward, nats per UE", ways),
            Panel(
                "Swing late in the run",
                "kappa = leader's rate / followers'",
                "std of slot reward",
                [Curve("", x, [swings[label] for label in labels])],
                log_x=True,
            ),
        ],
    )


def _paragraph(found: list[Measured], trained: list[Trained], swings: dict[str, Interval]) -> str:
    base = next(m for m in found if m.player == START)
    fair = next(m for m in found if m.player == FAIR)
    mine = [m for m in found if m.player in swings]
    claims = [Claim(m.player, m.minus(base, "utility")) for m in mine]
    against = [Claim(m.player, m.minus(fair, "utility")) for m in mine]
    broken = [t.label for t in trained if any(t.diverged)]
    steady = sorted(swings, key=lambda label: swings[label].mean)
    lost = [claim.subject for claim in claims if claim.side < 0]
    sentences = [
        f"Utility: {verdict(claims, 'the warm start')} {verdict(against, FAIR)}",
        f"What had been learned was lost (utility below the warm start's, clear of 0) at {listed(lost)}."
        if lost
        else "At no ratio was what had been learned lost.",
        f"Runs diverged at {listed(broken)}." if broken else "No run diverged.",
    ]
    if len(steady) > 1 and not math.isnan(swings[steady[0]].mean):
        sentences.append(
            f"The reward swings least at {steady[0]} ({shown(swings[steady[0]], digits=4)}) and most at {steady[-1]} "
            f"({shown(swings[steady[-1]], digits=4)})."
        )
    return " ".join(sentences)

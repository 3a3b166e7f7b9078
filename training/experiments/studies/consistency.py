"""The consistency weight rho_2 of the paper's Eq. 2: what followers gain and lose by doing as the DCM says.

Followers are trained under one learned leader that stands still, with every weight; all begin alike, as imitators of
the best-response rule.
"""

from __future__ import annotations

import numpy as np

from training.experiments.comparison import FAIR, compare, rules, sample_of, table_of
from training.experiments.figure import Curve, Figure, Panel
from training.experiments.follower_trainings import measure_agreement
from training.experiments.measurement import Measured, PlayerSpec, World, world_seeds
from training.experiments.paragraph import Claim, shown, verdict
from training.experiments.report import Report
from training.experiments.study import Part, Study
from training.experiments.trainings import Recipe, budget_config, train_all
from training.intervals import Interval, crossed_mean, finite_mean, mean_interval
from training.learning.health import FAIR_JAIN

SCENARIO = "mix"
WEIGHTS = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)
FULL_WEIGHTS = (0.0, 0.1, 1.0)
FULL_FOLLOWER_EPOCHS = 200
METRICS = {
    "utility": "nats per UE",
    "jain": "Jain's index",
    "collision_fraction": "collisions, share of RBG-slots",
}

DEFINITIONS = (
    "rho_2: weight in a follower's reward of its agreement with the DCM, the share of the RBGs offered to a UE with "
    "something to send on which it does as the DCM says (it uses what it was granted, as far as its power carries, and "
    "enters what is open only where its coin fell). Followers draw their bits. Utility: mean over UEs of log(1 + "
    "throughput/100), minus .5 collisions and .1 waste per RBG-slot."
)


def run(study: Study) -> Report:
    budget, options = study.budget, study.options
    scenario = options.scenario(SCENARIO)
    weights = budget.pick(smoke=WEIGHTS[:2], quick=(0.0, 0.1, 1.0), full=FULL_WEIGHTS)
    ues = options.ues or (4,)
    (leader,) = train_all(study, [Recipe("leader", budget_config(budget, [scenario], ues=scenario.ue_counts))])
    epochs = budget.pick(smoke=budget.updates, quick=budget.updates, full=FULL_FOLLOWER_EPOCHS)
    own = {"ues": scenario.ue_counts, "roles": ("follower",), "updates": epochs}
    recipes = [
        Recipe(_name(w), budget_config(budget, [scenario], consistency=w, **own), starts=leader.bundles)
        for w in weights
    ]
    players = [t.players(followers="learned") for t in train_all(study, recipes)]
    worlds = [World(scenario, count, budget.cells, budget.world_seeds, budget.slots) for count in ues]
    rule = [p._replace(label="best response") for p in leader.players()]
    found = compare(study, [*players, rule, *rules(FAIR)], worlds)
    agreements = _agreements(study, players, worlds[0])
    more = {
        "rho_2": ("consistency weight", {_name(w): w for w in weights}),
        "agreement": ("share of offered RBGs used as the DCM says", {k: i.mean for k, i in agreements.items()}),
    }
    mine = {weight: [m for m in found if m.player == _name(weight)] for weight in weights}
    return Report(
        table=table_of(found, (_name(weights[0]), FAIR), "weight that the followers were trained with", more),
        figure=_figure(mine, agreements, weights),
        definitions=DEFINITIONS,
        paragraph=_paragraph(mine, found, agreements, weights),
        sample=sample_of(study, worlds),
        scenarios=[scenario],
        findings={"agreement": {str(w): agreements[_name(w)].mean for w in weights}},
    )


def _name(weight: float) -> str:
    return f"rho_2 = {weight:g}"


def _agreements(study: Study, players: list[list[PlayerSpec]], world: World) -> dict[str, Interval]:
    parts = [
        Part(
            f"agreement, {world.ues} UEs, world seed {seed}",
            measure_agreement,
            {"bundle": p.bundle, "scenario": world.scenario, "ues": world.ues, "cells": world.cells}
            | {"slots": world.slots, "seed": seed},
        )
        for same in players
        for p in same
        if p.bundle is not None
        for seed in world_seeds(world)
    ]
    results = iter(study.run(parts))
    found = {}
    for same in players:
        runs = [[next(results)["agreement"] for _ in world_seeds(world)] for _ in same]
        means_SW = np.array([[finite_mean(cells) for cells in run] for run in runs])
        if means_SW.size > 1:
            found[same[0].label] = crossed_mean(means_SW)
        else:
            found[same[0].label] = mean_interval([v for v in runs[0][0] if v is not None])
    return found


def _figure(mine: dict[float, list[Measured]], agreements: dict[str, Interval], weights: tuple[float, ...]) -> Figure:
    panels = []
    for metric, label in METRICS.items():
        curves = [
            Curve(f"{ms.world.ues} UEs", weights, [mine[w][k].interval(metric) for w in weights])
            for k, ms in enumerate(mine[weights[0]])
        ]
        panels.append(Panel(metric.replace("_", " "), "rho_2", label, curves))
    agreed = Curve("", weights, [agreements[_name(w)] for w in weights])
    panels.append(Panel("Agreement with the DCM", "rho_2", "share of offered RBGs", [agreed]))
    return Figure("The consistency weight", panels)


def _paragraph(
    mine: dict[float, list[Measured]],
    found: list[Measured],
    agreements: dict[str, Interval],
    weights: tuple[float, ...],
) -> str:
    first = weights[0]
    claims = [
        Claim(f"{_name(w)} ({m.world.ues} UEs)", m.minus(base, "utility"))
        for w in weights[1:]
        for m, base in zip(mine[w], mine[first])
    ]
    agreed = ", ".join(f"{shown(agreements[_name(w)], digits=2)} at {w:g}" for w in weights)
    best = max(weights, key=lambda w: mine[w][0].mean("utility"))
    unfair = [f"{w:g}" for w in weights if mine[w][0].mean("jain") < FAIR_JAIN]
    rule = [m for m in found if m.player == "best response"]
    against = [Claim(f"{_name(best)} ({m.world.ues} UEs)", m.minus(r, "utility")) for m, r in zip(mine[best], rule)]
    return (
        f"Utility: {verdict(claims, _name(first))} Followers do as the DCM says on {agreed} of the offered RBGs. The "
        f"best mean utility is at rho_2 = {best:g}. Jain's index is below {FAIR_JAIN} at "
        f"{'rho_2 = ' + ', '.join(unfair) if unfair else 'no rho_2'}. "
        f"Under the same leader: {verdict(against, 'the best-response rule')}"
    )

"""Open question 3: what becomes of convergence as UEs disturb each other more and more?

In `coupled` a share of a transmission's power leaks into the neighbouring RBGs, for others who send there. At every
share a leader is trained anew, from the same seeds in the same worlds, and at its end the blocks of the game's Jacobian
are measured: Theorem 2 needs those between the players to be small against each player's own (Assumption 2).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from training.experiments.comparison import FAIR, compare, rules, sample_of
from training.experiments.figure import Curve, Figure, Panel
from training.experiments.measurement import Measured, Plan, World, measure
from training.experiments.paragraph import Claim, listed, verdict
from training.experiments.report import Report
from training.experiments.studies.convergence import converged, stops_of
from training.experiments.studies.game_jacobian import BLOCKS, measure_blocks
from training.experiments.studies.learning_rates import TOGETHER
from training.experiments.study import Part, Study, StudyError
from training.experiments.table import Column, Table, interval_cells, interval_columns
from training.experiments.trainings import Recipe, Trained, budget_config, train_all
from training.intervals import Interval, crossed_mean, mean_interval
from training.simulator.scenario import Scenario
from training.world_seeds import FIRST_WORLD_SEED

SCENARIO = "coupled"
COUPLINGS = (0.0, 0.1, 0.3, 1.0)
FULL_EPOCHS = 200
CROSS = ("bu", "ub")

DEFINITIONS = (
    "Coupling: share of a transmission's power that leaks into each neighbouring RBG, as noise for others who send "
    "there. Blocks: H_ij = d grad_i J_i / d theta_j, i and j leader (b) or followers (u); their squared Frobenius "
    "norms from products with random directions, each the product of two halves' estimates, so that noise comes out "
    "around 0 (also below). Dominance: sqrt(|H_bu|^2 |H_ub|^2 / (|H_bb|^2 |H_uu|^2)) of the means, whatever the "
    "players' units, its ends those of the four intervals at once; Assumption 2 asks for much less than 1. The "
    "condition holds where the interval lies below 1. Converged: the first bundle kept from which on utility "
    "stays within 5 % of the whole gain; only where the gain's interval is clear of 0."
)


def run(study: Study) -> Report:
    budget, options = study.budget, study.options
    base = options.scenario(SCENARIO)
    if base.control_lead_periods:
        raise StudyError(f"--scenario is {base.name!r}, expected one whose leader decides for the period that begins")
    couplings = budget.pick(smoke=(0.0, 0.1), quick=(0.0, 0.1, 1.0), full=COUPLINGS)
    scenarios = {c: base.with_(coupling=c) for c in couplings}
    epochs = budget.pick(smoke=budget.updates, quick=budget.updates, full=FULL_EPOCHS)
    configs = {
        c: budget_config(budget, [s], ues=base.ue_counts, updates=epochs, **TOGETHER) for c, s in scenarios.items()
    }
    stops = stops_of(configs[couplings[0]].updates, configs[couplings[0]].round_updates)
    trained = train_all(study, [Recipe(_name(c), config, stops) for c, config in configs.items()])
    ues = (options.ues or (4,))[0]
    worlds = {c: World(s, ues, budget.cells, budget.world_seeds, budget.slots) for c, s in scenarios.items()}
    curves = _curves(study, trained, worlds, (0, *stops))
    fair = {m.world.scenario.coupling: m for m in compare(study, rules(FAIR), list(worlds.values()))}
    squares = _squares(study, trained, scenarios, ues)
    settled = {c: converged((0, *stops), curve) for c, curve in curves.items()}
    return Report(
        table=_table(curves, fair, squares, settled),
        figure=_figure(curves, squares, (0, *stops)),
        definitions=DEFINITIONS,
        paragraph=_paragraph(curves, fair, squares, settled, stops[-1]),
        sample=sample_of(study, list(worlds.values()))
        + " Blocks: means over random directions; intervals over training seeds crossed with worlds, of one of each "
        "over directions.",
        scenarios=[base],
        findings={"dominance": {str(c): dominance(s) for c, s in squares.items()}, "converged_at_epoch": settled},
    )


Squares = dict[str, Interval]
"""Each block's squared Frobenius norm."""


def _name(coupling: float) -> str:
    return f"coupling {coupling:g}"


def _curves(
    study: Study, trained: list[Trained], worlds: dict[float, World], points: tuple[int, ...]
) -> dict[float, list[Measured]]:
    plans = [
        Plan(t.players(t.at(point), followers="learned"), world)
        for t, world in zip(trained, worlds.values())
        for point in points
    ]
    found = iter(measure(study.run, plans))
    return {coupling: [next(found) for _ in points] for coupling in worlds}


def _squares(study: Study, trained: list[Trained], scenarios: dict[float, Scenario], ues: int) -> dict[float, Squares]:
    budget = study.budget
    cells, slots, directions = budget.pick(smoke=(2, 4, 1), quick=(12, 16, 2), full=(48, 16, 12))
    repeats = 1 if budget.level != "full" else 2
    seeds = range(FIRST_WORLD_SEED, FIRST_WORLD_SEED + repeats)
    parts = [
        Part(
            f"Jacobian {t.label}, run {k}, world seed {seed}",
            measure_blocks,
            {"bundle": bundle, "scenario": scenario, "ues": ues, "cells": cells, "slots": slots}
            | {"directions": directions, "seed": seed},
        )
        for t, scenario in zip(trained, scenarios.values())
        for k, bundle in enumerate(t.bundles, 1)
        for seed in seeds
    ]
    results = iter(study.run(parts))
    found = {}
    for coupling, t in zip(scenarios, trained):
        mine = [[next(results)["squares"] for _ in seeds] for _ in t.bundles]
        found[coupling] = {block: _over(mine, block) for block in BLOCKS}
    return found


def _over(runs: list[list[dict[str, list[float]]]], block: str) -> Interval:
    """[training seed][world seed]: crossed where there are several of either, else over directions."""
    means_SW = np.array([[np.mean(result[block]) for result in run] for run in runs])
    return crossed_mean(means_SW) if means_SW.size > 1 else mean_interval(runs[0][0][block])


def dominance(squares: Squares) -> Interval:
    """How large the blocks between the players are against their own.

    Its ends are those of all four intervals at once, so it is wide. A mean of a block that is not above 0 leaves no
    ratio (NaN), an own block whose interval reaches 0 no upper end.
    """
    mean, low, high = (_ratio(*ends) for ends in _ends(squares))
    return Interval(mean, low, high)


def _ends(squares: Squares) -> Iterator[tuple[float, float, float, float]]:
    bu, ub, bb, uu = (squares[block] for block in ("bu", "ub", "bb", "uu"))
    yield bu.mean, ub.mean, bb.mean, uu.mean
    yield max(bu.low, 0.0), max(ub.low, 0.0), bb.high, uu.high
    yield bu.high, ub.high, bb.low, uu.low


def _ratio(bu: float, ub: float, bb: float, uu: float) -> float:
    return math.sqrt(bu * ub / (bb * uu)) if min(bu, ub) >= 0 and min(bb, uu) > 0 else math.nan


def holds(ratio: Interval) -> str:
    """What can be said of Theorem 2's condition: that the blocks between the players are smaller than their own."""
    if ratio.high < 1:
        return "holds"
    return "does not hold" if ratio.low > 1 else "cannot be told"


def _table(
    curves: dict[float, list[Measured]],
    fair: dict[float, Measured],
    squares: dict[float, Squares],
    settled: dict[float, int | None],
) -> Table:
    columns = [
        Column("coupling", "share of power that leaks into each neighbouring RBG"),
        *interval_columns("gain", "utility of the end above the warm start's, paired"),
        *interval_columns("above_fair", f"utility of the end above {FAIR}'s, paired"),
        Column("converged_at", "epoch; empty = no gain to converge to, or still gaining at the end"),
        Column("utility", "of the end, nats per UE"),
        Column("collision_fraction", "share of RBG-slots in which several UEs sent"),
        *interval_columns("dominance", "norms of the blocks between players over those of their own"),
        Column("condition", "whether they are smaller, as Theorem 2 asks"),
    ]
    for block in BLOCKS:
        columns += interval_columns(f"h_{block}_squared", f"squared Frobenius norm of block {block}")
    table = Table(columns)
    for coupling, curve in curves.items():
        end = curve[-1]
        blocks: dict[str, Any] = {}
        for block in BLOCKS:
            blocks |= interval_cells(f"h_{block}_squared", squares[coupling][block])
        epoch = settled[coupling]
        table.add(
            coupling=coupling,
            **interval_cells("gain", end.minus(curve[0], "utility")),
            **interval_cells("above_fair", end.minus(fair[coupling], "utility")),
            converged_at=math.nan if epoch is None else epoch,
            utility=end.mean("utility"),
            collision_fraction=end.mean("collision_fraction"),
            **interval_cells("dominance", dominance(squares[coupling])),
            condition=holds(dominance(squares[coupling])),
            **blocks,
        )
    return table


def _figure(curves: dict[float, list[Measured]], squares: dict[float, Squares], points: tuple[int, ...]) -> Figure:
    ways = [Curve(_name(c), points, [m.minus(curve[0], "utility") for m in curve]) for c, curve in curves.items()]
    couplings = list(squares)
    blocks = [Curve(f"H_{block}", couplings, [squares[c][block] for c in couplings]) for block in BLOCKS]
    ratios = [dominance(squares[c]) for c in couplings]
    return Figure(
        "Coupling between UEs and the game's convergence",
        [
            Panel("Convergence", "epoch (updates)", "utility above the warm start, nats per UE", ways, level=0.0),
            Panel("Blocks of the Jacobian", "coupling", "squared Frobenius norm", blocks, level=0.0),
            Panel("Between players over their own", "coupling", "dominance", [Curve("", couplings, ratios)], level=1.0),
        ],
    )


def _paragraph(
    curves: dict[float, list[Measured]],
    fair: dict[float, Measured],
    squares: dict[float, Squares],
    settled: dict[float, int | None],
    epochs: int,
) -> str:
    gains = [Claim(_name(c), curve[-1].minus(curve[0], "utility")) for c, curve in curves.items()]
    above = [Claim(_name(c), curve[-1].minus(fair[c], "utility")) for c, curve in curves.items()]
    ways = "; ".join(
        f"{_name(c)}: " + (f"not converged within {epochs} epochs" if k is None else f"converged at epoch {k}")
        for c, k in settled.items()
    )
    seen = [f"{_name(c)}: {listed([b for b in BLOCKS if s[b].low > 0])}" for c, s in squares.items()]
    ratios = "; ".join(
        f"{_name(c)}: {_dominance(dominance(s))}, the condition {holds(dominance(s))}" for c, s in squares.items()
    )
    broken = [_name(c) for c, s in squares.items() if dominance(s).low > 1]
    stopped = [_name(c) for c, claim in zip(curves, gains) if claim.side <= 0]
    cross = "; ".join(f"{_name(c)}: {' and '.join(_square(s[b]) for b in CROSS)}" for c, s in squares.items())
    return (
        f"{ways}. Utility: {verdict(gains, 'the warm start')} {verdict(above, FAIR)} Between-player blocks (bu and ub, "
        f"squared norms): {cross}. Blocks whose interval is above 0: {'; '.join(seen)}. Dominance: {ratios}; where a "
        "block's mean is not above 0 it cannot be distinguished from noise and no ratio is given. Theorem 2's "
        f"condition is seen to fail at {listed(broken) if broken else 'no coupling'}; learning gains nothing that is "
        f"clear of 0 at {listed(stopped) if stopped else 'no coupling'}."
    )


def _dominance(ratio: Interval) -> str:
    mean, low, high = (f"{value:.2g}" for value in ratio)
    middle = "no ratio" if math.isnan(ratio.mean) else mean
    return f"{middle} [{'?' if math.isnan(ratio.low) else low}, {'?' if math.isnan(ratio.high) else high}]"


def _square(interval: Interval) -> str:
    mean, low, high = (f"{value:.2g}" for value in interval)
    return mean if math.isnan(interval.low) else f"{mean} [{low}, {high}]"

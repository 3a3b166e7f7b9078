"""The protocol action grammar (PAG) on and off: how fast a leader learns, and what decisions cost that nobody can read.

Off = the softmax goes over all tokens, and a DCM with an illegal token is a lost decision: nothing reaches the node,
the control before governs until its lease ends, then the node schedules for itself. Two parts: fresh leaders that
learn by imitation, each way, used each way; and a trained bundle whose masks are taken away.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from policy.bundle_files import BUNDLES
from policy.errors import counted
from training.experiments.figure import Curve, Figure, Panel
from training.experiments.measurement import Measured, World, metrics_of, world_seeds
from training.experiments.paragraph import Claim, shown, verdict
from training.experiments.report import Report
from training.experiments.studies.free_grammar import replay_freely
from training.experiments.studies.free_learning import learn
from training.experiments.study import Part, Results, Study
from training.experiments.table import Column, Table, interval_cells, interval_columns
from training.intervals import Interval, mean_interval
from training.simulator.scenario import Scenario

SCENARIO = "mix"
TRAINED_UES = (3, 4, 5)
WAYS = {("masked", "masked"): "on", ("masked", "free"): "on in training only", ("free", "free"): "off",
        ("free", "masked"): "on in use only"}  # fmt: skip
"""(learned, used): what it is called."""
MOST_LOST = 0.05
"""Share of decisions beyond which a utility is the node's own scheduler's rather than the leader's."""
USES = ("masked greedy", "free greedy", "free sampled")

DEFINITIONS = (
    "PAG off: a softmax over all tokens; a DCM with one illegal token is lost, the control before it governs until its "
    "lease ends, then the node schedules for itself. Lost: share of decisions. Learning: imitation of inflight PF from "
    "fresh weights, equal states and order both ways, tokens drawn in use; caught up = the first step at which the "
    "mean utility is within .02 of the last one with the PAG on, at most 5 % of decisions being lost: a lost one "
    "leaves the cell to its node, which may well do better than a beginner."
)


def run(study: Study) -> Report:
    budget, options = study.budget, study.options
    scenario = options.scenario(SCENARIO)
    points = budget.pick(smoke=(0, 2), quick=(0, 20, 40, 80, 120), full=(0, 25, 50, 100, 200, 400, 800, 1600))
    cells, slots = budget.pick(smoke=(2, 8), quick=(8, 40), full=(64, 100))
    batch = budget.pick(smoke=4, quick=24, full=48)
    seeds = range(budget.train_seeds)
    test_ues = 4
    learned = study.run(
        [
            Part(
                f"learn {'with' if masked else 'without'} grammar, seed {seed}",
                learn,
                {"scenario": scenario, "ues": TRAINED_UES, "test_ues": test_ues, "points": points, "cells": cells}
                | {"slots": slots, "masked": masked, "seed": seed, "batch": batch},
            )
            for masked in (True, False)
            for seed in seeds
        ]
    )
    by_way = {"masked": learned[: len(seeds)], "free": learned[len(seeds) :]}
    counts = options.ues or budget.pick(smoke=(3,), quick=(4, 10, 30), full=(4, 10, 30, 100))
    bundle = Path(options.bundle) if options.bundle else BUNDLES / ("lab" if scenario.control_lead_periods else "paper")
    used = _use(study, bundle, scenario, counts, cells, slots)
    table = _table(by_way, used, scenario, test_ues)
    return Report(
        table=table,
        figure=_figure(table, by_way, used, counts),
        definitions=DEFINITIONS,
        paragraph=_paragraph(by_way, used, points),
        sample=f"{counted(len(seeds), 'training seed')} and {counted(budget.world_seeds, 'world seed')} of "
        f"{cells} cells, {slots} slots each; learning: intervals over training seeds ({test_ues} UEs); "
        "the bundle: over world seeds.",
        scenarios=[scenario],
        findings={"lost_share": {f"{use}, {ues} UEs": i.mean for (use, ues), (_, i) in used.items()}},
    )


# ---- a trained bundle ----

Used = dict[tuple[str, int], tuple[Measured, Interval]]
"""(use, UEs): its metrics, and the share of lost decisions."""


def _use(study: Study, bundle: Path, scenario: Scenario, counts: tuple[int, ...], cells: int, slots: int) -> Used:
    worlds = [World(scenario, ues, cells, study.budget.world_seeds, slots) for ues in counts]
    asked = [(use, world) for world in worlds for use in USES]
    parts = [
        Part(
            f"bundle, {use}, {world.ues} UEs",
            use_bundle,
            {"bundle": bundle, "use": use, "scenario": scenario, "ues": world.ues, "cells": cells, "slots": slots,
             "seed": seed},
        )
        for use, world in asked
        for seed in world_seeds(world)
    ]  # fmt: skip
    results = iter(study.run(parts))
    found: Used = {}
    for use, world in asked:
        runs = [next(results) for _ in world_seeds(world)]
        found[use, world.ues] = Measured(use, world, [runs]), mean_interval([r["lost_share"] for r in runs])
    return found


def use_bundle(bundle: Path, use: str, scenario: Scenario, ues: int, cells: int, slots: int, seed: int) -> Results:
    """Lost decisions and every cell's metrics."""
    import torch

    from policy.bundle import load_bundle

    torch.set_num_threads(1)
    loaded = load_bundle(bundle)
    freedom = replay_freely(
        loaded.leader, loaded.options, scenario, masked="masked" in use, sampled="sampled" in use, ues=ues, cells=cells,
        seed=seed, periods=max(1, slots // scenario.slots_per_dcm),
    )  # fmt: skip
    return {"lost_share": freedom.lost / freedom.decisions, **metrics_of(freedom.cells)}


# ---- what it comes to ----


def _over_seeds(runs: list[Results], index: int, use: str, metric: str) -> Interval:
    """At one point of the way; a cells' metric is averaged over cells first."""
    values = [run["points"][index][use][metric] for run in runs]
    return mean_interval([_mean(v) if isinstance(v, list) else v for v in values])


def _mean(values: list[float | None]) -> float:
    finite = [v for v in values if v is not None]
    return sum(finite) / max(1, len(finite))


def _table(by_way: dict[str, list[Results]], used: Used, scenario: Scenario, test_ues: int) -> Table:
    table = Table(
        (
            Column("part", "learning (fresh weights) or bundle (trained)"),
            Column("scenario", "name"),
            Column("ues", "UEs per cell"),
            Column("grammar", "PAG: where it is on; for the bundle, and how tokens are chosen"),
            Column("step", "optimizer steps of imitation; empty for the bundle"),
            *interval_columns("utility", "nats per UE"),
            *interval_columns("lost_share", "share of decisions with an illegal token: lost"),
            Column("loss", "nats per token of the teacher's DCMs, under the softmax it learned with"),
        )
    )
    for (way, use), name in WAYS.items():
        runs = by_way[way]
        for k, at in enumerate(runs[0]["points"]):
            losses = [run["points"][k]["loss"] for run in runs]
            table.add(
                part="learning",
                scenario=scenario.name,
                ues=test_ues,
                grammar=name,
                step=at["step"],
                **interval_cells("utility", _over_seeds(runs, k, use, "utility")),
                **interval_cells("lost_share", _over_seeds(runs, k, use, "lost_share")),
                loss=float("nan") if None in losses else _mean(losses),
            )
    for (use, ues), (measured, lost) in used.items():
        table.add(
            part="bundle",
            scenario=scenario.name,
            ues=ues,
            grammar=use,
            step="",
            **interval_cells("utility", measured.interval("utility")),
            **interval_cells("lost_share", lost),
            loss=float("nan"),
        )
    return table


def _figure(table: Table, by_way: dict[str, list[Results]], used: Used, counts: tuple[int, ...]) -> Figure:
    def curves(metric: str) -> list[Curve]:
        result = []
        for name in WAYS.values():
            rows = list(table.where(part="learning", grammar=name))
            y = [Interval(*(row[f"{metric}{end}"] for end in ("", "_low", "_high"))) for row in rows]
            result.append(Curve(f"PAG {name}", [row["step"] for row in rows], y))
        return result

    names = [f"{ues} UEs" for ues in counts]
    lost = [Curve(use, names, [used[use, ues][1] for ues in counts]) for use in USES]
    differences = [
        Curve(use, names, [used[use, ues][0].minus(used[USES[0], ues][0], "utility") for ues in counts]) for use in USES
    ]
    return Figure(
        "The protocol action grammar on and off",
        [
            Panel("Learning by imitation", "optimizer steps", "utility, nats per UE", curves("utility")),
            Panel("Decisions lost while learning", "optimizer steps", "share of decisions", curves("lost_share")),
            Panel("The trained bundle: lost decisions", "", "share of decisions", lost),
            Panel("The trained bundle: utility", "", f"above {USES[0]}, nats per UE", differences, level=0.0),
        ],
    )


def _paragraph(by_way: dict[str, list[Results]], used: Used, points: tuple[int, ...]) -> str:
    last = len(points) - 1
    ends = {name: _over_seeds(by_way[way], last, use, "utility") for (way, use), name in WAYS.items()}
    lost_off = _over_seeds(by_way["free"], last, "free", "lost_share")
    lost_begin = _over_seeds(by_way["free"], 0, "free", "lost_share")
    reached = "; ".join(
        f"PAG {name}: {_reached(by_way[way], use, ends[name], ends['on'].mean, points)}"
        for (way, use), name in WAYS.items()
    )
    sentences = [
        f"After {points[-1]} steps of imitation: {reached}. Without the PAG {shown(lost_begin, digits=2)} of decisions "
        f"are lost before learning, {shown(lost_off, digits=2)} after.",
    ]
    for use in USES[1:]:
        claims = [
            Claim(f"{ues} UEs", m.minus(used[USES[0], ues][0], "utility"))
            for (u, ues), (m, _) in used.items()
            if u == use
        ]
        lost: list[Any] = [f"{lost.mean:.2%} at {ues} UEs" for (u, ues), (_, lost) in used.items() if u == use]
        sentences.append(
            f"The trained bundle, {use}, loses {', '.join(lost)} of its decisions; utility: {verdict(claims, USES[0])}"
        )
    return " ".join(sentences)


def _reached(runs: list[Results], use: str, end: Interval, target: float, points: tuple[int, ...]) -> str:
    """Where one way ended, and when it had caught up with `target`."""
    lost = _over_seeds(runs, len(points) - 1, use, "lost_share").mean
    if lost > MOST_LOST:
        return f"{lost:.0%} of decisions lost"
    step = _caught_up(runs, use, target, points)
    return f"utility {shown(end)}, " + ("not caught up" if step is None else f"caught up at step {step}")


def _caught_up(runs: list[Results], use: str, target: float, points: tuple[int, ...]) -> int | None:
    """The first point within .02 of `target` at which most of the leader's DCMs arrive."""
    for k, step in enumerate(points):
        arrives = _over_seeds(runs, k, use, "lost_share").mean <= MOST_LOST
        if arrives and _over_seeds(runs, k, use, "utility").mean >= target - 0.02:
            return step
    return None

"""Open question 2: does the leader's cost, quadratic in the paper's analysis, forbid hundreds of UEs?

One bundle, whatever cells it was trained in, decides in cells of up to 200 UEs: what a decision takes, how many tokens
go into it, and what the cell gets, against the node's own scheduler and inflight PF in the same worlds. Beside the
compiled engine, which sees each UE's block alone, stand the same weights by torch, and attention over the whole prompt.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from policy.bundle_files import BUNDLES
from policy.errors import counted
from policy.model_config import ModelConfig
from policy.time_scales import SLOT_MS
from training.experiments.comparison import FAIR, MEANS, NODE
from training.experiments.figure import Curve, Figure, Panel, point
from training.experiments.latency import latency_part
from training.experiments.measurement import Measured, Plan, PlayerSpec, World, long_enough, measure
from training.experiments.paragraph import Claim, shown, verdict
from training.experiments.report import Report
from training.experiments.study import Notify, Part, Results, Study
from training.experiments.table import Column, Table, interval_cells, interval_columns
from training.intervals import Interval, mean_interval
from training.simulator.scenario import Scenario, make_scenario

SCENARIOS = ("mix", "sporadic")
UES = (4, 10, 30, 50, 100, 200)
LEARNED, ALOHA = "learned", "aloha"
ENGINE, TORCH = "blocks, engine", "blocks, torch"
DENSE_ONE, DENSE = "dense, torch", "dense, torch, one position a field"
"""blocks: a UE's fields see themselves; dense: a prompt's positions see all before them, as the paper counts. One
position a UE unless said otherwise."""
GROWTH_FROM_UES = 10
"""Below, what a decision costs at any size hides what it costs per UE."""
METRICS = ("throughput_bits_per_slot", "jain", "collision_fraction", "drop_fraction")

DEFINITIONS = (
    "Latency: one cell's state to its DCM, greedy, no draft, one core: by the compiled engine, and by torch; blocks: a "
    "UE's part of the prompt sees itself alone; dense: the prompt is one sequence (untrained weights). "
    "Tokens: of the prompt (one block per UE and one "
    "for the cell) and of the DCM. Growth: slope of log(median latency) over log(UEs) from "
    f"{GROWTH_FROM_UES} UEs on; 1 is linear, 2 is quadratic. Utility: mean over UEs of log(1 + throughput/100), minus "
    ".5 collisions and .1 waste per RBG-slot."
)


class Cost(NamedTuple):
    """What one decision costs at one number of UEs."""

    median_ms: Interval
    p99_ms: float
    follower_ms: float
    prompt_tokens: int
    dcm_tokens: float


Costs = dict[str, dict[int, Cost]]
"""By way and number of UEs."""


def run(study: Study) -> Report:
    budget, options = study.budget, study.options
    names = options.scenarios or budget.pick(smoke=("mix",), quick=SCENARIOS, full=SCENARIOS)
    counts = options.ues or budget.pick(smoke=(3, 12), quick=(4, 10, 30, 100), full=UES)
    decisions = budget.pick(smoke=3, quick=40, full=60)
    cells = budget.pick(smoke=2, quick=6, full=6)
    scenarios = [make_scenario(name) for name in names]
    bundle = _bundle(options.bundle, scenarios)
    players = (PlayerSpec(LEARNED, bundle=bundle), *(PlayerSpec(name, name) for name in (FAIR, NODE, ALOHA)))
    worlds = [
        World(s, ues, cells, budget.world_seeds, long_enough(s, budget.pick(smoke=10, quick=60, full=100)))
        for s in scenarios
        for ues in counts
    ]
    found = measure(study.run, [Plan((player,), world) for world in worlds for player in players])
    # Clocks are read one at a time, with nothing beside them.
    repeats = max(2, budget.world_seeds)
    growth, every = {}, {}
    for way, (folder, engine) in _ways(study, bundle).items():
        parts = [
            latency_part(way, folder, scenarios[0], ues, decisions, k, engine) for ues in counts for k in range(repeats)
        ]
        timed = study.run_alone(parts)
        every[way] = {ues: _cost(timed[k * repeats : (k + 1) * repeats]) for k, ues in enumerate(counts)}
        growth[way] = _growth(counts, timed, repeats)
    return Report(
        table=_table(found, every),
        figure=_figure(found, every, names),
        definitions=DEFINITIONS,
        paragraph=_paragraph(found, every, growth, scenarios),
        sample=f"{counted(budget.world_seeds, 'world seed')} of {cells} cells, {worlds[0].slots} slots each; "
        f"{decisions} timed decisions in each of {repeats} worlds; "
        "utility's intervals over world seeds, latency's over worlds.",
        scenarios=scenarios,
        findings={
            "latency_ms": {way: {ues: cost.median_ms for ues, cost in mine.items()} for way, mine in every.items()},
            "growth_exponent": growth,
        },
    )


def _bundle(given: str, scenarios: list[Scenario]) -> Path:
    slow = any(s.control_lead_periods for s in scenarios)
    return Path(given) if given else BUNDLES / ("lab" if slow else "paper")


def _ways(study: Study, bundle: Path) -> dict[str, tuple[Path, bool]]:
    """How a decision can be had: whose weights, and whether by the engine. Latency does not ask what was learned."""
    model = ModelConfig(attention="dense")
    models = {DENSE_ONE: replace(model, block_positions=1), DENSE: model}
    parts = [
        Part(f"untrained {way}", untrained_part, {"bundle": bundle, "model": one}, trains=True)
        for way, one in models.items()
    ]
    study.run(parts)
    fresh = {way: (study.folder_of(part) / "bundle", False) for way, part in zip(models, parts)}
    return {ENGINE: (bundle, True), TORCH: (bundle, False), **fresh}


def untrained_part(bundle: Path, model: ModelConfig, folder: Path, resume: bool, notify: Notify) -> Results:
    """A bundle like `bundle` with a leader of other shape and fresh weights."""
    from policy.bundle import load_bundle, save_bundle
    from policy.model_kinds import layout_for, new_model

    like = load_bundle(bundle)
    leader = new_model("pointer", model, 0, layout_for("pointer", like.options))
    save_bundle(replace(like, leader=leader.eval()), folder / "bundle")
    return {"weights": sum(p.numel() for p in leader.parameters())}


def _cost(results: list[Results]) -> Cost:
    times = np.concatenate([r["leader_ms"] for r in results])
    return Cost(
        mean_interval([float(np.median(r["leader_ms"])) for r in results]),
        float(np.percentile(times, 99)),
        float(np.median(np.concatenate([r["follower_ms"] for r in results]))),
        results[0]["prompt_tokens"],
        float(np.mean([r["dcm_tokens"] for r in results])),
    )


def _growth(counts: tuple[int, ...], timed: list[Results], repeats: int) -> Interval:
    """One slope per world."""
    far = [k for k, ues in enumerate(counts) if ues >= GROWTH_FROM_UES]
    if len(far) < 2:
        return Interval(math.nan, math.nan, math.nan)
    x = np.log([counts[k] for k in far])
    slopes = []
    for repeat in range(repeats):
        y = np.log([np.median(timed[k * repeats + repeat]["leader_ms"]) for k in far])
        slopes.append(float(np.polyfit(x, y, 1)[0]))
    return mean_interval(slopes)


def _table(found: list[Measured], every: Costs) -> Table:
    table = Table(
        (
            Column("scenario", "name"),
            Column("ues", "UEs per cell"),
            Column("player", "who decides"),
            *interval_columns("utility_diff", f"utility above {NODE}'s, paired by cell"),
            Column("utility", "nats per UE"),
            *(Column(metric, MEANS[metric]) for metric in METRICS),
            *interval_columns("leader_ms", "median latency of a decision, ms; the learned leader only"),
            *(Column(f"ms: {way}", f"the same by {way}") for way in every if way != ENGINE),
            Column("leader_p99_ms", "its 99th percentile, ms"),
            Column("follower_ms", "median latency of all the cell's followers in one slot, ms"),
            Column("prompt_tokens", "tokens read for a decision"),
            Column("dcm_tokens", "tokens of a decision"),
        )
    )
    base = {(m.world.scenario.name, m.world.ues): m for m in found if m.player == NODE}
    nothing = Cost(point(math.nan), math.nan, math.nan, 0, math.nan)
    for m in found:
        cost = every[ENGINE][m.world.ues] if m.player == LEARNED else nothing
        others = {f"ms: {way}": mine[m.world.ues].median_ms.mean for way, mine in every.items() if way != ENGINE}
        table.add(
            scenario=m.world.scenario.name,
            ues=m.world.ues,
            player=m.player,
            **interval_cells("utility_diff", m.minus(base[m.world.scenario.name, m.world.ues], "utility")),
            utility=m.mean("utility"),
            **{metric: m.mean(metric) for metric in METRICS},
            **interval_cells("leader_ms", cost.median_ms),
            **(others if m.player == LEARNED else dict.fromkeys(others, math.nan)),
            leader_p99_ms=cost.p99_ms,
            follower_ms=cost.follower_ms,
            prompt_tokens=cost.prompt_tokens or math.nan,
            dcm_tokens=cost.dcm_tokens,
        )
    return table


def _figure(found: list[Measured], every: Costs, names: tuple[str, ...]) -> Figure:
    costs = every[ENGINE]
    ues = list(costs)
    panels = [
        Panel(
            "Latency of a decision",
            "UEs per cell",
            "ms, one core",
            [
                *(Curve(way, ues, [c.median_ms for c in mine.values()]) for way, mine in every.items()),
                Curve(f"{ENGINE}, p99", ues, [point(c.p99_ms) for c in costs.values()]),
                Curve("all followers, one slot", ues, [point(c.follower_ms) for c in costs.values()]),
            ],
            log_x=True,
            log_y=True,
        ),
        Panel(
            "Tokens of a decision",
            "UEs per cell",
            "tokens",
            [
                Curve("prompt", ues, [point(float(c.prompt_tokens)) for c in costs.values()]),
                Curve("DCM", ues, [point(c.dcm_tokens) for c in costs.values()]),
            ],
            log_x=True,
            log_y=True,
        ),
    ]
    for name in names:
        mine = [m for m in found if m.world.scenario.name == name]
        base = {m.world.ues: m for m in mine if m.player == NODE}
        curves = [
            Curve(p, ues, [m.minus(base[m.world.ues], "utility") for m in mine if m.player == p])
            for p in (LEARNED, FAIR, ALOHA)
        ]
        panels.append(
            Panel(f"{name}: utility", "UEs per cell", f"above {NODE}, nats per UE", curves, log_x=True, level=0.0)
        )
        curves = [
            Curve(p, ues, [m.interval("throughput_bits_per_slot") for m in mine if m.player == p])
            for p in (LEARNED, FAIR, NODE, ALOHA)
        ]
        panels.append(Panel(f"{name}: throughput", "UEs per cell", "bits per slot and cell", curves, log_x=True))
    return Figure("From a handful of UEs to hundreds", panels)


def _paragraph(found: list[Measured], every: Costs, growth: dict[str, Interval], scenarios: list[Scenario]) -> str:
    costs = every[ENGINE]
    few, many = min(costs), max(costs)
    period_ms = scenarios[0].slots_per_dcm * SLOT_MS
    least_k = max(1, math.ceil(costs[many].p99_ms / SLOT_MS))
    sentences = [
        f"A decision takes {shown(costs[few].median_ms, ' ms', 1)} for {few} UEs and "
        f"{shown(costs[many].median_ms, ' ms', 1)} (p99 {costs[many].p99_ms:.1f} ms) for {many}, reading "
        f"{costs[few].prompt_tokens} and {costs[many].prompt_tokens} tokens; its followers take "
        f"{costs[many].follower_ms:.1f} ms a slot.",
    ]
    for way, mine in growth.items():
        if math.isfinite(mine.mean):
            below = (
                "below the quadratic"
                if mine.high < 2 or math.isnan(mine.high)
                else "not distinguishable from the quadratic"
            )
            sentences.append(
                f"{way}: {shown(every[way][many].median_ms, ' ms', 1)} for {many} UEs, growing as "
                f"I^{shown(mine, '', 2)}, {below}."
            )
    sentences.append(
        f"With this engine the leader keeps up with {many} UEs from K = {least_k} slots of {SLOT_MS:g} ms on"
        + (f" (this scenario's period is {period_ms:g} ms)." if period_ms < least_k * SLOT_MS else ".")
    )
    for scenario in scenarios:
        for other in (FAIR, NODE, ALOHA):
            sentences.append(_against(found, scenario.name, other))
    return " ".join(sentences)


def _against(found: list[Measured], name: str, other: str) -> str:
    mine = [m for m in found if m.world.scenario.name == name and m.player == LEARNED]
    base = {m.world.ues: m for m in found if m.world.scenario.name == name and m.player == other}
    claims = [Claim(f"{m.world.ues} UEs", m.minus(base[m.world.ues], "utility")) for m in mine]
    return f"In {name}, the learned leader's utility. {verdict(claims, other)}"

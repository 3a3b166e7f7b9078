"""At which K does granting single RBGs stop paying? The leader decides once per K slots; K = 1 is the paper's game.

Two kinds of DCM: per-RBG grants (inflight PF with best-response followers, and the learned leader of the paper bundle)
and DYNAMIC with rules (the constant class configuration, and the learned leader of the lab bundle), against the node's
own scheduler without an xApp, which does not depend on K. At one K all meet the same worlds.
"""

from __future__ import annotations

import math

from policy.bundle_files import BUNDLES
from policy.errors import counted
from policy.shipped import PAPER_MAX_SLOTS_PER_DCM
from training.experiments.comparison import FAIR, MEANS, NODE
from training.experiments.figure import Curve, Figure, Panel
from training.experiments.measurement import Measured, Plan, PlayerSpec, World, measure, subject
from training.experiments.paragraph import Claim, shown
from training.experiments.report import Report
from training.experiments.study import Study
from training.experiments.table import Column, Table, interval_cells, interval_columns
from training.intervals import Interval
from training.simulator.scenario import SLOW_LEADER_SLOTS, make_scenario

PERIODS = (1, 2, 5, 10, 20, 100)
GAMES = {"mix": 4, "sporadic": 4, "ric20": 30}
"""Scenario: UEs."""
GRANTS = (FAIR, "learned_grants")
RULES = ("static_config", "learned_rules")
METRICS = ("throughput_bits_per_slot", "jain", "collision_fraction", "drop_fraction")

DEFINITIONS = (
    "Grants pay at K where the better of inflight_pf_smart and learned_grants has a utility above node_scheduler's, "
    "interval clear of 0; they stop paying at the smallest K tried from which on that is never so. Utility: mean over "
    "UEs of log(1 + throughput/100), minus .5 collisions and .1 waste per RBG-slot. From K = "
    f"{SLOW_LEADER_SLOTS} on a decision governs the period after the one in which it is made. learned_grants was "
    f"trained for K <= {PAPER_MAX_SLOTS_PER_DCM}, learned_rules for K >= {SLOW_LEADER_SLOTS}: elsewhere they are shown "
    "as they are."
)


def run(study: Study) -> Report:
    budget = study.budget
    games = {name: GAMES.get(name, 10) for name in study.options.scenarios} or GAMES
    periods: tuple[int, ...] = PERIODS
    if budget.level == "smoke":
        games, periods = {"mix": 3}, (1, 10)
    shortest, decisions = budget.pick(smoke=(20, 2), quick=(100, 6), full=(400, 20))
    players = (
        PlayerSpec(NODE, NODE),
        PlayerSpec(GRANTS[0], GRANTS[0]),
        subject(GRANTS[1], study.options.bundle, BUNDLES / "paper"),
        PlayerSpec(RULES[0], RULES[0]),
        PlayerSpec(RULES[1], bundle=BUNDLES / "lab"),
    )
    plans = []
    for name, usual in games.items():
        for ues in study.options.ues or (usual,):
            for slots_per_dcm in periods:
                scenario = make_scenario(name).with_(slots_per_dcm=slots_per_dcm)
                world = World(scenario, ues, budget.cells, budget.world_seeds, max(shortest, decisions * slots_per_dcm))
                plans += [Plan((player,), world) for player in players]
    found = measure(study.run, plans)
    table = _table(found)
    stops = {game: stopped_paying(_of(found, game), periods) for game in _games(found)}
    return Report(
        table=table,
        figure=_figure(found, stops),
        definitions=DEFINITIONS,
        paragraph=" ".join(_sentences(found, game, stops[game], periods) for game in stops),
        sample=f"{counted(budget.world_seeds, 'world seed')} of {budget.cells} cells, {shortest} slots each or "
        f"{decisions} decisions if that is longer; intervals over world seeds.",
        scenarios=list({m.world.scenario.name: make_scenario(m.world.scenario.name) for m in found}.values()),
        findings={"grants_stop_paying_at_k": {f"{name}, {ues} UEs": k for (name, ues), k in stops.items()}},
    )


Game = tuple[str, int]


def _games(found: list[Measured]) -> list[Game]:
    return list(dict.fromkeys((m.world.scenario.name, m.world.ues) for m in found))


def _of(found: list[Measured], game: Game) -> dict[tuple[int, str], Measured]:
    """The players of one game by (K, player)."""
    return {(m.world.slots_per_dcm, m.player): m for m in found if (m.world.scenario.name, m.world.ues) == game}


def best(by: dict[tuple[int, str], Measured], slots_per_dcm: int, names: tuple[str, ...]) -> tuple[str, Interval]:
    """The better by utility of some players at one K, and how far it is above the node's own scheduler."""
    name = max(names, key=lambda n: by[slots_per_dcm, n].mean("utility"))
    return name, by[slots_per_dcm, name].minus(by[slots_per_dcm, NODE], "utility")


def stopped_paying(by: dict[tuple[int, str], Measured], periods: tuple[int, ...]) -> int | None:
    """The smallest K from which on grants are not above the node's own scheduler; None = they always are."""
    last = None
    for slots_per_dcm in reversed(periods):
        if best(by, slots_per_dcm, GRANTS)[1].low > 0:
            return last
        last = slots_per_dcm
    return last


def _table(found: list[Measured]) -> Table:
    table = Table(
        (
            Column("scenario", "name"),
            Column("ues", "UEs per cell"),
            Column("k", "slots per DCM"),
            Column("player", f"who decides; followers give the best response; {NODE} is no xApp"),
            *interval_columns("utility_diff", f"utility above {NODE}'s, paired by cell"),
            Column("utility", "nats per UE"),
            *(Column(metric, MEANS[metric]) for metric in METRICS),
        )
    )
    for game in _games(found):
        by = _of(found, game)
        for (slots_per_dcm, player), m in by.items():
            table.add(
                scenario=game[0],
                ues=game[1],
                k=slots_per_dcm,
                player=player,
                **interval_cells("utility_diff", m.minus(by[slots_per_dcm, NODE], "utility")),
                utility=m.mean("utility"),
                **{metric: m.mean(metric) for metric in METRICS},
            )
    return table


def _figure(found: list[Measured], stops: dict[Game, int | None]) -> Figure:
    panels = []
    for game, stop in stops.items():
        by = _of(found, game)
        periods = sorted({slots_per_dcm for slots_per_dcm, _ in by})
        curves = [
            Curve(name, periods, [by[p, name].minus(by[p, NODE], "utility") for p in periods], dashed=name in RULES)
            for name in GRANTS + RULES
        ]
        panels.append(
            Panel(
                f"{game[0]}, {game[1]} UEs",
                "K, slots per DCM",
                f"utility above {NODE}, nats per UE",
                curves,
                log_x=True,
                level=0.0,
                marks=() if stop is None else ((stop, "grants stop paying"),),
            )
        )
    return Figure("Per-RBG grants and DYNAMIC + rules, as the leader decides more rarely", panels)


def _sentences(found: list[Measured], game: Game, stop: int | None, periods: tuple[int, ...]) -> str:
    by = _of(found, game)
    first = best(by, periods[0], GRANTS)
    if stop is None:
        head = f"per-RBG grants pay at every K tried, up to {periods[-1]}"
    elif stop == periods[0]:
        head = f"per-RBG grants pay at no K tried, not even at K = {stop}"
    else:
        last = periods[periods.index(stop) - 1]
        head = f"per-RBG grants stop paying at K = {stop}; the last K at which they pay is {last}"
    claims = []
    for slots_per_dcm in periods:
        for names in (GRANTS, RULES):
            name, difference = best(by, slots_per_dcm, names)
            claims.append(Claim(f"{name} at K = {slots_per_dcm}", difference))
    worst = min(claims, key=lambda c: c.difference.mean)
    rules = [best(by, slots_per_dcm, RULES) for slots_per_dcm in periods]
    above = [str(p) for p, (_, d) in zip(periods, rules) if d.low > 0]
    below = [str(p) for p, (_, d) in zip(periods, rules) if d.high < 0]
    return (
        f"**{game[0]}, {game[1]} UEs**: {head} (K = {periods[0]}: {first[0]} {shown(first[1], signed=True)} utility "
        f"against {NODE}). DYNAMIC with rules is above {NODE} {_at(above)}, below it {_at(below)}. Worst "
        f"of the better ones: {worst}."
        + ("" if math.isfinite(first[1].low) else " One world seed only: intervals are over cells.")
    )


def _at(periods: list[str]) -> str:
    return f"at K = {', '.join(periods)}" if periods else "at no K"

"""Open question 1: several cells that disturb each other. Is there anything for a leader to coordinate?

Three and seven cells in a world of their own (multicell_world). First power control is tuned, on other worlds than are
measured: against full power nearly anything wins. Then a coordinator that knows the state and the future says once a
period how loud each cell may be on each RBG: what it gains bounds what a leader of all cells could; with a wrong future
it gains what can be had by knowing the state alone. Last, the single-cell leader as it is, one in every cell.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np

from policy.bundle_files import BUNDLES
from training.experiments.figure import Curve, Figure, Panel
from training.experiments.paragraph import Claim, shown, verdict
from training.experiments.report import Report
from training.experiments.studies.multicell_players import (
    LEVELS,
    PASSES,
    PERIOD_SLOTS,
    REPORT_DELAY_SLOTS,
    run_reported,
    run_search,
    run_static,
)
from training.experiments.studies.multicell_world import FULL_POWER, LOAD, UES, PowerControl
from training.experiments.study import Part, Results, Study
from training.experiments.table import Column, Table, interval_cells, interval_columns
from training.intervals import Interval, difference, mean_interval, percent_above
from training.world_seeds import FIRST_WORLD_SEED

SIZES = (3, 7)
ALPHAS, AT_110_DB = (0.4, 0.6, 0.8, 1.0), (10.0, 15.0, 20.0, 25.0)
TUNING_SEED = FIRST_WORLD_SEED + 5000
FULL, TUNED, REUSE = "full power", "tuned power control", "tuned, reuse by thirds"
KNOWS, GUESSES = "search, true future", "search, another future"
REPORTED, LEADER = "PF on old reports", "leader per cell, as it is"
BASE_OF = {FULL: TUNED, REUSE: TUNED, KNOWS: TUNED, GUESSES: TUNED, LEADER: REPORTED}
METRICS = ("utility", "throughput_bits_per_slot", "p5_bits_per_slot")

DEFINITIONS = (
    f"A cell has {UES} UEs, on/off traffic of {LOAD:g} packets a slot and RBG, and a node that gives RBGs by "
    "proportional fair on fresh queues and channels; an RBG carries what its true SINR lets it carry. Tuned power "
    "control: the best of a grid of fractional power controls (alpha, power at 110 dB of path loss) by utility on one "
    "other world seed. Reuse by thirds: besides, cells are 6 dB less loud on RBGs that are not their third. Search: "
    f"every {PERIOD_SLOTS} slots each cell's level on each RBG (as tuned, 6 dB less, nothing) by {PASSES} passes over "
    "all single changes, on the true state, played out for that period and a while; true future: what is to come is "
    "known; another future: it is drawn otherwise. Old reports: queues and channels as reported "
    f"{REPORT_DELAY_SLOTS} slots ago; the leader is the "
    "shipped `paper` bundle, which knows nothing of other cells; what it leaves open the node gives by proportional "
    "fair. Utility: mean over UEs of log(1 + throughput/100). p5: throughput of the worst-served twentieth of UEs."
)

Found = dict[int, dict[str, list[Results]]]
"""By cells and player, one a world seed."""


class Setting(NamedTuple):
    """How much is played."""

    networks: int
    slots: int


def run(study: Study) -> Report:
    budget = study.budget
    sizes = SIZES[: budget.pick(smoke=1, quick=2, full=2)]
    setting = Setting(*budget.pick(smoke=(1, PERIOD_SLOTS), quick=(2, 100), full=(6, 300)))
    tuned = {cells: _tune(study, cells, setting) for cells in sizes}
    seeds = range(FIRST_WORLD_SEED, FIRST_WORLD_SEED + budget.world_seeds)
    asked = [(cells, player, seed) for cells in sizes for player in _players(tuned[sizes[0]]) for seed in seeds]
    parts = [_part(cells, player, seed, tuned[cells], setting) for cells, player, seed in asked]
    results = iter(study.run(parts))
    found: Found = {cells: {} for cells in sizes}
    for cells, player, _ in asked:
        found[cells].setdefault(player, []).append(next(results))
    return Report(
        table=_table(found),
        figure=_figure(found),
        definitions=DEFINITIONS,
        paragraph=_paragraph(found, tuned),
        sample=f"{len(seeds)} world seeds of {setting.networks} networks of 3 and 7 cells, {setting.slots} slots each; "
        "intervals over world seeds. Nothing was trained.",
        scenarios=[],
        findings={
            "tuned": {str(cells): control._asdict() for cells, control in tuned.items()},
            "utility_pct": {
                str(cells): {p: _percent(mine, p, "utility") for p in mine if p in BASE_OF}
                for cells, mine in found.items()
            },
        },
    )


def _tune(study: Study, cells: int, setting: Setting) -> PowerControl:
    grid = list(itertools.product(ALPHAS, AT_110_DB))[:: study.budget.pick(smoke=2, quick=1, full=1)]
    controls = [PowerControl(*one) for one in grid]
    parts = [_static(f"tuning {c}", cells, TUNING_SEED, c, setting._replace(networks=8), False) for c in controls]
    utilities = [result["utility"][0] for result in study.run(parts)]
    return controls[int(np.argmax(utilities))]


def _static(label: str, cells: int, seed: int, control: PowerControl, setting: Setting, reuse: bool) -> Part:
    arguments = _arguments(cells, seed, control, setting) | {"reuse": reuse}
    return Part(f"{label}, {cells} cells, world seed {seed}", run_static, arguments)


def _arguments(cells: int, seed: int, control: PowerControl, setting: Setting) -> dict[str, Any]:
    return {"cells": cells, "seed": seed, **setting._asdict(), **control._asdict()}


def _players(tuned: PowerControl) -> tuple[str, ...]:
    return (FULL, TUNED, REUSE, KNOWS, GUESSES, REPORTED, LEADER)


def _part(cells: int, player: str, seed: int, tuned: PowerControl, setting: Setting) -> Part:
    if player in (FULL, TUNED, REUSE):
        control = FULL_POWER if player == FULL else tuned
        return _static(player, cells, seed, control, setting, player == REUSE)
    arguments = _arguments(cells, seed, tuned, setting)
    label = f"{player}, {cells} cells, world seed {seed}"
    if player in (KNOWS, GUESSES):
        return Part(label, run_search, arguments | {"future": int(player == GUESSES)})
    return Part(label, run_reported, arguments | {"bundle": BUNDLES / "paper" if player == LEADER else None})


def _values(results: list[Results], metric: str) -> list[float]:
    return [result[metric][0] for result in results]


def _percent(mine: dict[str, list[Results]], player: str, metric: str) -> Interval:
    return percent_above(_values(mine[player], metric), _values(mine[BASE_OF[player]], metric), paired=True)


def _table(found: Found) -> Table:
    table = Table(
        (
            Column("cells", "of a network"),
            Column("player", "who decides"),
            Column("against", "whom the differences are paired with"),
            *interval_columns("utility", "nats per UE"),
            *interval_columns("utility_diff", "utility above it"),
            *interval_columns("utility_pct", "the same, percent"),
            *interval_columns("p5_pct", "throughput of the worst-served twentieth above it, percent"),
            *(Column(metric, "bits per slot and cell, or UE") for metric in METRICS[1:]),
        )
    )
    nothing = Interval(float("nan"), float("nan"), float("nan"))
    for cells, mine in found.items():
        for player, results in mine.items():
            base = BASE_OF.get(player)
            above = nothing
            if base is not None:
                above = difference(_values(results, "utility"), _values(mine[base], "utility"), paired=True)
            table.add(
                cells=cells,
                player=player,
                against=base or "",
                **interval_cells("utility", mean_interval(_values(results, "utility"))),
                **interval_cells("utility_diff", above),
                **interval_cells("utility_pct", nothing if base is None else _percent(mine, player, "utility")),
                **interval_cells("p5_pct", nothing if base is None else _percent(mine, player, "p5_bits_per_slot")),
                **{metric: float(np.mean(_values(results, metric))) for metric in METRICS[1:]},
            )
    return table


def _figure(found: Found) -> Figure:
    names = [f"{cells} cells" for cells in found]
    panels = []
    for title, metric in (
        ("Utility", "utility"),
        ("Throughput", "throughput_bits_per_slot"),
        ("Worst-served twentieth of UEs", "p5_bits_per_slot"),
    ):
        curves = [
            Curve(player, names, [_percent(mine, player, metric) for mine in found.values()]) for player in BASE_OF
        ]
        panels.append(Panel(title, "", "percent above its static base", curves, level=0.0))
    return Figure("Several cells: power control, coordination, and a leader in each", panels)


def _paragraph(found: Found, tuned: dict[int, PowerControl]) -> str:
    sentences = []
    for cells, mine in found.items():
        control = tuned[cells]
        claims = {player: Claim(player, _percent(mine, player, "utility"), 2) for player in BASE_OF}
        edge = shown(_percent(mine, FULL, "p5_bits_per_slot"), " %", 0, signed=True)
        lowered = np.mean(_values(mine[KNOWS], "lowered"))
        granted = np.mean(_values(mine[LEADER], "granted"))
        sentences.append(
            f"**{cells} cells** (alpha {control.alpha:g}, {control.at_110_db:g} dBm at 110 dB), percent of utility. "
            f"{verdict([claims[FULL], claims[REUSE]], TUNED)} Of full power the worst-served twentieth has {edge}. "
            f"Coordination: {verdict([claims[KNOWS], claims[GUESSES]], TUNED)} The search lowers {lowered:.0%} of the "
            f"{len(LEVELS)}-valued levels. A leader in every cell, which grants {granted:.0%} of the RBGs itself: "
            f"{verdict([claims[LEADER]], REPORTED)}"
        )
    return " ".join(sentences)

"""An evaluation on the terminal: a table per number of UEs, training seeds below it, and what the figures mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from policy.errors import counted
from training.baselines.players import INFLIGHT_PF_SMART, ORACLE
from training.command_line.screen import print_whole
from training.evaluation.columns import SHOWN_COLUMNS
from training.evaluation.rows import DICTATOR, Row

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from training.evaluation.evaluate import Evaluation


def show(console: Console, result: Evaluation, leading: str, missing: Sequence[str]) -> None:
    """leading: label of the row whose margins are shown. missing: learned baselines that did not take part."""
    setup = result.setup
    for ues in setup.ues:
        rows = {row.label: row for row in result.rows if row.ues == ues}
        table = _table(result, ues, leading)
        for label, row in rows.items():
            table.add_row(label + (" UNTRAINED" if row.untrained else ""), *_figures(row), *_margin(rows[leading], row))
        if DICTATOR in rows[leading].vs:
            name = f"{DICTATOR} = {result.dictators[ues]}"
            table.add_row(name, *[""] * (len(SHOWN_COLUMNS) + 1), *_margin(rows[leading], None), style="dim")
        print_whole(console, table)
        _show_seeds(console, [row for row in result.seed_rows if row.ues == ues], rows[leading].label)
    lines = [
        f"{counted(result.seeds_done, 'world seed')} of {counted(setup.cells, 'cell')}, "
        f"{counted(setup.slots, 'slot')} each"
        + ("" if result.complete else f" (stopped before {setup.seeds - result.seeds_done} more)")
        + f"; leaders see {setup.observe}; scenario {setup.scenario.hash}",
        f"U: utility; gap: share of the way from {INFLIGHT_PF_SMART} to {ORACLE}; intervals: {result.interval}",
    ]
    if any(row.untrained for row in result.rows):
        lines.append("UNTRAINED: more than 2 % of utility below its own teacher, so no claim rests on it")
    if missing:
        lines.append(f"not given, they have to be trained first: {', '.join(missing)} (--player NAME=DIR[,DIR...])")
    for line in lines:
        console.print(line, style="dim", soft_wrap=True, highlight=False)


def _table(result: Evaluation, ues: int, leading: str) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    scenario = result.setup.scenario
    title = f"{scenario.name}, K = {scenario.slots_per_dcm}, {counted(ues, 'UE')}"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("player", overflow="fold")
    for heading in (*(column.heading for column in SHOWN_COLUMNS), "gap"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column(f"{leading.replace(' ', chr(10))}\nabove: U %", justify="right", no_wrap=True)
    table.add_column("bits\n%", justify="right", no_wrap=True)
    return table


def _show_seeds(console: Console, rows: Sequence[Row], leading: str) -> None:
    """One line per training seed; the subject's with its margin over inflight PF."""
    for row in rows:
        margin = row.vs.get(INFLIGHT_PF_SMART) if row.label == leading else None
        above = "" if margin is None else f", U {margin.utility_pct.mean:+.2f}% above {INFLIGHT_PF_SMART}"
        console.print(
            f"  {row.label}, training seed {row.train_seeds[0]}: {row.throughput_bits_per_slot:.0f} bits/slot, "
            f"Jain {row.jain:.3f}, U {row.utility:.4f}{above}",
            soft_wrap=True,
            highlight=False,
        )


def _figures(row: Row) -> tuple[str, ...]:
    return (
        *(format(row.figures[column.key], column.shown) for column in SHOWN_COLUMNS),
        "" if math.isnan(row.oracle_gap_share) else f"{row.oracle_gap_share:.0%}",
    )


def _margin(leading: Row, other: Row | None) -> tuple[str, str]:
    """The margins of utility, with its interval, and of throughput. other: None = the Dictator."""
    margin = leading.vs.get(DICTATOR if other is None else other.player)
    if margin is None or leading is other:
        return "", ""
    percent = margin.utility_pct
    # Of a baseline whose utility is not positive there is no percentage.
    above = "-" if math.isnan(percent.mean) else f"{percent.mean:+.2f}±{percent.half_width:.2f}"
    return above, f"{margin.throughput_pct:+.1f}"

"""`stackmac evaluate`: a bundle against every baseline, in the same worlds."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from training.result_file import ResultFileError, check_json_path, write_json

if TYPE_CHECKING:
    from rich.console import Console

    from training.bundle_players import Entry
    from training.paired_rows import Evaluation, Row
    from training.simulator.scenario import Scenario

evaluate_app = typer.Typer(add_completion=False, rich_markup_mode=None)

DECODINGS = {"greedy": ("greedy",), "sampled": ("sampled",), "both": ("greedy", "sampled")}
FOLLOWERS = ("rule", "learned")
FAST_GAME_SLOTS = 100
"""Length of an episode beside the node: the reference game's T."""
SLOW_GAME_PERIODS = 20
"""The same at a RIC's pace, so that most of the run is under the leader's decisions."""
MAX_UES = 200
INTERRUPTED = 130


@evaluate_app.command("evaluate")
def evaluate_command(
    scenario: Annotated[str, typer.Option(help="Simulator scenario.")],
    bundle: Annotated[str, typer.Option(help="Directory of a bundle; bundled = the shipped one for K.")] = "bundled",
    ues: Annotated[str, typer.Option(help="UEs per cell, comma-separated.")] = "3,5,10",
    against: Annotated[str, typer.Option(help="all, or names of baselines, comma-separated.")] = "all",
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="World seeds; from 2 on intervals go over them.")] = 5,
    cells: Annotated[int, typer.Option(min=1, max=10_000, help="Cells per world seed.")] = 32,
    k: Annotated[int, typer.Option("--k", min=0, max=1000, help="Slots per DCM; 0 = the scenario's.")] = 0,
    slots: Annotated[
        int, typer.Option(min=0, max=1_000_000, help="Length of a run; 0 = 100 slots, or 20 periods from K = 10 on.")
    ] = 0,
    decoding: Annotated[str, typer.Option(help="Of the bundle: greedy, sampled or both.")] = "greedy",
    followers: Annotated[str, typer.Option(help="Of the bundle: rule (best response) or learned (its own).")] = "rule",
    json_file: Annotated[str, typer.Option("--json", help="Write the rows there (- = standard output).")] = "",
) -> int:
    """Measure a bundle and baselines in the same worlds: radio, traffic and coins are equal, differences are paired.

    The same command gives the same rows. Ctrl-C keeps the world seeds that are finished.
    """
    for option, value, known in (("--decoding", decoding, DECODINGS), ("--followers", followers, FOLLOWERS)):
        if value not in known:
            raise typer.BadParameter(f"{option} is {value!r}, expected one of {', '.join(known)}")
    counts = _counts(ues)

    from rich.console import Console

    from training.baselines.players import make_baselines
    from training.bundle_players import enter_bundle
    from training.paired_rows import Setup, evaluate
    from training.progress_bar import ProgressBar

    console = Console(stderr=json_file == "-")
    try:
        check_json_path(json_file)
        world = _scenario(scenario, k)
        baselines = make_baselines(against)
        entry = enter_bundle(bundle, world.slots_per_dcm, DECODINGS[decoding], followers)
        _warn_of_pace(entry, world)
        players = [*entry.players, *baselines]
        setup = Setup(world, counts, seeds, cells, _periods(world, slots))
        with ProgressBar("evaluate", len(players) * len(counts) * seeds, "{what}") as bar:
            begun = 0

            def step(what: str) -> None:
                nonlocal begun
                bar.show(begun, what=what)
                begun += 1

            result = evaluate(players, setup, step)
            bar.show(begun if result.complete else begun - 1, what="done" if result.complete else "stopped")
        _show(console, result, entry.players[0].label)
        if json_file:
            write_json(json_file, {"bundle": _described(entry), **result.as_json()})
    except ResultFileError as error:
        typer.echo(f"stackmac evaluate: {error}", err=True)
        return 1
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from None
    return 0 if result.complete else INTERRUPTED


def _counts(ues: str) -> tuple[int, ...]:
    try:
        counts = tuple(dict.fromkeys(int(count) for count in ues.split(",")))
    except ValueError:
        raise typer.BadParameter(f"--ues is {ues!r}, expected numbers separated by commas") from None
    if not all(1 <= count <= MAX_UES for count in counts):
        raise typer.BadParameter(f"--ues is {ues!r}, expected numbers from 1 to {MAX_UES}")
    return counts


def _scenario(name: str, k: int) -> Scenario:
    from training.simulator.scenario import make_scenario

    scenario = make_scenario(name)
    return scenario.with_(slots_per_dcm=k) if k else scenario


def _periods(scenario: Scenario, slots: int) -> int:
    from training.simulator.scenario import SLOW_LEADER_SLOTS

    pace = scenario.slots_per_dcm
    usual = FAST_GAME_SLOTS if pace < SLOW_LEADER_SLOTS else SLOW_GAME_PERIODS * pace
    return max(1, (slots or usual) // pace)


def _warn_of_pace(entry: Entry, scenario: Scenario) -> None:
    low, high = entry.bundle.min_slots_per_dcm, entry.bundle.max_slots_per_dcm
    if not low <= scenario.slots_per_dcm <= high:
        typer.echo(
            f"stackmac evaluate: {entry.name} was trained for K from {low} to {high}, K is {scenario.slots_per_dcm}",
            err=True,
        )


def _described(entry: Entry) -> dict[str, Any]:
    bundle = entry.bundle
    return {
        "name": entry.name,
        "slots_per_dcm": [bundle.min_slots_per_dcm, bundle.max_slots_per_dcm],
        "provenance": dict(bundle.provenance),
    }


def _show(console: Console, result: Evaluation, leading: str) -> None:
    """A table per number of UEs: the rows, and how far the row `leading` is above each baseline."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from training.baselines.players import INFLIGHT_PF_SMART, ORACLE

    scenario, setup = result.setup.scenario, result.setup
    for ues in setup.ues:
        rows = {row.label: row for row in result.rows if row.ues == ues}
        title = f"{scenario.name}, K = {scenario.slots_per_dcm}, {ues} UEs"
        table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        table.add_column("policy", no_wrap=True)
        for heading in ("bits\n/slot", "Jain", "U", "drops", "gap"):
            table.add_column(heading, justify="right", no_wrap=True)
        table.add_column(f"{leading.replace(' ', chr(10))}\nabove: U", justify="right", no_wrap=True)
        table.add_column("bits\n/slot", justify="right", no_wrap=True)
        for label, row in rows.items():
            table.add_row(label, *_figures(row), *_margin(rows[leading], label))
        console.print(table)
    console.print(
        f"{result.seeds_done} world seeds of {setup.cells} cells, {setup.slots} slots each; U: utility; gap: share of "
        f"the way from {INFLIGHT_PF_SMART} to {ORACLE}; intervals: {result.interval}; scenario {scenario.hash}"
        + ("" if result.complete else f"; stopped before {setup.seeds - result.seeds_done} more"),
        style="dim",
        soft_wrap=True,
        highlight=False,
    )


def _figures(row: Row) -> tuple[str, ...]:
    return (
        f"{row.throughput_bits_per_slot:.0f}",
        f"{row.jain:.3f}",
        f"{row.utility:.3f}",
        f"{row.drop_fraction:.1%}",
        "" if math.isnan(row.oracle_gap_share) else f"{row.oracle_gap_share:.0%}",
    )


def _margin(bundle: Row, label: str) -> tuple[str, str]:
    """Of utility with its interval, and of throughput."""
    if label not in bundle.vs:
        return "", ""
    throughput_pct, (mean, low, high) = bundle.vs[label]
    return f"{mean:+.4f}±{(high - low) / 2:.3f}", f"{throughput_pct:+.1f}%"

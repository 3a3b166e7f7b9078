"""The command line of `stackmac lab`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from training.result_file import ResultFileError, check_json_path, write_json
from training.simulator.scenario import MAX_SEED
from xapp.e2.dialect import Dialect
from xapp.lab.gnb.behaviour import BEHAVIOURS
from xapp.lab.gnb.options import CONTROLS
from xapp.lab.lab import parse_names, run_lab
from xapp.lab.options import MARGIN_SEED, LabOptions
from xapp.lab.processes import LabError, stop_on_sigterm

lab_app = typer.Typer(add_completion=False, rich_markup_mode=None)


@lab_app.command()
def lab(
    cells: Annotated[int, typer.Option(min=1, max=15, help="Cells of the gNB.")] = 1,
    ues: Annotated[int, typer.Option(min=0, max=200, help="UEs per cell.")] = 8,
    seconds: Annotated[
        float, typer.Option(min=1, max=86_400, help="Length of the run, from the first indication.")
    ] = 15.0,
    leader: Annotated[
        str,
        typer.Option(
            help="bundled, a scheduler, a bundle directory, or module:Class; default bundled, with --control rc"
            " fair_caps."
        ),
    ] = "",
    compare: Annotated[
        str, typer.Option(help="Leaders to replay the same world under, also node_idle and node_scheduler (no xApp).")
    ] = "",
    worlds: Annotated[
        int, typer.Option(min=0, max=1000, help="With --compare: the leader's margin over so many other worlds.")
    ] = 0,
    world_seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Seed of those worlds.")] = MARGIN_SEED,
    period_ms: Annotated[int, typer.Option(min=10, max=10_240, help="E2 report period.")] = 100,
    k: Annotated[
        int,
        typer.Option(
            "--k", min=0, max=10_240, help="Slots per DCM; 0 = period / slot. A smaller K slows simulated time."
        ),
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Seed of the world.")] = 1,
    scenario: Annotated[str, typer.Option(help="Simulator scenario; default lab_paper for K <= 5, else lab.")] = "",
    followers: Annotated[str, typer.Option(help="rule = best response; learned = the bundle's followers.")] = "rule",
    e2_transport: Annotated[
        str, typer.Option(help="auto, sctp or tcp (length-prefixed: the lab's one departure).")
    ] = "auto",
    control: Annotated[
        str, typer.Option(help="What the gNB is controlled by: dcm, or rc (PRB quotas, as gNBs of today).")
    ] = "dcm",
    observe: Annotated[
        str,
        typer.Option(
            help="What the gNB reports: full, kpm_srsran or kpm_oai; default full, with --control rc kpm_srsran."
        ),
    ] = "",
    dialect: Annotated[
        Dialect, typer.Option(help="How the gNB writes KPM and RC; flexric: as FlexRIC up to v2.0.0.")
    ] = Dialect.STANDARD,
    routes: Annotated[
        str, typer.Option(help="rtmgr = the xApp asks the RIC's route manager; file = a static file.")
    ] = "rtmgr",
    record: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False, help="The xApp writes every input and decision there, for `stackmac replay` and `explain`."
        ),
    ] = None,
    rmr: Annotated[str, typer.Option(help="The xApp's RMR: si95, librmr, auto = librmr where it loads.")] = "auto",
    behave: Annotated[
        str,
        typer.Option(help="Whose ways the gNB has: ocudu, oai or srsran (with --control rc; docs/nodes.md)."),
    ] = "",
    json_file: Annotated[str, typer.Option("--json", help="Write the results there (- = standard output).")] = "",
) -> int:
    """RIC, gNB and xApp as three processes on loopback: a live table, a summary, comparisons over the same world."""
    console = Console(stderr=json_file == "-")
    stop_on_sigterm()
    try:
        check_json_path(json_file)
        options = LabOptions(
            cells=cells,
            ues=ues,
            seconds=seconds,
            leader=leader,
            compare=tuple(parse_names(compare)),
            period_ms=period_ms,
            k=k,
            seed=seed,
            scenario=scenario,
            followers=followers,
            e2_transport=e2_transport,
            worlds=worlds,
            world_seed=world_seed,
            control=control,
            observe=observe,
            dialect=str(dialect),
            record=str(record or ""),
            routes=routes,
            rmr=rmr,
            behave=behave,
        )
        check_names(options)
        summary = run_lab(options, console)
        if json_file:
            write_json(json_file, summary)
    except (LabError, ResultFileError) as error:
        typer.echo(f"stackmac lab: {error}", err=True)
        return 1
    return 130 if summary["interrupted"] else 0


def check_names(options: LabOptions) -> None:
    """Refuse unknown leaders, scenarios and comparisons before anything is started (typer.BadParameter)."""
    from policy.registry import LeaderError, check_leader
    from training.simulator.scenario import make_scenario
    from xapp.lab.comparison import NO_XAPP

    try:
        if options.scenario:
            make_scenario(options.scenario)
        for name in (options.leader or "bundled", *(name for name in options.compare if name not in NO_XAPP)):
            check_leader(name)
    except (LeaderError, ValueError, KeyError) as error:
        raise typer.BadParameter(str(error)) from None
    for name, value, known in (
        ("--followers", options.followers, ("rule", "learned")),
        ("--e2-transport", options.e2_transport, ("auto", "sctp", "tcp")),
        ("--control", options.control, CONTROLS),
        ("--observe", options.observe, ("", "full", "kpm_srsran", "kpm_oai")),
        ("--routes", options.routes, ("rtmgr", "file")),
        ("--rmr", options.rmr, ("auto", "si95", "librmr")),
        ("--behave", options.behave, tuple(BEHAVIOURS)),
    ):
        if value not in known:
            raise typer.BadParameter(f"{name} is {value!r}, expected one of {', '.join(filter(None, known))}")
    if options.compare and not options.ues:
        raise typer.BadParameter(f"--compare {','.join(options.compare)} with --ues 0: there is nobody to compare")
    if (options.control == "rc" or options.behave) and options.k:
        raise typer.BadParameter(f"--k {options.k} with --control rc: quotas act at a RIC's pace, K follows the period")

"""`stackmac demo`: the whole loop in two acts, and two lines that say where the leader wins and where it does not."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console

from training.result_file import check_json_path, write_json
from training.simulator.scenario import MAX_SEED
from xapp.lab.comparison import MARGIN_CELLS, margins, verdict
from xapp.lab.lab import run_lab
from xapp.lab.options import LabOptions
from xapp.lab.processes import stop_on_sigterm

demo_app = typer.Typer(add_completion=False, rich_markup_mode=None)

AGAINST = ("node_idle", "node_scheduler", "proportional_fair")
ACTS = (
    ("the paper's game, K = 1: the leader names every owner", 1),
    ("a RIC's pace, K = 100: the leader sets the rules", 100),
)


@demo_app.command()
def demo(
    seconds: Annotated[float, typer.Option(min=1, max=3600, help="Length of each act.")] = 15.0,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Seed of the worlds.")] = 1,
    json_file: Annotated[
        str, typer.Option("--json", help="Write both acts' results there (- = standard output).")
    ] = "",
) -> int:
    """Two acts on loopback, 1 cell, 8 UEs, 100 ms reports: real E2 bytes over real RMR, a language model deciding."""
    console = Console(stderr=json_file == "-")
    results: list[dict[str, Any]] = []
    verdicts: list[str] = []
    stop_on_sigterm()
    check_json_path(json_file)
    for number, (title, k) in enumerate(ACTS, 1):
        console.rule(f"act {number}: {title}")
        options = LabOptions(seconds=seconds, k=k, seed=seed, compare=",".join(AGAINST)).resolved()
        result = run_lab(options, console, title=f"act {number}: {title}")
        results.append(result)
        if result["interrupted"]:
            return 130
        rows = margins(options, AGAINST, console)
        result["margins"] = [row._asdict() for row in rows]
        verdicts.append(f"K = {k}: {verdict(rows)}")
    if json_file:
        write_json(json_file, results)
    console.rule("where the leader wins, and where it does not")
    console.print(f"utility over {MARGIN_CELLS} other worlds, paired, with 95 % intervals", style="dim")
    for line in verdicts:
        console.print(line, highlight=False, soft_wrap=True)
    return 0

"""`stackmac demo`: the whole loop in two acts, and two lines that say where the leader wins and where it does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import typer
from rich.console import Console

from policy.errors import INTERRUPTED
from training.command_line.options import command, option
from training.command_line.result_file import check_json_path, write_json
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


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What `stackmac demo` is given."""

    seconds: float = option(15.0, "Length of each act.", min=1, max=3600)
    seed: int = option(1, "Seed of the worlds.", min=0, max=MAX_SEED)
    json_file: str = option("", "Write both acts' results there (- = standard output).", "--json")


@command(demo_app, "demo", DemoOptions)
def demo(options: DemoOptions) -> int:
    """Two acts on loopback, 1 cell, 8 UEs, 100 ms reports: real E2 bytes over real RMR, a language model deciding."""
    console = Console(stderr=options.json_file == "-")
    results: list[dict[str, Any]] = []
    verdicts: list[str] = []
    stop_on_sigterm()
    check_json_path(options.json_file)
    for number, (title, k) in enumerate(ACTS, 1):
        console.rule(f"act {number}: {title}")
        act = LabOptions(seconds=options.seconds, k=k, seed=options.seed, compare=",".join(AGAINST)).resolved()
        result = run_lab(act, console, title=f"act {number}: {title}")
        results.append(result)
        if result["interrupted"]:
            return INTERRUPTED
        rows = margins(act, AGAINST, console)
        result["margins"] = [row._asdict() for row in rows]
        verdicts.append(f"K = {k}: {verdict(rows)}")
    if options.json_file:
        write_json(options.json_file, results)
    console.rule("where the leader wins, and where it does not")
    console.print(f"utility over {MARGIN_CELLS} other worlds, paired, with 95 % intervals", style="dim")
    for line in verdicts:
        console.print(line, highlight=False, soft_wrap=True)
    return 0

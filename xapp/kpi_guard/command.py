"""`stackmac guard`: what the KPI guard of a running xApp has found, and an operator's word against it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from policy.errors import UserMistake
from training.command_line.options import argument, command, option
from training.command_line.screen import print_whole
from xapp.config.http_url import check_url
from xapp.http.running_xapp import RunningXapp
from xapp.kpi_guard.guards import GUARD, RESET

guard_app = typer.Typer(add_completion=False, rich_markup_mode=None, help="The KPI guard of a running xApp.")

HEADINGS = ("cell", "state", "control", "hold-outs", "share", "M", "reverts")


@dataclass(frozen=True, slots=True)
class ShowOptions:
    """What `stackmac guard show` is given."""

    url: str = option("http://127.0.0.1:8080", "The xApp's HTTP address, http://HOST:PORT.")
    token_file: Path | None = option(None, "File with the token that the xApp's HTTP server asks for.")
    as_json: bool = option(False, "The whole document as JSON.", "--json")


@dataclass(frozen=True, slots=True)
class ResetOptions:
    """What `stackmac guard reset` is given."""

    cell: str = argument("<RAN name>/<NR-CGI>, or how it ends.")
    url: str = option("http://127.0.0.1:8080", "The xApp's HTTP address, http://HOST:PORT.")
    token_file: Path | None = option(None, "File with the token that the xApp's HTTP server asks for.")


@command(guard_app, "show", ShowOptions)
def show(options: ShowOptions) -> int:
    """Each cell: whether the leader decides there, hold-outs so far, evidence against it, and why it was reverted.

    share: of the time, in hold-outs. M: the evidence, and at how much of it the leader is reverted.
    """
    console = Console(highlight=False)

    def as_text(document: dict[str, Any]) -> str:
        with console.capture() as captured:
            _print(console, document)
        return json.dumps(document, indent=2) + "\n" if options.as_json else captured.get()

    typer.echo(_xapp(options).ask(GUARD, read=as_text), nl=False)
    return 0


@command(guard_app, "reset", ResetOptions)
def reset(options: ResetOptions) -> int:
    """Let the leader decide about a cell again, from the beginning: nothing is held against it any more."""
    xapp = _xapp(options)
    known = xapp.ask(GUARD, read=lambda document: [str(cell) for cell in document["cells"]])
    cells = [cell for cell in known if cell == options.cell] or [cell for cell in known if cell.endswith(options.cell)]
    if len(cells) != 1:
        raise UserMistake(f"{len(cells)} guarded cells end in {options.cell!r}; there are {', '.join(known) or 'none'}")
    cell = cells[0].split("/")
    typer.echo(xapp.ask(RESET, *cell, method="POST", read=lambda answer: f"{answer['cell']}: {answer['state']}"))
    return 0


def _xapp(options: ShowOptions | ResetOptions) -> RunningXapp:
    check_url("--url", options.url)
    return RunningXapp(options.url, options.token_file)


def _figures(found: dict[str, Any]) -> tuple[str, ...]:
    """Under HEADINGS, but for the cell."""
    m = max(found["evidence"].values(), default=1.0)
    share, evidence = f"{100 * found['hold_out_share']:.1f} %", f"{m:.3g} of {found['reverts_at']:.3g}"
    return (found["state"], found["control"], str(found["hold_outs"]), share, evidence, str(found["reverts"]))


def _print(console: Console, document: dict[str, Any]) -> None:
    console.print(f"leader {document['leader']} {document['bundle_hash']}".rstrip(), markup=False)
    table = Table(box=None, pad_edge=False)
    for heading in HEADINGS:
        table.add_column(heading, no_wrap=True)
    rows = {cell: _figures(found) for cell, found in document["cells"].items()}
    for cell, figures in rows.items():
        table.add_row(cell, *figures)
    if not console.is_terminal or Measurement.get(console, console.options, table).maximum < console.width:
        print_whole(console, table)
    else:  # a cell's name is what `guard reset` is given: whole, on a line of its own
        for cell, figures in rows.items():
            named = (f"{heading} {figure}" for heading, figure in zip(HEADINGS[1:], figures, strict=True))
            console.print(f"{cell}\n  {', '.join(named)}", markup=False, soft_wrap=True)
    for cell, found in document["cells"].items():
        if found["verdict"]:
            console.print(f"{cell}: {found['verdict']['text']}", markup=False, soft_wrap=True)

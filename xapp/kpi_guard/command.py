"""`stackmac guard`: what the KPI guard of a running xApp has found, and an operator's word against it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import typer
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from policy.errors import RunFailed, UserMistake
from training.command_line.options import argument, command, option
from training.command_line.screen import print_whole
from xapp.config.http_url import check_url
from xapp.config.token_file import refused_token, token_of
from xapp.kpi_guard.api import GUARD, RESET

guard_app = typer.Typer(add_completion=False, rich_markup_mode=None, help="The KPI guard of a running xApp.")

TIMEOUT_S = 10.0
HEADINGS = ("cell", "state", "control", "hold-outs", "share", "M", "reverts")


class GuardUnreachable(RunFailed):
    """One line for the user."""


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
    document = _ask("GET", options.url, GUARD, options.token_file)
    if options.as_json:
        typer.echo(json.dumps(document, indent=2))
    else:
        _print(Console(highlight=False), document)
    return 0


@command(guard_app, "reset", ResetOptions)
def reset(options: ResetOptions) -> int:
    """Let the leader decide about a cell again, from the beginning: nothing is held against it any more."""
    known = list(_ask("GET", options.url, GUARD, options.token_file)["cells"])
    cells = [cell for cell in known if cell == options.cell] or [cell for cell in known if cell.endswith(options.cell)]
    if len(cells) != 1:
        raise UserMistake(f"{len(cells)} guarded cells end in {options.cell!r}; there are {', '.join(known) or 'none'}")
    answer = _ask("POST", options.url, f"{RESET}/{quote(cells[0])}", options.token_file)
    typer.echo(f"{answer['cell']}: {answer['state']}")
    return 0


def _ask(method: str, url: str, path: str, token_file: Path | None) -> dict[str, Any]:
    check_url("--url", url)
    token = token_of(token_file)
    shown = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with httpx.Client(base_url=url.rstrip("/"), timeout=TIMEOUT_S, trust_env=False, headers=shown) as http:
            answer = http.request(method, path)
        if refused := refused_token(answer.status_code, url, token_file):
            raise GuardUnreachable(refused)
        document = answer.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError) as error:
        raise GuardUnreachable(f"{url} does not answer as an xApp: {type(error).__name__}: {error}") from None
    if answer.status_code != 200 or not isinstance(document, dict) or not ({"cells", "state"} & document.keys()):
        detail = document.get("detail", document) if isinstance(document, dict) else document
        raise GuardUnreachable(f"{url}: {str(detail)[:300]}")
    return document


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

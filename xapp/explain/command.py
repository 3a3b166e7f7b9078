"""`stackmac explain`: why a UE got what it got, asked of a running xApp or of a recording."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from policy.errors import RunFailed, UserMistake, counted
from training.command_line.options import command, option
from training.command_line.values import goes_with
from xapp.config.http_url import check_url
from xapp.control.decision_record import DecisionRecord
from xapp.explain.document import DECISIONS
from xapp.explain.document import explain as explain_record
from xapp.explain.screen import show
from xapp.http.running_xapp import RunningXapp
from xapp.record.file_format import Recording

explain_app = typer.Typer(add_completion=False, rich_markup_mode=None)


class CannotExplainError(RunFailed):
    """One line for the user."""


@dataclass(frozen=True, slots=True)
class ExplainOptions:
    """What `stackmac explain` is given."""

    url: str = option("http://127.0.0.1:8080", "The xApp's HTTP address, http://HOST:PORT.")
    cell: str = option("", "<RAN name>/<NR-CGI>, or how it ends; may be left out where there is only one.")
    ue: int | None = option(None, "The UE that is asked about; default: a line for each.", min=0)
    decision: int | None = option(None, "Of the decision; default: the newest.", "--id", min=0)
    record: Path | None = option(None, "Ask a recording (`run --record`) instead of a running xApp.")
    token_file: Path | None = option(None, "File with the token that the xApp's HTTP server asks for.")
    as_json: bool = option(False, "The whole document as JSON.", "--json")


@command(explain_app, "explain", ExplainOptions)
def explain(options: ExplainOptions) -> int:
    """Say why UEs got what they got in one decision: what was seen, how likely each alternative was, what was sent."""
    cell, ue, decision = options.cell, options.ue, options.decision
    goes_with("--token-file", options.token_file, None, "--url", options.record is None)
    console = Console(highlight=False)

    def as_text(document: dict[str, Any]) -> str:
        if options.as_json:
            return json.dumps(dict(document), indent=2) + "\n"
        with console.capture() as captured:
            show(console, document, ue)
        return captured.get()

    if options.record is None:
        check_url("--url", options.url)
        xapp = RunningXapp(options.url, options.token_file)
        cells = xapp.ask(DECISIONS, read=lambda listed: [str(kept["cell"]) for kept in listed["cells"]])
        query = {key: value for key, value in (("ue", ue), ("id", decision)) if value is not None}
        text = xapp.ask(DECISIONS, *choose_cell(cells, cell).split("/"), query=query, read=as_text)
    elif options.url != ExplainOptions().url:
        raise UserMistake(f"--url {options.url} with --record {options.record}: expected one of the two")
    else:
        text = as_text(_look_up(options.record, cell, ue, decision))
    typer.echo(text, nl=False)
    return 0


def _look_up(record: Path, cell: str, ue: int | None, decision: int | None) -> dict[str, Any]:
    """Play the recording up to its end, with the decisions as they were made, and explain one of them."""
    from xapp.record.replay import Replay, load_leader

    found: dict[str, DecisionRecord] = {}
    """By cell: the newest decision, or that with the id."""
    last_seen: dict[str, DecisionRecord] = {}
    """By cell: the newest one before it that `ue` was in."""
    cells: set[str] = set()

    def take(made: DecisionRecord) -> None:
        cells.add(made.cell)
        if decision is not None and (found or made.id != decision):
            if not found and ue in made.newest.ue_ids:
                last_seen[made.cell] = made
            return
        before = found.get(made.cell)
        if before is not None and ue in before.newest.ue_ids:
            last_seen[made.cell] = before
        found[made.cell] = made

    with Recording(record) as recording:
        result = Replay(recording, load_leader(recording), ask_leader=False, on_record=take).run()
    if result.ended_early:
        typer.echo(f"{record} ends early: {result.ended_early}", err=True)
    if decision is not None and cells and not found:
        raise UserMistake(f"no decision {decision} in {record}, which has {counted(result.decisions, 'decision')}")
    made = found[choose_cell(sorted(found), cell)] if found else None
    if made is None:
        raise CannotExplainError(f"no decision in {record}")
    earlier = [last_seen[made.cell]] if made.cell in last_seen else []
    return explain_record(made, earlier, None if ue is None else (ue,))


def choose_cell(known: list[str], wanted: str) -> str:
    """The one that is meant. Raises UserMistake naming those that there are."""
    found = [cell for cell in known if cell.endswith(wanted)]
    exact = [cell for cell in found if cell == wanted]
    if len(found) == 1 or exact:
        return (exact or found)[0]
    if not known:
        raise CannotExplainError("no decision has been made yet")
    which = "no --cell given"
    if wanted:
        which = (
            f"{counted(len(found), 'cell ends', 'cells end')} in {wanted!r}" if found else f"no cell ends in {wanted!r}"
        )
    raise UserMistake(f"{which}; expected one of {', '.join(known)}")

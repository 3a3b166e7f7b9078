"""The command line of `stackmac doctor`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from training.command_line.options import command, option
from xapp.config.http_url import check_url
from xapp.config.live import DEFAULT_PATHS
from xapp.doctor.checks import examine
from xapp.doctor.facts import gather
from xapp.doctor.finding import Finding, State
from xapp.http.token_file import token_of

doctor_app = typer.Typer(add_completion=False, rich_markup_mode=None)

FOUND_FAULTS = 1
STYLES = {State.OK: "green", State.WARNING: "yellow", State.FAULT: "bold red", State.UNKNOWN: "dim"}


@dataclass(frozen=True, slots=True)
class DoctorOptions:
    """What `stackmac doctor` is given."""

    config: Path | None = option(None, f"The xApp descriptor that the deployment runs with. {DEFAULT_PATHS}")
    url: str = option("", "The xApp's HTTP server; empty = this host, at the configured port.")
    seconds: float = option(3.0, "Between two looks at what should change.", min=0.1, max=600)
    token_file: Path | None = option(
        None, "File with the token that opens the xApp's HTTP server; default: what the descriptor names."
    )
    as_json: bool = option(False, "The findings as JSON on standard output.", "--json")


@command(doctor_app, "doctor", DoctorOptions)
def doctor(options: DoctorOptions) -> int:
    """Say what is wrong with a deployment, and what to do about it.

    Run it where the xApp runs, with its environment: it asks the platform as the xApp does. Exit status: 0 = no fault
    (warnings do not count), 1 = faults, 2 = asked wrongly.
    """
    if options.url:
        check_url("--url", options.url)
    console = Console(stderr=options.as_json)
    with console.status("asking") as status:
        facts = gather(
            options.config,
            options.url,
            seconds=options.seconds,
            token=token_of(options.token_file),
            on_progress=lambda what: status.update(Text(f"asking {what}")),
        )
    findings = examine(facts)
    if options.as_json:
        print(
            json.dumps({"faults": _faults(findings), "findings": [finding._asdict() for finding in findings]}, indent=2)
        )
    else:
        console.print(findings_table(findings))
        console.print(_summary(findings))
    return FOUND_FAULTS if any(finding.state is State.FAULT for finding in findings) else 0


def _faults(findings: list[Finding]) -> list[str]:
    """Names, most fundamental first, each once."""
    return list(dict.fromkeys(finding.fault for finding in findings if finding.state is State.FAULT))


def findings_table(findings: list[Finding]) -> Table:
    """For people; of whatever width, no word is cut."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("", "what", "found, and what to do"):
        table.add_column(column, overflow="fold")  # names of cells and nodes are there to be typed again
    for finding in findings:
        mark = f"[{STYLES[finding.state]}]{finding.state.value}[/]"
        name = f" ({finding.fault})" if finding.fault else ""
        lines = [finding.found + name, *([f"-> {finding.advice}"] if finding.advice else [])]
        table.add_row(mark, finding.check, Text("\n".join(lines)))  # answers are no markup
    return table


def _summary(findings: list[Finding]) -> str:
    faults = _faults(findings)
    if not faults:
        return "no faults"
    return f"{len(faults)} {'fault' if len(faults) == 1 else 'faults'}: {', '.join(faults)}; begin with the first"

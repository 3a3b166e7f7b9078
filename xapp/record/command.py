"""`stackmac replay`: a recording's inputs once more, and whether the same control bytes come out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import typer

from policy.errors import counted
from policy.registry import check_leader
from training.command_line.options import argument, command, option
from xapp.record.file_format import Recording

replay_app = typer.Typer(add_completion=False, rich_markup_mode=None)


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """What `stackmac replay` is given."""

    file: Path = argument("What `run --record` or `lab --record` wrote.")
    leader: str = option("", "Instead of the one that the recording names.")


@command(replay_app, "replay", ReplayOptions)
def replay(options: ReplayOptions) -> int:
    """Feed a recording's inputs to receiver, trackers, leader, guard and encoder; exit 1 at the first other byte."""
    from xapp.record.replay import AbsentLeader, Replay, load_leader

    if options.leader:
        check_leader(options.leader)
    with Recording(options.file) as recording:
        asked = load_leader(recording, options.leader)
        if isinstance(asked, AbsentLeader):
            typer.echo(f"leader {asked.name} is not here: its recorded decisions are taken as given", err=True)
        result = Replay(recording, asked, ask_leader=not isinstance(asked, AbsentLeader)).run()
    if result.ended_early:
        typer.echo(f"{options.file} ends early: {result.ended_early}")
    counts = f"{counted(result.messages, 'message')}, {counted(result.decisions, 'decision')}"
    if result.difference:
        typer.echo(f"DIFFERENT after {counts}: {result.difference}")
        return 1
    sent = counted(result.controls, "control or release", "controls and releases")
    typer.echo(f"the same: {counts}, {sent} equal byte for byte")
    return 0

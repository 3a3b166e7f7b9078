"""`stackmac results merge`: what several machines have played of one evaluation, as one result."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from training.command_line.options import argument, command, option
from training.command_line.result_file import check_json_path, write_json

if TYPE_CHECKING:
    from training.evaluation.evaluate import Evaluation

results_app = typer.Typer(
    add_completion=False, rich_markup_mode=None, help="Results, worked out again from what is kept."
)


@results_app.callback()
def results() -> None:
    """Results, worked out again from the values in their files."""


@dataclass(frozen=True)
class MergeOptions:
    """What `stackmac results merge` is given."""

    files: tuple[str, ...] = argument("Result files; one alone is worked out again.")
    json_file: str = option("", "Write the result there (- = standard output).", "--json")


@command(results_app, "merge", MergeOptions)
def merge_command(options: MergeOptions) -> None:
    """Put together what `evaluate --json` wrote for other world seeds, UEs or players: the same as one run of all.

    What does not belong together is refused: another scenario, length, version, bundle or tuning, values that differ.
    """
    from rich.console import Console

    from training.evaluation.merge import merge
    from training.evaluation.result_document import read_document
    from training.evaluation.table import show

    check_json_path(options.json_file)
    merged = merge([(name, _read(name)) for name in options.files])
    result = read_document(merged, "the merged result")
    show(Console(stderr=options.json_file == "-"), result, _leading(result), merged["missing"])
    if options.json_file:
        write_json(options.json_file, merged)


def _leading(result: Evaluation) -> str:
    """The row whose margins are shown: what the evaluation is about."""
    return next((player.label for player in result.players if not player.baseline), result.players[0].label)


def _read(name: str) -> dict[str, Any]:
    from training.evaluation.result_document import ResultError

    try:
        document = json.loads(Path(name).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ResultError(f"{name}: no JSON ({error})") from None
    if not isinstance(document, dict):
        raise ResultError(f"{name}: no result of `stackmac evaluate`, expected an object")
    return document

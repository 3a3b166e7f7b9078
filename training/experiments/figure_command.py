"""`stackmac results figure`: an experiment's figure, table and paragraph, made again from the JSON that is kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import typer

from training.command_line.options import argument, command, option
from training.evaluation.results_command import results_app

__all__ = ["results_app"]


@dataclass(frozen=True)
class FigureOptions:
    """What `stackmac results figure` is given."""

    files: tuple[str, ...] = argument("NAME.json of `stackmac experiment`, such as docs/results/convergence.json.")
    out: Path | None = option(None, "Directory to write into; without it that of each file.")


@command(results_app, "figure", FigureOptions)
def figure_command(options: FigureOptions) -> None:
    """Make the figure (PNG, SVG), table (CSV) and paragraph (Markdown) of an experiment again, and play nothing.

    Intervals are worked out anew from the values in the file. The same version gives the same bytes.
    """
    from training.experiments.kept import remake

    for name in options.files:
        file = Path(name)
        for written in remake(file, options.out or file.parent):
            typer.echo(str(written))

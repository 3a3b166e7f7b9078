"""Tables for people: no cell is cut, however narrow the terminal, and a pipe gets each row as one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

UNBOUNDED = 100_000
"""Columns, more than any table has."""


def print_whole(console: Console, table: Table) -> None:
    """Print `table`. What must not be broken over lines has `no_wrap`; other cells wrap on a terminal alone."""
    from rich.measure import Measurement

    least, natural = Measurement.get(console, console.options.update(width=UNBOUNDED), table)
    if natural > console.width:
        table.width = max(least, console.width) if console.is_terminal else natural
    console.print(table, crop=False)

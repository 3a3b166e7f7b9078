"""What was measured, as CSV: one row a condition, every column explained."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from training.intervals import Interval

SIGNIFICANT_DIGITS = 6


class Column(NamedTuple):
    """One column."""

    name: str
    meaning: str
    """With its unit."""


def interval_columns(name: str, meaning: str) -> tuple[Column, ...]:
    """Mean and both ends of an interval."""
    return (
        Column(name, meaning),
        Column(f"{name}_low", "lower end of its 95 % interval"),
        Column(f"{name}_high", "upper end"),
    )


def interval_cells(name: str, interval: Interval) -> dict[str, float]:
    """The cells of `interval_columns`."""
    return {name: interval.mean, f"{name}_low": interval.low, f"{name}_high": interval.high}


class Table:
    """Rows under fixed columns. Raises ValueError for a row with other columns."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns = tuple(columns)
        self.rows: list[dict[str, Any]] = []

    def add(self, **cells: Any) -> None:
        if cells.keys() != {c.name for c in self.columns}:
            wrong = sorted(cells.keys() ^ {c.name for c in self.columns})
            raise ValueError(f"cells of a row and columns differ: {', '.join(wrong)}")
        self.rows.append(cells)

    def where(self, **cells: Any) -> Iterator[dict[str, Any]]:
        """Rows that have all these cells."""
        return (row for row in self.rows if all(row[name] == value for name, value in cells.items()))

    def as_csv(self) -> str:
        """Header and rows; an unknown number is empty."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(c.name for c in self.columns)
        for row in self.rows:
            writer.writerow(_shown(row[c.name]) for c in self.columns)
        return text.getvalue()

    def legend(self) -> str:
        """The columns, as a Markdown list."""
        return "\n".join(f"- `{c.name}`: {c.meaning}" for c in self.columns)


def _shown(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return f"{value:.{SIGNIFICANT_DIGITS}g}" if math.isfinite(value) else ""

"""The columns of `evaluate`: one entry each, from which the JSON rows and the table on the terminal come.

A column is a mean over all cells of a row's world seeds and training seeds. Another one is one more entry of COLUMNS.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from policy.cell_state import TrafficClass
from training.intervals import finite_mean
from training.simulator.metrics import CellMetrics


class Column(NamedTuple):
    """One figure of a row."""

    key: str
    """Its name in the JSON."""
    value: Callable[[Sequence[CellMetrics]], Any]
    """The figure, from the metrics of all cells; NaN is null in the JSON."""
    heading: str = ""
    """Over its column on the terminal; "" = only in the JSON."""
    shown: str = ".3f"
    """How the terminal formats it."""


def mean_of(metric: str) -> Callable[[Sequence[CellMetrics]], float]:
    """The mean over cells of one of their metrics."""
    return lambda cells: finite_mean([getattr(cell, metric) for cell in cells])


def _drops_by_class(cells: Sequence[CellMetrics]) -> dict[str, float]:
    """Share of bits dropped, by class name; NaN for a class without arrivals."""
    return {
        traffic_class.name.lower(): finite_mean([cell.drop_fraction_by_class[i] for cell in cells])
        for i, traffic_class in enumerate(TrafficClass)
    }


COLUMNS: tuple[Column, ...] = (
    Column("throughput_bits_per_slot", mean_of("throughput_bits_per_slot"), "bits\n/slot", ".0f"),
    Column("jain", mean_of("jain"), "Jain"),
    Column("utility", mean_of("utility"), "U"),
    Column("collision_fraction", mean_of("collision_fraction")),
    Column("waste_fraction", mean_of("waste_fraction")),
    Column("drop_fraction", mean_of("drop_fraction"), "drops", ".1%"),
    Column("drop_fraction_by_class", _drops_by_class),
    # A cell's own quantile of the delay of its bits.
    Column("delay_slots_p50", mean_of("p50_delay_slots")),
    Column("delay_slots_p95", mean_of("p95_delay_slots")),
)
"""All columns, in the order of the terminal's table."""
SHOWN_COLUMNS = tuple(column for column in COLUMNS if column.heading)

"""The same world under other leaders: replays in the simulator, with the lab's seed, slots and period rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console

if TYPE_CHECKING:
    from xapp.lab.lab import LabOptions

NO_XAPP = ("node_idle", "node_scheduler")
"""The node alone: leftovers unused, or contended for at its tuned rate."""


def compare_leaders(options: LabOptions, names: Sequence[str], console: Console) -> dict[str, dict[str, Any]]:
    """{name: figures} over the periods and cells of the live run."""
    if not names:
        return {}
    from policy.registry import make_leader
    from training.evaluation import replay
    from training.simulator.scenario import make_scenario

    scenario = make_scenario(options.scenario).with_(slots_per_dcm=options.k)
    rows: dict[str, dict[str, Any]] = {}
    for name in names:
        with console.status(f"replaying {options.periods} periods under {name}"):
            leader = None if name in NO_XAPP else make_leader(name)
            rows[name] = replay(
                scenario, leader, cells=options.cells, ues=options.ues, seed=options.seed, periods=options.periods
            )
    return rows

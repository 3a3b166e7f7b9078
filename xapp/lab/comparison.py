"""The same world under other leaders: replays in the simulator, with the lab's seed, slots and period rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Console

from policy.errors import counted
from xapp.lab.harmful_leaders import plug_in_of
from xapp.lab.options import MARGIN_SEED, LabOptions

if TYPE_CHECKING:
    from training.simulator.metrics import CellMetrics

NO_XAPP = ("node_idle", "node_scheduler")
"""The node alone: leftovers unused, or contended for at its tuned rate."""
MARGIN_CELLS = 48
"""Worlds behind a margin: one cell for a quarter of a minute says little."""
MARGIN_SLOTS = 1500
QUOTA_MARGIN_SLOTS = 6000
"""Under RC: quotas take a second or two until they have all been sent."""


class Margin(NamedTuple):
    """How much more utility the leader brings than another row, in the same worlds: mean and 95 % interval."""

    name: str
    leader_utility: float
    utility: float
    mean: float
    low: float
    high: float
    worlds: int
    throughput_percent: float
    """How much more throughput the leader has, mean of all worlds against mean of all worlds."""


def compare_leaders(options: LabOptions, names: Sequence[str], console: Console) -> dict[str, dict[str, Any]]:
    """{name: figures} over the periods and cells of the live run, the live run's own leader first, all replayed."""
    if not names:
        return {}
    from xapp.lab.gnb.status import figures

    rows: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys((options.leader, *names)):
        with console.status(f"replaying {counted(options.periods, 'period')} under {name}"):
            rows[name] = figures(
                _replay(options, name, cells=options.cells, seed=options.seed, periods=options.periods)
            )
    return rows


def margins(
    options: LabOptions, names: Sequence[str], console: Console, *, worlds: int = MARGIN_CELLS, seed: int = MARGIN_SEED
) -> list[Margin]:
    """The leader's utility against each row's over paired worlds of the same scenario."""
    from training.replay import compare

    slots = QUOTA_MARGIN_SLOTS if options.offers_quotas else MARGIN_SLOTS
    periods = max(2, slots // options.k) if options.k > 1 else slots // 5
    rows = {}
    for name in (options.leader, *names):
        with console.status(f"{counted(worlds, 'world')} under {name}"):
            rows[name] = _replay(options, name, cells=worlds, seed=seed, periods=periods)
    throughput = {row.row: row for row in compare(rows, options.leader, ("throughput_bits_per_slot",))}
    return [
        Margin(
            row.row,
            row.baseline_mean,
            row.mean,
            -row.difference,
            -row.difference - row.half_width,
            -row.difference + row.half_width,
            row.cells,
            -100.0 * throughput[row.row].difference / throughput[row.row].mean,
        )
        for row in compare(rows, options.leader, ("utility",))
    ]


def verdict(rows: list[Margin]) -> str:
    """One line: the leader against each row, as far as the intervals allow."""
    groups: dict[str, list[str]] = {"wins against": [], "loses to": [], "no difference shown against": []}
    for row in rows:
        word = "wins against" if row.low > 0 else "loses to" if row.high < 0 else "no difference shown against"
        groups[word].append(f"{row.name} ({row.mean:+.3f} [{row.low:+.3f}, {row.high:+.3f}])")
    return "; ".join(f"{word} {', '.join(names)}" for word, names in groups.items() if names)


def _replay(options: LabOptions, name: str, *, cells: int, seed: int, periods: int) -> list[CellMetrics]:
    """Under RC a leader's decisions become quotas, and it sees what the gNB reports; else it observes everything."""
    from policy.registry import make_leader
    from training.replay import Worlds, replay_row
    from training.simulator.scenario import make_scenario
    from xapp.lab.gnb.options import make_followers
    from xapp.lab.quota_replay import replay_under_quotas

    scenario = make_scenario(options.scenario).with_(slots_per_dcm=options.k)
    worlds: Worlds = {
        "ues": options.ues,
        "cells": cells,
        "seed": seed,
        "periods": periods,
        "followers": make_followers(options.followers, options.follower_bundle, options.k),
    }
    if options.offers_quotas and name not in NO_XAPP:
        return replay_under_quotas(scenario, make_leader(plug_in_of(name)), {**worlds, "observe": options.observe})
    return replay_row(scenario, plug_in_of(name), **worlds)

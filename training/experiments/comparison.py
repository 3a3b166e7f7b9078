"""Trained players and rules side by side: one table, and the sentences that come of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from policy.errors import counted
from training.baselines.players import INFLIGHT_PF_SMART
from training.experiments.figure import Curve
from training.experiments.measurement import Measured, Plan, PlayerSpec, World, measure
from training.experiments.paragraph import Claim, verdict
from training.experiments.study import Study
from training.experiments.table import Column, Table, interval_cells, interval_columns
from training.replay import NODE_SCHEDULER

FAIR, NODE = INFLIGHT_PF_SMART, NODE_SCHEDULER
MEANS = {
    "throughput_bits_per_slot": "bits per slot and cell",
    "jain": "Jain's index of the UEs' throughputs",
    "collision_fraction": "share of RBG-slots in which several UEs sent",
    "waste_fraction": "empty transmissions per RBG-slot",
    "drop_fraction": "bits dropped per bit arrived",
}


def compare(study: Study, who: Sequence[Sequence[PlayerSpec]], worlds: Sequence[World]) -> list[Measured]:
    """Everybody in every world; a player of several training seeds is a sequence of them."""
    return measure(study.run, [Plan(players, world) for world in worlds for players in who])


def rules(*names: str) -> list[list[PlayerSpec]]:
    """Baselines by name."""
    return [[PlayerSpec(name, name)] for name in names]


def base_of(found: Sequence[Measured], mine: Measured, name: str) -> Measured:
    """The player `name` in the same worlds."""
    return next(m for m in found if m.player == name and m.world == mine.world)


def table_of(
    found: Sequence[Measured],
    bases: Sequence[str],
    player_meaning: str,
    more: Mapping[str, tuple[str, Mapping[str, Any]]] = {},
) -> Table:
    """more: further columns by name: what they mean, and each player's value (missing = unknown)."""
    columns = [
        Column("scenario", "name"),
        Column("ues", "UEs per cell"),
        Column("k", "slots per DCM"),
        Column("player", player_meaning),
        Column("train_seeds", "trainings that the row is over; 0 for a rule"),
        *(Column(name, meaning) for name, (meaning, _) in more.items()),
        *interval_columns("utility", "nats per UE"),
    ]
    for base in bases:
        columns += interval_columns(f"utility_above_{base}", f"utility above {base}'s, paired")
        columns.append(Column(f"throughput_pct_above_{base}", f"throughput above {base}'s, percent"))
    table = Table([*columns, *(Column(name, meaning) for name, meaning in MEANS.items())])
    for m in found:
        cells: dict[str, Any] = {
            "scenario": m.world.scenario.name,
            "ues": m.world.ues,
            "k": m.world.slots_per_dcm,
            "player": m.player,
            "train_seeds": m.train_seeds,
            **{name: values.get(m.player, float("nan")) for name, (_, values) in more.items()},
            **interval_cells("utility", m.interval("utility")),
        }
        for base in bases:
            other = base_of(found, m, base)
            cells |= interval_cells(f"utility_above_{base}", m.minus(other, "utility"))
            cells[f"throughput_pct_above_{base}"] = m.percent_above(other, "throughput_bits_per_slot")
        table.add(**cells, **{name: m.mean(name) for name in MEANS})
    return table


def claims_of(
    found: Sequence[Measured], player: str, base: str, metric: str = "utility", digits: int = 3
) -> list[Claim]:
    """How far `player` is above `base`, world by world."""
    return [
        Claim(where(m), m.minus(base_of(found, m, base), metric), digits=digits) for m in found if m.player == player
    ]


def sentence(found: Sequence[Measured], player: str, base: str, metric: str = "utility", digits: int = 3) -> str:
    """What is better and worse about `player` than about `base`."""
    sentences = verdict(claims_of(found, player, base, metric, digits), base)
    return f"{metric.split('_')[0].capitalize()} of {player}. {sentences}"


def where(m: Measured) -> str:
    return f"{m.world.ues} UEs in {m.world.scenario.name}"


def bars(found: Sequence[Measured], players: Sequence[str], base: str, metric: str = "utility") -> list[Curve]:
    """Paired differences to `base`, a group of bars a world."""
    return [
        Curve(
            player,
            [where(m) for m in found if m.player == player],
            [m.minus(base_of(found, m, base), metric) for m in found if m.player == player],
        )
        for player in players
    ]


def over_ues(found: Sequence[Measured], players: Sequence[str], base: str) -> list[Curve]:
    """Paired differences of utility to `base` over the number of UEs."""
    return [
        Curve(
            player,
            [m.world.ues for m in found if m.player == player],
            [m.minus(base_of(found, m, base), "utility") for m in found if m.player == player],
        )
        for player in players
    ]


def absolute(found: Sequence[Measured], players: Sequence[str], metric: str) -> list[Curve]:
    """The metric itself over the number of UEs."""
    return [
        Curve(p, [m.world.ues for m in found if m.player == p], [m.interval(metric) for m in found if m.player == p])
        for p in players
    ]


def sample_of(study: Study, worlds: Sequence[World]) -> str:
    """How many of everything a study's numbers are over, as a sentence."""
    train_seeds, slots = study.budget.train_seeds, sorted({world.slots for world in worlds})
    over = "training seeds crossed with world seeds for what was trained, " if train_seeds > 1 else ""
    lengths = " or ".join(map(str, slots))
    return (
        f"{counted(train_seeds, 'training seed')}; {counted(worlds[0].seeds, 'world seed')} of "
        f"{counted(worlds[0].cells, 'cell')}, {lengths} slots "
        f"each; intervals over {over}world seeds{' otherwise' if over else ''}."
    )

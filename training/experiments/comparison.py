"""Trained policies and rules side by side: one table, and the sentences that come of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from training.experiments.figure import Curve
from training.experiments.measurement import Measured, Plan, Policy, World, measure
from training.experiments.paragraph import Claim, verdict
from training.experiments.study import Study
from training.experiments.table import Column, Table, interval_cells, interval_columns

FAIR, NODE = "inflight_pf_smart", "node_scheduler"
MEANS = {
    "throughput_bits_per_slot": "bits per slot and cell",
    "jain": "Jain's index of the UEs' throughputs",
    "collision_fraction": "share of RBG-slots in which several UEs sent",
    "waste_fraction": "empty transmissions per RBG-slot",
    "drop_fraction": "bits dropped per bit arrived",
}


def compare(study: Study, who: Sequence[Sequence[Policy]], worlds: Sequence[World]) -> list[Measured]:
    """Everybody in every world; a policy of several training seeds is a sequence of them."""
    return measure(study.run, [Plan(policies, world) for world in worlds for policies in who])


def rules(*names: str) -> list[list[Policy]]:
    """Baselines by name."""
    return [[Policy(name, name)] for name in names]


def base_of(found: Sequence[Measured], mine: Measured, name: str) -> Measured:
    """The policy `name` in the same worlds."""
    return next(m for m in found if m.policy == name and m.world == mine.world)


def table_of(
    found: Sequence[Measured],
    bases: Sequence[str],
    more: Mapping[str, tuple[str, Mapping[str, Any]]] = {},
    policy_meaning: str = "who decides",
) -> Table:
    """more: further columns by name: what they mean, and each policy's value (missing = unknown)."""
    columns = [
        Column("scenario", "name"),
        Column("ues", "UEs per cell"),
        Column("k", "slots per DCM"),
        Column("policy", policy_meaning),
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
            "k": m.world.pace,
            "policy": m.policy,
            "train_seeds": m.train_seeds,
            **{name: values.get(m.policy, float("nan")) for name, (_, values) in more.items()},
            **interval_cells("utility", m.interval("utility")),
        }
        for base in bases:
            other = base_of(found, m, base)
            cells |= interval_cells(f"utility_above_{base}", m.minus(other, "utility"))
            cells[f"throughput_pct_above_{base}"] = m.percent_above(other, "throughput_bits_per_slot")
        table.add(**cells, **{name: m.mean(name) for name in MEANS})
    return table


def claims_of(
    found: Sequence[Measured], policy: str, base: str, metric: str = "utility", digits: int = 3
) -> list[Claim]:
    """How far `policy` is above `base`, world by world."""
    return [
        Claim(where(m), m.minus(base_of(found, m, base), metric), digits=digits) for m in found if m.policy == policy
    ]


def sentence(found: Sequence[Measured], policy: str, base: str, metric: str = "utility", digits: int = 3) -> str:
    """What is better and worse about `policy` than about `base`."""
    said = verdict(claims_of(found, policy, base, metric, digits), base)
    return f"{metric.split('_')[0].capitalize()} of {policy}. {said}"


def where(m: Measured) -> str:
    return f"{m.world.ues} UEs in {m.world.scenario.name}"


def bars(found: Sequence[Measured], policies: Sequence[str], base: str, metric: str = "utility") -> list[Curve]:
    """Paired differences to `base`, a group of bars a world."""
    return [
        Curve(
            policy,
            [where(m) for m in found if m.policy == policy],
            [m.minus(base_of(found, m, base), metric) for m in found if m.policy == policy],
        )
        for policy in policies
    ]


def over_ues(found: Sequence[Measured], policies: Sequence[str], base: str, metric: str = "utility") -> list[Curve]:
    """Paired differences to `base` over the number of UEs."""
    return [
        Curve(
            policy,
            [m.world.ues for m in found if m.policy == policy],
            [m.minus(base_of(found, m, base), metric) for m in found if m.policy == policy],
        )
        for policy in policies
    ]


def absolute(found: Sequence[Measured], policies: Sequence[str], metric: str) -> list[Curve]:
    """The metric itself over the number of UEs."""
    return [
        Curve(p, [m.world.ues for m in found if m.policy == p], [m.interval(metric) for m in found if m.policy == p])
        for p in policies
    ]


def sample_of(study: Study, worlds: Sequence[World], trained: bool = True) -> str:
    """n, as a sentence."""
    budget, slots = study.budget, sorted({world.slots for world in worlds})
    seeds = f"{budget.train_seeds} training seeds; " if trained else ""
    over = "training seeds for what was trained, " if trained and budget.train_seeds > 1 else ""
    lengths = " or ".join(map(str, slots))
    return (
        f"{seeds}{worlds[0].seeds} world seeds of {worlds[0].cells} cells, {lengths} slots each; intervals over {over}"
        f"world seeds{' otherwise' if over else ''}."
    )

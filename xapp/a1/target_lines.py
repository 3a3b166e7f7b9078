"""Targets for a reader: what each asks, what was measured, the share that it became, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from policy.intent import Intent, SliceLimit, Target, TargetResult
from xapp.a1.target_verdict import NO_WINDOW

ASKS = {
    "min_kbps": ("at least", "kbit/s"),
    "max_kbps": ("at most", "kbit/s"),
    "max_delay_ms": ("delay at most", "ms"),
    "max_loss_rate": ("lost at most", ""),
}
"""By field of a target."""


def target_rows(intent: Intent) -> list[dict[str, Any]]:
    """The targets of a decision's intent, with the shares that its UEs or slice were held to in that decision."""
    slices = {limit.name: limit for limit in intent.slice_limits}
    return [_row(target, *held_shares(target, intent, slices)) for target in intent.targets]


def asked(row: Mapping[str, Any]) -> str:
    """What a target asks."""
    values = [(words, row[name], unit) for name, (words, unit) in ASKS.items() if row.get(name) is not None]
    return ", ".join(f"{words} {value:g} {unit}".rstrip() for words, value, unit in values)


def line(row: Mapping[str, Any]) -> str:
    """One target in one line."""
    return f"{row['of']}: {asked(row)}, by {row['policy']}: {row['state']} ({row['text']}); {_share(row)}"


def _row(target: Target, least: float, most: float) -> dict[str, Any]:
    result = target.result or TargetResult(text=NO_WINDOW)
    return {
        "policy": target.policy,
        "of": target.of,
        "ue_ids": sorted(target.ue_ids),
        **{name: getattr(target, name) for name in ASKS},
        "state": result.state,
        "verdicts": dict(result.verdicts),
        "text": result.text,
        "bits_per_rbg": round(result.bits_per_rbg, 1),
        "share_percent": round(least, 1),
        "cap_percent": round(most, 1),
    }


def held_shares(target: Target, intent: Intent, slices: Mapping[str, SliceLimit]) -> tuple[float, float]:
    """Least and most of the cell, percent, that the target's UEs are held to. slices: the intent's limits by name."""
    if target.slice_name in slices:
        return slices[target.slice_name].min_share_percent, slices[target.slice_name].max_share_percent
    ue = min(target.ue_ids, default=-1)
    return intent.min_share_percent.get(ue, 0.0), intent.max_share_percent.get(ue, 100.0)


def _share(row: Mapping[str, Any]) -> str:
    """What follows from it; delay and loss have no share."""
    parts = []
    if row.get("min_kbps") is not None:
        parts.append(f"a floor of {row['share_percent']:g} % of the cell")
    if row.get("max_kbps") is not None:
        parts.append(f"a cap of {row['cap_percent']:g} % of the cell")
    if not parts:
        return "it is tracked and does not act"
    carries = f"{row['bits_per_rbg']:g} bits an RBG and slot" if row["bits_per_rbg"] else "nothing measured of its RBGs"
    return f"{' and '.join(parts)}, at {carries}"

"""From an intent to O-RRMPolicyRatios: how much of a cell each slice is to have, least and most, whole percent. Pure.

Only an operator's limits count, those that follow from targets included; a node of slices cannot be told what a leader
would give to single UEs. Written precedence, strongest first:
1. An operator's cap; it rounds down, is in force at once, and holds whatever the node's own ceiling is above it.
2. The node's own ceiling, where no policy caps the slice.
3. An operator's floor: whole RBGs, as percent rounded up to a whole step. Floors of slices that together exceed the
   cell are rounded down instead.
A slice that no policy limits has what it had before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import ceil, floor

from policy.cell_state import CellState
from policy.intent import Intent
from policy.limits import ROUNDING, compile_limits
from xapp.quotas.allocation_to_quota import Quota, QuotaRules, Target, min_percents_U


def slice_targets(
    before: Mapping[str, Quota], state: CellState, intent: Intent, rules: QuotaRules
) -> dict[str, Target]:
    """By name of the slice. before: what each of the node's slices has without a limit."""
    limits = compile_limits(state, _without_debts(intent))
    exact = dict(zip(limits.slice_names, min_percents_U(limits.slice_floor_S.astype(float), state.num_rbgs)))
    by_name = {limit.name: limit for limit in intent.slice_limits}
    stepped = {name: _step_up(percent, rules.step_percent) for name, percent in exact.items()}
    others = sum(own.min_percent for name, own in before.items() if name not in by_name)
    least = stepped if sum(stepped.values()) + others <= 100 else exact
    targets = {}
    for name, own in before.items():
        limit = by_name.get(name)
        if limit is None:
            targets[name] = Target(own)
            continue
        cap = floor(limit.max_share_percent + ROUNDING)
        most = cap if cap < 100 else own.max_percent
        floor_percent = max(least[name], own.min_percent) if limit.min_share_percent else own.min_percent
        targets[name] = Target(Quota(min(floor_percent, most), most, own.dedicated_percent), cap)
    return targets


def _step_up(percent: int, step_percent: int) -> int:
    return min(100, ceil(percent / step_percent) * step_percent)


def _without_debts(intent: Intent) -> Intent:
    """A ratio stays in force between decisions: what windows of floors still owe does not count."""
    slices = tuple(replace(limit, owed_rbgs=0.0) for limit in intent.slice_limits)
    return replace(intent, owed_rbgs={}, slice_limits=slices)

"""From an Allocation to E2SM-RC quotas: how much of a cell each UE may be granted at most, in whole percent. Pure.

What a node of today takes (style 2, action 6) is three ratios a UE: min, max and dedicated. max says in how much of the
cell the allocation lets the UE be, min comes from an operator's floors alone, dedicated is always 100.

Written precedence, strongest first:
1. An operator's cap. It rounds down, is in force at once, and holds even below `min_share_percent`: a cap of 0 to 4 %
   is what the operator asked for, down to cutting the UE off.
2. An operator's floor. It rounds up (in whole RBGs, as in every allocation).
   A node knows quotas of UEs only: what a slice may have, and what it is promised beyond its UEs' own floors, is split
   evenly among its UEs. What windows of floors still owe does not count: a quota stays in force between decisions.
3. `min_share_percent`, and one RBG: no decision of a leader, and no rounding, cuts a UE off.
4. What the allocation says, averaged over the last `smooth_periods` decisions.

Suffixes: U = UEs in the order of the allocation's `ue_ids`, M = RBGs.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from math import ceil, floor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from policy.allocation import DYNAMIC, OPEN, Allocation
from policy.cell_state import CellState
from policy.intent import Intent
from policy.limits import ROUNDING, Limits, compile_limits


class Quota(NamedTuple):
    """PRB ratios of one UE, percent of the cell."""

    min_percent: int
    max_percent: int
    dedicated_percent: int = 100


RELEASED = Quota(0, 100, 100)
"""No limit at all: what a UE has that nobody ever limited."""


class Target(NamedTuple):
    """What a UE's quota should be now."""

    quota: Quota
    cap_percent: int = 100
    """The operator's cap: whatever is in force above it is wrong, however small the step."""


@dataclass(frozen=True, slots=True)
class QuotaRules:
    """How allocations become quotas, and how often a node is sent them."""

    min_share_percent: int = 5
    smooth_periods: int = 5
    """W: an allocation's shares are averaged over so many decisions."""
    step_percent: int = 5
    """A quota that changes by less is not sent."""
    max_controls_per_s: int = 20
    """R, per node."""


class CellQuotas:
    """The quotas of one cell: remembers what the last W decisions gave to each UE. Not thread safe."""

    def __init__(self, rules: QuotaRules) -> None:
        self._rules = rules
        self._shares: dict[int, deque[float]] = {}

    def update(
        self, allocation: Allocation, state: CellState, intent: Intent, *, repeats: bool = False
    ) -> dict[int, Target]:
        """The targets after one more decision, by UE; a UE that the decision does not know has none.

        The allocation has passed the guard for `state`: their UEs are the same. repeats: `state` rests on the same
        measurement as the decision before, whose share this one's takes the place of: measurements are averaged, not
        reports.
        """
        limits = compile_limits(state, _without_debts(intent))
        usable_U = self._meant_U(allocation, state, limits).tolist()
        per_rbg = 100.0 / allocation.num_rbgs
        self._shares = {ue: self._shares.get(ue, deque(maxlen=self._rules.smooth_periods)) for ue in allocation.ue_ids}
        least = max(self._rules.min_share_percent, ceil(per_rbg - ROUNDING))
        floors_U = min_percents_U(_floors_of_ues(limits), allocation.num_rbgs)
        caps = cap_percents(intent, state)
        targets = {}
        for row, ue in enumerate(allocation.ue_ids):
            shares = self._shares[ue]
            if repeats and shares:
                shares.pop()
            shares.append(per_rbg * usable_U[row])
            most = max(ceil(sum(shares) / len(shares) - ROUNDING), least, floors_U[row])
            # The operator's cap is not part of the average: one that has gone must not linger, nor a new one wait.
            cap = caps.get(ue, 100)
            most = min(most, cap)
            targets[ue] = Target(Quota(min(floors_U[row], most), most), cap)
        return targets

    @staticmethod
    def _meant_U(allocation: Allocation, state: CellState, limits: Limits) -> NDArray[np.int64]:
        """RBGs that the leader means each UE to have at most, [U]: without the operator's caps."""
        usable_U = usable_rbgs_U(allocation, state)
        stricter_U = allocation.max_rbgs_U < limits.max_rbgs_U
        return np.where(stricter_U, np.minimum(usable_U, allocation.max_rbgs_U), usable_U)

    def forget(self) -> None:
        """The cell was released: what was decided before says nothing about what comes."""
        self._shares = {}


def usable_rbgs_U(allocation: Allocation, state: CellState) -> NDArray[np.int64]:
    """RBGs in which the allocation lets each UE be in some slot, [U]: its own, its periodic grants', DYNAMIC, and OPEN
    if it may contend."""
    rows_U1 = np.arange(len(allocation.ue_ids))[:, None]
    usable_UM = (allocation.owner_M == rows_U1) | (allocation.owner_M == DYNAMIC)
    for grant in allocation.periodic_grants:
        usable_UM[grant.ue, grant.rbg] = True
    usable_UM |= allocation.may_contend_U(state)[:, None] & (allocation.owner_M == OPEN)
    return usable_UM.sum(axis=1)


def _without_debts(intent: Intent) -> Intent:
    slices = tuple(replace(limit, owed_rbgs=0.0) for limit in intent.slice_limits)
    return replace(intent, owed_rbgs={}, slice_limits=slices)


def _floors_of_ues(limits: Limits) -> NDArray[np.float64]:
    """RBGs promised to each UE, what its slice is promised beyond that split evenly, [U]."""
    floor_U = limits.floor_U.astype(np.float64)
    for row, least in enumerate(limits.slice_floor_S.tolist()):
        rows = limits.members(row)
        if len(rows):
            floor_U[rows] += max(0.0, least - floor_U[rows].sum()) / len(rows)
    return floor_U


def cap_percents(intent: Intent, state: CellState) -> dict[int, int]:
    """What the operator allows each live UE at most, its part of a capped slice included; only UEs with a cap."""
    live = set(state.ue_ids)
    caps = {ue: percent for ue, percent in intent.max_share_percent.items() if ue in live}
    for limit in intent.slice_limits:
        members = limit.ue_ids & live
        for ue in members if limit.max_share_percent < 100.0 else ():
            caps[ue] = min(caps.get(ue, 100.0), limit.max_share_percent / len(members))
    return {ue: floor(percent + ROUNDING) for ue, percent in caps.items()}


def min_percents_U(floor_U: NDArray[np.float64], num_rbgs: int) -> list[int]:
    """Floors in RBGs as percent, rounded up; down where rounding up would promise more than the cell has."""
    exact_U = 100.0 * floor_U / num_rbgs
    up = [ceil(share - ROUNDING) for share in exact_U.tolist()]
    return up if sum(up) <= 100 else [floor(share + ROUNDING) for share in exact_U.tolist()]

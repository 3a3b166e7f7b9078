"""All policies together: what they mean for a cell, and which one has its way where several speak of the same thing.

Written precedence, the same whatever order policies came in (docs/policies.md):
- policies that name the cell come before those for every cell, then lower policy instance ids before higher ones;
- objective and period: the first policy that says one;
- mode: the most careful one of all, shadow before fallback before control;
- limits: all hold, so of several caps the lowest and of several floors the highest; where they cannot all hold,
  policy.limits says which gives way;
- a UE counts for one slice: S-NSSAIs before traffic classes, then by name.
Pure and immutable: a set is replaced as a whole, so a decision sees all of a change or nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from policy.cell_state import CellState, TrafficClass
from policy.intent import Intent, Mode, SliceLimit
from xapp.a1.policy_model import Policy, ShareLimit, class_of, slice_name
from xapp.config.model import SliceMembers
from xapp.e2.ue_id.ue_key import own_number

CAREFUL = (Mode.SHADOW, Mode.FALLBACK, Mode.CONTROL)
"""Modes, the most careful first."""


class Compiled(NamedTuple):
    """What the policies mean for one cell at one instant."""

    intent: Intent
    order: tuple[str, ...]
    """Ids of the policies of this cell, the strongest first."""
    of_ue: Mapping[int, tuple[str, ...]]
    """Who limits a UE's share ..."""
    of_slice: Mapping[str, tuple[str, ...]]
    """... and a slice's."""
    unmet: tuple[tuple[str, str], ...]
    """(policy id, why something of it does not hold here); limits that contradict each other not among them."""


@dataclass(frozen=True, slots=True)
class PolicySet:
    """`policies` by instance id."""

    policies: Mapping[str, Policy] = field(default_factory=lambda: MappingProxyType({}))
    slices: tuple[SliceMembers, ...] = ()
    """Who is in which slice, as configured."""
    report_period_ms: int = 100
    floor_window_periods: int = 1

    def order(self, cell: str) -> tuple[str, ...]:
        """Ids of the policies whose scope includes the cell, the strongest first."""
        mine = [
            (not p.scope.cells, name) for name, p in self.policies.items() if not p.scope.cells or cell in p.scope.cells
        ]
        return tuple(name for _, name in sorted(mine))

    def compile(self, state: CellState) -> Compiled:
        """Compile the policies for the UEs that are alive in `state`."""
        order = self.order(state.cell)
        if not order:
            return _NOTHING
        return _Compilation(self, state, order).result()


_NOTHING = Compiled(Intent(), (), {}, {}, ())


Key = TypeVar("Key", int, str)


class _Shares(Generic[Key]):
    """Limits of UEs, or of slices, as they add up."""

    def __init__(self) -> None:
        self.least: dict[Key, float] = {}
        self.most: dict[Key, float] = {}
        self.sources: dict[Key, list[str]] = {}

    def add(self, key: Key, limit: ShareLimit, policy_id: str) -> None:
        self.least[key] = max(self.least.get(key, 0.0), limit.min_share_percent)
        self.most[key] = min(self.most.get(key, 100.0), limit.max_share_percent)
        self.sources.setdefault(key, []).append(policy_id)


class _Compilation:
    def __init__(self, policies: PolicySet, state: CellState, order: tuple[str, ...]) -> None:
        self._set, self._state, self._order = policies, state, order
        self._unmet: list[tuple[str, str]] = []
        self._ues, self._slices = _Shares[int](), _Shares[str]()
        self._listed: dict[str, set[int]] = {}
        """Members that policies list, by slice."""
        for name in order:
            for scope in policies.policies[name].scope.slices:
                self._listed.setdefault(scope.name, set()).update(scope.ue_ids)

    def result(self) -> Compiled:
        alpha: float | None = None
        modes: list[Mode] = []
        for name in self._order:
            policy = self._set.policies[name]
            if alpha is None and policy.objective is not None:
                alpha = policy.objective.alpha
            if policy.intent_mode is not None:
                modes.append(policy.intent_mode)
            if policy.period_ms not in (None, self._set.report_period_ms):
                self._unmet.append((name, self._about_period(policy.period_ms)))
            self._add_limits(name, policy)
        ues = {ue: limit for ue, limit in self._ues.most.items() if limit < 100.0}
        floors = {ue: limit for ue, limit in self._ues.least.items() if limit > 0.0}
        intent = Intent(
            alpha=Intent().alpha if alpha is None else alpha,
            max_share_percent=ues,
            min_share_percent=floors,
            mode=min(modes, key=CAREFUL.index, default=Mode.CONTROL),
            slice_limits=self._slice_limits(),
            floor_window_periods=self._set.floor_window_periods,
        )
        return Compiled(
            intent,
            self._order,
            {ue: tuple(names) for ue, names in self._ues.sources.items()},
            {slice_: tuple(names) for slice_, names in self._slices.sources.items()},
            tuple(dict.fromkeys(self._unmet)),
        )

    def _about_period(self, period_ms: int | None) -> str:
        return (
            f"period_ms is {period_ms}, but reports come every {self._set.report_period_ms} ms"
            " (controls.report_period_ms; a change needs a restart)"
        )

    def _add_limits(self, name: str, policy: Policy) -> None:
        scope, limits = policy.scope, policy.limits
        if limits.per_slice is not None:
            for wanted in scope.slices:
                self._slices.add(wanted.name, limits.per_slice, name)
        if limits.per_ue is not None:
            for ue in self._ues_of(policy, name):
                self._ues.add(ue, limits.per_ue, name)

    def _ues_of(self, policy: Policy, name: str) -> Iterable[int]:
        """Live UEs that a policy's limit per UE is of, each once."""
        scope = policy.scope
        if not scope.ue_ids and not scope.slices:
            return self._state.ue_ids
        wanted = self._live(scope.ue_ids, name)
        for each in scope.slices:
            members, reason_against = self._members(each.name)
            wanted |= members
            if reason_against:
                self._unmet.append((name, reason_against))
        return [ue for ue in self._state.ue_ids if ue in wanted]

    def _slice_limits(self) -> tuple[SliceLimit, ...]:
        classes = [c.name.lower() for c in TrafficClass]
        taken: dict[int, str] = {}
        limits = []
        for name in sorted(self._slices.sources, key=lambda n: (n in classes, n)):
            members, reason_against = self._members(name)
            reasons = [reason_against] if reason_against else []
            elsewhere = sorted({taken[ue] for ue in members if ue in taken})
            if elsewhere:
                reasons.append(f"slice {name}: some of its UEs count for slice {elsewhere[0]} instead")
            for policy_id in self._slices.sources[name]:
                self._unmet += [(policy_id, reason) for reason in reasons]
            mine = members - taken.keys()
            taken |= dict.fromkeys(mine, name)
            limits.append(SliceLimit(name, frozenset(mine), self._slices.least[name], self._slices.most[name]))
        return tuple(limit for limit in limits if limit.ue_ids)

    def _members(self, name: str) -> tuple[set[int], str]:
        """Live members of a slice, and why that may not be all of them ("" = it is)."""
        state = self._state
        if name.upper() in TrafficClass.__members__:
            return self._of_classes(name, (TrafficClass[name.upper()],))
        found = self._live(self._listed.get(name, set()))
        is_known = bool(self._listed.get(name))
        reason_against = ""
        for row in self._set.slices:
            if slice_name(row.sst, row.sd) != name or (row.cells and state.cell not in row.cells):
                continue
            is_known = True
            found |= self._live(row.ue_ids)
            if row.traffic_classes:
                members, reason = self._of_classes(name, tuple(class_of(c) for c in row.traffic_classes))
                found |= members
                reason_against = reason_against or reason
        if not is_known:
            return set(), f"slice {name}: its members are not known (neither listed nor in controls.a1.slices)"
        return found, reason_against

    def _live(self, numbers: Iterable[int], policy_id: str = "") -> set[int]:
        """Live UEs by their node's own numbers; two with one number are told apart by nothing that a policy says, and
        neither is meant. policy_id: whose promise that breaks, "" = it is said elsewhere.
        """
        of_number: dict[int, list[int]] = {}
        for ue in self._state.ue_ids:
            of_number.setdefault(own_number(ue), []).append(ue)
        found: set[int] = set()
        for number in numbers:
            ues = of_number.get(number, [])
            if len(ues) == 1:
                found.update(ues)
            elif ues and policy_id:
                self._unmet.append((policy_id, f"UE {number}: {len(ues)} UEs of the node have this number"))
        return found

    def _of_classes(self, name: str, classes: tuple[TrafficClass, ...]) -> tuple[set[int], str]:
        state = self._state
        member_U = np.isin(state.traffic_class_U, [float(c) for c in classes])
        unknown = int(np.isnan(state.traffic_class_U).sum())
        reason_against = f"slice {name}: the traffic class of {unknown} UEs is not reported" if unknown else ""
        return {ue for ue, is_member in zip(state.ue_ids, member_U.tolist()) if is_member}, reason_against

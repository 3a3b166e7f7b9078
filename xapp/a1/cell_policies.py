"""What all policies together come to in one cell: worked out once for every change of them, whoever its UEs are.

Policies may name many thousand UEs, and UEs come and go with every report. So everything that does not depend on who is
there is added up beforehand, by a UE's number, by its class and by slice; what is left for a decision is to look up the
UEs that are alive. Reasons and sources, which only a status asks for, are no part of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple, TypeVar

from policy.cell_state import CellState, TrafficClass
from policy.errors import counted
from policy.intent import Intent, Mode, SliceLimit, Target
from xapp.a1.policy_model import Policy, PolicyTargets, ShareLimit, TargetSet, class_of, slice_name
from xapp.config.slices import SliceMembers
from xapp.e2.ue_id.ue_key import own_number

CAREFUL = (Mode.SHADOW, Mode.FALLBACK, Mode.CONTROL)
"""Modes, the most careful first."""
MAX_REASONS = 20
"""Of one policy in one cell."""
CLASS_NAMES = {each.name.lower(): each for each in TrafficClass}
CLASS_OF = {float(each): each for each in TrafficClass}
"""As reports have it."""


Key = TypeVar("Key", int, TrafficClass)


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
    empty_slices: frozenset[str] = frozenset()
    """Those whose members are all named by number, and none of them is here."""


class _Share:
    """Limits of one UE, class or slice, as they add up."""

    __slots__ = ("least", "most", "sources")

    def __init__(self) -> None:
        self.least, self.most = 0.0, 100.0
        self.sources: dict[str, None] = {}

    def add(self, limit: ShareLimit, policy_id: str) -> None:
        self.least = max(self.least, limit.min_share_percent)
        self.most = min(self.most, limit.max_share_percent)
        self.sources[policy_id] = None


class _Members(NamedTuple):
    """Who is in a slice."""

    numbers: set[int]
    classes: set[TrafficClass]
    is_known: bool
    everybody: bool = False
    """The node is asked for the UEs of this slice alone."""

    @property
    def are_named(self) -> bool:
        """By number, all of them: nobody else who comes is in it."""
        return self.is_known and not self.classes and not self.everybody


class _TargetsOf(NamedTuple):
    """Targets of one policy: of a slice together, or of each of some UEs."""

    policy_id: str
    targets: TargetSet
    slice_name: str = ""
    """"" = of each UE."""
    numbers: frozenset[int] = frozenset()
    classes: frozenset[TrafficClass] = frozenset()
    everybody: bool = False

    def target(self, of: str, ue_ids: frozenset[int]) -> Target:
        t = self.targets
        values = t.min_throughput_kbps, t.max_throughput_kbps, t.max_delay_ms, t.max_loss_rate
        return Target(self.policy_id, of, ue_ids, self.slice_name, *values)


class CellPolicies:
    """The policies of one cell. Immutable once made; `compile` may be asked by any thread."""

    def __init__(
        self,
        cell: str,
        policies: Mapping[str, Policy],
        order: Sequence[str],
        *,
        slices: Sequence[SliceMembers],
        report_period_ms: int,
        floor_window_periods: int,
        only_slice: str = "",
    ) -> None:
        """order: the policies whose scope includes the cell, the strongest first. slices: as configured.

        only_slice: the one that all UEs of the cell's node are in.
        """
        self.order = tuple(order)
        self._rank = {name: rank for rank, name in enumerate(self.order)}
        self._floor_window_periods = floor_window_periods
        self._unmet: list[tuple[str, str]] = []
        """Whoever is there."""
        self._everybody, self._slices = _Share(), dict[str, _Share]()
        self._of_number, self._of_class = dict[int, _Share](), dict[TrafficClass, _Share]()
        self._named = {name: numbers for name in self.order if (numbers := policies[name].scope.numbers)}
        self._classes_asked = dict[str, tuple[frozenset[TrafficClass], dict[str, None]]]()
        """By slice: classes that it takes in, and the policies that a class which is not reported is a pity for."""
        self._targets: list[_TargetsOf] = []
        members = self._members_of(cell, policies, slices)
        if only_slice in members:
            members[only_slice] = members[only_slice]._replace(is_known=True, everybody=True)
        self._slices_of_all: tuple[str, ...] = (only_slice,) if only_slice in members else ()
        self._by_number_alone = {name: of.numbers for name, of in members.items() if of.are_named}
        alpha: float | None = None
        modes: list[Mode] = []
        for name in self.order:
            policy = policies[name]
            if alpha is None and policy.objective is not None:
                alpha = policy.objective.alpha
            if policy.intent_mode is not None:
                modes.append(policy.intent_mode)
            if policy.period_ms not in (None, report_period_ms):
                self._unmet.append((name, _about_period(policy.period_ms, report_period_ms)))
            self._add_limits(name, policy, members)
            self._add_targets(name, policy, members)
        self._slices_of_all = tuple(name for name in self._slices_of_all if name in self._slices)
        self._alpha = Intent().alpha if alpha is None else alpha
        self._mode = min(modes, key=CAREFUL.index, default=Mode.CONTROL)
        self._slices_of_number, self._slices_of_class = self._by_member(members)

    # -- what does not depend on who is there ------------------------------------------------------------------------

    def _members_of(
        self, cell: str, policies: Mapping[str, Policy], slices: Sequence[SliceMembers]
    ) -> dict[str, _Members]:
        """Of every slice that a policy of the cell names: as policies list them, and as configured."""
        found: dict[str, _Members] = {}
        for policy_id in self.order:
            for scope in policies[policy_id].scope.slices:
                name = scope.name
                if name not in found:
                    known = {CLASS_NAMES[name]} if name in CLASS_NAMES else set()
                    found[name] = _Members(set(), known, bool(known))
                if scope.ue_ids:
                    found[name].numbers.update(scope.ue_ids)
                    found[name] = found[name]._replace(is_known=True)
        for row in slices:
            name = slice_name(row.sst, row.sd)
            if name in found and (not row.cells or cell in row.cells):
                found[name].numbers.update(row.ue_ids)
                found[name].classes.update(class_of(each) for each in row.traffic_classes)
                found[name] = found[name]._replace(is_known=True)
        return found

    def _add_limits(self, policy_id: str, policy: Policy, members: Mapping[str, _Members]) -> None:
        scope, per_ue, per_slice = policy.scope, policy.limits.per_ue, policy.limits.per_slice
        if per_ue is not None and not scope.ue_ids and not scope.slices:
            self._everybody.add(per_ue, policy_id)
        if per_ue is not None:
            _add_to(self._of_number, scope.ue_ids, per_ue, policy_id)
        for wanted in scope.slices:
            name, of = wanted.name, members[wanted.name]
            if per_slice is not None:
                self._slices.setdefault(name, _Share()).add(per_slice, policy_id)
            if per_ue is not None:
                _add_to(self._of_number, of.numbers, per_ue, policy_id)
                _add_to(self._of_class, of.classes, per_ue, policy_id)
                if of.everybody:
                    self._everybody.add(per_ue, policy_id)
            if per_ue is None and per_slice is None and policy.targets == PolicyTargets():
                continue
            if not of.is_known:
                reason = f"slice {name}: its members are not known (neither listed nor in controls.a1.slices)"
                self._unmet.append((policy_id, reason))
            elif of.classes:
                self._classes_asked.setdefault(name, (frozenset(of.classes), {}))[1][policy_id] = None

    def _add_targets(self, policy_id: str, policy: Policy, members: Mapping[str, _Members]) -> None:
        scope, per_ue, per_slice = policy.scope, policy.targets.per_ue, policy.targets.per_slice
        for wanted in scope.slices if per_slice is not None else ():
            assert per_slice is not None
            self._slices.setdefault(wanted.name, _Share()).add(ShareLimit(), policy_id)
            self._targets.append(_TargetsOf(policy_id, per_slice, wanted.name))
        if per_ue is not None:
            of = [members[wanted.name] for wanted in scope.slices]
            numbers = frozenset(scope.ue_ids).union(*(each.numbers for each in of))
            classes = frozenset[TrafficClass]().union(*(each.classes for each in of))
            everybody = any(each.everybody for each in of) or not (scope.slices or scope.ue_ids)
            self._targets.append(_TargetsOf(policy_id, per_ue, "", numbers, classes, everybody))

    def _by_member(
        self, members: Mapping[str, _Members]
    ) -> tuple[dict[int, tuple[str, ...]], dict[TrafficClass, tuple[str, ...]]]:
        """The limited slices that a UE may count for, the first of which it does: by its number, by its class."""
        of_number: dict[int, list[str]] = {}
        of_class: dict[TrafficClass, list[str]] = {}
        for name in sorted(self._slices, key=_slice_order):
            for number in members[name].numbers:
                of_number.setdefault(number, []).append(name)
            for each in members[name].classes:
                of_class.setdefault(each, []).append(name)
        return (
            {number: tuple(names) for number, names in of_number.items()},
            {each: tuple(names) for each, names in of_class.items()},
        )

    # -- what does ---------------------------------------------------------------------------------------------------

    def intent(self, state: CellState) -> Intent:
        """For the UEs that are alive in `state`."""
        return _Alive(self, state).intent()

    def compile(self, state: CellState) -> Compiled:
        """The same, with who limits whom, and what does not hold: takes longer, and is no business of a decision."""
        alive = _Alive(self, state)
        return Compiled(
            alive.intent(),
            self.order,
            {ue: sources for ue in state.ue_ids if (sources := self._sources(alive.shares_of(ue)))},
            {name: tuple(share.sources) for name, share in self._slices.items()},
            self._unmet_by(alive),
            frozenset(name for name, of in self._by_number_alone.items() if alive.numbers.isdisjoint(of)),
        )

    def _sources(self, shares: Iterable[_Share]) -> tuple[str, ...]:
        names = dict.fromkeys(name for share in shares for name in share.sources)
        return tuple(sorted(names, key=self._rank.__getitem__))

    def _unmet_by(self, alive: _Alive) -> tuple[tuple[str, str], ...]:
        unmet = dict.fromkeys(self._unmet)
        count = Counter(policy_id for policy_id, _ in unmet)

        def add(sources: Iterable[str], reason: str) -> None:
            for policy_id in sources:
                if count[policy_id] < MAX_REASONS and (policy_id, reason) not in unmet:
                    count[policy_id] += 1
                    unmet[policy_id, reason] = None

        for number, ues in alive.of_number.items():
            if len(ues) > 1:
                who = [name for name, numbers in self._named.items() if number in numbers]
                add(who, f"UE {number}: {len(ues)} UEs of the node have this number")
        unknown = sum(each is None for each in alive.class_of.values())
        if unknown:
            for name, (_, sources) in self._classes_asked.items():
                add(sources, f"slice {name}: the traffic class of {counted(unknown, 'UE')} is not reported")
        elsewhere: dict[str, str] = {}
        for ue in alive.class_of:
            first = alive.slice_of(ue) or ""
            for name in chain(*alive.slices_of(ue)):
                if name != first:
                    elsewhere[name] = min(first, elsewhere.get(name, first))
        for name in sorted(elsewhere, key=_slice_order):
            reason = f"slice {name}: some of its UEs count for slice {elsewhere[name]} instead"
            add(self._slices[name].sources, reason)
        return tuple(unmet)


class _Alive:
    """The UEs of one state, and what of the policies is about them."""

    def __init__(self, policies: CellPolicies, state: CellState) -> None:
        self._policies = policies
        self.of_number: dict[int, list[int]] = {}
        """Two UEs with one number are told apart by nothing that a policy says, and neither is meant."""
        for ue in state.ue_ids:
            self.of_number.setdefault(own_number(ue), []).append(ue)
        self.class_of: dict[int, TrafficClass | None] = {
            ue: CLASS_OF.get(value) for ue, value in zip(state.ue_ids, state.traffic_class_U.tolist(), strict=True)
        }
        """None = not reported."""
        self._numbers = {ues[0]: number for number, ues in self.of_number.items() if len(ues) == 1}

    @property
    def numbers(self) -> frozenset[int]:
        """Of whoever is there."""
        return frozenset(self.of_number)

    def shares_of(self, ue: int) -> list[_Share]:
        """Every limit of the UE."""
        p, traffic_class = self._policies, self.class_of[ue]
        found = [p._everybody] if p._everybody.sources else []
        if (of_number := p._of_number.get(self._numbers.get(ue, -1))) is not None:
            found.append(of_number)
        if traffic_class is not None and (of_class := p._of_class.get(traffic_class)) is not None:
            found.append(of_class)
        return found

    def slices_of(self, ue: int) -> tuple[tuple[str, ...], ...]:
        """The limited slices that the UE is in, by its number, by its class and by its node, each list in order."""
        p, traffic_class = self._policies, self.class_of[ue]
        by_class = p._slices_of_class.get(traffic_class, ()) if traffic_class is not None else ()
        return p._slices_of_number.get(self._numbers.get(ue, -1), ()), by_class, p._slices_of_all

    def slice_of(self, ue: int) -> str | None:
        """The one that the UE counts for."""
        firsts = [names[0] for names in self.slices_of(ue) if names]
        return min(firsts, key=_slice_order, default=None)

    def intent(self) -> Intent:
        p = self._policies
        caps: dict[int, float] = {}
        floors: dict[int, float] = {}
        members: dict[str, list[int]] = {}
        for ue in self.class_of:
            for share in self.shares_of(ue):
                caps[ue] = min(share.most, caps.get(ue, 100.0))
                floors[ue] = max(share.least, floors.get(ue, 0.0))
            if (name := self.slice_of(ue)) is not None:
                members.setdefault(name, []).append(ue)
        return Intent(
            alpha=p._alpha,
            max_share_percent={ue: cap for ue, cap in caps.items() if cap < 100.0},
            min_share_percent={ue: floor for ue, floor in floors.items() if floor > 0.0},
            mode=p._mode,
            slice_limits=tuple(
                SliceLimit(name, frozenset(members[name]), p._slices[name].least, p._slices[name].most)
                for name in sorted(members, key=_slice_order)
            ),
            floor_window_periods=p._floor_window_periods,
            targets=tuple(self._targets(members)) if p._targets else (),
        )

    def _targets(self, members: Mapping[str, Sequence[int]]) -> Iterator[Target]:
        """members: by slice, those that count for it."""
        for each in self._policies._targets:
            if each.slice_name:
                if ues := members.get(each.slice_name):
                    yield each.target(f"slice {each.slice_name}", frozenset(ues))
                continue
            for ue, traffic_class in self.class_of.items():
                number = self._numbers.get(ue, -1)
                if each.everybody or number in each.numbers or traffic_class in each.classes:
                    yield each.target(f"UE {own_number(ue)}", frozenset((ue,)))


def _add_to(shares: dict[Key, _Share], keys: Iterable[Key], limit: ShareLimit, policy_id: str) -> None:
    for key in keys:
        share = shares.get(key)
        if share is None:
            share = shares[key] = _Share()
        share.add(limit, policy_id)


def _slice_order(name: str) -> tuple[bool, str]:
    """S-NSSAIs before traffic classes, then by name."""
    return name in CLASS_NAMES, name


def _about_period(period_ms: int | None, report_period_ms: int) -> str:
    return (
        f"period_ms is {period_ms}, but reports come every {report_period_ms} ms"
        " (controls.report_period_ms; a change needs a restart)"
    )

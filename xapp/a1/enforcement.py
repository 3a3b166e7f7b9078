"""Policies in force: the intent that each decision uses, what floors still owe, and whether what was asked for holds.

Policies are swapped as a whole by the task runner; the very next decision uses the new ones. What floors owe is counted
here, because policy/ has no memory: after each decision, what a UE or slice was promised, less what it owned.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from functools import partial
from itertools import islice
from math import ceil
from typing import Any, NamedTuple

import numpy as np

from policy.allocation import Allocation
from policy.cell_state import CellState
from policy.intent import Intent, Mode
from policy.limits import ROUNDING, compile_limits
from xapp.a1.absentees import Presence, floors_of_nobody
from xapp.a1.cell_policies import MAX_REASONS, Compiled
from xapp.a1.policy_set import PolicySet
from xapp.a1.standard_types import StandardPolicy
from xapp.a1.target_keeper import TargetKeeper
from xapp.control.cell_link import CellLink
from xapp.control.cell_tracker import Service
from xapp.e2.ue_id.ue_key import own_number
from xapp.monitoring.wording import listed
from xapp.quotas.allocation_to_quota import cap_percents

NO_RESERVATION = (
    "; a node of quotas (E2SM-RC) reserves nothing: their min is the least size of a grant,"
    " and whether UEs had more to send is not reported"
)
"""Said of a floor that is missed there."""


class Enforcement(StrEnum):
    """A policy's state, in A1's words."""

    ENFORCED = "ENFORCED"
    NOT_ENFORCED = "NOT_ENFORCED"


class EnforceReason(StrEnum):
    """Why a policy is not enforced, in A1's words."""

    SCOPE_NOT_APPLICABLE = "SCOPE_NOT_APPLICABLE"
    STATEMENT_NOT_APPLICABLE = "STATEMENT_NOT_APPLICABLE"
    OTHER_REASON = "OTHER_REASON"


class PolicyStatus(NamedTuple):
    """Whether a policy holds."""

    enforcement: Enforcement
    reasons: tuple[str, ...]
    """Why not; empty when it does. At most MAX_REASONS."""
    cells: tuple[str, ...]
    """Cells under control that it is about."""
    code: EnforceReason | None = None
    """None: it is enforced."""


class _Kept(NamedTuple):
    """A compiled intent and all that it depends on."""

    policies: PolicySet
    ue_ids: tuple[int, ...]
    classes: bytes
    beside: Mapping[str, frozenset[int]]
    intent: Intent


class _Found(NamedTuple):
    """What a status found out, and all that it depends on."""

    policies: PolicySet
    ue_ids: tuple[int, ...]
    classes: bytes
    compiled: Compiled


class PoliciesInForce:
    """`intent_for` and `on_decided` belong to the thread that decides; the rest may be called by any."""

    def __init__(
        self,
        policies: PolicySet | None = None,
        *,
        beside: Callable[[str], Mapping[str, frozenset[int]]] = lambda cell: {},
        link_of: Callable[[str], CellLink | None] = lambda cell: None,
        target_share_percent: int = 70,
    ) -> None:
        """beside: by other cell, the UEs of this one that are reported there too: what caps them there caps them.
        link_of: where a cell's controls go, which says what of its targets is kept free; None = all of it.
        """
        self._set = policies or PolicySet()
        self._keeper = TargetKeeper(target_share_percent)
        self._beside = beside
        self._link_of = link_of
        self._lock = threading.Lock()
        self._compiled: dict[str, _Kept] = {}
        self._found: dict[str, _Found] = {}
        self._debts: dict[str, dict[int | str, float]] = {}
        """By cell: RBGs that a UE's (id) or slice's (name) floor still owes."""

    def targets(self, links: Sequence[CellLink]) -> list[dict[str, Any]]:
        """What has come of every target so far in the cells under control; of those that have left nothing is kept."""
        self._keeper.keep_only({link.tracker.cell for link in links})
        return self._keeper.rows()

    @property
    def policies(self) -> PolicySet:
        return self._set

    def change(self, changed: Callable[[PolicySet], PolicySet]) -> None:
        """Put these policies in force from the next decision on. What they need is worked out here: it takes time."""
        with self._lock:
            new = changed(self._set)
            for cell in list(self._compiled):
                new.prepare(cell)
            self._set = new

    def intent_for(self, state: CellState) -> Intent:
        """What holds for a cell now, with what earlier periods left undone."""
        intent = self._keeper.with_limits(self._intent_without_debts(state), state)
        debts = self._debts.get(state.cell)
        if not debts or intent.floor_window_periods == 1:
            return intent
        return replace(
            intent,
            owed_rbgs={ue: debts[ue] for ue in intent.min_share_percent if ue in debts},
            slice_limits=tuple(replace(s, owed_rbgs=debts.get(s.name, 0.0)) for s in intent.slice_limits),
        )

    def _intent_without_debts(self, state: CellState) -> Intent:
        """Compiled anew when policies, UEs or their classes have changed."""
        policies, classes = self._set, state.traffic_class_U.tobytes()
        beside = self._beside(state.cell)
        kept = self._compiled.get(state.cell)
        now = (state.ue_ids, classes, beside)
        if kept is None or kept.policies is not policies or (kept.ue_ids, kept.classes, kept.beside) != now:
            intent = _with_caps_beside(policies, state, policies.intent(state), beside)
            kept = self._compiled[state.cell] = _Kept(policies, *now, intent)
        return kept.intent

    def on_decided(
        self, state: CellState, intent: Intent, allocation: Allocation, sent: bool, service: Service | None = None
    ) -> None:
        """Enter into the books what came of a decision under `intent`; sent = a control went to the node. service: what
        UEs were served before `state`, where packets are counted.

        More than a floor is no credit: it holds again in the next period, but for what rounding up gave too much. What
        was not given is made up, as far as it is not older than the window.
        """
        self._keeper.on_decided(state, intent, service, self._kept_free_percent(state.cell))
        if intent.mode is Mode.SHADOW or not (intent.min_share_percent or intent.slice_limits):
            self._debts.pop(state.cell, None)  # nothing is promised
            return
        row_of = {ue: row for row, ue in enumerate(allocation.ue_ids)}
        counted_U = counted_rbgs(allocation)
        debts: dict[int | str, float] = {}
        for ue, percent in intent.min_share_percent.items():
            if ue in row_of:
                got = int(counted_U[row_of[ue]])
                debts[ue] = _debt(percent, intent.owed_rbgs.get(ue, 0.0), got * sent, allocation.num_rbgs, intent)
        for limit in intent.slice_limits:
            rows = [row_of[ue] for ue in limit.ue_ids if ue in row_of]
            if limit.min_share_percent and rows:
                got = int(counted_U[rows].sum())
                percent = limit.min_share_percent
                debts[limit.name] = _debt(percent, limit.owed_rbgs, got * sent, allocation.num_rbgs, intent)
        self._debts[state.cell] = debts

    def _kept_free_percent(self, cell: str) -> Callable[[str], float]:
        """By name of the slice ("" = a single UE), see ControlEncoder.kept_free_percent."""
        link = self._link_of(cell)
        if link is None:
            return lambda slice_name: 100.0
        if link.target is None:
            return lambda slice_name: 0.0
        return partial(link.target.encoder.kept_free_percent, cell)

    def statuses(self, links: Sequence[CellLink], *, silent_since_s: float = 0.0) -> dict[str, PolicyStatus]:
        """Every policy's, over the cells under control.

        silent_since_s: time.monotonic(); a cell without a report since then has nobody whose quota could be missing.
        """
        policies = self._set
        reporting = {link.tracker.cell: link for link in links if link.newest is not None}
        states = {cell: link.newest.state for cell, link in reporting.items() if link.newest is not None}
        present: dict[str, Presence] = {}
        silent = {cell for cell, link in reporting.items() if link.last_report_s < silent_since_s}
        reasons: dict[str, dict[str, EnforceReason]] = {name: {} for name in policies.policies}
        other, scope = EnforceReason.OTHER_REASON, EnforceReason.SCOPE_NOT_APPLICABLE
        for name, policy in policies.policies.items():
            for field in policy.unheeded if isinstance(policy, StandardPolicy) else ():
                code = scope if field.is_scope else EnforceReason.STATEMENT_NOT_APPLICABLE
                reasons[name].setdefault(f"{field.path}: {field.why}", code)
        cells: dict[str, list[str]] = {name: [] for name in policies.policies}
        for cell, state in sorted(states.items()):
            compiled = self._compile(policies, state)
            present[cell] = Presence(frozenset(map(own_number, state.ue_ids)), compiled.empty_slices)
            for name in compiled.order:
                cells[name].append(cell)
            not_sent_yet = [] if cell in silent else _not_sent_yet(reporting[cell], compiled, state)
            for name, reason in (*unmet(policies, compiled, state), *not_sent_yet):
                reasons[name].setdefault(f"{cell}: {reason}", other)
        for row in self.targets(links):
            is_unmet = row["state"] in ("missed", "out of reach") and row["cell"] not in silent
            if row["policy"] in reasons and is_unmet:
                link = reporting.get(row["cell"])
                reserves = link is None or link.target is None or link.target.encoder.service_model != "rc"
                is_floor = row["verdicts"].get("min_kbps") in ("missed", "out of reach")
                why = NO_RESERVATION if is_floor and not reserves else ""
                reasons[row["policy"]].setdefault(f"{row['cell']}: {row['of']}: {row['text']}{why}", other)
        without_function = {link.tracker.cell for link in links if link.target is None}
        for name, policy in policies.policies.items():
            unknown = (cell for cell in policy.scope.cells if cell not in states)
            for cell in islice(unknown, MAX_REASONS):
                reasons[name].setdefault(f"{cell}: nothing is reported of this cell", scope)
            for reason in floors_of_nobody(policy, [present[cell] for cell in cells[name]]):
                reasons[name].setdefault(reason, scope)
            for cell in cells[name]:
                if cell in without_function:
                    reasons[name].setdefault(f"{cell}: its node is not controlled", scope)
            if not policy.scope.cells and not cells[name]:
                text = "no cell of it reports" if policy.names_cells else "no cell reports"
                reasons[name].setdefault(text, scope)
        return {
            name: PolicyStatus(
                Enforcement.NOT_ENFORCED if reasons[name] else Enforcement.ENFORCED,
                tuple(reasons[name])[:MAX_REASONS],
                tuple(cells[name]),
                next(iter(reasons[name].values()), None),
            )
            for name in sorted(policies.policies)
        }

    def _compile(self, policies: PolicySet, state: CellState) -> Compiled:
        """Once for every change, as the intents are."""
        depends_on = (policies, state.ue_ids, state.traffic_class_U.tobytes())
        found = self._found.get(state.cell)
        if found is None or found.policies is not policies or found[1:3] != depends_on[1:]:
            found = self._found[state.cell] = _Found(*depends_on, policies.compile(state))
        return found.compiled


def _with_caps_beside(
    policies: PolicySet, state: CellState, intent: Intent, beside: Mapping[str, frozenset[int]]
) -> Intent:
    """The strictest of the limits of all cells that report a UE holds for it, whichever cell it counts for."""
    caps = dict(intent.max_share_percent)
    for cell, ues in beside.items():
        there = replace(state, cell=cell)
        for ue, percent in cap_percents(policies.intent(there), there).items():
            if ue in ues:
                caps[ue] = min(caps.get(ue, 100.0), float(percent))
    return replace(intent, max_share_percent=caps) if caps != dict(intent.max_share_percent) else intent


def unmet(policies: PolicySet, compiled: Compiled, state: CellState) -> list[tuple[str, str]]:
    """(policy id, why something of it does not hold in this cell)."""
    found = list(compiled.unmet)
    for limit in compile_limits(state, compiled.intent).not_enforced:
        sources = [name for ue in limit.ue_ids for name in compiled.of_ue.get(ue, ())]
        sources += [name for slice_ in limit.slices for name in compiled.of_slice.get(slice_, ())]
        found += [(name, limit.reason) for name in dict.fromkeys(sources)]
    for name in compiled.order:
        policy, mode, alpha = policies.policies[name], compiled.intent.mode, compiled.intent.alpha
        if policy.objective is not None and policy.objective.alpha != alpha:
            found.append((name, f"alpha {policy.objective.alpha:g}: a policy that comes first asks for {alpha:g}"))
        wanted = policy.intent_mode
        if wanted is not None and wanted is not mode:
            found.append((name, f"mode {wanted}: another policy asks for {mode}, which is more careful"))
        elif wanted is None and mode is Mode.SHADOW:
            found.append((name, "another policy's mode is shadow: nothing is sent"))
    return found


def _not_sent_yet(link: CellLink, compiled: Compiled, state: CellState) -> list[tuple[str, str]]:
    """(policy id, whose cap is not in force) at a node of quotas, which wait for shared data and for answers."""
    intent = compiled.intent
    explained = link.target.encoder.explain(state.cell) if link.target is not None else {}
    if "slice_ratios" in explained and intent.mode is not Mode.SHADOW:
        return _slices_not_sent(explained["slice_ratios"], compiled)
    quotas = explained.get("quotas")
    if quotas is None or intent.mode is Mode.SHADOW:
        return []
    waiting: dict[str, list[int]] = {}
    for ue, cap in sorted(cap_percents(intent, state).items()):
        if quotas.get(ue, 100) > cap:
            slices = [limit.name for limit in intent.slice_limits if ue in limit.ue_ids]
            sources = [*compiled.of_ue.get(ue, ()), *(name for s in slices for name in compiled.of_slice.get(s, ()))]
            for name in dict.fromkeys(sources):
                waiting.setdefault(name, []).append(ue)
    return [
        (name, f"{listed('UE', ues)}: the node has not acknowledged the quota that the cap needs")
        for name, ues in waiting.items()
    ]


def _slices_not_sent(ratios: Mapping[str, Sequence[int]], compiled: Compiled) -> list[tuple[str, str]]:
    """(policy id, what of it is not in force) at a node of slices."""
    found = []
    for limit in compiled.intent.slice_limits:
        least, most = ratios.get(limit.name, (0, 100))
        if least + ROUNDING < limit.min_share_percent or most > limit.max_share_percent + ROUNDING:
            reason = f"slice {limit.name}: the node has not acknowledged the shares that the limit needs"
            found += [(name, reason) for name in compiled.of_slice.get(limit.name, ())]
    limited = compiled.intent.max_share_percent.keys() | compiled.intent.min_share_percent.keys()
    by_ue = dict.fromkeys(name for ue in sorted(limited) for name in compiled.of_ue.get(ue, ()))
    found += [(name, "its node takes shares of slices only (E2SM-CCC): single UEs are not limited") for name in by_ue]
    return found


def counted_rbgs(allocation: Allocation) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """RBGs of each UE that count for floors, [U]: owned, and nobody has a periodic grant on them."""
    owner_M = allocation.owner_M.copy()
    owner_M[[grant.rbg for grant in allocation.periodic_grants]] = -1
    return np.bincount(owner_M[owner_M >= 0], minlength=len(allocation.ue_ids))


def _debt(percent: float, owed: float, got: int, num_rbgs: int, intent: Intent) -> float:
    exact = percent * num_rbgs / 100.0
    floor = max(0, ceil(exact + owed - ROUNDING))
    return min(owed + exact - min(got, floor), intent.floor_window_periods * exact)

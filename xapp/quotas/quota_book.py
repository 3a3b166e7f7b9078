"""The quotas that one node's UEs have been sent, and those that are to be sent next. Pure: time is an argument.

A node of E2SM-CCC has slices in the place of UEs (xapp.quotas.ccc_encoder), each of which had ratios of its own before.

A quota has no lease: it stays at the node until the UE leaves or somebody takes it back. So the book is written ahead:
nobody is limited whose id has not been kept where the next instance of the xApp finds it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from xapp.quotas.allocation_to_quota import RELEASED, Quota, QuotaRules, Target

GONE_AFTER_PERIODS = 3
"""Decisions in a row, each with a measurement of its own, that do not know a UE, after which it has left."""
SILENT_AFTER_DECISIONS = 30
"""Decisions of other cells about a UE after which one that has decided nothing meanwhile has no say in it any more."""
FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 30.0
"""A refused quota is tried again after a pause that doubles."""
RELEASE_ATTEMPTS = 3
"""A release that was refused so often is given up: the node knows no such UE, or has its own reasons."""


class Order(NamedTuple):
    """One control that is to be sent now."""

    ue: int
    quota: Quota
    released: Quota = RELEASED

    @property
    def is_release(self) -> bool:
        return self.quota == self.released


@dataclass(slots=True)
class _Want:
    """What one cell wants of a UE."""

    target: Target
    absent: int = 0
    """Decisions of the cell in a row that did not know the UE."""
    overheard: int = 0
    """Other cells' decisions about the UE since this one's newest."""

    @property
    def over(self) -> bool:
        return self.absent >= GONE_AFTER_PERIODS or self.overheard >= SILENT_AFTER_DECISIONS


@dataclass(slots=True)
class _Entry:
    """What is known of one UE."""

    released: Quota = RELEASED
    """What it has without a limit."""
    wants: dict[str, _Want] = field(default_factory=dict)
    """By cell that decides about it, the UE's own first: a node may report it in several."""
    in_force: Quota | None = RELEASED
    """What is in force as far as anybody knows; None = not known."""
    in_flight: Quota | None = None
    limited: bool = False
    """It may be under a quota: it was sent one, and no release of it has been acknowledged."""
    release_first: bool = False
    """An earlier instance limited it: nothing else is sent before that is undone."""
    saved: bool = False
    """Its id is kept."""
    failures: int = 0
    refusals: int = 0
    """Of the failures in a row, those in which the node answered."""
    not_before_s: float = 0.0
    waits_since_s: float = 0.0

    @property
    def cell(self) -> str:
        """The UE's own; "" = not seen yet."""
        return next(iter(self.wants), "")

    @property
    def target(self) -> Target:
        """The strictest of what its cells want; a floor is its own cell's alone."""
        targets = [want.target for want in self.wants.values()]
        if len(targets) < 2:
            return targets[0] if targets else Target(self.released)
        most = min(target.quota.max_percent for target in targets)
        own = targets[0].quota
        quota = Quota(min(own.min_percent, most), most, own.dedicated_percent)
        return Target(quota, min(target.cap_percent for target in targets))

    @property
    def gone(self) -> bool:
        return bool(self.wants) and all(want.over for want in self.wants.values())

    @property
    def wants_release(self) -> bool:
        return self.wanted() == self.released

    def wanted(self) -> Quota:
        return self.released if self.release_first or self.gone else self.target.quota


class QuotaBook:
    """The quotas of one node. Not thread safe."""

    def __init__(self, rules: QuotaRules, released: Callable[[int], Quota] = lambda ue: RELEASED) -> None:
        """released: what a UE has without a limit."""
        self._rules = rules
        self._released = released
        self._entries: dict[int, _Entry] = {}
        self._sent_s: deque[float] = deque()
        self.given_up = 0
        """Releases that the node kept refusing."""

    # -- what should be ------------------------------------------------------------------------------------------

    def want(self, cell: str, targets: Mapping[int, Target], now_s: float, *, repeats: bool = False) -> None:
        """A decision's targets for a cell, all its UEs. Newest wins; a UE without any entry is unlimited.

        Of a UE that several cells decide about the strictest target holds; it is the first one's until that one no
        longer knows it.

        repeats: it rests on the same measurement as the decision before, so that who is absent is so no longer.
        """
        for ue, target in targets.items():
            entry = self._entries.get(ue)
            if entry is None:
                released = self._released(ue)
                entry = self._entries[ue] = _Entry(released, in_force=released, waits_since_s=now_s)
            if not self._is_pending(entry):
                entry.waits_since_s = now_s
            for want in entry.wants.values():
                want.overheard += 1
            entry.wants[cell] = _Want(target)
            self._forget_left_cells(entry)
        for ue in [ue for ue, entry in self._entries.items() if cell in entry.wants and ue not in targets]:
            entry = self._entries[ue]
            entry.wants[cell].absent += not repeats
            self._forget_left_cells(entry)
            self._tidy(ue)

    @staticmethod
    def _forget_left_cells(entry: _Entry) -> None:
        """Cells that the UE has left, as long as it is in another."""
        if len(entry.wants) > 1 and not entry.gone:
            entry.wants = {cell: want for cell, want in entry.wants.items() if not want.over}

    def release(self, cell: str | None = None) -> None:
        """Take back the quotas of one cell's UEs; None = of all the node's."""
        for ue, entry in list(self._entries.items()):
            if cell is not None and cell in entry.wants and len(entry.wants) > 1:
                del entry.wants[cell]  # the others go on limiting it
            elif cell is None or cell in entry.wants:
                for want in entry.wants.values():
                    want.target = Target(entry.released)
            self._tidy(ue)

    def restore(self, ues: Iterable[int]) -> None:
        """UEs that an earlier instance may have left under a quota: they are released first."""
        for ue in ues:
            if ue in self._entries and self._entries[ue].limited:
                continue  # meanwhile it is this instance that limits it
            self._entries[ue] = _Entry(self._released(ue), in_force=None, limited=True, release_first=True, saved=True)

    def suspect(self, ues: Iterable[int]) -> None:
        """UEs that somebody may have left under a quota, of which nothing is written: they, too, are released first."""
        for ue in ues:
            if ue not in self._entries:
                self._entries[ue] = _Entry(self._released(ue), in_force=None, limited=True, release_first=True)

    def doubt(self) -> None:
        """Nothing is known any more of what is in force."""
        for entry in self._entries.values():
            if entry.limited or entry.in_force != entry.released:
                entry.in_force = None

    # -- what is kept --------------------------------------------------------------------------------------------

    def to_keep(self) -> frozenset[int]:
        """Ids that must be found again after a crash: UEs under a quota, and those that are about to be."""
        return frozenset(ue for ue, e in self._entries.items() if e.limited or not e.wants_release)

    def kept(self, ues: frozenset[int]) -> None:
        """Exactly these ids are kept now."""
        for ue, entry in self._entries.items():
            entry.saved = ue in ues

    @property
    def limited(self) -> frozenset[int]:
        """UEs that may be under a quota."""
        return frozenset(ue for ue, entry in self._entries.items() if entry.limited)

    def in_force(self, cell: str | None = None) -> dict[int, Quota]:
        """The quotas that UEs (of one cell, or all) were sent, where that is known and a limit."""
        return {
            ue: e.in_force
            for ue, e in self._entries.items()
            if e.in_force is not None and e.in_force != e.released and (cell is None or cell in e.wants)
        }

    def cell_of(self, ue: int) -> str:
        """The cell that a UE was last seen in; "" = not seen yet."""
        return self._entries[ue].cell

    @property
    def shared(self) -> frozenset[int]:
        """UEs that more than one cell decides about."""
        return frozenset(ue for ue, entry in self._entries.items() if len(entry.wants) > 1)

    def __contains__(self, ue: int) -> bool:
        return ue in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def waiting(self) -> int:
        """Quotas that are to change and have not been sent."""
        return sum(self._is_pending(entry) for entry in self._entries.values())

    # -- what is sent --------------------------------------------------------------------------------------------

    def due(self, now_s: float, most: int, *, unhurried: bool = True) -> list[Order]:
        """The controls to send now, at most `most`; each is in flight until it is answered.

        Broken caps first, then releases, then whoever has waited longest. unhurried=False disregards the rate limit:
        for a xApp that stops.
        """
        if unhurried:
            while self._sent_s and self._sent_s[0] <= now_s - 1.0:
                self._sent_s.popleft()
            most = min(most, self._rules.max_controls_per_s - len(self._sent_s))
        ready = [
            (not self._is_broken(entry), not entry.wants_release, entry.waits_since_s, ue)
            for ue, entry in self._entries.items()
            if self._is_pending(entry) and now_s >= entry.not_before_s and (entry.saved or entry.wants_release)
        ]
        orders = []
        for *_, ue in sorted(ready)[: max(most, 0)]:
            entry = self._entries[ue]
            entry.in_flight = entry.wanted()
            entry.limited = entry.limited or entry.in_flight != entry.released
            self._sent_s.append(now_s)
            orders.append(Order(ue, entry.in_flight, entry.released))
        return orders

    def on_answer(self, ue: int, accepted: bool | None, now_s: float) -> None:
        """What became of the UE's control in flight; None = no answer came."""
        entry = self._entries.get(ue)
        if entry is None or entry.in_flight is None:
            return
        quota, entry.in_flight = entry.in_flight, None
        entry.waits_since_s = now_s
        if accepted:
            entry.in_force, entry.failures, entry.refusals = quota, 0, 0
            if quota == entry.released:
                entry.limited = entry.release_first = False
        else:
            if accepted is None:
                entry.in_force = None
            entry.limited = entry.in_force != entry.released  # what was refused has changed nothing
            entry.failures += 1
            entry.refusals += accepted is False
            entry.not_before_s = now_s + min(LONGEST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(entry.failures - 1, 10))
            # Silence is no reason to give up: the UE may be limited for as long as the node is out of reach.
            if quota == entry.released and (entry.refusals >= RELEASE_ATTEMPTS or (entry.gone and entry.refusals)):
                self.given_up += not entry.gone
                entry.in_force, entry.limited, entry.release_first = entry.released, False, False
        self._tidy(ue)

    def not_sent(self, ue: int) -> None:
        """An order of `due` that never left: it is pending again, and nothing is known to have changed."""
        entry = self._entries.get(ue)
        if entry is not None:
            entry.in_flight = None
            entry.limited = entry.in_force != entry.released
            self._tidy(ue)

    def was(self, ue: int, released: Quota) -> None:
        """The node has said what it had without a limit: it is given that back, and not what was taken for it."""
        if (entry := self._entries.get(ue)) is not None and not entry.release_first:
            for want in entry.wants.values():
                if want.target.quota == entry.released:
                    want.target = Target(released)
            entry.released = released
            entry.limited = entry.limited or entry.in_force != released

    def forget(self, ue: int) -> None:
        """Nothing more is to be sent about it, not even a release."""
        self._entries.pop(ue, None)

    def _is_pending(self, entry: _Entry) -> bool:
        if entry.in_flight is not None:
            return False
        wanted, in_force = entry.wanted(), entry.in_force
        if in_force is None or self._is_broken(entry):
            return True
        if wanted == in_force:
            return False
        by = abs(wanted.max_percent - in_force.max_percent)
        return wanted == entry.released or wanted.min_percent != in_force.min_percent or by >= self._rules.step_percent

    @staticmethod
    def _is_broken(entry: _Entry) -> bool:
        """What is in force lets the UE have more than the operator allows."""
        if entry.release_first or entry.gone:
            return False
        return (entry.in_force or entry.released).max_percent > entry.target.cap_percent

    def _tidy(self, ue: int) -> None:
        """Forget a UE that has left, and is under no quota."""
        entry = self._entries[ue]
        if entry.gone and not entry.limited and entry.in_flight is None:
            del self._entries[ue]

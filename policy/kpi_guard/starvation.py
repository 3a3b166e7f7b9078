"""The starvation rule: UEs that have something to send, and a channel, and are served only while the leader is not
asked.

What a UE was served under the leader clears it; a hold-out can only confirm what was seen under the leader.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from policy.kpi_guard.rules import GuardRules
from policy.kpi_guard.window import GuardReport

TWO = 2
"""UEs starved together are no coincidence: one hold-out that serves both is enough. One UE alone takes two."""
BLIND_HOLD_OUTS = 3
"""Where nobody says who has something to send, a hold-out may serve a UE by chance."""
LONGER = 3.0
"""So much longer than ever before it must have been silent, where nobody says who has something to send."""
MAX_PATIENCE = 64


@dataclass(slots=True)
class _Ue:
    hungry_slots: int = 0
    hold_outs: int = 0
    """That served it, since the leader did last."""
    served_now: bool = False
    """In the hold-out at hand."""
    patience: int = 1
    """How many times as long it must starve: twice as long after each hold-out that did not serve it either."""
    longest_slots: int = 0
    """Of its silences that ended under the leader."""


class Starvation:
    """Of one cell."""

    def __init__(self, rules: GuardRules) -> None:
        self._rules = rules
        self._ues: dict[int, _Ue] = {}
        self._blind = False

    def add(self, report: GuardReport, held_out: bool) -> None:
        """One report that was governed by one mode from beginning to end."""
        served, buffers, cqi = report.served_bits_U.tolist(), report.buffer_bits_U.tolist(), report.cqi_U.tolist()
        self._blind = bool(buffers) and all(map(math.isnan, buffers))
        ues: dict[int, _Ue] = {}
        for row, ue in enumerate(report.ue_ids):
            if ue in report.exempt:
                continue
            known = ues[ue] = self._ues.get(ue) or _Ue()
            if served[row] > 0.0:
                if held_out:
                    known.served_now = known.served_now or known.hungry_slots > 0
                else:
                    known.longest_slots = max(known.longest_slots, known.hungry_slots)
                    known.hungry_slots = known.hold_outs = 0
            elif not held_out and served[row] == 0.0 and (self._blind or buffers[row] > 0.0) and not cqi[row] < 1.0:
                known.hungry_slots += report.slots
        self._ues = ues

    def suspects(self) -> frozenset[int]:
        """UEs for whom a hold-out is to be asked now; empty = none."""
        found = self._hungry()
        return found if self._enough(found) else frozenset()

    def end_hold_out(self) -> frozenset[int]:
        """The hold-out at hand is over: UEs that the leader has been shown to starve."""
        for known in self._ues.values():
            known.hold_outs += known.served_now
            known.served_now = False
        hungry = frozenset(ue for ue in self._hungry() if self._ues[ue].hold_outs)
        if not self._enough(hungry):
            return frozenset()
        if len(hungry) >= TWO and (not self._blind or self._by_share(hungry)):
            return hungry
        alone = BLIND_HOLD_OUTS if self._blind else TWO
        return frozenset(ue for ue in hungry if self._long(ue) and self._ues[ue].hold_outs >= alone)

    def nothing_found(self) -> None:
        """The hold-outs that were asked for are over: whom they did not serve either is less suspect from now on."""
        for known in self._ues.values():
            if known.hungry_slots and not known.hold_outs:
                known.hungry_slots, known.patience = 0, min(2 * known.patience, MAX_PATIENCE)

    def hungry_slots(self, ue: int) -> int:
        return self._ues[ue].hungry_slots if ue in self._ues else 0

    def restart(self) -> None:
        self._ues = {}

    def _hungry(self) -> frozenset[int]:
        least = self._rules.starved_slots if self._blind else self._rules.starved_together_slots
        return frozenset(ue for ue, known in self._ues.items() if known.hungry_slots >= least * known.patience)

    def _enough(self, ues: frozenset[int]) -> bool:
        together = self._by_share(ues) if self._blind else len(ues) >= TWO
        return together or any(map(self._long, ues))

    def _by_share(self, ues: frozenset[int]) -> bool:
        return len(ues) >= max(TWO, self._rules.silent_share * len(self._ues))

    def _long(self, ue: int) -> bool:
        known = self._ues[ue]
        if self._blind:
            return known.hungry_slots >= max(self._rules.silent_slots * known.patience, LONGER * known.longest_slots)
        return known.hungry_slots >= self._rules.starved_slots * known.patience

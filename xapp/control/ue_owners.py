"""Which cell a UE counts for, where a node reports it in several cells' subscriptions. Pure: no clock, so that a replay
comes to the same.

Some nodes ignore the cell that a subscription names, and report all UEs of a DU in each. A UE belongs to one cell: the
first that reported it, until that one no longer does while another goes on (a handover). Cells with DCM indications
need no such rule: their indications say who is served there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

HANDOVER_REPORTS = 3
"""Reports of a UE by another cell, none by its own in between, after which it is the other's: a single report may be
late, or lost."""


@dataclass(slots=True)
class _Ue:
    cell: str
    """Its owner."""
    elsewhere: dict[str, int] = field(default_factory=dict)
    """By other cell: its reports of the UE since the owner's newest; below 0: the owner's since that cell's newest."""
    absent: int = 0
    """The owner's reports in a row that did not have it, nor anybody else's in between."""


class UeOwners:
    """Of one node. Not thread safe. UEs by `ue_key`."""

    def __init__(self) -> None:
        self._ues: dict[int, _Ue] = {}

    def report(self, cell: str, ues: Iterable[int]) -> frozenset[int]:
        """One cell's report: those of its UEs that count for another cell."""
        reported = set(ues)
        others: set[int] = set()
        for ue in reported:
            known = self._ues.setdefault(ue, _Ue(cell))
            known.absent = 0
            if known.cell == cell:
                known.elsewhere = _counted_anew(known.elsewhere)
                continue
            count = known.elsewhere[cell] = max(0, known.elsewhere.get(cell, 0)) + 1
            if count < HANDOVER_REPORTS:
                others.add(ue)
            else:
                self._ues[ue] = _Ue(cell)
        for ue, known in list(self._ues.items()):
            if known.cell == cell and ue not in reported:
                known.absent += 1
                if known.absent > HANDOVER_REPORTS:
                    del self._ues[ue]  # it has left
        return frozenset(others)

    def forget_cell(self, cell: str) -> None:
        """Its subscription has ended: whoever reports its UEs next has them."""
        self._ues = {ue: known for ue, known in self._ues.items() if known.cell != cell}
        for known in self._ues.values():
            known.elsewhere.pop(cell, None)

    def cells_of(self, ue: int) -> tuple[str, ...]:
        """The owner first, then the other cells that have reported the UE beside it."""
        known = self._ues.get(ue)
        return (known.cell, *known.elsewhere) if known is not None else ()

    def shared(self) -> dict[int, tuple[str, ...]]:
        """UEs that more than one cell reports, with `cells_of`."""
        return {ue: self.cells_of(ue) for ue, known in self._ues.items() if known.elsewhere}


def _counted_anew(elsewhere: dict[str, int]) -> dict[str, int]:
    """The owner has reported the UE once more: others begin anew, and one that no longer reports it is forgotten."""
    counts = {cell: 0 if count > 0 else count - 1 for cell, count in elsewhere.items()}
    return {cell: count for cell, count in counts.items() if count >= -HANDOVER_REPORTS}

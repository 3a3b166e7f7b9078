"""How many cells are decided together at most: as many as are surely done before the deadline.

Beyond its capacity an xApp that took every cell that waits would be late with all of them. So it takes those that have
waited longest, of the reports that are fresh enough for an answer in time. The others' reports are replaced by newer
ones meanwhile: their period becomes longer, and what is decided is decided in time.
"""

from __future__ import annotations

SHARE = 0.4
"""Of the deadline that a batch may take: as much again a report may be old by then, and things go wrong."""
FRESH_SHARE = 0.5
"""Of the deadline: how old a report may be that a decision is begun for, where there are more cells than time."""
TOO_OLD_SHARE = 0.5
"""Of the deadline: a report that has waited so long is not even read where others wait behind it."""
WEIGHT = 0.2
"""Of the newest batch in what a cell is thought to take."""


class BatchLimit:
    """Belongs to the pacer's thread."""

    def __init__(self) -> None:
        self._cell_s: float | None = None

    def note(self, cells: int, taken_s: float) -> None:
        """So long it took to decide about so many cells, and to send what was decided."""
        newest_s = taken_s / cells
        self._cell_s = newest_s if self._cell_s is None else self._cell_s + WEIGHT * (newest_s - self._cell_s)

    def most(self, deadline_s: float) -> int | None:
        """Cells; None = nobody knows yet what one takes."""
        return None if not self._cell_s else max(1, int(SHARE * deadline_s / self._cell_s))

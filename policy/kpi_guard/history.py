"""The newest windows of a cell, each compared with its neighbours as soon as both have ended: the end of a cycle, which
needs these comparisons at every place, finds them made.
"""

from __future__ import annotations

from collections.abc import Sequence

from policy.kpi_guard.window import Difference, Kpi, Window, difference


class History:
    """Of one cell."""

    def __init__(self, kpis: Sequence[Kpi], most: int) -> None:
        self._kpis, self._most = tuple(kpis), most
        self.windows: list[Window] = []
        self._differences: list[dict[Kpi, Difference]] = []
        """[i] is of the window at i + 1."""

    def add(self, window: Window) -> None:
        """It has ended."""
        self.windows.append(window)
        if len(self.windows) >= 3:
            before, middle, after = self.windows[-3:]
            self._differences.append({kpi: difference(before, middle, after, kpi) for kpi in self._kpis})
        if len(self.windows) > self._most:
            del self.windows[0], self._differences[0]

    def difference(self, at: int, kpi: Kpi) -> Difference:
        """Of the window at this index, above its neighbours."""
        return self._differences[at - 1][kpi]

    def undisturbed(self, kpi: Kpi) -> list[Difference]:
        """Those of windows under the leader between windows under the leader."""
        return [
            found[kpi]
            for at, found in enumerate(self._differences, 1)
            if not any(window.held_out for window in self.windows[at - 1 : at + 2])
        ]

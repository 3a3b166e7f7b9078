"""Cells under the same leader as one: each cell's e-values multiply into the evidence against it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from policy.kpi_guard.rules import BETS


class Pool:
    """By KPI. The cells' cycles end one after the other, each with an e-value of mean 1 at most whatever came before,
    so that the bound on false alarms holds as for one cell: A cycles of all cells together."""

    def __init__(self) -> None:
        self._m_G: dict[str, NDArray[np.float64]] = {}

    def add(self, kpi: str, e_G: NDArray[np.float64]) -> float:
        """M, after it."""
        m_G = np.maximum(self._m_G.get(kpi, np.ones(len(BETS))), 1.0) * e_G
        self._m_G[kpi] = m_G
        return float(m_G.mean())

    def m(self, kpi: str) -> float:
        found = self._m_G.get(kpi)
        return 1.0 if found is None else float(found.mean())

    def restart(self) -> None:
        self._m_G.clear()

"""A cell tracker, and reports to give it."""

from __future__ import annotations

from typing import Any

import numpy as np

from policy.cell_state import CellState
from xapp.control.cell_tracker import CellTracker
from xapp.e2.dcm import messages as dcm
from xapp.e2.kpm.report_reader import KpmReport

CELL = "gnb/00f110000000011"
NAMES = ("DRB.UEThpUl", "RRU.PrbTotUl", "DRB.AirIfDelayUl", "CQI")


def tracker(**changes: Any) -> CellTracker:
    return CellTracker(CELL, **{"num_rbgs": 6, "report_period_ms": 100, "has_kpm": True, "has_dcm": True, **changes})


def report(ue_keys: tuple[int, ...], names: tuple[str, ...] = NAMES, values: Any = None) -> KpmReport:
    """values [U, N]; by default row * 10 + column."""
    full = np.add.outer(np.arange(len(ue_keys)) * 10.0, np.arange(float(len(names)))) if values is None else values
    return KpmReport(ue_keys, names, np.array(full, dtype=float).reshape(len(ue_keys), len(names)), 100, 0, b"", ())


def indication(ue_ids: tuple[int, ...], k: int = 1, **columns: Any) -> dcm.Indication:
    return dcm.Indication(ue_ids, k, 0, 4, **{name: np.array(column, float) for name, column in columns.items()})


def header(slot: int) -> dcm.IndicationHeader:
    return dcm.IndicationHeader("00f110000000011", slot, 0)


def state_of(tracked: CellTracker) -> CellState:
    state = tracked.state()
    assert state is not None
    return state

"""What is remembered of a cell's UEs from report to report. Pure.

Suffixes: U = UEs, H = what is remembered of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from policy.cell_state import (
    LONG_DECAY_PER_SLOT,
    SERVED_DECAY_PER_SLOT,
    SERVED_START_BITS_PER_SLOT,
    update_cqi_mean,
)

FloatU = NDArray[np.float64]

REMEMBERED = ("served_bits_per_slot_U", "long_served_bits_per_slot_U", "cqi_mean_U")
"""The columns of a state that are the first rows of `Histories`."""
SINCE = len(REMEMBERED)
"""The row behind them."""


class Elapsed(NamedTuple):
    """Between the report before and this one."""

    slots: int
    """Gone by, 0 = there is none before it."""
    reported_slots: int
    """Those of them in which the report says what was served. What was served in reports that were lost is not known:
    they leave the averages as they were."""
    since_slot: int
    """The earliest slot in which a UE may have come that is new in it."""


class Histories(NamedTuple):
    """Never changed: replaced as a whole."""

    ue_ids: tuple[int, ...] = ()
    rows_HU: FloatU = np.zeros((SINCE + 1, 0))
    """R, bits/slot; the same with a longer memory; mean CQI; the earliest slot that the UE may have come in."""

    def of(self, ue_ids: tuple[int, ...]) -> Histories:
        """Of these UEs; NaN for one never seen before."""
        if ue_ids == self.ue_ids:
            return self
        if not self.ue_ids:
            return Histories(ue_ids, np.full((SINCE + 1, len(ue_ids)), np.nan))
        rows_U = rows_of(dict(zip(self.ue_ids, range(len(self.ue_ids)))), ue_ids)
        rows_HU = np.where(rows_U >= 0, self.rows_HU.take(rows_U, axis=1), np.nan)
        return Histories(ue_ids, rows_HU)

    def after(self, served_bits_U: FloatU, cqi_U: FloatU, elapsed: Elapsed) -> Histories:
        """With one more report of the same UEs."""
        rows_HU = np.empty(self.rows_HU.shape)
        rows_HU[:2] = _served_averages(self.rows_HU[:2], served_bits_U, elapsed.reported_slots)
        rows_HU[2] = update_cqi_mean(self.rows_HU[2], cqi_U, elapsed.slots)
        since_slot_U = self.rows_HU[SINCE]
        rows_HU[SINCE] = np.where(np.isnan(since_slot_U), elapsed.since_slot, since_slot_U)
        return Histories(self.ue_ids, rows_HU)


def rows_of(row_of: Mapping[int, int], ue_ids: tuple[int, ...]) -> NDArray[np.int64]:
    """Each UE's row, -1 = none."""
    return np.array([row_of.get(ue, -1) for ue in ue_ids], np.int64)


def _served_averages(average_2U: FloatU, served_bits_U: FloatU, slots: int) -> FloatU:
    """policy.cell_state.update_served_average of both averages at once."""
    average_2U = np.where(np.isfinite(average_2U), average_2U, SERVED_START_BITS_PER_SLOT)
    if slots <= 0:
        return average_2U
    keep_2 = np.array(((SERVED_DECAY_PER_SLOT**slots,), (LONG_DECAY_PER_SLOT**slots,)))
    updated_2U = keep_2 * average_2U + (1.0 - keep_2) * served_bits_U / slots
    return np.where(np.isnan(served_bits_U), average_2U, updated_2U)

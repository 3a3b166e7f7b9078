"""What a scheduler takes a cell's reports to mean, gaps filled: every classical decision starts here.

Suffix: U = UEs in the order of `state.ue_ids`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policy.cell_state import SERVED_START_BITS_PER_SLOT, CellState, FloatU
from policy.cqi import BUFFER_MID_BITS, REPORTED_SNR

UNKNOWN_CQI = 5
"""Assumed of a UE whose CQI was never reported: low enough to be decoded, high enough to be worth a grant."""
UNKNOWN_BUFFER_GROWTH = 2.0
"""Without buffer status a UE is taken to need this many times what it was served, so that its share can grow, ..."""
UNKNOWN_BUFFER_BITS = float(BUFFER_MID_BITS[2])
"""... and about a packet more, so that a quiet one can begin."""


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """A cell without gaps: every column finite."""

    queue_bits_U: FloatU
    """Waiting bits: reported buffer less what was decoded since."""
    demand_bits_U: FloatU
    """Bits a slot that the UE can use, averaged over the K slots of the decision."""
    served_bits_per_slot_U: FloatU
    snr_U: FloatU
    """Linear SNR at full power on one RBG, before the preferred RBG's gain."""
    preferred_rbg_U: NDArray[np.int64]
    """The UE's preferred RBG; -1 = not known."""
    active_U: NDArray[np.bool_]
    """True = had something waiting when it reported, or did not report its buffer."""


def estimate(state: CellState) -> Estimate:
    """Fill the gaps of `state`; values out of range are clipped."""
    slots = max(1, state.slots_per_dcm)
    served_U = _filled(state.served_bits_per_slot_U, SERVED_START_BITS_PER_SLOT)
    inflight_U = _filled(state.inflight_bits_U, 0.0)
    reported_U = np.maximum(0.0, _filled(state.buffer_bits_U, 0.0) - inflight_U)
    unknown_U = ~np.isfinite(state.buffer_bits_U)
    guess_U = UNKNOWN_BUFFER_GROWTH * served_U + UNKNOWN_BUFFER_BITS
    queue_U = np.where(unknown_U, guess_U, reported_U)
    # Over one slot only what waits can be sent. Over many, what keeps arriving counts: about what was served so far.
    demand_U = np.where(unknown_U, guess_U, reported_U / slots + served_U * (slots - 1) / slots)
    cqi_U = np.clip(_filled(state.cqi_U, UNKNOWN_CQI), 0, len(REPORTED_SNR) - 1).astype(np.int64)
    preferred_U = _filled(state.preferred_rbg_U, -1.0)
    on_carrier_U = (preferred_U >= 0) & (preferred_U < state.num_rbgs)
    return Estimate(
        queue_bits_U=queue_U,
        demand_bits_U=demand_U,
        served_bits_per_slot_U=served_U,
        snr_U=REPORTED_SNR[cqi_U],
        preferred_rbg_U=np.where(on_carrier_U, preferred_U, -1).astype(np.int64),
        active_U=unknown_U | (state.buffer_bits_U > 0.0),
    )


def _filled(column_U: FloatU, value: float) -> FloatU:
    """The column with `value` where it is not finite, and nothing below -1."""
    return np.maximum(np.where(np.isfinite(column_U), column_U, value), -1.0)

"""An intent's hard share limits, compiled for the UEs that are alive: whole RBGs per UE.

Caps round down, floors round up. Written precedence where an intent contradicts itself: a cap wins over the same UE's
floor; floors that together exceed the cell are scaled down in proportion, the RBGs that rounding leaves going to the
largest remainders, then to the lowest UE id. Suffix: U = UEs in the order of `state.ue_ids`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray

from policy.allocation import NO_CAP
from policy.cell_state import CellState
from policy.intent import Intent

ROUNDING = 1e-9
"""Percentages are decimal: 6 of 17 RBGs written as 35.294117647 % is meant to be 6."""


@dataclass(frozen=True, slots=True, eq=False)
class Limits:
    """What every allocation of a cell must keep. An uncapped UE has cap_U = num_rbgs and max_rbgs_U = NO_CAP."""

    cap_U: NDArray[np.int64]
    """RBGs a slot that the UE may hold, at most num_rbgs."""
    floor_U: NDArray[np.int64]
    """RBGs that the UE must own outright; never above cap_U, in sum never above num_rbgs."""
    capped_U: NDArray[np.bool_]
    """True = the UE is capped, and so may not contend either."""
    not_enforced: tuple[str, ...] = ()
    """Why some limit does not hold as written; empty when all do."""

    @property
    def max_rbgs_U(self) -> NDArray[np.uint8]:
        """The caps as an Allocation carries them."""
        return np.where(self.capped_U, self.cap_U, NO_CAP).astype(np.uint8)

    @property
    def open_allowed_U(self) -> NDArray[np.bool_]:
        return ~self.capped_U

    @property
    def any(self) -> bool:
        """True when some UE is capped or has a floor."""
        return bool(self.capped_U.any() or self.floor_U.any())


def compile_limits(state: CellState, intent: Intent) -> Limits:
    """The limits of `intent` for the live UEs of `state`; limits on other UEs wait until they appear."""
    num_rbgs, count = state.num_rbgs, state.num_ues
    cap_U = np.full(count, num_rbgs, np.int64)
    floor_U = np.zeros(count, np.int64)
    reasons: list[str] = []
    if not intent.max_share_percent and not intent.min_share_percent:
        return Limits(cap_U, floor_U, np.zeros(count, bool))
    for row, ue in enumerate(state.ue_ids):
        most = floor(intent.max_share_percent.get(ue, 100.0) * num_rbgs / 100.0 + ROUNDING)
        least = ceil(intent.min_share_percent.get(ue, 0.0) * num_rbgs / 100.0 - ROUNDING)
        if least > most:
            reasons.append(f"UE {ue}: floor of {least} RBGs exceeds its cap of {most}: the cap holds")
        cap_U[row], floor_U[row] = most, min(most, least)
    total = int(floor_U.sum())
    if total > num_rbgs:
        reasons.append(f"floors ask for {total} of {num_rbgs} RBGs: scaled down in proportion")
        floor_U = _scaled(floor_U, num_rbgs)
    return Limits(cap_U, floor_U, cap_U < num_rbgs, tuple(reasons))


def _scaled(floor_U: NDArray[np.int64], num_rbgs: int) -> NDArray[np.int64]:
    """Floors in proportion whose sum is exactly num_rbgs (largest remainder)."""
    total = int(floor_U.sum())
    scaled_U = floor_U * num_rbgs // total
    remainder_U = floor_U * num_rbgs % total
    left = num_rbgs - int(scaled_U.sum())
    scaled_U[np.argsort(-remainder_U, kind="stable")[:left]] += 1
    return scaled_U

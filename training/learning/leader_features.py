"""What a critic reads of a cell: the same state as the leader's prompt, as numbers.

A cell's columns are squashed, described per UE, and pooled by mean and maximum, so any number of UEs fits.
Suffixes: B = cells, U = UEs, C = columns and whether each is known.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from policy.cell_state import COLUMNS, CellState

_PER_UE = 2 * len(COLUMNS)
"""Numbers of a UE: each column squashed, and whether it is known."""
LEADER_FEATURES = 2 * _PER_UE + 3
"""Mean and maximum over UEs, then UEs, RBGs and slots per DCM."""


def leader_features(states: Sequence[CellState]) -> NDArray[np.float32]:
    """What the critic reads of each cell, [B, LEADER_FEATURES]."""
    return np.stack([_features_of(state) for state in states])


def _features_of(state: CellState) -> NDArray[np.float32]:
    columns_CU = np.stack([np.asarray(getattr(state, name), np.float64) for name in COLUMNS])
    known_CU = ~np.isnan(columns_CU)
    filled_CU = np.where(known_CU, columns_CU, 0.0)
    squashed_CU = np.sign(filled_CU) * np.log1p(np.abs(filled_CU)) / 4.0
    all_CU = np.concatenate([squashed_CU, known_CU])
    cell = np.log1p([state.num_ues, state.num_rbgs, state.slots_per_dcm])
    if not state.num_ues:
        return np.concatenate([np.zeros(2 * _PER_UE), cell]).astype(np.float32)
    return np.concatenate([all_CU.mean(axis=1), all_CU.max(axis=1), cell]).astype(np.float32)

"""What a model knows of an action as it is asked about an RBG: its features, packed into one integer, their code.

How often the action's token was chosen in this DCM, whether it is on its preferred RBG, how well the UE was decoded on
the RBG lately, and what became of the RBG in the last slot: code = usage and match + FEATURE_CODES x channel history +
OUTCOMES x outcome. Where nothing is known of RBGs it is the usage and the match alone.

Suffixes: U = UEs of the cell, M = RBGs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from policy.cell_state import NUM_OUTCOMES, CellState

USAGE_LEVELS = 10
"""How often a token was chosen in this DCM: 0, 1, ... 9 or more."""
FEATURE_CODES = 2 * USAGE_LEVELS
"""Codes of usage and match: 2 * usage + (1 = this is the UE's preferred RBG)."""
QUALITY_EDGES = (-3.5, -1.5, 1.5, 3.5)
"""Edges of the CQI last decoded on the RBG less the wideband CQI: much worse, worse, alike, better, much better."""
AGE_EDGES = (2.5, 5.5)
"""Edges of the age of that CQI, slots."""
CHANNEL_HISTORY_LEVELS = 1 + (len(QUALITY_EDGES) + 1) * (len(AGE_EDGES) + 1)
"""0 = not known."""
OUTCOMES = FEATURE_CODES * CHANNEL_HISTORY_LEVELS
OUTCOME_LEVELS = 1 + NUM_OUTCOMES
"""0 = not known."""


class RbgReports(NamedTuple):
    """A cell's reports per RBG, as their parts of the codes."""

    channel_history_MU: NDArray[np.int64]
    outcome_M: NDArray[np.int64]


def rbg_reports(state: CellState) -> RbgReports | None:
    """The parts of the codes that a cell's reports make; None = nothing is known. Values out of range are not known."""
    outcome_M = state.last_outcome_M
    known_M = (outcome_M >= 0) & (outcome_M < NUM_OUTCOMES)
    known_UM = np.isfinite(state.last_cqi_UM) & np.isfinite(state.last_cqi_age_slots_UM)
    known_UM &= np.isfinite(state.cqi_U)[:, None]
    if not known_M.any() and not known_UM.any():
        return None
    with np.errstate(invalid="ignore"):
        quality_UM = np.searchsorted(QUALITY_EDGES, state.last_cqi_UM - state.cqi_U[:, None])
        age_UM = np.searchsorted(AGE_EDGES, state.last_cqi_age_slots_UM)
    channel_history_UM = np.where(known_UM, 1 + quality_UM * (len(AGE_EDGES) + 1) + age_UM, 0)
    level_M = np.where(known_M, 1.0 + outcome_M, 0.0).astype(np.int64)
    return RbgReports(np.ascontiguousarray(channel_history_UM.T) * FEATURE_CODES, level_M * OUTCOMES)


def without_usage(features: NDArray[np.int64]) -> NDArray[np.int64]:
    """The codes, of any shape, as if nothing had been chosen yet."""
    return features - features % FEATURE_CODES + features % 2

"""What a leader learns from: a state, the DCM that it decided on there, and what came of it.

Suffixes: L steps, A actions.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from policy.cell_state import CellState
from policy.intent import Intent
from policy.leader_models.transcript import TeacherForcingExample
from training.errors import InvalidToken
from training.rewards import UNIT_UES


class Example(NamedTuple):
    """One state, the DCM that was decided there, and what came of it."""

    chain: int
    """Which cell of the rollout: examples of a chain, in their order, are one cell's decisions over time."""
    state: CellState
    intent: Intent
    steps: TeacherForcingExample
    log_probs_L: NDArray[np.float64]
    """Log-probability of each token as it was drawn, [L]."""
    reward: float
    """Mean slot reward (training.rewards) of the period that it governed."""
    collision_fraction: float
    """Share of that period's RBG-slots in which several UEs sent."""
    base: float
    """Value of the DCM as it was decided; the reward, where alternatives were not tried."""
    known_LA: NDArray[np.bool_]
    """Which actions were tried; with them the one that was chosen."""
    value_LA: NDArray[np.float64]
    """Value of the DCM with this action at this step; `base` for what was chosen."""

    @property
    def size(self) -> float:
        """Factor on its values: UEs / UNIT_UES."""
        return self.state.num_ues / UNIT_UES


def check_legal(log_probs_L: NDArray[np.float64], line: TeacherForcingExample) -> None:
    """Raises InvalidToken: the third of the paper's failure signatures."""
    legal_L = line.mask_LA[np.arange(len(line.tokens_L)), line.tokens_L]
    wrong = np.flatnonzero(~legal_L | ~np.isfinite(log_probs_L))
    if len(wrong):
        step = int(wrong[0])
        raise InvalidToken(
            f"invalid token: step {step} chose {int(line.tokens_L[step])} with log-probability "
            f"{float(log_probs_L[step]):.3g}; check that the grammar's masks (PAG) reach the sampler"
        )

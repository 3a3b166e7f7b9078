"""A cell's value to its leader: the critic of objectives that need one, an MLP on the same state as the prompt.

A cell's columns are squashed, described per UE, and pooled by mean and maximum, so any number of UEs fits.
Suffixes: B = cells, U = UEs, F = features.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from policy.cell_state import COLUMNS, CellState

HIDDEN = 64
FEATURES = 2 * len(COLUMNS)
"""Of a UE: each column squashed, and whether it is known."""


def features_of(state: CellState) -> NDArray[np.float32]:
    """[2 F + 3]: mean and maximum over UEs, then UEs, RBGs and slots per DCM."""
    columns_FU = np.stack([np.asarray(getattr(state, name), np.float64) for name in COLUMNS])
    known_FU = ~np.isnan(columns_FU)
    filled_FU = np.where(known_FU, columns_FU, 0.0)
    squashed_FU = np.sign(filled_FU) * np.log1p(np.abs(filled_FU)) / 4.0
    all_FU = np.concatenate([squashed_FU, known_FU])
    cell = np.log1p([state.num_ues, state.num_rbgs, state.slots_per_dcm])
    if not state.num_ues:
        return np.concatenate([np.zeros(2 * FEATURES), cell]).astype(np.float32)
    return np.concatenate([all_FU.mean(axis=1), all_FU.max(axis=1), cell]).astype(np.float32)


class LeaderCritic(nn.Module):
    """Features of states in, discounted sums of what is to come out."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(2 * FEATURES + 3, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, 1)
        )

    def forward(self, features_BF: Tensor) -> Tensor:
        """[B]."""
        return self.layers(features_BF)[:, 0]

    def features(self, states: Sequence[CellState]) -> Tensor:
        """What it looks at of each state, on its device."""
        features = torch.from_numpy(np.stack([features_of(state) for state in states]))
        return features.to(next(self.parameters()).device)


def new_leader_critic(seed: int) -> LeaderCritic:
    """A critic with fresh weights that depend on `seed` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LeaderCritic()

"""The critic of objectives that need one, an MLP, and what it reads of a UE. Only training asks it.

The followers share one. It reads what a follower reads, as numbers instead of tokens, pooled over RBGs: so any number
of them fits.
Suffixes: N = UEs, M = RBGs, F = features.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from policy.follower import Access, Answer, FollowerView
from policy.leader_models.leader_network import seeded

HIDDEN = 64
_NUMBERS = (
    ("buffer_bits_N", 1000.0),
    ("head_delay_slots_N", 4.0),
    ("slack_slots_N", 4.0),
    ("served_bits_per_slot_N", 200.0),
    ("probability_N", 1.0),
    ("contending_ues_N", 4.0),
    ("others_granted_N", 4.0),
    ("attempts_N", 8.0),
    ("attempts_lost_N", 8.0),
    ("last_lost_N", 1.0),
)
"""Columns of a view, and what is put down as 1."""
_SETS = 8
FOLLOWER_FEATURES = 2 * len(_NUMBERS) + 3 + 2 * _SETS
"""Numbers of a UE: each number's square root and whether it is known; the class; share and mean CQI of sets of RBGs."""


def follower_features(view: FollowerView) -> NDArray[np.float32]:
    """What the critic reads of each UE, [N, FOLLOWER_FEATURES]."""
    columns = []
    for name, unit in _NUMBERS:
        value_N = np.asarray(getattr(view, name), np.float64) / unit
        known_N = ~np.isnan(value_N)
        columns += [np.sqrt(np.maximum(np.where(known_N, value_N, 0.0), 0.0)), known_N]
    columns += [view.traffic_class_N == k for k in range(3)]
    sets = (
        np.ones(view.access_NM.shape, bool),
        view.access_NM == Access.OWN,
        view.access_NM == Access.CONTEND,
        *((view.answer_NM & flag) > 0 for flag in Answer),
        view.turn_NM == 0,
    )
    for set_NM in sets:
        count_N = set_NM.sum(axis=1)
        columns += [count_N / set_NM.shape[1], (view.cqi_NM * set_NM).sum(axis=1) / np.maximum(count_N, 1) / 15.0]
    return np.stack(columns, axis=1).astype(np.float32)


class Critic(nn.Module):
    """Features of a state in, the discounted sum of the rewards to come out: for leaders and followers alike."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(features, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, 1)
        )

    def forward(self, features: Tensor) -> Tensor:
        """[..., F] -> [...]."""
        return self.layers(features)[..., 0]


def new_critic(features: int, seed: int) -> Critic:
    """A critic with fresh weights that depend on `seed` alone."""
    with seeded(seed):
        return Critic(features)

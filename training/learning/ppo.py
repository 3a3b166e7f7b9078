"""Proximal policy optimisation's advantages over time, by GAE with a critic, for the objectives that need one.

Its clipped ratio, which bounds what one batch can change, is theirs, too: training.learning.objectives. (Schulman et
al., Proximal policy optimization algorithms, 2017.)
Suffixes: T slots or periods, C chains of decisions, B cells, U seats, N choices, F features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.critic import Critic
from training.errors import TrainingError
from training.following.recording import Choices, FollowerBatch, Words
from training.gae import generalised_advantages, next_values
from training.learning.example import Example
from training.learning.leader_features import leader_features
from training.learning.objectives import MIN_STD


class DcmAdvantages(NamedTuple):
    """Advantages of whole DCMs. The last decision of each chain only says what comes after, and has none."""

    examples: list[Example]
    advantage_B: Tensor
    features_BF: Tensor
    """What the critic reads."""
    return_B: NDArray[np.float64]
    """The critic's target."""
    explained_variance: float
    """Share of the returns' variance that the critic knew."""


def dcm_advantages(critic: Critic, examples: Sequence[Example], gamma: float, lam: float) -> DcmAdvantages:
    """Advantages over each cell's decisions. Raises TrainingError for fewer than two decisions of a cell."""
    chains: dict[int, list[Example]] = {}
    for example in examples:
        chains.setdefault(example.chain, []).append(example)
    length = min(map(len, chains.values()))
    if length < 2:
        raise TrainingError(f"objective sequence needs a horizon of 2 or more periods, has {length}")
    grid = [[chain[t] for chain in chains.values()] for t in range(length)]
    flat = [example for row in grid for example in row]
    device = next(critic.parameters()).device
    features = torch.from_numpy(leader_features([e.state for e in flat])).to(device)
    with torch.no_grad():
        value_TC = critic(features).double().cpu().numpy().reshape(length, -1)
    # Returns are near 1: an optimizer's steps are of a fixed size.
    unit = max(1.0 - gamma, 1.0 / length)
    reward_TC = np.array([[e.reward * e.size * unit for e in row] for row in grid])[:-1]
    # Cells do not leave: the batch's end is a truncation.
    truncated_TC = np.zeros(reward_TC.shape, bool)
    truncated_TC[-1] = True
    result = generalised_advantages(
        reward_TC,
        value_TC[:-1],
        next_values(value_TC[:-1], value_TC[-1]),
        np.zeros(reward_TC.shape, bool),
        truncated_TC,
        gamma=gamma,
        lam=lam,
    )
    returns = result.return_TN.reshape(-1)
    left = returns.var()
    explained = 1.0 - float((returns - value_TC[:-1].reshape(-1)).var() / left) if left > 0 else 0.0
    learnt = flat[: reward_TC.size]
    advantage = result.advantage_TN.reshape(-1)
    advantage = (advantage - advantage.mean()) / max(float(advantage.std()), MIN_STD)
    return DcmAdvantages(
        learnt, torch.from_numpy(advantage.astype(np.float32)), features[: len(learnt)], returns, explained
    )


class BitAdvantages(NamedTuple):
    """Advantages over time of what UEs did, a row a choice; of their words, a row a word."""

    advantage_N: NDArray[np.float64]
    features_NF: NDArray[np.float32]
    """What the critic reads."""
    return_N: NDArray[np.float64]
    """The critic's target."""
    word_advantage_N: NDArray[np.float64]

    def rows(self, choices: NDArray[np.int64], words: NDArray[np.int64]) -> BitAdvantages:
        return BitAdvantages(
            self.advantage_N[choices], self.features_NF[choices], self.return_N[choices], self.word_advantage_N[words]
        )


def bit_advantages(
    critic: Critic, batch: FollowerBatch, choices: Choices, words: Words, gamma: float, lam: float
) -> BitAdvantages:
    """Advantages over each UE's slots in its seat. Raises TrainingError for fewer than 2 slots.

    choices, words: those of the batch but for its last slot, which only shows what came of the one before.
    """
    if batch.slots < 2:
        raise TrainingError(f"objective sequence needs 2 or more slots, has {batch.slots}")
    with torch.inference_mode():
        device = next(critic.parameters()).device
        value_TBU = critic(torch.from_numpy(batch.features_TBUF).to(device)).double().cpu().numpy()
    left_TBU = (batch.ue_id_TBU[:-1] != batch.ue_id_TBU[1:]) & (batch.ue_id_TBU[:-1] > 0)
    truncated_TBU = np.zeros_like(left_TBU)
    truncated_TBU[-1] = ~left_TBU[-1]
    found = generalised_advantages(
        batch.reward_TBU[:-1],
        value_TBU[:-1],
        next_values(value_TBU[:-1], value_TBU[-1]),
        left_TBU,
        truncated_TBU,
        gamma=gamma,
        lam=lam,
    )
    ues = batch.ue_id_TBU.shape[2]
    at, word_at = ((rows.slot_N, rows.seat_N // ues, rows.seat_N % ues) for rows in (choices, words))
    mean, spread = found.advantage_TN[at].mean() if len(at[0]) else 0.0, found.advantage_TN.std() + MIN_STD
    advantage_N, word_advantage_N = ((found.advantage_TN[where] - mean) / spread for where in (at, word_at))
    return BitAdvantages(advantage_N, batch.features_TBUF[at], found.return_TN[at], word_advantage_N)

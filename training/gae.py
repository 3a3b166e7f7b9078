"""Generalised advantage estimation, per agent over time, for agents that come and go.

    delta_t = r_t + gamma V_{t+1} (1 - terminated_t) - V_t
    A_t     = delta_t + gamma lambda (1 - terminated_t) (1 - truncated_t) A_{t+1}

Termination: the agent has left, nothing comes after. Truncation: only the watching ends, so what comes after has the
value V of the state that follows, `next_value_TN`; at the last slot of a batch everybody who has not left is truncated.
(Schulman et al., High-dimensional continuous control using generalized advantage estimation, 2016.)

Suffixes: T slots, N agents (any shape: only the first axis is time).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatTN = NDArray[np.float64]
BoolTN = NDArray[np.bool_]


class Advantages(NamedTuple):
    """An action's value against what was expected, and what the critic should have predicted."""

    advantage_TN: FloatTN
    return_TN: FloatTN
    """advantage + value: the critic's target."""


def generalised_advantages(
    reward_TN: FloatTN,
    value_TN: FloatTN,
    next_value_TN: FloatTN,
    terminated_TN: BoolTN,
    truncated_TN: BoolTN,
    *,
    gamma: float,
    lam: float,
) -> Advantages:
    """Advantages of every slot.

    value_TN: V of the state in which the agent acted. next_value_TN: V of the state that followed; not looked at where
    terminated. Raises ValueError for unequal shapes and for gamma or lam outside 0..1.
    """
    shapes = {np.shape(a) for a in (reward_TN, value_TN, next_value_TN, terminated_TN, truncated_TN)}
    if len(shapes) != 1:
        raise ValueError(f"shapes differ: {sorted(shapes)}")
    if not (0.0 <= gamma <= 1.0 and 0.0 <= lam <= 1.0):
        raise ValueError(f"gamma is {gamma}, lambda is {lam}, expected 0 to 1")
    stays_TN = ~np.asarray(terminated_TN, bool)
    delta_TN = np.asarray(reward_TN, np.float64) - value_TN + gamma * np.where(stays_TN, next_value_TN, 0.0)
    decay_TN = gamma * lam * (stays_TN & ~np.asarray(truncated_TN, bool))
    advantage_TN = np.empty_like(delta_TN)
    following = np.zeros(delta_TN.shape[1:])
    for t in range(len(delta_TN) - 1, -1, -1):
        following = delta_TN[t] + decay_TN[t] * following
        advantage_TN[t] = following
    return Advantages(advantage_TN, advantage_TN + value_TN)


def next_values(value_TN: FloatTN, last_value_N: NDArray[np.float64]) -> FloatTN:
    """V of the state after each slot, for agents that keep their seat: the values one slot on, then `last_value_N`."""
    return np.concatenate([value_TN[1:], np.asarray(last_value_N, np.float64)[None]])

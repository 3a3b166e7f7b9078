"""A reward of one's own: throughput alone, so that one sees what fairness costs.

stackmac train --scenario mix --reward my_reward:throughput --out DIR
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.simulator.state import COLLISIONS

BITS = 200.0
"""Served bits that count as one."""


def throughput(
    weights: NDArray[np.float64], served: NDArray[np.float64], events: NDArray[Any], num_rbgs: int, cost: float
) -> NDArray[np.float64]:
    """weights, served: [..., UEs]; events: [..., 4] (training.simulator.state); a value a cell, [...].

    weights is what one more bit of each UE is worth to utility: the shipped reward is its product with `served`. cost
    is what is lost to collisions and waste: 1, or 0 where they are counted elsewhere.
    """
    return served.mean(axis=-1) / BITS - cost * 0.5 * events[..., COLLISIONS] / num_rbgs

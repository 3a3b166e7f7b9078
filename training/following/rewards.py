"""What a slot was worth to each UE and to their cell.

    cell      (1/n) sum_i w_i served_i - .5 collisions/M - .1 waste/M        as in training.counterfactual
    UE        served/1000 - .5 collided - .1 waste + team_share x cell + consistency x agreement

Agreement (the paper's consistency, rho_2 of Eq. 2) is the share of the RBGs offered to a UE with something to send on
which it does as the DCM says: it uses what it was granted, as far as its power carries, and enters what is open only
where its coin fell. Suffixes: B cells, U seats, M RBGs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from policy.cqi import bits_per_rbg
from policy.follower import Access, Answer
from training.simulator.metrics import COLLISION_COST, WASTE_COST
from training.simulator.state import State

SERVED_UNIT_BITS = 1000.0


def agreement(
    access: NDArray[np.int64] | NDArray[np.int8],
    answer: NDArray[np.int64] | NDArray[np.int8],
    sends: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Share of the offered RBGs, [..., M] -> [...]; 1 where nothing is offered."""
    own, open_to_it = access == Access.OWN, access == Access.CONTEND
    agrees = (own & (sends | ((answer & Answer.OWN) == 0))) | (open_to_it & (~sends | ((answer & Answer.COIN) > 0)))
    offered = (own | open_to_it).sum(axis=-1)
    return np.where(offered > 0, agrees.sum(axis=-1) / np.maximum(offered, 1), 1.0)


def costs(state: State, sends_BUM: NDArray[np.bool_]) -> NDArray[np.float64]:
    """.5 per RBG on which a UE collides, .1 per transmission of nothing, [B, U]; before the slot is played."""
    count_BU = sends_BUM.sum(axis=2)
    rate_BUM = bits_per_rbg(state.gain_BUM.astype(np.float64) / np.maximum(count_BU, 1)[:, :, None])
    collided_BU = (sends_BUM & (sends_BUM.sum(axis=1, keepdims=True) > 1)).sum(axis=2)
    waste_BU = (sends_BUM & (rate_BUM == 0)).sum(axis=2) + np.where(state.queue_BU <= 0, count_BU, 0)
    return np.asarray(COLLISION_COST * collided_BU + WASTE_COST * waste_BU)

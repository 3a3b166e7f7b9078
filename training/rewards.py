"""The rewards of slots: a cell's, and each of its UEs'.

    cell      (1/n) sum_i w_i served_i - .5 collisions/M - .1 waste/M,    w_i = 1 / (R_i + 100)
    UE        served/1000 - .5 collided - .1 waste + team_share x cell + consistency x agreement

R_i is what UE i's seat was served on average so far: to first order a cell's reward is the change of the utility that
evaluation reports (training.simulator.metrics). Under an intent with another alpha, w_i = (R_i + 100)^-alpha, at the
same mean.

Agreement (the paper's consistency, rho_2 of Eq. 2) is the share of the RBGs offered to a UE with something to send on
which it does as the DCM says: it uses what it was granted, as far as its power carries, and enters what is open only
where its coin fell. Suffixes: B cells, U seats, M RBGs, C counters of a seat, E events of a cell.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policy.plug_ins.loading import PlugInError, load_plug_in
from training.simulator.metrics import COLLISION_COST, UTILITY_UNIT_BITS, WASTE_COST, lost_transmissions
from training.simulator.state import COLLISIONS, NUM_EVENTS, PRESENT, SERVED, WASTE, State

EARLIER_SLOTS = 20
"""A seat's average starts as if it had been served EARLIER_BITS_PER_SLOT for so long: a first slot is no average."""
EARLIER_BITS_PER_SLOT = 200.0
SERVED_UNIT_BITS = 1000.0
"""Served bits that count as one to the UE itself."""
_own_reward: Callable[..., Any] | None = None
"""What a run was told to pay: one for the process, since everything that pays is deep within it."""
UNIT_UES = 4
"""A cell's value is a mean over its UEs: times ues / UNIT_UES, a token or a bit counts alike in small and large cells.
"""


def served_weights(state: State, alpha_B: NDArray[np.float64]) -> NDArray[np.float64]:
    """The value of one more served bit to utility, [B, U]."""
    served_BU, present_BU = state.counters_BUC[:, :, SERVED], state.counters_BUC[:, :, PRESENT]
    average_BU = (served_BU + EARLIER_SLOTS * EARLIER_BITS_PER_SLOT) / (present_BU + EARLIER_SLOTS)
    weight_BU = (average_BU + UTILITY_UNIT_BITS) ** -alpha_B[:, None]
    fair_BU = 1.0 / (average_BU + UTILITY_UNIT_BITS)
    return np.asarray(weight_BU * (fair_BU.mean(axis=1) / weight_BU.mean(axis=1))[:, None])


def cell_reward(
    weights: NDArray[np.float64],
    served: NDArray[np.float64],
    events: NDArray[Any],
    num_rbgs: int,
    cost: float = 1.0,
) -> NDArray[np.float64]:
    """Reward of each cell for what was served, [..., U], and what happened, [..., E], in some slots; their sum, [...].

    cost: what collisions and waste count, 1 = as to utility. What a run was told to pay instead (`pay`) counts here.
    """
    if _own_reward is not None:
        return np.asarray(_own_reward(weights, served, events, num_rbgs, cost), np.float64)
    lost = COLLISION_COST * events[..., COLLISIONS] + WASTE_COST * events[..., WASTE]
    return np.asarray((weights * served).mean(axis=-1) - cost * lost / num_rbgs)


def pay(name: str) -> None:
    """From now on this process pays cells by `module:function`, which takes what `cell_reward` does; "" = as above.

    Of that function only its signature is asked for: it may weigh what is served otherwise, or events
    (training.simulator.state names them). Raises PlugInError.
    """
    global _own_reward
    _own_reward = None if not name else load_plug_in(name, "reward")
    if _own_reward is None:
        return
    try:
        paid = np.asarray(_own_reward(np.ones((2, 3)), np.ones((2, 3)), np.zeros((2, NUM_EVENTS)), 6, 1.0))
    except Exception as error:  # somebody else's code can fail in any way
        raise PlugInError(f"reward {name!r}: {type(error).__name__}: {error}") from error
    if paid.shape != (2,):
        raise PlugInError(f"reward {name!r} gives shape {paid.shape} for 2 cells of 3 UEs, expected (2,)")


def agreement(
    access: NDArray[np.int64] | NDArray[np.int8],
    answer: NDArray[np.int64] | NDArray[np.int8],
    sends: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Share of the offered RBGs, [..., M] -> [...]; 1 where nothing is offered."""
    from policy.follower import Access, Answer  # with torch, which what a cell is paid does without

    own, open_to_it = access == Access.OWN, access == Access.CONTEND
    agrees = (own & (sends | ((answer & Answer.OWN) == 0))) | (open_to_it & (~sends | ((answer & Answer.COIN) > 0)))
    offered = (own | open_to_it).sum(axis=-1)
    return np.where(offered > 0, agrees.sum(axis=-1) / np.maximum(offered, 1), 1.0)


def costs(state: State, sends_BUM: NDArray[np.bool_]) -> NDArray[np.float64]:
    """.5 per RBG on which a UE collides, .1 per transmission of nothing, [B, U]; before the slot is played."""
    collided_BU, wasted_BU = lost_transmissions(state, sends_BUM)
    return np.asarray(COLLISION_COST * collided_BU + WASTE_COST * wasted_BU)

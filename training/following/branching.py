"""The value of one bit of one UE: the same slot with that bit flipped, in a branch of the simulator.

Both branches of a bit meet the same futures, the cell's own and those of other cells of its world from here on, so the
difference between them is what the bit did and nothing else. After the slot a branch is played on by the hand-written
best response, which is compiled and fast: first under what is left of the period's plan, then under the node's own
scheduler, D + TAIL_SLOTS slots in all. So a bit is judged by what it brings and leaves behind, not by how the learning
followers would go on from there.

Values are sums of cell rewards (training.rewards).
Suffixes: B cells, U seats, M RBGs, N choices (a busy UE), K flips, R rows of a branch.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.counterfactual import TAIL_SLOTS
from training.rewards import cell_reward
from training.simulator.cell import CellBatch
from training.simulator.state import SERVED


class Flips(NamedTuple):
    """Which bits to try the other way round."""

    choice_K: NDArray[np.int64]
    """Row of the busy UE."""
    rbg_K: NDArray[np.int64]


def choose_flips(
    cell_N: NDArray[np.int64], allowed_NM: NDArray[np.bool_], flips: int, rng: np.random.Generator
) -> Flips:
    """At most `flips` of each cell's bits that are anybody's choice, evenly drawn."""
    choice, rbg = np.nonzero(allowed_NM)
    order = np.lexsort((rng.random(len(choice)), cell_N[choice]))
    choice, rbg = choice[order], rbg[order]
    cell = cell_N[choice]
    place = np.arange(len(cell)) - np.searchsorted(cell, cell)  # within its cell
    return Flips(choice[place < flips], rbg[place < flips])


def flip_gains(
    world: CellBatch,
    sends_BUM: NDArray[np.bool_],
    flips: Flips,
    seat_N: NDArray[np.int64],
    weights_BU: NDArray[np.float64],
    rest: int,
    own_share: float,
    futures: int = 1,
    cost: float = 1.0,
) -> NDArray[np.float64]:
    """Value with each bit flipped less value as it was, [K]; to be called within a slot, which stays as it is.

    seat_N: cell x U + seat of each choice. rest: slots of the period after this one. futures: no more than the world
    has cells. cost: what collisions and waste count, 1 = as to the cell.
    """
    ues = sends_BUM.shape[1]
    cell_K, seat_K = seat_N[flips.choice_K] // ues, seat_N[flips.choice_K] % ues
    cells = np.unique(cell_K)
    rows_R = np.concatenate([cells, cell_K])
    sends_RUM = sends_BUM[rows_R]
    flipped = np.arange(len(cells), len(rows_R))
    sends_RUM[flipped, seat_K, flips.rbg_K] ^= True

    futures = min(futures, world.world_cells)
    tail = world.scenario.report_delay_slots + TAIL_SLOTS
    under_plan = min(rest, tail)
    before_RUC, before_RE = world.state.counters_BUC[rows_R], world.state.events_BE[rows_R]
    base_K = np.searchsorted(cells, cell_K)
    gain_K = np.zeros(len(cell_K))
    for future in range(futures):
        branch = world.select(rows_R, future * (world.world_cells // futures))
        plan = branch.finish_slot(sends_RUM)
        branch.play(plan, under_plan)
        branch.play(None, tail - under_plan)
        served_RU = (branch.state.counters_BUC - before_RUC)[:, :, SERVED]
        events_RE = branch.state.events_BE - before_RE
        value_R = cell_reward(weights_BU[rows_R], served_RU, events_RE, world.scenario.num_rbgs, cost)
        gain_K += value_R[flipped] - value_R[base_K]
        if own_share:
            value_RU = weights_BU[rows_R] * served_RU
            gain_K += own_share * (value_RU[flipped, seat_K] - value_RU[base_K, seat_K]) / ues
    return np.asarray(gain_K / futures)

"""Batched players of the K = 1 game, who know what nobody can know: ALOHA with a genie, and the oracle.

Suffixes: B cells, U seats, M RBGs.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from policy.allocation import OPEN
from policy.schedulers.schedulers import FAIRNESS_OFFSET_BITS
from training.simulator.cell import CellBatch, SlotView
from training.simulator.plan import Plan, owner_plan

OPEN_TO_ALL = 64.0
"""Contenders that make p = 1 for any number of UEs here: the genie draws its own coins."""


def all_open_plan(batch: CellBatch) -> Plan:
    """Everything OPEN to everybody."""
    owners_BM = np.full((batch.cells, batch.scenario.num_rbgs), OPEN, np.int16)
    return owner_plan(owners_BM, batch.ues, OPEN_TO_ALL)


def genie_aloha(view: SlotView) -> NDArray[np.bool_]:
    """Followers under `all_open_plan`: every backlogged UE on each RBG with p = 1 / (number of backlogged UEs)."""
    backlogged_BU = view.queue_bits_BU > 0
    p_B = 1.0 / np.maximum(backlogged_BU.sum(axis=1), 1)
    return backlogged_BU[:, :, None] & (view.coin_BUM < p_B[:, None, None])


def oracle_plan(batch: CellBatch, contenders: float, weights_BU: NDArray[np.float64] | None = None) -> Plan:
    """Greedy on what is true now: exact queues and channels. Myopic, so no proven bound.

    weights_BU: of a served bit; None = proportional fair's, by the node's served average.
    """
    if weights_BU is None:
        weights_BU = 1.0 / (batch.state.average_BU + FAIRNESS_OFFSET_BITS)
    owner_BM = np.full((batch.cells, batch.scenario.num_rbgs), OPEN, np.int16)
    tables = batch.rules.tables
    _greedy(batch.state.gain_BUM, batch.state.queue_BU, weights_BU, tables.snr_steps, tables.bits_per_rbg, owner_BM)
    return owner_plan(owner_BM, batch.ues, contenders)


@njit(cache=True, nogil=True)
def _bits(gain_M, owner_M, u, extra, k, snr_steps, bits_per_rbg):  # type: ignore[no-untyped-def]
    """Bits of UE u over its RBGs and `extra` (-1 = none), its power split over k."""
    total = 0.0
    for m in range(owner_M.size):
        if owner_M[m] == u or m == extra:
            level = 0
            for step in snr_steps:
                level += gain_M[m] / k >= step
            total += bits_per_rbg[level]
    return total


@njit(cache=True, nogil=True)
def _greedy(gain_BUM, queue_BU, weight_BU, snr_steps, bits_per_rbg, owner_BM):  # type: ignore[no-untyped-def]
    """Fill owner_BM: one RBG at a time to the (UE, RBG) of the largest weighted gain, while there is one."""
    cells, ues, num_rbgs = gain_BUM.shape
    gains_UM = np.empty((ues, num_rbgs))
    held_U = np.empty(ues, np.int64)
    for b in range(cells):
        held_U[:] = 0
        changed = -1
        while True:
            for u in range(ues):
                if changed not in (-1, u):
                    continue
                queue = queue_BU[b, u]
                now = 0.0
                if held_U[u] > 0:
                    now = min(queue, _bits(gain_BUM[b, u], owner_BM[b], u, -1, held_U[u], snr_steps, bits_per_rbg))
                for m in range(num_rbgs):
                    bits = _bits(gain_BUM[b, u], owner_BM[b], u, m, held_U[u] + 1, snr_steps, bits_per_rbg)
                    gains_UM[u, m] = (min(queue, bits) - now) * weight_BU[b, u]
            best, best_u, best_m = 0.0, -1, -1
            for u in range(ues):
                for m in range(num_rbgs):
                    if owner_BM[b, m] == OPEN and gains_UM[u, m] > best:
                        best, best_u, best_m = gains_UM[u, m], u, m
            if best_u < 0:
                break
            owner_BM[b, best_m] = best_u
            held_U[best_u] += 1
            changed = best_u

"""Branches of a slot that are one and the same: whatever the plan says, the future depends on who sends where alone.

Suffixes: B cells, N branches, U seats, M RBGs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.simulator.cell import CellBatch
from training.simulator.jit import entry_point
from training.simulator.mac_rule import best_response, entitle
from training.simulator.plan import Plan
from training.simulator.slot_view import Rule
from training.simulator.state import Rules, Scratch, State, make_scratch
from training.simulator.world import CHUNK_SLOTS, Draws


def distinct_branches(
    world: CellBatch, cells_N: NDArray[np.int64], plan: Plan, future: int, followers: Rule
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(rows of N that differ, and for each of N its place among them) in the next slot, branch n being cell cells_N[n]
    under row n of `plan` in that future.

    Two branches of a cell in which the same UEs send on the same RBGs leave the same behind, but for what only views
    and observations show (what an RBG was entitled to). Rule-abiding followers alone; the world stays as it is.
    """
    state = world.state._replace(world_B=(world.state.world_B + future) % world.world_cells)
    cells, ues, num_rbgs = state.gain_BUM.shape
    one_cell = Plan(*(np.zeros((cells, *array.shape[1:]), array.dtype) for array in plan))
    sends_NS = np.zeros((len(cells_N), ues * num_rbgs), np.bool_)
    hash_N = np.zeros(len(cells_N), np.int64)
    sends_of(
        state, world.rules, plan, one_cell, world.draws(), cells_N, world.slot, world.slot % CHUNK_SLOTS,
        followers == "obey", make_scratch(ues, num_rbgs), sends_NS, hash_N,
    )  # fmt: skip
    _, first, place_N = np.unique(hash_N, return_index=True, return_inverse=True)
    same = (cells_N[first[place_N]] == cells_N).all() and (sends_NS[first[place_N]] == sends_NS).all()
    if not same:  # two hashes met
        return np.arange(len(cells_N)), np.arange(len(cells_N))
    return first, place_N


@entry_point
def sends_of(
    state: State,
    rules: Rules,
    plan: Plan,
    one_cell: Plan,
    draws: Draws,
    cells_N: Any,
    slot: int,
    t: int,
    obey: bool,
    scratch: Scratch,
    sends_NS: Any,
    hash_N: Any,
) -> None:
    """Who sends where in `slot` under each row of the plan, and a hash of it and of the cell. one_cell: room for a plan
    of all cells, of which one row is used at a time."""
    ues, num_rbgs = state.gain_BUM.shape[1:]
    for n in range(len(cells_N)):
        b = cells_N[n]
        for m in range(num_rbgs):
            one_cell.owner_BM[b, m] = plan.owner_BM[n, m]
        for g in range(plan.grants_BG4.shape[1]):
            for i in range(4):
                one_cell.grants_BG4[b, g, i] = plan.grants_BG4[n, g, i]
        one_cell.class_mask_B[b] = plan.class_mask_B[n]
        one_cell.contenders_B[b] = plan.contenders_B[n]
        for u in range(ues):
            one_cell.open_allowed_BU[b, u] = plan.open_allowed_BU[n, u]
            one_cell.cap_BU[b, u] = plan.cap_BU[n, u]
        p = entitle(state, rules, one_cell, b, slot, scratch)
        code = b + 1
        for u in range(ues):
            if not obey:
                best_response(state, rules, one_cell, draws, b, u, t, p, scratch)
            for m in range(num_rbgs):
                sends = scratch.holder_M[m] == u if obey else scratch.sends_UM[u, m]
                sends_NS[n, u * num_rbgs + m] = sends
                code = (code ^ (code >> 29)) * 0x5851F42D4C957F2D + (2 if sends else 1)
        hash_N[n] = code

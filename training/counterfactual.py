"""The value that a DCM would have had with one token different, by branching the simulator.

A branch meets the very future of the cell that it was taken from, so the difference between two branches is what the
token did and nothing else. All branches of a batch are played together, and at K = 1 those of a cell once that come to
the same transmissions.

A branch is played for the K slots that the DCM governs, then for TAIL_SLOTS more than the report delay under the node's
own scheduler, so that what was left waiting counts. Its value is the sum of the slots' rewards (training.rewards) over
K, with the weights of served bits frozen in the branch.

Suffixes: B cells, U seats, N branches, L steps of a DCM, A actions, M RBGs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from policy.allocation import DYNAMIC, Allocation
from policy.engine.leader import allocation_of
from policy.grammar import CONTENDERS, FIRST_CONTENDERS, FIRST_MASK, FIRST_UE, OWNER_OF_TOKEN
from policy.leader_models.transcript import TeacherForcingExample
from policy.leader_models.whole_dcms import teacher_forcing_examples
from training.alternatives import Alternatives, DecidedDcm, Search, find_alternatives
from training.rewards import cell_reward, served_weights
from training.simulator.cell import CellBatch
from training.simulator.distinct import distinct_branches
from training.simulator.plan import NOBODY, Plan, make_plan
from training.simulator.slot_view import Rule
from training.simulator.state import SERVED

TAIL_SLOTS = 3
"""Slots after the DCM's and the report delay in which its consequences still count."""
_OWNERS = np.array([OWNER_OF_TOKEN.get(token, DYNAMIC) for token in range(FIRST_UE)], np.int16)
"""Owner that a token names which is no UE."""
_CONTENDERS = np.array(CONTENDERS)


class Values(NamedTuple):
    """One DCM's value, and what it would have been."""

    steps: TeacherForcingExample
    base: float
    known_LA: NDArray[np.bool_]
    """Which actions were tried; with them the one that was chosen. False throughout a step that was not varied."""
    value_LA: NDArray[np.float64]
    """Value of the DCM with this action at this step, and what must change with it; `base` for what was chosen."""


def evaluate(
    world: CellBatch,
    dcms: Sequence[DecidedDcm],
    search: Search,
    rng: np.random.Generator,
    followers: Rule = "best_response",
    *,
    merge: bool = True,
) -> tuple[list[Values], Plan]:
    """Values of every cell's DCM, to be called at the boundary at which it takes effect; and its plan, to be played.

    The world stays as it is. A UE may have left since the decision: its RBGs are the node's, as the MAC's rule is.
    merge: False plays every branch, to the same values (training.bench).
    """
    lines = teacher_forcing_examples([d.grammar for d in dcms], [d.state for d in dcms], [d.tokens for d in dcms])
    plan = world.plan([_meaning(dcm) for dcm in dcms])
    others = find_alternatives(dcms, lines, search, rng)
    cells_N = np.concatenate((np.arange(len(dcms)), others.cell_N))
    changed = _changed_plan(world, plan, cells_N, dcms, others)
    weights_BU = served_weights(world.state, np.array([dcm.intent.alpha for dcm in dcms]))
    value_N = branch_values(world, cells_N, changed, weights_BU, search.futures, followers, merge=merge)

    values, ends_B = [], np.searchsorted(others.cell_N, np.arange(len(dcms)), side="right").tolist()
    for cell, (line, first, end) in enumerate(zip(lines, [0, *ends_B], ends_B)):
        base, known_LA, value_LA = value_N[cell], np.zeros(line.mask_LA.shape, bool), np.zeros(line.mask_LA.shape)
        step_N, token_N = others.step_N[first:end], others.token_N[first:end]
        chosen_N = line.tokens_L[step_N]
        known_LA[step_N, token_N] = known_LA[step_N, chosen_N] = True
        value_LA[step_N, token_N] = value_N[len(dcms) + first : len(dcms) + end]
        value_LA[step_N, chosen_N] = base
        values.append(Values(line, float(base), known_LA, value_LA))
    return values, plan


def branch_values(
    world: CellBatch,
    cells_N: NDArray[np.int64],
    plan: Plan,
    weights_BU: NDArray[np.float64],
    futures: int = 1,
    followers: Rule = "best_response",
    *,
    merge: bool = True,
) -> NDArray[np.float64]:
    """Play branch n of cell cells_N[n] under row n of `plan`, then the tail; its value, [N], over so many futures.

    All branches of a cell meet the same futures. No more than the world has cells. merge: at K = 1 play those once that
    come to the same transmissions.
    """
    scenario = world.scenario
    futures = min(futures, world.world_cells)
    value_N = np.zeros(len(cells_N))
    rows, place_N = np.arange(len(cells_N)), np.arange(len(cells_N))
    for turn in range(futures):
        future = turn * (world.world_cells // futures)
        if merge and scenario.slots_per_dcm == 1:
            rows, place_N = distinct_branches(world, cells_N, plan, future, followers)
        cells = cells_N[rows]
        branch = world.select(cells, future)
        arrays: list[Any] = [array[rows] for array in plan]
        branch.play(Plan(*arrays), scenario.slots_per_dcm, followers)
        branch.play(None, scenario.report_delay_slots + TAIL_SLOTS, followers)
        served = (branch.state.counters_BUC - world.state.counters_BUC[cells])[:, :, SERVED]
        events = branch.state.events_BE - world.state.events_BE[cells]
        value_N += cell_reward(weights_BU[cells], served, events, scenario.num_rbgs)[place_N]
    return value_N / (scenario.slots_per_dcm * futures)


# ---- what DCMs mean ----


def _meaning(dcm: DecidedDcm) -> Allocation:
    """The allocation of a DCM that is known to be legal."""
    return allocation_of(list(dcm.tokens), dcm.state, dcm.grammar.limits)


def _changed_plan(
    world: CellBatch,
    plan: Plan,
    cells_N: NDArray[np.int64],
    dcms: Sequence[DecidedDcm],
    others: Alternatives,
) -> Plan:
    """The plan of every cell, then that of every alternative."""
    ue_id_BU = world.state.ue_id_BU
    whole_N = len(dcms) + np.array(list(others.allocations), np.int64)
    grants_BG4 = plan.grants_BG4
    other: Plan | None = None
    if len(whole_N):
        allocations = list(others.allocations.values())
        other = make_plan(allocations, ue_id_BU[cells_N[whole_N]], world.scenario.num_rbgs, 0.0)
        grants_BG4 = _widened(grants_BG4, other.grants_BG4.shape[1])
    arrays: list[Any] = [array[cells_N] for array in plan._replace(grants_BG4=grants_BG4)]
    changed = Plan(*arrays)
    _change(changed, dcms, others, ue_id_BU)
    if other is not None:
        other = other._replace(grants_BG4=_widened(other.grants_BG4, grants_BG4.shape[1]))
        for array, source in zip(arrays, other):
            array[whole_N] = source
    return changed


def _change(changed: Plan, dcms: Sequence[DecidedDcm], others: Alternatives, ue_id_BU: NDArray[np.int64]) -> None:
    """Change one owner, or the leftover rule, in every row of an alternative; those of `others.allocations` follow."""
    cell_N, step_N, token_N = others.cell_N, others.step_N, others.token_N
    n_N = np.arange(len(dcms), len(dcms) + len(cell_N))
    single_N = np.ones(len(cell_N), bool)
    single_N[list(others.allocations)] = False

    masks = single_N & (step_N == 0)
    changed.class_mask_B[n_N[masks]] = token_N[masks] - FIRST_MASK
    made = masks & ~np.isnan(others.contenders_N)
    changed.contenders_B[n_N[made]] = others.contenders_N[made]
    eager = single_N & (step_N == 1)
    changed.contenders_B[n_N[eager]] = _CONTENDERS[token_N[eager] - FIRST_CONTENDERS]

    owners = single_N & (step_N > 1)
    first_owner_B = np.array([len(dcm.tokens) - dcm.grammar.num_rbgs for dcm in dcms])
    cell_K, token_K = cell_N[owners], token_N[owners]
    seat_BU = _seats(dcms, ue_id_BU)
    owner_K = _OWNERS[np.minimum(token_K, FIRST_UE - 1)]
    is_ue = token_K >= FIRST_UE
    owner_K[is_ue] = seat_BU[cell_K[is_ue], token_K[is_ue] - FIRST_UE]
    changed.owner_BM[n_N[owners], step_N[owners] - first_owner_B[cell_K]] = owner_K


def _seats(dcms: Sequence[DecidedDcm], ue_id_BU: NDArray[np.int64]) -> NDArray[np.int16]:
    """Where each UE of each DCM sits now, by its row in the DCM; DYNAMIC where it has left."""
    seat_BU = np.full((len(dcms), max((len(d.grammar.ue_ids) for d in dcms), default=0)), DYNAMIC, np.int16)
    for b, dcm in enumerate(dcms):
        sits_UU = np.array(dcm.grammar.ue_ids, np.int64)[:, None] == ue_id_BU[b]
        seat_BU[b, : len(sits_UU)] = np.where(sits_UU.any(axis=1), sits_UU.argmax(axis=1), DYNAMIC)
    return seat_BU


def _widened(grants_BG4: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    missing = max(0, width - grants_BG4.shape[1])
    return np.pad(grants_BG4, ((0, 0), (0, missing), (0, 0)), constant_values=NOBODY)

"""The value that a DCM would have had with one token different, by branching the simulator.

A branch meets the very future of the cell that it was taken from, so the difference between two branches is what the
token did and nothing else. All branches of a batch are played together.

A branch is played for the K slots that the DCM governs, then for TAIL_SLOTS more than the report delay under the node's
own scheduler, so that what was left waiting counts. Its value is the sum of the slots' rewards (training.rewards) over
K, with the weights of served bits frozen in the branch.

Suffixes: B cells, U seats, N branches, L steps of a DCM, A actions, M RBGs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from policy.allocation import DYNAMIC, Allocation
from policy.cell_state import CellState
from policy.grammar import (
    CONTENDERS,
    END_GRANTS,
    FIRST_CONTENDERS,
    FIRST_MASK,
    FIRST_RBG,
    FIRST_UE,
    OWNER_OF_TOKEN,
    Grammar,
    GrammarError,
)
from policy.intent import Intent
from policy.leader_models.transcript import TeacherForcingExample, teacher_forcing_example
from training.rewards import cell_reward, served_weights
from training.simulator.cell import CellBatch
from training.simulator.plan import NOBODY, Plan, make_plan
from training.simulator.slot_view import Rule
from training.simulator.state import SERVED

TAIL_SLOTS = 3
"""Slots after the DCM's and the report delay in which its consequences still count."""


@dataclass(frozen=True, slots=True)
class Search:
    """Which tokens to try another one for. The class mask and the contenders are always among them."""

    owner_steps: int | None = None
    """RBGs of a DCM whose owner is varied, drawn anew for each; None = all."""
    owners_per_step: int | None = None
    """UEs tried as the owner of such an RBG, besides OPEN, DYNAMIC and IDLE; None = all."""
    grants: int = 4
    """Periodic grants left out, and put in, at most so many of each."""
    futures: int = 1
    """Futures that every branch is played in: the cell's own, and those of other cells of its batch from here on. Each
    is as likely, and at K = 1 two thirds of a value's variance are the future's: four halve the noise."""


class DecidedDcm(NamedTuple):
    """One cell's DCM, as it was decided, and what it was decided on."""

    state: CellState
    intent: Intent
    grammar: Grammar
    tokens: tuple[int, ...]


class Values(NamedTuple):
    """One DCM's value, and what it would have been."""

    steps: TeacherForcingExample
    base: float
    known_LA: NDArray[np.bool_]
    """Which actions were tried; with them the one that was chosen. False throughout a step that was not varied."""
    value_LA: NDArray[np.float64]
    """Value of the DCM with this action at this step, and what must change with it; `base` for what was chosen."""


class Alternative(NamedTuple):
    """One DCM with one action different."""

    cell: int
    step: int
    token: int
    contenders: float | None = None
    """The leftover rule's c, where the class mask makes it change."""
    allocation: Allocation | None = None
    """The whole allocation, where more than one owner or the leftover rule differs."""


def evaluate(
    world: CellBatch,
    dcms: Sequence[DecidedDcm],
    search: Search,
    rng: np.random.Generator,
    followers: Rule = "best_response",
) -> tuple[list[Values], Plan]:
    """Values of every cell's DCM, to be called at the boundary at which it takes effect; and its plan, to be played.

    The world stays as it is. A UE may have left since the decision: its RBGs are the node's, as the MAC's rule is.
    """
    lines = [teacher_forcing_example(s.grammar, s.state, s.tokens) for s in dcms]
    allocations = [s.grammar.allocation(s.tokens) for s in dcms]
    plan = world.plan(allocations)
    alternatives = [
        a for cell, (s, line) in enumerate(zip(dcms, lines)) for a in _alternatives(cell, s, line, search, rng)
    ]
    cells_N = np.array([*range(len(dcms)), *(a.cell for a in alternatives)], np.int64)
    changed = _changed_plan(world, plan, cells_N, dcms, alternatives)
    weights_BU = served_weights(world.state, np.array([s.intent.alpha for s in dcms]))
    value_N = branch_values(world, cells_N, changed, weights_BU, search.futures, followers)

    values = []
    for cell, line in enumerate(lines):
        known_LA = np.zeros(line.mask_LA.shape, bool)
        value_LA = np.zeros(line.mask_LA.shape)
        values.append(Values(line, float(value_N[cell]), known_LA, value_LA))
    for alternative, value in zip(alternatives, value_N[len(dcms) :]):
        cell, step, token = alternative[:3]
        _, base, known_LA, value_LA = values[cell]
        chosen = lines[cell].tokens_L[step]
        known_LA[step, [token, chosen]] = True
        value_LA[step, token], value_LA[step, chosen] = value, base
    return values, plan


def branch_values(
    world: CellBatch,
    cells_N: NDArray[np.int64],
    plan: Plan,
    weights_BU: NDArray[np.float64],
    futures: int = 1,
    followers: Rule = "best_response",
) -> NDArray[np.float64]:
    """Play branch n of cell cells_N[n] under row n of `plan`, then the tail; its value, [N], over so many futures.

    All branches of a cell meet the same futures. No more than the world has cells.
    """
    scenario = world.scenario
    futures = min(futures, world.world_cells)
    before_NUC, before_NE = world.state.counters_BUC[cells_N], world.state.events_BE[cells_N]
    value_N = np.zeros(len(cells_N))
    for future in range(futures):
        branch = world.select(cells_N, future * (world.world_cells // futures))
        branch.play(plan, scenario.slots_per_dcm, followers)
        branch.play(None, scenario.report_delay_slots + TAIL_SLOTS, followers)
        served_NU = (branch.state.counters_BUC - before_NUC)[:, :, SERVED]
        events_NE = branch.state.events_BE - before_NE
        value_N += cell_reward(weights_BU[cells_N], served_NU, events_NE, scenario.num_rbgs)
    return value_N / (scenario.slots_per_dcm * futures)


# ---- which DCMs ----


def _alternatives(
    cell: int, dcm: DecidedDcm, line: TeacherForcingExample, search: Search, rng: np.random.Generator
) -> Iterator[Alternative]:
    """Every legal DCM that differs from the decided one in one action, as far as `search` goes."""
    first_owner = len(dcm.tokens) - dcm.grammar.num_rbgs
    varied = np.arange(first_owner, len(dcm.tokens))
    if search.owner_steps is not None and search.owner_steps < len(varied):
        varied = np.sort(rng.choice(varied, search.owner_steps, replace=False))
    yield from _leftover_rules(cell, dcm, line, rng)
    if dcm.grammar.max_grants:
        yield from _without_a_ues_grants(cell, dcm, search, rng)
        yield from _with_one_more_grant(cell, dcm, line, search, rng)
    for step in varied.tolist():
        yield from _owners(cell, dcm, line, step, search, rng)


def _others(line: TeacherForcingExample, step: int) -> NDArray[np.int64]:
    """Legal actions of a step but the one that was chosen."""
    legal = np.flatnonzero(line.mask_LA[step])
    return legal[legal != line.tokens_L[step]]


def _leftover_rules(
    cell: int, dcm: DecidedDcm, line: TeacherForcingExample, rng: np.random.Generator
) -> Iterator[Alternative]:
    silent = dcm.tokens[0] == FIRST_MASK
    for token in _others(line, 0).tolist():
        contenders = None
        if token == FIRST_MASK:
            contenders = 0.0
        elif silent:  # a rule that lets a class contend needs to be eager by some c
            contenders = CONTENDERS[int(rng.integers(1, len(CONTENDERS)))]
        yield Alternative(cell, 0, token, contenders)
    for token in _others(line, 1).tolist():
        yield Alternative(cell, 1, token)


def _owners(
    cell: int, dcm: DecidedDcm, line: TeacherForcingExample, step: int, search: Search, rng: np.random.Generator
) -> Iterator[Alternative]:
    others = _others(line, step)
    ues = others[others >= FIRST_UE]
    if search.owners_per_step is not None and search.owners_per_step < len(ues):
        ues = rng.choice(ues, search.owners_per_step, replace=False)
    limited = dcm.grammar.limits.any
    for token in (*others[others < FIRST_UE].tolist(), *ues.tolist()):
        # Without caps and floors no owner makes another illegal.
        if not limited or _allocation(dcm, [*dcm.tokens[:step], token, *dcm.tokens[step + 1 :]]) is not None:
            yield Alternative(cell, step, token)


def _grants(dcm: DecidedDcm) -> list[int]:
    """Steps at which a periodic grant's UE was chosen."""
    return list(range(2, len(dcm.tokens) - dcm.grammar.num_rbgs - 1, 2))


def _without_a_ues_grants(
    cell: int, dcm: DecidedDcm, search: Search, rng: np.random.Generator
) -> Iterator[Alternative]:
    """Leave out a UE's periodic grants: in place of its first comes what followed the last."""
    steps, tokens = _grants(dcm), dcm.tokens
    first_of = {tokens[step]: step for step in reversed(steps)}
    ues = rng.permutation(list(first_of)).tolist() if first_of else []
    for ue in ues[: search.grants]:
        step = first_of[ue]
        after = next((s for s in steps if s > step and tokens[s] != ue), steps[-1] + 2)
        allocation = _allocation(dcm, [*tokens[:step], *tokens[after:]])
        if allocation is not None:
            yield Alternative(cell, step, tokens[after], allocation=allocation)


def _with_one_more_grant(
    cell: int, dcm: DecidedDcm, line: TeacherForcingExample, search: Search, rng: np.random.Generator
) -> Iterator[Alternative]:
    """Put in a periodic grant on some RBG, before the one that was chosen or at the end."""
    places = [
        (step, token)
        for step in (*_grants(dcm), len(dcm.tokens) - dcm.grammar.num_rbgs - 1)
        for token in _others(line, step).tolist()
        if token != END_GRANTS and (token < line.tokens_L[step] or line.tokens_L[step] == END_GRANTS)
    ]
    for place in rng.permutation(len(places))[: search.grants].tolist():
        step, token = places[place]
        for rbg in rng.permutation(dcm.grammar.num_rbgs).tolist():
            allocation = _allocation(dcm, [*dcm.tokens[:step], token, FIRST_RBG + rbg, *dcm.tokens[step:]])
            if allocation is not None:
                yield Alternative(cell, step, token, allocation=allocation)
                break


def _allocation(dcm: DecidedDcm, tokens: Sequence[int]) -> Allocation | None:
    """None where the grammar does not allow it."""
    try:
        return dcm.grammar.allocation(tokens)
    except GrammarError:
        return None


# ---- what they mean ----


def _changed_plan(
    world: CellBatch,
    plan: Plan,
    cells_N: NDArray[np.int64],
    dcms: Sequence[DecidedDcm],
    alternatives: Sequence[Alternative],
) -> Plan:
    """The plan of every cell, then that of every alternative."""
    ue_id_BU = world.state.ue_id_BU
    whole = [(n, a) for n, a in enumerate(alternatives, len(dcms)) if a.allocation is not None]
    grants_BG4 = plan.grants_BG4
    other: Plan | None = None
    if whole:
        rows = [a.cell for _, a in whole]
        other = make_plan([a.allocation for _, a in whole], ue_id_BU[rows], world.scenario.num_rbgs, 0.0)
        grants_BG4 = _widened(grants_BG4, other.grants_BG4.shape[1])
    arrays: list[Any] = [array[cells_N] for array in plan._replace(grants_BG4=grants_BG4)]
    changed = Plan(*arrays)
    if other is not None:
        other = other._replace(grants_BG4=_widened(other.grants_BG4, grants_BG4.shape[1]))
        for array, source in zip(arrays, other):
            array[[n for n, _ in whole]] = source
    for n, alternative in enumerate(alternatives, len(dcms)):
        if alternative.allocation is None:
            _change(changed, n, alternative, dcms[alternative.cell], ue_id_BU[alternative.cell])
    return changed


def _change(changed: Plan, n: int, alternative: Alternative, dcm: DecidedDcm, ue_id_U: NDArray[np.int64]) -> None:
    """Change one owner, or the leftover rule, of row n."""
    token = alternative.token
    if alternative.step == 0:
        changed.class_mask_B[n] = token - FIRST_MASK
        if alternative.contenders is not None:
            changed.contenders_B[n] = alternative.contenders
    elif alternative.step == 1:
        changed.contenders_B[n] = CONTENDERS[token - FIRST_CONTENDERS]
    else:
        rbg = alternative.step - (len(dcm.tokens) - dcm.grammar.num_rbgs)
        owner = OWNER_OF_TOKEN.get(token)
        if owner is None:
            seats = np.flatnonzero(ue_id_U == dcm.grammar.ue_ids[token - FIRST_UE])
            owner = int(seats[0]) if len(seats) else DYNAMIC
        changed.owner_BM[n, rbg] = owner


def _widened(grants_BG4: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    missing = max(0, width - grants_BG4.shape[1])
    return np.pad(grants_BG4, ((0, 0), (0, missing), (0, 0)), constant_values=NOBODY)

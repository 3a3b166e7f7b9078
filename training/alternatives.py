"""Which DCMs to compare a decided one with: each differs from it in one action.

Suffixes: B cells, U UEs of a cell, N alternatives, L steps of a DCM, A actions, M RBGs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from policy.allocation import Allocation
from policy.cell_state import CellState
from policy.grammar import (
    CONTENDERS,
    END_GRANTS,
    FIRST_MASK,
    FIRST_RBG,
    FIRST_UE,
    Grammar,
    GrammarError,
)
from policy.intent import Intent
from policy.leader_models.transcript import TeacherForcingExample
from policy.leader_models.whole_dcms import HEADER
from policy.limits import Limits


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


class Alternative(NamedTuple):
    """One DCM with one action different."""

    cell: int
    step: int
    token: int
    contenders: float | None = None
    """The leftover rule's c, where the class mask makes it change."""
    allocation: Allocation | None = None
    """The whole allocation, where more than one owner or the leftover rule differs."""


class Alternatives(NamedTuple):
    """Those of many cells, cell by cell, a row each."""

    cell_N: NDArray[np.int64]
    step_N: NDArray[np.int64]
    token_N: NDArray[np.int64]
    contenders_N: NDArray[np.float64]
    """NaN = unchanged."""
    allocations: dict[int, Allocation]
    """Of the rows of which more than one owner or the leftover rule differs."""


def find_alternatives(
    dcms: Sequence[DecidedDcm], lines: Sequence[TeacherForcingExample], search: Search, rng: np.random.Generator
) -> Alternatives:
    """Every legal DCM that differs from a decided one in one action, as far as `search` goes."""
    rows: list[tuple[NDArray[np.int64], ...]] = []
    contenders: list[NDArray[np.float64]] = []
    allocations: dict[int, Allocation] = {}
    count = 0
    for cell, (dcm, line) in enumerate(zip(dcms, lines)):
        if _all_at_once(dcm, search):
            step_N, token_N, contenders_N = _of_cell(dcm, line, rng)
        else:
            one_by_one = list(_one_by_one(cell, dcm, line, search, rng))
            step_N = np.array([a.step for a in one_by_one], np.int64)
            token_N = np.array([a.token for a in one_by_one], np.int64)
            contenders_N = np.array([np.nan if a.contenders is None else a.contenders for a in one_by_one])
            allocations |= {count + n: a.allocation for n, a in enumerate(one_by_one) if a.allocation is not None}
        rows.append((np.full(len(step_N), cell, np.int64), step_N, token_N))
        contenders.append(contenders_N)
        count += len(step_N)
    cell_N, step_N, token_N = (np.concatenate(columns) for columns in zip(*rows))
    return Alternatives(cell_N, step_N, token_N, np.concatenate(contenders), allocations)


def _all_at_once(dcm: DecidedDcm, search: Search) -> bool:
    """Every owner of every RBG is tried, there is nothing else to try, and no owner changes another's."""
    every_step = search.owner_steps is None or search.owner_steps >= dcm.grammar.num_rbgs
    every_owner = search.owners_per_step is None or search.owners_per_step >= len(dcm.grammar.ue_ids)
    return every_step and every_owner and not dcm.grammar.max_grants and not _pays_floors(dcm)


def _pays_floors(dcm: DecidedDcm) -> bool:
    """Whether RBGs that are left DYNAMIC go to who is still owed one: then one owner may change others."""
    return dcm.grammar.options.allow_dynamic and dcm.grammar.limits.needed > 0


def _of_cell(
    dcm: DecidedDcm, line: TeacherForcingExample, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Step, token and contenders of every alternative of one cell."""
    other_LA = line.mask_LA.copy()
    other_LA[np.arange(len(line.tokens_L)), line.tokens_L] = False
    other_LA[HEADER - 1] = False
    step_N, token_N = np.nonzero(other_LA)
    contenders_N = np.full(len(step_N), np.nan)
    masks = int(np.searchsorted(step_N, 1))
    if dcm.tokens[0] != FIRST_MASK:
        contenders_N[:masks][token_N[:masks] == FIRST_MASK] = 0.0
    elif masks:  # a rule that lets a class contend needs to be eager by some c
        contenders_N[:masks] = np.array(CONTENDERS)[rng.integers(1, len(CONTENDERS), size=masks)]
    if dcm.grammar.limits.any:
        kept_N = keeps_limits(dcm.grammar.limits, line.tokens_L[HEADER:], step_N - HEADER, token_N)
        step_N, token_N, contenders_N = step_N[kept_N], token_N[kept_N], contenders_N[kept_N]
    return step_N, token_N, contenders_N


def keeps_limits(
    limits: Limits, owners_M: NDArray[np.int64], rbg_N: NDArray[np.int64], token_N: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Whether the owners keep caps and floors with RBG rbg_N[n] going to token_N[n], which its mask allows; True for a
    negative RBG, which is none. Owners are tokens, without periodic grants."""
    ues = len(limits.cap_U)
    own_N = rbg_N >= 0
    count_NU = np.zeros((len(rbg_N), ues), np.int64)
    count_NU += np.bincount(owners_M[owners_M >= FIRST_UE] - FIRST_UE, minlength=ues)
    before_N = owners_M[rbg_N]
    for tokens, change in ((before_N, -1), (token_N, 1)):
        rows = np.flatnonzero(own_N & (tokens >= FIRST_UE))
        count_NU[rows, tokens[rows] - FIRST_UE] += change
    kept_N = ((count_NU <= limits.cap_U) & (count_NU >= limits.floor_U)).all(axis=1)
    if limits.slice_of_U.size:
        for row, (most, least) in enumerate(zip(limits.slice_cap_S.tolist(), limits.slice_floor_S.tolist())):
            count_N = count_NU[:, limits.slice_of_U == row].sum(axis=1)
            kept_N &= (count_N <= most) & (count_N >= least)
    return np.asarray(kept_N | ~own_N)


def _one_by_one(
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
        if not limited:  # without caps and floors no owner makes another illegal
            yield Alternative(cell, step, token)
            continue
        allocation = allocation_of(dcm, [*dcm.tokens[:step], token, *dcm.tokens[step + 1 :]])
        if allocation is not None:
            yield Alternative(cell, step, token, allocation=allocation if _pays_floors(dcm) else None)


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
        allocation = allocation_of(dcm, [*tokens[:step], *tokens[after:]])
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
            allocation = allocation_of(dcm, [*dcm.tokens[:step], token, FIRST_RBG + rbg, *dcm.tokens[step:]])
            if allocation is not None:
                yield Alternative(cell, step, token, allocation=allocation)
                break


def allocation_of(dcm: DecidedDcm, tokens: Sequence[int]) -> Allocation | None:
    """None where the grammar does not allow it."""
    try:
        return dcm.grammar.allocation(tokens)
    except GrammarError:
        return None

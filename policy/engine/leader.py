"""The compiled model as a Leader."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from policy.allocation import Allocation, LeftoverRule, PeriodicGrant
from policy.cell_state import CellState
from policy.engine.decide import decide_cells
from policy.engine.memory import CELL_COLUMNS, Workspace
from policy.engine.model import PackedModel
from policy.engine.scoring import step_log_probs
from policy.engine.tables import UE_COLUMNS
from policy.grammar import (
    CONTENDERS,
    FIRST_CONTENDERS,
    FIRST_MASK,
    FIRST_RBG,
    FIRST_UE,
    MAX_RBGS,
    GrammarError,
    compile_grammar,
    owners_of,
)
from policy.intent import Intent
from policy.leader import Decision
from policy.leader_models.token_probabilities import TokenProbabilities, token_probabilities_of
from policy.limits import Limits, compile_limits
from policy.shipped import EXPIRED, draws

COLUMNS = tuple(f"{name}_U" for name in UE_COLUMNS)
MAX_BLOCKS = 1024
"""Blocks of one call: more cells are decided in several, and between them it is asked whether anybody still waits."""


class Drawn(NamedTuple):
    """One DCM's tokens."""

    tokens: tuple[int, ...]
    log_probs: NDArray[np.float64]


class EngineLeader:
    """One packed model under the grammar of its operating point: its likeliest tokens, or drawn by probability."""

    def __init__(self, model: PackedModel, name: str = "model", *, sampling_seed: int | None = None) -> None:
        """sampling_seed: None = greedy."""
        self.name = name
        self.model = model
        self.options = model.grammar
        self.sampling_seed = sampling_seed
        self._free: list[Workspace] = []

    def sampled(self, seed: int) -> EngineLeader:
        """The same leader with sampled decoding; the weights are shared."""
        return EngineLeader(self.model, self.name, sampling_seed=seed)

    def prepare(self, *, may_compile: bool = True) -> None:
        """Have the machine code. Raises NotCompiled if it is in no cache and is not to be compiled here."""
        with self._workspace() as workspace:
            decide_cells.prepare(self._arguments(workspace, 0, 0), may_compile=may_compile)

    def decide(
        self, states: Sequence[CellState], intents: Sequence[Intent], expired: Callable[[], bool]
    ) -> list[Decision]:
        """One decision per state. Raises GrammarError for a cell of more than 18 RBGs."""
        decisions: list[Decision] = []
        while len(decisions) < len(states):
            first = len(decisions)
            if expired():
                return decisions + [self._cut_short(s, i) for s, i in zip(states[first:], intents[first:])]
            end = self._end_of_call(states, first)
            decisions += self._decide(states[first:end], intents[first:end])
        return decisions

    def draw(
        self,
        states: Sequence[CellState],
        intents: Sequence[Intent],
        limits: Sequence[Limits],
        uniforms_BL: NDArray[np.float64] | None = None,
    ) -> list[Drawn]:
        """Tokens alone, by draws that are handed over, one a step of the longest DCM; None = the likeliest ones."""
        found: list[Drawn] = []
        while len(found) < len(states):
            part = slice(len(found), self._end_of_call(states, len(found)))
            uniforms = None if uniforms_BL is None else uniforms_BL[part]
            found += self._draw(states[part], intents[part], limits[part], uniforms)
        return found

    def _end_of_call(self, states: Sequence[CellState], first: int) -> int:
        """The end of the cells from `first` on that one call decides."""
        end, blocks = first + 1, states[first].num_ues + 1
        while end < len(states) and blocks + states[end].num_ues < MAX_BLOCKS:
            blocks += states[end].num_ues + 1
            end += 1
        return end

    def token_probabilities(self, state: CellState, intent: Intent, tokens: Sequence[int]) -> TokenProbabilities:
        """How likely every alternative was, for a DCM that this leader decoded
        (policy.leader_models.token_probabilities.HasTokenProbabilities)."""
        grammar = compile_grammar(state, intent, self.options)
        log_probs_LA = step_log_probs(self.model, grammar, state, intent, tokens)
        return token_probabilities_of(grammar, self.model.layout, tokens, log_probs_LA)

    def _decide(self, states: Sequence[CellState], intents: Sequence[Intent]) -> list[Decision]:
        limits = [compile_limits(state, intent) for state, intent in zip(states, intents)]
        uniforms_BL = None
        if self.sampling_seed is not None:
            uniforms_BL = np.array([draws(self.sampling_seed, state, self.model.max_steps) for state in states])
        drawn = self._draw(states, intents, limits, uniforms_BL)
        return [_decision(state, limit, one) for state, limit, one in zip(states, limits, drawn)]

    def _draw(
        self,
        states: Sequence[CellState],
        intents: Sequence[Intent],
        limits: Sequence[Limits],
        uniforms_BL: NDArray[np.float64] | None,
    ) -> list[Drawn]:
        with self._workspace() as workspace:
            self._hand_over(workspace, states, intents, limits)
            cells = workspace.cells
            if uniforms_BL is not None:
                width = min(uniforms_BL.shape[1], workspace.max_steps)
                cells.uniforms_BL[: len(states), :width] = uniforms_BL[:, :width]
            decide_cells.run(*self._arguments(workspace, len(states), int(uniforms_BL is not None)))
            cells = workspace.cells
            return [
                Drawn(tuple(cells.tokens_BL[b, :length].tolist()), cells.log_probs_BL[b, :length].copy())
                for b, length in enumerate(cells.length_B[: len(states)].tolist())
            ]

    def _arguments(self, workspace: Workspace, count: int, sampled: int) -> tuple[object, ...]:
        model = self.model
        return (
            model.sizes,
            model.weights,
            model.tables,
            model.options,
            workspace.memory,
            workspace.cells,
            count,
            sampled,
        )

    def _hand_over(
        self, workspace: Workspace, states: Sequence[CellState], intents: Sequence[Intent], limits: Sequence[Limits]
    ) -> None:
        """Copy the cells' columns to where compiled code finds them."""
        workspace.reserve(len(states), sum(state.num_ues for state in states))
        workspace.reserve_slices(sum(len(limit.slice_cap_S) for limit in limits))
        cells, options = workspace.cells, self.options
        first = first_slice = 0
        for b, (state, intent, limit) in enumerate(zip(states, intents, limits)):
            num_rbgs, ues, slices = state.num_rbgs, state.num_ues, len(limit.slice_cap_S)
            if not 1 <= num_rbgs <= MAX_RBGS:
                raise GrammarError(f"num_rbgs is {num_rbgs}, expected 1 to {MAX_RBGS}")
            end = first + ues
            sure = options.allow_open or options.allow_dynamic
            sure = sure or (options.allow_ue_grants and not bool(limit.capped_U.all()))
            row = (num_rbgs, ues, first, state.slots_per_dcm, sure, slices, first_slice)
            assert len(row) == CELL_COLUMNS
            cells.numbers_BC[b] = row
            cells.alpha_B[b] = intent.alpha
            for column, name in zip(cells.ues_CN, COLUMNS):
                column[first:end] = getattr(state, name)
            cells.last_cqi_NM[first:end, :num_rbgs] = state.last_cqi_UM
            cells.last_cqi_age_NM[first:end, :num_rbgs] = state.last_cqi_age_slots_UM
            cells.outcome_BM[b, :num_rbgs] = state.last_outcome_M
            cells.cap_N[first:end], cells.floor_N[first:end] = limit.cap_U, limit.floor_U
            cells.slice_N[first:end] = limit.slice_of_U if limit.slice_of_U.size else -1
            cells.slice_cap_S[first_slice : first_slice + slices] = limit.slice_cap_S
            cells.slice_floor_S[first_slice : first_slice + slices] = limit.slice_floor_S
            first, first_slice = end, first_slice + slices

    @contextmanager
    def _workspace(self) -> Iterator[Workspace]:
        """One that no other thread uses now."""
        try:
            workspace = self._free.pop()
        except IndexError:
            workspace = self.model.workspace()
        try:
            yield workspace
        finally:
            self._free.append(workspace)

    def _cut_short(self, state: CellState, intent: Intent) -> Decision:
        """Nobody waits any more: the first legal token of each step."""
        cursor = compile_grammar(state, intent, self.options).start()
        while not cursor.done:
            cursor.advance(int(cursor.mask().argmax()))
        unknown = np.full(len(cursor.tokens), np.nan)
        return Decision(cursor.allocation(), tuple(cursor.tokens), unknown, "model", EXPIRED)


def _decision(state: CellState, limits: Limits, drawn: Drawn) -> Decision:
    return Decision(allocation_of(list(drawn.tokens), state, limits), drawn.tokens, drawn.log_probs, "model")


def allocation_of(tokens: list[int], state: CellState, limits: Limits) -> Allocation:
    """What a DCM means that is known to be legal (policy.grammar.Grammar.allocation says it of any)."""
    first_owner = len(tokens) - state.num_rbgs
    grants = []
    for i in range(2, first_owner - 1, 2):
        ue, rbg = tokens[i] - FIRST_UE, tokens[i + 1] - FIRST_RBG
        period, phase = state.arrival_period_slots_U[ue], state.arrival_phase_slots_U[ue]
        grants.append(PeriodicGrant(ue, rbg, int(period), int(phase)))
    leftover = LeftoverRule(tokens[0] - FIRST_MASK, CONTENDERS[tokens[1] - FIRST_CONTENDERS])
    owner_M = owners_of(tokens[first_owner:], state, limits, tuple(grants))
    return limits.allocation(state.ue_ids, owner_M, leftover, tuple(grants))

"""The protocol action grammar switched off: every token may be chosen at every step, and an illegal one loses the DCM.

A FreeGrammar stands wherever a Grammar does: decoding, scoring and training then compute the unmasked distribution with
the code that computes the masked one. What is illegal is still the grammar's own word. After an illegal token the DCM
goes on with the first legal one, so that it has an end, but the DCM is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from policy.allocation import Allocation
from policy.cell_state import CellState
from policy.grammar import Cursor, Grammar, GrammarOptions, StepKind, compile_grammar
from policy.intent import Intent
from training.simulator.cell import CellBatch
from training.simulator.lease import BatchSchedule
from training.simulator.metrics import CellMetrics
from training.simulator.scenario import Scenario

if TYPE_CHECKING:
    from policy.leader_models.leader_network import LeaderNetwork


class FreeGrammar:
    """A Grammar that forbids nothing and remembers what it should have forbidden."""

    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar
        self.num_rbgs = grammar.num_rbgs
        self.num_actions = grammar.num_actions
        self.max_tokens = grammar.max_tokens
        self.max_grants = grammar.max_grants
        self.illegal_tokens = 0
        """Illegal tokens of the last DCM."""

    def start(self) -> FreeCursor:
        return FreeCursor(self)


class FreeCursor:
    """One DCM being decoded without a grammar."""

    def __init__(self, free: FreeGrammar) -> None:
        self._free = free
        self._cursor: Cursor = free.grammar.start()
        self._illegal = 0
        self.tokens = self._cursor.tokens
        """With the legal token that stood in for an illegal one."""

    @property
    def done(self) -> bool:
        return self._cursor.done

    @property
    def step_kind(self) -> StepKind:
        return self._cursor.step_kind

    @property
    def rbg(self) -> int:
        return self._cursor.rbg

    def mask(self) -> NDArray[np.bool_]:
        return np.full(self._free.num_actions, not self.done)

    def advance(self, token: int) -> None:
        legal_A = self._cursor.mask()
        if not legal_A[token]:
            self._illegal += 1
            token = int(legal_A.argmax())
        self._cursor.advance(token)

    def allocation(self) -> Allocation:
        """What the stand-ins mean: nobody should play it where anything was illegal."""
        self._free.illegal_tokens = self._illegal
        return self._cursor.allocation()


def free(grammar: Grammar) -> Grammar:
    """`grammar` switched off, for whatever asks for a Grammar."""
    return cast(Grammar, FreeGrammar(grammar))


class Freedom(NamedTuple):
    """How a run went in which the leader's tokens were taken as they came."""

    cells: list[CellMetrics]
    decisions: int
    lost: int
    """Decisions with at least one illegal token: the node got nothing."""
    tokens: int
    illegal_tokens: int


def replay_freely(
    model: LeaderNetwork,
    options: GrammarOptions,
    scenario: Scenario,
    *,
    masked: bool,
    sampled: bool,
    ues: int,
    cells: int,
    seed: int,
    periods: int,
) -> Freedom:
    """As training.replay.replay, with or without the grammar's masks.

    A lost decision is no control: the one before governs until its lease ends, then the node schedules for itself.
    """
    world = CellBatch(scenario, cells, ues, seed)
    schedule = BatchSchedule(scenario, cells)
    rng = np.random.default_rng([seed, 1])
    decisions = lost = tokens = illegal = 0
    for _ in range(periods):
        decoded = _decode(model, world.observe(), options, masked, rng if sampled else None)
        for _, length, wrong in decoded:
            decisions, tokens, illegal = decisions + 1, tokens + length, illegal + wrong
            lost += wrong > 0
        schedule.offer([None if wrong else allocation for allocation, _, wrong in decoded], world.slot)
        world.play(schedule.governing(world.slot), scenario.slots_per_dcm)
    return Freedom(world.metrics(), decisions, lost, tokens, illegal)


def _decode(
    model: LeaderNetwork,
    states: Sequence[CellState],
    options: GrammarOptions,
    masked: bool,
    rng: np.random.Generator | None,
) -> list[tuple[Allocation, int, int]]:
    """Per cell: the allocation, its tokens, and how many of them were illegal."""
    intents = [Intent()] * len(states)
    strict = [compile_grammar(s, i, options) for s, i in zip(states, intents)]
    grammars = strict if masked else [free(g) for g in strict]
    uniforms_BL = None if rng is None else rng.random((len(states), max(g.max_tokens for g in strict)))
    dcms = model.decode(states, intents, grammars, uniforms_BL=uniforms_BL)
    wrong = [0 if masked else cast(FreeGrammar, g).illegal_tokens for g in grammars]
    return [(s.allocation, len(s.tokens), w) for s, w in zip(dcms, wrong)]

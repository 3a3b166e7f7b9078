"""The probabilities behind a decoded DCM: the exact distribution at each step, and why tokens were masked.

What a leader decides is a function of state and intent, so this can be worked out whenever somebody asks. Suffixes:
U = UEs, L = steps, A = actions (tokens).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from policy.cell_state import CellState
from policy.grammar import (
    DYNAMIC_TOKEN,
    FIRST_RBG,
    FIRST_UE,
    IDLE_TOKEN,
    OPEN_TOKEN,
    Grammar,
    GrammarOptions,
    StepKind,
    compile_grammar,
)
from policy.intent import Intent
from policy.limits import NO_SLICE, Limits

if TYPE_CHECKING:
    from policy.leader_models.leader_network import Layout, LeaderNetwork


class MaskReason(StrEnum):
    """Why a token could not be chosen."""

    LANGUAGE = "language"
    """The leader's DCMs never hold it: GrammarOptions."""
    CAP = "cap"
    """The UE holds as many RBGs as its cap allows."""
    SLICE_CAP = "slice_cap"
    """The UE's slice does."""
    FLOORS = "floors"
    """Every RBG that is left is owed to somebody's floor."""
    LIMIT = "limit"
    """Some other limit of the operator's."""


class StepProbabilities(NamedTuple):
    """One step of a DCM."""

    kind: StepKind
    rbg: int
    """Whose owner is asked; -1 in other steps."""
    token: int
    """The token that was chosen."""
    log_probs_A: NDArray[np.float64]
    """Log-probability of every action, [A]; -inf where it was masked."""
    masked: Mapping[int, MaskReason]
    """Owner steps only: the tokens that were masked, and why."""


class TokenProbabilities(NamedTuple):
    """A whole DCM."""

    steps: tuple[StepProbabilities, ...]
    grammar: Grammar
    layout: Layout
    """How the model was shown the cell."""

    @property
    def log_probs_L(self) -> NDArray[np.float64]:
        """Log-probability of the token that was chosen at each step, [L]."""
        return np.array([step.log_probs_A[step.token] for step in self.steps])


@runtime_checkable
class HasTokenProbabilities(Protocol):
    """A leader that knows how likely every alternative was."""

    def token_probabilities(self, state: CellState, intent: Intent, tokens: Sequence[int]) -> TokenProbabilities:
        """The probabilities behind a DCM of this leader. Raises GrammarError for tokens that it cannot have chosen."""
        ...


def compute_token_probabilities(
    model: LeaderNetwork, options: GrammarOptions, state: CellState, intent: Intent, tokens: Sequence[int]
) -> TokenProbabilities:
    """One forward of a torch model over the whole DCM.

    Raises GrammarError for tokens that are no DCM of this cell under this intent.
    """
    import torch

    from policy.leader_models.leader_network import masked_log_softmax
    from policy.leader_models.transcript import teacher_forcing_batch, teacher_forcing_example

    grammar = compile_grammar(state, intent, options)
    example = teacher_forcing_example(grammar, state, tokens)
    with torch.inference_mode():
        logits = model.teacher_forcing_logits(model.layout.encode([state], [intent]), teacher_forcing_batch([example]))
        mask = torch.from_numpy(example.mask_LA).to(logits.device)
        log_probs_LA = masked_log_softmax(logits[0].double(), mask).cpu().numpy()
    return token_probabilities_of(grammar, model.layout, tokens, log_probs_LA)


def token_probabilities_of(
    grammar: Grammar, layout: Layout, tokens: Sequence[int], log_probs_LA: NDArray[np.float64]
) -> TokenProbabilities:
    """What each step's distribution, [L, A], is of, and why what was masked was. layout: the model's."""
    steps = [
        StepProbabilities(kind, rbg, int(token), log_probs_A, masked)
        for (kind, rbg, masked), token, log_probs_A in zip(_walk(grammar, tokens), tokens, log_probs_LA)
    ]
    return TokenProbabilities(tuple(steps), grammar, layout)


def _walk(grammar: Grammar, tokens: Sequence[int]) -> list[tuple[StepKind, int, dict[int, MaskReason]]]:
    """Each step's kind, RBG and what was masked in it."""
    cursor = grammar.start()
    held: list[set[int]] = [set() for _ in grammar.ue_ids]
    """The RBGs that each UE owns or has a periodic grant on."""
    steps = []
    for token in tokens:
        kind, rbg = cursor.step_kind, cursor.rbg
        masked = _masked_owners(grammar, cursor.mask(), held) if kind is StepKind.OWNER else {}
        steps.append((kind, rbg, masked))
        if kind is StepKind.OWNER and token >= FIRST_UE:
            held[token - FIRST_UE].add(rbg)
        elif kind is StepKind.GRANT_RBG:
            held[cursor.tokens[-1] - FIRST_UE].add(token - FIRST_RBG)
        cursor.advance(int(token))
    return steps


def _masked_owners(grammar: Grammar, mask_A: NDArray[np.bool_], held: list[set[int]]) -> dict[int, MaskReason]:
    options = grammar.options
    allowed = {
        OPEN_TOKEN: options.allow_open,
        DYNAMIC_TOKEN: options.allow_dynamic,
        IDLE_TOKEN: options.allow_idle,
    }
    masked = {
        token: MaskReason.FLOORS if chosen else MaskReason.LANGUAGE
        for token, chosen in allowed.items()
        if not mask_A[token]
    }
    # DYNAMIC may always be said: it pays floors.
    floors_are_tight = MaskReason.FLOORS in masked.values() or (
        not (options.allow_open or options.allow_idle) and not mask_A[IDLE_TOKEN] and grammar.limits.needed > 0
    )
    for row, cap in enumerate(grammar.limits.cap_U.tolist()):
        if mask_A[FIRST_UE + row]:
            continue
        if not options.allow_ue_grants:
            reason = MaskReason.LANGUAGE
        elif len(held[row]) >= cap:
            reason = MaskReason.CAP
        elif _slice_is_full(grammar.limits, row, held):
            reason = MaskReason.SLICE_CAP
        else:
            reason = MaskReason.FLOORS if floors_are_tight else MaskReason.LIMIT
        masked[FIRST_UE + row] = reason
    return masked


def _slice_is_full(limits: Limits, row: int, held: list[set[int]]) -> bool:
    if not limits.slice_of_U.size or (slice_row := int(limits.slice_of_U[row])) == NO_SLICE:
        return False
    members = limits.members(slice_row).tolist()
    return sum(len(held[ue]) for ue in members) >= int(limits.slice_cap_S[slice_row])

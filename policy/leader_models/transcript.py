"""A DCM step by step: the grammar's cursor, each step as a network sees it, and whole DCMs for teacher forcing.

Below every network and every way to decode: numpy alone. Suffixes: B = cells, L = steps, A = actions, U = UEs,
M = RBGs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from policy.allocation import Allocation
from policy.cell_state import CellState
from policy.grammar import FIRST_RBG, FIRST_UE, Grammar, StepKind
from policy.leader_models.action_features import USAGE_LEVELS, RbgReports, rbg_reports

NO_TOKEN = -1
"""`previous` of a DCM's first step."""
TIE_NATS = 5e-5
"""Greedy decoding takes the lowest of tokens this close to the best: UEs that look alike are exactly as likely, and
rounding, which differs between a batch and its cells alone, must not decide between them."""


class DecodedDcm(NamedTuple):
    """One cell's DCM as it was decoded."""

    allocation: Allocation
    tokens: tuple[int, ...]
    log_probs: NDArray[np.float64]
    """Log-probability of each token, [L]; 0 where there was no choice."""
    complete: bool
    """False = time ran out: the rest is the first legal token of each step, not the model's, and its log_probs NaN."""


class Steps(NamedTuple):
    """A run of steps of a DCM as the model sees it, [B, L]; every row is a cell."""

    query_BL: NDArray[np.int64]
    """What is asked: a StepKind, or StepKind.OWNER + RBG."""
    previous_BL: NDArray[np.int64]
    """The token chosen just before; NO_TOKEN at the start."""


class DcmSteps:
    """One DCM in the making: the grammar's cursor, and each step as the model is to see it."""

    def __init__(self, grammar: Grammar, state: CellState, reports: RbgReports | None) -> None:
        """reports: what rbg_reports(state) returns, once for all DCMs of a cell."""
        self._cursor = grammar.start()
        self._usage_A = np.zeros(grammar.num_actions, np.int64)
        self._match_A = np.zeros(grammar.num_actions, np.int64)
        self._preferred_U = state.preferred_rbg_U
        self._reports = reports
        self.tokens = self._cursor.tokens

    @property
    def done(self) -> bool:
        return self._cursor.done

    @property
    def query(self) -> int:
        """What the next step asks: a StepKind, or StepKind.OWNER + RBG."""
        cursor = self._cursor
        return int(cursor.step_kind) + (cursor.rbg if cursor.step_kind is StepKind.OWNER else 0)

    def ask(self) -> tuple[int, int, NDArray[np.int64]]:
        """The next step: its query, the token before, and the code of each action's features [A] (action_features)."""
        cursor, query = self._cursor, self.query
        if cursor.step_kind is StepKind.OWNER:
            self._match_A[FIRST_UE:] = self._preferred_U == cursor.rbg
        elif cursor.step_kind is StepKind.GRANT_RBG:
            preferred = self._preferred_U[cursor.tokens[-1] - FIRST_UE]
            self._match_A[:] = 0
            if preferred == preferred:
                self._match_A[FIRST_RBG + int(preferred)] = 1
        else:
            self._match_A[:] = 0
        features_A = np.minimum(self._usage_A, USAGE_LEVELS - 1) * 2 + self._match_A
        if self._reports is not None and cursor.step_kind is StepKind.OWNER:
            features_A += self._reports.outcome_M[cursor.rbg]
            features_A[FIRST_UE:] += self._reports.channel_history_MU[cursor.rbg]
        return query, (cursor.tokens[-1] if cursor.tokens else NO_TOKEN), features_A

    def mask(self) -> NDArray[np.bool_]:
        """Tokens that may come next, bool [A]."""
        return self._cursor.mask()

    def append(self, token: int) -> None:
        """Raises GrammarError if `token` is not legal here."""
        self._cursor.advance(token)
        self._usage_A[token] += 1

    def allocation(self) -> Allocation:
        return self._cursor.allocation()


class TeacherForcingBatch(NamedTuple):
    """Whole DCMs as the model sees them, padded to the longest: what `score` and imitation learn from."""

    steps: Steps
    features_BLA: NDArray[np.int64]
    mask_BLA: NDArray[np.bool_]
    """Legal tokens; padded steps allow token 0 alone, so that their probability is 1."""
    tokens_BL: NDArray[np.int64]
    """The token chosen at each step; 0 in padded steps."""
    lengths_B: NDArray[np.int64]


class TeacherForcingExample(NamedTuple):
    """One DCM of a TeacherForcingBatch, unpadded: [L] and [L, A]."""

    query_L: NDArray[np.int64]
    previous_L: NDArray[np.int64]
    features_LA: NDArray[np.uint16]
    mask_LA: NDArray[np.bool_]
    tokens_L: NDArray[np.int64]


def teacher_forcing_example(grammar: Grammar, state: CellState, tokens: Sequence[int]) -> TeacherForcingExample:
    """One DCM's steps as a network sees them. Raises GrammarError for tokens that are not of this grammar."""
    dcm_steps = DcmSteps(grammar, state, rbg_reports(state))
    asked, masks = [], []
    for token in tokens:
        asked.append(dcm_steps.ask())
        masks.append(dcm_steps.mask())
        dcm_steps.append(int(token))
    queries, previous, features = zip(*asked)
    return TeacherForcingExample(
        np.array(queries, np.int64),
        np.array(previous, np.int64),
        np.array(features, np.uint16),
        np.array(masks, bool),
        np.array(tokens, np.int64),
    )


def teacher_forcing_batch(examples: Sequence[TeacherForcingExample]) -> TeacherForcingBatch:
    """Several DCMs side by side, padded to the longest."""
    lengths_B = np.array([len(example.tokens_L) for example in examples], np.int64)
    cells, length = len(examples), int(lengths_B.max())
    actions = max(example.mask_LA.shape[1] for example in examples)
    query_BL, previous_BL, tokens_BL = (np.zeros((cells, length), np.int64) for _ in range(3))
    features_BLA = np.zeros((cells, length, actions), np.int64)
    mask_BLA = np.zeros((cells, length, actions), bool)
    mask_BLA[:, :, 0] = True
    for row, example in enumerate(examples):
        steps, width = example.mask_LA.shape
        query_BL[row, :steps] = example.query_L
        previous_BL[row, :steps] = example.previous_L
        tokens_BL[row, :steps] = example.tokens_L
        features_BLA[row, :steps, :width] = example.features_LA
        mask_BLA[row, :steps, :width] = example.mask_LA
    return TeacherForcingBatch(Steps(query_BL, previous_BL), features_BLA, mask_BLA, tokens_BL, lengths_B)

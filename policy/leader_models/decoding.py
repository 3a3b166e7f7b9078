"""Decoding a DCM token by token under the grammar's masks, and the exact probability of a DCM that was decoded.

The distribution is that of the masked sequence (the paper's Eq. 12): at each step a softmax over the tokens that the
grammar allows there. `decode` and `score` compute the same numbers, one step by step, one all at once.

Steps that leave no choice have probability 1 and need no forward of their own: they ride along with the next one that
does. A draft (the DCM of a classical scheduler) makes this faster without changing a token: one forward reads the whole
draft, the model chooses at every step as if alone, and the first choice that is not the draft's discards what was read
beyond it. Suffixes: B = cells, L = steps, A = actions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from policy.cell_state import CellState
from policy.grammar import END_GRANTS, Grammar, StepKind
from policy.intent import Intent
from policy.leader import never_expires
from policy.leader_models.action_features import rbg_reports
from policy.leader_models.leader_network import Autoregressive, LeaderNetwork, StepNetwork, masked_log_softmax
from policy.leader_models.transcript import (
    NO_TOKEN,
    TIE_NATS,
    DcmSteps,
    DecodedDcm,
    Steps,
    TeacherForcingExample,
    teacher_forcing_batch,
    teacher_forcing_example,
)


def score(
    model: LeaderNetwork,
    states: Sequence[CellState],
    intents: Sequence[Intent],
    grammars: Sequence[Grammar],
    tokens: Sequence[Sequence[int]],
) -> torch.Tensor:
    """Log-probability of every token of every DCM, [B, longest], 0 beyond a DCM's end; differentiable.

    Raises GrammarError for a DCM that is not of its grammar.
    """
    teacher_batch = teacher_forcing_batch(
        [teacher_forcing_example(g, s, t) for g, s, t in zip(grammars, states, tokens)]
    )
    logits = model.teacher_forcing_logits(model.layout.encode(states, intents), teacher_batch)
    log_probs = masked_log_softmax(logits, torch.from_numpy(teacher_batch.mask_BLA).to(logits.device))
    chosen = torch.from_numpy(teacher_batch.tokens_BL).to(logits.device)
    return log_probs.gather(-1, chosen[..., None])[..., 0]


def decode(
    model: StepNetwork,
    states: Sequence[CellState],
    intents: Sequence[Intent],
    grammars: Sequence[Grammar],
    *,
    uniforms_BL: NDArray[np.float64] | None = None,
    drafts: Sequence[Sequence[int] | None] | None = None,
    expired: Callable[[], bool] = never_expires,
) -> list[DecodedDcm]:
    """One DCM per cell: `LeaderNetwork.decode` of every network that answers an action with one forward of a step."""
    if not states:
        return []
    rows = [
        _Row(
            grammar,
            state,
            None if drafts is None else drafts[b],
            None if uniforms_BL is None else uniforms_BL[b],
        )
        for b, (grammar, state) in enumerate(zip(grammars, states))
    ]
    with torch.inference_mode():
        memory = model.read(model.layout.encode(states, intents))
        if isinstance(model, Autoregressive) and not model.one_pass:
            return _decode_step_by_step(model, memory, rows, expired)
        return [row.cut_short() for row in rows] if expired() else _decode_at_once(model, memory, rows)


def _decode_step_by_step(
    model: Autoregressive, memory: Any, rows: list[_Row], expired: Callable[[], bool]
) -> list[DecodedDcm]:
    """All cells are read together, each at its own place in its own DCM."""
    actions = max(row.num_actions for row in rows)
    while True:
        runs = [row.read_ahead() for row in rows]
        if not any(runs):
            return [row.decoded(complete=True) for row in rows]
        if expired():
            return [row.cut_short() for row in rows]
        logits_BLA = _read_runs(model, memory, runs, actions)
        length = logits_BLA.shape[1]
        kept_B = [row.take(run, logits_LA[length - len(run) :]) for row, run, logits_LA in zip(rows, runs, logits_BLA)]
        model.forget(memory, [len(run) - kept for run, kept in zip(runs, kept_B)])


def _read_runs(model: Autoregressive, memory: Any, runs: list[list[_Ask]], actions: int) -> NDArray[np.float64]:
    """Let the model read each cell's run of steps, padded on the left: the logits of every step, [B, L, A]."""
    shape = len(runs), max(map(len, runs))
    query_BL, previous_BL = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    features_BLA = np.zeros((*shape, actions), np.int64)
    for b, run in enumerate(runs):
        for at, ask in enumerate(run, shape[1] - len(run)):
            query_BL[b, at], previous_BL[b, at] = ask.query, ask.previous
            features_BLA[b, at, : len(ask.features_A)] = ask.features_A
    logits_BLA = model.extend(memory, Steps(query_BL, previous_BL), features_BLA, [len(run) for run in runs])
    return logits_BLA.double().cpu().numpy()


def _decode_at_once(model: StepNetwork, memory: Any, rows: list[_Row]) -> list[DecodedDcm]:
    """One forward answers every question there is; then each DCM is chosen, step by step, under its masks."""
    questions = teacher_forcing_batch([row.questions() for row in rows])
    logits_BLA = model.logits(memory, questions.steps, questions.features_BLA).double().cpu().numpy()
    for b, row in enumerate(rows):
        queries = questions.steps.query_BL[b, : questions.lengths_B[b]].tolist()
        place = {query: k for k, query in enumerate(queries)}
        while not row.dcm_steps.done:
            row.choose(np.flatnonzero(row.dcm_steps.mask()), logits_BLA[b, place[row.dcm_steps.query]])
    return [row.decoded(complete=True) for row in rows]


class _Ask(NamedTuple):
    """One step of a run of steps that is read at once."""

    query: int
    previous: int
    features_A: NDArray[np.int64]
    legal: NDArray[np.int64]
    guess: int
    """What was assumed here to read on; NO_TOKEN at the run's end."""


class _Row:
    """One cell's DCM in the making. The model has read every step whose token was chosen."""

    def __init__(
        self,
        grammar: Grammar,
        state: CellState,
        draft: Sequence[int] | None,
        uniforms_L: NDArray[np.float64] | None,
    ) -> None:
        """draft: a DCM that is likely to be chosen. uniforms_L: draws of the whole DCM; None = greedy."""
        self._grammar, self._state, self._uniforms_L = grammar, state, uniforms_L
        self._draft = tuple(draft) if draft is not None else None
        self._reports = rbg_reports(state)
        self.num_actions = grammar.num_actions
        self.dcm_steps = DcmSteps(grammar, state, self._reports)
        self._log_probs: list[float] = []

    def read_ahead(self) -> list[_Ask]:
        """The steps from here to the first choice that nobody can guess, or to the last choice of all.

        Where no choice is left, the DCM's end is appended at once, and there is nothing to read.
        """
        rehearsed = DcmSteps(self._grammar, self._state, self._reports)
        for token in self.dcm_steps.tokens:
            rehearsed.append(token)
        run: list[_Ask] = []
        while not rehearsed.done:
            query, previous, features_A = rehearsed.ask()
            legal = np.flatnonzero(rehearsed.mask())
            guess = int(legal[0]) if len(legal) == 1 else self._guess(query, rehearsed.tokens, legal)
            run.append(_Ask(query, previous, features_A, legal, guess))
            if guess == NO_TOKEN:
                break
            rehearsed.append(guess)
        last = max((i for i, ask in enumerate(run) if len(ask.legal) > 1), default=-1)
        if last < 0:
            for ask in run:
                self._append(ask.guess, 0.0)
        return run[: last + 1]

    def _guess(self, query: int, chosen: list[int], legal: NDArray[np.int64]) -> int:
        """The draft's token for this step: by place in what comes before the owners, by RBG for owners.

        Also after a choice that was not the draft's: whom to grant seldom depends on which RBG the one before got.
        """
        draft = self._draft
        if draft is None or len(draft) < self._grammar.num_rbgs:
            return NO_TOKEN
        if query >= StepKind.OWNER:
            token = draft[query - int(StepKind.OWNER) - self._grammar.num_rbgs]
        elif len(chosen) < len(draft) - self._grammar.num_rbgs:
            token = draft[len(chosen)]
        else:
            token = END_GRANTS
        return token if token in legal else NO_TOKEN

    def questions(self) -> TeacherForcingExample:
        """All that may be asked in a DCM of this cell, as steps of a DCM that nobody chooses."""
        cursor = self._grammar.start()
        while not cursor.done:
            cursor.advance(int(cursor.mask().argmax()))
        example = teacher_forcing_example(self._grammar, self._state, cursor.tokens)
        if not self._grammar.max_grants:
            return example
        # The lowest token ends the grants at once, so no such DCM asks for a grant's RBG.
        grant_rbg: tuple[Any, ...] = (
            int(StepKind.GRANT_RBG),
            NO_TOKEN,
            np.zeros_like(example.features_LA[0]),
            example.mask_LA[0],
            0,
        )
        own: tuple[Any, ...] = tuple(example)
        return TeacherForcingExample(*(np.concatenate((column, [more])) for column, more in zip(own, grant_rbg)))

    def take(self, run: list[_Ask], logits_LA: NDArray[np.float64]) -> int:
        """Choose along the run of steps up to the first choice that was not guessed; how many of its steps stand."""
        for i, ask in enumerate(run):
            if self.choose(ask.legal, logits_LA[i]) != ask.guess:
                return i + 1
        return len(run)

    def choose(self, legal: NDArray[np.int64], logits_A: NDArray[np.float64]) -> int:
        """Append one of the legal tokens, greedily or by the step's draw; which one it is."""
        token, log_prob = int(legal[0]), 0.0
        if len(legal) > 1:
            logits = logits_A[legal]
            scores = logits - logits.max()
            probs = np.exp(scores)
            total = probs.sum()
            if self._uniforms_L is None:
                pick = int((scores >= -TIE_NATS).argmax())
            else:
                drawn = self._uniforms_L[len(self._log_probs)] * total
                pick = min(int(np.searchsorted(np.cumsum(probs), drawn, side="right")), len(legal) - 1)
            token, log_prob = int(legal[pick]), float(scores[pick] - np.log(total))
        self._append(token, log_prob)
        return token

    def _append(self, token: int, log_prob: float) -> None:
        self.dcm_steps.append(token)
        self._log_probs.append(log_prob)

    def cut_short(self) -> DecodedDcm:
        """The DCM as far as it is; the rest is the first legal token of each step."""
        complete = self.dcm_steps.done
        while not self.dcm_steps.done:
            self._append(int(self.dcm_steps.mask().argmax()), float("nan"))
        return self.decoded(complete)

    def decoded(self, complete: bool) -> DecodedDcm:
        log_probs = np.array(self._log_probs)
        return DecodedDcm(self.dcm_steps.allocation(), tuple(self.dcm_steps.tokens), log_probs, complete)

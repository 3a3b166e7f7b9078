"""Speaking a DCM: constrained autoregressive decoding with a KV cache, and the exact probability of what was said.

The distribution is that of the masked sequence (the paper's Eq. 12): at each step a softmax over the tokens that the
grammar allows there. `decode` and `score` compute the same numbers, one step by step, one all at once.

Steps that leave no choice have probability 1 and need no forward of their own: they ride along with the next one that
does. A draft (what a classical scheduler would say) makes this faster without changing a word: one forward reads the
whole draft, the model chooses at every step as if alone, and the first choice that is not the draft's discards what was
read beyond it. Suffixes as in `policy.leader_models.leader_network`.
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
from policy.leader_models.leader_network import LeaderNetwork, masked_log_softmax
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
    """Log-probability of every token of every DCM, [B, longest], 0 beyond a DCM's end; differentiable."""
    teacher_batch = teacher_forcing_batch(
        [teacher_forcing_example(g, s, t) for g, s, t in zip(grammars, states, tokens)]
    )
    logits = model.teacher_forcing_logits(model.layout.encode(states, intents), teacher_batch)
    log_probs = masked_log_softmax(logits, torch.from_numpy(teacher_batch.mask_BLA).to(logits.device))
    chosen = torch.from_numpy(teacher_batch.tokens_BL).to(logits.device)
    return log_probs.gather(-1, chosen[..., None])[..., 0]


def decode(
    model: LeaderNetwork,
    states: Sequence[CellState],
    intents: Sequence[Intent],
    grammars: Sequence[Grammar],
    *,
    uniforms_BL: NDArray[np.float64] | None = None,
    drafts: Sequence[Sequence[int] | None] | None = None,
    expired: Callable[[], bool] = never_expires,
) -> list[DecodedDcm]:
    """Say one DCM per cell. Greedy without `uniforms_BL`; with it (in [0, 1), L >= Grammar.max_tokens), sampled.

    Cells may differ in UEs and RBGs. drafts: per cell a DCM that is likely said (None = no idea); any draft gives the
    same result, a good one sooner. When `expired()` turns true, between two forwards, the rest is filled in without the
    model.
    """
    if not states:
        return []
    with torch.inference_mode():
        memory = model.read(model.layout.encode(states, intents))
        rows = [
            _Row(grammar, state, drafts[b] if drafts is not None else None)
            for b, (grammar, state) in enumerate(zip(grammars, states))
        ]
        return _Decoder(model, memory, rows, uniforms_BL).run(expired)


class _Ask(NamedTuple):
    """One step of a run of steps that is read at once."""

    query: int
    previous: int
    features_A: NDArray[np.int64]
    legal: NDArray[np.int64]
    guess: int
    """What was assumed here to read on; NO_TOKEN at the run's end."""


class _Row:
    """One cell's DCM in the making. The model has read every step that was said."""

    def __init__(self, grammar: Grammar, state: CellState, draft: Sequence[int] | None) -> None:
        self._grammar, self._state = grammar, state
        self.num_actions = grammar.num_actions
        self._draft = tuple(draft) if draft is not None else None
        self._reports = rbg_reports(state)
        self.dcm_steps = DcmSteps(grammar, state, self._reports)
        self.log_probs: list[float] = []

    def read_ahead(self) -> list[_Ask]:
        """The steps from here to the first choice that nobody can guess, or to the last choice of all."""
        rehearsed = DcmSteps(self._grammar, self._state, self._reports)
        for token in self.dcm_steps.tokens:
            rehearsed.append(token)
        asks: list[_Ask] = []
        while not rehearsed.done:
            query, previous, features_A = rehearsed.ask()
            legal = np.flatnonzero(rehearsed.mask())
            guess = int(legal[0]) if len(legal) == 1 else self._guess(query, rehearsed.tokens, legal)
            asks.append(_Ask(query, previous, features_A, legal, guess))
            if guess == NO_TOKEN:
                break
            rehearsed.append(guess)
        return asks

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
        """All that may be asked in a DCM of this cell, as steps of a DCM that nobody says."""
        cursor = self._grammar.start()
        while not cursor.done:
            cursor.advance(int(cursor.mask().argmax()))
        example = teacher_forcing_example(self._grammar, self._state, cursor.tokens)
        if not self._grammar.max_grants:
            return example
        # The lowest token ends the grants at once, so no such DCM asks for a grant's RBG.
        asked: tuple[Any, ...] = (
            int(StepKind.GRANT_RBG),
            NO_TOKEN,
            np.zeros_like(example.features_LA[0]),
            example.mask_LA[0],
            0,
        )
        own: tuple[Any, ...] = tuple(example)
        columns = [np.concatenate((column, [more])) for column, more in zip(own, asked)]
        return TeacherForcingExample(*columns)

    def decoded(self, complete: bool) -> DecodedDcm:
        return DecodedDcm(self.dcm_steps.allocation(), tuple(self.dcm_steps.tokens), np.array(self.log_probs), complete)


class _Decoder:
    """The decoding loop's state: all cells read together, each at its own place in its own DCM."""

    def __init__(
        self, model: LeaderNetwork, memory: Any, rows: list[_Row], uniforms_BL: NDArray[np.float64] | None
    ) -> None:
        self._model, self._memory, self._rows, self._uniforms_BL = model, memory, rows, uniforms_BL
        self._actions = max(row.num_actions for row in rows)

    def run(self, expired: Callable[[], bool]) -> list[DecodedDcm]:
        if self._model.one_pass:
            return self._cut_short() if expired() else self._decode_at_once()
        while True:
            read_aheads = [self._without_forced_end(row, row.read_ahead()) for row in self._rows]
            if not any(read_aheads):
                return [row.decoded(complete=True) for row in self._rows]
            if expired():
                return self._cut_short()
            logits_BLA = self._forward(read_aheads)
            length = logits_BLA.shape[1]
            kept_B = []
            for b, (row, asks) in enumerate(zip(self._rows, read_aheads)):
                kept_B.append(self._take(b, row, asks, logits_BLA[b, length - len(asks) :]))
            self._model.forget(self._memory, [len(asks) - kept for asks, kept in zip(read_aheads, kept_B)])

    def _decode_at_once(self) -> list[DecodedDcm]:
        """One forward answers every question there is; then each DCM is said, step by step, under its masks."""
        teacher_batch = teacher_forcing_batch([row.questions() for row in self._rows])
        logits_BLA = (
            self._model.logits(self._memory, teacher_batch.steps, teacher_batch.features_BLA).double().cpu().numpy()
        )
        for b, row in enumerate(self._rows):
            dcm_steps, place = (
                row.dcm_steps,
                {query: k for k, query in enumerate(teacher_batch.steps.query_BL[b].tolist())},
            )
            place[int(StepKind.MASK)] = 0  # not what pads shorter rows
            while not dcm_steps.done:
                legal = np.flatnonzero(dcm_steps.mask())
                token, log_prob = int(legal[0]), 0.0
                if len(legal) > 1:
                    logits_A = logits_BLA[b, place[dcm_steps.query]]
                    token, log_prob = self._choose(b, len(row.log_probs), logits_A[legal], legal)
                dcm_steps.append(token)
                row.log_probs.append(log_prob)
        return [row.decoded(complete=True) for row in self._rows]

    @staticmethod
    def _without_forced_end(row: _Row, asks: list[_Ask]) -> list[_Ask]:
        """What must be read; a run of steps without any choice is the DCM's end, and is said at once."""
        last = max((i for i, ask in enumerate(asks) if len(ask.legal) > 1), default=-1)
        if last < 0:
            for ask in asks:
                row.dcm_steps.append(ask.guess)
                row.log_probs.append(0.0)
        return asks[: last + 1]

    def _forward(self, read_aheads: list[list[_Ask]]) -> NDArray[np.float64]:
        """Read the runs of steps (padded on the left); the logits of every step, [B, L, A]."""
        cells, length = len(read_aheads), max(map(len, read_aheads))
        query_BL, previous_BL = (np.zeros((cells, length), np.int64) for _ in range(2))
        features_BLA = np.zeros((cells, length, self._actions), np.int64)
        for b, asks in enumerate(read_aheads):
            for at, ask in enumerate(asks, length - len(asks)):
                query_BL[b, at], previous_BL[b, at] = ask.query, ask.previous
                features_BLA[b, at, : len(ask.features_A)] = ask.features_A
        lengths_B = [len(asks) for asks in read_aheads]
        logits_BLA = self._model.extend(self._memory, Steps(query_BL, previous_BL), features_BLA, lengths_B)
        return logits_BLA.double().cpu().numpy()

    def _take(self, b: int, row: _Row, asks: list[_Ask], logits_LA: NDArray[np.float64]) -> int:
        """Say the run of steps up to the first choice that was not guessed; how many of its steps stand."""
        for i, ask in enumerate(asks):
            token = int(ask.legal[0])
            log_prob = 0.0
            if len(ask.legal) > 1:
                token, log_prob = self._choose(b, len(row.log_probs), logits_LA[i, ask.legal], ask.legal)
            row.dcm_steps.append(token)
            row.log_probs.append(log_prob)
            if token != ask.guess:
                return i + 1
        return len(asks)

    def _choose(self, b: int, step: int, logits: NDArray[np.float64], legal: NDArray[np.int64]) -> tuple[int, float]:
        """Token and log-probability."""
        scores = logits - logits.max()
        probs = np.exp(scores)
        total = probs.sum()
        if self._uniforms_BL is None:
            pick = int((scores >= -TIE_NATS).argmax())
        else:
            u = self._uniforms_BL[b, step]
            pick = min(int(np.searchsorted(np.cumsum(probs), u * total, side="right")), len(legal) - 1)
        return int(legal[pick]), float(scores[pick] - np.log(total))

    def _cut_short(self) -> list[DecodedDcm]:
        decoded_dcms = []
        for row in self._rows:
            complete = row.dcm_steps.done
            while not row.dcm_steps.done:
                row.dcm_steps.append(int(row.dcm_steps.mask().argmax()))
                row.log_probs.append(float("nan"))
            decoded_dcms.append(row.decoded(complete))
        return decoded_dcms

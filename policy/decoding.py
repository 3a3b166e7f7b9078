"""Speaking a DCM: constrained autoregressive decoding with a KV cache, and the exact probability of what was said.

The distribution is that of the masked sequence (the paper's Eq. 12): at each step a softmax over the tokens that the
grammar allows there. `decode` and `score` compute the same numbers, one step by step, one all at once.

Steps that leave no choice have probability 1 and need no forward of their own: they ride along with the next one that
does. Suffixes as in `policy.language_model`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from policy.allocation import Allocation
from policy.cell_state import CellState
from policy.grammar import FIRST_RBG, FIRST_UE, Grammar, StepKind
from policy.intent import Intent
from policy.language_model import NO_TOKEN, USAGE_LEVELS, LeaderModel, Memory, Steps
from policy.leader import never_expires

FloatA = NDArray[np.float64]

TIE_NATS = 5e-5
"""Greedy decoding takes the lowest of tokens this close to the best: UEs that look alike are exactly as likely, and
rounding, which differs between a batch and its cells alone, must not decide between them."""


class Speech(NamedTuple):
    """One cell's DCM as it was said."""

    allocation: Allocation
    tokens: tuple[int, ...]
    log_probs: NDArray[np.float64]
    """Of each token, [L]; 0 where there was no choice."""
    complete: bool
    """False = time ran out: the rest is the first legal token of each step, not the model's, and its log_probs NaN."""


class Narrator:
    """One DCM in the making: the grammar's cursor, and each step as the model is to see it."""

    def __init__(self, grammar: Grammar, state: CellState) -> None:
        self._cursor = grammar.start()
        self._usage_A = np.zeros(grammar.num_actions, np.int64)
        self._match_A = np.zeros(grammar.num_actions, np.int64)
        self._preferred_U = state.preferred_rbg_U
        self.tokens = self._cursor.tokens

    @property
    def done(self) -> bool:
        return self._cursor.done

    def ask(self) -> tuple[int, int, NDArray[np.int64]]:
        """The next step: its query, the token before, and the situation of each action [A]."""
        cursor = self._cursor
        query = int(cursor.step_kind)
        if cursor.step_kind is StepKind.OWNER:
            query += cursor.rbg
            self._match_A[FIRST_UE:] = self._preferred_U == cursor.rbg
        elif cursor.step_kind is StepKind.GRANT_RBG:
            preferred = self._preferred_U[cursor.tokens[-1] - FIRST_UE]
            self._match_A[:] = 0
            if preferred == preferred:
                self._match_A[FIRST_RBG + int(preferred)] = 1
        else:
            self._match_A[:] = 0
        situation_A = np.minimum(self._usage_A, USAGE_LEVELS - 1) * 2 + self._match_A
        return query, (cursor.tokens[-1] if cursor.tokens else NO_TOKEN), situation_A

    def mask(self) -> NDArray[np.bool_]:
        """Tokens that may come next, bool [A]."""
        return self._cursor.mask()

    def say(self, token: int) -> None:
        """Raises GrammarError if `token` is not legal here."""
        self._cursor.advance(token)
        self._usage_A[token] += 1

    def allocation(self) -> Allocation:
        return self._cursor.allocation()


class Script(NamedTuple):
    """Whole DCMs as the model sees them, padded to the longest: what `score` and imitation learn from."""

    steps: Steps
    situation_BLA: NDArray[np.int64]
    mask_BLA: NDArray[np.bool_]
    """Legal tokens; padded steps allow token 0 alone, so that their probability is 1."""
    tokens_BL: NDArray[np.int64]
    """What was said; 0 in padded steps."""
    lengths_B: NDArray[np.int64]


class Line(NamedTuple):
    """One DCM of a Script, unpadded: [L] and [L, A]."""

    query_L: NDArray[np.int64]
    previous_L: NDArray[np.int64]
    situation_LA: NDArray[np.uint8]
    mask_LA: NDArray[np.bool_]
    tokens_L: NDArray[np.int64]


def write_line(grammar: Grammar, state: CellState, tokens: Sequence[int]) -> Line:
    """How one DCM came about. Raises GrammarError if it is not of this grammar."""
    narrator = Narrator(grammar, state)
    asked, masks = [], []
    for token in tokens:
        asked.append(narrator.ask())
        masks.append(narrator.mask())
        narrator.say(int(token))
    queries, previous, situations = zip(*asked)
    return Line(
        np.array(queries, np.int64),
        np.array(previous, np.int64),
        np.array(situations, np.uint8),
        np.array(masks, bool),
        np.array(tokens, np.int64),
    )


def script_of(lines: Sequence[Line]) -> Script:
    """Several DCMs side by side."""
    lengths_B = np.array([len(line.tokens_L) for line in lines], np.int64)
    cells, length = len(lines), int(lengths_B.max())
    actions = max(line.mask_LA.shape[1] for line in lines)
    query_BL, previous_BL, tokens_BL = (np.zeros((cells, length), np.int64) for _ in range(3))
    situation_BLA = np.zeros((cells, length, actions), np.int64)
    mask_BLA = np.zeros((cells, length, actions), bool)
    mask_BLA[:, :, 0] = True
    for row, line in enumerate(lines):
        steps, width = line.mask_LA.shape
        query_BL[row, :steps] = line.query_L
        previous_BL[row, :steps] = line.previous_L
        tokens_BL[row, :steps] = line.tokens_L
        situation_BLA[row, :steps, :width] = line.situation_LA
        mask_BLA[row, :steps, :width] = line.mask_LA
    return Script(Steps(query_BL, previous_BL), situation_BLA, mask_BLA, tokens_BL, lengths_B)


def masked_log_softmax(logits: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Log-probabilities over the last axis, -inf where `mask` is False."""
    return torch.log_softmax(logits.masked_fill(~mask, -torch.inf), dim=-1)


def score(
    model: LeaderModel,
    states: Sequence[CellState],
    intents: Sequence[Intent],
    grammars: Sequence[Grammar],
    tokens: Sequence[Sequence[int]],
) -> torch.Tensor:
    """Log-probability of every token of every DCM, [B, longest], 0 beyond a DCM's end; differentiable."""
    script = script_of([write_line(g, s, t) for g, s, t in zip(grammars, states, tokens)])
    memory = model.read(model.layout.encode(states, intents))
    logits = model.logits(memory, script.steps, script.situation_BLA)
    log_probs = masked_log_softmax(logits, torch.from_numpy(script.mask_BLA).to(logits.device))
    said = torch.from_numpy(script.tokens_BL).to(logits.device)
    return log_probs.gather(-1, said[..., None])[..., 0]


def decode(
    model: LeaderModel,
    states: Sequence[CellState],
    intents: Sequence[Intent],
    grammars: Sequence[Grammar],
    *,
    uniforms_BL: NDArray[np.float64] | None = None,
    expired: Callable[[], bool] = never_expires,
) -> list[Speech]:
    """Say one DCM per cell. Greedy without `uniforms_BL`; with it (in [0, 1), L >= Grammar.max_tokens), sampled.

    Cells may differ in UEs and RBGs. When `expired()` turns true, between two steps, the rest is filled in without
    the model.
    """
    if not states:
        return []
    with torch.inference_mode():
        memory = model.read(model.layout.encode(states, intents))
        return _Speaking(model, memory, states, grammars, uniforms_BL).run(expired)


class _Speaking:
    """The decoding loop's state: all cells step together, each at its own place in its own DCM."""

    def __init__(
        self,
        model: LeaderModel,
        memory: Memory,
        states: Sequence[CellState],
        grammars: Sequence[Grammar],
        uniforms_BL: NDArray[np.float64] | None,
    ) -> None:
        self._model, self._memory, self._uniforms_BL = model, memory, uniforms_BL
        self._narrators = [Narrator(g, s) for g, s in zip(grammars, states)]
        self._log_probs: list[list[float]] = [[] for _ in states]
        self._read_B = [0] * len(states)
        """Steps of each cell that the model has read."""
        self._actions = memory.keys_BAd.shape[1]
        self._visible_BS = memory.visible_BS

    def run(self, expired: Callable[[], bool]) -> list[Speech]:
        while True:
            pending: list[list[tuple[int, int]]] = []
            situation_BA = np.zeros((len(self._narrators), self._actions), np.int64)
            masks: list[NDArray[np.bool_] | None] = []
            for row, narrator in enumerate(self._narrators):
                unread, mask = self._skip_forced(row, narrator, situation_BA[row])
                pending.append(unread)
                masks.append(mask)
            if all(mask is None for mask in masks):
                return [self._speech(row, complete=True) for row in range(len(masks))]
            if expired():
                return self._cut_short()
            logits_BA = self._forward(pending, situation_BA)
            for row, mask in enumerate(masks):
                if mask is not None:
                    self._choose(row, logits_BA[row, : len(mask)], mask)

    def _skip_forced(
        self, row: int, narrator: Narrator, situation_A: NDArray[np.int64]
    ) -> tuple[list[tuple[int, int]], NDArray[np.bool_] | None]:
        """Say what leaves no choice. The steps to read before the next choice, and its mask (None at the end)."""
        unread = []
        while not narrator.done:
            query, previous, situation = narrator.ask()
            unread.append((query, previous))
            mask = narrator.mask()
            legal = np.flatnonzero(mask)
            if len(legal) > 1:
                situation_A[: len(situation)] = situation
                return unread, mask
            narrator.say(int(legal[0]))
            self._log_probs[row].append(0.0)
        return [], None

    def _forward(self, pending: list[list[tuple[int, int]]], situation_BA: NDArray[np.int64]) -> FloatA:
        """Read the pending steps (padded on the left), return the logits of each cell's last, [B, A]."""
        cells, length = len(pending), max(len(p) for p in pending)
        query_BL = np.zeros((cells, length), np.int64)
        previous_BL = np.zeros((cells, length), np.int64)
        positions_BL = np.zeros((cells, length), np.int64)
        real_BL = np.zeros((cells, length), bool)
        first = self._model.layout.block_tokens
        for row, unread in enumerate(pending):
            count = len(unread)
            if count == 0:
                continue
            query_BL[row, -count:], previous_BL[row, -count:] = zip(*unread)
            positions_BL[row, -count:] = first + self._read_B[row] + np.arange(count)
            real_BL[row, -count:] = True
            self._read_B[row] += count
        device = self._memory.keys_BAd.device
        before = self._memory.cache.get_seq_length()
        visible = self._visible(torch.from_numpy(real_BL).to(device), before, bool(real_BL.all()))
        hidden_BLd = self._model.backbone(
            self._model.embed_steps(self._memory, Steps(query_BL, previous_BL)),
            torch.from_numpy(positions_BL).to(device),
            visible,
            self._memory.cache,
        )
        logits_B1A = self._model.head(
            hidden_BLd[:, -1:], self._memory.keys_BAd, torch.from_numpy(situation_BA[:, None]).to(device)
        )
        return logits_B1A[:, 0].double().cpu().numpy()

    def _visible(self, real_BL: torch.Tensor, before: int, all_real: bool) -> torch.Tensor | None:
        """What the new steps may attend to, bool [B, 1, L, S]; None = everything."""
        cells, length = real_BL.shape
        if self._visible_BS is None and not all_real:
            self._visible_BS = torch.ones(cells, before, dtype=torch.bool, device=real_BL.device)
        if self._visible_BS is not None:
            self._visible_BS = torch.cat((self._visible_BS, real_BL), dim=1)
            if length == 1:
                return self._visible_BS[:, None, None]
            visible = self._visible_BS[:, None, None].repeat(1, 1, length, 1)
        elif length == 1:
            return None
        else:
            visible = torch.ones(cells, 1, length, before + length, dtype=torch.bool, device=real_BL.device)
        visible[..., before:] &= torch.ones(length, length, dtype=torch.bool, device=real_BL.device).tril()
        return visible

    def _choose(self, row: int, logits_A: FloatA, mask_A: NDArray[np.bool_]) -> None:
        legal = np.flatnonzero(mask_A)
        scores = logits_A[legal] - logits_A[legal].max()
        probs = np.exp(scores)
        total = probs.sum()
        if self._uniforms_BL is None:
            pick = int((scores >= -TIE_NATS).argmax())
        else:
            u = self._uniforms_BL[row, len(self._log_probs[row])]
            pick = min(int(np.searchsorted(np.cumsum(probs), u * total, side="right")), len(legal) - 1)
        self._log_probs[row].append(float(scores[pick] - np.log(total)))
        self._narrators[row].say(int(legal[pick]))

    def _cut_short(self) -> list[Speech]:
        speeches = []
        for row, narrator in enumerate(self._narrators):
            complete = narrator.done
            while not narrator.done:
                narrator.say(int(narrator.mask().argmax()))
                self._log_probs[row].append(float("nan"))
            speeches.append(self._speech(row, complete))
        return speeches

    def _speech(self, row: int, complete: bool) -> Speech:
        narrator = self._narrators[row]
        return Speech(narrator.allocation(), tuple(narrator.tokens), np.array(self._log_probs[row]), complete)

"""Decoding a DCM in a pretrained model's tokens: one forward a choice, for all branch nodes of the trie at once.

So the model chooses among actions, not among pieces of words: greedy decoding takes the likeliest action of each step,
sampling draws one by its exact probability (the product of the masked softmaxes on its way). Steps that leave no choice
ride along, and a draft (policy.leader_models.decoding) is read whole: the first choice that is not the draft's discards
what lies beyond it. Suffixes as in `policy.text.model`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from policy.cell_state import CellState
from policy.grammar import Cursor, Grammar, StepKind
from policy.intent import Intent
from policy.leader import never_expires
from policy.leader_models.transcript import TIE_NATS, DecodedDcm
from policy.text.spelling_trie import ROOT, Trie
from policy.text.token_tree import Choice, TokenTree

if TYPE_CHECKING:
    from transformers.cache_utils import DynamicCache

BATCH_TOKENS = 1 << 14
"""Prompt tokens of a forward, padding included: what attention masks of a batch cost grows with their square."""


class PromptLayout(Protocol):
    """How prompts are made."""

    def encode(self, states: Sequence[CellState], intents: Sequence[Intent]) -> list[tuple[int, ...]]:
        """The tokens of one prompt per state."""


class WordModel(Protocol):
    """What decoding asks of a language model that spells actions in its tokens: `policy.text.model.TextModel`."""

    training: bool

    @property
    def layout(self) -> PromptLayout: ...

    @property
    def trie(self) -> Trie:
        """How actions are spelled."""

    def eval(self) -> object: ...

    def train(self, mode: bool) -> object: ...

    def step_prefix(self, kind: StepKind, rbg: int) -> tuple[int, ...]:
        """What is read before a step's action."""

    def read_trees(
        self, trees: Sequence[TokenTree], cache: DynamicCache | None, visible_BS: NDArray[np.bool_] | None
    ) -> torch.Tensor:
        """Last hidden states of a batch of token trees, padded on the left, [B, T, d]; `cache` is appended to."""

    def choose_log_probs(
        self,
        hidden_BTd: torch.Tensor,
        choices: Sequence[Choice],
        legal_BLA: NDArray[np.bool_],
        lengths: Sequence[int],
    ) -> torch.Tensor:
        """Log-probability of every legal action of every step, [B, L, A]."""


def decode_text(
    model: WordModel,
    states: Sequence[CellState],
    intents: Sequence[Intent],
    grammars: Sequence[Grammar],
    *,
    uniforms_BL: NDArray[np.float64] | None = None,
    drafts: Sequence[Sequence[int] | None] | None = None,
    expired: Callable[[], bool] = never_expires,
) -> list[DecodedDcm]:
    """One DCM per cell; everything as `policy.leader_models.decoding.decode`. Raises PromptError for a cell too big
    to read."""
    if not states:
        return []
    prompts = model.layout.encode(states, intents)
    decoded_dcms: dict[int, DecodedDcm] = {}
    learning = model.training
    model.eval()  # gradient checkpointing, which only learning needs, would keep no cache
    try:
        for batch in _batches([len(prompt) for prompt in prompts]):
            rows = [_Row(model, grammars[b], prompts[b], drafts[b] if drafts is not None else None) for b in batch]
            with torch.inference_mode():
                chosen = _decode(model, rows, None if uniforms_BL is None else uniforms_BL[batch], expired)
            decoded_dcms.update(zip(batch, chosen))
    finally:
        model.train(learning)
    return [decoded_dcms[b] for b in range(len(states))]


def _batches(lengths_B: Sequence[int]) -> list[list[int]]:
    """Cells that are read together: of like length, and not too many tokens in all."""
    batches: list[list[int]] = []
    for b in sorted(range(len(lengths_B)), key=lambda b: lengths_B[b]):
        if not batches or (len(batches[-1]) + 1) * lengths_B[b] > BATCH_TOKENS:
            batches.append([])
        batches[-1].append(b)
    return batches


class _Ask(NamedTuple):
    """One step of a token tree."""

    legal: NDArray[np.int64]
    choice: Choice | None
    """None = no choice."""
    guess: int | None
    """What was assumed here to read on; None at the token tree's end."""


class _Row:
    """One cell's DCM in the making."""

    def __init__(self, model: WordModel, grammar: Grammar, prompt: Sequence[int], draft: Sequence[int] | None) -> None:
        self._model, self._grammar = model, grammar
        self._draft = tuple(draft) if draft is not None else None
        self._pending: list[int] = list(prompt)
        """Tokens of the chain that the model has yet to read."""
        self._depth = 0
        self.cursor = grammar.start()
        self.num_actions = grammar.num_actions
        self.log_probs: list[float] = []
        self.tree = TokenTree(0)
        self.asks: list[_Ask] = []

    def prepare(self, row: int) -> None:
        """Lay out what to read next: up to the first choice that nobody can guess, or to the last choice of all."""
        model, cursor = self._model, self._grammar.start()
        for token in self.cursor.tokens:
            cursor.advance(token)
        tree, chain = TokenTree(self._depth), list(self._pending)
        asks: list[_Ask] = []
        while not cursor.done:
            mask_A = cursor.mask()
            legal = np.flatnonzero(mask_A)
            chain += model.step_prefix(cursor.step_kind, cursor.rbg)
            action: int | None = int(legal[0])
            choice: Choice | None = None
            read: tuple[int, ...] = ()
            if len(legal) > 1:
                tree.add(chain)
                chain = []
                branches = model.trie.branches(mask_A)
                choice = Choice(row, len(asks), branches, tree.end, tree.add_branches(branches))
                action = self._guess(cursor, legal)
                if action is not None:
                    read = branches.read[action]
                    tree.take([choice.first + node for node in read])
            asks.append(_Ask(legal, choice, action))
            if action is None:
                break
            chain += model.trie.spelling(action)[len(read) :]
            cursor.advance(action)
        if not len(tree):  # no choice is left: the DCM's end is forced
            for ask in asks:
                self._add(int(ask.legal[0]), 0.0)
        self.tree, self.asks = tree, asks

    def _guess(self, cursor: Cursor, legal: NDArray[np.int64]) -> int | None:
        """The draft's action for this step, while what was chosen is the draft's."""
        draft, chosen = self._draft, len(cursor.tokens)
        if draft is None or chosen >= len(draft):
            return None
        if cursor.step_kind is StepKind.OWNER:
            action = draft[len(draft) - self._grammar.num_rbgs + cursor.rbg]
        elif tuple(cursor.tokens) == draft[:chosen]:
            action = draft[chosen]
        else:
            return None
        return action if action in legal else None

    def take(self, log_probs_LA: NDArray[np.float64], uniforms_L: NDArray[np.float64] | None) -> NDArray[np.bool_]:
        """Choose along the token tree up to the first choice not guessed; which of its tokens stay visible, [T].

        log_probs_LA: the token tree's steps. uniforms_L: draws of the whole DCM; None = the likeliest actions.
        """
        last = ROOT
        for step, (legal, choice, guess) in enumerate(self.asks):
            if choice is None:
                self._add(int(legal[0]), 0.0)
                continue
            uniform = None if uniforms_L is None else float(uniforms_L[len(self.log_probs)])
            action, log_prob = _choose(log_probs_LA[step, legal], legal, uniform)
            self._add(action, log_prob)
            read = choice.branches.read[action]
            last = choice.first + read[-1] if read else choice.step_prefix
            if action != guess:
                self._pending = list(self._model.trie.spelling(action)[len(read) :])
                break
        self._depth = self.tree.depths[last] + 1
        return self.tree.path(last)

    def _add(self, action: int, log_prob: float) -> None:
        self.cursor.advance(action)
        self.log_probs.append(log_prob)

    def cut_short(self) -> DecodedDcm:
        """The rest is the first legal action of each step, not the model's."""
        complete = self.cursor.done
        while not self.cursor.done:
            self._add(int(self.cursor.mask().argmax()), float("nan"))
        return self.decoded(complete)

    def decoded(self, complete: bool) -> DecodedDcm:
        return DecodedDcm(self.cursor.allocation(), tuple(self.cursor.tokens), np.array(self.log_probs), complete)


def _decode(
    model: WordModel, rows: list[_Row], uniforms_BL: NDArray[np.float64] | None, expired: Callable[[], bool]
) -> list[DecodedDcm]:
    """The loop: all cells are read together, each at its own place in its own DCM."""
    from transformers.cache_utils import DynamicCache

    cache: DynamicCache = DynamicCache()
    visible_BS = np.zeros((len(rows), 0), bool)
    while True:
        for b, row in enumerate(rows):
            row.prepare(b)
        if all(row.cursor.done for row in rows):
            return [row.decoded(complete=True) for row in rows]
        if expired():
            return [row.cut_short() for row in rows]
        trees = [row.tree for row in rows]
        hidden_BTd = model.read_trees(trees, cache, visible_BS)
        log_probs_BLA = _log_probs(model, rows, hidden_BTd)
        kept_BT = np.zeros(hidden_BTd.shape[:2], bool)
        for b, row in enumerate(rows):
            if len(row.tree):
                kept_BT[b, -len(row.tree) :] = row.take(
                    log_probs_BLA[b], None if uniforms_BL is None else uniforms_BL[b]
                )
        visible_BS = np.concatenate((visible_BS, kept_BT), axis=1)


def _log_probs(model: WordModel, rows: list[_Row], hidden_BTd: torch.Tensor) -> NDArray[np.float64]:
    """Log-probabilities of the actions of every step that was read, -inf where illegal, [B, L, A]."""
    legal_BLA = np.zeros((len(rows), max(len(row.asks) for row in rows), max(row.num_actions for row in rows)), bool)
    choices = []
    for row in rows:
        for ask in row.asks:
            if ask.choice is not None:
                choices.append(ask.choice)
                legal_BLA[ask.choice.row, ask.choice.step, ask.legal] = True
    lengths = [len(row.tree) for row in rows]
    return model.choose_log_probs(hidden_BTd, choices, legal_BLA, lengths).double().cpu().numpy()


def _choose(log_probs: NDArray[np.float64], legal: NDArray[np.int64], uniform: float | None) -> tuple[int, float]:
    """Action and log-probability: the likeliest without `uniform`, else by inverse CDF."""
    if uniform is None:
        pick = int((log_probs >= log_probs.max() - TIE_NATS).argmax())
    else:
        total = np.cumsum(np.exp(log_probs))
        pick = min(int(np.searchsorted(total, uniform * total[-1], side="right")), len(legal) - 1)
    return int(legal[pick]), float(log_probs[pick])

"""How likely each alternative was in a DCM that was said: a packed model once over a whole DCM, in numpy.

For whoever asks why; it takes milliseconds where the kernel takes some hundred microseconds, and neither compiles
anything nor needs torch. Suffixes: N = blocks, T = positions of a block, L = steps, A = actions, S = what is attended
to, H = heads, d = hidden size, h = head size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from policy.cell_state import CellState
from policy.engine.model import PackedModel
from policy.engine.weights import EPSILON
from policy.grammar import FIRST_UE, Grammar
from policy.intent import Intent
from policy.leader_models.action_features import OUTCOMES
from policy.leader_models.transcript import NO_TOKEN, TeacherForcingExample, teacher_forcing_example

Array = NDArray[np.float64]


class _Layer(NamedTuple):
    """Its matrices, [in, out]; norms are in them."""

    qkv: Array
    out: Array
    gate_up: Array
    down: Array


def step_log_probs(
    model: PackedModel, grammar: Grammar, state: CellState, intent: Intent, tokens: Sequence[int]
) -> Array:
    """[L, A], -inf where masked. Raises GrammarError for tokens that are no DCM of this cell under this intent."""
    example = teacher_forcing_example(grammar, state, tokens)
    logits_LA = _Scorer(model).logits(model.layout.encode([state], [intent]).tokens_NT, example)
    logits_LA = np.where(example.mask_LA, logits_LA, -np.inf)
    logits_LA -= logits_LA.max(axis=1, keepdims=True)
    return np.asarray(logits_LA - np.log(np.exp(logits_LA).sum(axis=1, keepdims=True)))


class _Scorer:
    """One model's weights with their shapes back, in double precision."""

    def __init__(self, model: PackedModel) -> None:
        w, sizes = model.weights, model.sizes
        self._weights = w
        self._hidden, self._heads, self._head_size = sizes.hidden, sizes.heads, sizes.head_size
        d, f, count = sizes.hidden, sizes.intermediate, sizes.layers
        self._layers = [
            _Layer(*parts)
            for parts in zip(
                _shaped(w.qkv_T, count, d, 3 * d),
                _shaped(w.out_T, count, d, d),
                _shaped(w.gate_up_T, count, d, 2 * f),
                _shaped(w.down_T, count, f, d),
            )
        ]
        self._cos, self._sin = (_shaped(each, -1, 1, sizes.head_size // 2) for each in (w.cos, w.sin))

    def logits(self, tokens_NF: NDArray[np.int64], example: TeacherForcingExample) -> Array:
        """Unmasked, [L, A]. tokens_NF: the cell's blocks, field by field."""
        w, d = self._weights, self._hidden
        words = _shaped(w.tokens, -1, 4 * d if w.tabled else d)[:, :d]
        positions = np.arange(w.positions)
        causal = np.tri(w.positions, dtype=bool)
        x = np.add.reduceat(words[tokens_NF], w.first_field[:-1], axis=1)
        memory = []
        for layer in self._layers:
            query, key, value = self._project(layer, x, positions)
            x = self._feed_forward(layer, x + self._attend(query, key, value, causal) @ layer.out)
            memory.append((key, value))
        ends_Ud = _normed(x[1:, -1])
        keys_Ad = np.concatenate(
            [_shaped(w.fixed_keys, FIRST_UE, d), ends_Ud @ _shaped(w.key_T, d, d) + w.key_bias.astype(np.float64)]
        )
        feedback_Ad = np.concatenate([_shaped(w.fixed_feedback, FIRST_UE, d), ends_Ud @ _shaped(w.feedback_T, d, d)])
        asked_Ld = self._run_steps(example, feedback_Ad, memory) @ _shaped(w.ask_T, d, d)
        shifts_LA = _shaped(w.key_shifts, -1, 2 * d)[example.features_LA % OUTCOMES]
        return np.einsum("Ld,LAd->LA", asked_Ld, keys_Ad * shifts_LA[..., :d] + shifts_LA[..., d:])

    def _run_steps(
        self, example: TeacherForcingExample, feedback_Ad: Array, memory: list[tuple[Array, Array]]
    ) -> Array:
        """Last hidden states [L, d]. memory: keys and values of the blocks, by layer."""
        w, d, steps = self._weights, self._hidden, len(example.tokens_L)
        previous_L = example.previous_L
        x = _shaped(w.asked, -1, d)[example.query_L] + _shaped(w.outcome, -1, d)[example.features_LA[:, 0] // OUTCOMES]
        x = (x + np.where((previous_L == NO_TOKEN)[:, None], 0.0, feedback_Ad[previous_L]))[None]
        positions = w.positions + np.arange(steps)
        for layer, blocks in zip(self._layers, memory):
            query, *own = self._project(layer, x, positions)
            # [N, T, H, h] -> [1, N T, H, h]: a step sees all blocks, itself, and the steps before it.
            key, value = (
                np.concatenate([past.reshape(1, -1, *past.shape[2:]), new], axis=1) for past, new in zip(blocks, own)
            )
            seen = key.shape[1] - steps
            visible = np.concatenate([np.ones((steps, seen), bool), np.tri(steps, dtype=bool)], axis=1)
            x = self._feed_forward(layer, x + self._attend(query, key, value, visible) @ layer.out)
        return _normed(x[0])

    def _project(self, layer: _Layer, x: Array, positions: NDArray[np.int64]) -> list[Array]:
        """Query, key and value, [N, T, H, h]; the first two rotated."""
        made = (_normed(x) @ layer.qkv).reshape(*x.shape[:2], 3, self._heads, self._head_size)
        cos, sin, half = self._cos[positions], self._sin[positions], self._head_size // 2
        rotated = []
        for which in range(2):
            low, high = made[:, :, which, :, :half], made[:, :, which, :, half:]
            rotated.append(np.concatenate([low * cos - high * sin, high * cos + low * sin], axis=-1))
        return [*rotated, made[:, :, 2]]

    def _attend(self, query: Array, key: Array, value: Array, visible: NDArray[np.bool_]) -> Array:
        """[N, T, d]. visible: [T, S]."""
        scores = np.where(visible, np.einsum("NTHh,NSHh->NHTS", query, key), -np.inf)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        return np.einsum("NHTS,NSHh->NTHh", weights, value).reshape(*query.shape[:2], self._hidden)

    @staticmethod
    def _feed_forward(layer: _Layer, x: Array) -> Array:
        gate, up = np.split(_normed(x) @ layer.gate_up, 2, axis=-1)
        return np.asarray(x + gate / (1.0 + np.exp(-gate)) * up @ layer.down)


def _normed(x: Array) -> Array:
    """RMS norm, its weight aside."""
    return np.asarray(x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + EPSILON))


def _shaped(flat: NDArray[np.float32], *shape: int) -> Array:
    return flat.astype(np.float64).reshape(shape)

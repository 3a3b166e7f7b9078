"""A bundle's leader as the kernel wants it: norms folded in, both orders of each matrix, one flat array each.

Exact savings: a token stands at one place of its block only, so with a position per field what layer 0 makes of a token
before attention (normed, projected, rotated) is a table. Shapes: V = tokens, D = hidden, F = intermediate, L = layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from policy.engine.sizes import Sizes
from policy.engine.tables import Tables
from policy.grammar import FIRST_UE, MAX_RBGS, StepKind
from policy.leader_models.action_features import CHANNEL_HISTORY_LEVELS, FEATURE_CODES, OUTCOME_LEVELS
from policy.model_config import BLOCK_POSITIONS, ModelConfig
from policy.prompt.compact import PromptLayout

QUERIES = int(StepKind.OWNER) + MAX_RBGS
EPSILON = 1e-6
"""Of RMS norms, and ROTARY_BASE of positions: defaults of transformers' LlamaConfig, which a bundle does not change."""
ROTARY_BASE = 10_000.0

Flat = NDArray[np.float32]
Tensors = Mapping[str, NDArray[np.float32]]


class Weights(NamedTuple):
    """Flat float32 arrays. Matrices [out, in] are for blocks, [in, out] (`..._T`) for steps."""

    positions: int
    """Of a block."""
    tabled: int
    """1 = layer 0 of a block's tokens is in `tokens`; 0 = several fields are summed into a position."""
    first_field: NDArray[np.int64]
    """[positions + 1]: the fields summed into each position."""
    tokens: Flat
    """[V, 4 D] tabled: embedding, query, key, value; else [V, D]."""
    qkv: Flat
    out: Flat
    gate_up: Flat
    down: Flat
    qkv_T: Flat
    out_T: Flat
    gate_up_T: Flat
    down_T: Flat
    cos: Flat
    sin: Flat
    """[BLOCK_POSITIONS, head size / 2]."""
    key_T: Flat
    key_bias: Flat
    feedback_T: Flat
    ask_T: Flat
    fixed_keys: Flat
    fixed_feedback: Flat
    """[FIRST_UE, D]."""
    asked: Flat
    """[QUERIES, D]."""
    outcome: Flat
    """[OUTCOME_LEVELS, D]."""
    key_shifts: Flat
    """[CHANNEL_HISTORY_LEVELS x FEATURE_CODES, 2 D]: what a key is multiplied by, and what is added."""


def sizes_of(config: ModelConfig) -> Sizes:
    return Sizes(
        hidden=config.hidden_size,
        heads=config.num_heads,
        intermediate=config.intermediate_size,
        layers=config.num_layers,
    )


def pack(tensors: Tensors, config: ModelConfig, layout: PromptLayout, tables: Tables) -> Weights:
    """Raises ValueError for tensors that are not those of such a model."""
    packer = _Packer(tensors, config, layout)
    return packer.weights(tables)


class _Packer:
    """One model on its way; sums are made in double precision."""

    def __init__(self, tensors: Tensors, config: ModelConfig, layout: PromptLayout) -> None:
        self.config, self.layout = config, layout
        self.sizes = sizes_of(config)
        self._tensors = dict(tensors)
        self.hidden = config.hidden_size
        self.half = self.sizes.head_size // 2

    def weights(self, tables: Tables) -> Weights:
        layers = [self._layer(index) for index in range(self.config.num_layers)]
        qkv, out, gate_up, down = (list(parts) for parts in zip(*layers))
        size, d = self.layout.vocabulary_size, self.hidden
        words = self._take("backbone.llama.model.embed_tokens.weight", (size + FIRST_UE + QUERIES, d))
        norm = self._take("backbone.llama.model.norm.weight", (d,))
        cos, sin = rotary(self.half)
        positions = len(tables.first_field) - 1
        tabled = positions == self.layout.block_tokens
        tokens = words[:size]
        if tabled:
            place = np.concatenate([np.full(n, p % positions) for p, n in enumerate(tables.sizes)])
            tokens = self._table(tokens, qkv[0], cos[place], sin[place])
        keys = self._take("head.fixed_keys", (FIRST_UE, d))
        key, bias = self._take("head.ue_key.weight", (d, d)), self._take("head.ue_key.bias", (d,))
        feedback = self._take("head.ue_feedback.weight", (d, d))
        ask = self._take("head.query.weight", (d, d))
        outcome = np.zeros((OUTCOME_LEVELS, d))
        if "outcome" in self.layout.rbg_features:
            outcome = self._take("outcome.weight", (OUTCOME_LEVELS, d))
        key_shifts = self._key_shifts()
        if self._tensors:
            raise ValueError(f"tensor {min(self._tensors)} is unknown")
        return Weights(
            positions,
            int(tabled),
            tables.first_field,
            _flat(tokens),
            _flat(np.stack(qkv)),
            _flat(np.stack(out)),
            _flat(np.stack(gate_up)),
            _flat(np.stack(down)),
            _flat(np.stack([part.T for part in qkv])),
            _flat(np.stack([part.T for part in out])),
            _flat(np.stack([part.T for part in gate_up])),
            _flat(np.stack([part.T for part in down])),
            _flat(cos),
            _flat(sin),
            _flat((key * norm).T),
            _flat(bias),
            _flat((feedback * norm).T),
            _flat((ask * norm).T * d**-0.5),
            _flat(keys),
            _flat(words[size : size + FIRST_UE]),
            _flat(words[size + FIRST_UE :]),
            _flat(outcome),
            _flat(key_shifts),
        )

    def _take(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
        tensor = self._tensors.pop(name, None)
        if tensor is None:
            raise ValueError(f"tensor {name} is missing")
        if tensor.shape != shape or tensor.dtype != np.float32:
            raise ValueError(f"tensor {name} is {tensor.dtype} {list(tensor.shape)}, expected float32 {list(shape)}")
        if not np.isfinite(tensor).all():
            raise ValueError(f"tensor {name} holds a value that is not finite")
        return tensor.astype(np.float64)

    def _layer(self, index: int) -> tuple[NDArray[np.float64], ...]:
        """Projections to query, key and value; out of attention; gate and up; down. [out, in]"""
        d, f = self.hidden, self.config.intermediate_size
        name = f"backbone.llama.model.layers.{index}"
        first, second = (self._take(f"{name}.{n}_layernorm.weight", (d,)) for n in ("input", "post_attention"))
        query, key, value, out = (self._take(f"{name}.self_attn.{n}_proj.weight", (d, d)) for n in "qkvo")
        gate, up = (self._take(f"{name}.mlp.{n}_proj.weight", (f, d)) * second for n in ("gate", "up"))
        down = self._take(f"{name}.mlp.down_proj.weight", (d, f))
        more = self.sizes.intermediate - f
        gate, up = (np.pad(part, ((0, more), (0, 0))) for part in (gate, up))
        qkv = np.concatenate([query * self.sizes.head_size**-0.5, key, value]) * first
        return qkv, out, np.concatenate([gate, up]), np.pad(down, ((0, 0), (0, more)))

    def _table(
        self,
        words: NDArray[np.float64],
        qkv: NDArray[np.float64],
        cos_VH: NDArray[np.float32],
        sin_VH: NDArray[np.float32],
    ) -> NDArray[np.float64]:
        normed = words / np.sqrt((words**2).mean(1, keepdims=True) + EPSILON)
        made = normed @ qkv.T
        for head in range(2 * self.config.num_heads):  # queries and keys
            low = slice(head * 2 * self.half, head * 2 * self.half + self.half)
            high = slice(low.stop, low.stop + self.half)
            a, b = made[:, low].copy(), made[:, high].copy()
            made[:, low], made[:, high] = a * cos_VH - b * sin_VH, b * cos_VH + a * sin_VH
        return np.concatenate([words, made], axis=1)

    def _key_shifts(self) -> NDArray[np.float64]:
        features = self._take("head.situation.weight", (FEATURE_CODES, 2 * self.hidden))
        if "heard" in self.layout.rbg_features:
            channel_history = self._take("head.heard.weight", (CHANNEL_HISTORY_LEVELS, 2 * self.hidden))
            key_shifts = (channel_history[:, None] + features).reshape(-1, 2 * self.hidden)
        else:
            key_shifts = np.tile(features, (CHANNEL_HISTORY_LEVELS, 1))
        key_shifts[:, : self.hidden] += 1.0
        return key_shifts


def rotary(half: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Cosine and sine of every position, [BLOCK_POSITIONS, half]; single precision throughout, as the reference."""
    exponent = np.arange(0, 2 * half, 2, dtype=np.float32) / np.float32(2 * half)
    frequency = np.float32(1.0) / np.float32(ROTARY_BASE) ** exponent
    angle = np.arange(BLOCK_POSITIONS, dtype=np.float32)[:, None] * frequency
    return np.cos(angle), np.sin(angle)


def _flat(values: Any) -> Flat:
    return np.ascontiguousarray(values, np.float32).reshape(-1)

"""The language model's backbone: a Llama on embedded inputs, at positions and under masks that its callers give.

Suffixes: B = cells, N = blocks of all cells, T = tokens a block, L = steps, S = tokens that may be attended to,
d = hidden size.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from torch import Tensor, nn

from policy.leader_models.llama import KeyValueCache, Layer, Llama, rotary_tables
from policy.model_config import ModelConfig


class Backbone(nn.Module):
    """Embedded tokens in, final hidden states out."""

    cos: Tensor
    sin: Tensor

    def __init__(self, config: ModelConfig, vocabulary_size: int) -> None:
        super().__init__()
        self.llama = Llama(config, vocabulary_size)
        cos, sin = rotary_tables(config.max_positions, config.hidden_size // config.num_heads)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def embed(self, tokens: Tensor) -> Tensor:
        embedded: Tensor = self.llama.model.embed_tokens(tokens)
        return embedded

    def forward(
        self,
        embedded_BLd: Tensor,
        positions_BL: Tensor,
        visible: Tensor | None = None,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """Final hidden states [B, L, d].

        visible: bool, broadcastable to [B, 1, L, S]; None = causal within an empty cache, everything for one step.
        """
        rotary = (self.cos[positions_BL], self.sin[positions_BL])
        hidden = embedded_BLd
        for layer in self.llama.model.layers:
            hidden = layer(hidden, rotary, visible, cache)
        final: Tensor = self.llama.model.norm(hidden)
        return final

    def ends(self, embedded_NTd: Tensor, cache: KeyValueCache) -> Tensor:
        """Final hidden states of the last tokens of sequences that begin with position 0, [N, d].

        Of all others the last layer makes keys and values alone, for `cache`: nobody sees more of them.
        """
        *layers, last = cast("Iterable[Layer]", self.llama.model.layers)
        length = embedded_NTd.shape[1]
        rotary = (self.cos[:length][None], self.sin[:length][None])
        hidden = embedded_NTd
        for layer in layers:
            hidden = layer(hidden, rotary, None, cache)
        ends: Tensor = self.llama.model.norm(last.last(hidden, rotary, cache))
        return ends[:, 0]

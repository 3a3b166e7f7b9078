"""The language model's backbone: `LlamaForCausalLM` of transformers, run layer by layer, nothing of ours inside it.

Suffixes: B = cells, N = blocks of all cells, T = tokens a block, L = steps, S = tokens that may be attended to,
H = heads, h = head size, d = hidden size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from policy.model_config import ModelConfig

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM
    from transformers.cache_utils import DynamicCache


def build_backbone(config: ModelConfig, vocabulary_size: int) -> LlamaForCausalLM:
    """A Llama with fresh weights (from torch's global generator) on `vocabulary_size` tokens."""
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary_size,
            hidden_size=config.hidden_size,
            intermediate_size=config.intermediate_size,
            num_hidden_layers=config.num_layers,
            num_attention_heads=config.num_heads,
            num_key_value_heads=config.num_heads,
            max_position_embeddings=config.max_positions,
            tie_word_embeddings=True,
            # 0.02 suits hidden sizes in the thousands; here it would start every token nearly alike.
            initializer_range=0.08,
        )
    )


class Backbone(nn.Module):
    """LlamaForCausalLM, run layer by layer: the same numbers as its own forward, a third less Python per step."""

    cos: Tensor
    sin: Tensor

    def __init__(self, config: ModelConfig, vocabulary_size: int) -> None:
        super().__init__()
        self.llama = build_backbone(config, vocabulary_size)
        positions = torch.arange(config.max_positions)[None]
        cos, sin = self.llama.model.rotary_emb(torch.zeros(1, 1, config.hidden_size), positions)
        self.register_buffer("cos", cos[0], persistent=False)
        self.register_buffer("sin", sin[0], persistent=False)

    def embed(self, tokens: Tensor) -> Tensor:
        return self.llama.model.embed_tokens(tokens)

    def forward(
        self,
        embedded_BLd: Tensor,
        positions_BL: Tensor,
        visible: Tensor | None = None,
        cache: DynamicCache | None = None,
    ) -> Tensor:
        """Final hidden states [B, L, d].

        visible: bool, broadcastable to [B, 1, L, S]; None = causal within an empty cache, everything for one step.
        """
        rotary = (self.cos[positions_BL], self.sin[positions_BL])
        hidden = embedded_BLd
        for layer in self.llama.model.layers:
            hidden = layer(hidden, attention_mask=visible, position_embeddings=rotary, past_key_values=cache)
        return self.llama.model.norm(hidden)

    def ends(self, embedded_NTd: Tensor, cache: DynamicCache) -> Tensor:
        """Final hidden states of the last tokens of sequences that begin with position 0, [N, d].

        Of all others the last layer makes keys and values alone, for `cache`: nobody sees more of them.
        """
        *layers, last = self.llama.model.layers
        length, attention = embedded_NTd.shape[1], last.self_attn
        rotary = (self.cos[:length][None], self.sin[:length][None])
        hidden = embedded_NTd
        for layer in layers:
            hidden = layer(hidden, attention_mask=None, position_embeddings=rotary, past_key_values=cache)
        normed = last.input_layernorm(hidden)

        def heads(projected: Tensor) -> Tensor:
            return projected.unflatten(-1, (-1, attention.head_dim)).transpose(1, 2)

        keys = _rotated(heads(attention.k_proj(normed)), *rotary)
        values = heads(attention.v_proj(normed))
        cache.update(keys, values, attention.layer_idx)
        asked = _rotated(heads(attention.q_proj(normed[:, -1:])), *(table[:, -1:] for table in rotary))
        seen = nn.functional.scaled_dot_product_attention(asked, keys, values, scale=attention.scaling)
        hidden = hidden[:, -1:] + attention.o_proj(seen.transpose(1, 2).flatten(2))
        hidden = hidden + last.mlp(last.post_attention_layernorm(hidden))
        ends: Tensor = self.llama.model.norm(hidden)[:, 0]
        return ends


def _rotated(heads_NHLh: Tensor, cos_1Lh: Tensor, sin_1Lh: Tensor) -> Tensor:
    """Queries or keys turned by their positions."""
    low, high = heads_NHLh.chunk(2, dim=-1)
    return heads_NHLh * cos_1Lh[:, None] + torch.cat((-high, low), dim=-1) * sin_1Lh[:, None]

"""A Llama decoder of our own sizes: RMS norms, rotary positions, SwiGLU, every head with keys of its own.

Number for number what `LlamaForCausalLM` of transformers computes, with its parameters' names, and the same fresh
weights from the same seed (tests/policy/leader_models/test_llama.py). It is written out here because importing the
original takes longer than importing torch, in every process that trains or evaluates, and because its caches copy
what they are first given.

Suffixes: B = sequences, L = new tokens, S = tokens that may be attended to, H = heads, h = head size, d = hidden size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from policy.model_config import ModelConfig

RMS_EPSILON = 1e-6
ROTARY_BASE = 10000.0
INITIAL_DEVIATION = 0.08
"""Of fresh weights. The usual 0.02 suits hidden sizes in the thousands; here every token would start nearly alike."""


class KeyValueCache:
    """Each layer's keys and values of the tokens read so far, [B, H, S, h]."""

    def __init__(self) -> None:
        self.layers: list[tuple[Tensor, Tensor]] = []

    @property
    def length(self) -> int:
        """Tokens of a sequence that are kept."""
        return self.layers[0][0].shape[2] if self.layers else 0

    def extend(self, layer: int, keys_BHLh: Tensor, values_BHLh: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values of a layer, those given at the end. Layers begin in their order."""
        if layer == len(self.layers):
            self.layers.append((keys_BHLh, values_BHLh))
        else:
            keys, values = self.layers[layer]
            self.layers[layer] = torch.cat((keys, keys_BHLh), dim=2), torch.cat((values, values_BHLh), dim=2)
        return self.layers[layer]

    def drop_last(self, tokens: int) -> None:
        """Forget the newest tokens of every sequence."""
        if tokens:
            self.layers = [(keys[:, :, :-tokens], values[:, :, :-tokens]) for keys, values in self.layers]


class RmsNorm(nn.Module):
    """Scales by the root mean square, in float32 whatever the precision around it."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, hidden: Tensor) -> Tensor:
        wide = hidden.to(torch.float32)
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + RMS_EPSILON)
        return self.weight * wide.to(hidden.dtype)


class Attention(nn.Module):
    """Multi-head attention with rotary positions."""

    def __init__(self, hidden_size: int, num_heads: int, layer: int) -> None:
        super().__init__()
        self.layer, self.head_size = layer, hidden_size // num_heads
        width = num_heads * self.head_size
        self.q_proj = nn.Linear(hidden_size, width, bias=False)
        self.k_proj = nn.Linear(hidden_size, width, bias=False)
        self.v_proj = nn.Linear(hidden_size, width, bias=False)
        self.o_proj = nn.Linear(width, hidden_size, bias=False)

    def forward(
        self, hidden_BLd: Tensor, rotary: tuple[Tensor, Tensor], visible: Tensor | None, cache: KeyValueCache | None
    ) -> Tensor:
        """visible: bool, broadcastable to [B, 1, L, S]; None = causal among several tokens, everything for one."""
        queries = rotated(self._heads(self.q_proj(hidden_BLd)), *rotary)
        keys = rotated(self._heads(self.k_proj(hidden_BLd)), *rotary)
        values = self._heads(self.v_proj(hidden_BLd))
        if cache is not None:
            keys, values = cache.extend(self.layer, keys, values)
        return self._attend(queries, keys, values, visible)

    def last(self, hidden_BLd: Tensor, rotary: tuple[Tensor, Tensor], cache: KeyValueCache) -> Tensor:
        """What the last token alone attends to, [B, 1, d]; keys and values of all go into `cache`, empty before."""
        keys = rotated(self._heads(self.k_proj(hidden_BLd)), *rotary)
        keys, values = cache.extend(self.layer, keys, self._heads(self.v_proj(hidden_BLd)))
        asked = rotated(self._heads(self.q_proj(hidden_BLd[:, -1:])), *(table[:, -1:] for table in rotary))
        return self._attend(asked, keys, values, None)

    def _heads(self, projected_BLd: Tensor) -> Tensor:
        return projected_BLd.unflatten(-1, (-1, self.head_size)).transpose(1, 2)

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor, visible: Tensor | None) -> Tensor:
        seen = nn.functional.scaled_dot_product_attention(
            queries,
            keys,
            values,
            visible,
            is_causal=visible is None and queries.shape[2] > 1,
            scale=self.head_size**-0.5,
        )
        attended: Tensor = self.o_proj(seen.transpose(1, 2).flatten(2))
        return attended


class FeedForward(nn.Module):
    """SwiGLU."""

    def __init__(self, hidden_size: int, intermediate_size: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(hidden_size, intermediate_size, bias=False)
        self.up_proj = nn.Linear(hidden_size, intermediate_size, bias=False)
        self.down_proj = nn.Linear(intermediate_size, hidden_size, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        out: Tensor = self.down_proj(nn.functional.silu(self.gate_proj(hidden)) * self.up_proj(hidden))
        return out


class Layer(nn.Module):
    """Attention, then a feed-forward network, each on a norm and added to what came in."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.self_attn = Attention(config.hidden_size, config.num_heads, layer)
        self.mlp = FeedForward(config.hidden_size, config.intermediate_size)
        self.input_layernorm = RmsNorm(config.hidden_size)
        self.post_attention_layernorm = RmsNorm(config.hidden_size)

    def forward(
        self, hidden_BLd: Tensor, rotary: tuple[Tensor, Tensor], visible: Tensor | None, cache: KeyValueCache | None
    ) -> Tensor:
        attended = self.self_attn(self.input_layernorm(hidden_BLd), rotary, visible, cache)
        return self._fed_forward(hidden_BLd + attended)

    def last(self, hidden_BLd: Tensor, rotary: tuple[Tensor, Tensor], cache: KeyValueCache) -> Tensor:
        """The last token's alone, [B, 1, d] (Attention.last)."""
        attended = self.self_attn.last(self.input_layernorm(hidden_BLd), rotary, cache)
        return self._fed_forward(hidden_BLd[:, -1:] + attended)

    def _fed_forward(self, hidden: Tensor) -> Tensor:
        out: Tensor = hidden + self.mlp(self.post_attention_layernorm(hidden))
        return out


class Decoder(nn.Module):
    """Embeddings, layers, and the norm of what comes out of them."""

    def __init__(self, config: ModelConfig, vocabulary_size: int) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(vocabulary_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config, index) for index in range(config.num_layers))
        self.norm = RmsNorm(config.hidden_size)


class Llama(nn.Module):
    """The decoder, under the names that a checkpoint of transformers has for it. Logits are the embeddings again."""

    def __init__(self, config: ModelConfig, vocabulary_size: int) -> None:
        """Fresh weights, from torch's global generator."""
        super().__init__()
        self.model = Decoder(config, vocabulary_size)
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=INITIAL_DEVIATION)
        # The original draws an output layer too, and ties it to the embeddings: what is drawn next depends on it.
        nn.init.normal_(nn.Linear(config.hidden_size, vocabulary_size, bias=False).weight)


def rotary_tables(positions: int, head_size: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines [positions, h] by which queries and keys are turned."""
    frequencies = 1.0 / (ROTARY_BASE ** (torch.arange(0, head_size, 2, dtype=torch.float) / head_size))
    angles = torch.arange(positions)[:, None].float() * frequencies
    both = torch.cat((angles, angles), dim=-1)
    return both.cos(), both.sin()


def rotated(heads_BHLh: Tensor, cos_BLh: Tensor, sin_BLh: Tensor) -> Tensor:
    """Queries or keys turned by their positions."""
    low, high = heads_BHLh.chunk(2, dim=-1)
    return heads_BHLh * cos_BLh[:, None] + torch.cat((-high, low), dim=-1) * sin_BLh[:, None]

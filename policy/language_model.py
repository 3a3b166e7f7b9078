"""The leader as a language model: a small Llama that reads blocks and points at who gets the next RBG.

The backbone is `LlamaForCausalLM` of transformers, nothing of ours inside it. What it reads, and what each token sees:

    [ cell block ] [ UE block ] [ UE block ] ...    each at positions 0..T-1, each sees only itself
    step 0, step 1, ...                             at positions T, T+1, ...; each sees all blocks and earlier steps

A step's input is the embedding of what is asked (leftover mask, contenders, grant, owner of RBG m) plus the feedback of
what was answered just before: a token's own embedding, or for a UE a projection of its block's last hidden state. Its
answer is pointed at: query . key over the fixed tokens' learned rows and the UE blocks' last hidden states. So UEs have
no names, any number of them can be read, and their order does not matter.

Suffixes: B = cells, N = blocks of all cells, T = tokens a block, U = UEs, L = steps, A = actions, d = hidden size,
S = tokens that may be attended to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from policy.grammar import FIRST_UE
from policy.heads import PointerHead
from policy.prompt.compact import PromptLayout, Prompts
from policy.speaking_model import NO_TOKEN, QUERIES, SpeakingModule, Steps

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM
    from transformers.cache_utils import DynamicCache

MAX_POSITIONS = 256
"""Longest block plus longest DCM; the rotary table's length."""


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Size of a Llama built from scratch."""

    hidden_size: int = 64
    num_layers: int = 2
    num_heads: int = 4
    intermediate_size: int = 176

    def __post_init__(self) -> None:
        if min(self.hidden_size, self.num_layers, self.num_heads, self.intermediate_size) < 1:
            raise ValueError(f"sizes must be positive, got {self}")
        if self.hidden_size % (2 * self.num_heads):
            raise ValueError(f"hidden_size is {self.hidden_size}, expected a multiple of 2 x {self.num_heads} heads")


@dataclass(slots=True, eq=False)
class Memory:
    """What the model keeps of a batch of prompts, and of the steps said so far."""

    cache: DynamicCache
    """Keys and values of every layer, [B, heads, S, d / heads]; steps append theirs."""
    visible_BS: Tensor | None
    """Which of them are real, bool; None = all (one cell, or equal numbers of UEs)."""
    keys_BAd: Tensor
    """What is pointed at."""
    feedback_BAd: Tensor
    """What is fed back for each token."""
    positions_B: NDArray[np.int64]
    """Of each cell's next step."""


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
            max_position_embeddings=MAX_POSITIONS,
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
        cos, sin = self.llama.model.rotary_emb(torch.zeros(1, 1, config.hidden_size), torch.arange(MAX_POSITIONS)[None])
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


class LeaderModel(SpeakingModule):
    """Prompts and steps in, logits over a cell's actions out."""

    kind = "pointer"

    def __init__(self, config: ModelConfig, layout: PromptLayout) -> None:
        super().__init__()
        self.config = config
        self.layout = layout
        self.first_fixed_token = layout.vocabulary_size
        self.first_query = self.first_fixed_token + FIRST_UE
        self.backbone = Backbone(config, self.first_query + QUERIES)
        self.head = PointerHead(config.hidden_size)

    def read(self, prompts: Prompts) -> Memory:
        """Run the blocks of a batch of cells; no block is padded, only their places in the memory are."""
        from transformers.cache_utils import DynamicCache

        device = self.device
        length = self.layout.block_tokens
        cache: DynamicCache = DynamicCache()
        tokens_NT = torch.from_numpy(prompts.tokens_NT).to(device)
        positions = torch.arange(length, device=device)[None]
        ends_Nd = self.backbone(self.backbone.embed(tokens_NT), positions, cache=cache)[:, -1]

        cells, places = len(prompts.num_ues_B), int(prompts.num_ues_B.max()) + 1
        block_of_BP, visible_BS = self._places(prompts, cells, places)
        padded: DynamicCache = DynamicCache()
        for index, layer in enumerate(cast("list[Any]", cache.layers)):
            kept = []
            for packed in (layer.keys, layer.values):  # [N, heads, T, head size]
                blocks = packed if block_of_BP is None else packed[block_of_BP]
                blocks = blocks.reshape(cells, places, *packed.shape[1:]).transpose(1, 2)
                kept.append(blocks.reshape(cells, packed.shape[1], places * length, packed.shape[3]))
            padded.update(kept[0], kept[1], index)
        ends_BPd = (ends_Nd if block_of_BP is None else ends_Nd[block_of_BP]).reshape(cells, places, -1)
        ends_BUd = ends_BPd[:, 1:]
        fixed_Fd = self.backbone.llama.model.embed_tokens.weight[self.first_fixed_token : self.first_query]
        keys_BAd, feedback_BAd = self.head.keys(ends_BUd), self.head.feedback(ends_BUd, fixed_Fd)
        return Memory(padded, visible_BS, keys_BAd, feedback_BAd, np.full(cells, length))

    def _places(self, prompts: Prompts, cells: int, places: int) -> tuple[Tensor | None, Tensor | None]:
        """The block of each place [B, P], and which memory tokens are real [B, S]; None, None without padding."""
        if cells * places == len(prompts.tokens_NT):
            return None, None
        device = self.device
        block_of_BP = np.zeros((cells, places), np.int64)
        real_BP = np.zeros((cells, places), bool)
        block_of_BP[prompts.cell_N, prompts.place_N] = np.arange(len(prompts.cell_N))
        real_BP[prompts.cell_N, prompts.place_N] = True
        visible_BS = np.repeat(real_BP, self.layout.block_tokens, axis=1)
        return torch.from_numpy(block_of_BP.reshape(-1)).to(device), torch.from_numpy(visible_BS).to(device)

    def embed_steps(self, memory: Memory, steps: Steps) -> Tensor:
        """[B, L, d]."""
        device = self.device
        asked = self.backbone.embed(torch.from_numpy(steps.query_BL + self.first_query).to(device))
        previous = torch.from_numpy(steps.previous_BL).to(device)
        rows = torch.arange(len(previous), device=device)[:, None]
        said = memory.feedback_BAd[rows, previous.clamp(min=0)]
        if (steps.previous_BL == NO_TOKEN).any():
            said = said * (previous != NO_TOKEN)[..., None]
        return asked + said

    def logits(self, memory: Memory, steps: Steps, situation_BLA: NDArray[np.int64]) -> Tensor:
        """Teacher forcing: unmasked logits [B, L, A] of all steps at once. Uses up the memory's cache."""
        cells, length = steps.query_BL.shape
        before = memory.cache.get_seq_length()
        visible = torch.ones(cells, 1, length, before + length, dtype=torch.bool, device=self.device)
        visible[..., before:] = torch.ones(length, length, dtype=torch.bool, device=self.device).tril()
        if memory.visible_BS is not None:
            visible[..., :before] = memory.visible_BS[:, None, None]
        return self._answer(memory, steps, situation_BLA, memory.positions_B[:, None] + np.arange(length), visible)

    def extend(
        self, memory: Memory, steps: Steps, situation_BLA: NDArray[np.int64], lengths_B: Sequence[int]
    ) -> Tensor:
        """Logits [B, L, A] of the next steps, padded on the left to `lengths_B` real ones; the memory keeps them."""
        length = steps.query_BL.shape[1]
        place_BL = np.arange(length) - (length - np.asarray(lengths_B))[:, None]
        visible = self._visible(memory, place_BL >= 0)
        logits = self._answer(memory, steps, situation_BLA, memory.positions_B[:, None] + place_BL.clip(0), visible)
        memory.positions_B = memory.positions_B + np.asarray(lengths_B)
        return logits

    def forget(self, memory: Memory, steps_B: Sequence[int]) -> None:
        """Discard each cell's last steps: cut off for one cell, made invisible in a batch."""
        if not any(steps_B):
            return
        memory.positions_B = memory.positions_B - np.asarray(steps_B)
        size = memory.cache.get_seq_length()
        if len(steps_B) == 1:
            memory.cache.crop(-steps_B[0])
            if memory.visible_BS is not None:
                memory.visible_BS = memory.visible_BS[:, : size - steps_B[0]]
            return
        if memory.visible_BS is None:
            memory.visible_BS = torch.ones(len(steps_B), size, dtype=torch.bool, device=self.device)
        for b, steps in enumerate(steps_B):
            if steps:
                memory.visible_BS[b, size - steps :] = False

    def _answer(
        self,
        memory: Memory,
        steps: Steps,
        situation_BLA: NDArray[np.int64],
        positions_BL: NDArray[np.int64],
        visible: Tensor | None,
    ) -> Tensor:
        positions = torch.from_numpy(positions_BL).to(self.device)
        hidden_BLd = self.backbone(self.embed_steps(memory, steps), positions, visible, memory.cache)
        return self.head(hidden_BLd, memory.keys_BAd, torch.from_numpy(situation_BLA).to(self.device))

    def _visible(self, memory: Memory, real: NDArray[np.bool_]) -> Tensor | None:
        """What new steps (real [B, L]) may attend to, bool [B, 1, L, S]; None = everything. Notes them as seen."""
        cells, length = real.shape
        before = memory.cache.get_seq_length()
        if memory.visible_BS is None and not real.all():
            memory.visible_BS = torch.ones(cells, before, dtype=torch.bool, device=self.device)
        if memory.visible_BS is not None:
            memory.visible_BS = torch.cat((memory.visible_BS, torch.from_numpy(real).to(self.device)), dim=1)
            if length == 1:
                return memory.visible_BS[:, None, None]
            visible = memory.visible_BS[:, None, None].repeat(1, 1, length, 1)
        elif length == 1:
            return None
        else:
            visible = torch.ones(cells, 1, length, before + length, dtype=torch.bool, device=self.device)
        visible[..., before:] &= torch.ones(length, length, dtype=torch.bool, device=self.device).tril()
        return visible


def new_leader_model(config: ModelConfig, layout: PromptLayout, seed: int) -> LeaderModel:
    """A model with fresh weights that depend on `seed` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LeaderModel(config, layout)


def state_of(model: nn.Module) -> dict[str, Tensor]:
    """A model's tensors by name, each once: the vocabulary head is the embedding again (tied), and left out."""
    return {k: v.detach().contiguous() for k, v in model.state_dict().items() if not k.endswith("lm_head.weight")}

"""The leader as a language model: a small Llama that reads a cell in blocks and chooses who gets the next RBG.

The backbone is a plain Llama (policy.leader_models.llama). What it reads, and what each token sees:

    [ cell block ] [ UE block ] [ UE block ] ...    each at positions 0..T-1, each sees only itself
    step 0, step 1, ...                             at positions T, T+1, ...; each sees all blocks and earlier steps

A step's input is the embedding of what is asked (leftover mask, contenders, grant, owner of RBG m) plus the feedback of
what was answered just before. Its answer is query . key over the fixed tokens and the UEs (policy.leader_models.heads):

- head "pointer": a UE's key and feedback are projections of its block's last hidden state. So UEs have no names, any
  number of them can be read, and their order does not matter.
- head "vocabulary" (the paper's): UEs are tokens. Each block ends in its UE's name, one of NAMES vocabulary entries;
  key and feedback are that token's embedding. Names are dealt anew for every prompt, by a hash of the prompt itself:
  all names are learnt alike, whatever number of UEs was trained on, and the same prompt always has the same names.

With attention "dense" the prompt is one sequence: block after block at positions 0..N*T-1, each token sees all earlier
ones, and the order of the UEs matters. In "one_pass" decoding a step sees the blocks and itself, and nothing of
what was chosen: the grammar alone keeps a DCM's tokens together.

With `block_positions` the fields of a block share so many positions, their embeddings summed: reading a cell costs in
proportion to them.

Suffixes: B = cells, N = blocks of all cells, T = tokens a block, U = UEs, L = steps, A = actions, d = hidden size,
S = tokens that may be attended to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from policy.grammar import FIRST_UE
from policy.leader_models.action_features import OUTCOME_LEVELS, OUTCOMES
from policy.leader_models.backbone import Backbone
from policy.leader_models.decoding import decode
from policy.leader_models.heads import PointerHead, VocabularyHead, without_channel_history
from policy.leader_models.leader_network import QUERIES, Autoregressive, LeaderNetwork, PromptError, seeded
from policy.leader_models.llama import KeyValueCache
from policy.leader_models.transcript import NO_TOKEN, Steps, TeacherForcingBatch
from policy.model_config import BLOCK_POSITIONS, ModelConfig
from policy.prompt.compact import PromptLayout, Prompts

NAMES = 127
"""Names that a vocabulary head has for UEs; a prime, so that names can be dealt by stride."""


@dataclass(slots=True, eq=False)
class Memory:
    """What the model keeps of a batch of prompts, and of the steps so far."""

    cache: KeyValueCache
    """Keys and values of every layer, [B, heads, S, d / heads]; steps append theirs."""
    visible_BS: Tensor | None
    """Which of them are real, bool; None = all (one cell, or equal numbers of UEs)."""
    keys_BAd: Tensor
    """What is pointed at."""
    feedback_BAd: Tensor
    """What is fed back for each token."""
    positions_B: NDArray[np.int64]
    """Position of each cell's next step."""


class LeaderModel(Autoregressive):
    """Prompts and steps in, logits over a cell's actions out."""

    decode = decode
    first_fields: Tensor

    def __init__(self, config: ModelConfig, layout: PromptLayout) -> None:
        super().__init__()
        self.kind = config.head
        self.config = config
        self.layout = layout
        self.one_pass = config.decoding == "one_pass"
        self.named = config.head == "vocabulary"
        self.first_fixed_token = layout.vocabulary_size
        self.first_query = self.first_fixed_token + FIRST_UE
        self.first_name = self.first_query + QUERIES
        fields = layout.block_tokens
        self.block_positions = config.block_positions or fields
        if self.block_positions > fields or (self.named and self.block_positions != fields):
            most = f"{fields}, one per field, with a vocabulary head" if self.named else f"1 to {fields}"
            raise ValueError(f"block_positions is {config.block_positions}, expected {most}")
        self.block_tokens = self.block_positions + self.named
        # Fields in order, as evenly as can be: position p begins with field starts[p].
        starts = [-(-p * fields // self.block_positions) for p in range(self.block_positions)]
        self.register_buffer("first_fields", torch.tensor(starts), persistent=False)
        # The cell's own block has a name too, so that all blocks are equally long.
        self.backbone = Backbone(config, self.first_name + (1 + NAMES if self.named else 0))
        has_channel_history = "heard" in layout.rbg_features
        self.head = (
            VocabularyHead(config.hidden_size, has_channel_history)
            if self.named
            else PointerHead(config.hidden_size, feeds_back=not self.one_pass, has_channel_history=has_channel_history)
        )
        self.knows_outcomes = "outcome" in layout.rbg_features
        if self.knows_outcomes:
            self.outcome = nn.Embedding(OUTCOME_LEVELS, config.hidden_size)
            nn.init.normal_(self.outcome.weight, std=0.02)

    def read(self, prompts: Prompts) -> Memory:
        """Run the blocks of a batch of cells. Raises PromptError for a cell of too many UEs."""
        tokens_NT = prompts.tokens_NT
        if self.named:
            names_N = self.first_name + _deal_names(prompts)
            tokens_NT = np.concatenate((tokens_NT, names_N[:, None]), axis=1)
        tokens = torch.from_numpy(tokens_NT).to(self.device)
        cells, places = len(prompts.num_ues_B), int(prompts.num_ues_B.max()) + 1
        block_of_BP, visible_BS = self._places(prompts, cells, places)
        run = self._run_dense if self.config.attention == "dense" else self._run_blocks
        cache, ends_BPd = run(tokens, block_of_BP, cells, places)
        if self.named:
            last_N = tokens[:, -1]
            ends_BPd = self.backbone.embed(last_N if block_of_BP is None else last_N[block_of_BP])
        ues_BUd = ends_BPd.reshape(cells, places, -1)[:, 1:]
        fixed_Fd = self.backbone.llama.model.embed_tokens.weight[self.first_fixed_token : self.first_query]
        blocks_B = prompts.num_ues_B + 1 if self.config.attention == "dense" else np.ones(cells, np.int64)
        return Memory(
            cache,
            visible_BS,
            self.head.keys(ues_BUd, fixed_Fd),
            self.head.feedback(ues_BUd, fixed_Fd),
            blocks_B * self.block_tokens,
        )

    def embed_blocks(self, tokens_NT: Tensor) -> Tensor:
        """The blocks' inputs, [N, positions, d]: each position is the sum of its fields, rows of the table."""
        if self.block_positions == self.layout.block_tokens:
            return self.backbone.embed(tokens_NT)
        blocks, fields = tokens_NT.shape
        offsets = torch.arange(blocks, device=tokens_NT.device)[:, None] * fields + self.first_fields
        table = self.backbone.llama.model.embed_tokens.weight
        summed = nn.functional.embedding_bag(tokens_NT.reshape(-1), table, offsets.reshape(-1), mode="sum")
        return summed.reshape(blocks, self.block_positions, -1)

    def _run_blocks(
        self, tokens_NT: Tensor, block_of_BP: Tensor | None, cells: int, places: int
    ) -> tuple[KeyValueCache, Tensor]:
        """Each block by itself: (keys and values by cell, last hidden states by place). Only memory is padded."""
        length = self.block_tokens
        packed_cache = KeyValueCache()
        ends_Nd = self.backbone.ends(self.embed_blocks(tokens_NT), packed_cache)
        cache = KeyValueCache()
        for index, layer in enumerate(packed_cache.layers):
            kept = []
            for packed in layer:  # [N, heads, T, head size]
                blocks = packed if block_of_BP is None else packed[block_of_BP]
                blocks = blocks.reshape(cells, places, *packed.shape[1:]).transpose(1, 2)
                kept.append(blocks.reshape(cells, packed.shape[1], places * length, packed.shape[3]))
            cache.extend(index, kept[0], kept[1])
        return cache, ends_Nd if block_of_BP is None else ends_Nd[block_of_BP]

    def _run_dense(
        self, tokens_NT: Tensor, block_of_BP: Tensor | None, cells: int, places: int
    ) -> tuple[KeyValueCache, Tensor]:
        """Each cell's blocks as one sequence, padded at its end, where nothing of the cell sees it."""
        size = places * self.block_tokens
        most = self.config.max_positions - BLOCK_POSITIONS
        if size > most:
            most_ues = most // self.block_tokens - 1
            raise PromptError(f"a cell has {places - 1} UEs, expected at most {most_ues} with dense attention")
        blocks = tokens_NT if block_of_BP is None else tokens_NT[block_of_BP]
        cache = KeyValueCache()
        positions = torch.arange(size, device=self.device)[None]
        embedded = self.embed_blocks(blocks).reshape(cells, size, -1)
        hidden_BSd = self.backbone(embedded, positions, cache=cache)
        return cache, hidden_BSd.reshape(cells, places, self.block_tokens, -1)[:, :, -1]

    def _places(self, prompts: Prompts, cells: int, places: int) -> tuple[Tensor | None, Tensor | None]:
        """The block of each place [B, P], and which memory tokens are real [B, S]; None, None without padding."""
        if cells * places == len(prompts.tokens_NT):
            return None, None
        block_of_BP = np.zeros((cells, places), np.int64)
        real_BP = np.zeros((cells, places), bool)
        block_of_BP[prompts.cell_N, prompts.place_N] = np.arange(len(prompts.cell_N))
        real_BP[prompts.cell_N, prompts.place_N] = True
        visible_BS = np.repeat(real_BP, self.block_tokens, axis=1)
        return torch.from_numpy(block_of_BP.reshape(-1)).to(self.device), torch.from_numpy(visible_BS).to(self.device)

    def embed_steps(self, memory: Memory, steps: Steps, features_BLA: NDArray[np.int64]) -> Tensor:
        """The input of each step, [B, L, d]: what is asked, and the feedback of what was chosen just before."""
        asked = self.backbone.embed(torch.from_numpy(steps.query_BL + self.first_query).to(self.device))
        if self.knows_outcomes:
            # The outcome is the RBG's, so that every action of a step has the same.
            asked = asked + self.outcome(torch.from_numpy(features_BLA[:, :, 0] // OUTCOMES).to(self.device))
        if self.one_pass:
            return asked
        previous = torch.from_numpy(steps.previous_BL).to(self.device)
        rows = torch.arange(len(previous), device=self.device)[:, None]
        chosen = memory.feedback_BAd[rows, previous.clamp(min=0)]
        if (steps.previous_BL == NO_TOKEN).any():
            chosen = chosen * (previous != NO_TOKEN)[..., None]
        return asked + chosen

    def logits(
        self, memory: Memory, steps: Steps, features_BLA: NDArray[np.int64], legal_BLA: Tensor | None = None
    ) -> Tensor:
        """Teacher forcing: logits [B, L, A] of all steps at once, those of legal choices alone if these are given.

        Uses up the memory's cache.
        """
        cells, length = steps.query_BL.shape
        before = memory.cache.length
        visible = torch.ones(cells, 1, length, before + length, dtype=torch.bool, device=self.device)
        if memory.visible_BS is not None:
            visible[..., :before] = memory.visible_BS[:, None, None]
        positions_BL = np.repeat(memory.positions_B[:, None], length, axis=1)
        if self.one_pass:
            visible[..., before:] = torch.eye(length, dtype=torch.bool, device=self.device)
            features_BLA = without_channel_history(features_BLA, steps.query_BL)
        else:
            visible[..., before:] = torch.ones(length, length, dtype=torch.bool, device=self.device).tril()
            positions_BL += np.arange(length)
        return self._answer(memory, steps, features_BLA, positions_BL, visible, legal_BLA)

    def teacher_forcing_logits(self, prompts: Prompts, teacher_batch: TeacherForcingBatch) -> Tensor:
        """Only what is somebody's choice is asked of the head: the rest is 0."""
        legal_BLA = torch.from_numpy(teacher_batch.mask_BLA).to(self.device)
        return self.logits(self.read(prompts), teacher_batch.steps, teacher_batch.features_BLA, legal_BLA)

    def extend(self, memory: Memory, steps: Steps, features_BLA: NDArray[np.int64], lengths_B: Sequence[int]) -> Tensor:
        length = steps.query_BL.shape[1]
        place_BL = np.arange(length) - (length - np.asarray(lengths_B))[:, None]
        visible = self._visible(memory, place_BL >= 0)
        logits = self._answer(memory, steps, features_BLA, memory.positions_B[:, None] + place_BL.clip(0), visible)
        memory.positions_B = memory.positions_B + np.asarray(lengths_B)
        return logits

    def forget(self, memory: Memory, steps_B: Sequence[int]) -> None:
        """The steps are cut off for one cell, and made invisible in a batch."""
        if not any(steps_B):
            return
        memory.positions_B = memory.positions_B - np.asarray(steps_B)
        size = memory.cache.length
        if len(steps_B) == 1:
            memory.cache.drop_last(steps_B[0])
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
        features_BLA: NDArray[np.int64],
        positions_BL: NDArray[np.int64],
        visible: Tensor | None,
        legal_BLA: Tensor | None = None,
    ) -> Tensor:
        positions = torch.from_numpy(positions_BL).to(self.device)
        hidden_BLd = self.backbone(self.embed_steps(memory, steps, features_BLA), positions, visible, memory.cache)
        features = torch.from_numpy(features_BLA).to(self.device)
        if legal_BLA is None:
            return self.head(hidden_BLd, memory.keys_BAd, features)
        return self.head.of_choices(hidden_BLd, memory.keys_BAd, features, legal_BLA)

    def _visible(self, memory: Memory, real: NDArray[np.bool_]) -> Tensor | None:
        """What new steps (real [B, L]) may attend to, bool [B, 1, L, S]; None = everything. Notes them as seen."""
        cells, length = real.shape
        before = memory.cache.length
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


def _deal_names(prompts: Prompts) -> NDArray[np.int64]:
    """Each block's name [N]: 0 for a cell's own, 1..NAMES for its UEs, all different."""
    most = int(prompts.num_ues_B.max())
    if most > NAMES:
        raise PromptError(f"a cell has {most} UEs, expected at most {NAMES} with a vocabulary head")
    ends_B = np.cumsum(prompts.num_ues_B + 1)
    hashes = [crc32(cell.tobytes()) for cell in np.split(prompts.tokens_NT, ends_B[:-1])]
    hash_N = np.array(hashes, np.int64)[prompts.cell_N]
    # A prime number of names: any stride visits all of them.
    dealt_N = (hash_N + (1 + hash_N // NAMES % (NAMES - 1)) * prompts.place_N) % NAMES
    return np.where(prompts.place_N == 0, 0, 1 + dealt_N)


def new_leader_model(config: ModelConfig, layout: PromptLayout, seed: int) -> LeaderModel:
    """A model with fresh weights that depend on `seed` alone."""
    with seeded(seed):
        return LeaderModel(config, layout)


def state_of(model: nn.Module) -> dict[str, Tensor]:
    """A model's tensors by name. A model that is trained in part (policy.text.model) has only that part here."""
    if isinstance(model, LeaderNetwork) and (part := model.trained_state()) is not None:
        return part
    return {name: tensor.detach().contiguous() for name, tensor in model.state_dict().items()}

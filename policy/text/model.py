"""The leader as a pretrained language model: it reads a cell as text and chooses its words through a trie.

    prompt tokens | "leftover" | branch nodes of " none", " embb", ... | "\\n" "contenders" | ... | "RBG0" | ...

Of each step, the model reads the step prefix and the branch nodes of the trie (policy.text.spelling_trie) side by side:
every branch node sees the prompt, what was chosen, and its own path, nothing of its siblings. So one pass over a step
gives the exact probability of every legal action, spelled in however many tokens; and one pass over a whole DCM gives
those of all its steps.

Logits are taken for the tokens that may come next alone: last hidden state times those rows of the output layer.
Suffixes: B = cells, T = tokens of a token tree, S = tokens that may be seen, L = steps, A = actions, F = branch nodes,
W = ways on from a branch node, P = pairs of action and way, d = hidden size.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from policy.cell_state import CellState
from policy.errors import how_to_add
from policy.grammar import FIRST_UE, IDLE_TOKEN, MAX_RBGS, OPEN_TOKEN, StepKind
from policy.intent import Intent
from policy.leader_models.leader_network import LeaderNetwork, PromptError, seeded
from policy.leader_models.transcript import TeacherForcingBatch
from policy.prompt.text import TEMPLATE_VERSION, action_text, prompt_text, step_prefix_text
from policy.text.base_model import BaseModel, BaseModelError, fingerprint, load_base_model
from policy.text.decoding import decode_text
from policy.text.spelling_trie import ROOT, Trie, TrieError
from policy.text.text_config import TextConfig
from policy.text.token_tree import Choice, TokenTree

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase
    from transformers.cache_utils import DynamicCache

FLOAT_ERROR, BF16_ERROR = 1e-4, 0.1
"""How far logits may be off, by rounding, of the largest."""
MANY_UES = 128
"""UEs whose names a tokenizer must spell differently before it is accepted: all digits, one to three of them."""
UNLIMITED = 1 << 30
"""The context, in tokens, of a model that names none."""
LORA_ALPHA_PER_RANK = 2
"""LoRA's usual scale: the adapter's output counts twice."""


class TextLayout:
    """Prompts in a tokenizer's tokens."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer

    def encode(self, states: Sequence[CellState], intents: Sequence[Intent]) -> list[tuple[int, ...]]:
        """One prompt per state."""
        begin = self.tokenizer.bos_token_id
        first = () if begin is None else (int(begin),)
        return [(*first, *self.spell(prompt_text(state, intent))) for state, intent in zip(states, intents)]

    def spell(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode(text, add_special_tokens=False))

    def as_json(self) -> dict[str, Any]:
        return {"template": TEMPLATE_VERSION}


class TextModel(LeaderNetwork):
    """Any causal language model of transformers, its adapters, and the words of the grammar in its tokens."""

    kind = "text"
    uses_words = True
    config: TextConfig
    layout: TextLayout
    decode = decode_text

    def __init__(self, config: TextConfig, base: BaseModel, seed: int = 0) -> None:
        """seed: of fresh adapters, which at first change nothing. Raises BaseModelError."""
        super().__init__()
        self.config = config
        self.folder = base.folder
        self.layout = TextLayout(base.tokenizer)
        self.lm: Any = base.model
        for module in self.lm.modules():  # a probability must be the same whenever it is asked for
            if isinstance(module, nn.Dropout):
                module.p = 0.0
            elif isinstance(getattr(module, "attention_dropout", None), float):
                setattr(module, "attention_dropout", 0.0)  # noqa: B010 - not an attribute of nn.Module
        if config.lora_rank:
            _add_adapters(self.lm, config.lora_rank, seed)
        if config.gradient_checkpointing:
            self.lm.activation_checkpointing_enable({"use_reentrant": False})
        self.trie = self._spell_out(base.tokenizer)
        fixed = (StepKind.MASK, StepKind.CONTENDERS, StepKind.GRANT_UE, StepKind.GRANT_RBG)
        steps = [*((kind, -1) for kind in fixed), *((StepKind.OWNER, rbg) for rbg in range(MAX_RBGS))]
        self._step_prefixes = {(kind, rbg): self.layout.spell(step_prefix_text(kind, rbg)) for kind, rbg in steps}
        limits = (getattr(self.lm.config, name, None) for name in ("max_position_embeddings", "sliding_window"))
        self.context = min((limit for limit in limits if limit), default=UNLIMITED)
        """Tokens that prompt and DCM may have together."""
        self._check_reading()

    def _check_reading(self) -> None:
        """Beside branch nodes the model must read a chain as it does alone. Raises BaseModelError if it does not."""
        try:
            right = self._reads_branches()
        except (ValueError, TypeError, RuntimeError, IndexError, KeyError):  # each model has its own way to fail
            right = False
        if not right:
            raise BaseModelError(
                f"base model {self.config.base_model!r}: {type(self.lm).__name__} does not read several continuations "
                "side by side, expected full attention and positions that can be given"
            )

    @torch.no_grad()
    def _reads_branches(self) -> bool:
        step_prefix, words = self.step_prefix(StepKind.OWNER, 0), self.trie.spelling(OPEN_TOKEN)
        mask_A = np.zeros(FIRST_UE + 11, bool)
        mask_A[[OPEN_TOKEN, IDLE_TOKEN, FIRST_UE + 1, FIRST_UE + 10]] = True
        tree = TokenTree(0)
        tree.add(step_prefix)
        tree.add_branches(self.trie.branches(mask_A))
        tree.add(words)
        hidden_d = self.read_trees([tree])[0, tree.end]
        chain = torch.tensor([[*step_prefix, *words]], device=self.device)
        expected = self.lm(input_ids=chain).logits[0, -1].float()
        found = self._logits(hidden_d[None], torch.arange(len(expected), device=self.device))[0]
        error = float((found - expected).abs().max()) / (float(expected.abs().max()) + 1.0)
        return error <= (BF16_ERROR if self.config.bf16 else FLOAT_ERROR)

    def _spell_out(self, tokenizer: PreTrainedTokenizerBase) -> Trie:
        separator = tokenizer.eos_token_id
        if separator is None:
            separator = len(tokenizer) - 1
        try:
            return Trie(lambda action: self.layout.spell(action_text(action)), int(separator), FIRST_UE + MANY_UES)
        except TrieError as error:
            raise BaseModelError(f"base model {self.config.base_model!r}: {error}") from error

    @cached_property
    def base_sha256(self) -> str:
        """The digest of the base model's files."""
        return fingerprint(self.folder)

    def trained_state(self) -> dict[str, Tensor]:
        """What training changes, by name: the adapters, or all weights."""
        return {
            name: parameter.detach().contiguous()
            for name, parameter in self.named_parameters()
            if parameter.requires_grad
        }

    def step_prefix(self, kind: StepKind, rbg: int) -> tuple[int, ...]:
        """What is read before a step's action."""
        return self._step_prefixes[kind, rbg if kind is StepKind.OWNER else -1]

    def teacher_forcing_logits(self, prompts: Sequence[Sequence[int]], teacher_batch: TeacherForcingBatch) -> Tensor:
        """Log-probability of every action at every step of whole DCMs, [B, L, A]; differentiable.

        -inf where illegal; beyond a DCM's end token 0 alone is legal, as in the batch.
        """
        trees: list[TokenTree] = []
        choices: list[Choice] = []
        for row, (prompt, steps) in enumerate(zip(prompts, teacher_batch.lengths_B.tolist())):
            tree = TokenTree(0)
            tree.add(prompt)
            for step in range(steps):
                action = int(teacher_batch.tokens_BL[row, step])
                tree.add(self.step_prefix(*_kind_of(int(teacher_batch.steps.query_BL[row, step]))))
                branches = self.trie.branches(teacher_batch.mask_BLA[row, step])
                spelling = self.trie.spelling(action)
                if len(branches.node_F):
                    first = tree.add_branches(branches)
                    choices.append(Choice(row, step, branches, tree.end, first))
                    read = branches.read[action]
                    tree.take([first + node for node in read])
                    spelling = spelling[len(read) :]
                if step + 1 < steps:
                    tree.add(spelling)
            trees.append(tree)
        hidden_BTd = self.read_trees(trees)
        return self.choose_log_probs(hidden_BTd, choices, teacher_batch.mask_BLA, [len(s) for s in trees])

    def read_trees(
        self,
        trees: Sequence[TokenTree],
        cache: DynamicCache | None = None,
        visible_BS: NDArray[np.bool_] | None = None,
    ) -> Tensor:
        """Last hidden states of a batch of token trees, padded on the left, [B, T, d].

        cache, visible_BS: what was read before, appended to, and which of it each cell may see.
        """
        cells, length = len(trees), max(map(len, trees))
        seen_before = 0 if visible_BS is None else visible_BS.shape[1]
        tokens_BT = np.zeros((cells, length), np.int64)
        positions_BT = np.zeros((cells, length), np.int64)
        seen_BTS = np.zeros((cells, length, seen_before + length), bool)
        # Padding sees itself: attention over nothing is no number.
        seen_BTS[:, :, seen_before:] = np.eye(length, dtype=bool)
        for row, tree in enumerate(trees):
            count = len(tree)
            if not count:
                continue
            deepest = max(tree.depths)
            if deepest >= self.context:
                raise PromptError(
                    f"prompt and DCM take {deepest + 1} tokens, expected at most the {self.context} of "
                    f"{self.config.base_model}"
                )
            tokens_BT[row, -count:] = tree.tokens
            positions_BT[row, -count:] = tree.depths
            seen_BTS[row, -count:, -count:] = tree.seen()
            if visible_BS is not None:
                seen_BTS[row, -count:, :seen_before] = visible_BS[row]
        device = self.device
        seen = torch.from_numpy(seen_BTS[:, None]).to(device)
        if self.lm.config._attn_implementation != "sdpa":  # eager attention adds its mask
            floats = torch.zeros(seen.shape, dtype=self.lm.dtype, device=device)
            seen = floats.masked_fill(~seen, torch.finfo(self.lm.dtype).min)
        mixed = self.config.bf16 and not self.config.lora_rank
        with torch.autocast(device.type, torch.bfloat16) if mixed else nullcontext():
            output = self.lm.base_model(
                input_ids=torch.from_numpy(tokens_BT).to(device),
                attention_mask=seen,
                position_ids=torch.from_numpy(positions_BT).to(device),
                past_key_values=cache,
                use_cache=cache is not None,
            )
        return cast(Tensor, output.last_hidden_state)

    def choose_log_probs(
        self, hidden_BTd: Tensor, choices: Sequence[Choice], legal_BLA: NDArray[np.bool_], lengths: Sequence[int]
    ) -> Tensor:
        """Log-probability of every legal action of every step, [B, L, A] of `legal_BLA`, from what was read.

        lengths: of each cell's token tree before padding.
        """
        device = self.device
        legal = torch.from_numpy(legal_BLA).to(device)
        if not choices:
            return torch.zeros(legal.shape, device=device).masked_fill(~legal, -torch.inf)
        steps, actions = legal_BLA.shape[1:]
        width = max(choice.branches.ways_FW.shape[1] for choice in choices)
        rows, places, ways, real, targets, of_branch, of_way = [], [], [], [], [], [], []
        count = 0
        for row, step, branches, step_prefix, first in choices:
            padding = hidden_BTd.shape[1] - lengths[row]
            rows.append(np.full(len(branches.node_F), row))
            places.append(padding + np.where(branches.node_F == ROOT, step_prefix, first + branches.node_F))
            missing = ((0, 0), (0, width - branches.ways_FW.shape[1]))
            ways.append(np.pad(branches.ways_FW, missing))
            real.append(np.pad(branches.real_FW, missing))
            targets.append((row * steps + step) * actions + branches.actions[branches.action_P])
            of_branch.append(count + branches.branch_P)
            of_way.append(branches.way_P)
            count += len(branches.node_F)

        def index(parts: list[NDArray[np.int64]]) -> Tensor:
            return torch.from_numpy(np.concatenate(parts)).to(device)

        hidden_Fd = hidden_BTd[index(rows), index(places)]
        words, places_FW = np.unique(np.concatenate(ways), return_inverse=True)
        logits_FW = self._logits(hidden_Fd, torch.from_numpy(words).to(device)).gather(
            1, torch.from_numpy(places_FW.reshape(-1, width)).to(device)
        )
        real_FW = torch.from_numpy(np.concatenate(real)).to(device)
        log_probs_FW = torch.log_softmax(logits_FW.masked_fill(~real_FW, -torch.inf), dim=-1)
        sums = torch.zeros(legal.numel(), device=device).index_add(
            0, index(targets), log_probs_FW[index(of_branch), index(of_way)]
        )
        return sums.reshape(legal.shape).masked_fill(~legal, -torch.inf)

    def _logits(self, hidden_Fd: Tensor, words: Tensor) -> Tensor:
        """Logits [F, words] of the given tokens of the vocabulary alone, in float32. hidden_Fd: last hidden states."""
        layer = self.lm.get_output_embeddings()
        logits = hidden_Fd.float() @ layer.weight[words].float().T
        if (bias := getattr(layer, "bias", None)) is not None:
            logits = logits + bias[words].float()
        config = self.lm.config
        logits = (
            logits * (getattr(config, "logit_scale", None) or 1.0) / (getattr(config, "logits_scaling", None) or 1.0)
        )
        cap = getattr(config, "final_logit_softcapping", None)
        return logits if cap is None else cap * torch.tanh(logits / cap)


def new_text_model(config: TextConfig, *, seed: int = 0, local_files_only: bool = False) -> TextModel:
    """Load the base model and put fresh adapters on it. Raises BaseModelError."""
    if Path(config.base_model).expanduser().is_dir():  # wherever the bundle is loaded from
        config = replace(config, base_model=str(Path(config.base_model).expanduser().resolve()))
    lower = config.bf16 and config.lora_rank > 0
    dtype = torch.bfloat16 if lower else torch.float32
    base = load_base_model(config.base_model, dtype=dtype, local_files_only=local_files_only)
    return TextModel(config, base, seed)


def _add_adapters(model: nn.Module, rank: int, seed: int) -> None:
    """LoRA on every linear layer but the output; everything else is frozen."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise BaseModelError(f"LoRA: {how_to_add('peft')}") from error
    config = LoraConfig(r=rank, lora_alpha=LORA_ALPHA_PER_RANK * rank, target_modules="all-linear", lora_dropout=0.0)
    with seeded(seed):
        inject_adapter_in_model(config, model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)
        if "lora_" in name:
            parameter.data = parameter.data.float()  # steps of an optimizer are lost in bfloat16


def _kind_of(query: int) -> tuple[StepKind, int]:
    """What a query asks: its kind and, for an owner, the RBG; -1 = no RBG."""
    if query >= StepKind.OWNER:
        return StepKind.OWNER, query - int(StepKind.OWNER)
    return StepKind(query), -1

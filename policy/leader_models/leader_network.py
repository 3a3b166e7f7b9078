"""What decoding, scoring and training need of a leader's network: the seam behind which it may be anything.

A network reads prompts, is asked the steps of a DCM, and answers each with one number per action; the grammar masks
them, and the softmax over what is left is what the leader plays by. There are three kinds, each with what it alone can
do: every network decodes and can be scored (LeaderNetwork); one whose actions are single steps reads the prompts first
and answers any steps (StepNetwork); one that is fed with what was chosen is asked step after step (Autoregressive).

Suffixes: B = cells, L = steps, A = actions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from policy.cell_state import CellState
from policy.errors import UserMistake
from policy.grammar import MAX_RBGS, Grammar, StepKind
from policy.intent import Intent
from policy.leader import never_expires
from policy.leader_models.transcript import DecodedDcm, Steps, TeacherForcingBatch

if TYPE_CHECKING:
    from policy.prompt.compact import Prompts

QUERIES = int(StepKind.OWNER) + MAX_RBGS
"""What may be asked: one per step kind, and one per RBG for its owner."""


class PromptError(UserMistake):
    """A cell that a model cannot read; one line that names the value and the allowed range."""


class Layout(Protocol):
    """How a model's prompts are made."""

    def encode(self, states: Sequence[CellState], intents: Sequence[Intent]) -> Prompts:
        """Prompts of a batch of cells; `intents` one per state."""

    def as_json(self) -> Mapping[str, Any]:
        """What a bundle keeps of it."""


class LeaderNetwork(nn.Module, ABC):
    """A leader's network: prompts in, DCMs out. It can be trained, saved and loaded."""

    kind: str
    """Its name in policy.model_kinds."""
    config: Any
    """Its size: a dataclass of plain values."""
    layout: Any
    """How its prompts are made: a Layout."""
    one_pass: bool = False
    """A step's logits depend on its query alone, not on what was chosen before nor on how often."""
    uses_words: bool = False
    """An action takes several of the model's tokens."""

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def trained_state(self) -> dict[str, Tensor] | None:
        """What training changes, by name, where that is not all of it."""
        return None

    @abstractmethod
    def decode(
        self,
        states: Sequence[CellState],
        intents: Sequence[Intent],
        grammars: Sequence[Grammar],
        *,
        uniforms_BL: NDArray[np.float64] | None = None,
        drafts: Sequence[Sequence[int] | None] | None = None,
        expired: Callable[[], bool] = never_expires,
    ) -> list[DecodedDcm]:
        """One DCM per cell. Greedy without `uniforms_BL`; with it (in [0, 1), L >= Grammar.max_tokens), sampled.

        Cells may differ in UEs and RBGs. drafts: per cell a DCM that is likely to be chosen (None = no idea); any
        draft gives the same result, a good one sooner. When `expired()` turns true, between two forwards, the rest is
        filled in without the model. Raises PromptError for a cell that the model cannot read.
        """

    @abstractmethod
    def teacher_forcing_logits(self, prompts: Any, teacher_batch: TeacherForcingBatch) -> Tensor:
        """Logits [B, L, A] of every step of whole DCMs; what the batch's mask forbids may be -inf."""


class StepNetwork(LeaderNetwork):
    """A network that answers one action with one forward of a step."""

    @abstractmethod
    def read(self, prompts: Prompts) -> Any:
        """What the model keeps of a batch of prompts: its memory, good for one DCM a cell."""

    @abstractmethod
    def logits(self, memory: Any, steps: Steps, features_BLA: NDArray[np.int64]) -> Tensor:
        """Logits [B, L, A] of whole DCMs' steps at once, padded on the right. Uses the memory up."""

    def teacher_forcing_logits(self, prompts: Prompts, teacher_batch: TeacherForcingBatch) -> Tensor:
        return self.logits(self.read(prompts), teacher_batch.steps, teacher_batch.features_BLA)


class Autoregressive(StepNetwork):
    """A network that is fed with what was chosen, unless it is `one_pass`."""

    @abstractmethod
    def extend(self, memory: Any, steps: Steps, features_BLA: NDArray[np.int64], lengths_B: Sequence[int]) -> Tensor:
        """Logits [B, L, A] of the next steps, padded on the left to `lengths_B` real ones; the memory keeps them."""

    @abstractmethod
    def forget(self, memory: Any, steps_B: Sequence[int]) -> None:
        """Take the last `steps_B[b]` steps of cell b out of the memory."""


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """What is drawn from torch's global generator within depends on `seed` alone, and changes nothing outside."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def masked_log_softmax(logits: Tensor, mask: Tensor) -> Tensor:
    """Log-probabilities over the last axis, -inf where `mask` is False."""
    return torch.log_softmax(logits.masked_fill(~mask, -torch.inf), dim=-1)

"""What decoding, scoring and training need of a leader's network: the seam behind which it may be anything.

A model reads prompts, is asked the steps of a DCM, and answers with one number per action; the grammar masks them and
the softmax over what is left is the policy. Whether the network is a language model that hears its own words
(autoregressive), or says everything it thinks at once (`one_pass`), only the two methods at the end can tell.

Suffixes: B = cells, L = steps, A = actions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
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


class LeaderNetwork(Protocol):
    """Prompts and steps in, unmasked logits over a cell's actions out."""

    @property
    def layout(self) -> Layout: ...

    @property
    def one_pass(self) -> bool:
        """A step's logits depend on its query alone, not on what was said before nor on how often."""

    @property
    def uses_words(self) -> bool:
        """An action takes several of the model's tokens, so logits come from `teacher_forcing_logits` alone."""

    @property
    def device(self) -> torch.device: ...

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

        Cells may differ in UEs and RBGs. drafts: per cell a DCM that is likely said (None = no idea); any draft gives
        the same result, a good one sooner. When `expired()` turns true, between two forwards, the rest is filled in
        without the model. Raises PromptError for a cell that the model cannot read.
        """

    def teacher_forcing_logits(self, prompts: Any, teacher_batch: TeacherForcingBatch) -> Tensor:
        """Teacher forcing from prompts on, [B, L, A]; what the batch's mask forbids may be -inf."""

    def read(self, prompts: Prompts) -> Any:
        """What the model keeps of a batch of prompts: its memory, good for one DCM a cell."""

    def logits(self, memory: Any, steps: Steps, features_BLA: NDArray[np.int64]) -> Tensor:
        """Teacher forcing: logits [B, L, A] of all steps at once, padded on the right. Uses the memory up."""

    def extend(self, memory: Any, steps: Steps, features_BLA: NDArray[np.int64], lengths_B: Sequence[int]) -> Tensor:
        """Logits [B, L, A] of the next steps, which the memory keeps; padded on the left to `lengths_B` real steps.

        Only of models that are not `one_pass`.
        """

    def forget(self, memory: Any, steps_B: Sequence[int]) -> None:
        """Let the last `steps_B[b]` steps of cell b not have been said. Only of models that are not `one_pass`."""


class TrainableNetwork(nn.Module, ABC):
    """A LeaderNetwork that can be trained, saved and loaded."""

    kind: str
    """Its name in policy.model_kinds."""
    config: Any
    """Its size: a dataclass of plain values."""
    layout: Any
    one_pass: bool = False
    uses_words: bool = False

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def trained_state(self) -> dict[str, Tensor] | None:
        """What training changes, by name, where that is not all of it."""
        return None

    def teacher_forcing_logits(self, prompts: Any, teacher_batch: TeacherForcingBatch) -> Tensor:
        return self.logits(self.read(prompts), teacher_batch.steps, teacher_batch.features_BLA)

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
    ) -> list[DecodedDcm]: ...

    @abstractmethod
    def read(self, prompts: Prompts) -> Any: ...

    @abstractmethod
    def logits(self, memory: Any, steps: Steps, features_BLA: NDArray[np.int64]) -> Tensor: ...

    def extend(self, memory: Any, steps: Steps, features_BLA: NDArray[np.int64], lengths_B: Sequence[int]) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} says everything in one pass")

    def forget(self, memory: Any, steps_B: Sequence[int]) -> None:
        raise NotImplementedError(f"{type(self).__name__} says everything in one pass")


def masked_log_softmax(logits: Tensor, mask: Tensor) -> Tensor:
    """Log-probabilities over the last axis, -inf where `mask` is False."""
    return torch.log_softmax(logits.masked_fill(~mask, -torch.inf), dim=-1)

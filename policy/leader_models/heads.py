"""How a hidden state becomes one number per action, and what is fed back of what was chosen.

Every action has a key; a step's hidden state asks for one: query . key. A key is first changed by its action's
features (policy.leader_models.action_features). The heads differ in where keys come from.

Suffixes: B = cells, U = UEs, L = steps, A = actions, F = the fixed actions, d = hidden size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from policy.grammar import FIRST_UE, StepKind
from policy.leader_models.action_features import CHANNEL_HISTORY_LEVELS, FEATURE_CODES, OUTCOMES, without_usage


def without_channel_history(features_BLA: NDArray[np.int64], query_BL: NDArray[np.int64]) -> NDArray[np.int64]:
    """Codes of features, [B, L, A], less what was chosen before: usage, and the preferred RBG of the UE just named."""
    return np.where((query_BL == StepKind.GRANT_RBG)[..., None], 0, without_usage(features_BLA))


class Head(nn.Module, ABC):
    """Keys and feedback of a cell's actions, and logits from a hidden state."""

    def __init__(self, hidden_size: int, has_channel_history: bool = False) -> None:
        """has_channel_history: keys depend on how well UEs were decoded on an RBG."""
        super().__init__()
        self.has_channel_history = has_channel_history
        self.situation = nn.Embedding(FEATURE_CODES, 2 * hidden_size)
        nn.init.normal_(self.situation.weight, std=0.02)
        if has_channel_history:
            self.heard = nn.Embedding(CHANNEL_HISTORY_LEVELS, 2 * hidden_size)
            nn.init.normal_(self.heard.weight, std=0.02)

    @abstractmethod
    def keys(self, ues_BUd: Tensor, fixed_Fd: Tensor) -> Tensor:
        """Every action's key, [B, F + U, d]. fixed_Fd: embeddings of the fixed tokens."""

    @abstractmethod
    def feedback(self, ues_BUd: Tensor, fixed_Fd: Tensor) -> Tensor:
        """What is fed back after each action, [B, F + U, d]. fixed_Fd: embeddings of the fixed tokens."""

    @abstractmethod
    def ask(self, hidden_BLd: Tensor) -> Tensor:
        """Queries [B, L, d]."""

    def forward(self, hidden_BLd: Tensor, keys_BAd: Tensor, features_BLA: Tensor) -> Tensor:
        """Unmasked logits [B, L, A]."""
        scale, shift = self._scale_and_shift(features_BLA).chunk(2, dim=-1)
        featured_BLAd = torch.addcmul(keys_BAd[:, None] + shift, keys_BAd[:, None], scale)
        return torch.matmul(featured_BLAd, self.ask(hidden_BLd)[..., None])[..., 0]

    def of_choices(self, hidden_BLd: Tensor, keys_BAd: Tensor, features_BLA: Tensor, legal_BLA: Tensor) -> Tensor:
        """Logits [B, L, A] of the legal actions of steps that leave a choice, 0 elsewhere: a fifth of the work."""
        chosen_BL = legal_BLA.sum(-1) > 1
        b_N, l_N, a_N = (legal_BLA & chosen_BL[..., None]).nonzero(as_tuple=True)
        scale_Nd, shift_Nd = self._scale_and_shift(features_BLA[b_N, l_N, a_N]).chunk(2, dim=-1)
        actions, steps = keys_BAd.shape[1], hidden_BLd.shape[1]
        keys_Nd = keys_BAd.flatten(0, 1).index_select(0, b_N * actions + a_N)
        asked_Nd = self.ask(hidden_BLd).flatten(0, 1).index_select(0, b_N * steps + l_N)
        logits_N = ((keys_Nd * scale_Nd + (keys_Nd + shift_Nd)) * asked_Nd).sum(-1)
        return torch.zeros(legal_BLA.shape, device=logits_N.device, dtype=logits_N.dtype).index_put(
            (b_N, l_N, a_N), logits_N
        )

    def _scale_and_shift(self, features: Tensor) -> Tensor:
        """Of codes of features, of any shape."""
        if not self.has_channel_history:
            shifted: Tensor = self.situation(features % FEATURE_CODES)
            return shifted
        # One look-up in a small table of sums instead of two for every action.
        table = (self.heard.weight[:, None] + self.situation.weight).flatten(0, 1)
        return nn.functional.embedding(features % OUTCOMES, table)


class PointerHead(Head):
    """Points: a UE's key is made of its block's last hidden state, so UEs have no names and any number will do."""

    def __init__(self, hidden_size: int, feeds_back: bool = True, has_channel_history: bool = False) -> None:
        """feeds_back: False = for a model that is not fed with what was chosen."""
        super().__init__(hidden_size, has_channel_history)
        self.fixed_keys = nn.Parameter(torch.randn(FIRST_UE, hidden_size))
        self.ue_key = nn.Linear(hidden_size, hidden_size)
        self.ue_feedback = nn.Linear(hidden_size, hidden_size, bias=False) if feeds_back else None
        self.query = nn.Linear(hidden_size, hidden_size, bias=False)

    def keys(self, ues_BUd: Tensor, fixed_Fd: Tensor) -> Tensor:
        """ues_BUd: last hidden states of the UEs' blocks."""
        return torch.cat((self.fixed_keys.expand(ues_BUd.shape[0], -1, -1), self.ue_key(ues_BUd)), dim=1)

    def feedback(self, ues_BUd: Tensor, fixed_Fd: Tensor) -> Tensor:
        chosen_BUd = ues_BUd if self.ue_feedback is None else self.ue_feedback(ues_BUd)
        return torch.cat((fixed_Fd.expand(ues_BUd.shape[0], -1, -1), chosen_BUd), dim=1)

    def ask(self, hidden_BLd: Tensor) -> Tensor:
        asked: Tensor = self.query(hidden_BLd) * hidden_BLd.shape[-1] ** -0.5
        return asked


class VocabularyHead(Head):
    """The paper's: every action is a token of the vocabulary, UEs too, and its key is its embedding (tied weights)."""

    def keys(self, ues_BUd: Tensor, fixed_Fd: Tensor) -> Tensor:
        """ues_BUd: embeddings of the UEs' names."""
        return torch.cat((fixed_Fd.expand(ues_BUd.shape[0], -1, -1), ues_BUd), dim=1)

    def feedback(self, ues_BUd: Tensor, fixed_Fd: Tensor) -> Tensor:
        return self.keys(ues_BUd, fixed_Fd)

    def ask(self, hidden_BLd: Tensor) -> Tensor:
        return hidden_BLd

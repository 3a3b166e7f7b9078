"""How a hidden state becomes one number per action, and what is fed back of what was said.

Every action has a key; a step's hidden state asks for one: query . key. A key is first told its situation: how often
its token was said in this DCM, and whether it is on its preferred RBG. The heads differ in where keys come from.

Suffixes: B = cells, U = UEs, L = steps, A = actions, F = the fixed actions, d = hidden size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from policy.grammar import FIRST_UE

USAGE_LEVELS = 10
"""How often a token was said in this DCM: 0, 1, ... 9 or more."""
SITUATIONS = 2 * USAGE_LEVELS
"""Rows of the situation table: 2 * usage + (1 = this is the UE's preferred RBG)."""


class PointerHead(nn.Module):
    """Points: a UE's key is made of its block's last hidden state, so UEs have no names and any number will do."""

    def __init__(self, hidden_size: int, feeds_back: bool = True) -> None:
        """feeds_back: False = for a model that never hears what was said."""
        super().__init__()
        self.fixed_keys = nn.Parameter(torch.randn(FIRST_UE, hidden_size))
        self.ue_key = nn.Linear(hidden_size, hidden_size)
        if feeds_back:
            self.ue_feedback = nn.Linear(hidden_size, hidden_size, bias=False)
        self.query = nn.Linear(hidden_size, hidden_size, bias=False)
        self.situation = nn.Embedding(SITUATIONS, 2 * hidden_size)
        nn.init.normal_(self.situation.weight, std=0.02)

    def keys(self, ends_BUd: Tensor) -> Tensor:
        """[B, 37 + U, d]."""
        fixed = self.fixed_keys.expand(ends_BUd.shape[0], -1, -1)
        return torch.cat((fixed, self.ue_key(ends_BUd)), dim=1)

    def feedback(self, ends_BUd: Tensor, fixed_Fd: Tensor) -> Tensor:
        """[B, 37 + U, d]; fixed_Fd = embeddings of the 37 fixed tokens."""
        return torch.cat((fixed_Fd.expand(ends_BUd.shape[0], -1, -1), self.ue_feedback(ends_BUd)), dim=1)

    def forward(self, hidden_BLd: Tensor, keys_BAd: Tensor, situation_BLA: Tensor) -> Tensor:
        """Unmasked logits [B, L, A]."""
        scale, shift = self.situation(situation_BLA).chunk(2, dim=-1)
        told_BLAd = torch.addcmul(keys_BAd[:, None] + shift, keys_BAd[:, None], scale)
        query_BLd = self.query(hidden_BLd) * hidden_BLd.shape[-1] ** -0.5
        return torch.matmul(told_BLAd, query_BLd[..., None])[..., 0]

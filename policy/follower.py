"""A UE as a language model: one forward says, for every RBG, whether to send on it.

All UEs share the weights. What a follower reads is its own and fresh, plus the DCM as the MAC lets it see it: three
header tokens, then one token per RBG (its CQI there, and whether it may use it). Bit m is read at RBG token m. Every
token sees every other, and the RBG tokens share one position: which RBG is which does not matter, only what it offers.

Its grammar is the MAC's rule: an RBG that the DCM does not offer to this UE is never used, whatever the weights say.
Suffixes: N = UEs (of any number of cells), M = RBGs.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from policy.language_model import Backbone, ModelConfig
from policy.prompt.compact import Field

NUM_CQI = 16


class Access(IntEnum):
    """What the DCM lets a UE do on an RBG in this slot."""

    NONE = 0
    CONTEND = 1
    """Nobody holds it: the leftover rule applies."""
    OWN = 2


class FollowerView(NamedTuple):
    """What each UE sees before it sends. Views of several cells can be stacked."""

    buffer_bits_N: NDArray[np.float64]
    """Its own, now."""
    head_delay_slots_N: NDArray[np.float64]
    """Age of its oldest packet, slots."""
    probability_N: NDArray[np.float64]
    """p of the leftover rule in its cell: how eagerly to contend."""
    cqi_NM: NDArray[np.int64]
    """0-15, now, if it put all its power on that RBG."""
    access_NM: NDArray[np.int64]
    """Access values."""

    def rows(self, chosen: NDArray[np.int64]) -> FollowerView:
        return FollowerView(
            self.buffer_bits_N[chosen],
            self.head_delay_slots_N[chosen],
            self.probability_N[chosen],
            self.cqi_NM[chosen],
            self.access_NM[chosen],
        )


HEADER: tuple[Field, ...] = (
    Field(
        "buffer_bits",
        (1, 250, 500, 750, 1000, 1250, 1500, 2000, 2500, 3000, 3500, 4000, 5000, 6000, 8000, 10000, 14000, 20000),
    ),
    Field("head_delay_slots", (0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5, 10.5, 15.5, 25.5)),
    Field("probability", (0.001, 0.03, 0.06, 0.1, 0.14, 0.18, 0.22, 0.28, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95)),
)
"""Part of the layout version of policy.prompt.compact."""

FOLLOWER_CONFIG = ModelConfig(hidden_size=32, num_layers=2, num_heads=2, intermediate_size=88)
"""A third of the leader's width does: a follower has no other UEs to weigh."""


class FollowerModel(nn.Module):
    """Views in, one logit per RBG out."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        header_tokens = sum(f.size for f in HEADER)
        self._first_rbg_token = header_tokens
        self._first_ids = np.cumsum([0] + [f.size for f in HEADER])[:-1]
        self.backbone = Backbone(config, header_tokens + NUM_CQI * len(Access))
        self.send = nn.Linear(config.hidden_size, 1)

    def tokens(self, view: FollowerView) -> NDArray[np.int64]:
        """[N, 3 + M]."""
        values = (view.buffer_bits_N, view.head_delay_slots_N, view.probability_N)
        header = [
            first + np.where(np.isnan(value), 0, 1 + np.searchsorted(np.asarray(field.edges), value, side="right"))
            for first, field, value in zip(self._first_ids, HEADER, values)
        ]
        rbgs_NM = self._first_rbg_token + view.access_NM * NUM_CQI + view.cqi_NM
        return np.concatenate([np.stack(header, axis=1), rbgs_NM], axis=1)

    def forward(self, tokens_NL: Tensor) -> Tensor:
        """Logits [N, M] of sending."""
        length = tokens_NL.shape[1]
        positions = torch.arange(length, device=tokens_NL.device).clamp(max=len(HEADER))[None]
        everything = torch.ones(1, 1, length, length, dtype=torch.bool, device=tokens_NL.device)
        hidden = self.backbone(self.backbone.embed(tokens_NL), positions, everything)
        return self.send(hidden[:, len(HEADER) :])[..., 0]


class FollowerPolicy:
    """Decides for all UEs at once."""

    def __init__(self, model: FollowerModel) -> None:
        self.model = model.eval()

    def probabilities(self, view: FollowerView) -> NDArray[np.float64]:
        """Of sending, [N, M]: 0 where the DCM does not allow it and for UEs without data."""
        probabilities_NM = np.zeros(view.access_NM.shape)
        busy = np.flatnonzero((view.buffer_bits_N > 0) & (view.access_NM != Access.NONE).any(axis=1))
        if len(busy):
            tokens = self.model.tokens(view.rows(busy))
            with torch.inference_mode():
                logits = self.model(torch.from_numpy(tokens).to(self.model.send.weight.device))
            probabilities_NM[busy] = torch.sigmoid(logits.double()).cpu().numpy()
        return np.where(view.access_NM == Access.NONE, 0.0, probabilities_NM)

    def bits(self, view: FollowerView, uniforms_NM: NDArray[np.float64] | None = None) -> NDArray[np.bool_]:
        """Which RBGs each UE sends on, [N, M]; drawn with `uniforms_NM` in [0, 1), without it the likelier choice."""
        return self.probabilities(view) > (0.5 if uniforms_NM is None else uniforms_NM)


def new_follower_model(config: ModelConfig, seed: int) -> FollowerModel:
    """A model with fresh weights that depend on `seed` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return FollowerModel(config)

"""A UE as a language model: one forward decides, for every RBG, whether to send on it.

All UEs share the weights. What a follower reads is its own and fresh, plus the DCM as the MAC lets it see it: a few
header tokens, then one token per RBG. Every token is a sum of its fields' embeddings; which fields are read stands in a
FollowerLayout, stored with every bundle. Bit m is read at RBG token m. Every token sees every other, and the RBG tokens
share one position: which RBG is which does not matter, only what it offers.

Among the fields are the UE's own best responses (`Answer`): sets of RBGs that it can compute from its fresh channel and
queue. So the hand-written rule is a bit that can be copied, and learning begins at its level.

Its grammar is the MAC's rule: an RBG that the DCM does not offer to this UE is never used, whatever the weights say.
Suffixes: N = UEs (of any number of cells), M = RBGs, H = header fields, R = fields of an RBG.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from policy.leader_models.backbone import Backbone
from policy.leader_models.leader_network import seeded
from policy.model_config import ModelConfig
from policy.prompt.compact import Field, each_integer

NUM_CQI = 16
UCM_TOKENS = 8
"""Words of a user control message; what they mean is learned."""
NO_WORD = -1


class Access(IntEnum):
    """What the DCM lets a UE do on an RBG in this slot."""

    NONE = 0
    CONTEND = 1
    """Nobody holds it: the leftover rule applies."""
    OWN = 2


class Answer(IntFlag):
    """Which of a UE's myopic best responses use an RBG, the UE's power split over the RBGs of each."""

    OWN = 1
    """If it had only what it was granted."""
    RULE = 2
    """With the open RBGs on which its coin fell: what the hand-written follower sends on."""
    ALL = 4
    """If every RBG that is open to it were its own."""
    COIN = 8
    """Its coin fell here: with probability p of the leftover rule, drawn by the UE for itself."""


class FollowerView(NamedTuple):
    """What each UE sees before it sends. Views of several cells can be stacked. NaN = not known."""

    buffer_bits_N: NDArray[np.float64]
    """Its own, now."""
    head_delay_slots_N: NDArray[np.float64]
    """Age of its oldest packet, slots."""
    slack_slots_N: NDArray[np.float64]
    """Slots in which that packet is still worth sending, this one included."""
    traffic_class_N: NDArray[np.float64]
    served_bits_per_slot_N: NDArray[np.float64]
    """What it was served on average since it came."""
    probability_N: NDArray[np.float64]
    """p of the leftover rule in its cell: how eagerly to contend."""
    contending_ues_N: NDArray[np.float64]
    """UEs of its cell that may contend."""
    others_granted_N: NDArray[np.float64]
    """UEs of its cell, but for itself, that the DCM grants something in this slot."""
    attempts_N: NDArray[np.float64]
    """How often it has contended, counted up to the length of its memory."""
    attempts_lost_N: NDArray[np.float64]
    """How many of them collided."""
    last_lost_N: NDArray[np.float64]
    """1 = the last of them did, 0 = it did not."""
    cqi_NM: NDArray[np.int64]
    """0-15, now, if it put all its power on that RBG."""
    access_NM: NDArray[np.int64]
    """Access values."""
    answer_NM: NDArray[np.int64]
    """Answer flags."""
    turn_NM: NDArray[np.int64]
    """UEs that come before this one on an open RBG, in an order that all know (0 = its turn); -1 = not open to it."""

    def rows(self, chosen: NDArray[np.int64] | NDArray[np.bool_]) -> FollowerView:
        columns: list[Any] = [column[chosen] for column in self]
        return FollowerView(*columns)

    @property
    def busy_N(self) -> NDArray[np.bool_]:
        """Who has a choice: something to send, and an RBG to send it on."""
        return (self.buffer_bits_N > 0) & (self.access_NM != Access.NONE).any(axis=1)


def stack_views(views: list[FollowerView]) -> FollowerView:
    """Views of equal numbers of RBGs, one under another. Raises ValueError for none."""
    return FollowerView(*(np.concatenate(columns) for columns in zip(*views)))


BUFFER_BITS = Field(
    "buffer_bits",
    (1, 250, 500, 750, 1000, 1250, 1500, 2000, 2500, 3000, 3500, 4000, 5000, 6000, 8000, 10000, 14000, 20000),
)
HEAD_DELAY = Field("head_delay_slots", (0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5, 10.5, 15.5, 25.5))
PROBABILITY = Field(
    "probability", (0.001, 0.03, 0.06, 0.1, 0.14, 0.18, 0.22, 0.28, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95)
)
HEADER: tuple[tuple[Field, ...], ...] = (
    (
        BUFFER_BITS,
        HEAD_DELAY,
        Field("slack_slots", (*each_integer(0, 9), 12.5, 20.5)),
        Field("traffic_class", each_integer(0, 2)),
        Field("served_bits_per_slot", (10, 25, 50, 80, 120, 170, 230, 300, 400, 550, 800, 1200)),
    ),
    (
        PROBABILITY,
        Field("contending_ues", (*each_integer(0, 12), 14.5, 17.5, 21.5, 26.5, 32.5, 40.5, 60.5, 100.5)),
        Field("own_rbgs", (*each_integer(0, 6), 8.5, 11.5)),
        Field("open_rbgs", (*each_integer(0, 6), 8.5, 11.5)),
        Field("others_granted", (*each_integer(0, 6), 8.5, 11.5)),
    ),
    (
        Field("attempts", (0.5, 2.5, 5.5)),
        Field("attempts_lost", each_integer(0, 8)),
        Field("last_lost", each_integer(0, 1)),
    ),
)
"""Fields of the header tokens, by token."""

RBG_FIELDS: Mapping[str, int] = {"offer": NUM_CQI * len(Access), "answer": 16, "turn": 8}
"""Fields of an RBG token, and their numbers of values: Access x CQI; Answer flags; level of the turn."""
TURN_EDGES = (-0.5, 0.5, 1.5, 2.5, 3.5, 5.5, 9.5)


@dataclass(frozen=True, slots=True)
class FollowerLayout:
    """Which fields the tokens are made of; stored with every bundle."""

    header: tuple[tuple[Field, ...], ...] = HEADER
    rbg: tuple[str, ...] = tuple(RBG_FIELDS)
    ucm_tokens: int = UCM_TOKENS
    """Words of its UCM; 0 = it sends none."""

    def __post_init__(self) -> None:
        known = {f.name for group in (*HEADER, *FIRST_HEADER) for f in group}
        for name in (f.name for group in self.header for f in group):
            if name not in known:
                raise ValueError(f"unknown follower field {name!r}")
        if not set(self.rbg) <= RBG_FIELDS.keys() or not self.rbg:
            raise ValueError(f"fields of an RBG token are {self.rbg}, expected some of {', '.join(RBG_FIELDS)}")

    @property
    def header_fields(self) -> int:
        return sum(len(group) for group in self.header)

    def as_json(self) -> dict[str, Any]:
        header = [[field.as_json() for field in group] for group in self.header]
        return {"header": header, "rbg": list(self.rbg), "ucm_tokens": self.ucm_tokens}

    @classmethod
    def from_json(cls, document: Mapping[str, Any] | None) -> FollowerLayout:
        """None = a bundle from before layouts were kept. Raises ValueError, TypeError or KeyError."""
        if document is None:
            return FIRST_LAYOUT
        header = tuple(tuple(map(Field.from_json, group)) for group in document["header"])
        return cls(header, tuple(str(n) for n in document["rbg"]), int(document["ucm_tokens"]))


FIRST_HEADER = ((BUFFER_BITS,), (HEAD_DELAY,), (PROBABILITY,))
FIRST_LAYOUT = FollowerLayout(FIRST_HEADER, ("offer",), 0)
"""The layout of bundles whose followers knew no answer, turn or past."""

FOLLOWER_CONFIG = ModelConfig(hidden_size=32, num_layers=2, num_heads=2, intermediate_size=88)
"""A third of the leader's width does: a follower has no other UEs to weigh."""


class FollowerModel(nn.Module):
    """Views in, one logit per RBG out, and one per word of a UCM."""

    pool_GH: Tensor

    def __init__(self, config: ModelConfig, layout: FollowerLayout | None = None) -> None:
        super().__init__()
        self.config = config
        self.layout = layout or FollowerLayout()
        fields = [f for group in self.layout.header for f in group]
        sizes = [f.size for f in fields] + [RBG_FIELDS[name] for name in self.layout.rbg]
        starts = np.cumsum([0, *sizes])[:-1]
        self._header_starts, self._rbg_starts = starts[: len(fields)], starts[len(fields) :]
        self.backbone = Backbone(config, sum(sizes))
        self.send = nn.Linear(config.hidden_size, 1)
        if self.layout.ucm_tokens:
            self.ucm = nn.Linear(config.hidden_size, self.layout.ucm_tokens)
        group_of = np.repeat(np.arange(len(self.layout.header)), [len(group) for group in self.layout.header])
        pool_GH = torch.from_numpy(np.arange(len(self.layout.header))[:, None] == group_of).float()
        self.register_buffer("pool_GH", pool_GH, persistent=False)

    def tokens(self, view: FollowerView) -> NDArray[np.int64]:
        """The UEs' tokens, [N, H + M x R]: the header's fields, then the RBGs', RBG by RBG."""
        header = []
        for field, first in zip((f for group in self.layout.header for f in group), self._header_starts):
            value = _header_value(view, field.name)
            level = 1 + np.searchsorted(np.asarray(field.edges), value, side="right")
            header.append(first + np.where(np.isnan(value), 0, level))
        values = {"offer": view.access_NM * NUM_CQI + view.cqi_NM, "answer": view.answer_NM}
        values["turn"] = np.searchsorted(np.asarray(TURN_EDGES), view.turn_NM, side="right")
        rbgs_NMR = np.stack([values[n] + first for n, first in zip(self.layout.rbg, self._rbg_starts)], axis=2)
        count, num_rbgs, fields = rbgs_NMR.shape
        return np.concatenate([np.stack(header, axis=1), rbgs_NMR.reshape(count, num_rbgs * fields)], axis=1)

    def _read(self, tokens_NL: Tensor) -> Tensor:
        """Final hidden states [N, G + M, d]."""
        fields, groups = self.layout.header_fields, len(self.layout.header)
        embedded = self.backbone.embed(tokens_NL)
        header = self.pool_GH @ embedded[:, :fields]
        rbgs = embedded[:, fields:].unflatten(1, (-1, len(self.layout.rbg))).sum(2)
        length = groups + rbgs.shape[1]
        positions = torch.arange(length, device=tokens_NL.device).clamp(max=groups)[None]
        everything = torch.ones(1, 1, length, length, dtype=torch.bool, device=tokens_NL.device)
        return self.backbone(torch.cat((header, rbgs), dim=1), positions, everything)

    def forward(self, tokens_NL: Tensor) -> Tensor:
        """Logits [N, M] of sending."""
        return self.send(self._read(tokens_NL)[:, len(self.layout.header) :])[..., 0]

    def ucm_logits(self, tokens_NL: Tensor) -> Tensor:
        """Logits [N, 8] of the words of a UCM, read at the first header token."""
        return self.ucm(self._read(tokens_NL)[:, 0])


def _header_value(view: FollowerView, name: str) -> NDArray[np.float64]:
    if name == "own_rbgs":
        return np.asarray((view.access_NM == Access.OWN).sum(axis=1), np.float64)
    if name == "open_rbgs":
        return np.asarray((view.access_NM == Access.CONTEND).sum(axis=1), np.float64)
    return np.asarray(getattr(view, f"{name}_N"), np.float64)


class FollowerPolicy:
    """Decides for all UEs at once."""

    def __init__(self, model: FollowerModel) -> None:
        self.model = model.eval()

    def probabilities(self, view: FollowerView) -> NDArray[np.float64]:
        """The probability of sending, [N, M]: 0 where the DCM does not allow it and for UEs without data."""
        probabilities_NM = np.zeros(view.access_NM.shape)
        busy = np.flatnonzero(view.busy_N)
        if len(busy):
            tokens = self.model.tokens(view.rows(busy))
            with torch.inference_mode():
                logits = self.model(torch.from_numpy(tokens).to(self.model.send.weight.device))
            probabilities_NM[busy] = torch.sigmoid(logits.double()).cpu().numpy()
        return np.where(view.access_NM == Access.NONE, 0.0, probabilities_NM)

    def bits(self, view: FollowerView, uniforms_NM: NDArray[np.float64] | None = None) -> NDArray[np.bool_]:
        """Which RBGs each UE sends on, [N, M]; drawn with `uniforms_NM` in [0, 1), without it the likelier choice."""
        return self.probabilities(view) > (0.5 if uniforms_NM is None else uniforms_NM)

    def words(self, view: FollowerView, uniforms_N: NDArray[np.float64] | None = None) -> NDArray[np.int64]:
        """The word of each UE's UCM, [N]: 0..7, or NO_WORD without data; drawn, or without draws the likeliest."""
        words_N = np.full(len(view.buffer_bits_N), NO_WORD)
        talking = np.flatnonzero(view.buffer_bits_N > 0)
        if len(talking):
            tokens = torch.from_numpy(self.model.tokens(view.rows(talking))).to(self.model.send.weight.device)
            with torch.inference_mode():
                logits = self.model.ucm_logits(tokens).double().cpu()
            if uniforms_N is None:
                words_N[talking] = logits.argmax(dim=1).numpy()
            else:
                cumulated = logits.softmax(dim=1).cumsum(dim=1).numpy()
                drawn = (uniforms_N[talking, None] >= cumulated[:, :-1]).sum(axis=1)
                words_N[talking] = drawn
        return words_N


def new_follower_model(config: ModelConfig, seed: int, layout: FollowerLayout | None = None) -> FollowerModel:
    """A model with fresh weights that depend on `seed` alone."""
    with seeded(seed):
        return FollowerModel(config, layout)

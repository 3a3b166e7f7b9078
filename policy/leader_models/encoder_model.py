"""Leaders without language: what MAPPO would use for an actor in the place of a language model.

`mappo_g` encodes the UEs as a set with attention and scores UE x RBG by pointer: any number of UEs. `mappo` is the
classic: one MLP over the features of a fixed number of seats, padded with zeros, and a categorical head for each
question. It seats the UEs with the largest backlog, in their order; any other UE is "one of the rest", all of them with
the same number. Both decode a DCM in one pass and read the same features of actions as a language model
(policy.leader_models.action_features), less what was chosen before.

Suffixes: B = cells, N = blocks of all cells, U = UEs, S = seats, L = steps, A = actions, F = features, d = hidden size.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from policy.grammar import FIRST_UE
from policy.leader_models.action_features import CHANNEL_HISTORY_LEVELS, FEATURE_CODES, OUTCOME_LEVELS, OUTCOMES
from policy.leader_models.decoding import decode
from policy.leader_models.heads import PointerHead, without_channel_history
from policy.leader_models.language_model import ModelConfig
from policy.leader_models.leader_network import QUERIES, StepNetwork
from policy.leader_models.transcript import Steps
from policy.prompt.compact import Prompts
from policy.prompt.numeric import NumericLayout

SEATS = 12
"""UEs that the padded network can tell apart."""
THE_REST = FIRST_UE + SEATS
"""The number of any UE without a seat; as many numbers come before it."""
UNTRAINED_LOGIT = -10.0
"""The rest's first logit: a network that never met more UEs than seats never chooses one of them."""


class Features(NamedTuple):
    """A batch of cells as padded features."""

    cell_BF: Tensor
    ue_BUF: Tensor
    """0 beyond a cell's UEs."""
    present_BU: Tensor
    """bool."""


class SetMemory(NamedTuple):
    """What `mappo_g` keeps of a batch."""

    cell_Bd: Tensor
    keys_BAd: Tensor


class SeatMemory(NamedTuple):
    """What `mappo` keeps of a batch."""

    table_BQN: Tensor
    """Each question's logits of the fixed actions, the seats and the rest."""
    number_BA: Tensor
    """Which of these numbers each action has."""


def _features(layout: NumericLayout, prompts: Prompts, device: torch.device) -> Features:
    most = int(prompts.num_ues_B.max())
    padded_BPF = np.zeros((len(prompts.num_ues_B), 1 + most, layout.block_tokens), np.float32)
    padded_BPF[prompts.cell_N, prompts.place_N] = prompts.tokens_NT
    blocks = torch.from_numpy(padded_BPF).to(device)
    present_BU = np.arange(most) < prompts.num_ues_B[:, None]
    return Features(
        blocks[:, 0, : layout.cell_width], blocks[:, 1:, : layout.ue_width], torch.from_numpy(present_BU).to(device)
    )


class SetModel(StepNetwork):
    """mappo_g: the cell and its UEs attend to each other; a question, asked of the cell, points at a UE."""

    kind = "mappo_g"
    one_pass = True
    decode = decode

    def __init__(self, config: ModelConfig, layout: NumericLayout) -> None:
        super().__init__()
        self.config, self.layout = config, layout
        width = config.hidden_size
        self.cell_in = nn.Linear(layout.cell_width, width)
        self.ue_in = nn.Linear(layout.ue_width, width)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, config.num_heads, config.intermediate_size, dropout=0.0, batch_first=True, norm_first=True
            )
            for _ in range(config.num_layers)
        )
        self.norm = nn.LayerNorm(width)
        self.question = nn.Embedding(QUERIES, width)
        self.outcome = nn.Embedding(OUTCOME_LEVELS, width)
        self.ask = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
        self.head = PointerHead(width, feeds_back=False, has_channel_history=True)

    def read(self, prompts: Prompts) -> SetMemory:
        cell_BF, ue_BUF, present_BU = _features(self.layout, prompts, self.device)
        hidden = torch.cat((self.cell_in(cell_BF)[:, None], self.ue_in(ue_BUF)), dim=1)
        padding = torch.cat((torch.zeros_like(present_BU[:, :1]), ~present_BU), dim=1) if present_BU.shape[1] else None
        if padding is not None and not padding.any():
            padding = None
        for layer in self.layers:
            hidden = layer(hidden, src_key_padding_mask=padding)
        hidden = self.norm(hidden)
        # The head has no embeddings of fixed tokens to offer: its keys are its own.
        return SetMemory(hidden[:, 0], self.head.keys(hidden[:, 1:], hidden[0]))

    def logits(self, memory: SetMemory, steps: Steps, features_BLA: NDArray[np.int64]) -> Tensor:
        features = torch.from_numpy(without_channel_history(features_BLA, steps.query_BL)).to(self.device)
        query = torch.from_numpy(steps.query_BL).to(self.device)
        asked_BLd = self.question(query) + self.outcome(features[:, :, 0] // OUTCOMES) + memory.cell_Bd[:, None]
        return self.head(self.ask(asked_BLd), memory.keys_BAd, features)


class SeatModel(StepNetwork):
    """mappo: one MLP over SEATS padded seats, one categorical head for each question."""

    kind = "mappo"
    one_pass = True
    decode = decode

    def __init__(self, config: ModelConfig, layout: NumericLayout) -> None:
        super().__init__()
        self.config, self.layout = config, layout
        self._backlog = layout.first_feature("backlog_bits")
        # A seat's last feature: somebody sits there.
        widths = [layout.cell_width + SEATS * (layout.ue_width + 1)] + [config.intermediate_size] * config.num_layers
        self.body = nn.Sequential(
            *(part for a, b in zip(widths, widths[1:]) for part in (nn.Linear(a, b), nn.LayerNorm(b), nn.GELU()))
        )
        self.heads = nn.Linear(widths[-1], QUERIES * (THE_REST + 1))
        self.match = nn.Embedding(2, 1)
        self.heard = nn.Embedding(CHANNEL_HISTORY_LEVELS, 1)
        self.outcome = nn.Embedding(OUTCOME_LEVELS, THE_REST + 1)
        for table in (self.match, self.heard, self.outcome):
            nn.init.zeros_(table.weight)
        with torch.no_grad():
            self.heads.bias.view(QUERIES, -1)[:, THE_REST] = UNTRAINED_LOGIT

    def read(self, prompts: Prompts) -> SeatMemory:
        cell_BF, ue_BUF, present_BU = _features(self.layout, prompts, self.device)
        cells, most = present_BU.shape
        # Absent UEs come last; of equal backlogs the first UE is seated. Those seated sit in their order.
        backlog_BU = ue_BUF[:, :, self._backlog] - 9.0 * (~present_BU)
        chosen_BS = torch.argsort(backlog_BU, dim=1, descending=True, stable=True)[:, :SEATS].sort(dim=1).values
        rows = torch.arange(cells, device=self.device)[:, None]
        seats_BSF = cell_BF.new_zeros(cells, SEATS, self.layout.ue_width + 1)
        taken = chosen_BS.shape[1]
        seats_BSF[:, :taken, :-1] = ue_BUF[rows, chosen_BS]
        seats_BSF[:, :taken, -1] = present_BU[rows, chosen_BS]
        number_BU = torch.full((cells, most), THE_REST, device=self.device)
        number_BU[rows, chosen_BS] = FIRST_UE + torch.arange(taken, device=self.device).expand(cells, -1)
        fixed_BF = torch.arange(FIRST_UE, device=self.device).expand(cells, -1)
        body = self.body(torch.cat((cell_BF, seats_BSF.flatten(1)), dim=1))
        return SeatMemory(self.heads(body).view(cells, QUERIES, -1), torch.cat((fixed_BF, number_BU), dim=1))

    def logits(self, memory: SeatMemory, steps: Steps, features_BLA: NDArray[np.int64]) -> Tensor:
        features = torch.from_numpy(without_channel_history(features_BLA, steps.query_BL)).to(self.device)
        query = torch.from_numpy(steps.query_BL).to(self.device)
        rows = torch.arange(len(query), device=self.device)[:, None]
        logits_BLN = memory.table_BQN[rows, query] + self.outcome(features[:, :, 0] // OUTCOMES)
        number_BLA = memory.number_BA[:, None].expand(-1, query.shape[1], -1)
        featured_BLA1 = self.match(features % 2) + self.heard(features // FEATURE_CODES % CHANNEL_HISTORY_LEVELS)
        return logits_BLN.gather(-1, number_BLA) + featured_BLA1[..., 0]

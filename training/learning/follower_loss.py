"""What followers descend, from what they recorded: their objective, entropy, both divergences and the critic's error.

Suffixes: N choices, M RBGs; of bits: [N, M, 2] = not sending, sending.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from training.critic import Critic
from training.following.recording import Choices, FollowerBatch, FollowerTeam, Words
from training.learning.follower_config import FollowConfig
from training.learning.objectives import BitChoices, Objective, clipped
from training.learning.ppo import BitAdvantages, bit_advantages
from training.rewards import UNIT_UES


class ChoiceBatch(NamedTuple):
    """Choices of one world, with their values: made once per update, learnt from in several epochs."""

    choices: Choices
    size: float
    """UEs / UNIT_UES."""
    words: Words
    over_time: BitAdvantages | None = None
    """None = no critic looked at it; words then keep the meaning that they were first given."""

    def rows(self, choices: NDArray[np.int64], words: NDArray[np.int64]) -> ChoiceBatch:
        return ChoiceBatch(
            self.choices.rows(choices),
            self.size,
            self.words.rows(words),
            None if self.over_time is None else self.over_time.rows(choices, words),
        )


class FollowerLosses(NamedTuple):
    """`loss` is to be descended; the rest are figures, detached."""

    loss: Tensor
    entropy: Tensor
    """Nats a bit that could be chosen."""
    step_kl: Tensor
    """KL from the followers that played, nats a bit: updates end at target_kl."""
    kl: Tensor
    """KL from those that it began with, nats a bit; 0 where config.kl is."""
    value_error: Tensor
    """Mean square of the critic's error."""


def choice_batch_of(critic: Critic | None, batch: FollowerBatch, config: FollowConfig) -> ChoiceBatch:
    """A world's slots. With a critic its last slot is only looked at: it shows what came of the one before.

    Raises TrainingError for a critic with fewer than 2 slots.
    """
    size = batch.ue_id_TBU.shape[2] / UNIT_UES
    if critic is None:
        return ChoiceBatch(batch.choices, size, batch.words)
    choices = batch.choices.rows(np.flatnonzero(batch.choices.slot_N < batch.slots - 1))
    words = batch.words.rows(np.flatnonzero(batch.words.slot_N < batch.slots - 1))
    over_time = bit_advantages(critic, batch, choices, words, config.gamma, config.lam)
    return ChoiceBatch(choices, size, words, over_time)


def follower_loss(
    team: FollowerTeam, batches: Sequence[ChoiceBatch], config: FollowConfig, objective: Objective
) -> FollowerLosses:
    """The loss of all batches together, a mean over their choices. Batches may differ in RBGs and UEs.

    Raises ValueError for no choices at all.
    """
    total = sum(len(batch.choices.slot_N) for batch in batches)
    if not total:
        raise ValueError("no UE had anything to choose")
    parts = [_parts(team, batch, config, objective) for batch in batches if len(batch.choices.slot_N)]
    climbed, entropy, step_kl, kl, value_error, bits = (torch.stack(column).sum() for column in zip(*parts))
    loss = (-climbed - objective.entropy_weight * entropy + config.kl * kl + config.value * value_error) / total
    entropy, step_kl, kl, value_error = (x.detach() for x in (entropy, step_kl, kl, value_error))
    return FollowerLosses(loss, entropy / bits, step_kl / bits, kl / bits, value_error / total)


def _parts(team: FollowerTeam, batch: ChoiceBatch, config: FollowConfig, objective: Objective) -> tuple[Tensor, ...]:
    """Sums over a batch: what to climb, entropy, both KL, squared error of the critic; and how many bits."""
    device = team.model.send.weight.device

    def tensor(array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(array).to(device)

    choices, over_time = batch.choices, batch.over_time
    tokens, allowed = tensor(choices.tokens_NL), tensor(choices.allowed_NM)
    logit = team.model(tokens)
    new, old = both(logit), both(tensor(choices.logit_NM))
    bits = BitChoices(
        logit,
        new,
        old,
        tensor(choices.bits_NM).long()[..., None],
        allowed,
        tensor(choices.known_NM),
        tensor(choices.gain_NM),
        batch.size,
        None if over_time is None else torch.from_numpy(over_time.advantage_N).float().to(device),
    )
    climbed = objective.of_bits(bits)
    zero = torch.zeros((), device=device)
    value_error = kl = zero
    if over_time is not None:
        climbed = climbed + _word_objective(team, batch.words, over_time.word_advantage_N, config.clip)
        if team.critic is not None:
            value = team.critic(tensor(over_time.features_NF))
            value_error = (value - torch.from_numpy(over_time.return_N).float().to(device)).square().sum()
    entropy = -((new.exp() * new).sum(-1) * allowed).sum()
    step_kl = ((old.exp() * (old - new)).sum(-1) * allowed).sum()
    if team.reference is not None and config.kl:
        with torch.no_grad():
            before = both(team.reference(tokens))
        kl = ((new.exp() * (new - before)).sum(-1) * allowed).sum()
    return climbed, entropy, step_kl, kl, value_error, allowed.sum().float()


def _word_objective(team: FollowerTeam, words: Words, advantage_N: NDArray[np.float64], clip: float) -> Tensor:
    """The words' clipped ratios."""
    device = team.model.send.weight.device
    if not len(words.slot_N):
        return torch.zeros((), device=device)
    chosen = torch.from_numpy(words.word_N).to(device)[:, None]
    new = team.model.ucm_logits(torch.from_numpy(words.tokens_NL).to(device)).log_softmax(-1)
    old = torch.from_numpy(words.logit_NW).to(device).log_softmax(-1)
    advantage = torch.from_numpy(advantage_N).float().to(device)
    return clipped((new - old).gather(-1, chosen)[:, 0].exp(), advantage, clip).sum()


def imitation_loss(team: FollowerTeam, batches: Sequence[ChoiceBatch], certainty: float) -> Tensor:
    """Nats a bit away from doing what the hand-written rule does with probability `certainty`; and nats a word away
    from naming what the UE needs, where reports carry words."""
    device = team.model.send.weight.device
    parts = []
    for batch in batches:
        allowed = torch.from_numpy(batch.choices.allowed_NM).to(device)
        aim = torch.from_numpy(batch.choices.rule_NM).to(device).float() * (2.0 * certainty - 1.0) + (1.0 - certainty)
        logit = team.model(torch.from_numpy(batch.choices.tokens_NL).to(device))
        parts.append(functional.binary_cross_entropy_with_logits(logit, aim, reduction="none")[allowed])
    loss = torch.cat(parts).mean()
    if any(len(batch.words.slot_N) for batch in batches):
        named = [
            functional.cross_entropy(
                team.model.ucm_logits(torch.from_numpy(batch.words.tokens_NL).to(device)),
                torch.from_numpy(batch.words.need_N).to(device),
                reduction="none",
            )
            for batch in batches
            if len(batch.words.slot_N)
        ]
        loss = loss + torch.cat(named).mean()
    return loss


def both(logit: Tensor) -> Tensor:
    """Log-probabilities of both values of each bit, [..., 2]."""
    return functional.logsigmoid(torch.stack((-logit, logit), dim=-1))

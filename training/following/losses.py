"""What followers descend, from what they recorded.

    regression       -(logit / s - (Q(send) - Q(not)))^2 of every bit that a branch flipped: a bit has the probability
                     sigmoid(s x estimated difference), and as much is learnt from what is never done
    counterfactual   sum_a w(a) A(a) r(a), clipped as in PPO, over both values a of every bit that a branch flipped;
                     A(a) = Q(a) less the policy's mean of Q, r = new probability / old, w = (1 - e) pi_old + e / 2
    token            A r of the value that was drawn, clipped: PPO's usual objective, with the same A
    all_action       the gradient sum_a w(a) A(a) logit(a) without ratio or clip
    sequence         the paper's: one advantage for all bits of a UE in a slot, by GAE over its slots; joint ratio

Suffixes: N choices, M RBGs, T slots, B cells, U seats; of bits: [N, M, 2] = not sending, sending.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from training.following.config import FollowConfig
from training.following.recording import Choices, FollowerBatch, FollowerTeam, Words
from training.gae import generalised_advantages, next_values

WORTH_BOUND = 1.0
"""Of a bit in a regression: a rare branch that lost or saved a whole burst must not turn all the rest."""
UNIT_UES = 4
"""Values are means over UEs: times ues / UNIT_UES, a bit counts alike in small and large cells."""


class Lesson(NamedTuple):
    """Choices of one world, each with what it was worth: made once per update, learnt from in several epochs."""

    choices: Choices
    size: float
    """UEs / UNIT_UES."""
    advantage_N: NDArray[np.float64]
    """`sequence` only, else 0."""
    features_NF: NDArray[np.float32]
    return_N: NDArray[np.float64]
    words: Words
    word_advantage_N: NDArray[np.float64]
    """`sequence` only, else 0: with other credits words keep the meaning that they were first given."""

    def rows(self, chosen: NDArray[np.int64]) -> Lesson:
        return Lesson(
            self.choices.rows(chosen),
            self.size,
            self.advantage_N[chosen],
            self.features_NF[chosen],
            self.return_N[chosen],
            self.words,
            self.word_advantage_N,
        )

    def saying(self, chosen: NDArray[np.int64]) -> Lesson:
        """The same choices, with some of the words."""
        return self._replace(words=self.words.rows(chosen), word_advantage_N=self.word_advantage_N[chosen])


class Losses(NamedTuple):
    """`loss` is to be descended; the rest is told, detached."""

    loss: Tensor
    entropy: Tensor
    """Nats a bit that could be chosen."""
    moved: Tensor
    """KL from the followers that played, nats a bit: the trainer stops at target_kl."""
    kl: Tensor
    """KL from those that it began with, nats a bit; 0 where config.kl is."""
    value_error: Tensor
    """Mean square of the critic's error."""


def lesson_of(team: FollowerTeam, batch: FollowerBatch, config: FollowConfig) -> Lesson:
    """A world's slots, credited. Under `sequence` its last slot is only looked at: it says what the one before was
    worth. Raises ValueError for `sequence` without a critic or with fewer than 2 slots."""
    choices, size = batch.choices, batch.ue_id_TBU.shape[2] / UNIT_UES
    count = len(choices.slot_N)
    if config.credit != "sequence":
        nothing, silence = np.zeros(count), np.zeros(len(batch.words.slot_N))
        return Lesson(choices, size, nothing, np.zeros((count, 0), np.float32), nothing, batch.words, silence)
    if team.critic is None or batch.slots < 2:
        raise ValueError("credit sequence: expected a critic and at least 2 slots")
    with torch.inference_mode():
        device = next(team.critic.parameters()).device
        value_TBU = team.critic(torch.from_numpy(batch.features_TBUF).to(device)).double().cpu().numpy()
    left_TBU = (batch.ue_id_TBU[:-1] != batch.ue_id_TBU[1:]) & (batch.ue_id_TBU[:-1] > 0)
    truncated_TBU = np.zeros_like(left_TBU)
    truncated_TBU[-1] = ~left_TBU[-1]
    found = generalised_advantages(
        batch.reward_TBU[:-1],
        value_TBU[:-1],
        next_values(value_TBU[:-1], value_TBU[-1]),
        left_TBU,
        truncated_TBU,
        gamma=config.gamma,
        lam=config.lam,
    )
    kept = np.flatnonzero(choices.slot_N < batch.slots - 1)
    choices = choices.rows(kept)
    words = batch.words.rows(np.flatnonzero(batch.words.slot_N < batch.slots - 1))
    ues = batch.ue_id_TBU.shape[2]
    at = choices.slot_N, choices.seat_N // ues, choices.seat_N % ues
    said_at = words.slot_N, words.seat_N // ues, words.seat_N % ues
    mean, spread = found.advantage_TN[at].mean() if len(at[0]) else 0.0, found.advantage_TN.std() + 1e-6
    advantage_N, word_advantage_N = ((found.advantage_TN[where] - mean) / spread for where in (at, said_at))
    features_NF, return_N = batch.features_TBUF[at], found.return_TN[at]
    return Lesson(choices, size, advantage_N, features_NF, return_N, words, word_advantage_N)


def follower_loss(team: FollowerTeam, lessons: Sequence[Lesson], config: FollowConfig) -> Losses:
    """Of all lessons together, a mean over their choices. They may be of different numbers of RBGs and UEs.

    Raises ValueError for no choices at all.
    """
    total = sum(len(lesson.choices.slot_N) for lesson in lessons)
    if not total:
        raise ValueError("no UE had anything to choose")
    parts = [_parts(team, lesson, config) for lesson in lessons if len(lesson.choices.slot_N)]
    summed = [torch.stack(column).sum() for column in zip(*parts)]
    objective, entropy, moved, kl, value_error, bits = summed
    loss = (-objective - config.entropy * entropy + config.kl * kl + config.value * value_error) / total
    entropy, moved, kl, value_error = (x.detach() for x in (entropy, moved, kl, value_error))
    return Losses(loss, entropy / bits, moved / bits, kl / bits, value_error / total)


def _parts(team: FollowerTeam, lesson: Lesson, config: FollowConfig) -> tuple[Tensor, ...]:
    """Sums over a lesson: what to climb, entropy, both KL, squared error of the critic; and how many bits."""
    device = team.model.send.weight.device
    choices = lesson.choices
    tokens = torch.from_numpy(choices.tokens_NL).to(device)
    allowed = torch.from_numpy(choices.allowed_NM).to(device)
    logit = team.model(tokens)
    old_logit = torch.from_numpy(choices.logit_NM).to(device)
    new, old = both(logit), both(old_logit)
    bit = torch.from_numpy(choices.bits_NM).to(device).long()[..., None]
    zero = torch.zeros((), device=device)
    value_error = zero
    if config.credit == "sequence":
        advantage = torch.from_numpy(lesson.advantage_N).float().to(device)
        log_ratio = ((new - old).gather(-1, bit)[..., 0] * allowed).sum(-1)
        objective = _clipped(log_ratio.exp(), advantage, config.clip).sum() + _worded(team, lesson, config.clip)
        if team.critic is not None:
            said = team.critic(torch.from_numpy(lesson.features_NF).to(device))
            value_error = (said - torch.from_numpy(lesson.return_N).float().to(device)).square().sum()
    else:
        known = torch.from_numpy(choices.known_NM).to(device)
        gain = torch.from_numpy(choices.gain_NM).to(device) * (lesson.size * config.scale)
        # Q of both values: that of the one that was drawn is 0.
        q = torch.where(torch.arange(2, device=device) == bit, zero, gain[..., None])
        advantage = q - (old.exp() * q).sum(-1, keepdim=True)
        weight = (1.0 - config.exploration) * old.exp() + config.exploration / 2
        if config.credit == "regression":
            difference = (q[..., 1] - q[..., 0]) / config.scale
            climbed = -config.scale * (logit / config.sharpness - difference.clamp(-WORTH_BOUND, WORTH_BOUND)).square()
        elif config.credit == "token":
            climbed = _clipped((new - old).exp(), advantage, config.clip).gather(-1, bit)[..., 0]
        elif config.credit == "counterfactual":
            climbed = (weight * _clipped((new - old).exp(), advantage, config.clip)).sum(-1)
        else:
            push = weight * advantage
            climbed = (push[..., 1] - push[..., 0]) / 2 * logit
        objective = climbed[known].sum()
    entropy = -((new.exp() * new).sum(-1) * allowed).sum()
    moved = ((old.exp() * (old - new)).sum(-1) * allowed).sum()
    kl = zero
    if team.reference is not None and config.kl:
        with torch.no_grad():
            before = both(team.reference(tokens))
        kl = ((new.exp() * (new - before)).sum(-1) * allowed).sum()
    return objective, entropy, moved, kl, value_error, allowed.sum().float()


def _worded(team: FollowerTeam, lesson: Lesson, clip: float) -> Tensor:
    """The words' clipped ratios."""
    device = team.model.send.weight.device
    words = lesson.words
    if not len(words.slot_N):
        return torch.zeros((), device=device)
    said = torch.from_numpy(words.word_N).to(device)[:, None]
    new = team.model.ucm_logits(torch.from_numpy(words.tokens_NL).to(device)).log_softmax(-1)
    old = torch.from_numpy(words.logit_NW).to(device).log_softmax(-1)
    advantage = torch.from_numpy(lesson.word_advantage_N).float().to(device)
    return _clipped((new - old).gather(-1, said)[:, 0].exp(), advantage, clip).sum()


def imitation_loss(team: FollowerTeam, lessons: Sequence[Lesson], certainty: float) -> Tensor:
    """Nats a bit away from doing what the hand-written rule does with probability `certainty`; and nats a word away
    from naming what the UE needs, where words are said."""
    device = team.model.send.weight.device
    parts = []
    for lesson in lessons:
        allowed = torch.from_numpy(lesson.choices.allowed_NM).to(device)
        aim = torch.from_numpy(lesson.choices.rule_NM).to(device).float() * (2.0 * certainty - 1.0) + (1.0 - certainty)
        logit = team.model(torch.from_numpy(lesson.choices.tokens_NL).to(device))
        parts.append(functional.binary_cross_entropy_with_logits(logit, aim, reduction="none")[allowed])
    loss = torch.cat(parts).mean()
    if any(len(lesson.words.slot_N) for lesson in lessons):
        named = [
            functional.cross_entropy(
                team.model.ucm_logits(torch.from_numpy(lesson.words.tokens_NL).to(device)),
                torch.from_numpy(lesson.words.need_N).to(device),
                reduction="none",
            )
            for lesson in lessons
        ]
        loss = loss + torch.cat(named).mean()
    return loss


def both(logit: Tensor) -> Tensor:
    """Log-probabilities of both values of each bit, [..., 2]."""
    return functional.logsigmoid(torch.stack((-logit, logit), dim=-1))


def _clipped(ratio: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """PPO's pessimistic objective."""
    return torch.minimum(ratio * advantage, ratio.clamp(1.0 - clip, 1.0 + clip) * advantage)

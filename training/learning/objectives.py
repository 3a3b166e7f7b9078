"""How a DCM's worth is shared among its tokens: what each credit would have the policy climb.

    regression       -sum_a w(a) (logit(a) / s - Q(a))^2, both about their means: the policy is softmax(s x estimated Q)
    counterfactual   sum_a pi_old(a) A(a) r(a), clipped as in PPO, over every action a that was tried; A(a) = Q(a) minus
                     the policy's mean of Q, r = new probability / old. A share e goes to sum_a A(a) log p(a) / |tried|
    token            A r of the token that was said, clipped: PPO's usual objective, with the same A
    all_action       the gradient sum_a w(a) A(a) logit(a), w = (1 - e) pi + e / |tried|; no ratio, no clip, one step
    sequence         the paper's: one advantage for the whole DCM by GAE over the cell's decisions, one ratio

Q comes from branches of the simulator (training.counterfactual), so the first four need no critic. At the policy that
played, `counterfactual` and `all_action` have the same gradient but for how exploration's share is centred.
Suffixes: B examples, L steps, A actions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from policy.leader_models.leader_network import masked_log_softmax
from policy.leader_models.transcript import TeacherForcingBatch, teacher_forcing_batch
from training.learning.rollout import Example

WORTH_BOUND = 3.0
"""Of one action's value in a regression: a rare branch that lost or saved a whole burst must not turn all the rest."""


class Tried(NamedTuple):
    """What is known of a batch of DCMs, padded to the longest."""

    script: TeacherForcingBatch
    legal: Tensor
    """[B, L, A]."""
    known: Tensor
    """[B, L, A]: actions of known worth; all legal ones in a step that was not varied."""
    varied: Tensor
    """[B, L]: steps in which anything was tried."""
    value: Tensor
    """[B, L, A]: worth above that of the DCM as it was said, times its size."""
    said: Tensor
    """[B, L] tokens."""
    old_log_prob: Tensor
    """[B, L], as they were drawn."""


def tried_of(examples: Sequence[Example], device: torch.device) -> Tried:
    script = teacher_forcing_batch([e.line for e in examples])
    shape = script.mask_BLA.shape
    known_BLA, value_BLA = np.zeros(shape, bool), np.zeros(shape, np.float32)
    log_prob_BL = np.zeros(shape[:2], np.float32)
    for row, example in enumerate(examples):
        steps, width = example.known_LA.shape
        known_BLA[row, :steps, :width] = example.known_LA
        value_BLA[row, :steps, :width] = np.where(example.known_LA, example.value_LA - example.base, 0.0) * example.size
        log_prob_BL[row, :steps] = example.log_probs_L
    varied_BL: NDArray[np.bool_] = np.asarray(known_BLA.any(axis=-1))

    def tensor(array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(array).to(device)

    return Tried(
        script,
        tensor(script.mask_BLA),
        tensor(np.where(varied_BL[:, :, None], known_BLA, script.mask_BLA)),
        tensor(varied_BL),
        tensor(value_BLA),
        tensor(script.tokens_BL),
        tensor(log_prob_BL),
    )


class Baseline(NamedTuple):
    """What is taken from the policy that played, once per batch."""

    probability: Tensor
    """[B, L, A] over what was tried."""
    floor: Tensor
    """[B, L, A]: exploration's share of w."""
    weight: Tensor
    """[B, L, A]: w, 0 where nothing was tried."""
    advantage: Tensor
    """[B, L, A]."""
    on_policy: float
    """1 - e."""


def baseline_of(tried: Tried, logits: Tensor, exploration: float) -> Baseline:
    """logits [B, L, A]: of the policy that played."""
    probability = log_probs(logits.detach(), tried.known).exp() * tried.known
    advantage = (tried.value - (probability * tried.value).sum(-1, keepdim=True)) * tried.known
    floor = exploration / tried.known.sum(-1, keepdim=True) * tried.known
    weight = ((1.0 - exploration) * probability + floor) * tried.varied[..., None]
    return Baseline(probability, floor, weight, advantage, 1.0 - exploration)


class Objective(NamedTuple):
    """What to climb, summed over the batch."""

    gained: Tensor
    clipped: Tensor
    """Weight of ratios beyond the clip, and of all ratios: their quotient is the clip fraction."""
    weighed: Tensor


def all_action(tried: Tried, before: Baseline, logits: Tensor) -> Objective:
    """The gradient is that of the expected value under `before`: meant for one step per batch."""
    push = before.weight * before.advantage
    # What is common to all logits changes no probability, but would turn the query that makes them.
    push = (push - push.sum(-1, keepdim=True) / tried.known.sum(-1, keepdim=True)) * tried.known
    gained = (push * logits.masked_fill(~tried.known, 0.0)).sum()
    return Objective(gained, torch.zeros(()), before.weight.sum())


def counterfactual(tried: Tried, before: Baseline, logits: Tensor, clip: float) -> Objective:
    """Every action's clipped ratio, weighed as the policy that played weighs it; exploration's share climbs log p.

    A ratio of something that was all but impossible says nothing and is anything, so exploration's share is held by its
    own floor instead: what is worse is not pushed below it, what is better not beyond what the clip would let a certain
    action lose.
    """
    log_prob = log_probs(logits, tried.known)
    new, old = log_prob.exp() * tried.known, before.probability
    bounded = torch.minimum(torch.maximum(new, (1.0 - clip) * old), (1.0 + clip) * old)
    climbed = before.on_policy * torch.minimum(new * before.advantage, bounded * before.advantage)
    better = before.advantage > 0
    free = torch.where(better, new - old < clip, new > before.floor)
    explored = before.floor * before.advantage * torch.where(free, log_prob, log_prob.detach())
    outside = (new - old).abs() > clip * old
    return Objective(
        (climbed + explored)[tried.varied].sum(), (old * outside)[tried.varied].sum().detach(), tried.varied.sum()
    )


def regression(tried: Tried, before: Baseline, logits: Tensor, sharpness: float) -> Objective:
    """Minus the squared error of logit / sharpness as an estimate of an action's worth, both about their means.

    A policy gradient's push never ends: on values as noisy as one future each it drives the policy to certainty about
    noise. A regression has a fixed point, the mean of what was seen, and learns as much from what is never said.
    """
    even = tried.known / tried.known.sum(-1, keepdim=True)
    weight = 0.5 * (before.probability + even)
    worth = sharpness * tried.value.clamp(-WORTH_BOUND, WORTH_BOUND)
    error = (logits - worth).masked_fill(~tried.known, 0.0)
    error = error - (weight * error).sum(-1, keepdim=True)
    squared = (weight * error**2).sum(-1) / sharpness**2
    return Objective(-squared[tried.varied].sum(), torch.zeros(()), tried.varied.sum())


def token(tried: Tried, before: Baseline, logits: Tensor, clip: float) -> Objective:
    """The said token's clipped ratio."""
    new = log_probs(logits, tried.legal).gather(-1, tried.said[..., None])[..., 0]
    advantage = before.advantage.gather(-1, tried.said[..., None])[..., 0]
    return _clipped(new - tried.old_log_prob, advantage, tried.varied.float(), clip)


def sequence(tried: Tried, advantage_B: Tensor, logits: Tensor, clip: float) -> Objective:
    """The whole DCM's clipped ratio: one probability, the product over its tokens (Eq. 12)."""
    new = log_probs(logits, tried.legal).gather(-1, tried.said[..., None])[..., 0]
    log_ratio = (new - tried.old_log_prob).sum(-1)
    return _clipped(log_ratio, advantage_B, torch.ones_like(advantage_B), clip)


def log_probs(logits: Tensor, allowed: Tensor) -> Tensor:
    """Over the last axis, 0 where not allowed: x log x of what cannot be is 0, and so is its gradient."""
    return masked_log_softmax(logits, allowed).masked_fill(~allowed, 0.0)


def _clipped(log_ratio: Tensor, advantage: Tensor, weight: Tensor, clip: float) -> Objective:
    ratio = log_ratio.exp()
    bounded = ratio.clamp(1.0 - clip, 1.0 + clip)
    gained = (weight * torch.minimum(ratio * advantage, bounded * advantage)).sum()
    return Objective(gained, (weight * ((ratio - 1.0).abs() > clip)).sum().detach(), weight.sum())

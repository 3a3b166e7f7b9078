"""The loop in which weights change: epochs over minibatches, the same for every role and every objective.

A role says what its minibatches are and what each costs; here are the optimizer's step, what ends an update early, and
the checks that stop a run before a weight that is not finite.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from training.errors import Diverged
from training.learning.distributed import Ranks
from training.optimizer import AdamW

ADAM_BETAS = (0.9, 0.98)

Minibatch = TypeVar("Minibatch")


class Cost(NamedTuple):
    """What a minibatch, or a part of it that fits one forward, comes to."""

    loss: Tensor
    """To be descended; the parts of a minibatch add up."""
    kl: float = 0.0
    """KL from the model that played, nats, summed over `choices`."""
    choices: float = 0.0


class Limits(NamedTuple):
    """How far one update may go."""

    epochs: int = 1
    clip_norm: float = 1.0
    target_kl: float = 0.0
    """Nats a choice from the model that played: more ends the update, before the step that saw it. 0 = never."""
    free_epochs: int = 1
    """So many epochs are taken whatever the KL."""


def new_optimizer(parameters: Iterable[nn.Parameter]) -> AdamW:
    return AdamW(parameters, betas=ADAM_BETAS, weight_decay=0.0)


def learn(
    name: str,
    optimizer: torch.optim.Optimizer,
    epoch: Callable[[], Iterable[Minibatch]],
    costs: Callable[[Minibatch], Iterator[Cost]],
    rate: float,
    limits: Limits,
    ranks: Ranks,
) -> int:
    """One update; how many epochs were begun.

    name: whose loss it is, as a possessive. epoch: makes the minibatches of one epoch. costs: of a minibatch, part by
    part; each part's gradient is taken before the next part is asked for. Raises Diverged, with the weights before it.
    """
    for number in range(limits.epochs):
        for minibatch in epoch():
            optimizer.zero_grad(set_to_none=True)
            kl = choices = 0.0
            wrong: float | None = None
            for cost in costs(minibatch):
                if not bool(torch.isfinite(cost.loss)):
                    wrong = cost.loss.item()
                    break
                cost.loss.backward()
                kl, choices = kl + cost.kl, choices + cost.choices
            # Once a minibatch: ranks may have it in different numbers of parts.
            if ranks.any(wrong is not None):
                raise Diverged(f"the {name} loss is {'not finite on another rank' if wrong is None else wrong}")
            if limits.target_kl and number >= limits.free_epochs:
                kl, choices = ranks.sum([kl, choices])
                if kl / max(choices, 1.0) > limits.target_kl:
                    return number + 1
            _step(name, optimizer, rate, limits.clip_norm, ranks)
    return limits.epochs


def _step(name: str, optimizer: torch.optim.Optimizer, rate: float, clip_norm: float, ranks: Ranks) -> None:
    """One optimizer step at `rate`, along the ranks' mean gradient. Raises Diverged, before any weight changes."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    ranks.average_gradients(parameters)
    norm = nn.utils.clip_grad_norm_(parameters, clip_norm)
    if not bool(torch.isfinite(norm)):
        raise Diverged(f"the {name} gradient is {norm.item()}")
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()

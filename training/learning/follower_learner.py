"""The followers as a role of the trainer: what their minibatches are, and what they cost under their objective."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import nn

from policy.follower import FollowerModel
from training.critic import FOLLOWER_FEATURES, new_critic
from training.following.recording import FollowerBatch, FollowerTeam
from training.learning.distributed import Ranks
from training.learning.follower_config import FollowConfig
from training.learning.follower_loss import (
    ChoiceBatch,
    FollowerLosses,
    choice_batch_of,
    follower_loss,
    imitation_loss,
)
from training.learning.learner import Cost, Limits, learn, new_optimizer
from training.learning.objectives import Objective

Costs = Callable[[list[ChoiceBatch]], Iterator[Cost]]


class FollowerLearner:
    """Followers, their objective, their optimizer, their critic if the objective needs one, and what they began as."""

    def __init__(
        self,
        model: FollowerModel,
        config: FollowConfig,
        limits: Limits,
        batch: int,
        seed: int = 0,
        *,
        speaks: bool = False,
        ranks: Ranks | None = None,
    ) -> None:
        """batch: choices of UEs a step, all ranks together. speaks: reports carry words. seed: of a critic."""
        self._config, self._limits, self._batch, self._ranks = config, limits, batch, ranks or Ranks()
        self.objective: Objective = config.make_objective()
        device = next(model.parameters()).device
        critic = new_critic(FOLLOWER_FEATURES, seed).to(device) if self.objective.needs_critic else None
        reference = copy.deepcopy(model).eval() if config.kl else None
        self.team = FollowerTeam(model, critic, reference, speaks)
        learning = nn.ModuleList([model] if critic is None else [model, critic])
        self._optimizer = new_optimizer(learning.parameters())
        self.models: dict[str, nn.Module] = {"followers": learning}
        self.optimizers = {"followers": self._optimizer}

    def batches_of(self, recorded: Sequence[FollowerBatch]) -> list[ChoiceBatch]:
        """What was recorded, with its values."""
        return [choice_batch_of(self.team.critic, batch, self._config) for batch in recorded]

    def learn(self, batches: Sequence[ChoiceBatch], rate: float, rng: np.random.Generator) -> FollowerLosses | None:
        """One update; what its last step saw, None if no UE had anything to choose. Raises Diverged."""
        losses: FollowerLosses | None = None

        def costs(part: list[ChoiceBatch]) -> Iterator[Cost]:
            nonlocal losses
            losses = follower_loss(self.team, part, self._config, self.objective)
            yield Cost(losses.loss, losses.step_kl.item(), 1.0)

        self._descend(batches, costs, rate, self._limits, rng)
        return losses

    def imitate(
        self, batches: Sequence[ChoiceBatch], certainty: float, rate: float, rng: np.random.Generator
    ) -> FollowerLosses | None:
        """One pass towards what the hand-written rule did."""
        losses: FollowerLosses | None = None

        def costs(part: list[ChoiceBatch]) -> Iterator[Cost]:
            nonlocal losses
            loss, zero = imitation_loss(self.team, part, certainty), torch.zeros(())
            losses = FollowerLosses(loss.detach(), zero, zero, zero, zero)
            yield Cost(loss)

        self._descend(batches, costs, rate, Limits(clip_norm=self._limits.clip_norm), rng)
        return losses

    def _descend(
        self, batches: Sequence[ChoiceBatch], costs: Costs, rate: float, limits: Limits, rng: np.random.Generator
    ) -> None:
        count, ranks = sum(len(batch.choices.slot_N) for batch in batches), self._ranks
        if ranks.any(count == 0):
            return
        # As many steps on every rank, whatever its UEs had to choose.
        parts = max(1, round(ranks.sum([float(count)])[0] / self._batch))

        def epoch() -> Iterable[list[ChoiceBatch]]:
            return minibatches(batches, parts, rng)

        self.team.model.train()
        learn("followers'", self._optimizer, epoch, costs, rate, limits, ranks)
        self.team.model.eval()


def minibatches(batches: Sequence[ChoiceBatch], parts: int, rng: np.random.Generator) -> list[list[ChoiceBatch]]:
    """All choices once, in random order; each part has its share of every batch."""
    orders = [np.array_split(rng.permutation(len(batch.choices.slot_N)), parts) for batch in batches]
    words = [np.array_split(rng.permutation(len(batch.words.slot_N)), parts) for batch in batches]
    return [
        [batch.rows(order[k], chosen[k]) for batch, order, chosen in zip(batches, orders, words)] for k in range(parts)
    ]

"""The followers' weights follow what they recorded: training.following's losses, inside the trainer's limits."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from policy.critic import new_follower_critic
from policy.follower import FollowerModel
from training.errors import Diverged
from training.following.losses import follower_loss, lesson_of
from training.following.recording import FollowerBatch, FollowerTeam
from training.following.train import minibatches
from training.learning.config import TrainConfig, follow_config
from training.learning.distributed import Ranks
from training.learning.leader_learner import step
from training.learning.report import FollowerFigures

CHOICES = 1024
"""Of UEs, an optimizer step."""


class FollowerLearner:
    """Followers, their optimizer, their critic if their credit needs one, and what they began as."""

    def __init__(self, model: FollowerModel, config: TrainConfig, ranks: Ranks | None = None) -> None:
        self._config, self._ranks, self.follow = config, ranks or Ranks(), follow_config(config)
        device = next(model.parameters()).device
        critic = new_follower_critic(config.seed).to(device) if config.credit == "sequence" else None
        reference = copy.deepcopy(model).eval() if config.kl else None
        self.team = FollowerTeam(model, critic, reference)
        self._both = nn.ModuleList([model] if critic is None else [model, critic])
        self._optimizer = torch.optim.AdamW(self._both.parameters(), betas=(0.9, 0.98), weight_decay=0.0)
        self.models: dict[str, nn.Module] = {"followers": self._both}
        self.optimizers = {"followers": self._optimizer}

    def learn(self, batches: Sequence[FollowerBatch], rate: float, rng: np.random.Generator) -> FollowerFigures | None:
        """One update; None if no UE had anything to choose. Raises Diverged."""
        config, ranks = self._config, self._ranks
        lessons = [lesson_of(self.team, batch, self.follow) for batch in batches]
        count = sum(len(lesson.choices.slot_N) for lesson in lessons)
        if ranks.any(count == 0):
            return None
        # As many steps on every rank, whatever its UEs had to choose.
        parts = max(1, round(ranks.sum([float(count)])[0] / ranks.size / CHOICES))
        figures = None
        self.team.model.train()
        for epoch in range(config.epochs):
            for part in minibatches(lessons, -(-count // parts), rng):
                losses = follower_loss(self.team, part, self.follow)
                if ranks.any(not bool(torch.isfinite(losses.loss))):
                    raise Diverged(f"the followers' loss is {losses.loss.item()}")
                figures = FollowerFigures(losses.entropy.item(), losses.moved.item(), losses.value_error.item())
                moved = ranks.sum([figures.step_kl])[0] / ranks.size
                if epoch and config.target_kl and moved > config.target_kl:
                    self.team.model.eval()
                    return figures
                self._optimizer.zero_grad(set_to_none=True)
                losses.loss.backward()
                step(self._optimizer, self._both, rate, config.clip_norm, "followers", ranks)
        self.team.model.eval()
        return figures

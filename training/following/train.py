"""Followers trained under a leader that stands still: what `PF leader + retrained followers` is made with.

Each world is played for some periods by the followers as they are, its bits drawn; then they learn from it for a few
epochs. Worlds go on from update to update within a round and are drawn anew for the next. All of a round's randomness
comes from the seed and its first update: what stood at a round's begin is all that going on takes.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from policy.critic import new_follower_critic
from policy.follower import FollowerModel
from policy.leader import Leader
from training.errors import Diverged
from training.following.config import FollowConfig
from training.following.grounds import Ground, LeaderOf, new_grounds
from training.following.losses import Lesson, Losses, follower_loss, imitation_loss, lesson_of
from training.following.recording import FollowerTeam
from training.ranges import Ranges
from training.simulator.scenario import Scenario


@dataclass(frozen=True, slots=True)
class FollowTraining:
    """How long, on what, how fast."""

    follow: FollowConfig = field(default_factory=FollowConfig)
    updates: int = 120
    imitation_updates: int = 40
    """Before them: learning to do what the best-response rule does."""
    certainty: float = 0.97
    """With which the rule is imitated: what is left is what followers try first."""
    seed: int = 0
    worlds: int = 2
    cells: int = 64
    """Of each world."""
    slots: int = 8
    """Played between two updates, rounded up to whole periods."""
    round_updates: int = 12
    """Updates between two sets of worlds."""
    epochs: int = 2
    batch: int = 512
    """Choices of UEs an optimizer step."""
    learning_rate: float = 2e-3
    final_learning_rate: float = 5e-5
    imitation_learning_rate: float = 4e-3
    clip_norm: float = 1.0
    speaks: bool = False
    """Followers add words to their reports: for a leader whose prompt has them."""

    def __post_init__(self) -> None:
        ranges = Ranges(self)
        ranges.at_least_one(("updates", "worlds", "cells", "slots", "round_updates", "epochs", "batch"))
        ranges.inside(0.5, "certainty", 1)


class FollowReport(NamedTuple):
    """One update."""

    update: int
    """Negative while imitating."""
    reward: float
    """Of a cell in a slot."""
    loss: float
    entropy: float
    moved: float
    kl: float
    value_error: float
    choices: int


def train_followers(
    leader: Leader | None,
    model: FollowerModel,
    scenarios: Sequence[Scenario],
    ue_counts: Sequence[int],
    config: FollowTraining | None = None,
    *,
    seconds: float = math.inf,
    progress: Callable[[FollowReport], None] = lambda report: None,
) -> list[FollowReport]:
    """Train `model` in place, under `leader` (None = the node's own scheduler), which stays as it is.

    Updates that do not fit in `seconds` are left out. Raises ValueError for no scenarios or UE counts.
    """
    trainer = FollowTrainer(lambda scenario, ues: leader, model, scenarios, ue_counts, config)
    stop_at = time.monotonic() + seconds
    reports: list[FollowReport] = []
    while not trainer.is_done and time.monotonic() < stop_at:
        for report in trainer.round():
            reports.append(report)
            progress(report)
            if time.monotonic() >= stop_at:
                break
    return reports


class FollowTrainer:
    """Followers, their optimizer, and how far they have come."""

    def __init__(
        self,
        leader_of: LeaderOf,
        model: FollowerModel,
        scenarios: Sequence[Scenario],
        ue_counts: Sequence[int],
        config: FollowTraining | None = None,
    ) -> None:
        """Raises ValueError for no scenarios or UE counts."""
        self.config = config = config or FollowTraining()
        if not scenarios or not ue_counts:
            raise ValueError("no scenario or no UE count to train on")
        self._leader_of, self._scenarios, self._ue_counts = leader_of, scenarios, ue_counts
        critic = new_follower_critic(config.seed) if config.follow.credit == "sequence" else None
        reference = copy.deepcopy(model).eval().requires_grad_(False) if config.follow.kl else None
        self.team = FollowerTeam(model, critic, reference, config.speaks)
        learning = nn.ModuleList([model, *([critic] if critic else [])])
        self.models = {"followers": nn.ModuleList([*learning, *([reference] if reference else [])])}
        self.optimizers = {"followers": torch.optim.AdamW(learning.parameters(), betas=(0.9, 0.98), weight_decay=0.0)}
        self.update = -config.imitation_updates
        """The next one; a checkpoint is taken where a round begins."""

    @property
    def is_done(self) -> bool:
        return self.update >= self.config.updates

    def round(self) -> Iterator[FollowReport]:
        """Learn until worlds are to be drawn anew. Raises Diverged, with the weights as they were before."""
        config = self.config
        rng = np.random.default_rng([config.seed, 1, self.update + config.imitation_updates])
        if self.update == 0 and self.team.reference is not None:
            self.team.reference.load_state_dict(self.team.model.state_dict())
        grounds = new_grounds(self._leader_of, self._scenarios, self._ue_counts, config.worlds, config.cells, rng)
        while not self.is_done:
            report = self._learn(grounds, rng)
            self.update += 1
            yield report
            if self.update % config.round_updates == 0:
                return

    def _learn(self, grounds: Sequence[Ground], rng: np.random.Generator) -> FollowReport:
        config, team, optimizer = self.config, self.team, self.optimizers["followers"]
        imitates = self.update < 0
        follow = replace(config.follow, credit="counterfactual", flips=0) if imitates else config.follow
        batches = [ground.play(config.slots, team, follow, rng) for ground in grounds]
        reward = float(np.mean([batch.cell_reward_TB.mean() for batch in batches]))
        lessons = [lesson_of(team, batch, follow) for batch in batches]
        optimizer.param_groups[0]["lr"] = rate_at(config, self.update)
        team.model.train()
        if imitates:
            losses = imitate(team, lessons, config, optimizer, rng)
        else:
            losses = learn(team, lessons, follow, optimizer, config.epochs, config.batch, config.clip_norm, rng)
        team.model.eval()
        told = {name: round(value.item(), 6) for name, value in losses._asdict().items()}
        choices = sum(len(lesson.choices.slot_N) for lesson in lessons)
        return FollowReport(update=self.update, reward=round(reward, 6), choices=choices, **told)


def learn(
    team: FollowerTeam,
    lessons: Sequence[Lesson],
    config: FollowConfig,
    optimizer: torch.optim.Optimizer,
    epochs: int,
    batch: int,
    clip_norm: float,
    rng: np.random.Generator,
) -> Losses:
    """Epochs over the lessons until config.target_kl is passed; what the last step saw."""
    losses: Losses | None = None
    for _ in range(epochs):
        for part in minibatches(lessons, batch, rng):
            losses = follower_loss(team, part, config)
            if 0 < config.target_kl < losses.moved.item() and config.credit != "regression":
                return losses
            _descend(optimizer, losses.loss, clip_norm)
    if losses is None:
        raise ValueError("no UE had anything to choose")
    return losses


def minibatches(lessons: Sequence[Lesson], batch: int, rng: np.random.Generator) -> list[list[Lesson]]:
    """All choices once, in random order, about `batch` at a time; each part has its share of every lesson."""
    counts = [len(lesson.choices.slot_N) for lesson in lessons]
    parts = max(1, round(sum(counts) / batch))
    orders = [np.array_split(rng.permutation(count), parts) for count in counts]
    spoken = [np.array_split(rng.permutation(len(lesson.words.slot_N)), parts) for lesson in lessons]
    return [
        [lesson.rows(order[k]).saying(said[k]) for lesson, order, said in zip(lessons, orders, spoken)]
        for k in range(parts)
    ]


def imitate(
    team: FollowerTeam,
    lessons: Sequence[Lesson],
    config: FollowTraining,
    optimizer: torch.optim.Optimizer,
    rng: np.random.Generator,
) -> Losses:
    """One pass over the lessons, towards what the hand-written rule did."""
    nothing = torch.zeros(())
    loss = nothing
    for part in minibatches(lessons, config.batch, rng):
        loss = imitation_loss(team, part, config.certainty)
        _descend(optimizer, loss, config.clip_norm)
    return Losses(loss.detach(), nothing, nothing, nothing, nothing)


def _descend(optimizer: torch.optim.Optimizer, loss: torch.Tensor, clip_norm: float) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    norm = nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], clip_norm)
    if not bool(torch.isfinite(loss) & torch.isfinite(norm)):
        raise Diverged(f"the followers' loss is {loss.item()}, its gradient's norm {norm.item()}")
    optimizer.step()


def rate_at(config: FollowTraining, update: int) -> float:
    """Learning rate; negative updates imitate."""
    if update < 0:
        return config.imitation_learning_rate
    cosine = 0.5 + 0.5 * math.cos(math.pi * update / config.updates)
    return config.final_learning_rate + (config.learning_rate - config.final_learning_rate) * cosine

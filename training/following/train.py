"""Followers trained under a leader that stands still: what `PF leader + retrained followers` is made with.

Each world is played for some periods by the followers as they are, its bits drawn; then they learn from it for a few
epochs. Worlds go on from update to update and are drawn anew now and then. All randomness comes from the seed.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from policy.critic import new_follower_critic
from policy.follower import FollowerModel
from policy.intent import Intent
from policy.leader import Leader, never_expires
from training.following.config import FollowConfig
from training.following.losses import Lesson, Losses, follower_loss, imitation_loss, lesson_of
from training.following.recording import FollowerBatch, FollowerTeam, join, play_period
from training.simulator.cell import CellBatch
from training.simulator.lease import ControlSchedule
from training.simulator.scenario import Scenario

WARM_UP_SLOTS = 200
"""Worlds are played up to so many slots by the rule before the followers take over."""


@dataclass(frozen=True, slots=True)
class FollowTraining:
    """How long, on what, how fast."""

    follow: FollowConfig = field(default_factory=FollowConfig)
    updates: int = 200
    imitation_updates: int = 60
    """Before them: learning to do what the best-response rule does."""
    certainty: float = 0.97
    """With which the rule is imitated: what is left is what followers try first."""
    seed: int = 0
    worlds: int = 4
    cells: int = 32
    """Of each world."""
    slots: int = 8
    """Played between two updates, rounded up to whole periods."""
    round_updates: int = 20
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
        for name in ("updates", "worlds", "cells", "slots", "round_updates", "epochs", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 1 or more")
        if not 0.5 < self.certainty < 1.0:
            raise ValueError(f"certainty is {self.certainty}, expected above 0.5 and below 1")


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
    config = config or FollowTraining()
    stop_at = time.monotonic() + seconds
    rng = np.random.default_rng([config.seed, 1])
    critic = new_follower_critic(config.seed) if config.follow.credit == "sequence" else None
    team = FollowerTeam(model, critic, speaks=config.speaks)
    reports: list[FollowReport] = []
    field_of_play: list[Ground] = []
    weights = [*model.parameters(), *(critic.parameters() if critic else ())]
    optimizer = torch.optim.AdamW(weights, betas=(0.9, 0.98), weight_decay=0.0)
    for update in range(-config.imitation_updates, config.updates):
        if time.monotonic() >= stop_at:
            break
        if update == 0 and config.follow.kl:
            team = team._replace(reference=copy.deepcopy(model).eval())
        if not field_of_play or update % config.round_updates == 0:
            field_of_play = new_grounds(scenarios, ue_counts, config.worlds, config.cells, rng)
        follow = config.follow if update >= 0 else replace(config.follow, credit="counterfactual", flips=0)
        batches = [ground.play(leader, config.slots, team, follow, rng) for ground in field_of_play]
        reward = float(np.mean([batch.cell_reward_TB.mean() for batch in batches]))
        lessons = [lesson_of(team, batch, follow) for batch in batches]
        optimizer.param_groups[0]["lr"] = _rate(config, update)
        model.train()
        if update < 0:
            losses = _imitate(team, lessons, config, optimizer, rng)
        else:
            losses = learn(team, lessons, follow, optimizer, config.epochs, config.batch, config.clip_norm, rng)
        model.eval()
        told = {name: round(value.item(), 6) for name, value in losses._asdict().items()}
        choices = sum(len(lesson.choices.slot_N) for lesson in lessons)
        reports.append(FollowReport(update=update, reward=round(reward, 6), choices=choices, **told))
        progress(reports[-1])
    return reports


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


def _imitate(
    team: FollowerTeam,
    lessons: Sequence[Lesson],
    config: FollowTraining,
    optimizer: torch.optim.Optimizer,
    rng: np.random.Generator,
) -> Losses:
    nothing = torch.zeros(())
    loss = nothing
    for part in minibatches(lessons, config.batch, rng):
        loss = imitation_loss(team, part, config.certainty)
        _descend(optimizer, loss, config.clip_norm)
    return Losses(loss.detach(), nothing, nothing, nothing, nothing)


def _descend(optimizer: torch.optim.Optimizer, loss: torch.Tensor, clip_norm: float) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], clip_norm)
    optimizer.step()


def _rate(config: FollowTraining, update: int) -> float:
    if update < 0:
        return config.imitation_learning_rate
    cosine = 0.5 + 0.5 * math.cos(math.pi * update / config.updates)
    return config.final_learning_rate + (config.learning_rate - config.final_learning_rate) * cosine


class Ground:
    """Cells of one scenario in which followers learn, led under the period rule of evaluations."""

    def __init__(self, scenario: Scenario, cells: int, ues: int, seed: int, warm_up: int) -> None:
        """warm_up: slots played before, rounded down to whole periods."""
        self.world = CellBatch(scenario, cells, ues, seed)
        self._schedules = [ControlSchedule(scenario.slots_per_dcm) for _ in range(cells)]
        self.world.play(None, warm_up // scenario.slots_per_dcm * scenario.slots_per_dcm)

    def play(
        self, leader: Leader | None, slots: int, team: FollowerTeam, config: FollowConfig, rng: np.random.Generator
    ) -> FollowerBatch:
        """At least `slots` slots, in whole periods."""
        world, pace = self.world, self.world.scenario.slots_per_dcm
        batches = []
        for _ in range(-(-slots // pace)):
            if leader is not None:
                self._ask(leader)
            terms = [schedule.governing(world.slot) for schedule in self._schedules]
            allocations = [term.control.allocation if term.control else None for term in terms]
            batches.append(play_period(world, allocations, pace, team, config, rng))
        return join(batches)

    def _ask(self, leader: Leader) -> None:
        world, scenario = self.world, self.world.scenario
        decisions = leader.decide(world.observe(), [Intent()] * world.cells, never_expires)
        first = world.slot + scenario.control_lead_periods * scenario.slots_per_dcm
        for schedule, decision in zip(self._schedules, decisions, strict=True):
            schedule.offer(
                decision.allocation,
                next_slot=world.slot,
                apply_from_slot=first,
                valid_for_slots=scenario.lease_slots,
            )


def new_grounds(
    scenarios: Sequence[Scenario], ue_counts: Sequence[int], worlds: int, cells: int, rng: np.random.Generator
) -> list[Ground]:
    """Scenarios in turn, UE counts as even as can be."""
    if not scenarios or not ue_counts:
        raise ValueError("no scenario or no UE count to train on")
    turns = -(-worlds // len(ue_counts))
    counts: list[NDArray[np.int64]] = [rng.permutation(np.asarray(ue_counts)) for _ in range(turns)]
    first = int(rng.integers(len(scenarios)))
    return [
        Ground(
            scenarios[(first + k) % len(scenarios)],
            cells,
            ues,
            int(rng.integers(2**62)),
            int(rng.integers(WARM_UP_SLOTS + 1)),
        )
        for k, ues in enumerate(np.concatenate(counts)[:worlds].tolist())
    ]

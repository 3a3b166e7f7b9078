"""How followers learn: frozen objects, validated once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from training.following.config import RecordingConfig
from training.learning.objectives import DEFAULT_OBJECTIVE, OBJECTIVES, Objective
from training.ranges import Ranges
from training.schedules import cosine

if TYPE_CHECKING:
    from training.learning.learner import Limits


@dataclass(frozen=True, slots=True)
class FollowConfig(RecordingConfig):
    """The defaults suit models of 10^4 weights on one core."""

    objective: str = DEFAULT_OBJECTIVE
    exploration: float = 0.2
    """Share of a bit's weight that is spread evenly over sending and not: a follower that is nearly certain can change
    its mind. `counterfactual` and `all_action` only."""
    sharpness: float = 120.0
    """`regression`: logits per unit of value; its inverse is the temperature at which the followers play."""
    scale: float = 10.0
    """Factor on values in the loss: what they weigh against entropy and KL."""
    clip: float = 0.2
    entropy: float = 0.0
    kl: float = 0.0
    """Weight of the divergence from the followers that it began with."""
    target_kl: float = 0.02
    """Nats a bit between the followers that played and those that learn: more ends the epochs. 0 = never. Not for
    `regression`, which has a fixed point to go to."""
    gamma: float = 0.9
    lam: float = 0.9
    value: float = 0.5
    """Weight of the critic's error; only objectives with a critic."""

    def __post_init__(self) -> None:
        RecordingConfig.__post_init__(self)
        ranges = Ranges(self)
        ranges.one_of("objective", OBJECTIVES)
        ranges.not_negative(("entropy", "kl", "target_kl", "scale", "value"))
        ranges.share(("exploration", "gamma", "lam"))
        ranges.positive(("sharpness",))
        ranges.inside(0, "clip", 1)

    def make_objective(self) -> Objective:
        return OBJECTIVES[self.objective](self)

    @property
    def flips_a_slot(self) -> int:
        return self.flips if OBJECTIVES[self.objective].needs_branches else 0


@dataclass(frozen=True, slots=True)
class FollowTraining:
    """How long, on what, how fast followers learn under a leader that stands still."""

    follow: FollowConfig = field(default_factory=FollowConfig)
    updates: int = 120
    imitation_updates: int = 40
    """Updates before them, in which followers learn to do what the best-response rule does."""
    certainty: float = 0.97
    """With which the rule is imitated: what is left is what followers try first."""
    seed: int = 0
    worlds: int = 2
    cells: int = 64
    """Cells of each world."""
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

    @property
    def limits(self) -> Limits:
        """How far one update may go."""
        from training.learning.learner import Limits  # torch: kept results are shown without

        target_kl = self.follow.target_kl if OBJECTIVES[self.follow.objective].stops_at_target_kl else 0.0
        return Limits(self.epochs, self.clip_norm, target_kl, free_epochs=0)

    def learning_rate_at(self, update: int) -> float:
        """Negative updates imitate."""
        if update < 0:
            return self.imitation_learning_rate
        return cosine(update, self.updates, self.learning_rate, self.final_learning_rate)

"""What is logged of an update, and what a bundle keeps of a run's last ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from training.learning.example import Example
    from training.learning.follower_loss import FollowerLosses
    from training.learning.rollout import Rollout

REPORTED_UPDATES = 50
"""Figures in the bundle are means over this many last updates."""
_KEPT = ("value", "reward", "gain", "entropy", "jain", "collision_fraction", "follower_entropy")


class LeaderFigures(NamedTuple):
    """What one update of the leader came to."""

    entropy: float
    """Nats a step that was varied; a choice, where alternatives are not tried."""
    kl: float
    """KL from the leader that it began with, nats a DCM; 0 where it has no weight."""
    step_kl: float
    """KL between the model that played and the one last looked at, nats a choice."""
    clip_fraction: float
    epochs: int
    """Epochs that were begun."""
    explained_variance: float | None
    """Share of the returns' variance that the critic knew; None without a critic."""


class UpdateReport(NamedTuple):
    """One line of the log. None = not measured: a role stood still, or its objective does not need it."""

    update: int
    cell_steps: int
    """Slots x cells played so far, branches not counted, over all ranks."""
    value: float
    """Mean value of the DCMs as the leader decided them: what followed counts, see training.counterfactual."""
    reward: float
    """Mean slot reward of the periods that they governed."""
    gain: float | None
    """What changing the best single token of each would have added, on average: hindsight, it never gets to 0."""
    jain: float
    """Jain's index of what the cells' UEs were served since their worlds began."""
    node_jain: float
    """Jain's index of what the node alone served them, before the leader came."""
    collision_fraction: float
    """Share of the RBG-slots played."""
    entropy: float | None = None
    """Nats a step that was varied."""
    kl: float | None = None
    """KL from the leader that it began with, nats a DCM; 0 where that has no weight."""
    step_kl: float | None = None
    """KL between the leader that played and the one last looked at, nats a choice."""
    clip_fraction: float | None = None
    epochs: int | None = None
    explained_variance: float | None = None
    """Share of the returns' variance that the critic knew; None without one."""
    leader_lr: float | None = None
    follower_entropy: float | None = None
    """Nats a bit."""
    follower_kl: float | None = None
    """KL between the followers that played and those last looked at, nats a bit."""
    follower_value_error: float | None = None
    follower_lr: float | None = None
    unseen: tuple[float, float] | None = None
    """Utility at a UE count that is not trained on, less that of the leader it began with; and its standard error."""
    warnings: tuple[str, ...] = ()
    """Failure signatures: training.learning.health."""


def report_of(
    update: int,
    cell_steps: int,
    examples: Sequence[Example],
    rollout: Rollout,
    leader: tuple[LeaderFigures, float] | None,
    followers: tuple[FollowerLosses, float] | None,
    unseen: tuple[float, float] | None,
) -> UpdateReport:
    """leader, followers: figures (the last step's losses) and learning rate of those that learnt."""
    tried = [e for e in examples if e.known_LA.any()]
    gains = [float(np.where(e.known_LA, e.value_LA, e.base).max()) - e.base for e in tried]
    report = UpdateReport(
        update,
        cell_steps,
        round(float(np.mean([e.base for e in examples])), 6),
        round(float(np.mean([e.reward for e in examples])), 6),
        round(float(np.mean(gains)), 6) if gains else None,
        round(rollout.jain(), 4),
        round(rollout.node_jain, 4),
        round(float(np.mean([e.collision_fraction for e in examples])), 5),
        unseen=unseen,
    )
    if leader is not None:
        figures, rate = leader
        explained = figures.explained_variance
        report = report._replace(
            entropy=round(figures.entropy, 6),
            kl=round(figures.kl, 6),
            step_kl=round(figures.step_kl, 6),
            clip_fraction=round(figures.clip_fraction, 5),
            epochs=figures.epochs,
            explained_variance=None if explained is None else round(explained, 5),
            leader_lr=rate,
        )
    if followers is not None:
        losses, rate = followers
        report = report._replace(
            follower_entropy=round(losses.entropy.item(), 6),
            follower_kl=round(losses.step_kl.item(), 6),
            follower_value_error=round(losses.value_error.item(), 6),
            follower_lr=rate,
        )
    return report


def from_log(line: dict[str, object]) -> UpdateReport:
    """A line as JSON brought it back."""
    report = UpdateReport(**line)  # type: ignore[arg-type]
    unseen = None if report.unseen is None else (report.unseen[0], report.unseen[1])
    return report._replace(unseen=unseen, warnings=tuple(report.warnings))


def means(reports: Sequence[UpdateReport]) -> dict[str, float]:
    """Means of the last updates' figures."""
    last = reports[-REPORTED_UPDATES:]
    found = {name: [v for r in last if (v := getattr(r, name)) is not None] for name in _KEPT}
    return {name: round(float(np.mean(values)), 4) for name, values in found.items() if values}

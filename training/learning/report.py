"""What is logged of an update, and what a bundle keeps of a run's last ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from training.learning.arena import Example
from training.learning.ppo import LeaderFigures

REPORTED_UPDATES = 50
"""Figures in the bundle are means over this many last updates."""
_KEPT = ("value", "reward", "gain", "entropy", "jain", "collision_fraction")


class UpdateReport(NamedTuple):
    """One line of the log. None = not measured in this update."""

    update: int
    cell_steps: int
    """Slots x cells played so far, branches not counted, over all ranks."""
    value: float
    """Mean value of the DCMs as the leader said them: what followed counts, see training.counterfactual."""
    reward: float
    """Mean slot reward of the periods that they governed."""
    gain: float | None
    """What changing the best single token of each would have added, on average: hindsight, it never gets to 0."""
    jain: float
    """Of what the cells' UEs were served since their worlds began."""
    collision_fraction: float
    """Of the RBG-slots played."""
    entropy: float
    kl: float
    step_kl: float
    clip_fraction: float
    epochs: int
    explained_variance: float | None
    leader_lr: float


def report_of(
    update: int, cell_steps: int, examples: Sequence[Example], jain: float, figures: LeaderFigures, leader_lr: float
) -> UpdateReport:
    """Of the rank that writes."""
    tried = [e for e in examples if e.known_LA.any()]
    gains = [float(np.where(e.known_LA, e.value_LA, e.base).max()) - e.base for e in tried]
    explained = figures.explained_variance
    return UpdateReport(
        update,
        cell_steps,
        round(float(np.mean([e.base for e in examples])), 6),
        round(float(np.mean([e.reward for e in examples])), 6),
        round(float(np.mean(gains)), 6) if gains else None,
        round(jain, 4),
        round(float(np.mean([e.collision_fraction for e in examples])), 5),
        round(figures.entropy, 6),
        round(figures.kl, 6),
        round(figures.step_kl, 6),
        round(figures.clip_fraction, 5),
        figures.epochs,
        None if explained is None else round(explained, 5),
        leader_lr,
    )


def means(reports: Sequence[UpdateReport]) -> dict[str, float]:
    """Of the last updates."""
    last = reports[-REPORTED_UPDATES:]
    found = {name: [v for r in last if (v := getattr(r, name)) is not None] for name in _KEPT}
    return {name: round(float(np.mean(values)), 4) for name, values in found.items() if values}

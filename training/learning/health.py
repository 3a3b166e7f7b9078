"""The paper's failure signatures, named while a run learns, each with what to look at.

divergence                  the learning rates' ratio kappa_1 / kappa_2 (Theorem 2)
Jain's index below 0.6      the consistency reward's weight rho_2 (Eq. 2)
an invalid token            a hard error: training.learning.rollout.check_legal
worse at an unseen I        D(I), the UE counts that are trained on
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from policy.grammar import GrammarOptions
from training.learning.config import TrainConfig
from training.learning.report import UpdateReport
from training.replay import replay

if TYPE_CHECKING:
    from policy.leader_models.leader_network import LeaderNetwork

WINDOW = 20
"""Updates that a mean is taken over."""
DIVERGED_SHARE = 0.1
"""Reward lost since the run began that is no longer called noise, if it is also MANY_ERRORS standard errors."""
MANY_ERRORS = 3.0
FAIR_JAIN = 0.6
"""Below it, followers may ignore their leader."""
WATCH_CELLS = 6
WATCH_SLOTS = 100
MOST_UNSEEN_UES = 100


def divergence(reports: Sequence[UpdateReport], config: TrainConfig) -> str | None:
    """Rewards of the last updates against those of the first."""
    if len(reports) < 2 * WINDOW:
        return None
    first, last = (np.array([r.reward for r in part]) for part in (reports[:WINDOW], reports[-WINDOW:]))
    error = float(np.sqrt((first.var() + last.var()) / WINDOW))
    lost = float(first.mean() - last.mean())
    if lost < DIVERGED_SHARE * abs(float(first.mean())) or lost < MANY_ERRORS * error:
        return None
    return (
        f"divergence: reward fell from {first.mean():.3f} to {last.mean():.3f}; check the learning rates' ratio "
        f"kappa_1/kappa_2 = {config.leader_lr:g}/{config.follower_lr:g} = {config.kappa_ratio:.3g}"
    )


def unfairness(reports: Sequence[UpdateReport], config: TrainConfig) -> str | None:
    """Jain's index of the last updates; what the node alone reached in the same worlds is named too."""
    if len(reports) < WINDOW:
        return None
    last = reports[-WINDOW:]
    jain, node = float(np.mean([r.jain for r in last])), float(np.mean([r.node_jain for r in last]))
    if jain >= FAIR_JAIN:
        return None
    return (
        f"low fairness: Jain's index is {jain:.2f}, below {FAIR_JAIN} (the node's scheduler alone: {node:.2f}): "
        f"followers may ignore the DCM; check the consistency weight rho_2 = {config.consistency:g}"
    )


def narrowness(reports: Sequence[UpdateReport], config: TrainConfig) -> str | None:
    """The last look at a UE count that is not trained on."""
    seen = next((r.unseen for r in reversed(reports) if r.unseen is not None), None)
    if seen is None or seen[0] >= -2.0 * seen[1]:
        return None
    return (
        f"poor generalisation: at {unseen_ues(config)} UEs, which it does not train on, utility is {-seen[0]:.3f} "
        f"(+-{seen[1]:.3f}) below what it began with; D(I) = {sorted(set(config.ue_counts))} may be too narrow"
    )


def warnings_of(reports: Sequence[UpdateReport], config: TrainConfig) -> tuple[str, ...]:
    """What is to be warned of after the last report: each signature once in a run."""
    before = {warning.split(":")[0] for report in reports for warning in report.warnings}
    found = (look(reports, config) for look in (divergence, unfairness, narrowness))
    return tuple(warning for warning in found if warning and warning.split(":")[0] not in before)


def unseen_ues(config: TrainConfig) -> int:
    """Twice the most UEs that are trained on; D(I) holds nothing between."""
    most = max(config.ue_counts)
    return max(most + 1, min(2 * most, MOST_UNSEEN_UES))


def utilities_at_unseen(leader: LeaderNetwork, config: TrainConfig, options: GrammarOptions) -> np.ndarray:
    """The utility of each of a few cells with that many UEs, always the same ones, under a greedy leader: [cells]."""
    from policy.model_leader import ModelLeader

    scenario, ues = config.scenarios[0], unseen_ues(config)
    periods = max(3, WATCH_SLOTS // scenario.slots_per_dcm)
    leads = ModelLeader(leader, options)
    cells = replay(scenario, leads, ues=ues, cells=WATCH_CELLS, seed=config.seed, periods=periods)
    return np.array([cell.utility for cell in cells])

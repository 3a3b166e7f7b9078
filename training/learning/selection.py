"""Which of a run's weights its bundle gets: those that led best in worlds kept for choosing, or what it began with.

A run may end below where it began: values are noisy, and what is not varied drifts. So now and then the leader is
looked at in the same few cells of every scenario and UE count that it trains on, greedily, as it will lead. The value
of weights is their mean gain there over the leader that the run began with, less one standard error; that one itself
has 0. Of many noisy looks the best is too good: its real value is for other worlds to show.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from policy.grammar import GrammarOptions
from policy.leader_models.language_model import state_of
from policy.leader_models.leader_network import LeaderNetwork
from policy.model_leader import ModelLeader
from training.checkpoint import read_checkpoint, save_checkpoint
from training.intervals import mean_and_error
from training.learning.config import TrainConfig
from training.replay import replay
from training.world_seeds import CHOOSING_SEED

CELLS = 6
SLOTS = 100
PERIODS = 30
"""Length of a run in them, if that is longer than SLOTS."""


class Selection:
    """The best weights so far, on disk: an interrupted run that is resumed chooses alike."""

    def __init__(self, path: Path, config: TrainConfig, options: GrammarOptions, start: LeaderNetwork) -> None:
        self._path, self._config, self._options, self._start = path, config, options, start
        self._start_utility: NDArray[np.float64] | None = None

    def begin(self) -> None:
        """Forget what another run chose."""
        self._path.unlink(missing_ok=True)

    def look(self, leader: LeaderNetwork, update: int) -> float:
        """The leader's value after so many updates; its weights are kept if nothing had more."""
        if self._start_utility is None:
            self._start_utility = self._utilities(self._start)
        mean, error = mean_and_error(self._utilities(leader) - self._start_utility)
        value = mean - error
        if value > (self.best or (0, 0.0))[1]:
            save_checkpoint(self._path, {"leader": leader}, {}, {"update": str(update), "value": repr(value)})
        return value

    @property
    def best(self) -> tuple[int, float] | None:
        """After how many updates, and its value; None = nothing was better than the start."""
        if not self._path.exists():
            return None
        metadata, _ = read_checkpoint(self._path)
        return int(metadata["update"]), float(metadata["value"])

    def restore_best(self, leader: LeaderNetwork) -> None:
        """Put `leader` to the best weights, or back to the start's."""
        if self.best is None:
            best = {f"leader/weight/{key}": tensor for key, tensor in state_of(self._start).items()}
        else:
            _, best = read_checkpoint(self._path)
        with torch.no_grad():
            for key, weight in state_of(leader).items():
                weight.copy_(best[f"leader/weight/{key}"])

    def _utilities(self, leader: LeaderNetwork) -> NDArray[np.float64]:
        config, player = self._config, ModelLeader(leader, self._options)
        found = []
        for scenario in dict.fromkeys(config.scenarios):
            periods = max(PERIODS, SLOTS // scenario.slots_per_dcm)
            for ues in sorted(set(config.ue_counts)):
                cells = replay(
                    scenario, player, ues=ues, cells=CELLS, seed=CHOOSING_SEED, periods=periods, followers=config.rule
                )
                found += [cell.utility for cell in cells]
        return np.array(found)

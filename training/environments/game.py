"""What both environments share: which scenario is meant, and what a slot pays.

Rewards are the trainer's (training.rewards): the cell's is to first order the change of the utility that evaluation
reports, and whatever a process was told to pay instead counts here, too.
Suffixes: U seats, M RBGs, E events of a cell.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.following.config import RecordingConfig
from training.rewards import SERVED_UNIT_BITS, cell_reward, costs, served_weights
from training.simulator.cell import CellBatch
from training.simulator.scenario import Scenario, make_scenario
from training.simulator.state import SERVED

RENDER_MODES = (None, "rgb_array")
TEAM_SHARE = RecordingConfig().team_share
"""What a UE gets of the cell's reward, as in training."""
PLAIN_ALPHA = np.ones(1)
"""The fairness of no intent: utility's own."""


def scenario_of(given: object) -> Scenario:
    """A scenario, its name, or its file. Raises ValueError (ScenarioError lists the names)."""
    if isinstance(given, Scenario):
        return given
    if isinstance(given, str):
        return make_scenario(given)
    raise ValueError(f"scenario is {given!r}, expected a name, FILE.toml or a training.simulator.scenario.Scenario")


def check_counts(ues: object, episode_slots: object, render_mode: object) -> None:
    """Raises ValueError."""
    for name, value in (("ues", ues), ("episode_slots", episode_slots)):
        if not isinstance(value, int | np.integer) or value < 1:
            raise ValueError(f"{name} is {value!r}, expected a whole number from 1 on")
    if render_mode not in RENDER_MODES:
        raise ValueError(f"render_mode is {render_mode!r}, expected one of {', '.join(map(repr, RENDER_MODES))}")


class SlotAccount:
    """What one cell is paid from now on until `paid`, a period at the most."""

    def __init__(self, cell: CellBatch) -> None:
        self._cell = cell
        state = cell.state
        self._weights_BU = served_weights(state, PLAIN_ALPHA)
        self._served_BU, self._events_BE = state.counters_BUC[:, :, SERVED].copy(), state.events_BE.copy()

    def served_U(self) -> NDArray[Any]:
        return np.asarray(self._cell.state.counters_BUC[:, :, SERVED] - self._served_BU)[0]

    def paid(self) -> float:
        """The cell's reward."""
        events_BE = self._cell.state.events_BE - self._events_BE
        reward_B = cell_reward(self._weights_BU, self.served_U()[None], events_BE, self._cell.scenario.num_rbgs)
        return float(reward_B[0])


def own_costs_U(cell: CellBatch, sends_UM: NDArray[np.bool_]) -> NDArray[np.float64]:
    """What each UE's own collisions and waste cost it, before the slot is played."""
    return costs(cell.state, sends_UM[None])[0]


def ue_rewards_U(served_U: NDArray[Any], costs_U: NDArray[np.float64], cell_paid: float) -> NDArray[np.float64]:
    return np.asarray(served_U / SERVED_UNIT_BITS - costs_U + TEAM_SHARE * cell_paid)

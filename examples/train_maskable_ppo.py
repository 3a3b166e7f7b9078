"""An off-the-shelf learner, sb3-contrib's MaskablePPO, learns in UplinkLeaderEnv, and then leads as any other does.

pip install sb3-contrib
python train_maskable_ppo.py --scenario mix --ues 4 --steps 200000 --out maskable_ppo.zip
stackmac evaluate --scenario mix --ues 4 --against node_scheduler,train_maskable_ppo:Trained,train_maskable_ppo:Random

`Trained` plays the file that the environment variable MASKABLE_PPO names, else maskable_ppo.zip.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence

import numpy as np
import torch
from sb3_contrib import MaskablePPO

from policy.allocation import Allocation
from policy.cell_state import CellState
from policy.errors import UserMistake
from policy.intent import Intent
from policy.leader import Decision
from training.environments.leader_env import UplinkLeaderEnv, action_choices, allocation_of, flat_observation

FILE = "maskable_ppo.zip"
EPISODE_SLOTS = 100


class Trained:
    """Leads cells of exactly as many UEs as it was trained with: its network has a seat for each."""

    name = "maskable_ppo"

    def __init__(self) -> None:
        torch.set_num_threads(1)
        self._model = MaskablePPO.load(os.environ.get("MASKABLE_PPO", FILE), device="cpu")

    def decide(
        self, states: Sequence[CellState], intents: Sequence[Intent], expired: Callable[[], bool]
    ) -> list[Decision]:
        seats = int(self._model.action_space.nvec[0]) - 2
        if wrong := [state.num_ues for state in states if state.num_ues != seats]:
            raise UserMistake(f"{self.name} leads cells of {seats} UEs, as it was trained with, and not of {wrong[0]}")
        seen = np.array([flat_observation(state, np.array(state.ue_ids)) for state in states])
        actions, _ = self._model.predict(seen, deterministic=True)
        return [Decision(allocation_of(state, action), decided_by=self.name) for state, action in zip(states, actions)]


class Random:
    """Whatever may be chosen, at random: how the learner begins."""

    name = "random"

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)

    def decide(
        self, states: Sequence[CellState], intents: Sequence[Intent], expired: Callable[[], bool]
    ) -> list[Decision]:
        return [Decision(self._random(state), decided_by=self.name) for state in states]

    def _random(self, state: CellState) -> Allocation:
        choices = action_choices(state.num_ues, state.num_rbgs)
        return allocation_of(state, self._rng.integers(0, choices))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenario", default="mix")
    parser.add_argument("--ues", type=int, default=4)
    parser.add_argument("--steps", type=int, default=200_000)
    parser.add_argument("--rollout", type=int, default=1000, help="steps between two updates")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default=FILE)
    options = parser.parse_args()
    torch.set_num_threads(1)
    env = UplinkLeaderEnv(options.scenario, options.ues, EPISODE_SLOTS)
    model = MaskablePPO(
        "MlpPolicy", env, n_steps=options.rollout, batch_size=min(250, options.rollout), gamma=0.9, seed=options.seed,
        device="cpu",
    )  # fmt: skip
    model.learn(options.steps, progress_bar=True)
    model.save(options.out)
    print(f"{options.scenario}, {options.ues} UEs, {options.steps} steps: saved as {options.out}")


if __name__ == "__main__":
    main()

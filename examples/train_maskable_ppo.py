"""An off-the-shelf learner leads: sb3-contrib's MaskablePPO in UplinkLeaderEnv, beside the same network untrained.

    pip install sb3-contrib
    python train_maskable_ppo.py --scenario mix --steps 200000

Prints the utility of both in the same worlds, which training never sees.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from sb3_contrib import MaskablePPO

from training.environments.leader_env import UplinkLeaderEnv

FIRST_TEST_WORLD = 710_001
LENGTH_SLOTS = 100


def utility(model: MaskablePPO | None, scenario: str, ues: int, worlds: int) -> np.ndarray:
    """Utility of each test world; None = whatever the masks allow, at random."""
    env, found = UplinkLeaderEnv(scenario, ues, LENGTH_SLOTS), []
    rng = np.random.default_rng(0)
    for world in range(FIRST_TEST_WORLD, FIRST_TEST_WORLD + worlds):
        observation, info = env.reset(seed=world)
        over = False
        while not over:
            masks = env.action_masks()
            if model is None:
                each = np.split(masks, np.cumsum(env.action_space.nvec)[:-1])
                action = np.array([rng.choice(np.flatnonzero(mask)) for mask in each])
            else:
                action, _ = model.predict(observation, action_masks=masks, deterministic=True)
            observation, _, _, over, info = env.step(action)
        found.append(info["utility"])
    return np.array(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenario", default="mix")
    parser.add_argument("--ues", type=int, default=4)
    parser.add_argument("--steps", type=int, default=200_000)
    parser.add_argument("--rollout", type=int, default=1000, help="steps between two updates")
    parser.add_argument("--worlds", type=int, default=48, help="test worlds")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    env = UplinkLeaderEnv(options.scenario, options.ues, LENGTH_SLOTS)
    model = MaskablePPO(
        "MlpPolicy", env, n_steps=options.rollout, batch_size=min(250, options.rollout), gamma=0.9, seed=options.seed,
        device="cpu",
    )  # fmt: skip
    model.learn(options.steps)
    for name, who in (("random", None), (f"after {options.steps} steps", model)):
        found = utility(who, options.scenario, options.ues, options.worlds)
        print(f"{options.scenario}, {options.ues} UEs, {name}: utility {found.mean():.4f} ± {found.std():.4f} (worlds)")


if __name__ == "__main__":
    main()

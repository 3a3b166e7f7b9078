"""Followers that learn, and worlds in which they have a choice."""

from __future__ import annotations

import numpy as np
import pytest

from policy.allocation import DYNAMIC, OPEN, Allocation, LeftoverRule
from policy.leader_models import recorded_answers
from training.following.config import RecordingConfig
from training.simulator.cell import CellBatch
from training.simulator.scenario import make_scenario

# torch is imported only by who needs a model: the simulator's tests run without it.


@pytest.fixture(autouse=True)
def _one_recorded_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the states that every bundle is asked about when it is saved. What that is good for is tested with bundles."""
    monkeypatch.setattr(recorded_answers, "TRIED", 1)


@pytest.fixture
def follower():
    """A small model, by seed."""
    from policy.follower import new_follower_model
    from policy.leader_models.language_model import ModelConfig

    small = ModelConfig(hidden_size=16, num_layers=1, num_heads=2, intermediate_size=24)

    def make(seed: int = 0):
        return new_follower_model(small, seed).eval()

    return make


@pytest.fixture
def half_open():
    """A DCM for each cell: two RBGs owned, one the node's, the others open."""

    def make(cells: int, ues: int) -> list[Allocation | None]:
        owner = np.array([0, 1, OPEN, OPEN, DYNAMIC, OPEN], np.int16)
        return [Allocation(tuple(range(1, ues + 1)), owner, LeftoverRule(contenders=2.0))] * cells

    return make


@pytest.fixture
def record(follower, half_open):
    """Play some slots of `mix` under it; the world, the team, and what was recorded."""
    from training.critic import FOLLOWER_FEATURES, new_critic
    from training.following.recording import FollowerTeam, play_period

    def play(config: RecordingConfig, *, slots: int = 4, model=None, critic: bool = False):
        world = CellBatch(make_scenario("mix"), 6, 4, seed=3)
        team = FollowerTeam(model or follower(), new_critic(FOLLOWER_FEATURES, 1) if critic else None)
        return world, team, play_period(world, half_open(6, 4), slots, team, config, np.random.default_rng(5))

    return play

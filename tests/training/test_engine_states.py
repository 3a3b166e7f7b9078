"""The shipped bundles, compiled, decide as by torch on states of every scenario, under random limits and slices.

STACKMAC_ENGINE_STATES = how many states, in place of a few hundred: `STACKMAC_ENGINE_STATES=2000 ./dev test
tests/training/test_engine_states.py`.
"""

from __future__ import annotations

import os
from functools import cache

import numpy as np
import pytest
import torch
from engine_checker import Twins, check_decisions, random_limits

from policy.bundle import load_bundle
from policy.cell_state import CellState
from policy.engine.loading import engine_leader
from policy.model_leader import ModelLeader
from policy.shipped import shipped_bundle
from training.simulator.cell import CellBatch
from training.simulator.scenario import SCENARIOS

STATES = int(os.environ.get("STACKMAC_ENGINE_STATES", "240"))
PER_SCENARIO = -(-STATES // len(SCENARIOS))
SIZES = (1, 3, 8, 20, 50)
"""UEs a cell."""
LARGE_SIZES = (100, 200)
"""Of every tenth state."""


@cache
def states_of(name: str, count: int) -> list[CellState]:
    """States after a few periods of the node's own scheduling, in cells of all sizes: the same for both leaders."""
    scenario, rng = SCENARIOS[name], np.random.default_rng(1)
    states: list[CellState] = []
    while len(states) < count:
        ues = int(rng.choice(LARGE_SIZES if len(states) % 10 == 9 else SIZES))
        cells = CellBatch(scenario, 1, ues, int(rng.integers(1 << 30)))
        for _ in range(int(rng.integers(2, 10))):
            cells.observe()
            cells.play([None], scenario.slots_per_dcm)
        states += cells.observe()
    return states


@pytest.fixture(scope="module", params=[1, 100])
def twins(request: pytest.FixtureRequest) -> Twins:
    torch.set_num_threads(1)
    folder = shipped_bundle(request.param)
    bundle = load_bundle(folder)
    engine = engine_leader(str(folder))
    engine.prepare()
    return Twins(ModelLeader(bundle.leader, bundle.options), engine)


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.timeout(60 + 3 * PER_SCENARIO)
def test_it_decides_as_the_reference(twins: Twins, name: str) -> None:
    states = states_of(name, PER_SCENARIO)
    rng = np.random.default_rng(2)
    intents = [random_limits(rng, state) for state in states]
    sampled = len(states) // 2
    choices = check_decisions(twins, states[sampled:], intents[sampled:])
    choices += check_decisions(twins.sampled(11), states[:sampled], intents[:sampled])
    assert choices > len(states)

"""The leader's side as a Gymnasium environment: the contract, the same game as everywhere, what is seen and paid."""

from __future__ import annotations

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from policy.allocation import IDLE, OPEN
from policy.grammar import CONTENDERS
from training.environments.leader_env import LAYOUT, UplinkLeaderEnv
from training.rewards import served_weights
from training.simulator.cell import CellBatch
from training.simulator.plan import owner_plan
from training.simulator.scenario import LAB_PAPER, MIX, SPORADIC, Scenario
from training.simulator.state import COLLISIONS, SERVED, WASTE

UES = 4
RESTLESS = LAB_PAPER.with_(name="restless", present_slots=15.0, absent_slots=8.0)


def _masked(env: UplinkLeaderEnv, rng: np.random.Generator) -> np.ndarray:
    masks = np.split(env.action_masks(), np.cumsum(env.action_space.nvec)[:-1])
    return np.array([rng.choice(np.flatnonzero(mask)) for mask in masks])


@pytest.mark.parametrize(
    "scenario", [MIX, RESTLESS, MIX.with_(slots_per_dcm=3)], ids=lambda s: f"{s.name}-{s.slots_per_dcm}"
)
@pytest.mark.parametrize("render_mode", [None, "rgb_array"])
def test_gymnasiums_checker_passes(scenario: Scenario, render_mode: str | None) -> None:
    with warnings.catch_warnings():
        # It was not made by gymnasium.make, so the checker cannot look at its render modes: said, and nothing else.
        warnings.filterwarnings("ignore", message=".*not able to test alternative render modes.*")
        check_env(UplinkLeaderEnv(scenario, UES, 30, render_mode=render_mode))


@pytest.mark.parametrize("followers", ["best_response", "obey"])
@pytest.mark.parametrize("scenario", [MIX, RESTLESS, SPORADIC.with_(slots_per_dcm=3)], ids=lambda s: s.name)
def test_an_episode_is_the_run_that_the_simulator_makes_whether_it_is_looked_at_or_not(
    scenario: Scenario, followers: str
) -> None:
    plain = UplinkLeaderEnv(scenario, UES, 60, followers=followers)
    seen = UplinkLeaderEnv(scenario, UES, 60, followers=followers, render_mode="rgb_array")
    for env in (plain, seen):
        _, info = env.reset(seed=11)
        assert info["world_seed"] == 11
    batch, rng, over = CellBatch(scenario, 1, UES, 11), np.random.default_rng(0), False
    while not over:
        action = _masked(plain, rng)
        state = batch.state
        weights_BU = served_weights(state, np.ones(1))
        served_U, events_E = state.counters_BUC[0, :, SERVED].copy(), state.events_BE[0].copy()
        first, paid, terminated, over, info = plain.step(action)
        second, also_paid, *_ = seen.step(action)
        owner_M = np.where(action[:-1] < UES, action[:-1], np.where(action[:-1] == UES, OPEN, IDLE))
        plan = owner_plan(owner_M[None].astype(np.int16), UES, CONTENDERS[action[-1]])
        batch.play(plan, scenario.slots_per_dcm, followers)  # type: ignore[arg-type]
        batch.observe()
        np.testing.assert_array_equal(first, second)
        events = (state.events_BE[0] - events_E) / 6
        worth = (weights_BU[0] * (state.counters_BUC[0, :, SERVED] - served_U)).mean()
        expected = worth - 0.5 * events[COLLISIONS] - 0.1 * events[WASTE]
        assert paid == also_paid == pytest.approx(expected / scenario.slots_per_dcm) and not terminated
    assert info["utility"] == batch.metrics()[0].utility
    picture = seen.render()
    assert picture is not None and picture.any() and plain.render() is None


def test_what_is_seen_is_what_the_shipped_leaders_read() -> None:
    env, rng = UplinkLeaderEnv(RESTLESS, UES, 200), np.random.default_rng(0)
    observation, _ = env.reset(seed=3)
    tokens = LAYOUT.block_tokens
    empty = False
    for _ in range(60):
        (state,) = env.cell.observe()
        present = env.cell.state.present_BU[0]
        for seat in range(UES):
            block = observation[tokens * (seat + 1) : tokens * (seat + 2)]
            assert block.any() == present[seat]
            empty |= not present[seat]
            # A seat that nobody is in cannot be chosen, on any RBG.
            assert env.action_masks()[seat : (UES + 2) * 6 : UES + 2].tolist() == [present[seat]] * 6
        cqi = [field.name for field in LAYOUT.ue_fields].index("cqi")
        seats = [int(np.flatnonzero(env.cell.state.ue_id_BU[0] == ue)[0]) for ue in state.ue_ids]
        shown = [observation[tokens * (seat + 1) + cqi] for seat in seats]
        np.testing.assert_allclose(shown, (state.cqi_U + 1) / 16, atol=1e-6)
        observation, *_ = env.step(_masked(env, rng))
    assert empty


def test_it_is_a_gymnasium_env_and_mistakes_are_named() -> None:
    env = UplinkLeaderEnv("sporadic")
    env.reset(seed=0)
    assert isinstance(env, gymnasium.Env) and env.action_masks().shape == (env.action_space.nvec.sum(),)
    for arguments, complaint in (
        (("utopia",), "unknown scenario 'utopia'"),
        (("ric20",), "decides every 20 slots, expected fewer than 10"),
        (("mix", 0), "ues is 0, expected a whole number from 1 on"),
    ):
        with pytest.raises(ValueError, match=complaint):
            UplinkLeaderEnv(*arguments)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="followers is 'learned', expected one of best_response, obey"):
        UplinkLeaderEnv("mix", followers="learned")
    env.reset(seed=0)
    with pytest.raises(ValueError, match="is not in MultiDiscrete"):
        env.step(np.full(7, 99))

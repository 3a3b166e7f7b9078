"""The game as a PettingZoo environment: the contract, the order of the moves, who comes and goes, what is paid."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pettingzoo.test import parallel_api_test, parallel_seed_test

from policy.allocation import OPEN
from policy.cell_state import COLUMNS
from policy.grammar import CONTENDERS
from training.environments.parallel_env import FOLLOWERS_TURN, LEADER, LEADERS_TURN, UplinkParallelEnv
from training.environments.rbg_picture import COLLIDED, NOBODY, UE_COLOURS
from training.simulator import core
from training.simulator.cell import CellBatch
from training.simulator.plan import owner_plan
from training.simulator.scenario import LAB_PAPER, MIX, RIC20, SPORADIC, Scenario
from training.simulator.state import PRESENT, SERVED

UES = 4
# A stay of 15 slots: many UEs come and go in a short episode.
RESTLESS = LAB_PAPER.with_(name="restless", present_slots=15.0, absent_slots=8.0)
Actions = dict[str, np.ndarray]


def _sample(env: UplinkParallelEnv, seen: dict[str, Any]) -> Actions:
    return {agent: env.action_space(agent).sample(seen[agent]["action_mask"]) for agent in env.agents}


def _dcm(env: UplinkParallelEnv, owner_M: list[int], level: int = 0) -> Actions:
    """Owners as in the action space."""
    return {LEADER: np.array([*owner_M, level])}


def _follow(env: UplinkParallelEnv, seen: dict[str, Any], obey: bool) -> Actions:
    """UEs that send, data or not, on what they own and, unless they only obey, where their coin fell."""
    return {
        agent: (seen[agent]["access"] == core.OWN)
        | ((not obey) & (seen[agent]["access"] == core.CONTEND) & (seen[agent]["coin"] < seen[agent]["own"][3]))
        for agent in env.agents
        if agent != LEADER
    }


@pytest.mark.parametrize("scenario", [MIX, LAB_PAPER, RESTLESS], ids=lambda s: s.name)
def test_pettingzoos_own_tests_pass(scenario: Scenario) -> None:
    # 300 steps are 150 slots: the first episode outlasts them, the second ends within them.
    parallel_api_test(UplinkParallelEnv(scenario, UES, 500), num_cycles=300)
    parallel_api_test(UplinkParallelEnv(scenario, UES, 60), num_cycles=300)
    parallel_seed_test(lambda: UplinkParallelEnv(scenario, UES, 60), num_cycles=30)


@pytest.mark.parametrize("scenario", [SPORADIC, RESTLESS], ids=lambda s: s.name)
def test_observations_lie_in_their_spaces_and_the_possible_agents_are_those_that_come(scenario: Scenario) -> None:
    env = UplinkParallelEnv(scenario, UES, 90)
    for seed in range(3):
        seen, _ = env.reset(seed=seed)
        met, possible = set(env.agents), set(env.possible_agents)
        while env.agents:
            seen, *_ = env.step(_sample(env, seen))
            met |= set(seen)
            for agent, observation in seen.items():
                assert observation in env.observation_space(agent), agent
        assert met == possible


def test_a_ue_that_leaves_is_terminated_once_and_the_episodes_end_truncates_who_is_still_there() -> None:
    env = UplinkParallelEnv(RESTLESS, UES, 150)
    seen, _ = env.reset(seed=3)
    gone: list[str] = []
    came = 0
    while env.agents:
        before = list(env.agents)
        leaders_step = seen[LEADER]["turn"] == LEADERS_TURN
        seen, _, terminated, truncated, _ = env.step(_sample(env, seen))
        assert not set(gone) & set(seen), "an id came back"
        came += len(set(env.agents) - set(before))
        gone += [agent for agent, over in terminated.items() if over]
        if leaders_step:
            assert env.agents == before
        if env.agents:
            assert not any(truncated.values())
    assert came > 5 and len(gone) > 5 and len(set(gone)) == len(gone)
    assert not terminated[LEADER]
    assert all(truncated[agent] != terminated[agent] for agent in seen)


def test_the_ues_see_the_dcm_of_the_slot_that_they_play() -> None:
    env = UplinkParallelEnv(MIX, UES)
    seen, _ = env.reset(seed=1)
    idle, open_ = UES + 1, UES
    for _ in range(5):
        assert all(seen[agent]["turn"] == LEADERS_TURN for agent in env.agents)
        assert not seen["ue_2"]["access"].any() and not seen["ue_2"]["action_mask"].any()
        owned = int(np.random.default_rng(env.cell.slot).integers(6))
        owners = [idle] * 6
        owners[owned], owners[(owned + 1) % 6] = 1, open_
        seen, rewards, *_ = env.step(_dcm(env, owners, CONTENDERS.index(1.2)))
        assert set(rewards.values()) == {0.0}
        assert all(seen[agent]["turn"] == FOLLOWERS_TURN for agent in env.agents)
        access = seen["ue_2"]["access"]
        assert access[owned] == core.OWN and access[(owned + 1) % 6] == core.CONTEND and np.count_nonzero(access) == 2
        np.testing.assert_array_equal(seen["ue_2"]["action_mask"] > 0, access > 0)
        assert seen["ue_1"]["access"][owned] == core.NONE
        assert seen["ue_1"]["own"][3] == pytest.approx(1.2 / UES)
        # Who is not at turn can only say the no-op.
        assert env.action_space(LEADER).sample(seen[LEADER]["action_mask"]).tolist() == [idle] * 6 + [0]
        seen, *_ = env.step(_follow(env, seen, obey=True))


@pytest.mark.parametrize("scenario", [MIX, RESTLESS], ids=lambda s: s.name)
def test_an_episode_is_the_run_that_the_simulator_makes_of_the_same_moves(scenario: Scenario) -> None:
    env = UplinkParallelEnv(scenario, UES, 70)
    seen, infos = env.reset(seed=11)
    assert infos[LEADER]["world_seed"] == 11
    batch = CellBatch(scenario, 1, UES, 11)
    rng = np.random.default_rng(0)
    while env.agents:
        np.testing.assert_array_equal(seen[LEADER]["ue_ids"], batch.state.ue_id_BU[0])
        owner_M = rng.integers(0, UES + 1, 6)
        seen, *_ = env.step(_dcm(env, owner_M.tolist(), 2))
        dcm_M = np.where(owner_M == UES, OPEN, owner_M)
        batch.begin_slot(owner_plan(dcm_M[None].astype(np.int16), UES, CONTENDERS[2]))
        view = batch.view()
        p = np.float32(view.probability_B[0])
        coin_fell_BUM = (view.entitlement_BUM == core.CONTEND) & (view.coin_BUM < p)
        batch.finish_slot(((view.entitlement_BUM == core.OWN) & view.present_BU[:, :, None]) | coin_fell_BUM)
        seen, *_ = env.step(_follow(env, seen, obey=False))
    for mine, theirs in zip(env.cell.state, batch.state):
        np.testing.assert_array_equal(mine, theirs)
    assert batch.metrics()[0].throughput_bits_per_slot > 0


def test_the_rewards_are_the_formulas_of_the_docstring() -> None:
    env = UplinkParallelEnv(SPORADIC.with_(load=1.5), UES, 200)
    seen, _ = env.reset(seed=2)
    rng = np.random.default_rng(1)
    collided_slots = wasted_slots = 0
    for _ in range(200):
        seen, *_ = env.step(_dcm(env, rng.integers(0, UES + 2, 6).tolist(), 6))
        asked = {f"ue_{ue}": rng.integers(0, 2, 6) for ue in range(1, UES + 1)}
        state = env.cell.select([0]).state
        access = {agent: seen[agent]["access"] for agent in asked}
        seen, rewards, *_ = env.step(asked)
        served_U = (env.cell.state.counters_BUC - state.counters_BUC)[0, :, SERVED]
        collided, wasted = (env.cell.state.events_BE - state.events_BE)[0, :2]
        before_UC = state.counters_BUC[0]
        average_U = (before_UC[:, SERVED] + 20 * 200) / (before_UC[:, PRESENT] + 20)
        leader = (served_U / (average_U + 100)).mean() - 0.5 * collided / 6 - 0.1 * wasted / 6
        assert rewards[LEADER] == pytest.approx(leader)
        sent = np.array([asked[agent] * (access[agent] != core.NONE) for agent in asked])
        collided_U = (sent * (sent.sum(axis=0) > 1)).sum(axis=1)
        outside_U = np.array([asked[agent].sum() for agent in asked]) - sent.sum(axis=1)
        rest_U = np.array([rewards[agent] for agent in asked]) - served_U / 1000 + 0.5 * collided_U + 0.1 * outside_U
        # What is left of all UEs' rewards is their part of the leader's, and the waste that the simulator counted.
        assert rest_U.sum() == pytest.approx(UES * 0.3 * leader - 0.1 * wasted)
        collided_slots, wasted_slots = collided_slots + (collided > 0), wasted_slots + (wasted > 0)
    assert collided_slots > 20 and wasted_slots > 20
    assert env.cell.metrics()[0].transmissions_outside_grant == 0


def test_the_leader_sees_a_row_per_seat_as_old_as_its_reports() -> None:
    env = UplinkParallelEnv(RESTLESS, UES, 120)
    seen, _ = env.reset(seed=5)
    some_seat_was_empty, known_per_rbg = False, 0
    while env.agents:
        ids, columns = seen[LEADER]["ue_ids"], seen[LEADER]["columns"]
        reported = env.cell.observe()[0]
        row_of = {ue: row for row, ue in enumerate(reported.ue_ids)}
        for seat, ue in enumerate(ids.tolist()):
            if ue == 0:
                some_seat_was_empty = True
                assert (columns[seat] == -1).all()
                assert seen[LEADER]["turn"] == FOLLOWERS_TURN or seen[LEADER]["action_mask"][0][seat] == 0
            else:
                row = row_of[ue]
                assert columns[seat, COLUMNS.index("cqi_U")] == reported.cqi_U[row]
                for name, column_UM in (
                    ("last_cqi", reported.last_cqi_UM),
                    ("last_cqi_age_slots", reported.last_cqi_age_slots_UM),
                ):
                    np.testing.assert_array_equal(seen[LEADER][name][seat], np.nan_to_num(column_UM[row], nan=-1))
                    known_per_rbg += (seen[LEADER][name][seat] >= 0).sum()
        expected_M = np.nan_to_num(reported.last_outcome_M, nan=-1)
        np.testing.assert_array_equal(seen[LEADER]["last_outcome"], expected_M)
        seen, *_ = env.step(_sample(env, seen))
    assert some_seat_was_empty and known_per_rbg > 100


def test_resets_play_worlds_of_their_own_and_a_seed_repeats_them() -> None:
    def worlds(env: UplinkParallelEnv, seed: int | None) -> list[int]:
        first = env.reset(seed=seed)[1]
        return [infos[LEADER]["world_seed"] for infos in (first, env.reset()[1], env.reset()[1])]

    env = UplinkParallelEnv(MIX, UES)
    played = worlds(env, 4)
    assert played[0] == 4 and len(set(played)) == 3
    assert worlds(env, 4) == played
    assert worlds(UplinkParallelEnv(MIX, UES), None) != worlds(UplinkParallelEnv(MIX, UES), None)


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="every 20 slots"):
        UplinkParallelEnv(RIC20, UES)
    with pytest.raises(ValueError, match="episode_slots is 0, expected a whole number from 1 on"):
        UplinkParallelEnv(MIX, UES, 0)
    with pytest.raises(ValueError, match="unknown scenario 'utopia'; known: mix, sporadic"):
        UplinkParallelEnv("utopia")
    with pytest.raises(ValueError, match=r"scenario is 3, expected a name, FILE\.toml or a "):
        UplinkParallelEnv(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="render_mode is 'human', expected one of None, 'rgb_array'"):
        UplinkParallelEnv("mix", render_mode="human")
    assert UplinkParallelEnv("mix").scenario == MIX
    env = UplinkParallelEnv(MIX, UES, 1)
    with pytest.raises(RuntimeError, match="reset is due"):
        env.step({})
    with pytest.raises(ValueError, match="seed"):
        env.reset(seed=-1)
    seen, _ = env.reset(seed=0)
    with pytest.raises(ValueError, match="leader, and its action is missing"):
        env.step({})
    with pytest.raises(ValueError, match="of leader is not in MultiDiscrete"):
        env.step(_dcm(env, [UES + 2] * 6))
    seen, *_ = env.step(_dcm(env, [0] * 6))
    with pytest.raises(ValueError, match="ue_1, and its action is missing"):
        env.step({})
    env.step(_sample(env, seen))
    assert not env.agents


def test_the_picture_shows_who_sent_where() -> None:
    env = UplinkParallelEnv("mix", UES, render_mode="rgb_array")
    env.reset(seed=1)
    blank = env.render()
    assert blank is not None and not blank.any()
    env.step(_dcm(env, [0, UES, UES, UES, UES + 1, 1], len(CONTENDERS) - 1))
    # UE 1 on its RBG, UEs 1 and 2 together on the first open one, UE 3 alone on the next.
    ues = {f"ue_{ue}": np.zeros(6, int) for ue in range(1, UES + 1)}
    ues["ue_1"][[0, 1]], ues["ue_2"][1], ues["ue_3"][2] = 1, 1, 1
    env.step(ues)
    picture = env.render()
    assert picture is not None and picture.shape == (60, 600, 3) and picture.dtype == np.uint8
    newest = picture[5::10, -5]
    assert tuple(newest[0]) == UE_COLOURS[0] and tuple(newest[4]) == tuple(newest[5]) == NOBODY
    assert newest[1][0] > COLLIDED[0] and newest[1][0] > newest[1][1] + 60 and (newest[2] > UE_COLOURS[2]).all()
    assert not picture[:, :-10].any()
    assert UplinkParallelEnv("mix").render() is None

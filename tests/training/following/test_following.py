"""Followers that learn: what is recorded is what was played, a bit's worth is what a branch says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.follower import Access, Answer
from training.counterfactual import TAIL_SLOTS
from training.critic import FOLLOWER_FEATURES, follower_features, new_critic
from training.following.branching import Flips, choose_flips, flip_gains
from training.following.recording import FollowerTeam, join, play_period
from training.learning.follower_config import FollowConfig
from training.rewards import agreement, costs, served_weights
from training.simulator.cell import CellBatch
from training.simulator.learned_followers import as_followers, follower_view, own_uniforms
from training.simulator.metrics import COLLISION_COST, WASTE_COST
from training.simulator.scenario import make_scenario
from training.simulator.state import COLLISIONS, SERVED, WASTE

MIX = make_scenario("mix")
CHANGING = make_scenario("lab_paper").with_(present_slots=8.0, absent_slots=4.0)


# ---- playing ----


def test_recording_changes_nothing_of_what_is_played(follower, half_open, record):
    model = follower()
    world, _, batch = record(FollowConfig(), model=model, slots=5)
    plain = CellBatch(MIX, 6, 4, seed=3)
    plain.play(half_open(6, 4), 5, as_followers(model))
    assert np.array_equal(world.state.counters_BUC, plain.state.counters_BUC)
    assert np.array_equal(world.state.events_BE, plain.state.events_BE)
    assert sum(m.transmissions_outside_grant for m in world.metrics()) == 0
    assert batch.choices.known_NM.any()


def test_what_is_recorded_can_be_computed_again(record):
    _, team, batch = record(FollowConfig())
    choices = batch.choices
    with torch.inference_mode():
        logit = team.model(torch.from_numpy(choices.tokens_NL)).numpy()
    np.testing.assert_allclose(logit, choices.logit_NM, atol=1e-5)
    assert not choices.bits_NM[~choices.allowed_NM].any()
    assert not choices.known_NM[~choices.allowed_NM].any()
    assert not choices.gain_NM[~choices.known_NM].any()
    assert choices.bits_NM.any()


def test_cell_rewards_are_what_the_world_counted(follower, half_open, record):
    world, _, batch = record(FollowConfig(objective="sequence"))
    counted = COLLISION_COST * world.state.events_BE[:, COLLISIONS] + WASTE_COST * world.state.events_BE[:, WASTE]
    plain = CellBatch(MIX, 6, 4, seed=3)
    weights = served_weights(plain.state, np.ones(6))
    one = play_period(plain, half_open(6, 4), 1, FollowerTeam(follower()), FollowConfig(objective="sequence"), None)
    gained = (weights * plain.state.counters_BUC[:, :, SERVED]).mean(axis=1)
    lost = COLLISION_COST * plain.state.events_BE[:, COLLISIONS] + WASTE_COST * plain.state.events_BE[:, WASTE]
    np.testing.assert_allclose(one.cell_reward_TB[0], gained - lost / 6)
    np.testing.assert_allclose(batch.cell_reward_TB[0], one.cell_reward_TB[0])
    assert (counted >= lost).all()


def test_periods_are_joined_in_order(follower):
    model, config = follower(), FollowConfig(objective="sequence")
    team = FollowerTeam(model, new_critic(FOLLOWER_FEATURES, 0))
    world, rng = CellBatch(MIX, 3, 4, seed=1), np.random.default_rng(0)
    whole = join([play_period(world, None, 2, team, config, rng) for _ in range(3)])
    other = CellBatch(MIX, 3, 4, seed=1)
    at_once = play_period(other, None, 6, team, config, rng)
    for a, b in zip(whole.choices, at_once.choices):
        np.testing.assert_allclose(a, b, atol=1e-5)
    np.testing.assert_allclose(whole.reward_TBU, at_once.reward_TBU)
    assert whole.features_TBUF.shape == (6, 3, 4, FOLLOWER_FEATURES)


def test_greedy_and_drawn_followers_are_deterministic_and_uniforms_do_not_depend_on_the_coin(follower, half_open):
    model = follower()
    for greedy in (False, True):
        worlds = [CellBatch(MIX, 4, 4, seed=2) for _ in range(2)]
        for world in worlds:
            world.play(half_open(4, 4), 6, as_followers(model, greedy=greedy))
        assert np.array_equal(worlds[0].state.counters_BUC, worlds[1].state.counters_BUC)
    world = CellBatch(MIX, 200, 4, seed=2)
    slot = world.begin_slot(half_open(200, 4))
    uniforms, fell = own_uniforms(slot), slot.coin_BUM < slot.probability_B[:, None, None]
    assert uniforms.min() >= 0.0 and uniforms.max() < 1.0
    assert abs(uniforms[fell].mean() - uniforms[~fell].mean()) < 0.03


# ---- what UEs see ----


def test_the_rule_is_an_answer_and_every_answer_is_within_the_dcm(half_open):
    ruled, learned = (CellBatch(CHANGING, 6, 5, seed=9) for _ in range(2))
    ruled.play(None, 40)
    learned.play(None, 40, lambda slot: (slot.answer_BUM & Answer.RULE) > 0)
    assert np.array_equal(ruled.state.counters_BUC, learned.state.counters_BUC)
    view = follower_view(ruled.begin_slot(half_open(6, 5)))
    assert not view.answer_NM[view.access_NM == Access.NONE].any()
    assert not (view.answer_NM[view.access_NM == Access.CONTEND] & Answer.OWN).any()


def test_everybody_has_a_turn_on_every_open_rbg(half_open):
    world = CellBatch(MIX, 2, 3, seed=4)
    seen = np.stack([follower_view(_played(world, half_open)).turn_NM.reshape(2, 3, 6) for _ in range(3)])
    is_open = np.array([False, False, True, True, False, True])
    assert (seen[..., :2] == -1).all()
    turns = seen[..., is_open]
    assert (np.sort(turns, axis=2) == np.arange(3)[:, None]).all()  # one UE each
    assert (np.sort(turns, axis=0) == np.arange(3)[:, None, None, None]).all()  # and each UE in time


def _played(world, half_open):
    slot = world.begin_slot(half_open(world.cells, world.ues))
    slot = slot._replace(attempts_BU=slot.attempts_BU.copy())
    world.finish_slot(np.zeros(slot.coin_BUM.shape, bool))
    return slot


def test_a_ue_remembers_what_came_of_its_attempts(half_open):
    world = CellBatch(MIX, 1, 2, seed=0)
    everywhere = np.zeros((1, 2, 6), bool)
    everywhere[0, 0, 2] = True
    for other, attempts, lost, last in ((False, 1, 0, 0), (True, 2, 1, 1), (False, 3, 1, 0)):
        everywhere[0, 1, 2] = other
        world.begin_slot(half_open(1, 2))
        world.finish_slot(everywhere)
        view = follower_view(world.begin_slot(half_open(1, 2)))
        world.finish_slot(np.zeros((1, 2, 6), bool))
        assert (view.attempts_N[0], view.attempts_lost_N[0], view.last_lost_N[0]) == (attempts, lost, last)
    assert view.attempts_N[1] == 1
    everywhere[0, 1, 2] = True
    for _ in range(12):
        world.begin_slot(half_open(1, 2))
        world.finish_slot(everywhere)
    view = follower_view(world.begin_slot(half_open(1, 2)))
    assert (view.attempts_N[0], view.attempts_lost_N[0]) == (8, 8)


def test_critics_read_any_number_of_rbgs():
    for name in ("mix", "ric20"):
        view = follower_view(CellBatch(make_scenario(name), 2, 3, seed=1).begin_slot(None))
        features = follower_features(view)
        assert features.shape == (6, FOLLOWER_FEATURES) and np.isfinite(features).all()


# ---- what a bit was worth ----


@pytest.mark.parametrize("futures", [1, 3])
def test_a_flips_gain_is_that_of_worlds_in_which_it_was_flipped(futures, half_open):
    world = CellBatch(MIX, 3, 4, seed=8)
    world.play(None, 10)
    world.begin_slot(half_open(3, 4))
    rng = np.random.default_rng(0)
    sends = rng.random((3, 4, 6)) < 0.3
    weights = served_weights(world.state, np.ones(3))
    seats = np.array([1, 6, 11])
    flips = Flips(np.array([0, 2, 2]), np.array([2, 3, 5]))
    gains = flip_gains(world, sends, flips, seats, weights, 0, 0.0, futures)

    def value(cell: int, bits, future: int) -> float:
        branch = world.select([cell], future)
        branch.finish_slot(bits[None])
        branch.play(None, MIX.report_delay_slots + TAIL_SLOTS)
        served = branch.state.counters_BUC[0, :, SERVED] - world.state.counters_BUC[cell, :, SERVED]
        events = branch.state.events_BE[0] - world.state.events_BE[cell]
        lost = COLLISION_COST * events[COLLISIONS] + WASTE_COST * events[WASTE]
        return float((weights[cell] * served).mean() - lost / 6)

    for k in range(3):
        cell, seat = divmod(int(seats[flips.choice_K[k]]), 4)
        flipped = sends[cell].copy()
        flipped[seat, flips.rbg_K[k]] ^= True
        gained = [value(cell, flipped, future) - value(cell, sends[cell], future) for future in range(futures)]
        np.testing.assert_allclose(gains[k], np.mean(gained), atol=1e-12)


@given(seed=st.integers(0, 999), flips=st.integers(1, 9))
@settings(max_examples=30)
def test_flips_are_allowed_bits_and_few_a_cell(seed, flips):
    rng = np.random.default_rng(seed)
    cell = np.sort(rng.integers(0, 4, 9))
    allowed = rng.random((9, 5)) < 0.5
    chosen = choose_flips(cell, allowed, flips, rng)
    assert allowed[chosen.choice_K, chosen.rbg_K].all()
    assert len(set(zip(*map(np.ndarray.tolist, chosen)))) == len(chosen.choice_K)
    for b in range(4):
        assert (cell[chosen.choice_K] == b).sum() == min(flips, allowed[cell == b].sum())


def test_agreement_is_using_what_is_ones_own_and_entering_only_where_the_coin_fell():
    access = np.array([Access.OWN, Access.OWN, Access.CONTEND, Access.CONTEND, Access.NONE])
    answer = np.array([Answer.OWN, 0, Answer.COIN, 0, 0])
    yes = np.array([True, False, True, False, False])
    assert agreement(access, answer, yes) == 1.0
    assert agreement(access, answer, ~yes & (access > 0)) == 0.5  # not its own, and where no coin fell
    assert agreement(np.zeros(5, int), answer, yes) == 1.0


def test_collisions_and_waste_cost_who_made_them():
    world = CellBatch(MIX, 1, 2, seed=0)
    sends = np.zeros((1, 2, 6), bool)
    sends[0, :, 2] = True
    assert (costs(world.state, sends)[0] >= COLLISION_COST).all()


def test_consistency_pays_for_agreement(follower, record):
    model = follower()
    gains = [record(FollowConfig(consistency=c), model=model)[2].choices.gain_NM for c in (0.0, 100.0)]
    choices = record(FollowConfig(), model=model)[2].choices
    assert np.abs(gains[0] - gains[1]).max() > 1.0
    assert choices.known_NM[gains[0] != gains[1]].all()

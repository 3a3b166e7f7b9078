"""Followers that learn: what is recorded is what was played, a bit's worth is what a branch says, losses climb it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.allocation import DYNAMIC, OPEN, Allocation, LeftoverRule
from policy.critic import FEATURES, features_of, new_follower_critic
from policy.follower import FIRST_LAYOUT, Access, Answer, new_follower_model
from policy.intent import Intent
from policy.language_model import ModelConfig
from policy.prompt.compact import PromptLayout
from policy.registry import make_leader
from training.counterfactual import TAIL_SLOTS, served_weights
from training.following.branching import Flips, choose_flips, flip_gains
from training.following.config import CREDITS, FollowConfig
from training.following.losses import both, follower_loss, lesson_of
from training.following.recording import FollowerTeam, join, play_period
from training.following.rewards import agreement, costs
from training.following.train import FollowTraining, minibatches, train_followers
from training.learned_followers import as_followers, follower_view, own_uniforms
from training.simulator.cell import CellBatch
from training.simulator.metrics import COLLISION_COST, WASTE_COST
from training.simulator.scenario import make_scenario
from training.simulator.state import COLLISIONS, SERVED, WASTE

MIX = make_scenario("mix")
CHANGING = make_scenario("lab_paper").with_(present_slots=8.0, absent_slots=4.0)
SMALL = ModelConfig(hidden_size=16, num_layers=1, num_heads=2, intermediate_size=24)


def follower(seed: int = 0):
    return new_follower_model(SMALL, seed).eval()


def half_open(cells: int, ues: int) -> list[Allocation | None]:
    owner = np.array([0, 1, OPEN, OPEN, DYNAMIC, OPEN], np.int16)
    return [Allocation(tuple(range(1, ues + 1)), owner, LeftoverRule(contenders=2.0))] * cells


def record(config: FollowConfig, *, slots: int = 4, model=None, critic: bool = False, scenario=MIX, seed: int = 3):
    world = CellBatch(scenario, 6, 4, seed=seed)
    team = FollowerTeam(model or follower(), new_follower_critic(1) if critic else None)
    return world, team, play_period(world, half_open(6, 4), slots, team, config, np.random.default_rng(5))


# ---- playing ----


def test_recording_changes_nothing_of_what_is_played():
    model = follower()
    world, _, batch = record(FollowConfig(), model=model, slots=5)
    plain = CellBatch(MIX, 6, 4, seed=3)
    plain.play(half_open(6, 4), 5, as_followers(model))
    assert np.array_equal(world.state.counters_BUC, plain.state.counters_BUC)
    assert np.array_equal(world.state.events_BE, plain.state.events_BE)
    assert sum(m.transmissions_outside_grant for m in world.metrics()) == 0
    assert batch.choices.known_NM.any()


def test_what_is_recorded_can_be_computed_again():
    _, team, batch = record(FollowConfig())
    choices = batch.choices
    with torch.inference_mode():
        logit = team.model(torch.from_numpy(choices.tokens_NL)).numpy()
    np.testing.assert_allclose(logit, choices.logit_NM, atol=1e-5)
    assert not choices.bits_NM[~choices.allowed_NM].any()
    assert not choices.known_NM[~choices.allowed_NM].any()
    assert not choices.gain_NM[~choices.known_NM].any()
    assert choices.bits_NM.any()


def test_cell_rewards_are_what_the_world_counted():
    world, _, batch = record(FollowConfig(credit="sequence"))
    counted = COLLISION_COST * world.state.events_BE[:, COLLISIONS] + WASTE_COST * world.state.events_BE[:, WASTE]
    plain = CellBatch(MIX, 6, 4, seed=3)
    weights = served_weights(plain.state, np.ones(6))
    one = play_period(plain, half_open(6, 4), 1, FollowerTeam(follower()), FollowConfig(credit="sequence"), None)
    gained = (weights * plain.state.counters_BUC[:, :, SERVED]).mean(axis=1)
    lost = COLLISION_COST * plain.state.events_BE[:, COLLISIONS] + WASTE_COST * plain.state.events_BE[:, WASTE]
    np.testing.assert_allclose(one.cell_reward_TB[0], gained - lost / 6)
    np.testing.assert_allclose(batch.cell_reward_TB[0], one.cell_reward_TB[0])
    assert (counted >= lost).all()


def test_periods_are_joined_in_order():
    model, config = follower(), FollowConfig(credit="sequence")
    team = FollowerTeam(model, new_follower_critic(0))
    world, rng = CellBatch(MIX, 3, 4, seed=1), np.random.default_rng(0)
    whole = join([play_period(world, None, 2, team, config, rng) for _ in range(3)])
    other = CellBatch(MIX, 3, 4, seed=1)
    at_once = play_period(other, None, 6, team, config, rng)
    for a, b in zip(whole.choices, at_once.choices):
        np.testing.assert_allclose(a, b, atol=1e-5)
    np.testing.assert_allclose(whole.reward_TBU, at_once.reward_TBU)
    assert whole.features_TBUF.shape == (6, 3, 4, FEATURES)


def test_greedy_and_drawn_followers_are_deterministic_and_uniforms_do_not_depend_on_the_coin():
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


def test_the_rule_is_an_answer_and_every_answer_is_within_the_dcm():
    ruled, learned = (CellBatch(CHANGING, 6, 5, seed=9) for _ in range(2))
    ruled.play(None, 40)
    learned.play(None, 40, lambda slot: (slot.answer_BUM & Answer.RULE) > 0)
    assert np.array_equal(ruled.state.counters_BUC, learned.state.counters_BUC)
    view = follower_view(ruled.begin_slot(half_open(6, 5)))
    assert not view.answer_NM[view.access_NM == Access.NONE].any()
    assert not (view.answer_NM[view.access_NM == Access.CONTEND] & Answer.OWN).any()


def test_everybody_has_a_turn_on_every_open_rbg():
    world = CellBatch(MIX, 2, 3, seed=4)
    seen = np.stack([follower_view(_played(world)).turn_NM.reshape(2, 3, 6) for _ in range(3)])
    is_open = np.array([False, False, True, True, False, True])
    assert (seen[..., :2] == -1).all()
    turns = seen[..., is_open]
    assert (np.sort(turns, axis=2) == np.arange(3)[:, None]).all()  # one UE each
    assert (np.sort(turns, axis=0) == np.arange(3)[:, None, None, None]).all()  # and each UE in time


def _played(world):
    slot = world.begin_slot(half_open(world.cells, world.ues))
    slot = slot._replace(attempts_BU=slot.attempts_BU.copy())
    world.finish_slot(np.zeros(slot.coin_BUM.shape, bool))
    return slot


def test_a_ue_remembers_what_came_of_its_attempts():
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
        features = features_of(view)
        assert features.shape == (6, FEATURES) and np.isfinite(features).all()


# ---- what a bit was worth ----


@pytest.mark.parametrize("futures", [1, 3])
def test_a_flips_gain_is_that_of_worlds_in_which_it_was_flipped(futures):
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


def test_consistency_pays_for_agreement():
    model = follower()
    gains = [record(FollowConfig(consistency=c), model=model)[2].choices.gain_NM for c in (0.0, 100.0)]
    choices = record(FollowConfig(), model=model)[2].choices
    assert np.abs(gains[0] - gains[1]).max() > 1.0
    assert choices.known_NM[gains[0] != gains[1]].all()


# ---- learning ----


@pytest.mark.parametrize("credit", CREDITS)
def test_every_loss_climbs_what_was_worth_it(credit):
    """One optimizer step raises the advantage-weighted probability of what was tried."""
    config = FollowConfig(credit=credit, entropy=0.0, target_kl=0.0, exploration=0.5)
    _, team, batch = record(config, critic=credit == "sequence", slots=6)
    lesson = lesson_of(team, batch, config)
    before = follower_loss(team, [lesson], config)
    assert abs(float(before.moved)) < 1e-5
    before.loss.backward()
    with torch.no_grad():
        for weight in team.model.parameters():
            if weight.grad is not None:
                weight -= 0.005 * weight.grad / (1e-9 + weight.grad.norm())
    after = follower_loss(team, [lesson], config)
    assert after.loss.item() < before.loss.item()
    assert float(after.moved) > 0


def test_the_first_loss_has_the_gradient_of_the_definition():
    config = FollowConfig(credit="counterfactual", exploration=0.0, scale=1.0)
    _, team, batch = record(config)
    lesson, choices = lesson_of(team, batch, config), batch.choices
    follower_loss(team, [lesson], config).loss.backward()
    got = team.model.send.bias.grad.clone()
    team.model.zero_grad()
    logit = team.model(torch.from_numpy(choices.tokens_NL))
    gain = torch.from_numpy(choices.gain_NM) * torch.from_numpy(np.where(choices.bits_NM, -1.0, 1.0)).float()
    expected = torch.sigmoid(logit) * gain * torch.from_numpy(choices.known_NM)
    (-expected.sum() / len(choices.slot_N)).backward()
    torch.testing.assert_close(got, team.model.send.bias.grad, rtol=1e-3, atol=1e-6)


def test_a_ue_that_left_is_not_paid_for_what_its_successor_earns():
    config = FollowConfig(credit="sequence", gamma=1.0, lam=1.0)
    world = CellBatch(CHANGING, 8, 5, seed=2)
    team = FollowerTeam(follower(), new_follower_critic(0))
    batch = play_period(world, None, 20, team, config, np.random.default_rng(0))
    left = (batch.ue_id_TBU[:-1] != batch.ue_id_TBU[1:]) & (batch.ue_id_TBU[:-1] > 0)
    assert left.any()
    t, b, u = (index[0] for index in np.nonzero(left))
    richer = batch.reward_TBU.copy()
    richer[t + 1 :, b, u] += 1000.0
    lessons = [lesson_of(team, x, config) for x in (batch, batch._replace(reward_TBU=richer))]
    seat = b * 5 + u
    for lesson in lessons:
        assert len(lesson.return_N) == len(lesson.choices.slot_N)
    before = (lessons[0].choices.seat_N == seat) & (lessons[0].choices.slot_N <= t)
    np.testing.assert_allclose(lessons[0].return_N[before], lessons[1].return_N[before])


def test_sequence_credit_needs_a_critic_and_time():
    config = FollowConfig(credit="sequence")
    _, team, batch = record(config)
    with pytest.raises(ValueError, match="expected a critic and at least 2 slots"):
        lesson_of(team, batch, config)


def test_minibatches_are_all_choices_once():
    _, team, batch = record(FollowConfig())
    lesson = lesson_of(team, batch, FollowConfig())
    parts = minibatches([lesson, lesson], 20, np.random.default_rng(0))
    assert len(parts) > 1
    assert sum(len(x.choices.slot_N) for part in parts for x in part) == 2 * len(batch.choices.slot_N)


def test_both_values_of_a_bit_add_up_to_one():
    np.testing.assert_allclose(both(torch.tensor([-3.0, 0.0, 9.0])).exp().sum(-1), 1.0, rtol=1e-6)


@pytest.mark.parametrize("credit", ["counterfactual", "sequence"])
def test_training_is_the_same_for_the_same_seed_and_imitates_first(credit):
    training = FollowTraining(
        FollowConfig(credit=credit, kl=0.1), updates=2, imitation_updates=8, worlds=2, cells=4, slots=4, batch=64
    )
    leader = make_leader("proportional_fair")
    runs = []
    for _ in range(2):
        model = follower()
        runs.append(train_followers(leader, model, [MIX, CHANGING], [3, 4], training))
    assert runs[0] == runs[1]
    assert runs[0][7].loss < runs[0][0].loss
    assert all(torch.isfinite(weight).all() for weight in model.parameters())


def test_training_stops_on_time():
    assert train_followers(None, follower(), [MIX], [3], FollowTraining(), seconds=0.0) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"credit": "luck"}, "credit is 'luck'"),
        ({"futures": 0}, "futures is 0"),
        ({"clip": 0.0}, "clip is 0.0"),
        ({"gamma": 2.0}, "gamma is 2.0"),
    ],
)
def test_a_config_says_what_is_wrong(change, message):
    with pytest.raises(ValueError, match=message):
        replace(FollowConfig(), **change)


# ---- what UEs say ----


class Echo:
    """Followers that say seat + slot."""

    speaks = True

    def __call__(self, slot):
        return np.zeros(slot.coin_BUM.shape, bool)

    def words(self, slot):
        assert not slot.entitlement_BUM.any() and not slot.answer_BUM.any()
        return ((np.arange(slot.present_BU.shape[1]) + slot.slot) % 8 - (slot.slot % 3 == 0)).astype(np.int8)[None]


def test_a_word_reaches_the_leader_with_the_report_it_was_said_with():
    world = CellBatch(MIX, 2, 3, seed=1)
    delay = MIX.report_delay_slots
    for slot in range(12):
        for state in world.observe():
            said = np.arange(3) + slot - delay
            expected = np.where(said % 8 - ((slot - delay) % 3 == 0) < 0, np.nan, said % 8 - ((slot - delay) % 3 == 0))
            np.testing.assert_array_equal(state.ucm_U, expected if slot > delay else np.full(3, np.nan))
        world.play(None, 1, Echo())
    world.play(None, delay + 1)
    assert np.isnan(world.observe()[0].ucm_U).all()


def test_words_are_deterministic_and_silence_is_for_ues_without_data():
    model = follower()
    for greedy in (False, True):
        worlds = [CellBatch(MIX, 4, 4, seed=2) for _ in range(2)]
        for world in worlds:
            world.play(None, 9, as_followers(model, greedy=greedy, speaks=True))
        states = [world.observe() for world in worlds]
        for a, b in zip(*states):
            np.testing.assert_array_equal(a.ucm_U, b.ucm_U)
            assert np.array_equal(np.isnan(a.ucm_U), a.buffer_bits_U == 0)
    with pytest.raises(ValueError, match="have no words"):
        as_followers(new_follower_model(SMALL, 0, FIRST_LAYOUT), speaks=True)


def test_a_leader_may_read_words():
    layout, intents = PromptLayout.with_ucm(), [Intent()] * 2
    assert layout.block_tokens == PromptLayout().block_tokens + 1
    world = CellBatch(MIX, 2, 3, seed=1)
    world.play(None, 9, Echo())
    states = world.observe()
    silent = [replace(state, ucm_U=np.full(3, np.nan)) for state in states]
    heard, unheard = (layout.encode(x, intents).tokens_NT for x in (states, silent))
    assert (heard != unheard).any(axis=1).all()
    plain = PromptLayout()
    assert np.array_equal(plain.encode(states, intents).tokens_NT, plain.encode(silent, intents).tokens_NT)
    assert PromptLayout.from_json(layout.as_json()) == layout


def test_words_are_credited_with_what_came_after_them():
    config = FollowConfig(credit="sequence", entropy=0.0, value=0.0)
    world = CellBatch(MIX, 6, 4, seed=3)
    team = FollowerTeam(follower(), new_follower_critic(1), speaks=True)
    rng = np.random.default_rng(0)
    batch = join([play_period(world, half_open(6, 4), 4, team, config, rng) for _ in range(2)])
    lesson = lesson_of(team, batch, config)
    words = lesson.words
    assert len(words.slot_N) and words.slot_N.min() >= 1 and words.slot_N.max() < batch.slots - 1
    with torch.inference_mode():
        again = team.model.ucm_logits(torch.from_numpy(words.tokens_NL)).numpy()
    np.testing.assert_allclose(again, words.logit_NW, atol=1e-5)
    follower_loss(team, [lesson], config).loss.backward()
    assert team.model.ucm.weight.grad.abs().sum() > 0


def test_words_begin_as_the_ues_need():
    training = FollowTraining(updates=1, imitation_updates=12, worlds=1, cells=8, slots=4, batch=64, speaks=True)
    runs = train_followers(None, follower(), [MIX], [4], training)
    assert runs[11].loss < runs[0].loss

"""Followers that learn: every loss climbs what was worth it, and their words reach the leader."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from policy.errors import UserMistake
from policy.follower import FIRST_LAYOUT, new_follower_model
from policy.intent import Intent
from policy.leader_models.language_model import ModelConfig
from policy.prompt.compact import PromptLayout
from policy.registry import make_leader
from training.critic import FOLLOWER_FEATURES, new_critic
from training.errors import TrainingError
from training.follower_run.run import train_followers
from training.following.recording import FollowerTeam, join, play_period
from training.learning.follower_config import FollowConfig, FollowTraining
from training.learning.follower_learner import minibatches
from training.learning.follower_loss import both, choice_batch_of, follower_loss
from training.learning.objectives import OBJECTIVES
from training.simulator.cell import CellBatch
from training.simulator.learned_followers import as_followers
from training.simulator.scenario import make_scenario

MIX = make_scenario("mix")
CHANGING = make_scenario("lab_paper").with_(present_slots=8.0, absent_slots=4.0)
SMALL = ModelConfig(hidden_size=16, num_layers=1, num_heads=2, intermediate_size=24)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_loss_climbs_what_was_worth_it(objective, record):
    """One optimizer step raises the advantage-weighted probability of what was tried."""
    config = FollowConfig(objective=objective, entropy=0.0, target_kl=0.0, exploration=0.5)
    _, team, batch = record(config, critic=objective == "sequence", slots=6)
    made = choice_batch_of(team.critic, batch, config)
    before = follower_loss(team, [made], config, config.make_objective())
    assert abs(float(before.step_kl)) < 1e-5
    before.loss.backward()
    with torch.no_grad():
        for weight in team.model.parameters():
            if weight.grad is not None:
                weight -= 0.005 * weight.grad / (1e-9 + weight.grad.norm())
    after = follower_loss(team, [made], config, config.make_objective())
    assert after.loss.item() < before.loss.item()
    assert float(after.step_kl) > 0


def test_the_first_loss_has_the_gradient_of_the_definition(record):
    config = FollowConfig(objective="counterfactual", exploration=0.0, scale=1.0)
    _, team, batch = record(config)
    made, choices = choice_batch_of(team.critic, batch, config), batch.choices
    follower_loss(team, [made], config, config.make_objective()).loss.backward()
    got = team.model.send.bias.grad.clone()
    team.model.zero_grad()
    logit = team.model(torch.from_numpy(choices.tokens_NL))
    gain = torch.from_numpy(choices.gain_NM) * torch.from_numpy(np.where(choices.bits_NM, -1.0, 1.0)).float()
    expected = torch.sigmoid(logit) * gain * torch.from_numpy(choices.known_NM)
    (-expected.sum() / len(choices.slot_N)).backward()
    torch.testing.assert_close(got, team.model.send.bias.grad, rtol=1e-3, atol=1e-6)


def test_a_ue_that_left_is_not_paid_for_what_its_successor_earns(follower):
    config = FollowConfig(objective="sequence", gamma=1.0, lam=1.0)
    world = CellBatch(CHANGING, 8, 5, seed=2)
    team = FollowerTeam(follower(), new_critic(FOLLOWER_FEATURES, 0))
    batch = play_period(world, None, 20, team, config, np.random.default_rng(0))
    left = (batch.ue_id_TBU[:-1] != batch.ue_id_TBU[1:]) & (batch.ue_id_TBU[:-1] > 0)
    assert left.any()
    t, b, u = (index[0] for index in np.nonzero(left))
    richer = batch.reward_TBU.copy()
    richer[t + 1 :, b, u] += 1000.0
    judged = [choice_batch_of(team.critic, x, config) for x in (batch, batch._replace(reward_TBU=richer))]
    seat = b * 5 + u
    for made in judged:
        assert len(made.over_time.return_N) == len(made.choices.slot_N)
    before = (judged[0].choices.seat_N == seat) & (judged[0].choices.slot_N <= t)
    np.testing.assert_allclose(judged[0].over_time.return_N[before], judged[1].over_time.return_N[before])


def test_a_critic_needs_time(record):
    config = FollowConfig(objective="sequence")
    _, team, batch = record(config, slots=1, critic=True)
    with pytest.raises(TrainingError, match="needs 2 or more slots, has 1"):
        choice_batch_of(team.critic, batch, config)


def test_minibatches_are_all_choices_once(record):
    *_, batch = record(FollowConfig())
    made = choice_batch_of(None, batch, FollowConfig())
    parts = minibatches([made, made], 3, np.random.default_rng(0))
    assert len(parts) == 3
    assert sum(len(x.choices.slot_N) for part in parts for x in part) == 2 * len(batch.choices.slot_N)


def test_both_values_of_a_bit_add_up_to_one():
    np.testing.assert_allclose(both(torch.tensor([-3.0, 0.0, 9.0])).exp().sum(-1), 1.0, rtol=1e-6)


@pytest.mark.parametrize("objective", ["counterfactual", "sequence"])
def test_training_is_the_same_for_the_same_seed_and_imitates_first(objective, follower):
    training = FollowTraining(
        FollowConfig(objective=objective, kl=0.1), updates=2, imitation_updates=8, worlds=2, cells=4, slots=4, batch=64
    )
    leader = make_leader("proportional_fair")
    runs = []
    for _ in range(2):
        model = follower()
        runs.append(train_followers(leader, model, [MIX, CHANGING], [3, 4], training))
    assert runs[0] == runs[1]
    assert runs[0][7].loss < runs[0][0].loss
    assert all(torch.isfinite(weight).all() for weight in model.parameters())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"objective": "luck"}, "objective is 'luck'"),
        ({"futures": 0}, "futures is 0"),
        ({"clip": 0.0}, "clip is 0.0"),
        ({"gamma": 2.0}, "gamma is 2.0"),
    ],
)
def test_a_config_says_what_is_wrong(change, message):
    with pytest.raises(UserMistake, match=message):
        replace(FollowConfig(), **change)


# ---- words of UEs ----


class Echo:
    """Followers whose word is seat + slot."""

    speaks = True

    def __call__(self, slot):
        return np.zeros(slot.coin_BUM.shape, bool)

    def words(self, slot):
        assert not slot.entitlement_BUM.any() and not slot.answer_BUM.any()
        return ((np.arange(slot.present_BU.shape[1]) + slot.slot) % 8 - (slot.slot % 3 == 0)).astype(np.int8)[None]


def test_a_word_reaches_the_leader_with_its_report():
    world = CellBatch(MIX, 2, 3, seed=1)
    delay = MIX.report_delay_slots
    for slot in range(12):
        for state in world.observe():
            word = (np.arange(3) + slot - delay) % 8 - ((slot - delay) % 3 == 0)
            expected = np.where(word < 0, np.nan, word)
            np.testing.assert_array_equal(state.ucm_U, expected if slot > delay else np.full(3, np.nan))
        world.play(None, 1, Echo())
    world.play(None, delay + 1)
    assert np.isnan(world.observe()[0].ucm_U).all()


def test_words_are_deterministic_and_silence_is_for_ues_without_data(follower):
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
    with_words, without = (layout.encode(x, intents).tokens_NT for x in (states, silent))
    assert (with_words != without).any(axis=1).all()
    plain = PromptLayout()
    assert np.array_equal(plain.encode(states, intents).tokens_NT, plain.encode(silent, intents).tokens_NT)
    assert PromptLayout.from_json(layout.as_json()) == layout


def test_words_have_the_advantage_of_what_came_after_them(follower, half_open):
    config = FollowConfig(objective="sequence", entropy=0.0, value=0.0)
    world = CellBatch(MIX, 6, 4, seed=3)
    team = FollowerTeam(follower(), new_critic(FOLLOWER_FEATURES, 1), speaks=True)
    rng = np.random.default_rng(0)
    batch = join([play_period(world, half_open(6, 4), 4, team, config, rng) for _ in range(2)])
    made = choice_batch_of(team.critic, batch, config)
    words = made.words
    assert len(words.slot_N) and words.slot_N.min() >= 1 and words.slot_N.max() < batch.slots - 1
    with torch.inference_mode():
        again = team.model.ucm_logits(torch.from_numpy(words.tokens_NL)).numpy()
    np.testing.assert_allclose(again, words.logit_NW, atol=1e-5)
    follower_loss(team, [made], config, config.make_objective()).loss.backward()
    assert team.model.ucm.weight.grad.abs().sum() > 0


def test_words_begin_as_the_ues_need(follower):
    training = FollowTraining(updates=1, imitation_updates=12, worlds=1, cells=8, slots=4, batch=64, speaks=True)
    runs = train_followers(None, follower(), [MIX], [4], training)
    assert runs[11].loss < runs[0].loss

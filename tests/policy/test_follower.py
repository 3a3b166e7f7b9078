"""A UE's model: it sends only where the MAC lets it, and a batch is what its UEs are alone."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from policy.follower import (
    FIRST_LAYOUT,
    UCM_TOKENS,
    Access,
    FollowerLayout,
    FollowerModel,
    FollowerPolicy,
    FollowerView,
    new_follower_model,
)
from policy.leader_models.language_model import ModelConfig


def random_view(rng: np.random.Generator, ues: int, num_rbgs: int) -> FollowerView:
    access_NM = rng.integers(0, 3, (ues, num_rbgs))
    attempts_N = rng.integers(0, 9, ues)
    return FollowerView(
        buffer_bits_N=rng.choice([0.0, 300.0, 1500.0, 12000.0], ues),
        head_delay_slots_N=rng.integers(0, 9, ues).astype(float),
        slack_slots_N=rng.integers(1, 9, ues).astype(float),
        traffic_class_N=rng.integers(0, 3, ues).astype(float),
        served_bits_per_slot_N=rng.random(ues) * 1000,
        probability_N=rng.random(ues),
        contending_ues_N=rng.integers(0, 20, ues).astype(float),
        others_granted_N=rng.integers(0, 6, ues).astype(float),
        attempts_N=attempts_N.astype(float),
        attempts_lost_N=rng.integers(0, attempts_N + 1).astype(float),
        last_lost_N=np.where(attempts_N > 0, rng.integers(0, 2, ues), np.nan),
        cqi_NM=rng.integers(0, 16, (ues, num_rbgs)),
        access_NM=access_NM,
        answer_NM=np.where(access_NM == Access.NONE, 0, rng.integers(0, 16, (ues, num_rbgs))),
        turn_NM=np.where(access_NM == Access.CONTEND, rng.integers(0, 12, (ues, num_rbgs)), -1),
    )


@pytest.fixture(scope="module")
def policy() -> FollowerPolicy:
    return FollowerPolicy(new_follower_model(ModelConfig(32, 2, 2, 48), seed=3))


@pytest.mark.parametrize("num_rbgs", [1, 6, 17])
def test_it_never_sends_where_the_dcm_does_not_allow_it(policy, num_rbgs):
    rng = np.random.default_rng(num_rbgs)
    view = random_view(rng, 60, num_rbgs)
    bits = policy.bits(view, rng.random((60, num_rbgs)))
    assert bits.dtype == bool
    assert bits.any()
    assert not bits[view.access_NM == Access.NONE].any()
    assert not bits[view.buffer_bits_N == 0].any()


def test_a_batch_of_ues_is_what_they_are_alone(policy):
    rng = np.random.default_rng(1)
    view = random_view(rng, 20, 6)
    alone = np.concatenate([policy.probabilities(view.rows(np.array([n]))) for n in range(20)])
    np.testing.assert_allclose(policy.probabilities(view), alone, atol=1e-5)


def test_which_rbg_is_which_does_not_matter(policy):
    rng = np.random.default_rng(2)
    view = random_view(rng, 20, 6)
    order = rng.permutation(6)
    per_rbg = ("cqi_NM", "access_NM", "answer_NM", "turn_NM")
    shuffled = view._replace(**{name: getattr(view, name)[:, order] for name in per_rbg})
    np.testing.assert_allclose(policy.probabilities(shuffled), policy.probabilities(view)[:, order], atol=1e-5)


def test_every_rbg_sees_every_other(policy):
    view = random_view(np.random.default_rng(3), 1, 6)._replace(
        buffer_bits_N=np.array([1000.0]), access_NM=np.full((1, 6), Access.OWN)
    )
    before = policy.probabilities(view)
    view.cqi_NM[0, 5] = (view.cqi_NM[0, 5] + 8) % 16
    assert (np.abs(policy.probabilities(view) - before) > 1e-6).all()


def test_drawn_bits_follow_the_probabilities(policy):
    rng = np.random.default_rng(4)
    view = random_view(rng, 3, 6)
    mean = np.mean([policy.bits(view, rng.random((3, 6))) for _ in range(400)], axis=0)
    np.testing.assert_allclose(mean, policy.probabilities(view), atol=0.12)


def test_without_draws_the_likelier_choice_is_made(policy):
    view = random_view(np.random.default_rng(5), 30, 6)
    assert np.array_equal(policy.bits(view), policy.probabilities(view) > 0.5)


def test_the_same_seed_gives_the_same_weights():
    config = ModelConfig(32, 1, 2, 48)
    view = random_view(np.random.default_rng(6), 5, 6)

    def probabilities(seed: int) -> np.ndarray:
        return FollowerPolicy(new_follower_model(config, seed)).probabilities(view)

    assert np.array_equal(probabilities(1), probabilities(1))
    assert not np.array_equal(probabilities(1), probabilities(2))


def test_every_field_has_tokens_of_its_own():
    model = FollowerModel(ModelConfig(32, 1, 2, 48))
    view = random_view(np.random.default_rng(7), 200, 6)
    tokens = model.tokens(view)
    fields = model.layout.header_fields
    header = [set(column) for column in tokens[:, :fields].T.tolist()]
    rbg = [set(column.ravel().tolist()) for column in tokens[:, fields:].reshape(200, 6, -1).transpose(2, 0, 1)]
    assert sum(map(len, header + rbg)) == len(set().union(*header, *rbg))
    assert tokens.max() < model.backbone.llama.model.embed_tokens.num_embeddings


@pytest.mark.parametrize("name", [n for n in FollowerView._fields if n.endswith("_N")])
def test_what_is_not_known_has_a_token(name):
    model = FollowerModel(ModelConfig(32, 1, 2, 48))
    view = random_view(np.random.default_rng(8), 3, 6)._replace(buffer_bits_N=np.full(3, 500.0))
    unknown = model.tokens(view._replace(**{name: np.full(3, np.nan)}))
    fields = model.layout.header_fields
    assert (unknown[:, :fields] != model.tokens(view)[:, :fields]).any(axis=1).all() or name == "last_lost_N"
    assert len({*unknown.ravel().tolist()} - set(range(model.backbone.llama.model.embed_tokens.num_embeddings))) == 0


def test_the_layout_of_earlier_bundles_reads_buffer_delay_probability_and_offers():
    model = new_follower_model(ModelConfig(32, 1, 2, 48), 1, FIRST_LAYOUT)
    view = random_view(np.random.default_rng(9), 16, 3)._replace(access_NM=np.full((16, 3), Access.OWN))
    view = view._replace(cqi_NM=np.tile(np.arange(16)[:, None], 3))
    tokens = model.tokens(view)
    assert tokens.shape == (16, 3 + 3)
    assert len(set(tokens[:, 3].tolist())) == 16
    other = view._replace(answer_NM=view.answer_NM ^ 1, attempts_N=view.attempts_N + 1)
    assert np.array_equal(tokens, model.tokens(other))


def test_a_layout_survives_its_description():
    for layout in (FollowerLayout(), FIRST_LAYOUT):
        assert FollowerLayout.from_json(json.loads(json.dumps(layout.as_json()))) == layout
    assert FollowerLayout.from_json(None) == FIRST_LAYOUT


@pytest.mark.parametrize("wrong", [{"rbg": ["colour"]}, {"header": [[["colour", [1.0]]]]}])
def test_a_field_that_nobody_knows_is_refused(wrong):
    with pytest.raises(ValueError, match="colour"):
        FollowerLayout.from_json(FollowerLayout().as_json() | wrong)


def test_a_ucm_is_read_from_the_same_tokens():
    model = new_follower_model(ModelConfig(32, 1, 2, 48), 2)
    view = random_view(np.random.default_rng(10), 5, 6)
    assert model.ucm_logits(torch.from_numpy(model.tokens(view))).shape == (5, UCM_TOKENS)

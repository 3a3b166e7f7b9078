"""A UE's model: it sends only where the MAC lets it, and a batch is what its UEs are alone."""

from __future__ import annotations

import numpy as np
import pytest

from policy.follower import Access, FollowerModel, FollowerPolicy, FollowerView, new_follower_model
from policy.language_model import ModelConfig


def random_view(rng: np.random.Generator, ues: int, num_rbgs: int) -> FollowerView:
    return FollowerView(
        buffer_bits_N=rng.choice([0.0, 300.0, 1500.0, 12000.0], ues),
        head_delay_slots_N=rng.integers(0, 9, ues).astype(float),
        probability_N=rng.random(ues),
        cqi_NM=rng.integers(0, 16, (ues, num_rbgs)),
        access_NM=rng.integers(0, 3, (ues, num_rbgs)),
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
    shuffled = view._replace(cqi_NM=view.cqi_NM[:, order], access_NM=view.access_NM[:, order])
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


def test_reported_cqi_has_sixteen_tokens_per_access():
    model = FollowerModel(ModelConfig(32, 1, 2, 48))
    tokens = model.tokens(
        FollowerView(
            np.zeros(1),
            np.zeros(1),
            np.zeros(1),
            np.tile(np.arange(16), 3)[None],
            np.repeat(np.array(list(Access)), 16)[None],
        )
    )
    assert len(set(tokens[0, -48:].tolist())) == 48

"""Advantages over time: the plain recursion, and what leaving and the end of watching mean."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.gae import generalised_advantages, next_values


def plain(reward, value, following, terminated, truncated, gamma, lam):
    """One agent, straight from the definition: a sum over what is still to come."""
    advantage = []
    for t in range(len(reward)):
        total, weight = 0.0, 1.0
        for s in range(t, len(reward)):
            after = 0.0 if terminated[s] else gamma * following[s]
            total += weight * (reward[s] + after - value[s])
            if terminated[s] or truncated[s]:
                break
            weight *= gamma * lam
        advantage.append(total)
    return advantage


@given(
    seed=st.integers(0, 2**32 - 1),
    slots=st.integers(1, 12),
    agents=st.integers(1, 4),
    gamma=st.floats(0, 1),
    lam=st.floats(0, 1),
)
def test_it_is_the_plain_sum(seed, slots, agents, gamma, lam):
    rng = np.random.default_rng(seed)
    reward, value, following = rng.normal(size=(3, slots, agents))
    terminated, truncated = rng.random((2, slots, agents)) < 0.2
    got = generalised_advantages(reward, value, following, terminated, truncated, gamma=gamma, lam=lam)
    for n in range(agents):
        columns = (a[:, n] for a in (reward, value, following, terminated, truncated))
        np.testing.assert_allclose(got.advantage_TN[:, n], plain(*columns, gamma, lam), atol=1e-9)
    np.testing.assert_allclose(got.return_TN, got.advantage_TN + value)


def test_a_ue_that_leaves_is_worth_nothing_afterwards_an_episode_that_ends_is():
    reward = np.array([[1.0, 1.0], [1.0, 1.0]])
    value = np.zeros((2, 2))
    following = next_values(value, np.array([100.0, 100.0]))
    terminated = np.array([[False, False], [True, False]])  # the first UE leaves
    truncated = np.array([[False, False], [False, True]])  # of the second no more is seen
    got = generalised_advantages(reward, value, following, terminated, truncated, gamma=0.5, lam=1.0)
    np.testing.assert_allclose(got.advantage_TN[:, 0], [1.5, 1.0])
    np.testing.assert_allclose(got.advantage_TN[:, 1], [1.0 + 0.5 * 51.0, 51.0])


def test_whoever_comes_to_the_seat_of_one_that_left_does_not_pay_into_its_account():
    reward = np.array([[0.0], [1.0], [1000.0]])
    value = np.array([[0.0], [0.0], [7.0]])
    terminated = np.array([[False], [True], [False]])
    truncated = np.array([[False], [False], [True]])
    got = generalised_advantages(
        reward, value, next_values(value, np.zeros(1)), terminated, truncated, gamma=1.0, lam=1.0
    )
    np.testing.assert_allclose(got.advantage_TN[:2, 0], [1.0, 1.0])


def test_next_values_are_one_slot_on():
    value = np.arange(6.0).reshape(3, 2)
    np.testing.assert_array_equal(next_values(value, np.array([8.0, 9.0])), [[2, 3], [4, 5], [8, 9]])


@pytest.mark.parametrize("wrong", [{"gamma": 1.5, "lam": 0.9}, {"gamma": 0.9, "lam": -0.1}])
def test_factors_out_of_range_are_refused(wrong):
    zeros, no = np.zeros((2, 1)), np.zeros((2, 1), bool)
    with pytest.raises(ValueError, match="expected 0 to 1"):
        generalised_advantages(zeros, zeros, zeros, no, no, **wrong)


def test_unequal_shapes_are_refused():
    zeros, no = np.zeros((2, 1)), np.zeros((2, 1), bool)
    with pytest.raises(ValueError, match="shapes differ"):
        generalised_advantages(zeros, np.zeros((2, 2)), zeros, no, no, gamma=0.9, lam=0.9)

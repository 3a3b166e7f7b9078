"""Intervals over trainings crossed with worlds: what they come to in known cases, and how often they hold."""

from __future__ import annotations

import math

import numpy as np
import pytest

from training.intervals import crossed_difference, crossed_mean, crossed_percent, mean_interval, student_t


def test_with_one_training_or_one_world_it_is_students_t_over_the_other() -> None:
    values = np.array([1.0, 2.0, 4.0])
    expected = pytest.approx(tuple(mean_interval(values)))
    assert tuple(crossed_mean(values[None, :])) == expected
    assert tuple(crossed_mean(values[:, None])) == expected
    assert math.isnan(crossed_mean(np.array([[1.0]])).low) and math.isnan(crossed_mean(np.zeros((2, 0))).mean)


def test_the_variance_is_of_two_way_random_effects() -> None:
    values_SW = np.array([[1.0, 3.0, 2.0], [2.0, 7.0, 3.0]])
    rows, columns, grand = values_SW.mean(1), values_SW.mean(0), values_SW.mean()
    ms_a, ms_b = 3 * rows.var(ddof=1), 2 * columns.var(ddof=1)
    variance = (ms_a + ms_b) / 6
    degrees = (ms_a + ms_b) ** 2 / (ms_a**2 / 1 + ms_b**2 / 2)
    found = crossed_mean(values_SW)
    assert found.mean == pytest.approx(grand) and found.half_width == pytest.approx(
        student_t(degrees) * math.sqrt(variance)
    )


def test_worlds_without_a_value_are_left_out() -> None:
    values_SW = np.array([[1.0, math.nan, 2.0], [2.0, 7.0, 3.0]])
    assert crossed_mean(values_SW) == crossed_mean(values_SW[:, [0, 2]])


@pytest.mark.parametrize("of_trainings", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("paired", [True, False])
def test_intervals_hold_as_often_as_they_say(of_trainings: float, paired: bool) -> None:
    rng = np.random.default_rng(7)
    held, narrow = 0, 0
    for _ in range(1500):
        world_W, noise = rng.normal(size=6), rng.normal(size=(2, 5, 6)) / 2
        trained_S = of_trainings * rng.normal(size=(2, 5, 1))
        mine_SW = 10 + world_W + trained_S[0] + noise[0]
        theirs_SW = (9 + trained_S[1] + noise[1]) if not paired else np.full((1, 6), 9.0)
        found = crossed_difference(mine_SW, theirs_SW, paired=paired)
        held += found.low <= 1 <= found.high
        fixed = mean_interval(mine_SW.mean(axis=1) - theirs_SW.mean())
        narrow += fixed.low <= 1 <= fixed.high
    assert held / 1500 > 0.93
    if of_trainings == 0.0:
        assert narrow / 1500 < 0.6  # what an interval over trainings in fixed worlds says of other worlds


def test_a_percentage_is_of_the_mean_of_worlds() -> None:
    theirs_SW = np.array([[1.0, 2.0, 3.0]])
    exact = crossed_percent(1.1 * np.repeat(theirs_SW, 2, axis=0), theirs_SW, paired=False)
    assert tuple(exact) == pytest.approx((10.0, 10.0, 10.0))
    assert math.isnan(crossed_percent(theirs_SW, -theirs_SW, paired=False).mean)

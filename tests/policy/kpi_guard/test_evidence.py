"""The evidence is an e-process: under a leader that changes nothing its mean is 1 whatever the windows are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from policy.kpi_guard.evidence import FEWEST_RESIDUALS, Evidence, e_values
from policy.kpi_guard.pool import Pool
from policy.kpi_guard.window import Difference

WINDOWS = arrays(np.float64, st.integers(2, 12), elements=st.floats(-5.0, 5.0))


@given(x_J=WINDOWS, noise=st.floats(0.01, 2.0))
def test_over_a_uniform_place_the_mean_is_one_for_any_windows(x_J: np.ndarray, noise: float) -> None:
    mean_G = np.mean([e_values(x_J, k, 0.0, noise) for k in range(len(x_J))], axis=0)
    assert mean_G == pytest.approx(1.0)


@given(x_J=WINDOWS, noise=st.floats(0.01, 2.0), margin=st.floats(0.0, 0.5))
def test_a_margin_is_in_the_leaders_favour(x_J: np.ndarray, noise: float, margin: float) -> None:
    mean_G = np.mean([e_values(x_J, k, margin, noise) for k in range(len(x_J))], axis=0)
    assert (mean_G <= 1.0 + 1e-9).all()


@given(x_J=WINDOWS, wild=st.floats(1e3, 1e9))
def test_one_wild_window_says_no_more_than_eight_sigma(x_J: np.ndarray, wild: float) -> None:
    x_J[0] = wild
    assert np.isfinite(e_values(x_J, 0, 0.0, 0.1)).all()
    assert (e_values(x_J, 0, 0.0, 0.1) <= len(x_J)).all()


@pytest.mark.parametrize("kind", ["steps", "random_walk", "heavy_tails", "trend"])
def test_the_mean_time_to_a_false_alarm_is_at_least_a(kind: str) -> None:
    """By simulation at a small A: cycles of four windows whose level wanders, shifts or jumps by itself."""
    rng, a, runs, longest = np.random.default_rng(5), 20.0, 60, 120
    lengths = []
    for _ in range(runs):
        evidence = Evidence(margin=0.0)
        level, cycles = 1.0, 0
        while cycles < longest and evidence.m < a:
            if kind == "steps":
                level = rng.choice([0.5, 1.0, 2.0]) if rng.random() < 0.2 else level
                above_J = level * rng.normal(0.0, 0.05, 3)
            elif kind == "random_walk":
                above_J = np.diff(np.cumsum(rng.normal(0.0, 0.1, 4)))
            elif kind == "heavy_tails":
                above_J = 0.05 * rng.standard_t(1.5, 3)
            else:
                above_J = np.array([-0.1, 0.0, 0.1]) + rng.normal(0.0, 0.02, 3)
            evidence.add_cycle([Difference(x, level) for x in above_J], int(rng.integers(3)))
            cycles += 1
        lengths.append(cycles)
    assert np.mean(lengths) >= a  # runs that were cut at `longest` make the mean smaller, not larger


@settings(max_examples=20)
@given(harm=st.floats(0.15, 0.5), seed=st.integers(0, 2**31))
def test_harm_beyond_the_margin_is_found(harm: float, seed: int) -> None:
    rng, evidence = np.random.default_rng(seed), Evidence(margin=0.03)
    for _ in range(100):
        k = int(rng.integers(3))
        above_J = rng.normal(0.0, 0.04, 3) - harm / 2
        above_J[k] += 1.5 * harm
        evidence.add_cycle([Difference(x, 1.0) for x in above_J], k)
        if evidence.m >= 1e3:
            return
    raise AssertionError(f"M is {evidence.m}")


def test_a_hold_out_without_anybody_to_compare_says_nothing() -> None:
    evidence, nothing = Evidence(margin=0.03), Difference(float("nan"), float("nan"))
    assert evidence.add_cycle([nothing, Difference(0.1, 1.0), Difference(0.2, 1.0)], 0) is None
    assert evidence.add_cycle([Difference(0.1, 1.0), nothing, nothing], 0) is None
    assert evidence.add_cycle([Difference(0.1, 0.0), Difference(0.2, 0.0), nothing], 0) is None
    assert evidence.m == 1.0


def test_noise_is_that_of_windows_under_the_leader() -> None:
    evidence = Evidence(margin=0.03)
    before = evidence.noise
    evidence.learn([0.02] * (FEWEST_RESIDUALS - 1))
    assert evidence.noise == before
    evidence.learn([-0.02])
    assert evidence.noise == pytest.approx(1.48 * 0.02)


def test_cells_that_are_pooled_find_together_what_none_finds_alone() -> None:
    pool, e_G = Pool(), np.full(5, 3.0)
    alone = [Evidence(margin=0.03) for _ in range(4)]
    assert [pool.add("utility", e_G) for _ in alone] == [3.0, 9.0, 27.0, 81.0]
    assert pool.m("latency_utility") == 1.0
    pool.restart()
    assert pool.m("utility") == 1.0

"""The paper's failure signatures are named when they show, once; and what a run leaves for its readers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from policy.bundle import Bundle, load_bundle
from policy.follower import new_follower_model
from policy.grammar import PAPER
from policy.leader_models.language_model import ModelConfig, new_leader_model, state_of
from policy.prompt.compact import PromptLayout
from training.card_format import sparkline
from training.intervals import mean_and_error
from training.learning import health
from training.learning.config import make_config
from training.learning.health import unseen_ues, utilities_at_unseen, warnings_of
from training.learning.report import UpdateReport, from_log
from training.learning.trainer import train

SMALL = ModelConfig(16, 1, 2, 24)
CONFIG = make_config("tiny", ["mix"], ues=(3, 4), consistency=0.05)


def reports(rewards, **changes) -> list[UpdateReport]:
    healthy = {"value": 6.0, "gain": 0.2, "jain": 0.8, "node_jain": 0.8, "collision_fraction": 0.01}
    return [UpdateReport(k, k, reward=reward, **(healthy | changes)) for k, reward in enumerate(rewards)]


def noisy(first: float, last: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.linspace(first, last, 60) + 0.02 * rng.standard_normal(60)


def test_a_healthy_run_is_not_disturbed():
    assert warnings_of(reports(noisy(0.8, 0.9)), CONFIG) == ()
    assert warnings_of(reports(noisy(0.8, 0.78)), CONFIG) == ()
    assert warnings_of(reports([0.8] * 3, jain=0.1), CONFIG) == ()


def test_divergence_points_at_the_learning_rates():
    (warning,) = warnings_of(reports(noisy(0.9, 0.5)), CONFIG)
    assert warning.startswith("divergence: reward fell from 0.8")
    assert "kappa_1/kappa_2 = 0.001/0.002 = 0.5" in warning


def test_unfairness_points_at_the_consistency_weight():
    (warning,) = warnings_of(reports(noisy(0.8, 0.8), jain=0.5, node_jain=0.55), CONFIG)
    assert "Jain's index is 0.50, below 0.6 (the node's scheduler alone: 0.55)" in warning
    assert "rho_2 = 0.05" in warning


def test_losing_at_an_unseen_number_of_ues_points_at_the_ones_trained_on():
    (warning,) = warnings_of(reports(noisy(0.8, 0.8), unseen=(-0.2, 0.05)), CONFIG)
    assert "at 8 UEs" in warning
    assert "D(I) = [3, 4]" in warning
    assert warnings_of(reports(noisy(0.8, 0.8), unseen=(-0.08, 0.05)), CONFIG) == ()
    assert unseen_ues(make_config("tiny", ["mix"], ues=(80, 3))) == 100
    assert unseen_ues(make_config("tiny", ["mix"], ues=(100,))) == 101


def test_each_is_named_once():
    known = reports(noisy(0.9, 0.5))
    known[40] = known[40]._replace(warnings=warnings_of(known, CONFIG))
    assert warnings_of(known, CONFIG) == ()


def test_the_same_leader_is_as_good_as_itself_where_it_was_not_trained(monkeypatch):
    monkeypatch.setattr(health, "WATCH_SLOTS", 12)
    torch.set_num_threads(1)
    leader = new_leader_model(SMALL, PromptLayout(), 0).eval()
    once, again = (utilities_at_unseen(leader, CONFIG, PAPER) for _ in range(2))
    assert mean_and_error(once - again) == (0.0, 0.0)


def bundle() -> Bundle:
    leader, follower = new_leader_model(SMALL, PromptLayout(), 0), new_follower_model(SMALL, 0)
    return Bundle(leader, follower, PAPER, 1, 1, {"command": "stackmac warm-start --out DIR"})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("run")
    changes = {"ues": (2, 3), "updates": 4, "worlds": 2, "cells": 3, "round_updates": 1, "watch_rounds": 3}
    config = make_config("tiny", ["mix"], roles=("leader", "follower"), **changes)
    seen: list[UpdateReport] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(health, "WATCH_SLOTS", 12)
        result = train(config, out, start=bundle(), progress=seen.append, command="stackmac train --out DIR2")
    return out, result, seen


def test_roles_take_turns_and_both_learn(run):
    _, result, seen = run
    assert [r.leader_lr is not None for r in seen] == [True, False, True, False]
    assert [r.follower_lr is not None for r in seen] == [False, True, False, True]
    after, before = load_bundle(result.bundle), bundle()
    for model in ("leader", "follower"):
        old, new = state_of(getattr(before, model)), state_of(getattr(after, model))
        assert any(not torch.equal(old[name], new[name]) for name in old), model


def test_unseen_counts_are_looked_at_now_and_then(run):
    _, _, seen = run
    assert [r.unseen is not None for r in seen] == [False, False, False, True]


def test_a_bundle_says_what_it_is(run):
    out, result, _ = run
    card = (result.bundle / "README.md").read_text()
    assert "stackmac warm-start --out DIR && stackmac train --out DIR2" in card
    assert CONFIG.scenarios[0].hash in card
    assert "roles trained: leader, follower" in card
    assert "| reward |" in card
    assert "## Limits" in card
    assert list((out / "tensorboard").glob("events.*"))


def test_a_log_line_comes_back_as_it_was(run):
    import json

    out, _, seen = run
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [from_log(line) for line in lines] == seen


def test_a_sparkline_shows_a_climb():
    assert sparkline([1.0, 2.0, 3.0]) == "▁▅█"
    assert sparkline([2.0]) == "▁"
    assert sparkline([]) == ""
    assert len(sparkline(list(range(1000)))) == 40

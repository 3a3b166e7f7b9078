"""`stackmac train-followers`: what a run leaves on disk, how it goes on, and what it refuses."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from policy.bundle import Bundle, load_bundle, save_bundle
from policy.follower import FIRST_LAYOUT, new_follower_model
from policy.grammar import PAPER
from policy.leader_models.language_model import ModelConfig, new_leader_model, state_of
from policy.prompt.compact import PromptLayout
from training.errors import Diverged, TrainingError
from training.evaluation.bundle_players import enter_baseline
from training.follower_run.run import follow
from training.following.leaders import named_leader
from training.following.worlds import new_worlds
from training.learning.follower_config import FollowConfig, FollowTraining
from training.simulator.scenario import make_scenario
from xapp.cli import main

SMALL = ModelConfig(16, 1, 2, 24)
MIX, SPORADIC = make_scenario("mix"), make_scenario("sporadic")
TINY = FollowTraining(
    FollowConfig(futures=2), updates=4, imitation_updates=3, worlds=2, cells=3, slots=2, round_updates=2, batch=64
)


SHIPPED = ModelConfig()
"""The shipped bundles' size: a leader of another one would be compiled for these tests alone."""


def bundle(layout=None, words: bool = False) -> Bundle:
    leader = new_leader_model(SHIPPED, PromptLayout.with_ucm() if words else PromptLayout(), 0)
    return Bundle(leader, new_follower_model(SMALL, 0, layout), PAPER, 1, 1, {"seed": 7, "command": "before"})


@pytest.fixture
def start(tmp_path):
    save_bundle(bundle(), tmp_path / "start")
    return str(tmp_path / "start")


@pytest.fixture(autouse=True)
def sigterm():
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def lines(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


RIC20 = make_scenario("ric20")


@pytest.mark.parametrize(
    ("objective", "scenario", "stops"),
    [("sequence", MIX, [0, 1]), ("regression", MIX, [-3, -2, -1, 0, 1, 2]), ("regression", RIC20, [-2, 0])],
)  # fmt: skip
def test_a_resumed_run_is_the_unbroken_one_and_does_no_update_twice(tmp_path, objective, scenario, stops):
    size = {"worlds": 1, "cells": 2} if scenario is RIC20 else {}  # twenty slots a decision
    config = replace(TINY, follow=FollowConfig(objective=objective, futures=2, kl=0.1), **size)
    arguments = "proportional_fair", [scenario], [2, 3]
    whole = follow(bundle(), *arguments, tmp_path / "whole", config)
    assert whole.complete and whole.updates == 7

    def stop_at(update: int):
        def interrupt(report) -> None:
            if report.update == update:
                raise KeyboardInterrupt

        return interrupt

    for number, stop in enumerate(stops):
        part = follow(bundle(), *arguments, tmp_path / "part", config, progress=stop_at(stop), resume=number > 0)
        assert (part.complete, part.is_asked, part.kept, part.updates) == (False, True, stop + 4, stop + 4)
    done = []
    rest = follow(bundle(), *arguments, tmp_path / "part", config, resume=True, progress=done.append)
    assert part.kept + len(done) == 7  # it goes on from where it is said to
    assert rest.complete and lines(tmp_path / "part") == lines(tmp_path / "whole")
    made = [state_of(load_bundle(tmp_path / run / "bundle").follower) for run in ("whole", "part")]
    assert all(torch.equal(made[0][name], made[1][name]) for name in made[0])
    with pytest.raises(TrainingError, match="leader was proportional_fair, is now round_robin"):
        follow(bundle(), "round_robin", [scenario], [2, 3], tmp_path / "part", config, resume=True)


def test_a_run_stops_on_time_and_goes_on(tmp_path, monkeypatch):
    now_s = [0.0]
    monkeypatch.setattr("training.rounds.time", SimpleNamespace(monotonic=lambda: now_s[0]))

    def take_a_second(report) -> None:
        now_s[0] += 1.0

    leader = "proportional_fair"
    part = follow(bundle(), leader, [MIX], [2], tmp_path, TINY, seconds=3.0, progress=take_a_second)
    assert (part.complete, part.updates) == (False, 3)
    part = follow(bundle(), leader, [MIX], [2], tmp_path, TINY, seconds=0.1, resume=True, progress=take_a_second)
    assert (part.complete, part.updates) == (False, 4)  # less time than an update takes: one at least
    rest = follow(bundle(), leader, [MIX], [2], tmp_path, TINY, resume=True)
    assert (rest.complete, rest.updates) == (True, 7)


def test_a_bundle_keeps_its_leader_and_says_how_its_followers_came_to_be(tmp_path):
    old = bundle(FIRST_LAYOUT)
    result = follow(old, "proportional_fair", [MIX, SPORADIC], [2, 3], tmp_path, TINY, command="now")
    made = load_bundle(result.bundle)
    leaders = state_of(old.leader), state_of(made.leader)
    assert all(torch.equal(leaders[0][name], leaders[1][name]) for name in leaders[0])
    assert made.follower.layout != FIRST_LAYOUT
    trained = made.provenance["trained_followers"]
    assert made.provenance["command"] == "before && now" and made.provenance["seed"] == 7
    assert trained["leader"] == "proportional_fair" and trained["updates"] == 7
    assert trained["scenarios"] == {"mix": MIX.hash, "sporadic": SPORADIC.hash}
    card = (result.bundle / "README.md").read_text()
    assert "before && now" in card and "under proportional_fair; seed 0, 7 updates" in card
    (player,) = enter_baseline("pf_leader_retrained_followers", str(result.bundle), 1, "greedy", "learned").players
    assert player.train_seeds == (0,) and player.trained_ues == (2, 3)


def test_every_ue_count_is_in_every_update_and_scenarios_take_turns():
    rng = np.random.default_rng(0)
    worlds = new_worlds(lambda scenario, ues: None, [MIX, SPORADIC], [2, 3, 5], 2, 9, rng)
    assert sorted(made.world.ues for made in worlds) == [2, 3, 5]
    assert {made.world.scenario.name for made in worlds} == {"mix", "sporadic"}
    assert sum(made.world.cells for made in worlds) == 18
    few = new_worlds(lambda scenario, ues: None, [MIX, SPORADIC], [4], 2, 9, rng)
    assert [made.world.cells for made in few] == [9, 9]


def test_words_are_for_a_leader_that_reads_them(tmp_path):
    save_bundle(bundle(words=True), tmp_path / "words")
    assert named_leader(str(tmp_path / "words"), speaks=True)(MIX, 3) is not None
    with pytest.raises(TrainingError, match="leader max_weight does not read the followers' words"):
        named_leader("max_weight", speaks=True)


def test_a_run_that_diverges_leaves_its_checkpoint(tmp_path, start, capsys):
    wild = bundle()
    with torch.no_grad():
        wild.follower.send.weight[:] = torch.nan
    with pytest.raises(Diverged, match="the followers' loss is nan"):
        follow(wild, "proportional_fair", [MIX], [2], tmp_path / "run", replace(TINY, imitation_updates=0))
    assert (tmp_path / "run/checkpoint.safetensors").exists()


def test_a_run_is_typed_and_answered(start, tmp_path, capsys):
    words = ["train-followers", "--from", start, "--scenario", "mix", "--ues", "2,3", "--out", str(tmp_path / "run")]
    assert main([*words, "--updates", "1", "--leader", start, "--json", "-"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["complete"] and answer["updates"] == 1, "followers of today's layout are not made anew"
    command = load_bundle(answer["bundle"]).provenance["command"]
    assert "--updates 1 --imitation-updates 0 --objective regression" in command
    assert main(words) == 2
    assert "resume it, or choose another directory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--scenario", "maze"], "unknown scenario 'maze'"),
        (["--ues", "3,few"], "--ues is '3,few', expected counts from 1 to 200"),
        (["--leader", "nobody"], "unknown leader 'nobody'"),
        (["--from", "nowhere"], "nowhere: no such bundle directory"),
        (["--objective", "luck"], "objective is 'luck'"),
        (["--sharpness", "0"], "sharpness is 0.0, expected above 0"),
        (["--updates", "0"], "--updates"),
        (["--speaks"], "leader proportional_fair does not read the followers' words"),
        (["--resume"], "checkpoint.safetensors: there is no run to resume"),
        (["--seconds", "0.001", "--json", "/nowhere/x"], "--json /nowhere/x"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(start, tmp_path, capsys, words, message):
    given = {"--from": start, "--scenario": "mix", "--out": str(tmp_path / "run")}
    for name in words[::2]:
        given.pop(name, None)
    assert main(["train-followers", *[w for pair in given.items() for w in pair], *words]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert error.splitlines()[-1].startswith("stackmac train-followers: ")

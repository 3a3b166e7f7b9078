"""`stackmac train` and `stackmac bench training`, as they are typed; and two processes that train as one."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket

import pytest
import torch

from policy.bundle import Bundle, load_bundle, save_bundle
from policy.follower import new_follower_model
from policy.grammar import PAPER
from policy.leader_models.language_model import ModelConfig, new_leader_model, state_of
from policy.prompt.compact import PromptLayout
from training.learning.config import PRESETS, make_config
from training.learning.leader_learner import LeaderLearner
from training.learning.trainer import train
from xapp.cli import main

SMALL = ModelConfig(16, 1, 2, 24)
LEFT = ("log.jsonl", "bundle/leader.safetensors", "bundle/follower.safetensors")
"""What a run leaves that is the same, to the last byte, however often it was stopped."""


@pytest.fixture
def start(tmp_path):
    leader, follower = new_leader_model(SMALL, PromptLayout(), 0), new_follower_model(SMALL, 0)
    save_bundle(Bundle(leader, follower, PAPER, 1, 1), tmp_path / "start")
    return str(tmp_path / "start")


@pytest.fixture(autouse=True)
def sigterm():
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_a_run_is_typed_and_answered(start, tmp_path, capsys):
    words = ["train", "--from", start, "--scenario", "mix", "--ues", "2,3", "--out", str(tmp_path / "run")]
    assert main([*words, "--updates", "1", "--objective", "all_action", "--json", "-"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["complete"]
    assert answer["config"]["objective"] == "all_action"
    assert answer["last"]["cell_steps"] == 192
    command = load_bundle(answer["bundle"]).provenance["command"]
    assert command.endswith("--objective all_action --updates 1 --ues 2,3 --from DIR/bundle --out DIR2")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--scenario", "maze"], "unknown scenario 'maze'"),
        (["--scenario", "mix", "--preset", "huge"], "preset is 'huge', expected one of tiny, small, llama-1b"),
        (
            ["--scenario", "mix", "--ues", "3,few"],
            "--ues is '3,few', expected counts from 1 to 200, separated by commas",
        ),
        (["--scenario", "mix", "--roles", "jury"], "roles is ('jury',), expected some of leader, follower"),
        (["--scenario", "mix", "--from", "nowhere"], "nowhere: no such bundle directory"),
        (["--scenario", "mix", "--teacher", "nobody"], "nobody"),
        (["--scenario", "ric20", "--teacher", "oracle"], "the oracle decides for one slot, ric20 has 20 a DCM"),
        (["--scenario", "mix", "--updates", "0"], "--updates"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(tmp_path, capsys, words, message):
    assert main(["train", *words, "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert error.splitlines()[-1].startswith("stackmac train: ")


def test_a_stop_is_told_by_the_exit_status_and_a_time_that_is_up_only_where_there_is_no_bundle(
    start, tmp_path, capsys, monkeypatch
):
    few = {"worlds": 1, "cells": 2, "watch_rounds": 0, "model": SMALL}
    monkeypatch.setitem(PRESETS, "tiny", few)
    words = ["train", "--scenario", "mix", "--ues", "2", "--updates", "2", "--warm-start-steps", "3"]
    own = [*words, "--out", str(tmp_path / "own")]
    assert main([*own, "--seconds", "0.001"]) == 130
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert told.startswith("stackmac train: stopped in the warm start, step 1/3, before the training: there is no ")
    assert told.endswith("the same command with --resume goes on") and not (tmp_path / "own/bundle").exists()
    for status in (130, 0):
        assert main([*own, "--seconds", "0.001", "--resume"]) == status
    assert "stopped, --resume goes on from update 1: update 1, " in capsys.readouterr().out
    assert main([*own, "--resume"]) == 0

    learn = LeaderLearner.learn

    def interrupted(self, *arguments):
        os.kill(os.getpid(), signal.SIGINT)
        return learn(self, *arguments)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(LeaderLearner, "learn", interrupted)
        assert main([*words[:-2], "--from", start, "--out", str(tmp_path / "run")]) == 130
    assert "stopped, --resume goes on from update 1: update 1, " in capsys.readouterr().out
    assert (tmp_path / "run/bundle").exists()


def test_a_run_that_diverges_ends_with_status_1(start, tmp_path, capsys):
    bundle = load_bundle(start)
    with torch.no_grad():
        bundle.leader.head.query.weight[:] = 1e30
    save_bundle(bundle, tmp_path / "wild")
    words = ["train", "--from", str(tmp_path / "wild"), "--scenario", "mix", "--ues", "2", "--updates", "2"]
    assert main([*words, "--out", str(tmp_path / "run")]) == 1
    assert "stackmac train: " in capsys.readouterr().err
    assert (tmp_path / "run/checkpoint.safetensors").exists()


def rank_of_two(rank: int, port: int, start: str, out: str, stop: int | None, resume: bool) -> None:
    """What torchrun starts, in a process of its own: each plays one of the two worlds. stop: the update in which the
    second process is told to end."""
    group = {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ.update(group)
    changes = {"ues": (2,), "updates": 3, "worlds": 2, "cells": 4, "round_updates": 2, "watch_rounds": 0}
    config = make_config("tiny", ["mix"], roles=("leader", "follower"), alternate=False, **changes)
    learn, updates = LeaderLearner.learn, [0]

    def interrupted(self, *arguments):
        if rank == 1 and updates[0] == stop:
            os.kill(os.getpid(), signal.SIGTERM)
        updates[0] += 1
        return learn(self, *arguments)

    LeaderLearner.learn = interrupted  # this process's own
    result = train(config, out, start=load_bundle(start), resume=resume)
    assert (result.complete, result.updates) == ((True, 3) if stop is None else (False, stop + 1))


def two_ranks(start: str, out: str, stop: int | None = None, resume: bool = False) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = multiprocessing.get_context("fork")  # nothing is imported twice
    ranks = [processes.Process(target=rank_of_two, args=(rank, port, start, out, stop, resume)) for rank in range(2)]
    try:
        for rank in ranks:
            rank.start()
        for rank in ranks:
            rank.join(timeout=100)
        assert [rank.exitcode for rank in ranks] == [0, 0]
    finally:
        for rank in ranks:
            rank.kill()
            rank.join()


def test_two_processes_train_one_leader_and_stop_and_go_on_together(start, tmp_path):
    two_ranks(start, str(tmp_path / "run"))
    two_ranks(start, str(tmp_path / "parts"), stop=0)
    two_ranks(start, str(tmp_path / "parts"), resume=True)
    left = [[(tmp_path / out / name).read_bytes() for name in LEFT] for out in ("run", "parts")]
    assert left[0] == left[1]
    log = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert [line["cell_steps"] for line in log] == [8, 16, 24]
    bundle = load_bundle(tmp_path / "run/bundle")
    assert bundle.provenance["trained"]["ranks"] == 2
    for model in ("leader", "follower"):
        old, new = state_of(getattr(load_bundle(start), model)), state_of(getattr(bundle, model))
        assert any(not torch.equal(old[name], new[name]) for name in old), model


def test_the_bench_takes_an_update_apart():
    from training.bench import measure

    # Sizes of the shipped networks, whose code is compiled already.
    rows, speed = measure("mix", "tiny", 2, repeats=1, model=ModelConfig(), worlds=1, cells=3)
    parts = [row.part for row in rows if row.share is not None]
    assert parts == ["simulator", "branching", "playing", "forward", "backward"]
    assert sum(row.share for row in rows if row.share is not None) == pytest.approx(1.0, abs=0.01)
    assert {row.alternative for row in rows if row.ratio is not None} == {
        "torch", "on all actions", "step by step", "every branch played",
        "one cell at a time", "Python, slot by slot", "re-simulated from slot 0",
    }  # fmt: skip
    assert speed.simulated_per_s > speed.cell_steps_per_s > 0

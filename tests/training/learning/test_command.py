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
from training.learning.config import make_config
from training.learning.trainer import train
from xapp.cli import main

SMALL = ModelConfig(16, 1, 2, 24)


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


def test_a_run_that_diverges_ends_with_status_1(start, tmp_path, capsys):
    bundle = load_bundle(start)
    with torch.no_grad():
        bundle.leader.head.query.weight[:] = 1e30
    save_bundle(bundle, tmp_path / "wild")
    words = ["train", "--from", str(tmp_path / "wild"), "--scenario", "mix", "--ues", "2", "--updates", "2"]
    assert main([*words, "--out", str(tmp_path / "run")]) == 1
    assert "stackmac train: " in capsys.readouterr().err
    assert (tmp_path / "run/checkpoint.safetensors").exists()


def rank_of_two(rank: int, port: int, start: str, out: str) -> None:
    """What torchrun starts, in a process of its own: each plays one of the two worlds."""
    group = {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ.update(group)
    changes = {"ues": (2,), "updates": 3, "worlds": 2, "cells": 4, "round_updates": 2, "watch_rounds": 0}
    config = make_config("tiny", ["mix"], roles=("leader", "follower"), alternate=False, **changes)
    train(config, out, start=load_bundle(start))


def test_two_processes_train_one_leader(start, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = multiprocessing.get_context("fork")  # nothing is imported twice
    ranks = [
        processes.Process(target=rank_of_two, args=(rank, port, start, str(tmp_path / "run"))) for rank in range(2)
    ]
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

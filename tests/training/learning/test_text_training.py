"""A pretrained language model learns by the same code as any leader: imitation, then every objective, into a bundle."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from policy.bundle import Bundle, load_bundle
from policy.follower import new_follower_model
from policy.grammar import PAPER
from policy.leader_models.language_model import ModelConfig, state_of
from policy.text.model import TextModel, new_text_model
from policy.text.text_config import TextConfig
from training.imitation.teachers import make_teacher
from training.imitation.warm_start import WarmStartConfig, warm_start
from training.learning.config import make_config
from training.learning.trainer import train
from training.simulator.scenario import make_scenario
from xapp.cli import main

MIX = make_scenario("mix")
FEW: dict[str, Any] = {
    "ues": (3, 4), "updates": 2, "worlds": 2, "cells": 3, "batch": 6, "micro_batch": 2, "warm_up_updates": 1,
    "watch_rounds": 0, "leader_lr": 1e-2,
}  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def text_bundle(checkpoint: Path, **changes: Any) -> Bundle:
    config = TextConfig(str(checkpoint), **({"lora_rank": 2, "bf16": True, "gradient_checkpointing": True} | changes))
    follower = new_follower_model(ModelConfig(16, 1, 2, 24), 0)
    return Bundle(new_text_model(config), follower, PAPER, 1, 1)


@pytest.mark.parametrize("objective", ["counterfactual", "regression", "sequence"])
def test_two_updates_train_the_adapters_into_a_bundle(objective: str, tiny_checkpoint: Path, tmp_path: Path) -> None:
    start = text_bundle(tiny_checkpoint)
    before = {name: tensor.clone() for name, tensor in state_of(start.leader).items()}
    horizon = {"horizon": 2} if objective == "sequence" else {}
    config = make_config(
        "llama-1b", [MIX], base_model=str(tiny_checkpoint), lora_rank=2, objective=objective, **(FEW | horizon)
    )
    result = train(config, tmp_path / "run", start=start)
    assert result.complete and result.updates == 2
    learnt = load_bundle(result.bundle)
    assert isinstance(learnt.leader, TextModel)
    after = state_of(learnt.leader)
    assert after.keys() == before.keys() and any(not torch.equal(after[name], before[name]) for name in before)
    assert json.loads((result.bundle / "bundle.json").read_text())["provenance"]["trained"]["base_model"]


def test_imitation_teaches_it_words(tiny_checkpoint: Path, tmp_path: Path) -> None:
    settings = WarmStartConfig(
        steps=4,
        batch=6,
        round_steps=4,
        warm_up_steps=1,
        learning_rate=1e-2,
        model_kind="text",
        leader=TextConfig(str(tiny_checkpoint), lora_rank=4),
    )
    losses: list[float] = []
    warm_start(
        [MIX],
        make_teacher("round_robin"),
        tmp_path / "warm",
        settings,
        ues=(3,),
        progress=lambda report: losses.append(report.loss),
    )
    assert losses[-1] < losses[0]
    assert isinstance(load_bundle(tmp_path / "warm" / "bundle").leader, TextModel)


def test_a_base_model_must_be_named_and_there(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped_by(*arguments: str) -> str:
        assert main(["train", "--scenario", "mix", *arguments]) == 2
        error = capsys.readouterr().err
        assert len(error.strip().splitlines()) == 1
        return error

    out = ("--out", str(tmp_path / "run"))
    assert "base_model is ''" in stopped_by("--preset", "llama-1b", *out)
    assert "no such directory" in stopped_by("--preset", "llama-1b", "--base-model", "./nowhere", *out)
    assert "model_kind is 'pointer'" in stopped_by(
        "--base-model", str(tiny_checkpoint), "--model-kind", "pointer", *out
    )
    empty = shutil.copytree(tiny_checkpoint, tmp_path / "empty")
    (empty / "model.safetensors").unlink()
    assert "holds no *.safetensors" in stopped_by("--base-model", str(empty), *out)

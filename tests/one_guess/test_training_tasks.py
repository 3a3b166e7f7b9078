"""A column of `evaluate`, a reward and an objective: each is one place in training/."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "my_leader.py"


def test_a_column_of_evaluate_is_one_entry(changed: Callable[..., Any]) -> None:
    """It is in the table of the terminal and in the JSON, for training seeds too."""
    tree = changed(
        "training/evaluation/columns.py",
        (
            '    Column("jain", ',
            '    Column("busy_fraction", mean_of("occupied_fraction"), "busy", ".1%"),\n    Column("jain", ',
        ),
        added={"my_leader.py": EXAMPLE.read_text()},  # needs no torch
    )
    done = tree.stackmac(
        "evaluate", "--scenario", "mix", "--ues", "3", "--bundle", "my_leader:LongestQueue", "--against", "node_idle",
        "--seeds", "1", "--cells", "2", "--slots", "20", "--jobs", "1", "--json", "-",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert len(rows) == 2 and all(0 < row["busy_fraction"] < 1 for row in rows)
    assert "busy" in done.stderr and all(f"{row['busy_fraction']:.1%}" in done.stderr for row in rows)


REWARDS = """
import json
import numpy as np
from policy.follower import new_follower_model
from policy.leader_models.language_model import ModelConfig
from training.counterfactual import branch_values
from training.following.config import RecordingConfig
from training.following.recording import FollowerTeam, play_period
from training.rewards import served_weights
from training.simulator.cell import CellBatch
from training.simulator.scenario import make_scenario

world = CellBatch(make_scenario("mix"), 2, 3, seed=1)
world.play(None, 20)
weights = served_weights(world.state, np.ones(2))
values = branch_values(world, np.arange(2), world.plan([None, None]), weights)
team = FollowerTeam(new_follower_model(ModelConfig(16, 1, 2, 24), 0).eval())
batch = play_period(world, [None, None], 8, team, RecordingConfig(), np.random.default_rng(0))
print(json.dumps({
    "of what was not done": values.tolist(),
    "of cells": batch.cell_reward_TB.ravel().tolist(),
    "of flipped bits": batch.choices.gain_NM[batch.choices.known_NM].tolist(),
}))
"""


def test_a_reward_is_one_function(changed: Callable[..., Any]) -> None:
    """What a slot was worth to a cell, a DCM that was not sent, and a bit that a UE did not choose all follow it."""
    line = "    return np.asarray((weights * served).mean(axis=-1) - cost * lost / num_rbgs)\n"
    tree = changed("training/rewards.py", (line, line.replace("return ", "return -3.0 * ")))
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(REWARDS, {})  # as it is: here
    before, after = json.loads(printed.getvalue()), json.loads(tree.python(REWARDS))
    for name, values in before.items():
        assert any(values), name
        assert after[name] == pytest.approx([-3.0 * value for value in values], rel=1e-5, abs=1e-9), name


TRAINING = """
import contextlib, io, tempfile
from pathlib import Path
import torch
from policy.bundle import Bundle
from policy.follower import new_follower_model
from policy.grammar import PAPER
from policy.leader_models import recorded_answers
from policy.leader_models.language_model import ModelConfig, new_leader_model
from policy.prompt.compact import PromptLayout
from training.learning.config import make_config
from training.learning.trainer import train
from training.simulator.scenario import make_scenario

torch.set_num_threads(1)
recorded_answers.TRIED = 1  # of the states that every bundle is asked about
small = ModelConfig(16, 1, 2, 24)
for objective in ("regression", "blunt"):
    leader, follower = new_leader_model(small, PromptLayout(), 0), new_follower_model(small, 0)
    config = make_config(
        "tiny", [make_scenario("mix")], ues=(2, 3), updates=2, worlds=2, cells=3, round_updates=2, watch_rounds=0,
        objective=objective, roles=("leader", "follower"),
    )
    start = Bundle(leader, follower, PAPER, 1, 1, {"command": "", "method": "none", "scenarios": {}}, {"loss": 1.0})
    with tempfile.TemporaryDirectory() as folder:
        result = train(config, Path(folder) / objective, start=start, progress=lambda report: None)
        print(objective, result.complete, (result.bundle / "leader.safetensors").read_bytes().hex()[-2000:])

from xapp.cli import main
with contextlib.redirect_stderr(io.StringIO()) as said:
    status = main("train --scenario mix --out nowhere --objective nothing".split())
print("refused", status, "blunt" in said.getvalue())
import sys
import training.evaluation.bundle_players
print("needless", *(name for name in ("transformers", "torch._dynamo") if name in sys.modules))
"""


def test_an_objective_is_one_class_and_its_entry(changed: Callable[..., Any]) -> None:
    """Both roles learn by it, and `--objective` knows it.

    Neither they nor evaluations import what no training here uses: each of the two takes longer than much of the rest.
    """
    tree = changed(
        "training/learning/objectives.py",
        (
            "OBJECTIVES: dict[str, type[Objective]] = {\n",
            """class Blunt(Token):
    \"\"\"The token's objective in one pass.\"\"\"

    def leader_epochs(self, asked: int) -> int:
        return 1


OBJECTIVES: dict[str, type[Objective]] = {
    "blunt": Blunt,
""",
        ),
    )
    regression, blunt, refused, needless = (line.split() for line in tree.python(TRAINING).splitlines())
    assert (regression[:2], blunt[:2]) == (["regression", "True"], ["blunt", "True"])
    assert regression[2] != blunt[2]
    assert refused == ["refused", "2", "True"]
    assert needless == ["needless"]

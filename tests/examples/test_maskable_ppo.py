"""The example with an off-the-shelf learner, as small as it runs: it learns, and what it learned leads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "train_maskable_ppo.py"
UES = 3


def test_maskable_ppo_trains_in_the_leaders_environment_and_is_evaluated_beside_others(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(EXAMPLE.parent)])}
    train = [sys.executable, str(EXAMPLE), "--steps", "64", "--rollout", "32", "--ues", str(UES)]
    evaluate = [
        sys.executable, "-m", "xapp.cli", "evaluate", "--scenario", "mix", "--ues", str(UES), "--seeds", "1",
        "--cells", "2", "--slots", "10", "--jobs", "1", "--json", "found.json", "--against",
        "node_scheduler,train_maskable_ppo:Trained,train_maskable_ppo:Random",
    ]  # fmt: skip
    for command in (train, evaluate):
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=250)
        assert done.returncode == 0, done.stderr

    rows = {row["player"]: row for row in json.loads((tmp_path / "found.json").read_text())["rows"]}
    assert {"train_maskable_ppo:Trained", "train_maskable_ppo:Random"} <= set(rows)
    assert rows["train_maskable_ppo:Trained"]["utility"] != rows["train_maskable_ppo:Random"]["utility"]

    other = [str(UES + 1) if word == str(UES) else word for word in evaluate]
    done = subprocess.run(other, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=250)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert f"leads cells of {UES} UEs, as it was trained with, and not of {UES + 1}" in done.stderr

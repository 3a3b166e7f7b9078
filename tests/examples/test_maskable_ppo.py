"""The example with an off-the-shelf learner, as small as it runs: it learns, and what it learned leads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from xapp.cli import main

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "train_maskable_ppo.py"
UES = 3


def test_maskable_ppo_trains_in_the_leaders_environment_and_is_evaluated_beside_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    train = [sys.executable, str(EXAMPLE), "--steps", "64", "--rollout", "32", "--ues", str(UES)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(train, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr

    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(EXAMPLE.parent))
    evaluate = [
        "evaluate", "--scenario", "mix", "--ues", str(UES), "--seeds", "1", "--cells", "2", "--slots", "10",
        "--jobs", "1", "--json", "found.json", "--against", "train_maskable_ppo:Trained,train_maskable_ppo:Random",
    ]  # fmt: skip
    assert main(evaluate) == 0
    rows = {row["player"]: row for row in json.loads((tmp_path / "found.json").read_text())["rows"]}
    assert {"train_maskable_ppo:Trained", "train_maskable_ppo:Random"} <= set(rows)
    assert rows["train_maskable_ppo:Trained"]["utility"] != rows["train_maskable_ppo:Random"]["utility"]

    capfd.readouterr()
    (tmp_path / "found.json").unlink()
    assert main([str(UES + 1) if word == str(UES) else word for word in evaluate]) == 2
    assert f"leads cells of {UES} UEs, as it was trained with, and not of {UES + 1}" in capfd.readouterr().err

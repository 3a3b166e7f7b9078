"""The example with an off-the-shelf learner, as small as it runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_maskable_ppo_trains_in_the_leaders_environment(tmp_path: Path) -> None:
    tiny = ("--steps", "64", "--rollout", "32", "--worlds", "2", "--ues", "3")
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "train_maskable_ppo.py"), *tiny],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=250,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == ["mix, 3 UEs, random", "mix, 3 UEs, after 64 steps"]

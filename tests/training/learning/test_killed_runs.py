"""A training loses nothing by being killed at any step, nor by a full disk.

The suite tries every third step; `python tests/training/learning/killed_runs.py FOLDER` all of them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("killed_runs.py")


@pytest.mark.timeout(600)
def test_killed_at_any_step_or_on_a_full_disk_a_run_resumes_to_the_same_weights_and_losses(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path), "3"],
        env={**os.environ, "PYTHONPATH": str(SCRIPT.parents[3])},
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    found = json.loads(done.stdout)
    whole, *others = found["statuses"]
    assert whole == 0 and len(others) >= 12 and set(others[::2]) == {-9} and set(others[1::2]) == {0}
    assert found["broken"] == []
    assert (found["full"], found["after"], found["same"]) == ([-9, 7], 0, True)
    assert "is whole" in done.stderr

"""Policies of a lab run: put through the RIC's A1 mediator by `stackmac intent put`, as an operator would."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from policy.errors import UserMistake
from xapp.lab.processes import LabError

PUT_TIMEOUT_S = 60.0


def check_files(files: Sequence[Path]) -> None:
    """Refuse what `intent validate` refuses, before anything is started (UserMistake)."""
    if files and (answer := _intent("validate", *map(str, files))).returncode:
        raise UserMistake(_last_line(answer))


def put_files(files: Sequence[Path], url: str) -> None:
    """Put each file in force, one after the other; LabError when an xApp does not accept it."""
    for file in files:
        if (answer := _intent("put", str(file), "--url", url)).returncode:
            raise LabError(f"policy {file}: {_last_line(answer)}")


def _intent(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # nosec B603 # this Python, no shell
        [sys.executable, "-m", "xapp.cli", "intent", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=dict(os.environ),
        timeout=PUT_TIMEOUT_S,
        check=False,
    )


def _last_line(answer: subprocess.CompletedProcess[str]) -> str:
    lines = (answer.stderr.strip() or answer.stdout.strip() or "it said nothing").splitlines()
    return lines[0] if answer.returncode == 2 else lines[-1]

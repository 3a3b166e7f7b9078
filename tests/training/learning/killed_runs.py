"""`python killed_runs.py FOLDER [EVERY]`: a small training killed at each (EVERY-th) of its steps on disk, and resumed;
and one whose disk is full. What came of it is printed as JSON.

It is a process of its own, because one that has threads is better not forked.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import torch

from policy.bundle import Bundle
from policy.errors import RunFailed
from policy.follower import new_follower_model
from policy.grammar import PAPER
from policy.leader_models import recorded_answers
from policy.leader_models.language_model import ModelConfig, new_leader_model
from policy.prompt.compact import PromptLayout
from training.learning import selection
from training.learning.config import make_config
from training.learning.trainer import train
from training.run_folder import CHECKPOINT
from training.simulator.scenario import make_scenario

CHANGES_ON_DISK = ("os.rename", "os.remove", "os.mkdir")
FULL_BYTES = 20_000
"""Less than a checkpoint, more than a log."""
FULL = 7
"""Status of a run that says so in one line."""


def run(out: Path) -> None:
    """Begin, or go on where a checkpoint is."""
    torch.set_num_threads(1)
    selection.SLOTS = selection.PERIODS = 2
    recorded_answers.TRIED = 1  # of the states that every bundle is asked about
    small = ModelConfig(16, 1, 2, 24)
    start = Bundle(
        new_leader_model(small, PromptLayout(), 0), new_follower_model(small, 0), PAPER, 1, 1,
        {"command": "", "method": "none", "scenarios": {}}, {"loss": 1.0},
    )  # fmt: skip
    config = make_config(
        "tiny", [make_scenario("mix")], ues=(2,), updates=2, worlds=1, cells=2, round_updates=1, watch_rounds=0,
        choose_rounds=1,
    )  # fmt: skip
    train(config, out, start=start, resume=(out / CHECKPOINT).exists())


def kill_at(step: int, out: Path) -> None:
    """End this process, as `kill -9` does, before its step-th change under OUT."""
    left = [step]

    def watch(event: str, arguments: Any) -> None:
        writes = event == "open" and isinstance(arguments[1], str) and arguments[1].strip("rbt") != ""
        changes = (writes or event in CHANGES_ON_DISK) and str(arguments[0]).startswith(str(out))
        if changes and not str(arguments[0]).endswith(".lock"):
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def fill_disk() -> None:
    """No file of this process can be larger, as on a disk without room for more."""
    sys.dont_write_bytecode = True  # cut bytecode would break whoever imports it next
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (FULL_BYTES, resource.RLIM_INFINITY))


def child(out: Path, prepare: Callable[[], None] = lambda: None) -> int:
    """A run in a process of its own; its exit status, -9 = it was killed."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            prepare()
            run(out)
            status = 0
        except RunFailed as error:
            print(error, file=sys.stderr)
            status = FULL
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def outcome(out: Path) -> list[str]:
    """What a run leaves: the weights of its bundle and its log."""
    return [(out / "bundle" / "leader.safetensors").read_bytes().hex(), (out / "log.jsonl").read_text()]


def main(folder: Path, every: int) -> dict[str, Any]:
    whole = folder / "whole"
    run(folder / "warm")  # what is loaded at first use is loaded once
    statuses, broken = [child(whole)], []
    for step in count(1, every):
        out = folder / str(step)
        status = child(out, lambda step=step, out=out: kill_at(step, out))  # type: ignore[misc]
        if status == 0:
            break  # it has fewer steps
        statuses += [status, child(out)]
        if statuses[-1] or outcome(out) != outcome(whole):
            broken.append(step)
    full = folder / "full"
    at_third = [child(full, lambda: kill_at(8, full)), child(full, fill_disk)]
    return {
        "statuses": statuses, "broken": broken, "full": at_third, "after": child(full),
        "same": outcome(full) == outcome(whole),
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1)))

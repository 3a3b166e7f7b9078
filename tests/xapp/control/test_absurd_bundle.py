"""A bundle that does not answer as it did when it was written: one line, an alarm, and the fallback decides."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deciding import Deciding
from safetensors.numpy import load_file, save_file
from waiting import PATIENCE_S, wait_for
from xapp_process import Running, write

from policy.bundle_files import BUNDLES, DESCRIPTION, LEADER_FILE
from policy.leader import Decision, Leader, never_expires
from policy.registry import LeaderError, WrongAnswers
from policy.schedulers.schedulers import SCHEDULERS
from xapp.control import cold_start
from xapp.control.cold_start import ColdLeader, FailedLeader, check_in_time, make_live_leader

pytestmark = pytest.mark.timeout(900)  # whoever is first compiles: 42 s of a core when measured


@pytest.fixture
def absurd(tmp_path: Path) -> str:
    """The shipped bundle with weights that are finite, and 10^30 times what they were; its checksums fit."""
    folder = tmp_path / "absurd"
    shutil.copytree(BUNDLES / "paper", folder)
    file = folder / LEADER_FILE
    save_file({name: tensor * np.float32(1e30) for name, tensor in load_file(file).items()}, file)
    document = json.loads((folder / DESCRIPTION).read_text())
    content = file.read_bytes()
    document["files"][LEADER_FILE] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / DESCRIPTION).write_text(json.dumps(document))
    return str(folder)


def test_absurd_weights_are_one_line_an_alarm_and_the_fallback(
    absurd: str, make: Callable[..., Deciding], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    leader = make_live_leader(absurd)
    assert isinstance(leader, FailedLeader)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("the fallback decides: ") and "absurd" in line and "\n" not in line
    deciding = make(leader)
    assert all(owner >= 0 for owner in deciding.decided(1).allocation.owner_M.tolist()), "proportional fair's"
    assert "absurd" in deciding.loop.watched_leader.problem, "what the alarm is raised for, at once"
    wait_for(lambda: deciding.decided_by == {"fallback:error": 1})


def test_the_xapp_starts_with_absurd_weights_and_says_so(absurd: str, tmp_path: Path) -> None:
    running = Running(write(tmp_path, leader=absurd))
    try:
        _, final, log = running.stop(signal.SIGTERM)
    finally:
        running.close()
    assert running.process.returncode == 0 and final["event"] == "final"
    assert "absurd" in final["leader_problem"]
    assert sum("the fallback decides" in line for line in log.splitlines()) == 1
    assert "Traceback" not in log


def test_weights_that_turn_out_absurd_once_they_are_compiled_do_not_decide() -> None:
    class Engine:
        name = "mine"

        def prepare(self, *, may_compile: bool) -> None:
            """It is compiled."""

    def refuse(leader: Leader) -> None:
        raise WrongAnswers("absurd")

    cold = ColdLeader(
        Engine(),  # type: ignore[arg-type]
        lambda: SCHEDULERS["proportional_fair"],
        lambda: None,
        refuse,
    )
    assert cold.settled.wait(PATIENCE_S)
    assert cold.problem == "absurd"
    with pytest.raises(LeaderError, match="absurd"):
        cold.decide([], [], never_expires)


def test_a_bundle_must_answer_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()

    class Slow:
        name = "slow"

        def decide(self, states: Sequence[Any], *_: Any) -> list[Decision]:
            go.wait(6 * PATIENCE_S)
            raise AssertionError

    monkeypatch.setattr(cold_start, "TRIAL_S", 0.1)
    with pytest.raises(WrongAnswers, match="has not answered the states in its bundle"):
        check_in_time("bundled", Slow())
    go.set()

"""A model whose code is not compiled yet loses no period, and one that cannot be had is replaced aloud."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from waiting import PATIENCE_S

from policy.cell_state import CellState, make_cell_state
from policy.intent import Intent
from policy.leader import Decision, Leader, never_expires
from policy.registry import LeaderError, make_leader
from policy.schedulers.schedulers import SCHEDULERS
from xapp.bench.decision_path import DecisionPath
from xapp.control.cold_start import ColdLeader, FailedLeader, make_live_leader
from xapp.control.leader_thread import Worker
from xapp.leader.reasons import COMPILING, FAILURES

pytestmark = pytest.mark.timeout(900)  # whoever is first compiles: 42 s of a core when measured


def cell(k: int = 1) -> CellState:
    return make_cell_state("c", num_rbgs=6, slots_per_dcm=k, slot=0, ue_ids=(1, 2), cqi_U=[7.0, 9.0])


class SlowEngine:
    """Compiled when it is let go; round robin, to be told from a stand-in."""

    name = "slow"

    def __init__(self) -> None:
        self.go = threading.Event()

    def compile(self) -> None:
        assert self.go.wait(PATIENCE_S)

    def prepare(self, *, may_compile: bool) -> None:
        if not self.go.is_set():
            raise RuntimeError("not compiled")

    def token_probabilities(self, state: CellState, intent: Intent, tokens: Sequence[int]):
        raise NotImplementedError

    def decide(
        self, states: Sequence[CellState], intents: Sequence[Intent], expired: Callable[[], bool]
    ) -> list[Decision]:
        return SCHEDULERS["round_robin"].decide(states, intents, expired)


def nobody() -> Leader:
    raise LeaderError("torch is not installed")


def ask(leader: Leader) -> tuple[str, str]:
    """(who decided, or why nobody did) of one period in a worker."""
    worker = Worker(leader, on_late=lambda: None, on_error=errors.append)
    answer = worker.ask([cell()], [Intent()], time.monotonic() + PATIENCE_S)
    worker.close()
    return (answer.decisions[0].decided_by if answer.decisions else "", answer.reason)


errors: list[str] = []


def test_every_period_is_decided_while_code_is_compiled() -> None:
    """Through the whole loop: reports in, a control out each time, by the fallback until the engine is there."""
    engine = SlowEngine()
    leader = ColdLeader(engine, nobody, engine.compile)
    path = DecisionPath(leader, 1, 6)

    rng = np.random.default_rng(1)
    for _ in range(5):
        assert path.decide(path.reports(rng, 4))
    fallback = f"fallback:{COMPILING}"
    assert path.metrics.summary()["decided_by"] == {fallback: 5}
    engine.go.set()
    assert leader.settled.wait(PATIENCE_S)
    assert path.decide(path.reports(rng, 4))
    assert path.metrics.summary()["decided_by"] == {fallback: 5, "round_robin": 1}
    path.close()


def test_torch_decides_meanwhile_where_it_is() -> None:
    engine, made = SlowEngine(), threading.Event()

    def stand_in() -> Leader:
        made.set()
        return SCHEDULERS["proportional_fair"]

    leader = ColdLeader(engine, stand_in, engine.compile)
    assert made.wait(PATIENCE_S)
    while ask(leader) == ("", COMPILING):
        pass  # made, and about to take its place
    assert ask(leader) == ("proportional_fair", "")
    engine.go.set()
    assert leader.settled.wait(PATIENCE_S)
    assert ask(leader) == ("round_robin", "")


@pytest.mark.parametrize("stand_in", [nobody, lambda: SCHEDULERS["proportional_fair"]])
def test_code_that_cannot_be_compiled_is_an_error_or_torchs_work(stand_in: Callable[[], Leader]) -> None:
    def fail() -> None:
        raise RuntimeError("no LLVM")

    leader = ColdLeader(SlowEngine(), stand_in, fail)
    assert leader.settled.wait(PATIENCE_S)
    who, reason = ask(leader)
    if stand_in is nobody:
        assert (who, reason) == ("", "error") and reason in FAILURES  # that raises the alarm
        assert "no LLVM" in errors[-1]
    else:
        assert (who, reason) == ("proportional_fair", "")


def test_compiled_code_serves_at_once() -> None:
    make_leader("bundled")  # whoever was first compiled it
    leader = make_live_leader("bundled")
    assert not isinstance(leader, ColdLeader)
    for k in (1, 100):
        assert leader.decide([cell(k)], [Intent()], never_expires)[0].decided_by == "model"


def test_a_scheduler_starts_as_ever_and_a_mistake_is_one() -> None:
    assert make_live_leader("round_robin") is SCHEDULERS["round_robin"]
    with pytest.raises(LeaderError, match="unknown leader 'nobody'"):
        make_live_leader("nobody")


def test_a_bundle_that_nothing_here_can_run_leaves_the_fallback_in_charge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("policy.registry.is_installed", lambda package: False)
    monkeypatch.setitem(sys.modules, "policy.engine.loading", None)
    leader = make_live_leader("bundled")
    assert isinstance(leader, FailedLeader)
    assert ask(leader) == ("", "error")
    assert "cannot be imported" in errors[-1] and "torch is not installed" in errors[-1]


LOOK = """
import sys
from policy.engine.decide import decide_cells
from policy.engine.code_cache import NotCompiled
from policy.engine.loading import engine_leader
try:
    engine_leader("bundled").prepare(may_compile=False)
    print(decide_cells.kept_in)
except NotCompiled:
    print("nowhere")
"""


CAP_DAC_OVERRIDE, PR_CAPBSET_DROP = 1, 24


def bound_by_permissions() -> None:
    """Even the administrator may then not write what may not be written."""
    if os.getuid() == 0:
        assert ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0) == 0


def compile_into(environment: dict[str, str]) -> Path:
    """What `python -m policy.engine` says of where the code is."""
    done = subprocess.run(
        [sys.executable, "-m", "policy.engine"], env=environment, capture_output=True, text=True, timeout=500
    )
    said, _, folder = done.stdout.strip().rpartition(" ")
    assert said == "the compiled decision is in", done.stderr
    return Path(folder)


@pytest.mark.timeout(590)
def test_code_compiled_at_build_serves_from_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    environment = {**os.environ, "STACKMAC_CACHE": str(cache), "PYTHONDONTWRITEBYTECODE": "1"}

    def look() -> str:
        done = subprocess.run(
            [sys.executable, "-c", LOOK],
            env=environment,
            capture_output=True,
            text=True,
            timeout=200,
            preexec_fn=bound_by_permissions,
        )
        assert not done.returncode, done.stderr
        return done.stdout.strip()

    assert look() == "nowhere"
    # What `./dev setup` compiled, or else whoever comes first: compiled once more it would be the same.
    for compiled in compile_into({**os.environ}).glob("decide_*.nb[ic]"):
        shutil.copy(compiled, cache)
    assert compile_into(environment) == cache
    kept = {path: path.stat().st_mtime_ns for path in cache.iterdir()}
    cache.chmod(0o555)
    with pytest.raises(subprocess.CalledProcessError):
        subprocess.run(["touch", cache / "x"], check=True, capture_output=True, preexec_fn=bound_by_permissions)
    assert look() == str(cache)
    assert {path: path.stat().st_mtime_ns for path in cache.iterdir()} == kept
    cache.chmod(0o755)

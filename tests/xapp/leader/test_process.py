"""A plug-in in a process of its own: whatever it does there costs one period."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from deciding import Deciding
from harmful_leaders import FOLDER
from waiting import PATIENCE_S, wait_for
from xapp_process import Running, command, write

from policy.allocation import IDLE
from policy.cell_state import make_cell_state
from policy.intent import Intent
from policy.leader import never_expires
from policy.registry import LeaderError
from xapp.config.leader_limits import LeaderLimits
from xapp.control.cold_start import make_live_leader
from xapp.leader.process import ProcessLeader
from xapp.leader.process_messages import FrameError, read_answer, read_decision

SHARED = Path(__file__).parents[2] / "shared"
STATE = make_cell_state("n/c", num_rbgs=6, slots_per_dcm=1, slot=0, ue_ids=(1, 2), cqi_U=[9.0, 9.0])
COSTS_ONE_PERIOD = {
    "killed": "error",
    "exits": "error",
    "crashes": "error",
    "memory": "error",
    "python_locked": "error",
    "sleeps": "error",
    "raises": "error",
    "quits": "error",
    "endless": "malformed",
}
LIMITS = LeaderLimits(give_up_s=1.0, memory_mb=512)


@pytest.fixture
def harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Tells the leader what to do next time."""
    monkeypatch.setenv(FOLDER, str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", f"{SHARED}:{os.environ.get('PYTHONPATH', '')}")

    def tell(what: str) -> None:
        (tmp_path / "new").write_text(what)
        (tmp_path / "new").rename(tmp_path / "now")

    return tell


@pytest.fixture
def start() -> Iterator[Callable[..., ProcessLeader]]:
    with ExitStack() as stack:

        def start_one(limits: LeaderLimits = LIMITS, name: str = "harmful_leaders:Harmful") -> ProcessLeader:
            leader = make_live_leader(name, own_process=limits)
            assert isinstance(leader, ProcessLeader)
            stack.callback(leader.close)
            return leader

        yield start_one


@pytest.mark.parametrize("what", COSTS_ONE_PERIOD)
def test_what_a_leader_does_in_its_process_costs_one_period(
    make: Callable[..., Deciding], harm: Callable[[str], None], start: Callable[..., ProcessLeader], what: str
) -> None:
    """On the wire: the leader's control, the fallback's once, and the leader's again."""
    leader = start()
    deciding = make(leader, breaker={"fewest": 1000})
    assert deciding.decided(1).allocation.owner_M.tolist() == [IDLE] * 6
    wait_for(lambda: leader.stands_by)
    harm(what)
    assert all(owner >= 0 for owner in deciding.decided(2).allocation.owner_M.tolist())
    assert deciding.decided(3).allocation.owner_M.tolist() == [IDLE] * 6
    wait_for(lambda: deciding.metrics["decisions"] == 3)
    assert deciding.decided_by == {"harmful": 2, f"fallback:{COSTS_ONE_PERIOD[what]}": 1}
    assert leader.deaths == (what not in ("raises", "quits", "endless"))


def test_those_that_die_at_once_are_started_again_after_longer_and_longer_pauses(
    harm: Callable[[str], None], start: Callable[..., ProcessLeader]
) -> None:
    leader = start()
    pauses: list[float] = []

    def dies() -> bool:
        harm("exits")
        before = leader.deaths
        try:
            leader.decide([STATE], [Intent()], never_expires)
        except Exception:
            time.sleep(0.01)
        if leader.deaths > before:
            pauses.append(leader.pause_s)
        return len(pauses) == 3

    wait_for(dies)
    assert pauses[0] == 0 < pauses[1] < pauses[2]


def test_nobody_waits_for_a_process_beyond_the_deadline_and_it_hears_so(
    harm: Callable[[str], None], start: Callable[..., ProcessLeader]
) -> None:
    leader = start(LeaderLimits(give_up_s=60.0))
    harm("sleeps")
    until_s = time.monotonic() + 0.2
    started_s = time.monotonic()
    (decision,) = leader.decide([STATE], [Intent()], lambda: time.monotonic() >= until_s)
    assert decision.reason == "expired" and time.monotonic() - started_s < PATIENCE_S


def test_its_output_is_not_the_xapps(
    harm: Callable[[str], None], start: Callable[..., ProcessLeader], capfd: pytest.CaptureFixture[str]
) -> None:
    leader = start()
    harm("prints")
    (decision,) = leader.decide([STATE], [Intent()], never_expires)
    assert decision.decided_by == "harmful"
    assert "xxx" not in capfd.readouterr().out


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("harmful_leaders:Greedy", "MemoryError"),
        ("harmful_leaders:Nobody", "AttributeError"),
        ("no_such_module_:Leader", "No module named"),
        ("bundled", "only a plug-in"),
        ("proportional_fair", "only a plug-in"),
    ],
)
def test_one_that_cannot_be_had_is_one_line(
    harm: Callable[[str], None], start: Callable[..., ProcessLeader], name: str, line: str
) -> None:
    with pytest.raises(LeaderError, match=line) as caught:
        start(LIMITS, name)
    assert "\n" not in str(caught.value)


def test_processes_end_with_the_xapp(harm: Callable[[str], None], start: Callable[..., ProcessLeader]) -> None:
    leader = start()
    wait_for(lambda: leader.stands_by)
    before = children()
    leader.close()
    assert len(before) >= 2 and len(children()) == len(before) - 2


def children() -> set[str]:
    """This process's."""
    return {pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()}


def test_a_mistake_in_the_configuration_is_one_line(tmp_path: Path) -> None:
    config = write(tmp_path, leader="proportional_fair", leader_process=True)
    done = subprocess.run(command(config), capture_output=True, text=True, timeout=150)
    assert done.returncode == 2 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "controls.leader" in line and "only a plug-in" in line


def test_an_xapp_runs_by_it_and_leaves_nothing_behind(tmp_path: Path, harm: Callable[[str], None], start: Any) -> None:
    config = write(tmp_path, leader="harmful_leaders:Harmful", leader_process=True)
    running = Running(config)
    try:
        theirs = Path(f"/proc/{running.process.pid}/task")
        pids = [pid for task in theirs.iterdir() for pid in (task / "children").read_text().split()]
        assert len(pids) == 2
        running.process.kill()  # nobody ends them in order
        running.process.wait()
        wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
    finally:
        running.close()


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"number": true}', b"[" * 100_000, b'{"number": 1' + b"0" * 10_000 + b"}", b"\xff"]
)
def test_what_is_no_answer_is_not_read(content: bytes) -> None:
    with pytest.raises(FrameError):
        read_answer(content)


@pytest.mark.parametrize("document", [None, 7, {}, [], {"ue_ids": 1}, {"log_probs": {}}])
def test_what_is_no_decision_is_not_read(document: Any) -> None:
    with pytest.raises(FrameError):
        read_decision(document)

"""How many cells one xApp can do, and two: `stackmac bench capacity`. Loops and nodes are processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from xapp.bench.in_turn import Case, Measured
from xapp.bench.loop_process import LoopSetting
from xapp.bench.report_generator import GeneratorSetting

PERIOD_MS, UES = 100, 20
P99_MS = 50.0
"""A number of cells is within the capacity while the report's way to the control takes no longer ..."""
ANSWERED_SHARE, BY_LEADER_SHARE = 0.999, 0.99
"""... and so many reports are answered, and by the leader."""
CELLS = (5, 10, 15, 20, 30, 45, 60, 80)
PERIODS = 50
AFTER_PERIODS = 40
"""Of the load that passes: how long is looked whether it has passed."""


@dataclass(frozen=True, slots=True)
class Load:
    """One run, and what came of it."""

    leader: str
    processes: int
    cells: int
    """Of all processes together."""
    seen: dict[str, Any]
    """By the generator."""
    loops: list[dict[str, Any]]

    @property
    def decisions(self) -> int:
        return sum(sum(loop["decided_by"].values()) for loop in self.loops)

    @property
    def by_leader_share(self) -> float:
        by_others = sum(n for loop in self.loops for who, n in loop["decided_by"].items() if who.startswith("fallback"))
        return 1.0 - by_others / max(1, self.decisions)

    @property
    def is_within(self) -> bool:
        answered = self.seen["answered"] >= ANSWERED_SHARE * self.seen["sent"]
        in_time = self.seen["p99_ms"] is not None and self.seen["p99_ms"] < P99_MS
        return answered and in_time and self.by_leader_share >= BY_LEADER_SHARE


class JsonProcess:
    """A module that reads and writes JSON lines."""

    def __init__(self, module: str, setting: dict[str, Any]) -> None:
        command = [sys.executable, "-m", module]
        self._process = subprocess.Popen(  # nosec B603 # this Python, no shell
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.write(setting)

    def write(self, what: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()

    def hear(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("a process of the bench ended without a word; see standard error")
        return json.loads(line)

    def last_word(self) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.close()
        return self.hear()

    def close(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process.terminate()
        self._process.wait()


def run_load(
    leader: str, processes: int, cells: int, *, more_cells: int = 0, more_periods: int = 0, periods: int
) -> Load:
    """So many cells on so many loops. more_cells: that come on top, of each loop, for so many periods."""
    numbers = list(range(cells + more_cells * processes))
    shares = [numbers[place::processes] for place in range(processes)]
    setting = GeneratorSetting(shares, UES, PERIOD_MS, periods, more_cells, more_periods)
    with ExitStack() as opened:

        def start(module: str, what: dict[str, Any]) -> JsonProcess:
            process = JsonProcess(f"xapp.bench.{module}", what)
            opened.callback(process.close)
            return process

        generator = start("report_generator", setting._asdict())
        port = generator.hear()["port"]
        loops = [start("loop_process", LoopSetting(leader, share, port, PERIOD_MS)._asdict()) for share in shares]
        generator.write([loop.hear()["port"] for loop in loops])
        seen = generator.hear()
        return Load(leader, processes, cells, seen, [loop.last_word() for loop in loops])


def capacity_cases(leaders: list[str]) -> Iterator[Case]:
    """Ever more cells with the last of `leaders`, and with each other one in turn, on one loop and on two, until there
    are too many for the last; then twice what it can do on one loop, for a while.
    """
    *others, ours = leaders
    under_way, most = [1, 2], {1: 0, 2: 0}
    for cells in CELLS:
        for processes in list(under_way):
            load = run_load(ours, processes, cells, periods=PERIODS)
            theirs = [run_load(other, processes, cells, periods=PERIODS) for other in others]
            yield from (_case(load, other) for other in theirs or [load])
            if load.is_within:
                most[processes] = cells
            else:
                under_way.remove(processes)
    base = most[1] or CELLS[0]
    yield _case(run_load(ours, 1, base, more_cells=base, more_periods=PERIODS, periods=PERIODS + AFTER_PERIODS))


def _case(load: Load, other: Load | None = None) -> Case:
    """other: the same with another leader. By the generator's clock, from a report's way to its control's."""
    cells = f"{load.cells} cells" if not load.seen["more_cells"] else f"{2 * load.cells} cells for {PERIODS} periods"
    what = f"{load.leader}, {load.processes} process{'es' * (load.processes > 1)}, {cells}"
    seen = load.seen
    measured = Measured(1e3 * (seen["p50_ms"] or 0.0), 1e3 * (seen["p99_ms"] or 0.0))
    other = other or load
    params = {
        "ues": UES,
        "is_within": load.is_within,
        "by_leader_share": round(load.by_leader_share, 4),
        "theirs_p99_us": round(1e3 * (other.seen["p99_ms"] or 0.0), 1),
        "theirs_within": other.is_within,
        "generator": seen,
        "loops": load.loops,
    }
    return Case(what, params, measured, other.leader, 1e3 * (other.seen["p50_ms"] or 0.0))

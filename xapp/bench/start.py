"""From the start of a process to its first control: `stackmac bench start`.

The process is a loop's (xapp.bench.loop_process); of one cell two reports wait for it. With the compiled leader, with
the same bundle in torch, and with a scheduler, in turn; and, as a floor, a Python that loads numpy and ends.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from policy.errors import is_installed
from policy.shipped import BUNDLED
from xapp.bench.capacity import PERIOD_MS, UES, JsonProcess
from xapp.bench.in_turn import Case, Measured
from xapp.bench.loop_process import BY_TORCH, LoopSetting
from xapp.bench.many_cells import BenchCell
from xapp.rmr.routes import RouteTable
from xapp.rmr.si95 import Si95Transport
from xapp.rmr.transport import RIC_INDICATION

PATIENCE_S = 120.0
AGAIN_S = 0.02
"""A report is sent again so often, each a new one, until a control answers."""
FLOOR = "Python with numpy"


class Started(NamedTuple):
    wall_s: float
    cpu_s: float
    """Of the process, from its start to its end."""


def start_cases(starts: int) -> Iterator[Case]:
    """So many of each."""
    runs: dict[str, Callable[[], Started]] = {BUNDLED: lambda: first_control(BUNDLED)}
    if is_installed("torch"):
        runs["the same by torch"] = lambda: first_control(BY_TORCH + BUNDLED)
    runs["proportional_fair"] = lambda: first_control("proportional_fair")
    runs[FLOOR] = bare_python
    first_control(BUNDLED)  # whatever has to be compiled
    taken: dict[str, list[Started]] = {name: [] for name in runs}
    for _ in range(starts):
        for name, run in runs.items():
            taken[name].append(run())
    ours = [started.wall_s * 1e6 for started in taken[BUNDLED]]
    cpu_s = {name: round(float(np.median([started.cpu_s for started in each])), 3) for name, each in taken.items()}
    for name, each in taken.items():
        if name != BUNDLED:
            theirs_us = float(np.median([started.wall_s for started in each])) * 1e6
            measured = Measured(float(np.median(ours)), float(np.percentile(ours, 99)))
            params = {"cpu_s": cpu_s[BUNDLED], "theirs_cpu_s": cpu_s[name], "starts": starts}
            yield Case("process to first control, bundled", params, measured, name, theirs_us)


def first_control(leader: str) -> Started:
    """One process, started, answered and ended."""
    transport = Si95Transport("127.0.0.1", 0)
    cell = BenchCell(0)
    reports = iter(cell.reports(round(PATIENCE_S / AGAIN_S), UES))
    waiting = next(reports)
    cpu_s, begun_s = _children_cpu_s(), time.monotonic()
    process = JsonProcess("xapp.bench.loop_process", LoopSetting(leader, [0], transport.port, PERIOD_MS)._asdict())
    try:
        port = process.hear()["port"]
        transport.routes = RouteTable(f"newrt|start\nrte|{RIC_INDICATION}|127.0.0.1:{port}\nnewrt|end|1\n")
        while time.monotonic() < begun_s + PATIENCE_S:
            for report in waiting:
                transport.send(report)
            if transport.receive(AGAIN_S) is not None:
                break
            waiting = next(reports)
        else:
            raise RuntimeError(f"no control of {leader} after {PATIENCE_S:g} s")
        wall_s = time.monotonic() - begun_s
    finally:
        process.close()
        transport.close()
    return Started(wall_s, _children_cpu_s() - cpu_s)


def bare_python() -> Started:
    cpu_s, begun_s = _children_cpu_s(), time.monotonic()
    subprocess.run([sys.executable, "-c", "import numpy"], check=True)  # nosec B603 # this Python, no shell
    return Started(time.monotonic() - begun_s, _children_cpu_s() - cpu_s)


def _children_cpu_s() -> float:
    """Of all that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime

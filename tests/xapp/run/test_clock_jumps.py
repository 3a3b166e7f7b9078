"""The wall clock may jump by an hour, either way and at any time: only stamps depend on it."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ric_services import RicServices
from waiting import wait_for
from xapp_process import Running, write

ROOT = Path(__file__).resolve().parents[3]
WALL_CLOCK = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today", "date.today"}
STAMPS = {
    "xapp/control/control_loop.py": "a decision's time, for people",
    "xapp/lab/gnb/e2_agent.py": "the simulated node's own clock",
    "xapp/lab/ric/a1_mediator.py": "when a policy was created, for people",
    "xapp/monitoring/own_counts.py": "since when counters count, for Prometheus",
    "xapp/record/recorder.py": "when a recording began",
    "xapp/ric/alarms.py": "AlarmTime",
    "xapp/ric/leader_election.py": "an epoch begins here, and grows by what shared data and nodes say",
    "xapp/rmr/route_client.py": "ts= in a request for routes",
    "xapp/run/sdl_documents.py": "since_ms of the model in use",
}
"""The modules that read the wall clock, and what for."""


def test_nothing_but_stamps_reads_the_wall_clock() -> None:
    found = set()
    for package in ("policy", "xapp"):
        for path in (ROOT / package).rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            names = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
            names |= {f"time.{name.name}" for node in ast.walk(tree) for name in imported(node)}
            if names & WALL_CLOCK:
                found.add(str(path.relative_to(ROOT)))
    assert found == set(STAMPS)


def imported(node: ast.AST) -> list[ast.alias]:
    """What `from time import ...` brings."""
    return node.names if isinstance(node, ast.ImportFrom) and node.module == "time" else []


JUMPS = """
import itertools, sys, time

now, now_ns = time.time, time.time_ns
hours = itertools.cycle((0, 1, -1, 0, -1, 1))
time.time = lambda: now() + 3600 * next(hours)
time.time_ns = lambda: now_ns() + 3_600_000_000_000 * next(hours)

from xapp import cli
sys.exit(cli.main(sys.argv[1:]))
"""


class Jumping(Running):
    """An xApp whose wall clock jumps by an hour whenever it is looked at."""

    def __init__(self, config: Path, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", JUMPS, "run", "--config", str(config), "--json-lines"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        self.ready = self.line()


@pytest.fixture
def services(node: Any, serve: Any) -> Iterator[RicServices]:
    yield RicServices(node, serve)


def test_an_xapp_whose_clock_jumps_by_an_hour_decides_and_is_obeyed_as_ever(
    services: RicServices, own_redis: Any, tmp_path: Path
) -> None:
    routes = tmp_path / "routes.rt"
    services.write_routes(routes)
    running = Jumping(
        write(tmp_path, **services.controls()), environment={**own_redis.environ, "RMR_SEED_RT": str(routes)}
    )
    try:
        services.connect(f"127.0.0.1:{running.ready['rmr_port']}")
        wait_for(lambda: len(services.instances) == 2)
        sn = controls = 0

        def is_controlled() -> bool:
            nonlocal sn, controls
            sn += 1
            services.report(sn)
            message = services.node.rmr.receive(0.1)
            if message is not None:
                request, control = services.node.decoded(message)
                assert not control.release
                services.node.send(services.node.acknowledgement(request))
                controls += 1
            return controls >= 50

        wait_for(is_controlled)
        _, final, log = running.stop(signal.SIGTERM)
        assert running.process.returncode == 0, log
        assert final["controls_acked"] >= 49
        assert (final["instance"]["role"], final["alarms"], final["task_failures"]) == ("control", [], {})
        assert final["subscriptions_requested"] == 2
        assert "Traceback" not in log
    finally:
        running.close()

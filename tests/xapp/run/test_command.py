"""`stackmac run` as a process: mistakes are one line, and it stops in time whatever the platform does."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from xapp_process import LOOPBACK, PATIENCE_S, command, write

from xapp.rmr.osc import librmr_problem
from xapp.run.stop_budget import STOP_S


@pytest.mark.parametrize(
    ("controls", "options", "words"),
    [
        ({"report_period_ms": 5}, (), ("controls.report_period_ms is 5", "10")),
        ({"leader": "no such leader"}, (), ("no such leader", "proportional_fair")),
        ({}, ("--leader", "nowhere:Nothing"), ("nowhere:Nothing",)),
        ({"typo": 1}, (), ("controls.typo is 1",)),
        ({"ric": {"submgr_url": "submgr:8088"}}, (), ("controls.ric.submgr_url is 'submgr:8088'", "http://HOST:PORT")),
        ({}, ("--record", "/no/such/file"), ("--record /no/such/file: No such file or directory",)),
    ],
)
def test_a_configuration_that_cannot_be_used_is_one_line(
    tmp_path: Path, controls: dict[str, Any], options: tuple[str, ...], words: tuple[str, ...]
) -> None:
    done = subprocess.run(
        command(write(tmp_path, **controls), *options), capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("stackmac run: ")
    assert done.stderr.count("\n") == 1
    for word in words:
        assert word in done.stderr


def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = write(tmp_path, rmr={**LOOPBACK, "port": port})
        done = subprocess.run(command(config), capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"stackmac run: cannot listen on 127.0.0.1:{port}: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("controls", "environment", "words"),
    [
        ({}, {"RMR_RTG_SVC": "rtmgr"}, "RMR_RTG_SVC is 'rtmgr': expected a port, host:port, or -1"),
        pytest.param(
            {"transport": "librmr"},
            {},
            "controls.rmr.transport is 'librmr': librmr cannot be loaded",
            marks=pytest.mark.skipif(not librmr_problem(), reason="librmr is there"),
        ),
    ],
)
def test_messaging_that_cannot_be_is_one_line(
    tmp_path: Path, controls: dict[str, Any], environment: dict[str, str], words: str
) -> None:
    done = subprocess.run(
        command(write(tmp_path, rmr={**LOOPBACK, **controls})),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        env={**os.environ, **environment},
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("stackmac run: ") and words in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.fixture
def black_hole() -> Iterator[str]:
    """A URL whose server takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_it_stops_in_time_when_the_platform_is_a_black_hole(tmp_path: Path, start: Any, black_hole: str) -> None:
    ric = {
        "submgr_url": black_hole,
        "e2mgr_url": black_hole,
        "appmgr_url": black_hole,
        "request_timeout_s": 60.0,
        "poll_period_s": 0.1,
    }
    running = start(write(tmp_path, ric=ric))
    url = f"http://127.0.0.1:{running.ready['http_port']}/ric/v1"
    with httpx.Client(trust_env=False, timeout=PATIENCE_S) as http:
        assert http.get(f"{url}/health/alive").status_code == 200
        assert http.get(f"{url}/health/ready").status_code == 503
        assert http.get(f"{url}/config").json()[0]["metadata"]["xappName"] == "stackmac"
    assert running.line()["event"] == "status"
    took_s, final, log = running.stop(signal.SIGTERM)
    assert took_s < STOP_S
    assert running.process.returncode == 0
    assert final["event"] == "final"
    assert (final["decisions"], final["nodes"]) == (0, {})
    assert "Traceback" not in log


def test_it_is_ready_once_there_are_routes(tmp_path: Path, start: Any, black_hole: str) -> None:
    routes = tmp_path / "routes.rt"
    routes.write_text("newrt|start\nrte|12040|127.0.0.1:9\nnewrt|end\n")
    ric = {"submgr_url": black_hole, "e2mgr_url": "http://127.0.0.1:9", "appmgr_url": "", "request_timeout_s": 0.5}
    running = start(write(tmp_path, ric=ric), environment={"RMR_SEED_RT": str(routes)})
    with httpx.Client(trust_env=False, timeout=PATIENCE_S) as http:
        answer = http.get(f"http://127.0.0.1:{running.ready['http_port']}/ric/v1/health/ready")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready"})
    took_s, _, log = running.stop(signal.SIGINT)
    assert took_s < STOP_S
    assert running.process.returncode == 0
    assert "Traceback" not in log


def test_it_stops_in_order_when_nobody_reads_it_any_more(tmp_path: Path, start: Any) -> None:
    ric = {"submgr_url": "http://127.0.0.1:9", "e2mgr_url": "http://127.0.0.1:9", "appmgr_url": "http://127.0.0.1:9"}
    running = start(write(tmp_path, ric=ric))
    running.process.stdout.close()
    assert running.process.wait(timeout=PATIENCE_S) == 1
    assert "Traceback" not in running.process.stderr.read()
    running.process.stdout = None

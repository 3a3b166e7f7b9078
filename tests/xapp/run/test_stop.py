"""A stop keeps its budget whatever does not answer, and gives the cells back before it asks anybody else."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ric_services import RicServices
from waiting import wait_for
from xapp_process import PATIENCE_S, write

import xapp.run.stop_budget
from xapp.run.command import STATUS_PERIOD_S
from xapp.run.stop_budget import STOP_S

SMALLEST_PIPE_BYTES = 4096
RELEASE_PATIENCE_S = 20.0


class HangingServices(RicServices):
    """Services, appmgr and Redis among them, that from `hang` on take requests and never answer."""

    def __init__(self, node: Any, serve: Any, redis: Any) -> None:
        super().__init__(node, serve)
        self._redis = redis
        self._hangs, self.over = threading.Event(), threading.Event()
        self.asked_ns: dict[str, int] = {}
        """When each kind of request was first left without an answer."""
        self.appmgr = serve(self._appmgr)
        for service in (self.e2mgr, self.submgr, self.appmgr):
            service.respond = self._hanging(service.respond)

    def controls(self) -> dict[str, Any]:
        """Of an xApp that releases a cell on its own only after 30 s without a report."""
        controls = super().controls()
        ric = {**controls["ric"], "appmgr_url": self.appmgr.url}
        return {**controls, "report_period_ms": 300, "ric": ric}

    def hang(self) -> None:
        self._hangs.set()
        self._redis.freeze()

    def _appmgr(self, request: Any) -> tuple[int, object]:
        return (201, None) if request.method == "POST" else (200, [])

    def _hanging(self, respond: Any) -> Any:
        def answer(request: Any) -> tuple[int, object]:
            if self._hangs.is_set():
                self.asked_ns.setdefault(f"{request.method} {request.path.split('/')[3]}", time.perf_counter_ns())
                self.over.wait(PATIENCE_S)
            status: tuple[int, object] = respond(request)
            return status

        return answer


@pytest.fixture
def services(node: Any, serve: Any, own_redis: Any) -> Iterator[HangingServices]:
    made = HangingServices(node, serve, own_redis)
    yield made
    made.over.set()


def control(services: HangingServices, start: Any, folder: Path) -> Any:
    """A process that has the node's cell under control."""
    routes = folder / "routes.rt"
    services.write_routes(routes)
    environment = {**services._redis.environ, "RMR_SEED_RT": str(routes)}
    running = start(write(folder, **services.controls()), environment=environment)
    services.connect(f"127.0.0.1:{running.ready['rmr_port']}")
    wait_for(lambda: len(services.instances) == 2)
    sn = 0

    def is_controlled() -> bool:
        nonlocal sn
        sn += 1
        services.report(sn)
        return services.node.rmr.receive(0.1) is not None

    wait_for(is_controlled)
    return running


def next_release_ns(node: Any) -> int:
    """When the node got it; it answers nothing."""
    while True:
        message = node.rmr.receive(RELEASE_PATIENCE_S)
        assert message is not None, "no release came"
        if node.decoded(message)[1].release:
            return int(message.received_ns)


def test_an_xapp_among_services_that_hang_releases_first_and_ends_in_time(
    services: HangingServices, start: Any, tmp_path: Path
) -> None:
    running = control(services, start, tmp_path)
    services.hang()
    running.process.send_signal(signal.SIGTERM)
    released_ns = next_release_ns(services.node)
    out, log = running.process.communicate(
        timeout=2 * STOP_S
    )  # by this machine's clock; by its own, status 1 is too late
    assert running.process.returncode == 0, log
    assert '"event": "final"' in out.splitlines()[-1]
    assert "Traceback" not in log
    assert {"POST deregister", "DELETE subscriptions"} <= services.asked_ns.keys()
    assert released_ns < min(services.asked_ns[kind] for kind in ("POST deregister", "DELETE subscriptions"))


def test_output_that_nobody_reads_does_not_keep_cells(services: HangingServices, start: Any, tmp_path: Path) -> None:
    running = control(services, start, tmp_path)
    line = running.process.stdout.readline()
    fcntl.fcntl(running.process.stdout, fcntl.F_SETPIPE_SZ, SMALLEST_PIPE_BYTES)

    def waits_bytes() -> int:
        return int.from_bytes(fcntl.ioctl(running.process.stdout, termios.FIONREAD, bytes(4)), sys.byteorder)

    wait_for(lambda: waits_bytes() > SMALLEST_PIPE_BYTES - len(line))
    time.sleep(2 * STATUS_PERIOD_S)  # now it hangs in the next line, which nothing shows
    running.process.send_signal(signal.SIGTERM)
    assert next_release_ns(services.node)
    running.process.communicate(timeout=PATIENCE_S)
    assert running.process.returncode == 0


@pytest.mark.parametrize(
    ("hang", "status"),
    [
        ("threading.Thread(target=threading.Event().wait).start()", 1),
        ("re.match('(a*)*b', 'a' * 60)", 1),
        ("atexit.register(threading.Event().wait)", 1),
        ("libc = ctypes.CDLL(None); libc.__cxa_atexit(libc.pause, None, None)", -signal.SIGALRM),
    ],
)
def test_a_process_that_hangs_ends_all_the_same_and_says_where(hang: str, status: int) -> None:
    script = f"""
import atexit, ctypes, re, threading
from xapp.run import stop_budget
stop_budget.STOP_S = stop_budget.LAST_S = 0.2
stop_budget.end_process_in_time()
{hang}
"""
    place = Path(xapp.run.stop_budget.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(place)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == status
    assert ("most recent call first" in done.stderr) is (status == 1)

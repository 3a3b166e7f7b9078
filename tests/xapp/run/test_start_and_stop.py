"""SIGTERM at any moment, start-up included, and under load: status 0 within the budget."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from waiting import LOOK_EVERY_S
from xapp_process import PATIENCE_S, command, write

from xapp.run.stop_budget import STOP_S

NOBODY = "http://127.0.0.1:9"
ALONE = {"submgr_url": NOBODY, "e2mgr_url": NOBODY, "appmgr_url": NOBODY, "request_timeout_s": 0.5}
HEAVY = ("numpy", "numba", "pydantic", "typer", "torch", "fastapi", "training", "policy")
"""What takes its time to import, or leads to what does."""


def catches_sigterm(pid: int) -> bool:
    """Whether the process has a handler of its own, as the kernel says."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1)
    return False


def has_loaded(pid: int, library: str) -> bool:
    """Whether a compiled library of that name is in the process."""
    return library in Path(f"/proc/{pid}/maps").read_text()


def test_the_handler_is_there_before_anything_is_imported() -> None:
    script = "import sys, xapp.cli; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert {name.partition(".")[0] for name in done.stdout.split()}.isdisjoint(HEAVY)


@pytest.mark.parametrize("after_s", [0.0, 0.3, 0.8, 1.5, 2.5, 4.0])
def test_sigterm_at_any_moment_of_the_start_is_status_0(tmp_path: Path, after_s: float) -> None:
    config = write(tmp_path, ric=ALONE)
    process = subprocess.Popen(command(config), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        # What is loaded is looked at first: between two looks the process may get far.
        while True:
            has_begun_imports = has_loaded(process.pid, "pydantic_core")
            if catches_sigterm(process.pid):
                break
            assert not has_begun_imports, "the first second is over, and no handler is there"
            time.sleep(LOOK_EVERY_S)
        time.sleep(after_s)
        process.send_signal(signal.SIGTERM)
        sent_s = time.monotonic()
        _, err = process.communicate(timeout=PATIENCE_S)
        assert time.monotonic() - sent_s < STOP_S
        assert process.returncode == 0, err
        assert "Traceback" not in err
    finally:
        process.kill()


@pytest.fixture
def flood() -> Iterator[Any]:
    """`flood(http_port, rmr_port)`: whoever can connects and sends, until the test ends."""
    over = threading.Event()
    threads: list[threading.Thread] = []

    def send(port: int, data: bytes) -> None:
        while not over.is_set():
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=1.0) as connection:
                    for _ in range(200):
                        connection.sendall(data)
            except OSError:
                time.sleep(0.001)

    def begin(http_port: int, rmr_port: int) -> None:
        request = b"GET /ric/v1/status HTTP/1.1\r\nHost: a\r\n\r\n"
        for port, data in ((http_port, request), (rmr_port, os.urandom(4096))) * 2:
            threads.append(threading.Thread(target=send, args=(port, data), daemon=True))
            threads[-1].start()

    yield begin
    over.set()
    for thread in threads:
        thread.join(PATIENCE_S)


def test_sigterm_under_load_is_status_0_within_the_budget(tmp_path: Path, start: Any, flood: Any) -> None:
    running = start(write(tmp_path, ric=ALONE))
    flood(running.ready["http_port"], running.ready["rmr_port"])
    assert running.line()["event"] == "status"
    took_s, final, log = running.stop(signal.SIGTERM)
    assert took_s < STOP_S
    assert (running.process.returncode, final["event"]) == (0, "final"), log

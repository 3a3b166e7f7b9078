"""A flood of bad frames, seen from outside: the log of the process, and its symptom data."""

from __future__ import annotations

import io
import re
import signal
import zipfile
from pathlib import Path
from typing import Any

import httpx
from waiting import PATIENCE_S, wait_for
from xapp_process import write

from xapp.monitoring.log_limits import MOST_LINES
from xapp.rmr.routes import RouteTable
from xapp.rmr.si95 import Si95Transport
from xapp.rmr.transport import RIC_INDICATION, RmrMessage

FRAMES = 1500
NOBODY = "http://127.0.0.1:9"
ALONE = {"submgr_url": NOBODY, "e2mgr_url": NOBODY, "appmgr_url": "", "request_timeout_s": 0.5}


def test_of_a_flood_of_bad_frames_the_log_has_a_few_and_their_count_and_symptom_data_the_rest(
    tmp_path: Path, start: Any
) -> None:
    running = start(write(tmp_path, ric=ALONE, log_format="text", rmr={"bind_host": "127.0.0.1", "port": 0}))
    url = f"http://127.0.0.1:{running.ready['http_port']}/ric/v1"

    def undecodable() -> int:
        return int(httpx.get(f"{url}/status", trust_env=False, timeout=PATIENCE_S).json()["decode_errors"])

    routes = RouteTable(f"newrt|start\nrte|{RIC_INDICATION}|127.0.0.1:{running.ready['rmr_port']}\nnewrt|end\n")
    sender = Si95Transport("127.0.0.1", 0, routes=routes)
    try:
        while undecodable() < FRAMES:  # what a busy xApp has no room for, it drops unread
            for _ in range(FRAMES // 10):
                wait_for(lambda: sender.send(RmrMessage(RIC_INDICATION, b"\xff" * 40, meid="gnb\n\x1b[2J")))
        archive = zipfile.ZipFile(
            io.BytesIO(httpx.get(f"{url}/symptomdata", trust_env=False, timeout=PATIENCE_S).content)
        )
        kept = archive.read("log.txt").decode().splitlines()
        count = undecodable()
    finally:
        sender.close()
    assert [line for line in kept if "xapp.ric" in line], "what the xApp itself had to say"
    assert sum("undecodable message" in line for line in kept) < FRAMES // 5
    _, final, log = running.stop(signal.SIGTERM)
    shown = [line for line in log.splitlines() if "undecodable message" in line and "left out" not in line]
    left_out = [int(n) for n in re.findall(r"(\d+) more lines like this were left out: undecodable", log)]
    assert len(shown) + sum(left_out) == final["decode_errors"] >= count
    assert len(shown) <= MOST_LINES * (1 + len(left_out))
    assert all(line.isprintable() for line in log.splitlines())

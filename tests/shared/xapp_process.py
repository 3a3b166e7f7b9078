"""`stackmac run` as a process: its configuration, its lines, its end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

LOOPBACK = {"bind_host": "127.0.0.1", "host": "127.0.0.1", "port": 0}
PATIENCE_S = 150.0
"""For a process that need not be fast."""


def write(folder: Path, **controls: Any) -> Path:
    path = folder / "config-file.json"
    whole = {"leader": "proportional_fair", "rmr": LOOPBACK, "http": LOOPBACK, **controls}
    path.write_text(json.dumps({"name": "stackmac", "controls": whole}))
    return path


def command(config: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "xapp.cli", "run", "--config", str(config), *options]


class Running:
    """The process, once it has said that it is ready."""

    def __init__(self, config: Path, *, environment: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            command(config, "--json-lines"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        self.ready = self.line()
        assert self.ready["event"] == "ready"

    def line(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        document: dict[str, Any] = json.loads(line)
        return document

    def stop(self, number: int) -> tuple[float, dict[str, Any], str]:
        """How long it took, the last line, and what was logged."""
        started_s = time.monotonic()
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=PATIENCE_S)
        return time.monotonic() - started_s, json.loads(out.splitlines()[-1]), err

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

"""The lab's child processes: started as `stackmac ...`, read through their JSON lines, stopped in order."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from policy.errors import RunFailed


def stop_on_sigterm() -> None:
    """Let SIGTERM end a command that has children in order, as Ctrl-C does. Main thread only."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


class LabError(RunFailed):
    """The lab cannot go on: one line that says which process failed and how."""


class Child:
    """One `stackmac` process under `--json-lines`; a thread keeps its newest status."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        env: Mapping[str, str] | None = None,
        program: Sequence[str] = ("xapp.cli",),
    ) -> None:
        """program: the module that is run, and words in front of the command."""
        self.name = name
        self.status: dict[str, Any] = {}
        self.final: dict[str, Any] | None = None
        self._ready: dict[str, Any] = {}
        self._condition = threading.Condition()
        self._errors: deque[str] = deque(maxlen=20)
        self._ended = False
        self._process = subprocess.Popen(  # nosec B603 # this Python, no shell
            [sys.executable, "-m", *program, *arguments, "--json-lines"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(env or {})},
            start_new_session=True,  # a Ctrl-C in the terminal reaches the lab alone, which stops its children in order
        )
        self._threads = [
            threading.Thread(target=target, name=f"{name}-{target.__name__}", daemon=True)
            for target in (self._read_lines, self._read_errors)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def wait_ready(self, timeout_s: float) -> dict[str, Any]:
        """The `ready` line; LabError when it does not come."""
        with self._condition:
            self._condition.wait_for(lambda: self._ready or self._ended, timeout_s)
            if self._ready:
                return self._ready
            state = "stopped" if self._ended else f"is not ready after {timeout_s:g} s"
        raise LabError(f"{self.name} {state}: {self.last_error()}")

    def wait_status(self, predicate: Callable[[dict[str, Any]], bool], timeout_s: float) -> bool:
        """Wait until predicate(status) holds; False on time-out or when the process ended."""
        with self._condition:
            return bool(
                self._condition.wait_for(lambda: self._ended or predicate(self.status), timeout_s)
            ) and predicate(self.status)

    def stop(self, timeout_s: float = 12.0) -> dict[str, Any]:
        """SIGTERM, wait, and the final line (the newest status if none came). Kills what does not end."""
        if self.running:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
        for thread in self._threads:
            thread.join(timeout=2.0)
        return self.final if self.final is not None else self.status

    def kill(self) -> None:
        """SIGKILL: what a crash looks like to the others."""
        self._process.kill()
        self._process.wait()
        for thread in self._threads:
            thread.join(timeout=2.0)

    @property
    def exit_code(self) -> int | None:
        return self._process.poll()

    def last_error(self) -> str:
        """The newest line on stderr, for a message; of a process that ended the very last."""
        if self._ended or not self.running:
            self._threads[1].join(timeout=2.0)
        return self._errors[-1] if self._errors else "it said nothing"

    def _read_lines(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._take(line)
        with self._condition:
            self._ended = True
            self._condition.notify_all()

    def _take(self, line: str) -> None:
        try:
            event = json.loads(line)
        except json.JSONDecodeError:
            return  # not ours: a library that prints
        with self._condition:
            kind = event.pop("event", "")
            if kind == "ready":
                self._ready = event or {"ready": True}
            elif kind == "status":
                self.status = event
            elif kind == "final":
                self.final = self.status = event
            self._condition.notify_all()

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as lines:
            for line in lines:
                if line.strip():
                    self._errors.append(line.rstrip())

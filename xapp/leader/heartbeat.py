"""A thread that watches another one: who has not beaten for too long is reported, and what it holds is let go."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

MIN_LIMIT_S = 2.0
"""A busy machine, or Python's own locks, may hold a thread up for a while."""
AGAIN_S = 0.1
"""While nothing beats, it is let go again and again, as what was let go may have to wait (for an answer, a route)."""


class Heartbeat:
    """The pacer's. `beat` costs nothing; all else may be called from any thread."""

    def __init__(self, limit_s: float, let_go: Callable[[], object]) -> None:
        """limit_s: the longest time between two beats. let_go: called in the watching thread while there are none."""
        self.limit_s = limit_s
        self._let_go = let_go
        self._last_s = time.monotonic()
        self._closed = threading.Event()
        self._missing = False
        self.missed = 0
        """Times that beats were missing."""
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        self.beat()
        self._thread.start()

    def beat(self) -> None:
        self._last_s = time.monotonic()

    @property
    def problem(self) -> str:
        """Why the watched thread does not work; empty = it does."""
        if not self._missing:
            return ""
        return f"the pacer stands still for {time.monotonic() - self._last_s:.0f} s"

    def close(self) -> None:
        """Watch no more; does not wait."""
        self._closed.set()

    def _run(self) -> None:
        wait_s = self.limit_s
        while not self._closed.wait(wait_s):
            left_s = self._last_s + self.limit_s - time.monotonic()
            if left_s > 0:
                if self._missing:
                    log.warning("the pacer goes on")
                self._missing, wait_s = False, left_s
                continue
            if not self._missing:
                self._missing, self.missed = True, self.missed + 1
                log.error("the pacer has not beaten for %.1f s: another thread releases its cells", self.limit_s)
            wait_s = AGAIN_S
            try:
                self._let_go()
            except Exception:  # whatever holds the watched thread may hold this up, too; it is tried again
                log.exception("the pacer's cells could not be released")

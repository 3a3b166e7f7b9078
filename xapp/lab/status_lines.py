"""What the lab's processes say on standard output: JSON lines for programs, or short lines for people."""

from __future__ import annotations

import json
import logging
import math
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

STATUS_PERIOD_S = 0.5
HUMAN_STATUS_PERIOD_S = 5.0


def to_json(value: Any) -> Any:
    """JSON has no NaN or infinity: they become null, at any depth."""
    if isinstance(value, dict):
        return {key: to_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


class Lines:
    """Prints events until the reader goes away or a signal asks to stop."""

    def __init__(self, json_lines: bool, human: Callable[[str, dict[str, Any]], str]) -> None:
        """human(event, fields) = the line for people, "" = none."""
        self.stop = threading.Event()
        """Set by SIGTERM, SIGINT, or when nobody reads any more."""
        self._json_lines, self._human = json_lines, human
        self._next_status_s = 0.0

    def own_process(self) -> None:
        """Let a command stop on SIGTERM and SIGINT and log to standard error. Main thread only."""
        level = logging.WARNING if self._json_lines else logging.INFO
        logging.basicConfig(stream=sys.stderr, level=level, format="%(asctime)s %(name)s %(levelname)s %(message)s")
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stop.set())

    def emit(self, event: str, fields: dict[str, Any]) -> None:
        """One line now."""
        line = json.dumps({"event": event, **to_json(fields)}) if self._json_lines else self._human(event, fields)
        if not line:
            return
        try:
            print(line, flush=True)
        except (BrokenPipeError, ValueError):
            self.stop.set()

    def status_due(self) -> bool:
        """Whether it is time for a status line; then the clock starts anew."""
        now_s = time.monotonic()
        if now_s < self._next_status_s:
            return False
        self._next_status_s = now_s + (STATUS_PERIOD_S if self._json_lines else HUMAN_STATUS_PERIOD_S)
        return True

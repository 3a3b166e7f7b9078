"""Logging: the platform's structured lines (mdclog's JSON) for machines, plain ones for people; the newest are kept.

A line is {"ts": ms, "crit": level, "id": component, "mdc": {...}, "msg": text}, as OSC's mdclog libraries write them.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections import deque
from collections.abc import Mapping
from typing import Any, TextIO

COMPONENT = "stackmac"
KEPT_LINES = 2000
"""Newest lines kept for symptom data."""
TEXT_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
ENVIRONMENT = ("SYSTEM_NAME", "HOST_NAME", "SERVICE_NAME", "CONTAINER_NAME", "POD_NAME")
"""What mdclog takes into every line's mdc, where it is set."""
CRITICALITY = {"CRITICAL": "ERROR"}
"""mdclog has four levels."""


class MdclogFormatter(logging.Formatter):
    """One JSON object a line."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        super().__init__()
        self._mdc: dict[str, Any] = {"PID": os.getpid()}
        self._mdc |= {name: environ[name] for name in ENVIRONMENT if environ.get(name)}

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        if record.exc_info:
            message += "\n" + self.formatException(record.exc_info)
        line = {
            "ts": round(record.created * 1000),
            "crit": CRITICALITY.get(record.levelname, record.levelname),
            "id": COMPONENT,
            "mdc": {**self._mdc, "module": record.name, "thread": record.threadName},
            "msg": message,
        }
        return json.dumps(line)


class RecentLines(logging.Handler):
    """Keeps the newest lines, formatted as on the terminal."""

    def __init__(self, kept: int = KEPT_LINES) -> None:
        super().__init__()
        self._lines: deque[str] = deque(maxlen=kept)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.append(self.format(record))
        except Exception:  # what cannot be formatted must not stop who logs it
            self.handleError(record)

    def lines(self) -> list[str]:
        """Oldest first."""
        return list(self._lines)


def set_up(level: str, style: str = "auto", *, stream: TextIO | None = None) -> RecentLines:
    """Log to `stream` (standard error); returns what keeps the newest lines.

    style: `json`, `text`, or `auto`: text on a terminal, else json.
    """
    out = stream or sys.stderr
    as_json = style == "json" or (style == "auto" and not out.isatty())
    formatter = MdclogFormatter() if as_json else logging.Formatter(TEXT_FORMAT)
    recent = RecentLines()
    handlers: list[logging.Handler] = [logging.StreamHandler(out), recent]
    for handler in handlers:
        handler.setFormatter(formatter)
    logging.basicConfig(level=level.upper(), handlers=handlers, force=True)
    # Its line per request is for who debugs HTTP, and would fill the log: subscriptions, nodes, registration.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    return recent

"""Logging: the platform's structured lines (mdclog's JSON) for machines, plain ones for people; the newest are kept.

A line is {"ts": ms, "crit": level, "id": component, "mdc": {...}, "msg": text}, as OSC's mdclog libraries write them.
Whoever may send frames may have lines written: of each kind only so many are (xapp.monitoring.log_limits), none is
long, and none looks like two.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import sys
from collections import deque
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, TextIO

from xapp.monitoring.log_limits import Kind, LogLimit, kind_of

COMPONENT = "stackmac"
KEPT_LINES = 2000
"""Newest lines kept for symptom data."""
TEXT_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
MAX_CHARS = 4000
"""Of a message, and of its trace-back."""
INDENT = "    "
"""Before what follows a message: no line of a trace-back can be taken for a line of the log."""
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
        message = shortened(record.getMessage())
        if record.exc_info:
            message += "\n" + shortened(self.formatException(record.exc_info))
        line = {
            "ts": round(record.created * 1000),
            "crit": CRITICALITY.get(record.levelname, record.levelname),
            "id": COMPONENT,
            "mdc": {**self._mdc, "module": record.name, "thread": record.threadName},
            "msg": message,
        }
        return json.dumps(line)


class TextFormatter(logging.Formatter):
    """One line, whatever is in the message: what cannot be printed is escaped."""

    def __init__(self) -> None:
        super().__init__(TEXT_FORMAT)

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = printable(shortened(record.message))
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:
        trace_back = shortened(super().formatException(ei))
        return "\n".join(INDENT + printable(line) for line in trace_back.split("\n"))

    def format(self, record: logging.LogRecord) -> str:
        record.exc_text = None  # another handler's, in its own form
        text = super().format(record)
        record.exc_text = None
        return text


def printable(text: str) -> str:
    """`text` with control characters, line breaks and halves of surrogates escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shortened(text: str) -> str:
    return text if len(text) <= MAX_CHARS else f"{text[:MAX_CHARS]}... ({len(text) - MAX_CHARS} more characters)"


class RecentLines(logging.Handler):
    """Keeps the newest lines, formatted as on the terminal. What is too much goes out of the kind that has most lines:
    however often something happens, it does not push out the rest.
    """

    def __init__(self, limit: LogLimit | None = None, kept: int = KEPT_LINES) -> None:
        super().__init__()
        self._limit = limit or LogLimit()
        self._kept = kept
        self._count = 0
        self._by_kind: dict[Kind, deque[tuple[int, str]]] = {}
        """Each with its number, from the oldest on."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:  # what cannot be formatted must not stop who logs it
            self.handleError(record)
            return
        self._count += 1
        self._by_kind.setdefault(kind_of(record), deque()).append((self._count, line))
        if sum(map(len, self._by_kind.values())) > self._kept:
            kind, most = max(self._by_kind.items(), key=lambda item: len(item[1]))
            most.popleft()
            if not most:
                del self._by_kind[kind]

    def lines(self) -> list[str]:
        """Oldest first."""
        self._limit.write_counts()
        with self.lock or nullcontext():
            numbered = [entry for lines in self._by_kind.values() for entry in lines]
        return [line for _, line in sorted(numbered)]


def set_up(level: str, style: str = "auto", *, stream: TextIO | None = None) -> RecentLines:
    """Log to `stream` (standard error); returns what keeps the newest lines.

    style: `json`, `text`, or `auto`: text on a terminal, else json.
    """
    out = stream or sys.stderr
    as_json = style == "json" or (style == "auto" and not out.isatty())
    formatter = MdclogFormatter() if as_json else TextFormatter()
    limit = LogLimit()
    recent = RecentLines(limit)
    handlers: list[logging.Handler] = [logging.StreamHandler(out), recent]
    for handler in handlers:
        handler.setFormatter(formatter)
        handler.addFilter(limit)
    limit.handlers = tuple(handlers)
    atexit.register(limit.write_counts)
    logging.basicConfig(level=level.upper(), handlers=handlers, force=True)
    return recent

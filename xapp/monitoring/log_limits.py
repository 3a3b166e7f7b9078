"""How many lines of one kind a log takes: enough to see what happens, whoever causes them, and a count of the rest.

A kind is a logger, a level and a message before its values are put in. A filter of every handler decides about a line
once, before anybody formats it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

MOST_LINES = 20
"""Of one kind in a window."""
WINDOW_S = 10.0
MAX_KINDS = 50
"""Of one logger: whoever puts values into messages makes a kind of each, and then all the others are one."""


class Kind(NamedTuple):
    logger: str
    level: int
    message: str


def kind_of(record: logging.LogRecord) -> Kind:
    """Set by LogLimit, where there is one."""
    kind: Kind | None = getattr(record, "kind", None)
    return kind or Kind(record.name, record.levelno, str(record.msg))


@dataclass(slots=True)
class _Window:
    """Of one kind."""

    begins_s: float
    lines: int = 0
    left_out: int = 0


class LogLimit(logging.Filter):
    """Thread safe. Every handler of `handlers` has it as a filter."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.handlers: tuple[logging.Handler, ...] = ()
        """Who is told what was left out."""
        self._clock = clock
        self._lock = threading.Lock()
        self._windows: dict[Kind, _Window] = {}
        self._kinds: Counter[str] = Counter()
        """By logger."""
        self._looked_s = clock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written. Decided by the first handler that asks; the others do the same."""
        decided: bool | None = getattr(record, "is_within_limit", None)
        if decided is None:
            now_s = self._clock()
            decided = record.is_within_limit = self._take(record, now_s)
            if now_s - self._looked_s >= WINDOW_S:
                self._looked_s = now_s
                self._write_counts(self._over(now_s))
        return decided

    def write_counts(self) -> None:
        """Write now what has been left out so far: nobody may log anything any more."""
        self._write_counts(self._over(None))

    def _take(self, record: logging.LogRecord, now_s: float) -> bool:
        kind = Kind(record.name, record.levelno, str(record.msg))
        with self._lock:
            if kind not in self._windows and self._kinds[record.name] >= MAX_KINDS:
                kind = Kind(record.name, record.levelno, "")
            window = self._windows.get(kind)
            if window is None:
                self._kinds[record.name] += 1
                window = self._windows[kind] = _Window(now_s)
            record.kind = kind
            if now_s - window.begins_s >= WINDOW_S and not window.left_out:
                window.begins_s, window.lines = now_s, 0
            window.lines += 1
            if window.lines <= MOST_LINES:
                return True
            window.left_out += 1
            return False

    def _over(self, now_s: float | None) -> list[tuple[Kind, int]]:
        """Kinds whose window has ended (None: all), and how many lines were left out in it."""
        found = []
        with self._lock:
            for kind, window in list(self._windows.items()):
                if now_s is not None and now_s - window.begins_s < WINDOW_S:
                    continue
                if window.left_out:
                    found.append((kind, window.left_out))
                    window.left_out = 0
                if now_s is not None:
                    del self._windows[kind]
                    self._kinds[kind.logger] -= 1
        return found

    def _write_counts(self, found: list[tuple[Kind, int]]) -> None:
        for kind, left_out in found:
            text, values = "%d more lines like this were left out: %s", (left_out, kind.message or "(various)")
            record = logging.LogRecord(kind.logger, kind.level, "", 0, text, values, None)
            record.kind, record.is_within_limit = kind, True
            for handler in self.handlers:
                handler.handle(record)

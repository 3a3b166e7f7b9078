"""Newest-wins mailbox between the receive thread and the pacer: one place per cell, so it cannot grow."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Generic, TypeVar

T = TypeVar("T")

REPORT_PATIENCE = 0.1
"""Share of a period that a cell's decision waits for the second of its two reports, should it not come at once."""


@dataclass(slots=True)
class _Pending(Generic[T]):
    value: T
    complete: bool
    since_s: float
    """When the cell began to wait ..."""
    news_s: float
    """... and when the newest report of it was received, which may be before anybody had the time to read it."""


class Mailbox(Generic[T]):
    """Cells that wait for a decision. Cells that arrive within `coalesce_s` of each other are taken together."""

    def __init__(
        self, coalesce_s: float, patience_s: float = 0.0, *, on_superseded: Callable[[], None] = lambda: None
    ) -> None:
        """patience_s: how long a cell waits for the rest of its period's reports, at least `coalesce_s`.

        on_superseded: called for each value that a newer one replaced before anybody took it.
        """
        self._coalesce_s = coalesce_s
        self._patience_s = max(patience_s, coalesce_s)
        self._on_superseded = on_superseded
        self._condition = threading.Condition()
        self._pending: dict[str, _Pending[T]] = {}
        self._expected: frozenset[str] = frozenset()
        self._closed = False

    def expect(self, cells: frozenset[str]) -> None:
        """The cells that report: once all of them wait, and are complete, nobody waits for the coalescing time."""
        with self._condition:
            self._expected = cells
            self._condition.notify()

    def offer(self, cell: str, value: T, *, complete: bool, news: bool = True, age_s: float = 0.0) -> None:
        """Put `value` in the cell's place. complete=False: more of the same period may still come.

        news=False says it only completes what may already wait (it replaces, but never makes a cell wait). age_s: how
        long ago it was received.
        """
        with self._condition:
            waiting = self._pending.get(cell)
            if waiting is None:
                if not news:
                    return
                now_s = time.monotonic()
                self._pending[cell] = _Pending(value, complete, now_s, now_s - age_s)
            else:
                waiting.value, waiting.complete = value, complete
                if news:
                    waiting.news_s = time.monotonic() - age_s
            self._condition.notify()
        if waiting is not None and news:
            self._on_superseded()

    def take(self, timeout_s: float, most: int | None = None, fresh_s: float = inf) -> list[tuple[str, T]]:
        """Every cell that is due, oldest first; [] after `timeout_s` without any, or when closed.

        most: so many at most, those that wait longest. Others wait on, for a newer report to begin with those whose
        newest is older than `fresh_s`.
        """
        until_s = time.monotonic() + timeout_s
        with self._condition:
            while not self._closed:
                now_s = time.monotonic()
                due_s = min(map(self._due_s, self._pending.values()), default=until_s)
                if self._pending and (now_s >= due_s or self._all_complete()):
                    return self._taken(now_s, most, fresh_s)
                if now_s >= until_s:
                    break
                self._condition.wait(min(due_s, until_s) - now_s)
            return []

    def __len__(self) -> int:
        """Cells that wait."""
        return len(self._pending)

    def close(self) -> None:
        """Wake and end `take`."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def _due_s(self, pending: _Pending[T]) -> float:
        return pending.since_s + (self._coalesce_s if pending.complete else self._patience_s)

    def _taken(self, now_s: float, most: int | None, fresh_s: float) -> list[tuple[str, T]]:
        """Cells whose period is complete or that have waited long enough for it."""
        ready = [cell for cell, p in self._pending.items() if p.complete or now_s >= self._due_s(p)]
        if most is not None and len(ready) > most:
            fresh = [cell for cell in ready if now_s - self._pending[cell].news_s <= fresh_s]
            ready = (fresh or ready)[:most]
        return [(cell, self._pending.pop(cell).value) for cell in ready]

    def _all_complete(self) -> bool:
        return self._expected <= self._pending.keys() and all(p.complete for p in self._pending.values())

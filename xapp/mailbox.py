"""Newest-wins mailbox between the receive thread and the pacer: one place per cell, so it cannot grow."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class _Pending(Generic[T]):
    value: T
    complete: bool
    since_s: float


class Mailbox(Generic[T]):
    """Cells that wait for a decision. Cells that arrive within `coalesce_s` of each other are taken together."""

    def __init__(self, coalesce_s: float, *, on_superseded: Callable[[], None] = lambda: None) -> None:
        """on_superseded: called for each value that a newer one replaced before anybody took it."""
        self._coalesce_s = coalesce_s
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

    def offer(self, cell: str, value: T, *, complete: bool, news: bool = True) -> None:
        """Put `value` in the cell's place. complete=False: more of the same period may still come.

        news=False says it only completes what may already wait (it replaces, but never makes a cell wait).
        """
        with self._condition:
            waiting = self._pending.get(cell)
            if waiting is None:
                if not news:
                    return
                self._pending[cell] = _Pending(value, complete, time.monotonic())
            else:
                waiting.value, waiting.complete = value, complete
            self._condition.notify()
        if waiting is not None and news:
            self._on_superseded()

    def take(self, timeout_s: float) -> list[tuple[str, T]]:
        """Everything that waits, oldest first; [] after `timeout_s` without anything, or when closed."""
        until_s = time.monotonic() + timeout_s
        with self._condition:
            while not self._closed:
                now_s = time.monotonic()
                if self._pending:
                    due_s = min(p.since_s for p in self._pending.values()) + self._coalesce_s
                    if now_s >= due_s or self._all_complete():
                        taken = [(cell, pending.value) for cell, pending in self._pending.items()]
                        self._pending.clear()
                        return taken
                    self._condition.wait(due_s - now_s)
                elif now_s >= until_s:
                    return []
                else:
                    self._condition.wait(until_s - now_s)
            return []

    def close(self) -> None:
        """Wake and end `take`."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def _all_complete(self) -> bool:
        return self._expected <= self._pending.keys() and all(p.complete for p in self._pending.values())

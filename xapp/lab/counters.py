"""Counted events by name, safe to share between threads."""

from __future__ import annotations

import threading
from collections import Counter


class Counters:
    """Every drop, refusal and error has a name here; a name never counted reads 0."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def add(self, name: str, count: int = 1) -> None:
        with self._lock:
            self._counts[name] += count

    def __getitem__(self, name: str) -> int:
        with self._lock:
            return self._counts[name]

    def snapshot(self) -> dict[str, int]:
        """All counts so far, by name in alphabetical order."""
        with self._lock:
            return dict(sorted(self._counts.items()))

    def starting_with(self, prefix: str) -> dict[str, int]:
        """Counts whose name begins with `prefix`, keyed by what follows it."""
        return {name[len(prefix) :]: count for name, count in self.snapshot().items() if name.startswith(prefix)}

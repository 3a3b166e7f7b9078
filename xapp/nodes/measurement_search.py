"""Which measurements a node refuses: nodes refuse a list with one name too many as a whole, and do not say which. Pure.

The list is halved until every part is taken or is one name. What is taken stays in every further attempt.
"""

from __future__ import annotations

from collections.abc import Sequence


class MeasurementSearch:
    """Begins with a list that was refused; `attempt` is what to try next, until it is `done`."""

    def __init__(self, refused: Sequence[str]) -> None:
        self._order = tuple(refused)
        self._taken: frozenset[str] = frozenset()
        self._parts: list[tuple[str, ...]] = _halves(self._order)
        self._culprits: list[str] = []
        self._last_was_taken = False

    @property
    def done(self) -> bool:
        return not self._parts

    @property
    def attempt(self) -> tuple[str, ...]:
        """What to subscribe to now; once done the whole of what was taken, or the first list if nothing was."""
        wanted = self._taken | set(self._parts[0] if self._parts else ())
        return tuple(name for name in self._order if name in wanted) or self._order

    @property
    def culprits(self) -> tuple[str, ...]:
        """What was refused alone; empty if everything was: then it is not the measurements that the node objects to."""
        return tuple(self._culprits) if self._taken else ()

    @property
    def settled(self) -> bool:
        """Done, and the newest attempt is in force as it stands."""
        return self.done and self._last_was_taken

    def answer(self, taken: bool) -> None:
        """The node's answer to the attempt."""
        part, *self._parts = self._parts
        self._last_was_taken = taken
        if taken:
            self._taken |= set(part)
        elif len(part) == 1:
            self._culprits += part
        else:
            self._parts = [*_halves(part), *self._parts]


def _halves(names: tuple[str, ...]) -> list[tuple[str, ...]]:
    middle = (len(names) + 1) // 2
    return [part for part in (names[:middle], names[middle:]) if part]

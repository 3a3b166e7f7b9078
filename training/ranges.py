"""Checks of a frozen config's fields, with one wording: the field, its value, what was expected."""

from __future__ import annotations

import math
from collections.abc import Iterable

from policy.errors import UserMistake


class Ranges:
    """The checks of one config. Raises UserMistake, one line, for the first field that is out of range."""

    def __init__(self, config: object) -> None:
        self._config = config

    def check(self, name: str, fine: bool, expected: str) -> None:
        if not fine:
            raise UserMistake(f"{name} is {getattr(self._config, name)!r}, expected {expected}")

    def at_least_one(self, names: Iterable[str]) -> None:
        for name in names:
            self.check(name, getattr(self._config, name) >= 1, "1 or more")

    def not_negative(self, names: Iterable[str]) -> None:
        for name in names:
            self.check(name, 0 <= getattr(self._config, name) < math.inf, "0 or more")

    def positive(self, names: Iterable[str]) -> None:
        for name in names:
            self.check(name, 0 < getattr(self._config, name) < math.inf, "above 0")

    def share(self, names: Iterable[str]) -> None:
        for name in names:
            self.check(name, 0 <= getattr(self._config, name) <= 1, "0 to 1")

    def inside(self, low: float, name: str, high: float) -> None:
        self.check(name, low < getattr(self._config, name) < high, f"above {low:g} and below {high:g}")

    def one_of(self, name: str, known: Iterable[str]) -> None:
        known = tuple(known)
        self.check(name, getattr(self._config, name) in known, f"one of {', '.join(known)}")

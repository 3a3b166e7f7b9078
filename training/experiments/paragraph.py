"""Sentences made of numbers: what is better, what is worse, what nobody can tell, each with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from training.intervals import Interval


class Claim(NamedTuple):
    """One comparison: how far `subject` is above what it is compared with."""

    subject: str
    difference: Interval
    digits: int = 3

    @property
    def side(self) -> int:
        """1 = better, -1 = worse, 0 = the interval holds 0, or there is none."""
        return (self.difference.low > 0) - (self.difference.high < 0)

    def __str__(self) -> str:
        return f"{self.subject} {shown(self.difference, digits=self.digits, signed=True)}"


def shown(interval: Interval, unit: str = "", digits: int = 3, *, signed: bool = False) -> str:
    """`+0.031 [+0.012, +0.050]`; without an interval the number alone."""
    sign = "+" if signed else ""
    mean, low, high = (f"{value:{sign}.{digits}f}" for value in interval)
    if math.isnan(interval.mean):
        return "not measured"
    return f"{mean}{unit}" if math.isnan(interval.low) else f"{mean}{unit} [{low}, {high}]"


def verdict(claims: Sequence[Claim], against: str) -> str:
    """One sentence each for what is better, worse and undecided than `against`."""
    parts = [
        ("Better than", [c for c in claims if c.side > 0]),
        ("Worse than", [c for c in claims if c.side < 0]),
        ("Not distinguishable from", [c for c in claims if c.side == 0]),
    ]
    sentences = [f"{word} {against}: {'; '.join(map(str, chosen))}." for word, chosen in parts if chosen]
    if not parts[1][1] and claims:
        sentences.append(f"No interval lies below {against}.")
    return " ".join(sentences)


def listed(words: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1]))) if words else "none"

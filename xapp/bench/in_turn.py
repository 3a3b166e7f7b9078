"""Several ways to do the same, measured in turn: whatever the machine does meanwhile meets all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np


class Measured(NamedTuple):
    median_us: float
    p99_us: float


@dataclass(frozen=True, slots=True)
class Case:
    """One comparison."""

    what: str
    params: dict[str, Any]
    ours: Measured
    alternative: str
    theirs_us: float


def in_turn(
    runs: Mapping[str, Callable[[], object]],
    seconds: float,
    at_least: int,
    at_most: int,
    times_a_round: Mapping[str, int] | None = None,
    clock: Callable[[], float] = time.thread_time,
) -> dict[str, Measured]:
    """Each of `runs` once, and again, until all together took so long: what the machine does meanwhile meets all.

    times_a_round: of those that run more often than once. clock: seconds; processor time of this thread, unless what is
    measured happens elsewhere, too.
    """
    for run in runs.values():
        run()  # first-time work: caches, imports
    taken: dict[str, list[float]] = {name: [] for name in runs}
    give_up_at = time.perf_counter() + seconds * len(runs)
    rounds = 0
    while rounds < at_least or (rounds < at_most and time.perf_counter() < give_up_at):
        rounds += 1
        for name, run in runs.items():
            for _ in range((times_a_round or {}).get(name, 1)):
                start = clock()
                run()
                taken[name].append((clock() - start) * 1e6)
    return {name: Measured(float(np.median(times)), float(np.percentile(times, 99))) for name, times in taken.items()}

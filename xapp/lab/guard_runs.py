"""The parts of one `stackmac guard-lab`: who plays them, how far they are, and what of them is kept for --resume.

A part is a batch of worlds with one seed, with guards or without, or some worlds of it. FILE.played has a line of what
all parts depend on, then one a part; it goes when the result is whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, NamedTuple

from training.evaluation.played_file import PlayedFile
from training.evaluation.process_pool import SPAWNED, begin_worker, spawned_pool

LOOK_S = 1.0
"""Between two looks at how far the processes are."""

_played_by_part: Any = None
"""In a worker: where it writes how far its part is."""


class Part(NamedTuple):
    """What one process plays in one piece."""

    seed: int
    first_world: int
    every: int
    """Worlds first_world, first_world + every, ... of the batch."""
    guarded: bool

    def rows(self, worlds: int) -> list[int]:
        return list(range(worlds))[self.first_world :: self.every]


class World(NamedTuple):
    """What came of one."""

    reverted_s: float | None
    found: str
    """The rule, and the KPI where it has one; "" = nothing was."""
    hold_out_share: float
    utility: float | None
    """None = not asked for."""


HEAD = ("made_by", "options")
"""What the parts depend on, in FILE.played and in the result."""

Play = Callable[[Part, Callable[[float], None]], list[World]]
"""A part's worlds; is handed what wants to know how many seconds have been played."""
Played = dict[Part, list[World]]


class PlayedParts(PlayedFile):
    """The parts that are kept."""

    def __init__(self, json_file: str, head: dict[str, Any]) -> None:
        """json_file: of the result; "" and - keep nothing. head: what the parts depend on."""
        super().__init__(json_file, head, of="measurement", entry="part")

    def begin(self, *, resume: bool) -> Played:
        """What was played before. Raises UserMistake where another measurement lies there, or this one unasked."""
        return dict(self.entries(_read, resume=resume))

    def whole(self, *, resume: bool) -> dict[str, Any] | None:
        """The result, if FILE holds it already. Raises UserMistake for another one, or this one unasked."""
        found: dict[str, Any] | None = self.result(lambda result: {name: result[name] for name in HEAD}, resume=resume)
        return found

    def keep(self, part: Part, worlds: Sequence[World]) -> None:
        self.write([part, worlds])


def _read(entry: Any) -> tuple[Part, list[World]]:
    part, worlds = entry
    return Part(*part), [World(*world) for world in worlds]


def play_parts(
    parts: Sequence[Part], play: Play, jobs: int, report: Callable[[float], None]
) -> Iterator[tuple[Part, list[World]]]:
    """Every part as it ends. report: is told how many seconds of all parts have been played. Raises RunFailed for a
    process that died.
    """
    if min(jobs, len(parts)) <= 1:
        before_s = 0.0
        for part in parts:
            newest_s = [0.0]

            def on_played(played_s: float, before_s: float = before_s, newest_s: list[float] = newest_s) -> None:
                newest_s[0] = played_s
                report(before_s + played_s)

            yield part, play(part, on_played)
            before_s += newest_s[0]
        return
    yield from _play_by_processes(parts, play, min(jobs, len(parts)), report)


def _play_by_processes(
    parts: Sequence[Part], play: Play, jobs: int, report: Callable[[float], None]
) -> Iterator[tuple[Part, list[World]]]:
    played_by_part: Any = SPAWNED.Array("d", len(parts))
    with spawned_pool(jobs, _begin, played_by_part) as pool:
        left: dict[Future[list[World]], Part] = {
            pool.submit(_play, play, part, place): part for place, part in enumerate(parts)
        }
        while left:
            done, _ = wait(left, timeout=LOOK_S, return_when=FIRST_COMPLETED)
            report(sum(played_by_part))
            for future in done:
                yield left.pop(future), future.result()


def _begin(played_by_part: Any) -> None:
    global _played_by_part
    begin_worker()
    _played_by_part = played_by_part


def _play(play: Play, part: Part, place: int) -> list[World]:
    def on_played(played_s: float) -> None:
        _played_by_part[place] = played_s

    return play(part, on_played)

"""The parts of one `stackmac guard-lab`: who plays them, how far they are, and what of them is kept for --resume.

A part is a batch of worlds with one seed, with guards or without, or some worlds of it. FILE.played has a line of what
all parts depend on, then one a part; it goes when the result is whole.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, NamedTuple

from policy.errors import RunFailed, UserMistake
from training.evaluation.journal import difference
from training.evaluation.process_pool import begin_worker

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


Play = Callable[[Part, Callable[[float], None]], list[World]]
"""A part's worlds; is handed what wants to know how many seconds have been played."""
Played = dict[Part, list[World]]


class PlayedFile:
    """The parts that are kept. Without a file nothing is."""

    def __init__(self, json_file: str, head: dict[str, Any]) -> None:
        """json_file: of the result; "" and - keep nothing. head: what the parts depend on."""
        self.path = Path(f"{json_file}.played") if json_file not in ("", "-") else None
        self._head: dict[str, Any] = json.loads(json.dumps(head))

    def begin(self, *, resume: bool) -> Played:
        """What was played before. Raises UserMistake where another measurement lies there."""
        if self.path is None:
            if resume:
                raise UserMistake("--resume without --json FILE: what was played is kept beside that file")
            return {}
        if not resume or not self.path.exists():
            self.path.write_text(json.dumps(self._head) + "\n", encoding="utf-8")
            return {}
        # A line without its end is of a part during which the machine was switched off.
        text = self.path.read_bytes()
        try:
            head, *lines = text.decode().split("\n")[:-1]
            before = dict(json.loads(head))
            found = {Part(*part): [World(*world) for world in worlds] for part, worlds in map(json.loads, lines)}
        except (ValueError, TypeError):
            raise UserMistake(f"{self.path} is not what guard-lab keeps; without --resume it is begun anew") from None
        if other := difference(before, self._head):
            raise UserMistake(f"{self.path} is of another measurement: {other}")
        self.path.write_text("".join(line + "\n" for line in (head, *lines)), encoding="utf-8")
        return found

    def keep(self, part: Part, worlds: Sequence[World]) -> None:
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps([part, worlds]) + "\n")

    @property
    def kept(self) -> str:
        """What an interruption says of it."""
        if self.path is None:
            return "nothing is kept for --resume without --json FILE"
        parts = max(0, len(self.path.read_text(encoding="utf-8").splitlines()) - 1)
        return f"{self.path} keeps {parts} parts, --resume goes on"

    def end(self) -> None:
        if self.path is not None:
            self.path.unlink(missing_ok=True)


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
    older = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    played_by_part: Any = context.Array("d", len(parts))
    pool = ProcessPoolExecutor(jobs, context, initializer=_begin, initargs=(played_by_part,))
    finished = False
    try:
        left: dict[Future[list[World]], Part] = {
            pool.submit(_play, play, part, place): part for place, part in enumerate(parts)
        }
        while left:
            done, _ = wait(left, timeout=LOOK_S, return_when=FIRST_COMPLETED)
            report(sum(played_by_part))
            for future in done:
                yield left.pop(future), future.result()
        finished = True
    except BrokenProcessPool as error:
        raise RunFailed(f"a process died while it played: {error}") from None
    finally:
        pool.shutdown(wait=finished, cancel_futures=True)
        if not finished:
            for child in set(multiprocessing.active_children()) - older:
                child.terminate()


def _begin(played_by_part: Any) -> None:
    global _played_by_part
    begin_worker()
    _played_by_part = played_by_part


def _play(play: Play, part: Part, place: int) -> list[World]:
    def on_played(played_s: float) -> None:
        _played_by_part[place] = played_s

    return play(part, on_played)

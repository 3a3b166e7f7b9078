"""Replays by several processes: the same results as by one, whoever plays what.

Processes are spawned, not forked: a fork of a process in which torch has run can hang.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, NamedTuple

from policy.errors import RunFailed, counted
from training.baselines.players import Play, World
from training.simulator.metrics import CellMetrics

SPAWNED = multiprocessing.get_context("spawn")

Report = Callable[[int, str], None]
"""How many tasks are done, and what happens now."""


class Task(NamedTuple):
    """One player of one training seed in one world."""

    world_index: int
    label: str
    train_index: int
    play: Play
    world: World

    def __str__(self) -> str:
        return f"{self.label}, {counted(self.world.ues, 'UE')}, world seed {self.world_index + 1}"


class Played(NamedTuple):
    task: Task
    cells: list[CellMetrics]


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0))


def play_tasks(tasks: Sequence[Task], jobs: int, report: Report) -> Iterator[Played]:
    """Every task's metrics as they come, in no particular order. jobs: processes; 1 = this one.

    Raises RunFailed for a process that died.
    """
    jobs = min(jobs, len(tasks))
    if jobs <= 1:
        for done, task in enumerate(tasks):
            report(done, str(task))
            yield Played(task, task.play(task.world))
        report(len(tasks), "done")
        return
    with spawned_pool(jobs, begin_worker) as pool:
        report(0, f"starting {jobs} processes")
        futures = {pool.submit(task.play, task.world): task for task in tasks}
        for done, future in enumerate(as_completed(futures), start=1):
            cells = future.result()
            report(done, str(futures[future]))
            yield Played(futures[future], cells)
        report(len(tasks), "done")


@contextmanager
def spawned_pool(jobs: int, begin: Callable[..., None], *arguments: Any) -> Iterator[ProcessPoolExecutor]:
    """begin, arguments: what each process does first. Whoever leaves before the end leaves no process behind.

    Raises RunFailed for a process that died.
    """
    older = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(jobs, SPAWNED, initializer=begin, initargs=arguments)
    finished = False
    try:
        yield pool
        finished = True
    except BrokenProcessPool as error:
        raise RunFailed(f"a process died while it played: {error}") from None
    finally:
        pool.shutdown(wait=finished, cancel_futures=True)
        if not finished:
            for child in set(multiprocessing.active_children()) - older:
                child.terminate()


def begin_worker() -> None:
    """Ctrl-C goes to everybody in the terminal; the first process alone decides what it means."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

"""What an experiment runs, keeps and resumes: parts, each of which knows what it depends on.

A part is a function of plain values with a result that JSON can carry. Finished ones lie in OUT/parts under a key made
of everything they depend on (function, arguments, scenarios' and bundles' hashes): a study that is resumed, also with
other options, computes only what is new. Parts that train get a folder of their own under OUT/trainings, named by the
same key, in which they can be resumed half-way.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, is_dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, NamedTuple, cast

from policy.bundle_files import DESCRIPTION, bundle_folder
from policy.errors import UserMistake
from training.command_line.result_file import as_plain
from training.experiments.budget import Budget
from training.simulator.scenario import Scenario, make_scenario

Results = dict[str, Any]
Notify = Callable[[str], None]
"""Called with how far a part is."""
KEY_DIGITS = 16
FIRST_TRAIN_SEED = 1


class StudyError(UserMistake):
    """A study that cannot be run as asked: one line."""


class Options(NamedTuple):
    """What a user may change of an experiment; empty = its own."""

    scenarios: tuple[str, ...] = ()
    ues: tuple[int, ...] = ()
    bundle: str = ""
    """A bundle's directory; empty = the shipped one."""

    def scenario(self, usual: str) -> Scenario:
        """The one scenario of a study that has no more. Raises ScenarioError."""
        return make_scenario(self.scenarios[0] if self.scenarios else usual)


DEFAULT_OPTIONS = Options()


class Shard(NamedTuple):
    """One machine's share of a study: every `of`th training seed from `first` on."""

    first: int
    """Counted from 0."""
    of: int


WHOLE = Shard(0, 1)


class Asked(NamedTuple):
    """A part's result, as a study was given it."""

    key: str
    label: str
    result: Results


class Part(NamedTuple):
    """A piece of work."""

    label: str
    call: Callable[..., Results]
    """A module's function: other processes must find it."""
    arguments: Mapping[str, Any]
    trains: bool = False
    """It is called with `folder`, `resume` and `notify`, too, and raises KeyboardInterrupt where it was stopped."""

    @property
    def key(self) -> str:
        """Changes with whatever the result depends on."""
        words = [self.call.__module__, self.call.__qualname__, _plain(dict(self.arguments))]
        return hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()[:KEY_DIGITS]


class Study:
    """One experiment in one directory."""

    def __init__(
        self,
        out: Path,
        budget: Budget,
        options: Options = DEFAULT_OPTIONS,
        *,
        jobs: int = 1,
        shard: Shard = WHOLE,
        show: Callable[[int, int, str], None] = lambda done, parts, what: None,
    ) -> None:
        """show: called with parts done, parts in all, and what is going on."""
        self.out, self.budget, self.options, self.shard = out, budget, options, shard
        self._jobs, self._show = jobs, show
        self.parts_done = 0
        self.parts_known = 0
        self.asked: list[Asked] = []
        """Everything that was asked for, in its order: what `training.experiments.kept` keeps."""

    @property
    def train_seeds(self) -> Sequence[int]:
        """The training seeds of this shard."""
        seeds = range(FIRST_TRAIN_SEED, FIRST_TRAIN_SEED + self.budget.train_seeds)
        return seeds[self.shard.first :: self.shard.of]

    def run(self, parts: Sequence[Part]) -> list[Results]:
        """All of their results, in their order. Ctrl-C keeps those that are finished, and is raised."""
        return self._run(parts, self._jobs)

    def run_alone(self, parts: Sequence[Part]) -> list[Results]:
        """One at a time, for parts that read a clock."""
        return self._run(parts, 1)

    def _run(self, parts: Sequence[Part], jobs: int) -> list[Results]:
        unique = {part.key: part for part in parts}
        kept = {key: result for key in unique if (result := self._read(key)) is not None}
        missing = [part for key, part in unique.items() if key not in kept]
        self.parts_known += len(unique)
        self.parts_done += len(kept)
        if len(missing) > 1 and jobs > 1:
            self._run_side_by_side(missing, kept)
        else:
            for part in missing:
                self._report(part.label)
                self._keep(part, _call(part, self.folder_of(part), partial(self._progress_of, part)), kept)
        self._report("")
        self.asked += [Asked(part.key, part.label, kept[part.key]) for part in parts]
        return [kept[part.key] for part in parts]

    def folder_of(self, part: Part) -> Path:
        """Where a part that trains has its run."""
        return self.out / "trainings" / part.key

    def _run_side_by_side(self, parts: list[Part], kept: dict[str, Results]) -> None:
        # Spawned, not forked: torch's and numba's threads do not survive a fork.
        context = get_context("spawn")
        stopping = context.Event()
        with ProcessPoolExecutor(self._jobs, context, initializer=_begin_worker, initargs=(stopping,)) as pool:
            running: dict[Future[Results], Part] = {
                pool.submit(_call_in_worker, part, self.folder_of(part)): part for part in parts
            }
            try:
                while running:
                    self._report(f"{len(running)} to go, {self._jobs} at a time")
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        self._keep(running.pop(future), future.result(), kept)
            except BaseException:
                stopping.set()  # for parts that are dealt out already, and not begun
                workers = list((pool._processes or {}).values())
                pool.shutdown(wait=False, cancel_futures=True)  # and knows its workers no longer
                _stop(workers)
                raise

    def _keep(self, part: Part, result: Results, kept: dict[str, Results]) -> None:
        folder = self.out / "parts"
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{part.key}.{os.getpid()}"
        result = as_plain(result)
        text = json.dumps({"label": part.label, "of": _plain(dict(part.arguments)), "result": result})
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(folder / f"{part.key}.json")
        # As it would be read again: a study that was resumed is the unbroken one.
        kept[part.key] = json.loads(text)["result"]
        self.parts_done += 1

    def _read(self, key: str) -> Results | None:
        try:
            kept = json.loads((self.out / "parts" / f"{key}.json").read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise StudyError(f"{self.out / 'parts' / key}.json: {error}") from error
        return cast(Results, kept["result"])

    def _progress_of(self, part: Part, what: str) -> None:
        self._report(f"{part.label}: {what}")

    def _report(self, what: str) -> None:
        self._show(self.parts_done, self.parts_known, what)


def _call(part: Part, folder: Path, notify: Notify) -> Results:
    if not part.trains:
        return part.call(**part.arguments)
    return part.call(**part.arguments, folder=folder, resume=folder.exists(), notify=notify)


def _stop(workers: Sequence[BaseProcess]) -> None:
    """Back when all have ended: a training ends its update and saves, or where Ctrl-C comes again stops at once."""
    while alive := [worker for worker in workers if worker.is_alive() and worker.pid is not None]:
        try:
            for worker in alive:
                os.kill(cast("int", worker.pid), signal.SIGINT)
            for worker in alive:
                worker.join()
        except (KeyboardInterrupt, ProcessLookupError):
            continue


_stopping: Event | None = None
"""Of a worker: whether the study is at its end."""


def _begin_worker(stopping: Event) -> None:
    global _stopping
    _stopping = stopping
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # between two parts: the pool ends it


def _call_in_worker(part: Part, folder: Path) -> Results:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        if _stopping is not None and _stopping.is_set():
            raise KeyboardInterrupt
        return _call(part, folder, lambda text: None)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _plain(value: Any) -> Any:
    """What a part's result depends on through this argument, as JSON can carry it."""
    if isinstance(value, Scenario):
        return {"scenario": value.name, "hash": value.hash}
    if isinstance(value, Path):
        description = bundle_folder(value) / DESCRIPTION
        # A bundle's description holds its weights' digests.
        content = description.read_bytes() if description.is_file() else str(value).encode()
        return hashlib.sha256(content).hexdigest()[:KEY_DIGITS]
    if is_dataclass(value) and not isinstance(value, type):
        return {"class": type(value).__qualname__, **_plain(asdict(value))}
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value

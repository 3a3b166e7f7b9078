"""Trainings as parts of a study: a warm start that recipes share, then the trainer's own run, stopped now and then.

Bundles of a run stay in its folder: `bundle` of its end, `at/N` of its first N updates where N was asked for.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from policy.errors import RunFailed
from training.experiments.budget import Budget
from training.experiments.measurement import PlayerSpec
from training.experiments.study import Notify, Part, Results, Study

if TYPE_CHECKING:
    from training.learning.config import TrainConfig

ROUND_STEPS = 40
"""Steps of imitation between two collections of states, at most."""
FULL: dict[str, Any] = {"worlds": 6, "cells": 16, "watch_rounds": 0}
QUICK: dict[str, Any] = {"worlds": 6, "cells": 8, "round_updates": 15, "warm_up_updates": 5, "watch_rounds": 0}
SMOKE: dict[str, Any] = {
    "worlds": 2, "cells": 2, "round_updates": 2, "warm_up_updates": 1, "watch_rounds": 0, "horizon": 1, "epochs": 1,
}  # fmt: skip


WARM_START_BATCH = 48
LOGGED = ("reward", "cell_steps")
"""What is kept of a run's log; all of it stays in the run's folder."""


class Recipe(NamedTuple):
    """How to train; each training seed replaces the config's."""

    label: str
    config: TrainConfig
    stops: tuple[int, ...] = ()
    """Updates after which a bundle is kept; 0 = the warm start's."""
    starts: Sequence[Path] = ()
    """Bundles to begin with, one a training seed; () = a warm start each."""


class Trained(NamedTuple):
    """What came of a recipe, one entry a training seed."""

    label: str
    folders: tuple[Path, ...]
    warm_starts: tuple[Path, ...]
    logs: tuple[list[dict[str, float]], ...]
    """One line an update: LOGGED of training.learning.report."""
    diverged: tuple[bool, ...]

    @property
    def bundles(self) -> list[Path]:
        """The bundles of the runs' ends. Raises RunFailed for one that diverged."""
        if any(self.diverged):
            raise RunFailed(f"the training of {self.label} diverged: nothing to measure")
        return [folder / "bundle" for folder in self.folders]

    def at(self, updates: int) -> list[Path]:
        """Bundles after so many updates: one of the recipe's stops, or 0."""
        return list(self.warm_starts) if updates == 0 else [folder / "at" / str(updates) for folder in self.folders]

    def players(self, bundles: Sequence[Path] = (), **how: Any) -> list[PlayerSpec]:
        """One a training seed."""
        return [PlayerSpec(self.label, bundle=bundle, **how) for bundle in bundles or self.bundles]


def budget_config(budget: Budget, scenarios: Sequence[Any], **changes: Any) -> TrainConfig:
    """The tiny preset within a budget."""
    from training.alternatives import Search
    from training.learning.config import make_config

    less: dict[str, Any] = budget.pick(smoke=SMOKE, quick=QUICK, full=FULL)
    if budget.level == "smoke":
        less = less | {"search": Search(owner_steps=1, owners_per_step=1, grants=1)}
    if budget.level == "full" and _reads_blocks(changes):
        # As the shipped bundle: a UE's fields in one position of the prompt, at half the time and as good.
        less = less | {"positions": 1}
    own: dict[str, Any] = {"updates": budget.updates, "warm_up_steps": budget.warm_start_steps, "device": "cpu"}
    return make_config("tiny", scenarios, **(own | less | changes))


def _reads_blocks(changes: Mapping[str, Any]) -> bool:
    model = changes.get("model")
    return changes.get("model_kind", "pointer") == "pointer" and (model is None or model.attention == "block")


def train_all(study: Study, recipes: Sequence[Recipe]) -> list[Trained]:
    """Every recipe with every training seed of the budget, in the order of the recipes."""
    seeds = study.train_seeds
    runs = [(recipe, replace(recipe.config, seed=seed)) for recipe in recipes for seed in seeds]
    batch = study.budget.pick(smoke=4, quick=24, full=WARM_START_BATCH)
    warm = [_warm_start_part(config, batch) for recipe, config in runs if not recipe.starts]
    study.run(warm)
    made = (study.folder_of(part) / "bundle" for part in warm)
    starts = [start for recipe in recipes for start in recipe.starts or [next(made) for _ in seeds]]
    parts = [
        Part(
            f"train {recipe.label}, seed {config.seed}",
            train_part,
            {"config": config, "start": start, "stops": tuple(k for k in recipe.stops if k)},
            trains=True,
        )
        for (recipe, config), start in zip(runs, starts)
    ]
    ends = study.run(parts)
    trained = []
    for k, recipe in enumerate(recipes):
        mine = slice(k * len(seeds), (k + 1) * len(seeds))
        folders = tuple(study.folder_of(part) for part in parts[mine])
        logs = tuple(_lines(end["log"]) for end in ends[mine])
        diverged = tuple(end["diverged"] for end in ends[mine])
        trained.append(Trained(recipe.label, folders, tuple(starts[mine]), logs, diverged))
    return trained


def _warm_start_part(config: TrainConfig, batch: int) -> Part:
    """Depends on less than the config: recipes that differ otherwise share it."""
    arguments = {
        "scenarios": config.scenarios,
        "teacher": config.teacher,
        "steps": config.warm_up_steps,
        "batch": batch,
        "seed": config.seed,
        "model": config.leader,
        "model_kind": config.model_kind,
        "ues": config.ues,
    }
    names = "+".join(s.name for s in config.scenarios)
    return Part(f"warm start {names} {config.model_kind}, seed {config.seed}", warm_start_part, arguments, trains=True)


def warm_start_part(
    scenarios: Sequence[Any], teacher: str, steps: int, batch: int, seed: int, model: Any, model_kind: str,
    ues: Sequence[int], folder: Path, resume: bool, notify: Notify,
) -> Results:  # fmt: skip
    """Imitation of a teacher; the bundle lies in `folder`."""
    import torch

    from training.imitation.teachers import make_teacher
    from training.imitation.warm_start import WarmStartConfig, warm_start
    from training.run_folder import CHECKPOINT

    torch.set_num_threads(1)
    config = WarmStartConfig(
        batch=batch, steps=steps, seed=seed, leader=model, model_kind=model_kind, round_steps=min(ROUND_STEPS, steps)
    )
    with _stop_ends_the_study():
        result = warm_start(
            scenarios,
            make_teacher(teacher),
            folder,
            config,
            ues=ues,
            resume=resume and (folder / CHECKPOINT).exists(),
            progress=lambda report: notify(f"step {report.step + 1}/{steps}"),
            command=f"part of an experiment, seed {seed}",
        )
    if result.is_asked:
        raise KeyboardInterrupt
    return {"loss": result.last.loss, "accuracy": result.last.accuracy}


def train_part(
    config: TrainConfig, start: Path, stops: Sequence[int], folder: Path, resume: bool, notify: Notify
) -> Results:
    """The trainer's run from a bundle, with a copy of its bundle at each stop; one that diverges ends there."""
    import torch

    from policy.bundle import load_bundle
    from training.errors import Diverged, TrainingError
    from training.learning.trainer import train
    from training.run_folder import CHECKPOINT

    torch.set_num_threads(1)
    for stop in [*(k for k in sorted(stops) if k < config.updates and not (folder / "at" / str(k)).exists()), None]:
        try:
            with _stop_ends_the_study():
                result = train(
                    config,
                    folder,
                    start=load_bundle(start),
                    resume=resume and (folder / CHECKPOINT).exists(),
                    progress=lambda report: notify(f"update {report.update + 1}/{config.updates}"),
                    command=f"part of an experiment, seed {config.seed}",
                    until=math.inf if stop is None else stop,
                )
        except Diverged:
            return {"log": _log(folder), "diverged": True}
        resume = True
        if result.is_asked:
            raise KeyboardInterrupt
        if stop is not None:
            if result.updates != stop:
                raise TrainingError(f"{folder}: its run has come to update {result.updates}, without a copy of {stop}")
            _keep(result.bundle, folder / "at" / str(stop))
    if config.updates in stops:
        _keep(folder / "bundle", folder / "at" / str(config.updates))
    return {"log": _log(folder), "diverged": False}


@contextmanager
def _stop_ends_the_study() -> Iterator[None]:
    """A training that was stopped before it had anything to show ends the study as Ctrl-C does."""
    from training.errors import Stopped

    try:
        yield
    except Stopped:
        raise KeyboardInterrupt from None


def _log(folder: Path) -> dict[str, list[float]]:
    """What studies look at of an update, by name, one number an update."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return {name: [float(f"{float(line[name]):.6g}") for line in lines] for name in LOGGED}


def _lines(log: Mapping[str, list[float]]) -> list[dict[str, float]]:
    return [dict(zip(log, values)) for values in zip(*log.values())]


def _keep(bundle: Path, target: Path) -> None:
    """A copy that is there only when it is whole."""
    staging = target.with_name(f".{target.name}")
    shutil.rmtree(staging, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(bundle, staging)
    shutil.rmtree(target, ignore_errors=True)
    staging.rename(target)

"""`stackmac train`: a warm start, then rounds of playing and learning, until updates, cell-steps or time are used up.

All randomness comes from (seed, update at which the round began, rank), and a checkpoint is of a round's begin: an
interrupted run, resumed, is the unbroken one to the last bit. What a run leaves on disk: training.run_folder.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from policy.bundle import Bundle, load_bundle, save_bundle
from policy.language_model import state_of
from training.checkpoint import Models, Optimizers
from training.errors import TrainingError
from training.learning.arena import Arena, Example
from training.learning.config import TrainConfig
from training.learning.distributed import Ranks
from training.learning.ppo import LeaderLearner
from training.learning.report import UpdateReport, means, report_of
from training.run_folder import RunFolder
from training.warm_start import StepReport, WarmStartConfig, options_for, warm_start

WARM_START = "warm_start"
"""Folder within OUT of the run that made the bundle to begin with."""
_NOT_OF_THE_RUN = ("seconds", "device", "watch_rounds")
"""Settings that may differ in a run that is resumed: they do not change what is learnt."""


class TrainResult(NamedTuple):
    """How a run ended."""

    bundle: Path
    updates: int
    """Done in all, resumed ones included."""
    complete: bool
    """False = stopped by the clock or by Ctrl-C."""
    cell_steps: int
    last: UpdateReport


def train(
    config: TrainConfig,
    out: str | Path,
    *,
    start: Bundle | None = None,
    resume: bool = False,
    progress: Callable[[UpdateReport], None] = lambda report: None,
    warm_progress: Callable[[StepReport], None] = lambda report: None,
    command: str = "",
) -> TrainResult:
    """Train; Ctrl-C, or `config.seconds` over, saves and returns.

    start: the bundle to improve; None = a warm start first, in OUT/warm_start. command: what makes the bundle again.
    Raises TrainingError, BundleError.
    """
    out, clock = Path(out), _Clock(config.seconds)
    with Ranks() as ranks:
        if start is None:
            start = _warm_start(config, out, resume, clock, ranks, warm_progress, command)
        run = _Run(start, out, config, ranks, command)
        if resume and run.folder.checkpoint.exists():
            run.restore()
        elif ranks.is_first:
            run.folder.begin()
        complete = False
        try:
            complete = run.learn(progress, clock)
        except KeyboardInterrupt:
            # Nothing is lost: the checkpoint is of this round's begin, the bundle of the last finished update.
            pass
        return run.finish(complete)


class _Clock:
    """Tells when a run's time is up."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + (seconds or math.inf)

    @property
    def left_s(self) -> float:
        return max(0.0, self._end - time.monotonic())

    @property
    def is_up(self) -> bool:
        return self.left_s == 0.0


def _warm_start(
    config: TrainConfig,
    out: Path,
    resume: bool,
    clock: _Clock,
    ranks: Ranks,
    progress: Callable[[StepReport], None],
    command: str,
) -> Bundle:
    """Rank 0 makes it, all load it. A warm start that was stopped must be finished before anything else."""
    folder = out / WARM_START
    if ranks.is_first:
        from training.teachers import make_teacher

        settings = WarmStartConfig(
            steps=config.warm_up_steps, seed=config.seed, leader=config.leader, policy=config.policy
        )
        result = warm_start(
            config.scenarios,
            make_teacher(config.teacher),
            folder,
            settings,
            resume=resume and (folder / "checkpoint.safetensors").exists(),
            seconds=clock.left_s,
            progress=progress,
            command=command,
        )
        if not result.complete:
            raise TrainingError(f"stopped in the warm start, step {result.steps}/{settings.steps}: --resume goes on")
    ranks.wait()
    return load_bundle(folder / "bundle")


class _Run:
    """What learns, and where the run stands."""

    def __init__(self, start: Bundle, out: Path, config: TrainConfig, ranks: Ranks, command: str) -> None:
        if options_for(config.scenarios) != start.options:
            names = ", ".join(s.name for s in config.scenarios)
            raise TrainingError(f"the bundle's leader may not say what a DCM says in {names}: it is for another K")
        self._start, self.config, self._ranks, self._command = start, config, ranks, command
        device = choose_device(config.device)
        self._fingerprint = float(sum(tensor.double().abs().sum() for tensor in state_of(start.leader).values()))
        reference = copy.deepcopy(start.leader).to(device).eval() if config.kl else None
        self.learner = LeaderLearner(start.leader.to(device), config, reference, ranks)
        self._models: Models = self.learner.models
        self._optimizers: Optimizers = self.learner.optimizers
        self.folder = RunFolder(out, self._identity())
        self.update = self.cell_steps = 0
        self.reports: list[UpdateReport] = []

    def _identity(self) -> dict[str, Any]:
        """What a checkpoint must agree with to be resumed."""
        settings = {k: v for k, v in self.config.as_json().items() if k not in _NOT_OF_THE_RUN}
        return {**settings, "start": self._fingerprint, "ranks": self._ranks.size}

    def restore(self) -> None:
        """Go back to the checkpoint's round. Raises TrainingError."""
        restored = self.folder.restore(self._models, self._optimizers)
        self.update, self.cell_steps = restored.step, restored.counts["cell_steps"]
        self.reports = [UpdateReport(**line) for line in restored.log]

    def _save(self) -> None:
        if self._ranks.is_first:
            self.folder.save(self._models, self._optimizers, self.update, {"cell_steps": self.cell_steps})

    @property
    def _done(self) -> bool:
        config = self.config
        return self.update >= config.updates or bool(config.cell_steps and self.cell_steps >= config.cell_steps)

    def learn(self, progress: Callable[[UpdateReport], None], clock: _Clock) -> bool:
        """Rounds until all is done (True) or time is up (False)."""
        while not self._done:
            self._save()
            rng = np.random.default_rng([self.config.seed, self.update, *([self._ranks.rank] * (self._ranks.rank > 0))])
            arena = Arena(self.config, self._start.options, rng)
            played_before, end = self.cell_steps, self.update + self.config.round_updates
            while self.update < end and not self._done:
                if self._ranks.any(clock.is_up):
                    return False
                examples = self._play(arena)
                self.cell_steps = played_before + arena.cell_steps * self._ranks.size
                if examples:
                    self._learn_from(examples, arena, rng, progress)
        self._save()
        return True

    def _play(self, arena: Arena) -> list[Example]:
        """The periods between two updates; with a critic, one more whose states say what the last came to."""
        self.learner.leader.eval()
        periods = self.config.horizon + (self.config.credit == "sequence")
        return [example for _ in range(periods) for example in arena.play(self.learner.leader)]

    def _learn_from(
        self,
        examples: list[Example],
        arena: Arena,
        rng: np.random.Generator,
        progress: Callable[[UpdateReport], None],
    ) -> None:
        rate = self.config.learning_rate_at(self.update, self.config.leader_lr)
        figures = self.learner.learn(examples, rate, rng)
        report = report_of(self.update, self.cell_steps, examples, arena.jain(), figures, rate)
        self.reports.append(report)
        if self._ranks.is_first:
            self.folder.write_log(report._asdict())
            progress(report)
        self.update += 1

    def finish(self, complete: bool) -> TrainResult:
        """Write the bundle of the weights as they are. Raises TrainingError if not one update was made."""
        if not self.reports:
            raise TrainingError("stopped before the first update: nothing to save")
        start, paces = self._start, [s.slots_per_dcm for s in self.config.scenarios]
        if self._ranks.is_first:
            bundle = Bundle(
                self.learner.leader.cpu().eval(),
                start.follower,
                start.options,
                min(start.min_slots_per_dcm, *paces),
                max(start.max_slots_per_dcm, *paces),
                self._provenance(),
                {**start.metrics, **means(self.reports)},
            )
            save_bundle(bundle, self.folder.bundle)
        return TrainResult(self.folder.bundle, self.update, complete, self.cell_steps, self.reports[-1])

    def _provenance(self) -> dict[str, Any]:
        before, config = dict(self._start.provenance), self.config
        commands = [str(before.get("command") or ""), self._command]
        return {
            **before,
            # A warm start of this run's own is part of its command.
            "command": " && ".join(dict.fromkeys(filter(None, commands))),
            "method": f"{before.get('method', 'unknown')}, then {config.credit} credit",
            "scenarios": {**before.get("scenarios", {}), **{s.name: s.hash for s in config.scenarios}},
            "trained": {**config.as_json(), "ues": list(config.ue_counts), "updates": self.update}
            | {"cell_steps": self.cell_steps, "ranks": self._ranks.size},
        }


def choose_device(name: str) -> torch.device:
    """`auto` = a GPU if there is one. Raises TrainingError where `cuda` is asked for in vain."""
    if name == "cuda" and not torch.cuda.is_available():
        raise TrainingError("device is cuda, but this machine has none that torch can use")
    return torch.device("cuda" if name == "cuda" or (name == "auto" and torch.cuda.is_available()) else "cpu")

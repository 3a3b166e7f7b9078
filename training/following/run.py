"""A run that trains followers: OUT holds what training.run_folder says, the bundle with the old leader in it.

A checkpoint is of a round's begin, and a round's randomness is its own: an interrupted run, resumed, is the unbroken
one to the last bit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from policy.bundle import Bundle, save_bundle
from policy.follower import FOLLOWER_CONFIG, FollowerLayout, FollowerModel, new_follower_model
from training.errors import TrainingError
from training.following.card import write_card
from training.following.leaders import named_leader
from training.following.train import FollowReport, FollowTrainer, FollowTraining
from training.run_folder import RunFolder
from training.simulator.scenario import Scenario

FRESH_IMITATION_UPDATES = 40
"""Of followers that begin from nothing; those that are trained further need none."""
REPORTED_UPDATES = 20
"""Figures in the bundle are means over so many last updates."""
KEPT = ("reward", "entropy", "moved")


class FollowResult(NamedTuple):
    """How a run ended."""

    updates: int
    """Done in all, imitation and resumed ones included."""
    complete: bool
    """False = stopped by the clock or by Ctrl-C."""
    last: FollowReport
    bundle: Path


def starting_model(start: Bundle, seed: int) -> FollowerModel:
    """The bundle's followers; fresh ones where those are of an older layout."""
    return start.follower if is_current(start.follower) else new_follower_model(FOLLOWER_CONFIG, seed)


def is_current(model: FollowerModel) -> bool:
    """Whether it reads what followers read today."""
    return model.layout == FollowerLayout()


def follow(
    start: Bundle,
    leader: str,
    scenarios: Sequence[Scenario],
    ues: Sequence[int],
    out: str | Path,
    config: FollowTraining,
    *,
    resume: bool = False,
    seconds: float = math.inf,
    progress: Callable[[FollowReport], None] = lambda report: None,
    command: str = "",
) -> FollowResult:
    """Train followers under a leader, by name, that stands still. Ctrl-C, or `seconds` being over, saves and returns.

    start: whose followers learn, and whose leader stays in the bundle. Raises TrainingError and LeaderError.
    """
    stop_at = time.monotonic() + seconds
    run = _Run(start, leader, tuple(scenarios), tuple(ues), Path(out), config, command)
    if resume:
        run.restore()
    else:
        run.folder.begin()
    complete = False
    try:
        complete = run.learn(progress, lambda: time.monotonic() >= stop_at)
    except KeyboardInterrupt:
        # Nothing is lost: the checkpoint is of this round's begin, the bundle of the last finished update.
        pass
    return run.finish(complete)


def told(leader: str) -> str:
    """A leader as a bundle may name it: a folder of this machine means nothing elsewhere."""
    return "DIR/bundle" if Path(leader).is_dir() else leader


class _Run:
    """A trainer, and what stays of it on disk."""

    def __init__(
        self,
        start: Bundle,
        leader: str,
        scenarios: tuple[Scenario, ...],
        ues: tuple[int, ...],
        out: Path,
        config: FollowTraining,
        command: str,
    ) -> None:
        self._start, self._leader, self._scenarios, self._ues = start, leader, scenarios, ues
        self._config, self._command = config, command
        self._model = starting_model(start, config.seed)
        leader_of = named_leader(leader, speaks=config.speaks)
        self._trainer = FollowTrainer(leader_of, self._model, scenarios, ues, config)
        self.folder = RunFolder(out, self._identity())
        self._reports: list[FollowReport] = []

    def learn(self, progress: Callable[[FollowReport], None], time_is_up: Callable[[], bool]) -> bool:
        """Rounds until all updates are done (True) or time is up (False)."""
        trainer = self._trainer
        while not trainer.is_done:
            self._save()
            for report in trainer.round():
                self._reports.append(report)
                self.folder.write_log(report._asdict())
                progress(report)
                if time_is_up() and not trainer.is_done:
                    return False
        self._save()
        return True

    def _identity(self) -> dict[str, Any]:
        """What a checkpoint must agree with to be resumed."""
        return {
            "config": asdict(self._config),
            "scenarios": {s.name: s.hash for s in self._scenarios},
            "leader": self._leader,
            "ues": self._ues,
        }

    def _save(self) -> None:
        self.folder.save(self._trainer.models, self._trainer.optimizers, len(self._reports), {})

    def restore(self) -> None:
        """Go back to the checkpoint's round. Raises TrainingError."""
        restored = self.folder.restore(self._trainer.models, self._trainer.optimizers)
        self._trainer.update = restored.step - self._config.imitation_updates
        self._reports = [FollowReport(**line) for line in restored.log]

    def finish(self, complete: bool) -> FollowResult:
        """Write the bundle of the weights as they are. Raises TrainingError if not one update was made."""
        if not self._reports:
            raise TrainingError("stopped before the first update: nothing to save")
        bundle = replace(
            self._start,
            follower=self._model.eval(),
            provenance=self._provenance(),
            metrics={**self._start.metrics, **self._means()},
        )
        save_bundle(bundle, self.folder.bundle)
        write_card(self.folder.bundle, bundle.provenance, bundle.metrics, self._reports)
        return FollowResult(len(self._reports), complete, self._reports[-1], self.folder.bundle)

    def _provenance(self) -> Mapping[str, Any]:
        before, config = dict(self._start.provenance), self._config
        commands = [str(before.get("command") or ""), self._command]
        hashes = {s.name: s.hash for s in self._scenarios}
        return {
            **before,
            "command": " && ".join(dict.fromkeys(filter(None, commands))),
            "trained_followers": {
                **asdict(config),
                "leader": told(self._leader),
                "scenarios": hashes,
                "ues": list(self._ues),
                "updates": len(self._reports),
                "method": f"imitation, then {config.follow.credit} credit under {told(self._leader)}",
            },
        }

    def _means(self) -> dict[str, float]:
        last = self._reports[-REPORTED_UPDATES:]
        return {f"followers_{name}": round(float(np.mean([getattr(r, name) for r in last])), 4) for name in KEPT}

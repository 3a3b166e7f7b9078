"""`stackmac train-followers`: followers learn under a leader that stands still.

The baseline of a PF leader with retrained followers is made with it.

Each world is played for some periods by the followers as they are, its bits drawn; then they learn from it for a few
epochs. Worlds go on from update to update within a round and are drawn anew for the next. How rounds go is in
training.rounds, what a run leaves on disk in training.run_folder; its bundle has the old leader.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from policy.bundle import Bundle, save_bundle
from policy.follower import FOLLOWER_CONFIG, FollowerLayout, FollowerModel, new_follower_model
from policy.leader import Leader
from training.errors import Stopped, TrainingError
from training.follower_run.card import write_card
from training.follower_run.report import FollowReport
from training.following.leaders import named_leader
from training.following.worlds import FollowerWorld, LeaderOf, new_worlds
from training.learning.follower_config import FollowTraining
from training.learning.follower_learner import FollowerLearner
from training.learning.follower_loss import FollowerLosses, choice_batch_of
from training.rounds import Clock, run_rounds
from training.run_folder import RunFolder
from training.simulator.scenario import Scenario

FRESH_IMITATION_UPDATES = 40
"""Updates of imitation for followers that begin from nothing; those that are trained further need none."""
REPORTED_UPDATES = 20
"""Figures in the bundle are means over so many last updates."""
KEPT = ("reward", "entropy", "step_kl")


class FollowResult(NamedTuple):
    """How a run ended."""

    updates: int
    """Done in all, imitation and resumed ones included."""
    complete: bool
    """False = stopped by the clock or by Ctrl-C."""
    last: FollowReport
    bundle: Path
    kept: int
    """Where a resumed run goes on: at the begin of a round."""


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
    clock = Clock(seconds)
    run = _Run(start, leader, tuple(scenarios), tuple(ues), Path(out), config, progress, command)
    if resume:
        run.restore()
    else:
        run.folder.begin()
    return run.finish(run_rounds(run, lambda: clock.is_up))


def train_followers(
    leader: Leader | None,
    model: FollowerModel,
    scenarios: Sequence[Scenario],
    ue_counts: Sequence[int],
    config: FollowTraining,
    progress: Callable[[FollowReport], None] = lambda report: None,
) -> list[FollowReport]:
    """Train `model` in place, under `leader` (None = the node's own scheduler); nothing stays on disk."""
    trainer = FollowTrainer(lambda scenario, ues: leader, model, scenarios, ue_counts, config)
    reports: list[FollowReport] = []
    while not trainer.is_done:
        for report in trainer.round():
            reports.append(report)
            progress(report)
    return reports


def shareable_name(leader: str) -> str:
    """A leader as a bundle may name it: a folder of this machine means nothing elsewhere."""
    return "DIR/bundle" if Path(leader).is_dir() else leader


class FollowTrainer:
    """Followers, their optimizer, and how far they have come."""

    def __init__(
        self,
        leader_of: LeaderOf,
        model: FollowerModel,
        scenarios: Sequence[Scenario],
        ue_counts: Sequence[int],
        config: FollowTraining,
    ) -> None:
        self.config = config
        self._leader_of, self._scenarios, self._ue_counts = leader_of, scenarios, ue_counts
        self._learner = FollowerLearner(
            model, config.follow, config.limits, config.batch, config.seed, speaks=config.speaks
        )
        reference = self._learner.team.reference
        # The reference is what imitation ended with, so that a checkpoint has to hold it.
        held = [] if reference is None else [reference.requires_grad_(False)]
        self.models = {"followers": nn.ModuleList([*self._learner.models["followers"].children(), *held])}
        self.optimizers = self._learner.optimizers
        self.update = -config.imitation_updates
        """The next one; a checkpoint is taken where a round begins."""

    @property
    def is_done(self) -> bool:
        return self.update >= self.config.updates

    def round(self) -> Iterator[FollowReport]:
        """Learn until worlds are to be drawn anew. Raises Diverged, with the weights as they were before."""
        config, team = self.config, self._learner.team
        rng = np.random.default_rng([config.seed, 1, self.update + config.imitation_updates])
        if self.update == 0 and team.reference is not None:
            team.reference.load_state_dict(team.model.state_dict())
        worlds = new_worlds(self._leader_of, self._scenarios, self._ue_counts, config.worlds, config.cells, rng)
        while not self.is_done:
            report = self._learn(worlds, rng)
            self.update += 1
            yield report
            if self.update % config.round_updates == 0:
                return

    def _learn(self, worlds: Sequence[FollowerWorld], rng: np.random.Generator) -> FollowReport:
        config, learner = self.config, self._learner
        imitates, rate = self.update < 0, config.learning_rate_at(self.update)
        follow = replace(config.follow, flips=0) if imitates else config.follow
        recorded = [world.play(config.slots, learner.team, follow, rng) for world in worlds]
        losses: FollowerLosses | None
        if imitates:
            batches = [choice_batch_of(None, batch, follow) for batch in recorded]
            losses = learner.imitate(batches, config.certainty, rate, rng)
        else:
            batches = learner.batches_of(recorded)
            losses = learner.learn(batches, rate, rng)
        if losses is None:
            raise TrainingError("no UE had anything to choose")
        return FollowReport(
            update=self.update,
            reward=round(float(np.mean([batch.cell_reward_TB.mean() for batch in recorded])), 6),
            choices=sum(len(batch.choices.slot_N) for batch in batches),
            **{name: round(value.item(), 6) for name, value in losses._asdict().items()},
        )


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
        progress: Callable[[FollowReport], None],
        command: str,
    ) -> None:
        self._start, self._leader, self._scenarios, self._ues = start, leader, scenarios, ues
        self._config, self._progress, self._command = config, progress, command
        self._model = starting_model(start, config.seed)
        leader_of = named_leader(leader, speaks=config.speaks)
        self._trainer = FollowTrainer(leader_of, self._model, scenarios, ues, config)
        self.folder = RunFolder(out, self._identity())
        self._reports: list[FollowReport] = []

    @property
    def is_done(self) -> bool:
        return self._trainer.is_done

    def round(self) -> Iterator[FollowReport]:
        return self._trainer.round()

    def record(self, report: FollowReport) -> None:
        self._reports.append(report)
        self.folder.write_log(report._asdict())
        self._progress(report)

    def save(self) -> None:
        self.folder.save(self._trainer.models, self._trainer.optimizers, len(self._reports), {})

    def end(self) -> None:
        self.save()

    def _identity(self) -> dict[str, Any]:
        """What a checkpoint must agree with to be resumed."""
        return {
            "config": asdict(self._config),
            "scenarios": {s.name: s.hash for s in self._scenarios},
            "leader": self._leader,
            "ues": self._ues,
        }

    def restore(self) -> None:
        """Go back to the checkpoint's round. Raises TrainingError."""
        restored = self.folder.restore(self._trainer.models, self._trainer.optimizers)
        self._trainer.update = restored.step - self._config.imitation_updates
        self._reports = [FollowReport(**line) for line in restored.log]

    def finish(self, complete: bool) -> FollowResult:
        """Write the bundle of the weights as they are. Raises Stopped if not one update was made."""
        if not self._reports:
            raise Stopped("stopped before the first update: nothing to save")
        bundle = replace(
            self._start,
            follower=self._model.eval(),
            provenance=self._provenance(),
            metrics={**self._start.metrics, **self._means()},
        )
        save_bundle(bundle, self.folder.bundle)
        write_card(self.folder.bundle, bundle.provenance, bundle.metrics, self._reports)
        return FollowResult(len(self._reports), complete, self._reports[-1], self.folder.bundle, self.folder.kept)

    def _provenance(self) -> Mapping[str, Any]:
        before, config = dict(self._start.provenance), self._config
        commands = [str(before.get("command") or ""), self._command]
        hashes, leader = {s.name: s.hash for s in self._scenarios}, shareable_name(self._leader)
        return {
            **before,
            "command": " && ".join(dict.fromkeys(filter(None, commands))),
            "trained_followers": {
                **asdict(config),
                "leader": leader,
                "scenarios": hashes,
                "ues": list(self._ues),
                "updates": len(self._reports),
                "method": f"imitation, then objective {config.follow.objective} under {leader}",
            },
        }

    def _means(self) -> dict[str, float]:
        last = self._reports[-REPORTED_UPDATES:]
        return {f"followers_{name}": round(float(np.mean([getattr(r, name) for r in last])), 4) for name in KEPT}

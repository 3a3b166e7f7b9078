"""`stackmac train-followers`: followers learn under a leader that stands still.

The baseline of a PF leader with retrained followers is made with it.

Each world is played for some periods by the followers as they are, its bits drawn; then they learn from it for a few
epochs. Worlds go on from update to update within a round and are drawn anew for the next. How rounds go is in
training.rounds, what a run leaves on disk in training.run_folder; its bundle has the old leader.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from policy.bundle import Bundle, save_bundle
from policy.follower import FOLLOWER_CONFIG, FollowerLayout, FollowerModel, new_follower_model
from policy.leader import Leader
from training.command_line.hold import hold_folder
from training.errors import TrainingError
from training.follower_run.card import write_card
from training.follower_run.follow_round import KEPT_CLASSES, FollowRound, KeptRound
from training.follower_run.report import FollowReport
from training.following.leaders import named_leader
from training.following.worlds import FollowerWorld, LeaderOf, new_worlds
from training.frozen_round import freeze, thaw
from training.learning.follower_config import FollowTraining
from training.learning.follower_learner import FollowerLearner
from training.learning.follower_loss import FollowerLosses, choice_batch_of
from training.rounds import Clock, Ending, run_rounds
from training.run_folder import RunFolder, check_whole
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
    """The update that a resumed run goes on with."""
    is_asked: bool
    """Somebody wanted an end: Ctrl-C, SIGTERM."""


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

    start: whose followers learn, and whose leader stays in the bundle. Raises TrainingError, LeaderError, InUse, and
    Stopped where there is nothing to show.
    """
    with hold_folder(Path(out)), Clock(seconds) as clock:
        run = _Run(start, leader, tuple(scenarios), tuple(ues), Path(out), config, progress, command)
        if resume:
            run.restore()
        else:
            run.folder.begin()
        return run.finish(run_rounds(run, clock))


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
        if not trainer.is_in_round:
            trainer.begin_round()
        reports.append(trainer.learn())
        trainer.update += 1
        progress(reports[-1])
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
        """The next one."""
        self._round: FollowRound | None = None

    @property
    def is_done(self) -> bool:
        return self.update >= self.config.updates

    @property
    def is_in_round(self) -> bool:
        return self._round is not None and self.update < self._round.end

    def begin_round(self) -> None:
        """Draw worlds anew."""
        team = self._learner.team
        if self.update == 0 and team.reference is not None:
            team.reference.load_state_dict(team.model.state_dict())
        self._round = self._new_round(self.update)

    def _new_round(self, first: int) -> FollowRound:
        """The round that began at update `first`, as it was before that."""
        config = self.config
        rng = np.random.default_rng([config.seed, 1, first + config.imitation_updates])
        worlds = new_worlds(self._leader_of, self._scenarios, self._ue_counts, config.worlds, config.cells, rng)
        end = (first // config.round_updates + 1) * config.round_updates
        return FollowRound(first, end, rng, worlds)

    def learn(self) -> FollowReport:
        """One update, not counted yet. Raises Diverged, with the weights as they were before."""
        assert self._round is not None
        return self._learn(self._round.worlds, self._round.rng)

    def keep(self) -> list[bytes]:
        """What the round holds, if one is to go on."""
        goes_on = self.is_in_round and not self.is_done
        return [freeze(self._round.keep())] if self._round is not None and goes_on else []

    def put_back(self, kept: KeptRound) -> None:
        """Stand as the trainer did whose round kept this."""
        self._round = self._new_round(kept.first)
        self._round.put_back(kept)

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

    @property
    def made(self) -> int:
        return len(self._reports)

    @property
    def is_in_round(self) -> bool:
        return self._trainer.is_in_round

    def begin_round(self) -> None:
        self._trainer.begin_round()

    def learn(self) -> FollowReport:
        return self._trainer.learn()

    def record(self, report: FollowReport) -> None:
        """Log an update, count it and show it."""
        self.folder.write_log(report._asdict())
        self._reports.append(report)
        self._trainer.update += 1
        self._progress(report)

    def save(self) -> None:
        trainer = self._trainer
        self.folder.save(trainer.models, trainer.optimizers, len(self._reports), {}, trainer.keep())

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
        """Go back to the checkpoint. Raises TrainingError."""
        restored = self.folder.restore(self._trainer.models, self._trainer.optimizers)
        self._trainer.update = restored.step - self._config.imitation_updates
        self._reports = [FollowReport(**line) for line in restored.log]
        if restored.round is not None:
            self._trainer.put_back(thaw(restored.round, KEPT_CLASSES))

    def finish(self, ending: Ending) -> FollowResult:
        """Write the bundle of the weights as they are. Raises Stopped if they are of no whole update."""
        check_whole(ending, "update", self.made, self.folder)
        bundle = replace(
            self._start,
            follower=self._model.eval(),
            provenance=self._provenance(),
            metrics={**self._start.metrics, **self._means()},
        )
        save_bundle(bundle, self.folder.bundle)
        write_card(self.folder.bundle, bundle.provenance, bundle.metrics, self._reports)
        return FollowResult(
            self.made, ending.complete, self._reports[-1], self.folder.bundle, self.folder.kept, ending.is_asked
        )

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

"""`stackmac train`: a warm start, then rounds of playing and learning, until updates, cell-steps or time are used up.

All randomness comes from (seed, update at which the round began, rank); several processes share an update's worlds.
How rounds go is in training.rounds, what a run leaves on disk in training.run_folder.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from policy.bundle import Bundle, load_bundle, save_bundle
from policy.leader_models.language_model import state_of
from policy.model_kinds import TEXT
from training.checkpoint import Models, Optimizers
from training.command_line.hold import hold_folder
from training.errors import Stopped, TrainingError
from training.frozen_round import freeze, thaw
from training.imitation.warm_start import StepReport, WarmStartConfig, options_for, warm_start
from training.intervals import mean_and_error
from training.learning.compiled_decoder import compiled_decoder
from training.learning.config import TrainConfig, follow_config
from training.learning.distributed import Ranks
from training.learning.follower_learner import FollowerLearner
from training.learning.health import utilities_at_unseen, warnings_of
from training.learning.leader_learner import LeaderLearner
from training.learning.learner import Limits
from training.learning.model_card import write_card
from training.learning.report import UpdateReport, from_log, means, report_of
from training.learning.rollout import KEPT_CLASSES, KeptRound, LearningRound, Rollout
from training.learning.scalars import Scalars
from training.learning.selection import Selection
from training.rounds import Clock, Ending, run_rounds
from training.run_folder import CHECKPOINT, RunFolder, check_whole

PRETRAINED_LR = 5e-4
"""Learning rate of imitation by adapters; all of a pretrained model's weights bear a tenth of it."""
WARM_START = "warm_start"
"""Folder within OUT of the run that made the bundle to begin with."""
FOLLOWER_BATCH = 1024
"""Choices of UEs, an optimizer step."""
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
    kept: int
    """The update that a resumed run goes on with."""
    is_asked: bool
    """Somebody wanted an end: Ctrl-C, SIGTERM."""


def train(
    config: TrainConfig,
    out: str | Path,
    *,
    start: Bundle | None = None,
    resume: bool = False,
    progress: Callable[[UpdateReport], None] = lambda report: None,
    warm_progress: Callable[[StepReport], None] = lambda report: None,
    command: str = "",
    until: float = math.inf,
) -> TrainResult:
    """Train; Ctrl-C, or `config.seconds` over, saves and returns.

    start: the bundle to improve; None = a warm start first, in OUT/warm_start. command: what makes the bundle again.
    until: save and return after so many updates of the whole run.
    Raises TrainingError, BundleError, InUse, and Stopped where there is nothing to show.
    """
    out = Path(out)
    if resume and not any((folder / CHECKPOINT).exists() for folder in (out, out / WARM_START)):
        raise TrainingError(f"{out / CHECKPOINT}: there is no run to resume")
    mine = hold_folder(out) if Ranks().is_first else nullcontext()
    with mine, Clock(config.seconds or math.inf) as clock, Ranks() as ranks:
        if start is None:
            start = _warm_start(config, out, resume, clock, ranks, warm_progress, command)
        run = _Run(start, out, config, ranks, progress, command)
        if resume and run.folder.checkpoint.exists():
            run.restore()
        elif ranks.is_first:
            run.begin()
        return run.finish(run_rounds(run, clock, ranks.any, until))


def _warm_start(
    config: TrainConfig,
    out: Path,
    resume: bool,
    clock: Clock,
    ranks: Ranks,
    progress: Callable[[StepReport], None],
    command: str,
) -> Bundle:
    """Rank 0 makes it, all load it. A warm start that was stopped must be finished before anything else."""
    folder, stopped, why = out / WARM_START, False, ""
    if ranks.is_first:
        from training.imitation.teachers import make_teacher

        device = str(choose_device(config.device))  # now: a missing device is refused before the warm start
        pretrained = config.model_kind == TEXT
        rates: dict[str, Any] = (
            {"learning_rate": PRETRAINED_LR if config.lora_rank else PRETRAINED_LR / 10} if pretrained else {}
        )
        settings = WarmStartConfig(
            steps=config.warm_up_steps, seed=config.seed, leader=config.leader, model_kind=config.model_kind, **rates
        )
        result = warm_start(
            config.scenarios,
            make_teacher(config.teacher),
            folder,
            settings,
            resume=resume and (folder / CHECKPOINT).exists(),
            clock=clock,
            progress=progress,
            command=command,
            device=device if pretrained else "cpu",
        )
        stopped = not result.complete
        if stopped:
            why = f", step {result.steps}/{settings.steps}"
    if ranks.any(stopped):
        raise Stopped(
            f"stopped in the warm start{why}, before the training: there is no {out / 'bundle'} yet "
            f"({folder / 'bundle'} imitates as far as it came); the same command with --resume goes on"
        )
    return load_bundle(folder / "bundle")


COMPILED_FROM_UPDATES = 50
"""A run of fewer updates draws its DCMs by torch: a network of new sizes takes most of a minute to compile."""


class _Run:
    """What learns, and where the run stands."""

    def __init__(
        self,
        start: Bundle,
        out: Path,
        config: TrainConfig,
        ranks: Ranks,
        progress: Callable[[UpdateReport], None],
        command: str,
    ) -> None:
        if options_for(config.scenarios) != start.options:
            names = ", ".join(s.name for s in config.scenarios)
            raise TrainingError(f"the bundle's leader cannot decide what a DCM holds in {names}: it is for another K")
        self._start, self.config, self._ranks, self._progress, self._command = start, config, ranks, progress, command
        if config.worlds < ranks.size:
            raise TrainingError(f"worlds is {config.worlds}, expected at least one for each of {ranks.size} processes")
        device = choose_device(config.device)
        self._fingerprint = float(sum(tensor.double().abs().sum() for tensor in state_of(start.leader).values()))
        keeps = config.kl or config.watch_rounds or config.choose_rounds
        self._reference = copy.deepcopy(start.leader).to(device).eval() if keeps else None
        self.leader = LeaderLearner(start.leader.to(device), config, self._reference if config.kl else None, ranks)
        drawn_by_code = config.updates >= COMPILED_FROM_UPDATES
        self._decoder = compiled_decoder(start.leader, start.options) if drawn_by_code else None
        self.followers: FollowerLearner | None = None
        if "follower" in config.roles:
            limits = Limits(config.epochs, config.clip_norm, config.target_kl)
            follower, follow = start.follower.to(device), follow_config(config)
            self.followers = FollowerLearner(follower, follow, limits, FOLLOWER_BATCH, config.seed, ranks=ranks)
        self._models: Models = self.leader.models | (self.followers.models if self.followers else {})
        self._optimizers: Optimizers = self.leader.optimizers | (self.followers.optimizers if self.followers else {})
        self._scalars = Scalars(out)
        self._unseen_before: NDArray[np.float64] | None = None
        self.folder = RunFolder(out, self._identity())
        self._selection: Selection | None = None
        if config.choose_rounds and self._reference is not None:
            self._selection = Selection(out / "best.safetensors", config, start.options, self._reference)
        self.update = self.cell_steps = 0
        self.reports: list[UpdateReport] = []
        self._round: LearningRound | None = None

    def _identity(self) -> dict[str, Any]:
        """What a checkpoint must agree with to be resumed."""
        settings = {k: v for k, v in self.config.as_json().items() if k not in _NOT_OF_THE_RUN}
        return {**settings, "start": self._fingerprint, "ranks": self._ranks.size}

    def begin(self) -> None:
        """Raises TrainingError where another run lies already."""
        self.folder.begin()
        if self._selection is not None:
            self._selection.begin()

    def restore(self) -> None:
        """Go back to the checkpoint. Raises TrainingError."""
        restored = self.folder.restore(self._models, self._optimizers, self._ranks.rank)
        self.update, self.cell_steps = restored.step, restored.counts["cell_steps"]
        self.reports = [from_log(line) for line in restored.log]
        if restored.round is not None:
            kept: KeptRound = thaw(restored.round, KEPT_CLASSES)
            self._round = self._new_round(kept.first)
            self._round.put_back(kept)

    def save(self) -> None:
        """Write the checkpoint; rank 0 does it for all."""
        rounds: list[bytes] = []
        if self._round is not None and self.is_in_round and not self.is_done:
            rounds = self._ranks.gather(freeze(self._round.keep()))
        if self._ranks.is_first:
            counts = {"cell_steps": self.cell_steps}
            self.folder.save(self._models, self._optimizers, self.update, counts, rounds)

    @property
    def is_done(self) -> bool:
        config = self.config
        return self.update >= config.updates or bool(config.cell_steps and self.cell_steps >= config.cell_steps)

    @property
    def made(self) -> int:
        return self.update

    @property
    def is_in_round(self) -> bool:
        return self._round is not None and self.update < self._round.end

    def begin_round(self) -> None:
        """Look at the leader before anything changes, and draw fresh worlds."""
        if self.update // self.config.round_updates % max(1, self.config.choose_rounds) == 0:
            self._choose()
        unseen = self._look_at_unseen()
        self._round = self._new_round(self.update)
        self._round.unseen = unseen

    def _new_round(self, first: int) -> LearningRound:
        """The round that began at update `first`, as it was before that."""
        config, ranks = self.config, self._ranks
        rng = np.random.default_rng([config.seed, first, *([ranks.rank] * (ranks.rank > 0))])
        shared_rng = None if ranks.is_first else np.random.default_rng([config.seed, first])
        learning = self._roles_of_round(first)
        rollout = Rollout(
            config,
            self._start.options,
            rng,
            followers=self.followers.team if self.followers else None,
            learning=learning,
            ranks=ranks,
            shared_rng=shared_rng,
        )
        return LearningRound(first, first + config.round_updates, rng, learning, rollout, self.cell_steps)

    def learn(self) -> UpdateReport | None:
        """Play the round's worlds on and learn from them; None where nothing could be learnt yet."""
        assert self._round is not None
        config, ranks, followers, current = self.config, self._ranks, self.followers, self._round
        rollout, rng = current.rollout, current.rng
        # Play. With a critic one period more is played, whose states show what the last one came to.
        self.leader.leader.eval()
        if self._decoder is not None:
            self._decoder.repack()
        player = self._decoder or self.leader.leader
        periods = config.horizon + self.leader.objective.needs_critic
        examples = [example for _ in range(periods) for example in rollout.play(player)]
        recorded = rollout.follower_batches()
        self.cell_steps = current.played_before + int(ranks.sum([rollout.cell_steps])[0])
        if ranks.any(not examples):
            return None
        # Learn.
        figures = losses = None
        leader_rate = config.learning_rate_at(self.update, config.leader_lr)
        if "leader" in current.learning:
            figures = self.leader.learn(examples, leader_rate, rng), leader_rate
        follower_rate = config.learning_rate_at(self.update, config.follower_lr)
        if followers is not None and recorded:
            losses = followers.learn(followers.batches_of(recorded), follower_rate, rng)
        learnt = None if losses is None else (losses, follower_rate)
        unseen, current.unseen = current.unseen, None
        return report_of(self.update, self.cell_steps, examples, rollout, figures, learnt, unseen)

    def _roles_of_round(self, first: int) -> tuple[str, ...]:
        """The roles that learn in the round from update `first` on: with `alternate` they take turns."""
        roles = self.config.roles
        if len(roles) == 1 or not self.config.alternate:
            return roles
        return (roles[first // self.config.round_updates % len(roles)],)

    def record(self, report: UpdateReport) -> None:
        """Log an update, count it and show it."""
        report = report._replace(warnings=warnings_of([*self.reports, report], self.config))
        if self._ranks.is_first:
            self.folder.write_log(report._asdict())
        self.reports.append(report)
        self.update += 1
        if self._ranks.is_first:
            self._scalars.write(report)
            self._progress(report)

    def end(self) -> None:
        """The last checkpoint, and the last look for the best weights."""
        self.save()
        self._choose()

    def _choose(self) -> None:
        """See whether these are the best weights so far."""
        if self._selection is not None and self.update and self._ranks.is_first:
            self._selection.look(self.leader.leader.eval(), self.update)

    def _look_at_unseen(self) -> tuple[float, float] | None:
        """Utility at a UE count that is not trained on, less the start's, and its error; None = not in this round."""
        every, config = self.config.watch_rounds, self.config
        if self._reference is None or not every or not self.update or self.update // config.round_updates % every:
            return None
        if self._unseen_before is None:
            self._unseen_before = utilities_at_unseen(self._reference, config, self._start.options)
        now = utilities_at_unseen(self.leader.leader.eval(), config, self._start.options)
        mean, error = mean_and_error(now - self._unseen_before)
        return round(mean, 6), round(error, 6)

    def finish(self, ending: Ending) -> TrainResult:
        """Write the bundle of the weights as they are. Raises Stopped if they are of no whole update."""
        check_whole(ending, "update", self.update, self.folder)
        start, slots_per_dcm = self._start, [s.slots_per_dcm for s in self.config.scenarios]
        if self._ranks.is_first:
            if self._selection is not None:
                self._selection.restore_best(self.leader.leader)
            bundle = Bundle(
                self.leader.leader.cpu().eval(),
                start.follower.cpu().eval(),
                start.options,
                min(start.min_slots_per_dcm, *slots_per_dcm),
                max(start.max_slots_per_dcm, *slots_per_dcm),
                self._provenance(),
                {**start.metrics, **means(self.reports)},
            )
            save_bundle(bundle, self.folder.bundle)
            write_card(self.folder.bundle, self.config, bundle.provenance, bundle.metrics, self.reports)
            self._scalars.close()
        return TrainResult(
            self.folder.bundle,
            self.update,
            ending.complete,
            self.cell_steps,
            self.reports[-1],
            self.folder.kept,
            ending.is_asked,
        )

    def _provenance(self) -> dict[str, Any]:
        before, config = dict(self._start.provenance), self.config
        commands = [str(before.get("command") or ""), self._command]
        return {
            **before,
            # A warm start of this run's own is part of its command.
            "command": " && ".join(dict.fromkeys(filter(None, commands))),
            "method": f"{before.get('method', 'unknown')}, then objective {config.objective}",
            "scenarios": {**before.get("scenarios", {}), **{s.name: s.hash for s in config.scenarios}},
            "trained": {**config.as_json(), "ues": list(config.ue_counts), "updates": self.update}
            | {"cell_steps": self.cell_steps, "ranks": self._ranks.size}
            | self._chosen(),
        }

    def _chosen(self) -> dict[str, Any]:
        """After how many updates the weights of the bundle were, and their value where they were chosen."""
        if self._selection is None:
            return {}
        update, value = self._selection.best or (0, 0.0)
        return {"chosen_update": update, "chosen_value": round(value, 5)}


def choose_device(name: str) -> torch.device:
    """`auto` = a GPU if there is one. Raises TrainingError where `cuda` is asked for in vain."""
    if name == "cuda" and not torch.cuda.is_available():
        raise TrainingError("device is cuda, but this machine has none that torch can use")
    return torch.device("cuda" if name == "cuda" or (name == "auto" and torch.cuda.is_available()) else "cpu")

"""Warm start: the leader learns to decide as a teacher does, the followers to do what the best-response rule does.

Training goes in rounds. A round first collects states by playing (training.imitation.collector), then learns from them.
All its randomness comes from (seed, round); how rounds go is in training.rounds, what a run leaves on disk in
training.run_folder.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from policy.bundle import Bundle, save_bundle
from policy.errors import UserMistake
from policy.follower import FOLLOWER_CONFIG, FollowerModel, new_follower_model
from policy.grammar import LAB, PAPER, GrammarOptions
from policy.leader_models.language_model import ModelConfig
from policy.leader_models.leader_network import masked_log_softmax
from policy.leader_models.transcript import teacher_forcing_batch
from policy.model_kinds import layout_for, new_model
from policy.shipped import PAPER_MAX_SLOTS_PER_DCM
from policy.text.text_config import TextConfig
from training.command_line.hold import hold_folder
from training.errors import TrainingError
from training.frozen_round import freeze, thaw
from training.imitation.collector import Collected, Collector, FollowerExamples, LeaderExample, prompts_of
from training.imitation.imitation_round import KEPT_CLASSES, ImitationRound
from training.imitation.teachers import Teacher
from training.optimizer import AdamW
from training.rounds import Clock, Ending, run_rounds
from training.run_folder import RunFolder, check_whole
from training.schedules import cosine, warm_up
from training.simulator.scenario import Scenario

MORE_UES = (2, 3, 4, 5, 6, 8, 10, 12, 16, 20)
"""Trained on besides a scenario's own UE counts: a leader must serve cells of any size."""
REPORTED_STEPS = 50
"""Figures in the bundle are means over this many last steps."""


@dataclass(frozen=True, slots=True)
class WarmStartConfig:
    """How to learn. The defaults suit models of 10^5 weights on one core."""

    steps: int = 2400
    seed: int = 0
    batch: int = 48
    """States a step."""
    follower_batch: int = 256
    """UEs a step."""
    round_steps: int = 40
    """Steps between two collections."""
    passes: float = 2.0
    """Times that a state is learnt from."""
    learning_rate: float = 2e-3
    final_learning_rate: float = 5e-5
    warm_up_steps: int = 60
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    student_from: float = 0.3
    """Share of the run after which the student leads some cells ..."""
    student_share: float = 0.4
    """... namely this share of them."""
    model_kind: str = "pointer"
    """Kind of the leader's network: policy.model_kinds."""
    leader: ModelConfig | TextConfig = ModelConfig()
    follower: ModelConfig = FOLLOWER_CONFIG

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1 or self.round_steps < 1 or self.passes <= 0:
            raise UserMistake("steps, batch, round_steps and passes must be positive")

    @property
    def examples_per_round(self) -> int:
        return math.ceil(self.round_steps * self.batch / self.passes)

    def learning_rate_at(self, step: int) -> float:
        """Linear warm-up, then a cosine."""
        decayed = cosine(step, self.steps, self.learning_rate, self.final_learning_rate)
        return decayed * warm_up(step, self.warm_up_steps)


class StepReport(NamedTuple):
    """One line of the log."""

    step: int
    loss: float
    """Nats per choice of the leader (steps without a choice not counted)."""
    accuracy: float
    """Share of choices in which the teacher's token was the likeliest."""
    follower_loss: float
    """Nats per RBG that a follower may use."""
    learning_rate: float


class WarmStartResult(NamedTuple):
    """How a run ended."""

    steps: int
    """Done in all, resumed ones included."""
    complete: bool
    """False = stopped by the clock or by Ctrl-C."""
    last: StepReport
    bundle: Path
    kept: int
    """The step that a resumed run goes on with."""
    is_asked: bool
    """Somebody wanted an end: Ctrl-C, SIGTERM."""


def options_for(scenarios: Sequence[Scenario]) -> GrammarOptions:
    """What a leader may decide at the scenarios' slots per DCM. Raises TrainingError where they are of two kinds."""
    kinds = {s.slots_per_dcm <= PAPER_MAX_SLOTS_PER_DCM for s in scenarios}
    if len(kinds) != 1:
        found = {s.name: s.slots_per_dcm for s in scenarios}
        raise TrainingError(f"slots per DCM are {found}, expected all up to {PAPER_MAX_SLOTS_PER_DCM} or all above")
    return PAPER if kinds.pop() else LAB


def warm_start(
    scenarios: Sequence[Scenario],
    teacher: Teacher,
    out: str | Path,
    config: WarmStartConfig,
    *,
    ues: Sequence[int] = (),
    resume: bool = False,
    seconds: float = math.inf,
    progress: Callable[[StepReport], None] = lambda report: None,
    command: str = "",
    device: str = "cpu",
    clock: Clock | None = None,
) -> WarmStartResult:
    """Train a bundle by imitation. Ctrl-C, or `seconds` being over, saves and returns.

    ues: UE counts to train on; () = the scenarios' own and MORE_UES. device: the leader's; small ones are fastest on a
    CPU. clock: of whom the warm start is a part, instead of `seconds`. Raises TrainingError, InUse, and Stopped
    where there is nothing to show.
    """
    with hold_folder(Path(out)), nullcontext(clock) if clock else Clock(seconds) as watched:
        run = _Run(tuple(scenarios), teacher, Path(out), config, tuple(ues), progress, command, device)
        if resume:
            run.restore()
        else:
            run.folder.begin()
        return run.finish(run_rounds(run, watched))


class _Run:
    """Models, optimizers and where the run stands."""

    def __init__(
        self,
        scenarios: tuple[Scenario, ...],
        teacher: Teacher,
        out: Path,
        config: WarmStartConfig,
        ues: tuple[int, ...],
        progress: Callable[[StepReport], None],
        command: str,
        device: str,
    ) -> None:
        counts = ues or tuple(sorted({*MORE_UES, *(count for s in scenarios for count in s.ue_counts)}))
        self.config, self.progress, self.command, self.teacher = config, progress, command, teacher
        options = options_for(scenarios)
        self.collector = Collector(scenarios, counts, teacher, options)
        layout = layout_for(config.model_kind, options)
        positions = getattr(config.leader, "block_positions", 0)
        if positions and (layout is None or positions > layout.block_tokens or config.model_kind != "pointer"):
            most = (
                f"0 to {layout.block_tokens}" if layout and config.model_kind == "pointer" else "0 for this model kind"
            )
            raise UserMistake(f"--positions is {positions}, expected {most}")
        self.leader = new_model(config.model_kind, config.leader, config.seed, layout).to(device)
        self.follower: FollowerModel = new_follower_model(config.follower, config.seed + 1)
        self._models: dict[str, nn.Module] = {"leader": self.leader, "follower": self.follower}
        self._optimizers = {name: self._optimizer(model) for name, model in self._models.items()}
        self.folder = RunFolder(out, self._identity())
        self.step = 0
        self.reports: list[StepReport] = []
        self.unspeakable = 0
        self._round: ImitationRound | None = None

    def _optimizer(self, model: nn.Module) -> AdamW:
        return AdamW(
            model.parameters(), lr=self.config.learning_rate, betas=(0.9, 0.98), weight_decay=self.config.weight_decay
        )

    # ---- learning ----

    @property
    def is_done(self) -> bool:
        return self.step >= self.config.steps

    @property
    def made(self) -> int:
        return self.step

    @property
    def is_in_round(self) -> bool:
        return self._round is not None and self.step < self._round.end

    def begin_round(self) -> None:
        """Collect states, and what the teacher does there."""
        rng = np.random.default_rng([self.config.seed, self.step])
        collected = self._collect(rng)
        end = min(self.step + self.config.round_steps, self.config.steps)
        self._round = ImitationRound.begun(end, rng, collected)

    def learn(self) -> StepReport:
        """Imitate some of it."""
        assert self._round is not None
        collected, order, rng = self._round.collected, self._round.order, self._round.rng
        examples = [collected.leader[row] for row in order.take(self.config.batch)]
        return self._step(examples, self._round.watched, rng)

    def record(self, report: StepReport) -> None:
        """Log a step, count it and show it."""
        self.folder.write_log(report._asdict())
        self.reports.append(report)
        self.step += 1
        self.progress(report)

    def end(self) -> None:
        self.save()

    def _collect(self, rng: np.random.Generator) -> Collected:
        config = self.config
        share = config.student_share if self.step >= config.student_from * config.steps else 0.0
        self.leader.eval()
        collected = self.collector.collect(self.leader, share, config.examples_per_round, rng)
        self.leader.train()
        self.unspeakable += collected.unspeakable
        if not collected.leader:
            raise TrainingError(f"the grammar has no DCM for anything that {self.teacher.name} decides here")
        return collected

    def _step(
        self, examples: list[LeaderExample], watched: list[FollowerExamples], rng: np.random.Generator
    ) -> StepReport:
        rate = self.config.learning_rate_at(self.step)
        loss, accuracy = self._leader_loss(examples)
        self._descend("leader", loss, rate)
        follower_loss = 0.0
        if watched:
            picked = self._follower_loss(watched[int(rng.integers(len(watched)))], rng)
            self._descend("follower", picked, rate)
            follower_loss = picked.item()
        return StepReport(self.step, loss.item(), accuracy, follower_loss, rate)

    def _leader_loss(self, examples: list[LeaderExample]) -> tuple[Tensor, float]:
        teacher_batch = teacher_forcing_batch([e.steps for e in examples])
        is_text = self.leader.uses_words
        prompts = [e.blocks_PT[0].tolist() for e in examples] if is_text else prompts_of(examples)
        logits = self.leader.teacher_forcing_logits(prompts, teacher_batch)
        log_probs_BLA = masked_log_softmax(logits, torch.from_numpy(teacher_batch.mask_BLA).to(logits.device))
        tokens_BL = torch.from_numpy(teacher_batch.tokens_BL).to(logits.device)
        choices = int((teacher_batch.mask_BLA.sum(-1) > 1).sum())
        teacher_BL = log_probs_BLA.gather(-1, tokens_BL[..., None])[..., 0]
        free_BL = torch.from_numpy(teacher_batch.mask_BLA.sum(-1) > 1).to(logits.device)
        hits = int(((log_probs_BLA.argmax(-1) == tokens_BL) & free_BL).sum())
        return -teacher_BL.sum() / max(choices, 1), hits / max(choices, 1)

    def _follower_loss(self, watched: FollowerExamples, rng: np.random.Generator) -> Tensor:
        rows = rng.integers(len(watched.sends_NM), size=self.config.follower_batch)
        view = watched.view.rows(rows)
        logits_NM = self.follower(torch.from_numpy(self.follower.tokens(view)))
        allowed_NM = torch.from_numpy(view.access_NM != 0)
        return nn.functional.binary_cross_entropy_with_logits(
            logits_NM[allowed_NM], torch.from_numpy(watched.sends_NM[rows]).float()[allowed_NM]
        )

    def _descend(self, name: str, loss: Tensor, rate: float) -> None:
        optimizer = self._optimizers[name]
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self._models[name].parameters(), self.config.clip_norm)
        optimizer.step()

    # ---- what stays on disk ----

    def _identity(self) -> dict[str, Any]:
        """What a checkpoint must agree with to be resumed."""
        return {
            "config": asdict(self.config),
            "scenarios": {s.name: s.hash for s in self.collector.scenarios},
            "teacher": self.teacher.name,
            "ues": self.collector.ue_counts,
        }

    def save(self) -> None:
        rounds = [freeze(self._round.keep())] if self._round is not None and self.is_in_round else []
        self.folder.save(self._models, self._optimizers, self.step, {"unspeakable": self.unspeakable}, rounds)

    def restore(self) -> None:
        """Go back to the checkpoint. Raises TrainingError."""
        restored = self.folder.restore(self._models, self._optimizers)
        self.step, self.unspeakable = restored.step, restored.counts["unspeakable"]
        self.reports = [StepReport(**line) for line in restored.log]
        if restored.round is not None:
            self._round = ImitationRound.of(thaw(restored.round, KEPT_CLASSES))
            self.leader.train()

    def finish(self, ending: Ending) -> WarmStartResult:
        """Write the bundle of the weights as they are. Raises Stopped if they are of no whole step."""
        check_whole(ending, "step", self.step, self.folder)
        slots_per_dcm = [s.slots_per_dcm for s in self.collector.scenarios]
        path = self.folder.bundle
        bundle = Bundle(
            self.leader,
            self.follower,
            self.collector.options,
            min(slots_per_dcm),
            max(slots_per_dcm),
            self._provenance(),
            self._means(),
        )
        save_bundle(bundle, path)
        return WarmStartResult(self.step, ending.complete, self.reports[-1], path, self.folder.kept, ending.is_asked)

    def _provenance(self) -> dict[str, Any]:
        return {
            "command": self.command,
            "method": "imitation",
            "scenarios": {s.name: s.hash for s in self.collector.scenarios},
            "teacher": self.teacher.name,
            "followers": "best_response",
            "ues": list(self.collector.ue_counts),
            "seed": self.config.seed,
            "steps": self.step,
        }

    def _means(self) -> dict[str, float]:
        last = self.reports[-REPORTED_STEPS:]
        figures = ("loss", "accuracy", "follower_loss")
        return {f: round(float(np.mean([getattr(r, f) for r in last])), 4) for f in figures} | {
            "unspeakable": self.unspeakable
        }

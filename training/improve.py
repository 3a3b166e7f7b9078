"""Improve a leader by counterfactual advantages: what each token was worth, against what else might have stood there.

The leader plays, sampled, in cells of several scenarios and UE counts at once. Of each DCM, every other action of each
step (or of some steps: training.counterfactual.Search) is tried in a branch of the simulator. Each step then climbs

    sum_a w(a) (Q(a) - sum_b pi(b) Q(b)) logit(a),    w = (1 - e) pi + e / |tried|

which for e = 0 is the all-action policy gradient, for e = 1 the natural one. With e > 0 a leader that is nearly certain
can change its mind: the plain gradient of what it never says is nearly 0, whatever that would be worth.
There is no critic, no ratio and no clipping: a branch is exact, and its siblings are the baseline.

Training goes in rounds of a few updates in fresh worlds. All randomness comes from (seed, update at which the round
began), and a checkpoint is of a round's begin: an interrupted run, resumed, is the unbroken one to the last bit. What a
run leaves on disk: training.run_folder. Suffixes: B examples, L steps, A actions.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from policy.bundle import Bundle, load_bundle, save_bundle
from policy.decoding import Line, decode, masked_log_softmax, script_of
from policy.grammar import GrammarOptions, compile_grammar
from policy.language_model import state_of
from policy.speaking_model import SpeakingModule
from training.checkpoint import TrainingError
from training.counterfactual import Search, Spoken, evaluate
from training.imitation import prompts_of, random_intent, with_gaps
from training.run_folder import RunFolder
from training.simulator.cell import CellBatch
from training.simulator.scenario import SLOW_LEADER_SLOTS, Scenario
from training.warm_start import options_for

UNIT_UES = 4
"""Values are means over UEs: times ues / UNIT_UES, a token counts alike in small and large cells."""
WARM_UP_PERIODS = 10
"""Worlds are played up to so many periods, or WARM_UP_SLOTS if that is more, before the leader takes over."""
WARM_UP_SLOTS = 300
REPORTED_UPDATES = 50
"""Figures in the bundle are means over this many last updates."""


@dataclass(frozen=True, slots=True)
class ImproveConfig:
    """How to improve. The defaults suit K <= 5; `config_for` knows what a slow leader needs."""

    updates: int = 300
    seed: int = 0
    worlds: int = 12
    """Side by side: scenarios in turn, UE counts as even as can be."""
    cells: int = 16
    """Of each world; worlds x cells = states an update."""
    round_updates: int = 40
    """Updates between two sets of worlds. At K = 1 rounds much shorter than this show the leader little but what the
    node's scheduler left behind before it took over: it then leaves to that scheduler what is its own to do."""
    learning_rate: float = 1e-3
    final_learning_rate: float = 3e-5
    warm_up_updates: int = 20
    clip_norm: float = 1.0
    scale: float = 10.0
    """Of values in the loss: what they weigh against entropy and KL."""
    entropy: float = 0.003
    exploration: float = 0.1
    """e: share of a step's weight that is spread evenly over the actions tried."""
    kl: float = 0.0
    """Weight of the divergence from the leader that it began with."""
    search: Search = Search()

    def __post_init__(self) -> None:
        if min(self.updates, self.worlds, self.cells, self.round_updates) < 1:
            raise ValueError("updates, worlds, cells and round_updates must be positive")
        if not 0 <= self.exploration <= 1:
            raise ValueError(f"exploration is {self.exploration}, expected 0 to 1")

    def learning_rate_at(self, update: int) -> float:
        """Linear warm-up, then a cosine."""
        cosine = 0.5 + 0.5 * math.cos(math.pi * update / self.updates)
        decayed = self.final_learning_rate + (self.learning_rate - self.final_learning_rate) * cosine
        return decayed * min(1.0, (update + 1) / self.warm_up_updates)


def config_for(scenarios: Sequence[Scenario], **changes: Any) -> ImproveConfig:
    """The defaults at the scenarios' pace. A period of many slots is dear to play: fewer states, fewer tokens tried."""
    if max(s.slots_per_dcm for s in scenarios) < SLOW_LEADER_SLOTS:
        return ImproveConfig(**changes)
    slow: dict[str, Any] = {
        "worlds": 12,
        "cells": 6,
        "round_updates": 10,
        "search": Search(owner_steps=1, owners_per_step=2, grants=3),
        "exploration": 0.3,
        "learning_rate": 5e-4,
    }
    return ImproveConfig(**(slow | changes))


class UpdateReport(NamedTuple):
    """One line of the log."""

    update: int
    value: float
    """Mean value of the DCMs as the leader said them."""
    gain: float
    """What changing the best single token of each would have added, on average: hindsight, it never gets to 0."""
    entropy: float
    """Nats per step that was varied."""
    kl: float
    """From the leader that it began with, nats a DCM; 0 where config.kl is."""
    learning_rate: float


class ImproveResult(NamedTuple):
    """How a run ended."""

    updates: int
    complete: bool
    """False = stopped by the clock or by Ctrl-C."""
    last: UpdateReport
    bundle: Path


class Example(NamedTuple):
    """One state's prompt, the DCM that was said, and what its actions are worth."""

    blocks_PT: NDArray[np.int64]
    line: Line
    known_LA: NDArray[np.bool_]
    value_LA: NDArray[np.float64]
    base: float
    size: float
    """UEs / UNIT_UES."""


def improve(
    start: str | Path,
    scenarios: Sequence[Scenario],
    out: str | Path,
    config: ImproveConfig | None = None,
    *,
    ues: Sequence[int] = (),
    resume: bool = False,
    seconds: float = math.inf,
    progress: Callable[[UpdateReport], None] = lambda report: None,
    command: str = "",
) -> ImproveResult:
    """Improve the leader of the bundle at `start`; its followers stay. Ctrl-C, or `seconds` over, saves and returns.

    ues: UE counts to train on, repeats count twice; () = the scenarios' own. Raises TrainingError, BundleError.
    """
    stop_at = time.monotonic() + seconds
    config = config or config_for(scenarios)
    run = _Run(load_bundle(start), tuple(scenarios), Path(out), config, tuple(ues), command)
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


class Arena:
    """One round's worlds, each in its own scenario with its own number of UEs."""

    def __init__(
        self,
        scenarios: Sequence[Scenario],
        ue_counts: Sequence[int],
        config: ImproveConfig,
        options: GrammarOptions,
        rng: np.random.Generator,
    ) -> None:
        self._config, self._options, self._rng = config, options, rng
        turns = -(-config.worlds // len(ue_counts))
        counts = np.concatenate([rng.permutation(ue_counts) for _ in range(turns)])[: config.worlds].tolist()
        first = int(rng.integers(len(scenarios)))
        self._games = [
            _Game(scenarios[(first + k) % len(scenarios)], config.cells, ues, rng) for k, ues in enumerate(counts)
        ]

    def play(self, leader: SpeakingModule) -> list[Example]:
        """One period of every world, led by `leader`; what its DCMs were worth that governed it.

        A slow leader's first period is governed by nobody: no examples.
        """
        rng = self._rng
        states = [with_gaps(s, rng) for game in self._games for s in game.world.observe()]
        intents = [random_intent(s, rng) for s in states]
        grammars = [compile_grammar(s, i, self._options) for s, i in zip(states, intents)]
        longest = max(g.max_tokens for g in grammars)
        speeches = decode(leader, states, intents, grammars, uniforms_BL=rng.random((len(states), longest)))
        prompts = leader.layout.encode(states, intents)
        blocks = np.split(prompts.tokens_NT, np.cumsum(prompts.num_ues_B + 1)[:-1])
        decided = [
            _Decided(Spoken(state, intent, grammar, speech.tokens), block)
            for state, intent, grammar, speech, block in zip(states, intents, grammars, speeches, blocks)
        ]
        cells = self._config.cells
        return [
            example
            for k, game in enumerate(self._games)
            for example in game.step(decided[k * cells : (k + 1) * cells], self._config.search, rng)
        ]


class _Decided(NamedTuple):
    spoken: Spoken
    blocks_PT: NDArray[np.int64]


class _Game:
    """Cells of one scenario being led, under the period rule of evaluations and of the live path."""

    def __init__(self, scenario: Scenario, cells: int, ues: int, rng: np.random.Generator) -> None:
        self.world = CellBatch(scenario, cells, ues, int(rng.integers(2**62)))
        pace = scenario.slots_per_dcm
        periods = max(WARM_UP_PERIODS, WARM_UP_SLOTS // pace)
        self.world.play(None, pace * int(rng.integers(1, periods + 1)))
        self._upcoming: list[list[_Decided]] = []

    def step(self, decided: list[_Decided], search: Search, rng: np.random.Generator) -> list[Example]:
        """Play the period that begins now."""
        scenario = self.world.scenario
        self._upcoming.append(decided)
        if len(self._upcoming) <= scenario.control_lead_periods:
            self.world.play(None, scenario.slots_per_dcm)
            return []
        governing = self._upcoming.pop(0)
        values, plan = evaluate(self.world, [d.spoken for d in governing], search, rng)
        self.world.play(plan, scenario.slots_per_dcm)
        return [
            Example(d.blocks_PT, v.line, v.known_LA, v.value_LA, v.base, d.spoken.state.num_ues / UNIT_UES)
            for d, v in zip(governing, values)
        ]


class _Run:
    """The leader, its optimizer, and where the run stands."""

    def __init__(
        self,
        start: Bundle,
        scenarios: tuple[Scenario, ...],
        out: Path,
        config: ImproveConfig,
        ues: tuple[int, ...],
        command: str,
    ) -> None:
        if options_for(scenarios) != start.options:
            names = ", ".join(s.name for s in scenarios)
            raise TrainingError(f"the bundle's leader may not say what a DCM says in {names}: it is for another K")
        self._start, self.config, self.command = start, config, command
        self._scenarios = scenarios
        self._ue_counts = tuple(sorted(ues or {count for s in scenarios for count in s.ue_counts}))
        self.leader = start.leader
        self._reference = copy.deepcopy(start.leader).eval()
        self._models = {"leader": self.leader}
        self._optimizers = {"leader": torch.optim.AdamW(self.leader.parameters(), betas=(0.9, 0.98), weight_decay=0.0)}
        self.folder = RunFolder(out, self._identity())
        self.update = 0
        self.reports: list[UpdateReport] = []

    def _identity(self) -> dict[str, Any]:
        """What a checkpoint must agree with to be resumed."""
        return {
            "config": asdict(self.config),
            "scenarios": {s.name: s.hash for s in self._scenarios},
            "ues": self._ue_counts,
            "start": float(sum(tensor.double().abs().sum() for tensor in state_of(self._start.leader).values())),
        }

    def restore(self) -> None:
        """Go back to the checkpoint's round. Raises TrainingError."""
        restored = self.folder.restore(self._models, self._optimizers)
        self.update = restored.step
        self.reports = [UpdateReport(**line) for line in restored.log]

    def learn(self, progress: Callable[[UpdateReport], None], time_is_up: Callable[[], bool]) -> bool:
        """Rounds until all updates are done (True) or time is up (False)."""
        config = self.config
        while self.update < config.updates:
            self.folder.save(self._models, self._optimizers, self.update, {})
            rng = np.random.default_rng([config.seed, self.update])
            arena = Arena(self._scenarios, self._ue_counts, config, self._start.options, rng)
            end = min(self.update + config.round_updates, config.updates)
            while self.update < end:
                if time_is_up():
                    return False
                self.leader.eval()
                examples = arena.play(self.leader)
                if not examples:
                    continue
                report = self._learn_from(examples)
                self.reports.append(report)
                self.folder.write_log(report._asdict())
                progress(report)
                self.update += 1
        self.folder.save(self._models, self._optimizers, self.update, {})
        return True

    def _learn_from(self, examples: Sequence[Example]) -> UpdateReport:
        config, update = self.config, self.update
        self.leader.train()
        losses = counterfactual_loss(self.leader, examples, config, self._reference if config.kl else None)
        rate = config.learning_rate_at(update)
        optimizer = self._optimizers["leader"]
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad(set_to_none=True)
        losses.loss.backward()
        torch.nn.utils.clip_grad_norm_(self.leader.parameters(), config.clip_norm)
        optimizer.step()
        gains = [float((np.where(e.known_LA, e.value_LA, e.base)).max()) - e.base for e in examples]
        return UpdateReport(
            update,
            round(float(np.mean([e.base for e in examples])), 6),
            round(float(np.mean(gains)), 6),
            round(losses.entropy.item(), 6),
            round(losses.kl.item(), 6),
            rate,
        )

    def finish(self, complete: bool) -> ImproveResult:
        """Write the bundle of the weights as they are. Raises TrainingError if not one update was made."""
        if not self.reports:
            raise TrainingError("stopped before the first update: nothing to save")
        start, paces = self._start, [s.slots_per_dcm for s in self._scenarios]
        bundle = Bundle(
            self.leader.eval(),
            start.follower,
            start.options,
            min(start.min_slots_per_dcm, *paces),
            max(start.max_slots_per_dcm, *paces),
            self._provenance(),
            {**start.metrics, **self._means()},
        )
        save_bundle(bundle, self.folder.bundle)
        return ImproveResult(self.update, complete, self.reports[-1], self.folder.bundle)

    def _provenance(self) -> dict[str, Any]:
        before = dict(self._start.provenance)
        return {
            **before,
            "command": " && ".join(filter(None, (before.get("command"), self.command))),
            "method": f"{before.get('method', 'unknown')}, then counterfactual advantages",
            "scenarios": {**before.get("scenarios", {}), **{s.name: s.hash for s in self._scenarios}},
            "improved": {"ues": list(self._ue_counts), "seed": self.config.seed, "updates": self.update},
        }

    def _means(self) -> dict[str, float]:
        last = self.reports[-REPORTED_UPDATES:]
        return {f: round(float(np.mean([getattr(r, f) for r in last])), 4) for f in ("value", "gain", "entropy")}


class Losses(NamedTuple):
    loss: Tensor
    entropy: Tensor
    """Nats per step that was varied."""
    kl: Tensor
    """Nats per DCM."""


def counterfactual_loss(
    leader: SpeakingModule, examples: Sequence[Example], config: ImproveConfig, reference: SpeakingModule | None = None
) -> Losses:
    """What to descend, per DCM: the all-action gradient over what was tried, entropy, and KL to `reference`."""
    script = script_of([e.line for e in examples])
    shape = script.mask_BLA.shape
    known_BLA, value_BLA = np.zeros(shape, bool), np.zeros(shape, np.float32)
    for row, example in enumerate(examples):
        steps, width = example.known_LA.shape
        known_BLA[row, :steps, :width] = example.known_LA
        value_BLA[row, :steps, :width] = np.where(example.known_LA, example.value_LA - example.base, 0.0) * example.size
    varied_BL = torch.from_numpy(known_BLA.any(axis=-1))
    known = torch.from_numpy(np.where(known_BLA.any(axis=-1, keepdims=True), known_BLA, script.mask_BLA))
    value = torch.from_numpy(value_BLA)

    legal = torch.from_numpy(script.mask_BLA)
    count = len(examples)

    def logits_of(model: SpeakingModule) -> Tensor:
        return model.logits(model.read(prompts_of(examples)), script.steps, script.situation_BLA)

    logits = logits_of(leader)
    said = masked_log_softmax(logits, legal).masked_fill(~legal, 0.0)
    tried = masked_log_softmax(logits.detach(), known).exp()
    weight = ((1.0 - config.exploration) * tried + config.exploration / known.sum(-1, keepdim=True)) * known
    advantage = value - (tried * value).sum(-1, keepdim=True)
    push = weight * advantage
    # What is common to all logits changes no probability, but would turn the query that makes them.
    push = (push - push.sum(-1, keepdim=True) / known.sum(-1, keepdim=True)) * known
    gained = (push * logits.masked_fill(~known, 0.0)).sum() / count
    entropy_BL = -(said.exp() * said * legal).sum(-1)
    kl = torch.zeros(())
    if reference is not None:
        with torch.no_grad():
            before = masked_log_softmax(logits_of(reference), legal).masked_fill(~legal, 0.0)
        kl = (said.exp() * (said - before) * legal).sum() / count
    loss = -config.scale * gained - config.entropy * entropy_BL.sum() / count + config.kl * kl
    entropy = (entropy_BL * varied_BL).sum() / varied_BL.sum().clamp(min=1)
    return Losses(loss, entropy.detach(), kl.detach())

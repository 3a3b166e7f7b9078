"""Worlds that the leader plays in order to learn: several scenarios and UE counts side by side.

Cells are led under the period rule of evaluations and of the live path, by tokens drawn or, a share of cells, by the
likeliest. What comes out are examples: what the leader saw, what it decided and how likely that was, what came of it,
and, where asked for, the DCM's value with any other token. Suffixes: B cells, L steps, A actions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from policy.cell_state import CellState
from policy.grammar import Grammar, GrammarOptions, compile_grammar
from policy.intent import Intent, Mode
from policy.leader_models.whole_dcms import teacher_forcing_examples
from training.alternatives import DecidedDcm
from training.counterfactual import evaluate
from training.following.recording import FollowerBatch, FollowerTeam, join, play_period
from training.frozen_round import rng_state, set_rng_state
from training.imitation.collector import random_intent, with_gaps
from training.learning.compiled_decoder import Decoder, DrawnDcm
from training.learning.config import TrainConfig, follow_config
from training.learning.distributed import Ranks
from training.learning.example import Example, check_legal
from training.rewards import cell_reward, served_weights
from training.simulator.cell import CellBatch, Snapshot
from training.simulator.learned_followers import as_followers
from training.simulator.plan import Plan
from training.simulator.scenario import Scenario
from training.simulator.state import COLLISIONS, SERVED

WARM_UP_PERIODS = 10
"""Worlds are played up to so many periods, or WARM_UP_SLOTS if that is more, before the leader takes over."""
WARM_UP_SLOTS = 300


class Rollout:
    """One round's worlds, each in its own scenario with its own number of UEs; depends on the arguments alone."""

    def __init__(
        self,
        config: TrainConfig,
        options: GrammarOptions,
        rng: np.random.Generator,
        *,
        followers: FollowerTeam | None = None,
        learning: Sequence[str] = ("leader",),
        ranks: Ranks | None = None,
        shared_rng: np.random.Generator | None = None,
    ) -> None:
        """followers: None = the best-response rule. learning: the roles whose examples are wanted. ranks: who share the
        worlds; what is drawn of all of them together comes from shared_rng, equal on all ranks (None = rng)."""
        ranks, shared_rng = ranks or Ranks(), shared_rng or rng
        self._config, self._options, self._rng = config, options, rng
        self._greedy_share = config.make_objective().greedy_share(config.greedy_share)
        turns = -(-config.worlds // len(config.ue_counts))
        counts = np.concatenate([shared_rng.permutation(config.ue_counts) for _ in range(turns)])[
            : config.worlds
        ].tolist()
        first, scenarios = int(shared_rng.integers(len(config.scenarios))), config.scenarios
        self._worlds = [
            _LedWorld(
                scenarios[(first + index) % len(scenarios)],
                config,
                index * config.cells,
                counts[index],
                followers,
                learning,
                rng,
            )
            for index in ranks.share(config.worlds)
        ]
        self.node_jain = self.jain()
        """Jain's index of what the node alone served, before the leader came."""
        self.cell_steps = 0
        """Slots x cells played under the leader."""

    def play(self, leader: Decoder) -> list[Example]:
        """One period of every world, led by `leader`; the DCMs that governed it.

        A slow leader's first period is governed by nobody: no examples. Raises InvalidToken.
        """
        rng, cells = self._rng, self._config.cells
        states = [with_gaps(s, rng) for led in self._worlds for s in led.world.observe()]
        intents = [random_intent(s, rng) for s in states]
        grammars = [compile_grammar(s, i, self._options) for s, i in zip(states, intents)]
        longest = max(g.max_tokens for g in grammars)
        uniforms_BL = rng.random((len(states), longest))
        decoded = self._decode(leader, states, intents, grammars, uniforms_BL)
        decided = [
            _Decided(DecidedDcm(state, intent, grammar, dcm.tokens), dcm.log_probs)
            for state, intent, grammar, dcm in zip(states, intents, grammars, decoded)
        ]
        self.cell_steps += sum(cells * led.world.scenario.slots_per_dcm for led in self._worlds)
        return [
            example
            for index, led in enumerate(self._worlds)
            for example in led.step(decided[index * cells : (index + 1) * cells], rng)
        ]

    def follower_batches(self) -> list[FollowerBatch]:
        """What the followers recorded since this was last asked, world by world."""
        return [join(batches) for led in self._worlds if (batches := led.take_recorded())]

    def _decode(
        self,
        leader: Decoder,
        states: Sequence[CellState],
        intents: Sequence[Intent],
        grammars: Sequence[Grammar],
        uniforms_BL: NDArray[np.float64],
    ) -> list[DrawnDcm]:
        """Tokens drawn, in some cells the likeliest ones: a token's value depends on the others around it."""
        share = self._greedy_share
        # Spread evenly over each world's cells.
        greedy_B = np.floor(np.arange(1, len(states) + 1) * share) > np.floor(np.arange(len(states)) * share)
        decoded: dict[int, DrawnDcm] = {}
        for chosen, drawn in ((~greedy_B, True), (greedy_B, False)):
            rows = np.flatnonzero(chosen).tolist()
            part = leader.decode(
                [states[b] for b in rows],
                [intents[b] for b in rows],
                [grammars[b] for b in rows],
                uniforms_BL=uniforms_BL[rows] if drawn else None,
            )
            decoded.update(zip(rows, part))
        return [decoded[b] for b in range(len(states))]

    def keep(self) -> KeptRollout:
        """How its worlds stand between two updates; nothing is copied."""
        return KeptRollout(self.cell_steps, tuple(led.keep() for led in self._worlds))

    def put_back(self, kept: KeptRollout) -> None:
        """Stand as the rollout of the same arguments did that kept this. What the followers recorded is not kept."""
        self.cell_steps = kept.cell_steps
        for led, world in zip(self._worlds, kept.worlds, strict=True):
            led.put_back(world, self._options)

    def jain(self) -> float:
        """Jain's index, mean over cells, of all that was served there so far, before the leader came too."""
        return float(np.mean([cell.jain for led in self._worlds for cell in led.world.metrics()]))


class KeptDcm(NamedTuple):
    """A DCM that governs a period to come; its grammar follows from what it was decided on."""

    state: CellState
    intent: Intent
    tokens: tuple[int, ...]
    log_probs_L: NDArray[np.float64]


class KeptWorld(NamedTuple):
    world: Snapshot
    upcoming: tuple[tuple[KeptDcm, ...], ...]
    """By period, then by cell."""


class KeptRollout(NamedTuple):
    """What a rollout holds between two updates."""

    cell_steps: int
    worlds: tuple[KeptWorld, ...]


class KeptRound(NamedTuple):
    """What a round holds between two updates."""

    first: int
    rng: dict[str, Any]
    played_before: int
    unseen: tuple[float, float] | None
    rollout: KeptRollout


KEPT_CLASSES = (KeptRound, KeptRollout, KeptWorld, KeptDcm, Snapshot, CellState, Intent, Mode)
"""What a kept round is made of: for training.frozen_round."""


class _Decided(NamedTuple):
    dcm: DecidedDcm
    log_probs_L: NDArray[np.float64]


class _LedWorld:
    """Cells of one scenario being led."""

    def __init__(
        self,
        scenario: Scenario,
        config: TrainConfig,
        first_chain: int,
        ues: int,
        followers: FollowerTeam | None,
        learning: Sequence[str],
        rng: np.random.Generator,
    ) -> None:
        self._config, self._first_chain, self._followers, self._learning = config, first_chain, followers, learning
        self._tries_alternatives = "leader" in learning and config.make_objective().needs_branches
        self.world = CellBatch(scenario, config.cells, ues, int(rng.integers(2**62)))
        slots_per_dcm = scenario.slots_per_dcm
        periods = max(WARM_UP_PERIODS, WARM_UP_SLOTS // slots_per_dcm)
        self.world.play(None, slots_per_dcm * int(rng.integers(1, periods + 1)))
        self._upcoming: list[list[_Decided]] = []
        self._recorded: list[FollowerBatch] = []

    def take_recorded(self) -> list[FollowerBatch]:
        taken, self._recorded = self._recorded, []
        return taken

    def keep(self) -> KeptWorld:
        upcoming = tuple(
            tuple(KeptDcm(d.dcm.state, d.dcm.intent, tuple(d.dcm.tokens), d.log_probs_L) for d in period)
            for period in self._upcoming
        )
        return KeptWorld(self.world.snapshot(), upcoming)

    def put_back(self, kept: KeptWorld, options: GrammarOptions) -> None:
        self.world.put_back(kept.world)
        self._upcoming = [[_decided(dcm, options) for dcm in period] for period in kept.upcoming]

    def step(self, decided: list[_Decided], rng: np.random.Generator) -> list[Example]:
        """Play the period that begins now."""
        world = self.world
        self._upcoming.append(decided)
        if len(self._upcoming) <= world.scenario.control_lead_periods:
            world.play(None, world.scenario.slots_per_dcm)
            return []
        governing = self._upcoming.pop(0)
        dcms = [d.dcm for d in governing]
        if self._tries_alternatives:
            values, plan = evaluate(world, dcms, self._config.search, rng, self._config.rule)
            lines, bases = [v.steps for v in values], [v.base for v in values]
            tried = [(v.known_LA, v.value_LA) for v in values]
            outcome = self._play(plan, dcms, rng)
        else:
            lines = teacher_forcing_examples(
                [d.grammar for d in dcms], [d.state for d in dcms], [d.tokens for d in dcms]
            )
            tried = [(np.zeros(line.mask_LA.shape, bool), np.zeros(line.mask_LA.shape)) for line in lines]
            outcome = self._play(world.plan([d.grammar.allocation(d.tokens) for d in dcms]), dcms, rng)
            bases = outcome.reward_B.tolist()
        for d, line in zip(governing, lines):
            check_legal(d.log_probs_L, line)
        return [
            Example(
                self._first_chain + b,
                d.dcm.state,
                d.dcm.intent,
                lines[b],
                d.log_probs_L,
                float(outcome.reward_B[b]),
                float(outcome.collisions_B[b]),
                bases[b],
                *tried[b],
            )
            for b, d in enumerate(governing)
        ]

    def _play(self, plan: Plan, dcms: Sequence[DecidedDcm], rng: np.random.Generator) -> _Outcome:
        """The period, and its mean slot reward."""
        world, scenario = self.world, self.world.scenario
        weights_BU = served_weights(world.state, np.array([d.intent.alpha for d in dcms]))
        served_BU, events_BE = world.state.counters_BUC[:, :, SERVED].copy(), world.state.events_BE.copy()
        if self._followers is None:
            world.play(plan, scenario.slots_per_dcm, self._config.rule)
        elif "follower" in self._learning:
            batch = play_period(world, plan, scenario.slots_per_dcm, self._followers, follow_config(self._config), rng)
            self._recorded.append(batch)
        else:
            world.play(plan, scenario.slots_per_dcm, as_followers(self._followers.model))
        served_BU = world.state.counters_BUC[:, :, SERVED] - served_BU
        events_BE = world.state.events_BE - events_BE
        reward_B = cell_reward(weights_BU, served_BU, events_BE, scenario.num_rbgs) / scenario.slots_per_dcm
        rbg_slots = scenario.num_rbgs * scenario.slots_per_dcm
        return _Outcome(reward_B, events_BE[:, COLLISIONS] / rbg_slots)


def _decided(kept: KeptDcm, options: GrammarOptions) -> _Decided:
    grammar = compile_grammar(kept.state, kept.intent, options)
    return _Decided(DecidedDcm(kept.state, kept.intent, grammar, kept.tokens), kept.log_probs_L)


class _Outcome(NamedTuple):
    reward_B: NDArray[np.float64]
    collisions_B: NDArray[np.float64]


@dataclass(slots=True)
class LearningRound:
    """Updates that share worlds."""

    first: int
    """The update that it began with ..."""
    end: int
    """... and the one before which it is over."""
    rng: np.random.Generator
    learning: tuple[str, ...]
    """The roles that learn in it."""
    rollout: Rollout
    played_before: int
    """Cell-steps before it."""
    unseen: tuple[float, float] | None = None
    """What was seen before it, until an update reports it."""

    def keep(self) -> KeptRound:
        return KeptRound(self.first, rng_state(self.rng), self.played_before, self.unseen, self.rollout.keep())

    def put_back(self, kept: KeptRound) -> None:
        """Stand as the round that kept this did."""
        self.rollout.put_back(kept.rollout)
        set_rng_state(self.rng, kept.rng)
        self.played_before, self.unseen = kept.played_before, kept.unseen

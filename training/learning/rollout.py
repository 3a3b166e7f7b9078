"""Worlds that the leader plays in order to learn: several scenarios and UE counts side by side.

Cells are led under the period rule of evaluations and of the live path, by words drawn or, a share of cells, by the
likeliest. What comes out are examples: what the leader saw, what it said and how likely that was, what came of it, and,
where asked for, what every other word would have been worth. Suffixes: B cells, L steps, A actions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from policy.cell_state import CellState
from policy.grammar import Grammar, GrammarOptions, compile_grammar
from policy.intent import Intent
from policy.leader_models.transcript import DecodedDcm, TeacherForcingExample, teacher_forcing_example
from training.counterfactual import Spoken, evaluate
from training.errors import InvalidToken
from training.following.recording import FollowerBatch, FollowerTeam, join, play_period
from training.imitation.collector import random_intent, with_gaps
from training.learning.config import UNIT_UES, TrainConfig, follow_config
from training.rewards import cell_reward, served_weights
from training.simulator.cell import CellBatch
from training.simulator.learned_followers import as_followers
from training.simulator.plan import Plan
from training.simulator.scenario import Scenario
from training.simulator.state import COLLISIONS, SERVED

if TYPE_CHECKING:
    from policy.leader_models.leader_network import TrainableNetwork

WARM_UP_PERIODS = 10
"""Worlds are played up to so many periods, or WARM_UP_SLOTS if that is more, before the leader takes over."""
WARM_UP_SLOTS = 300


class Example(NamedTuple):
    """One state, the DCM that was said in it, and what came of it."""

    chain: int
    """Which cell of the arena: examples of a chain, in their order, are one cell's decisions over time."""
    state: CellState
    intent: Intent
    line: TeacherForcingExample
    log_probs_L: NDArray[np.float64]
    """Of each token, as it was drawn."""
    reward: float
    """Mean slot reward (training.rewards) of the period that it governed."""
    collision_fraction: float
    """Of that period's RBG-slots."""
    base: float
    """Value of the DCM as it was said; the reward, where alternatives were not tried."""
    known_LA: NDArray[np.bool_]
    """Which actions were tried; with them the one that was said."""
    value_LA: NDArray[np.float64]
    """Of the DCM with this action at this step; `base` for what was said."""

    @property
    def size(self) -> float:
        """What its values count."""
        return self.state.num_ues / UNIT_UES


class Arena:
    """One round's worlds, each in its own scenario with its own number of UEs; depends on the arguments alone."""

    def __init__(
        self,
        config: TrainConfig,
        options: GrammarOptions,
        rng: np.random.Generator,
        *,
        followers: FollowerTeam | None = None,
        learning: Sequence[str] = ("leader",),
    ) -> None:
        """followers: None = the best-response rule. learning: the roles whose examples are wanted."""
        self._config, self._options, self._rng = config, options, rng
        turns = -(-config.worlds // len(config.ue_counts))
        counts = np.concatenate([rng.permutation(config.ue_counts) for _ in range(turns)])[: config.worlds].tolist()
        first, scenarios = int(rng.integers(len(config.scenarios))), config.scenarios
        self._games = [
            _Game(scenarios[(first + k) % len(scenarios)], config, k * config.cells, ues, followers, learning, rng)
            for k, ues in enumerate(counts)
        ]
        self.node_jain = self.jain()
        """Of what the node alone served, before the leader came."""
        self.cell_steps = 0
        """Slots x cells played under the leader."""

    def play(self, leader: TrainableNetwork) -> list[Example]:
        """One period of every world, led by `leader`; the DCMs that governed it.

        A slow leader's first period is governed by nobody: no examples. Raises InvalidToken.
        """
        rng, cells = self._rng, self._config.cells
        states = [with_gaps(s, rng) for game in self._games for s in game.world.observe()]
        intents = [random_intent(s, rng) for s in states]
        grammars = [compile_grammar(s, i, self._options) for s, i in zip(states, intents)]
        longest = max(g.max_tokens for g in grammars)
        uniforms_BL = rng.random((len(states), longest))
        decoded_dcms = self._speak(leader, states, intents, grammars, uniforms_BL)
        decided = [
            _Decided(Spoken(state, intent, grammar, speech.tokens), speech.log_probs)
            for state, intent, grammar, speech in zip(states, intents, grammars, decoded_dcms)
        ]
        self.cell_steps += sum(cells * game.world.scenario.slots_per_dcm for game in self._games)
        return [
            example
            for k, game in enumerate(self._games)
            for example in game.step(decided[k * cells : (k + 1) * cells], rng)
        ]

    def follower_batches(self) -> list[FollowerBatch]:
        """What the followers recorded since this was last asked, world by world."""
        return [join(batches) for game in self._games if (batches := game.take_recorded())]

    def _speak(
        self,
        leader: TrainableNetwork,
        states: Sequence[CellState],
        intents: Sequence[Intent],
        grammars: Sequence[Grammar],
        uniforms_BL: NDArray[np.float64],
    ) -> list[DecodedDcm]:
        """Drawn words, in some cells the likeliest ones: what a word is worth depends on the others around it."""
        share = self._config.greedy_share if self._config.credit == "regression" else 0.0
        # Spread evenly over each world's cells.
        greedy_B = np.floor(np.arange(1, len(states) + 1) * share) > np.floor(np.arange(len(states)) * share)
        decoded_dcms: dict[int, DecodedDcm] = {}
        for chosen, drawn in ((~greedy_B, True), (greedy_B, False)):
            rows = np.flatnonzero(chosen).tolist()
            spoken = leader.decode(
                [states[b] for b in rows],
                [intents[b] for b in rows],
                [grammars[b] for b in rows],
                uniforms_BL=uniforms_BL[rows] if drawn else None,
            )
            decoded_dcms.update(zip(rows, spoken))
        return [decoded_dcms[b] for b in range(len(states))]

    def jain(self) -> float:
        """Mean over cells, of all that was served there so far, before the leader came too."""
        return float(np.mean([cell.jain for game in self._games for cell in game.world.metrics()]))


class _Decided(NamedTuple):
    spoken: Spoken
    log_probs_L: NDArray[np.float64]


class _Game:
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
        self.world = CellBatch(scenario, config.cells, ues, int(rng.integers(2**62)))
        pace = scenario.slots_per_dcm
        periods = max(WARM_UP_PERIODS, WARM_UP_SLOTS // pace)
        self.world.play(None, pace * int(rng.integers(1, periods + 1)))
        self._upcoming: list[list[_Decided]] = []
        self._recorded: list[FollowerBatch] = []

    def take_recorded(self) -> list[FollowerBatch]:
        taken, self._recorded = self._recorded, []
        return taken

    def step(self, decided: list[_Decided], rng: np.random.Generator) -> list[Example]:
        """Play the period that begins now."""
        world = self.world
        self._upcoming.append(decided)
        if len(self._upcoming) <= world.scenario.control_lead_periods:
            world.play(None, world.scenario.slots_per_dcm)
            return []
        governing = self._upcoming.pop(0)
        spoken = [d.spoken for d in governing]
        if self._config.credit == "sequence" or "leader" not in self._learning:
            lines = [teacher_forcing_example(s.grammar, s.state, s.tokens) for s in spoken]
            tried = [(np.zeros(line.mask_LA.shape, bool), np.zeros(line.mask_LA.shape)) for line in lines]
            outcome = self._play(world.plan([s.grammar.allocation(s.tokens) for s in spoken]), spoken, rng)
            bases = outcome.reward_B.tolist()
        else:
            values, plan = evaluate(world, spoken, self._config.search, rng, self._config.rule)
            lines, bases = [v.line for v in values], [v.base for v in values]
            tried = [(v.known_LA, v.value_LA) for v in values]
            outcome = self._play(plan, spoken, rng)
        for d, line in zip(governing, lines):
            check_legal(d.log_probs_L, line)
        return [
            Example(
                self._first_chain + b,
                d.spoken.state,
                d.spoken.intent,
                lines[b],
                d.log_probs_L,
                float(outcome.reward_B[b]),
                float(outcome.collisions_B[b]),
                bases[b],
                *tried[b],
            )
            for b, d in enumerate(governing)
        ]

    def _play(self, plan: Plan, spoken: Sequence[Spoken], rng: np.random.Generator) -> _Outcome:
        """The period, and its mean slot reward."""
        world, scenario = self.world, self.world.scenario
        weights_BU = served_weights(world.state, np.array([s.intent.alpha for s in spoken]))
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


class _Outcome(NamedTuple):
    reward_B: NDArray[np.float64]
    collisions_B: NDArray[np.float64]


def check_legal(log_probs_L: NDArray[np.float64], line: TeacherForcingExample) -> None:
    """Raises InvalidToken: the third of the paper's failure signatures."""
    legal_L = line.mask_LA[np.arange(len(line.tokens_L)), line.tokens_L]
    wrong = np.flatnonzero(~legal_L | ~np.isfinite(log_probs_L))
    if len(wrong):
        step = int(wrong[0])
        raise InvalidToken(
            f"invalid token: step {step} said {int(line.tokens_L[step])} with log-probability "
            f"{float(log_probs_L[step]):.3g}; check that the grammar's masks (PAG) reach the sampler"
        )

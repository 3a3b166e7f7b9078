"""Every player that a bundle is compared with, by name: who decides, and what the followers make of it.

A rule's name alone means followers that obey: they send on all they were granted and nowhere else. With `_smart` the
followers give the best response, and contend for OPEN RBGs at a c tuned for the scenario, the rule and the number of
UEs (training.baselines.contention_tuning), or, where nothing was tuned, as the rule says from reports. The node's rows,
the static configuration, contention and `belief_pf` have best-response followers always. Decisions come once per DCM;
the genie of `aloha` and the oracles act in every slot.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from policy.errors import UserMistake
from policy.leader import Leader
from policy.observation import FULL
from training.baselines.belief_pf import BELIEF_PF, BeliefPf
from training.baselines.contention_tuning import tuned_contenders
from training.baselines.reference import all_open_plan, genie_aloha, oracle_plan
from training.baselines.rules import INFLIGHT_PF, RULES, FixedContenders
from training.replay import NODE_IDLE, NODE_SCHEDULER, replay, replay_row
from training.rewards import served_weights
from training.simulator.cell import CellBatch, Followers
from training.simulator.metrics import CellMetrics
from training.simulator.scenario import SCENARIOS, Scenario

INFLIGHT_PF_SMART = f"{INFLIGHT_PF}_smart"
ORACLE = "oracle"
"""Knows queues and channels as they are, and weighs bits as a scheduler does: by a served average of ten slots or so.
It serves one slot after the other and climbs no utility, so it is a reference, no bound."""
ORACLE_UTILITY = "oracle_utility"
"""The same with the weights that utility itself has: of what was served since slot 0."""
LEARNED = (
    "pf_leader_learned_followers",
    "pf_leader_retrained_followers",
    "dictator_learned",
    "mappo",
    "mappo_g",
)
"""Baselines that learn: bundles that have to be trained before they can be compared."""


class World(NamedTuple):
    """What is replayed: equal worlds are equal to the last coin, whoever plays."""

    scenario: Scenario
    ues: int
    cells: int
    seed: int
    periods: int
    observe: str = FULL
    """Observation profile of whoever leads from reports."""


Play = Callable[[World], list[CellMetrics]]
"""One row per cell, the same for the same world. Picklable, where processes are to share the work."""


class Player(NamedTuple):
    """Who decides, and how."""

    name: str
    plays: tuple[Play, ...]
    """One per training seed; a rule has one."""
    decoding: str | None = None
    """greedy or sampled; None for a rule."""
    followers: str = "rule"
    """rule = best response, obey, learned, or genie."""
    train_seeds: tuple[int, ...] = ()
    baseline: bool = True
    """Others are compared with it."""
    teacher: str = ""
    """Baseline that it learned from and must not fall below; "" = none."""
    trained_ues: tuple[int, ...] = ()

    @property
    def label(self) -> str:
        return self.name if self.baseline or self.decoding is None else f"{self.name} ({self.decoding})"


@dataclass(frozen=True, slots=True)
class Led:
    """Play under a leader."""

    leader: Leader
    followers: Followers

    def __call__(self, world: World) -> list[CellMetrics]:
        scenario, ues, cells, seed, periods, observe = world
        return replay(
            scenario,
            self.leader,
            ues=ues,
            cells=cells,
            seed=seed,
            periods=periods,
            followers=self.followers,
            observe=observe,
        )


@dataclass(frozen=True, slots=True)
class Tuned:
    """Play under a rule whose c of the leftover rule was tuned, over best-response followers or others."""

    player: str
    leader: Leader
    followers: Followers = "best_response"
    own_contenders: tuple[tuple[int, float], ...] = ()
    """c by number of UEs where it is none of the shipped table (training.baselines.own_table)."""

    def contenders(self, scenario: Scenario, ues: int) -> float | None:
        """c here; None = not tuned, the rule's own."""
        own = dict(self.own_contenders)
        return own[ues] if ues in own else open_contenders(scenario, self.player, ues)

    def __call__(self, world: World) -> list[CellMetrics]:
        contenders = self.contenders(world.scenario, world.ues)
        leader = self.leader if contenders is None else FixedContenders(self.leader, contenders)
        return Led(leader, self.followers)(world)


@dataclass(frozen=True, slots=True)
class Named:
    """Play a row of the lab's comparisons by its name."""

    row: str

    def __call__(self, world: World) -> list[CellMetrics]:
        scenario, ues, cells, seed, periods, observe = world
        return replay_row(scenario, self.row, ues=ues, cells=cells, seed=seed, periods=periods, observe=observe)


def open_contenders(scenario: Scenario, player: str, ues: int) -> float | None:
    """The tuned c of a `_smart` row here; None = not tuned, the rule's own."""
    if SCENARIOS.get(scenario.name) != scenario:
        return None
    return tuned_contenders(scenario.name, player, ues)


def make_baselines(against: str) -> list[Player]:
    """`all`, or names separated by commas; learned ones are left to the caller. Raises UserMistake."""
    if against.strip() == "all":
        return list(BASELINES.values())
    names = list(dict.fromkeys(name.strip() for name in against.split(",") if name.strip()))
    if not names:
        raise UserMistake(f"nobody to compare with; known: all, {', '.join(BASELINES)}")
    for name in names:
        if name not in BASELINES and name not in LEARNED:
            raise UserMistake(
                f"unknown player {name!r}; known: all, {', '.join((*BASELINES, *LEARNED))}, or module:Class"
            )
    return [BASELINES[name] for name in names if name in BASELINES]


def _play_aloha(world: World) -> list[CellMetrics]:
    batch = CellBatch(world.scenario, world.cells, world.ues, world.seed)
    batch.play(all_open_plan(batch), world.periods * world.scenario.slots_per_dcm, genie_aloha)
    return batch.metrics()


def _play_oracle(world: World) -> list[CellMetrics]:
    batch = CellBatch(world.scenario, world.cells, world.ues, world.seed)
    for _ in range(world.periods * world.scenario.slots_per_dcm):
        batch.play(oracle_plan(batch, world.scenario.node_contenders), 1)
    return batch.metrics()


def _play_oracle_utility(world: World) -> list[CellMetrics]:
    batch, alpha_B = CellBatch(world.scenario, world.cells, world.ues, world.seed), np.ones(world.cells)
    for _ in range(world.periods * world.scenario.slots_per_dcm):
        weights_BU = served_weights(batch.state, alpha_B)
        batch.play(oracle_plan(batch, world.scenario.node_contenders, weights_BU), 1)
    return batch.metrics()


def _play_belief_pf(world: World) -> list[CellMetrics]:
    return Led(BeliefPf(world.scenario), "best_response")(world)


BASELINES: dict[str, Player] = {
    player.name: player
    for player in (
        Player(NODE_IDLE, (Named(NODE_IDLE),)),
        Player(NODE_SCHEDULER, (Named(NODE_SCHEDULER),)),
        Player("static_config", (Named("static_config"),)),
        *(Player(name, (Led(leader, "obey"),), followers="obey") for name, leader in RULES.items()),
        *(Player(f"{name}_smart", (Tuned(f"{name}_smart", leader),)) for name, leader in RULES.items()),
        Player("contention", (Named("contention"),)),
        Player("aloha", (_play_aloha,), followers="genie"),
        Player(BELIEF_PF, (_play_belief_pf,)),
        Player(ORACLE, (_play_oracle,)),
        Player(ORACLE_UTILITY, (_play_oracle_utility,)),
    )
}
"""Rules, by name, in the order of a table."""

"""Every policy that a bundle is compared with, by name: who decides, and what the followers make of it.

A rule's name alone means followers that obey: they send on all they were granted and nowhere else. With `_smart` the
followers give the best response, and contend for OPEN RBGs as the rule's own c says. The node's rows, the static
configuration and contention have best-response followers always. Decisions come once per DCM; the genie of `aloha` and
the `oracle` act in every slot.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from policy.cell_state import CellState
from policy.intent import Intent
from policy.leader import Decision, Leader
from policy.schedulers import SCHEDULERS
from training.baselines.reference import all_open_plan, genie_aloha, oracle_plan
from training.evaluation import NODE_IDLE, NODE_SCHEDULER, replay, replay_row
from training.simulator.cell import CellBatch, Followers
from training.simulator.metrics import CellMetrics
from training.simulator.scenario import Scenario

INFLIGHT_PF_SMART = "inflight_pf_smart"
ORACLE = "oracle"
"""Knows queues and channels as they are; what is left between the two is what a leader could gain."""
NOT_BUILT = (
    "pf_leader_learned_followers",
    "pf_leader_retrained_followers",
    "dictator_learned",
    "mappo",
    "mappo_g",
)
"""Baselines that learn: they have to be trained before they can be compared."""


class World(NamedTuple):
    """What is replayed: equal worlds are equal to the last coin, whoever plays."""

    scenario: Scenario
    ues: int
    cells: int
    seed: int
    periods: int


class Player(NamedTuple):
    """A policy and how its decisions are made."""

    policy: str
    play: Callable[[World], list[CellMetrics]]
    """One row per cell, the same for the same world."""
    decoding: str | None = None
    """greedy or sampled; None for a rule."""
    followers: str = "rule"
    """rule = best response, obey, learned, or genie."""
    train_seeds: tuple[int, ...] = ()

    @property
    def label(self) -> str:
        return self.policy if self.decoding is None else f"{self.policy} ({self.decoding})"


class OldReports:
    """A leader that does not subtract from a buffer report what was served since: the reference game's plain PF."""

    def __init__(self, leader: Leader) -> None:
        self.name = leader.name
        self._leader = leader

    def decide(
        self, states: Sequence[CellState], intents: Sequence[Intent], expired: Callable[[], bool]
    ) -> list[Decision]:
        plain = [replace(state, inflight_bits_U=np.zeros(state.num_ues)) for state in states]
        return self._leader.decide(plain, intents, expired)


def make_baselines(against: str) -> list[Player]:
    """`all`, or names separated by commas. Raises ValueError."""
    if against.strip() == "all":
        return list(BASELINES.values())
    names = list(dict.fromkeys(name.strip() for name in against.split(",") if name.strip()))
    if not names:
        raise ValueError(f"nobody to compare with; known: all, {', '.join(BASELINES)}")
    for name in names:
        if name in NOT_BUILT:
            raise ValueError(f"{name} is not built yet; known: {', '.join(BASELINES)}")
        if name not in BASELINES:
            raise ValueError(f"unknown policy {name!r}; known: all, {', '.join(BASELINES)}")
    return [BASELINES[name] for name in names]


def led(leader: Leader, followers: Followers) -> Callable[[World], list[CellMetrics]]:
    """Play under a leader."""

    def play(world: World) -> list[CellMetrics]:
        scenario, ues, cells, seed, periods = world
        return replay(scenario, leader, ues=ues, cells=cells, seed=seed, periods=periods, followers=followers)

    return play


def _named(row: str) -> Player:
    def play(world: World) -> list[CellMetrics]:
        scenario, ues, cells, seed, periods = world
        return replay_row(scenario, row, ues=ues, cells=cells, seed=seed, periods=periods)

    return Player(row, play)


def _rules() -> list[Player]:
    fair = SCHEDULERS["proportional_fair"]
    leaders: dict[str, Leader] = {
        "round_robin": SCHEDULERS["round_robin"],
        "proportional_fair": OldReports(fair),
        "inflight_pf": fair,
        "max_weight": SCHEDULERS["max_weight"],
        "max_rate": SCHEDULERS["max_rate"],
    }
    obeyed = [Player(name, led(leader, "obey"), followers="obey") for name, leader in leaders.items()]
    return obeyed + [Player(f"{name}_smart", led(leader, "best_response")) for name, leader in leaders.items()]


def _play_aloha(world: World) -> list[CellMetrics]:
    batch = CellBatch(world.scenario, world.cells, world.ues, world.seed)
    batch.play(all_open_plan(batch), world.periods * world.scenario.slots_per_dcm, genie_aloha)
    return batch.metrics()


def _play_oracle(world: World) -> list[CellMetrics]:
    batch = CellBatch(world.scenario, world.cells, world.ues, world.seed)
    for _ in range(world.periods * world.scenario.slots_per_dcm):
        batch.play(oracle_plan(batch, world.scenario.node_contenders), 1)
    return batch.metrics()


BASELINES: dict[str, Player] = {
    player.policy: player
    for player in (
        _named(NODE_IDLE),
        _named(NODE_SCHEDULER),
        _named("static_config"),
        *_rules(),
        _named("contention"),
        Player("aloha", _play_aloha, followers="genie"),
        Player(ORACLE, _play_oracle),
    )
}
"""By name, in the order of a table."""

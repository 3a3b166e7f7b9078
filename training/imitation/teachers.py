"""Whom a leader may imitate: any leader by name, the oracle, who sees what no leader can, and `belief_pf`, who knows
the scenario's traffic law.

A teacher answers where the cells stand now: a leader from what would be reported, the oracle from the truth.
Suffixes: B cells, M RBGs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol
from weakref import WeakKeyDictionary

import numpy as np

from policy.allocation import Allocation, LeftoverRule
from policy.cell_state import ALL_CLASSES, CellState
from policy.intent import Intent
from policy.leader import Leader, never_expires
from training.baselines.belief_pf import BELIEF_PF, BeliefPf
from training.errors import TrainingError
from training.simulator.cell import CellBatch
from training.simulator.scenario import SLOW_LEADER_SLOTS

ORACLE = "oracle"


class Teacher(Protocol):
    """Whoever has an answer to every state."""

    @property
    def name(self) -> str: ...

    def answers(self, world: CellBatch, states: Sequence[CellState], intents: Sequence[Intent]) -> list[Allocation]:
        """What to decide in each cell of `world`, which reports `states`."""


class LeaderAsTeacher:
    """Answers as a leader would decide."""

    def __init__(self, leader: Leader) -> None:
        self.name, self._leader = leader.name, leader

    def answers(self, world: CellBatch, states: Sequence[CellState], intents: Sequence[Intent]) -> list[Allocation]:
        return [decision.allocation for decision in self._leader.decide(states, intents, never_expires)]


class Oracle:
    """Greedy proportional fair on fresh queues and channels, with the node's own leftover rule.

    A leader cannot know what it knows; its answers to every report teach what is best on average. Only at K = 1, as in
    the paper's game: its answer is for this slot. It knows no intents: whoever asks leaves out what the grammar
    forbids.
    """

    name = ORACLE

    def answers(self, world: CellBatch, states: Sequence[CellState], intents: Sequence[Intent]) -> list[Allocation]:
        from training.baselines.reference import oracle_plan

        scenario = world.scenario
        if scenario.slots_per_dcm >= SLOW_LEADER_SLOTS:
            raise TrainingError(f"the oracle decides for one slot, {scenario.name} has {scenario.slots_per_dcm} a DCM")
        plan = oracle_plan(world, scenario.node_contenders)
        leftover = LeftoverRule(ALL_CLASSES, scenario.node_contenders)
        found = []
        for b, state in enumerate(states):
            row_of_seat = np.zeros(world.ues, np.int16)
            present = np.flatnonzero(world.state.present_BU[b])
            ids = world.state.ue_id_BU[b, present]
            row_of_seat[present[np.argsort(ids)]] = np.arange(len(present))
            owner_M = plan.owner_BM[b]
            owners = np.where(owner_M >= 0, row_of_seat[owner_M.clip(0)], owner_M).astype(np.int16)
            found.append(Allocation(state.ue_ids, owners, leftover))
        return found


class BeliefTeacher:
    """`belief_pf` (training.baselines.belief_pf), with a memory of each world."""

    name = BELIEF_PF

    def __init__(self) -> None:
        self._beliefs: WeakKeyDictionary[CellBatch, BeliefPf] = WeakKeyDictionary()

    def answers(self, world: CellBatch, states: Sequence[CellState], intents: Sequence[Intent]) -> list[Allocation]:
        scenario = world.scenario
        if scenario.slots_per_dcm >= SLOW_LEADER_SLOTS:
            slots = scenario.slots_per_dcm
            raise TrainingError(f"{BELIEF_PF} decides for one slot, {scenario.name} has {slots} a DCM")
        belief = self._beliefs.setdefault(world, BeliefPf(scenario, is_played=False))
        return [decision.allocation for decision in belief.decide(states, intents, never_expires)]


def make_teacher(name: str) -> Teacher:
    """`oracle`, `belief_pf`, or any leader that policy.registry makes. Raises LeaderError."""
    from policy.registry import make_leader

    if name == ORACLE:
        return Oracle()
    return BeliefTeacher() if name == BELIEF_PF else LeaderAsTeacher(make_leader(name, beside=(ORACLE, BELIEF_PF)))

"""The worlds in which followers learn: cells of one scenario each, under a leader that stands still."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from policy.allocation import Allocation, LeftoverRule, PeriodicGrant
from policy.intent import Intent
from policy.leader import Leader, never_expires
from training.errors import TrainingError
from training.following.config import RecordingConfig
from training.following.recording import FollowerBatch, FollowerTeam, join, play_period
from training.simulator.cell import CellBatch, Snapshot
from training.simulator.lease import BatchSchedule, Control
from training.simulator.scenario import Scenario

WARM_UP_SLOTS = 200
"""Worlds are played up to so many slots by the rule before the followers take over."""
MIN_CELLS = 4
"""The least cells of a world, however many UE counts share an update."""

LeaderOf = Callable[[Scenario, int], Leader | None]
"""Who leads cells of so many UEs; None = the node's own scheduler."""


class KeptFollowerWorld(NamedTuple):
    """How a world stands between two periods."""

    world: Snapshot
    controls: tuple[tuple[Control, ...], ...]
    """Of each cell, those that govern or are to."""


KEPT_CLASSES = (KeptFollowerWorld, Snapshot, Control, Allocation, LeftoverRule, PeriodicGrant)
"""What a kept world is made of: for training.frozen_round."""


class FollowerWorld:
    """Cells of one scenario in which followers learn, led under the period rule of evaluations."""

    def __init__(
        self, scenario: Scenario, cells: int, ues: int, seed: int, warm_up: int, leader: Leader | None = None
    ) -> None:
        """warm_up: slots played before, rounded down to whole periods. leader: None = the node's own scheduler."""
        self.world = CellBatch(scenario, cells, ues, seed)
        self._leader = leader
        self._schedule = BatchSchedule(scenario, cells)
        self.world.play(None, warm_up // scenario.slots_per_dcm * scenario.slots_per_dcm)

    def keep(self) -> KeptFollowerWorld:
        """How it stands; nothing is copied."""
        return KeptFollowerWorld(self.world.snapshot(), self._schedule.keep())

    def put_back(self, kept: KeptFollowerWorld) -> None:
        """Stand as the world of the same arguments did that kept this."""
        self.world.put_back(kept.world)
        self._schedule.put_back(kept.controls)

    def play(self, slots: int, team: FollowerTeam, config: RecordingConfig, rng: np.random.Generator) -> FollowerBatch:
        """At least `slots` slots, in whole periods."""
        slots_per_dcm = self.world.scenario.slots_per_dcm
        periods = range(-(-slots // slots_per_dcm))
        return join([play_period(self.world, self.governing(), slots_per_dcm, team, config, rng) for _ in periods])

    def governing(self) -> list[Allocation | None]:
        """To be asked once at the begin of every period: what governs it, None = the node's own scheduler."""
        world = self.world
        if self._leader is not None:
            decisions = self._leader.decide(world.observe(), [Intent()] * world.cells, never_expires)
            self._schedule.offer([decision.allocation for decision in decisions], world.slot)
        return self._schedule.governing(world.slot)


def new_worlds(
    leader_of: LeaderOf,
    scenarios: Sequence[Scenario],
    ue_counts: Sequence[int],
    worlds: int,
    cells: int,
    rng: np.random.Generator,
) -> list[FollowerWorld]:
    """Scenarios in turn, and every UE count at once: followers that see one at a time forget the others.

    With more UE counts than `worlds` there are more worlds, of fewer cells each. Raises TrainingError for no
    scenarios or UE counts.
    """
    if not scenarios or not ue_counts:
        raise TrainingError("no scenario or no UE count to train on")
    number = max(worlds, len(ue_counts))
    each = max(MIN_CELLS, worlds * cells // number) if number > worlds else cells
    turns = -(-number // len(ue_counts))
    counts: list[NDArray[np.int64]] = [rng.permutation(np.asarray(ue_counts)) for _ in range(turns)]
    first = int(rng.integers(len(scenarios)))
    made = []
    for index, ues in enumerate(np.concatenate(counts)[:number].tolist()):
        scenario = scenarios[(first + index) % len(scenarios)]
        seed, warm_up = int(rng.integers(2**62)), int(rng.integers(WARM_UP_SLOTS + 1))
        made.append(FollowerWorld(scenario, each, ues, seed, warm_up, leader_of(scenario, ues)))
    return made

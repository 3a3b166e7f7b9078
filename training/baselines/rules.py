"""The classical rules as rows of a comparison name them, and leaders that change what a rule sees or decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from policy.allocation import Allocation
from policy.cell_state import CellState
from policy.intent import Intent
from policy.leader import Decision, Leader
from policy.schedulers.schedulers import SCHEDULERS

INFLIGHT_PF = "inflight_pf"


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


class FixedContenders:
    """A leader whose leftover rule has another c: the same for every decision. Its classes stay."""

    def __init__(self, leader: Leader, contenders: float) -> None:
        self.name = leader.name
        self._leader, self._contenders = leader, contenders

    def decide(
        self, states: Sequence[CellState], intents: Sequence[Intent], expired: Callable[[], bool]
    ) -> list[Decision]:
        decisions = self._leader.decide(states, intents, expired)
        return [replace(d, allocation=self._changed(d.allocation)) for d in decisions]

    def _changed(self, allocation: Allocation) -> Allocation:
        return replace(allocation, leftover=allocation.leftover._replace(contenders=self._contenders))


RULES: dict[str, Leader] = {
    "round_robin": SCHEDULERS["round_robin"],
    "proportional_fair": OldReports(SCHEDULERS["proportional_fair"]),
    INFLIGHT_PF: SCHEDULERS["proportional_fair"],
    "max_weight": SCHEDULERS["max_weight"],
    "max_rate": SCHEDULERS["max_rate"],
}
"""Who leads in the rows of these names: alone for followers that obey, with `_smart` for those that respond."""

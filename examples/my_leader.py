"""A leader of one's own: each RBG goes to the UE with most in its buffer; what is left over is open to all.

stackmac evaluate --scenario mix --against node_scheduler,my_leader:LongestQueue
stackmac evaluate --scenario mix --bundle my_leader:LongestQueue --against inflight_pf_smart
stackmac lab --leader my_leader:LongestQueue --k 1
stackmac tune --scenarios mix --players my_leader:LongestQueue --ues 4
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from policy.allocation import OPEN, Allocation, LeftoverRule
from policy.cell_state import CellState
from policy.intent import Intent
from policy.leader import Decision

BITS_PER_RBG = 500.0
"""What one RBG is taken to carry in a slot."""


class LongestQueue:
    """Stateless, as every leader: what it knows stands in the state."""

    name = "longest_queue"

    def decide(
        self, states: Sequence[CellState], intents: Sequence[Intent], expired: Callable[[], bool]
    ) -> list[Decision]:
        return [Decision(self._allocation(state), decided_by=self.name) for state in states]

    def _allocation(self, state: CellState) -> Allocation:
        # What was decoded since the report waits no more; NaN = not reported.
        waiting_U = np.nan_to_num(state.buffer_bits_U) - np.nan_to_num(state.inflight_bits_U)
        owner_M = np.full(state.num_rbgs, OPEN, np.int16)
        for rbg in range(state.num_rbgs):
            if not state.num_ues or waiting_U.max() <= 0:
                break
            owner_M[rbg] = waiting_U.argmax()
            waiting_U[owner_M[rbg]] -= BITS_PER_RBG
        return Allocation(state.ue_ids, owner_M, LeftoverRule(contenders=0.9))

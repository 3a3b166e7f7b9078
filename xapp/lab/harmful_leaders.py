"""Leaders that do harm on purpose, for the KPI guard to find: in the lab only (`--leader harmful_...`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from policy.allocation import IDLE, Allocation, LeftoverRule
from policy.cell_state import ALL_CLASSES, CellState
from policy.intent import Intent
from policy.leader import Decision
from policy.schedulers.schedulers import dynamic, static_config

WASTED = 5 / 17
"""Of the RBGs, by harmful_waste: a tenth of the utility in `lab` with 20 UEs."""


class _Harmful:
    """A leader by what it does with one cell."""

    name = ""

    def decide(
        self, states: Sequence[CellState], intents: Sequence[Intent], expired: Callable[[], bool]
    ) -> list[Decision]:
        return [
            Decision(self.allocate(state, intent), decided_by=self.name)
            for state, intent in zip(states, intents, strict=True)
        ]

    def allocate(self, state: CellState, intent: Intent) -> Allocation:
        raise NotImplementedError


class Starve(_Harmful):
    """The UE with the lowest id gets all."""

    name = "harmful_starve"

    def allocate(self, state: CellState, intent: Intent) -> Allocation:
        owner = 0 if state.num_ues else IDLE
        return Allocation(state.ue_ids, np.full(state.num_rbgs, owner, np.int16))


class Idle(_Harmful):
    """Nobody may send."""

    name = "harmful_idle"

    def allocate(self, state: CellState, intent: Intent) -> Allocation:
        return Allocation(state.ue_ids, np.full(state.num_rbgs, IDLE, np.int16))


class Collide(_Harmful):
    """As static_config, but whoever has data sends on whatever is left over: two or more collide."""

    name = "harmful_collide"

    def allocate(self, state: CellState, intent: Intent) -> Allocation:
        return replace(static_config(state, intent), leftover=LeftoverRule(ALL_CLASSES, float(max(1, state.num_ues))))


class Victim(_Harmful):
    """As static_config, but the UE with the lowest id gets nothing."""

    name = "harmful_victim"

    def allocate(self, state: CellState, intent: Intent) -> Allocation:
        good = static_config(state, intent)
        caps_U, allowed_U = good.max_rbgs_U.copy(), good.open_allowed_U.copy()
        caps_U[:1], allowed_U[:1] = 0, False
        grants = tuple(grant for grant in good.periodic_grants if grant.ue != 0)
        return replace(good, max_rbgs_U=caps_U, open_allowed_U=allowed_U, periodic_grants=grants)


class Waste(_Harmful):
    """As the node's own scheduler, but on the last few RBGs nobody may send: a little worse, and that to all UEs."""

    name = "harmful_waste"

    def allocate(self, state: CellState, intent: Intent) -> Allocation:
        own = dynamic(state, intent)
        owner_M = own.owner_M.copy()
        owner_M[len(owner_M) - max(1, round(WASTED * len(owner_M))) :] = IDLE
        return replace(own, owner_M=owner_M)


HARMFUL_LEADERS: dict[str, str] = {
    kind.name: f"{__name__}:{kind.__name__}" for kind in (Starve, Idle, Collide, Victim, Waste)
}
"""Name -> module:Class."""


def plug_in_of(name: str) -> str:
    """What the xApp calls a leader of the lab: itself, where it is none of these."""
    return HARMFUL_LEADERS.get(name, name)

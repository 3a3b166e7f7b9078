"""A leader as anyone may bring one, for labs that tests start."""

from __future__ import annotations

from policy.allocation import all_dynamic
from policy.leader import Decision


class Hesitant:
    """Somebody's own leader: everything to the node, and sometimes nothing at all."""

    name = "hesitant"

    def decide(self, states, intents, expired):  # type: ignore[no-untyped-def]
        if any(state.slot % 400 == 0 for state in states):
            raise RuntimeError("today I would rather not")
        return [Decision(all_dynamic(state.ue_ids, state.num_rbgs), decided_by=self.name) for state in states]

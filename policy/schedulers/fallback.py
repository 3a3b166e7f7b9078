"""What to send when the model may not decide: the classical answer that harms a cell least."""

from __future__ import annotations

from policy.cell_state import CellState
from policy.intent import Intent
from policy.leader import Decision
from policy.schedulers.schedulers import OPEN_BELOW_SLOTS, SCHEDULERS

DYNAMIC = "dynamic"


def fallback(state: CellState, intent: Intent, reason: str) -> Decision:
    """The classical decision for `state`.

    K < 10: proportional fair. K >= 10: everything DYNAMIC, because RBGs locked for that long by reports that are
    already old lose to the node's own scheduler. Floors and caps hold either way. Takes less than a millisecond.
    """
    name = "proportional_fair" if state.slots_per_dcm < OPEN_BELOW_SLOTS else DYNAMIC
    return Decision(SCHEDULERS[name].schedule(state, intent), decided_by=name, reason=reason)


def left_to_the_node(state: CellState, intent: Intent, reason: str) -> Decision:
    """Everything DYNAMIC under the intent's limits: what a cell is like without a leader's discretion."""
    return Decision(SCHEDULERS[DYNAMIC].schedule(state, intent), decided_by=DYNAMIC, reason=reason)

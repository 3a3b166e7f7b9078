"""What UEs see in a slot, and how they answer: the seam between a CellBatch and its followers.

Suffixes: B cells, U seats, M RBGs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol, get_args, runtime_checkable

import numpy as np
from numpy.typing import NDArray

EARLIER_SLOTS = 20
"""A UE's own mean begins as if it had been there for so long: a first slot is no mean."""


class SlotView(NamedTuple):
    """What each UE knows when it must answer: its own fresh state, and what the DCM says of each RBG."""

    slot: int
    entitlement_BUM: NDArray[np.int8]
    """core.OWN: granted; core.CONTEND: open to it; core.NONE: not for it."""
    probability_B: NDArray[np.float64]
    """p of the leftover rule: with it a rule-abiding UE enters each RBG that is open to it."""
    coin_BUM: NDArray[np.float32]
    """Uniform; below p = the coin fell on this RBG. Use it instead of other randomness to stay reproducible."""
    cqi_BUM: NDArray[np.int8]
    """Fresh CQI of each RBG at full power."""
    queue_bits_BU: NDArray[np.float64]
    head_delay_slots_BU: NDArray[np.int16]
    present_BU: NDArray[np.bool_]
    traffic_class_BU: NDArray[np.int64]
    deadline_slots_BU: NDArray[np.int64]
    served_bits_per_slot_BU: NDArray[np.float64]
    """Mean since the UE came, as if it had been served SERVED_START_BITS_PER_SLOT for EARLIER_SLOTS before."""
    attempts_BU: NDArray[np.int64]
    """What came of its last attempts to contend: see State.attempts_BU."""
    eligible_BU: NDArray[np.bool_]
    """Who may contend, which the DCM lets all know."""
    answer_BUM: NDArray[np.int8]
    """Its best responses to this DCM, core.ANSWER_* added up."""


@runtime_checkable
class ReportingFollowers(Protocol):
    """Followers that add a word to their reports: a UCM, which the leader reads as old as the report is."""

    speaks: bool

    def __call__(self, slot: SlotView) -> NDArray[np.bool_]:
        """What the UEs send on, bool [B, U, M]."""

    def words(self, slot: SlotView) -> NDArray[np.int8]:
        """The word of each UE, [B, U]; NO_WORD = no word. The slot's DCM is not known yet: nothing is offered."""


Rule = Literal["best_response", "obey"]
"""What followers do that do not learn."""
RULES = get_args(Rule)
Followers = Rule | Callable[[SlotView], NDArray[np.bool_]]
"""A rule, or a function from what the UEs see to what they send on, bool [B, U, M]."""

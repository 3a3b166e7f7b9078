"""One UE of each cell that plays for itself: a family of rules it may follow instead of everybody's.

Whatever it does is really played: it may contend more or less eagerly than the leftover rule says, back off or push
after a collision, hurry before a deadline, choose among its RBGs otherwise, and send where the DCM lets it not.
Suffixes: B cells, U seats, M RBGs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.learned_followers import LearnedFollowers, own_uniforms
from training.simulator import core
from training.simulator.cell import SlotView

URGENT_SLOTS = 2
"""A packet with at most so many slots left, this one included, is urgent."""


@dataclass(frozen=True, slots=True)
class Deviation:
    """A rule for one UE; the defaults are the hand-written follower's best response."""

    base: str = "rule"
    """rule: best response, with the open RBGs on which its coin fell; all: the best RBGs first, then coins for those
    that are open; own: what it was granted alone; learned: the learned follower's bits."""
    access: float = 1.0
    """p of the leftover rule times this is what it contends with."""
    after_loss: float = 1.0
    """And times this, if its last attempt collided."""
    urgent: float = 1.0
    """And times this, if its oldest packet is urgent."""
    trespass: float = 0.0
    """Probability of sending on an RBG that the DCM gives to somebody else or to nobody."""

    def __str__(self) -> str:
        words = [self.base] + [
            f"{field.name} {getattr(self, field.name):g}"
            for field in fields(self)
            if field.name != "base" and getattr(self, field.name) != field.default
        ]
        return ", ".join(words)


ALTERNATIVES: dict[str, tuple[str | float, ...]] = {
    "access": (0.0, 0.5, 0.75, 1.5, 2.0, 4.0, math.inf),
    "base": ("all", "own", "rule", "learned"),
    "urgent": (2.0, math.inf),
    "after_loss": (0.0, 0.5, 2.0),
    "trespass": (0.05, 0.3, 1.0),
}
"""What a search tries, one field after another."""


def neighbours(deviation: Deviation, field: str, *, learned: bool) -> list[Deviation]:
    """`deviation` with every other value of a field. learned: there are learned followers to copy."""
    values: list[Any] = [*ALTERNATIVES[field]]
    default = getattr(Deviation(), field)
    values += [default] if default not in values else []
    return [
        replace(deviation, **{field: value})
        for value in values
        if value != getattr(deviation, field) and (learned or value != "learned")
    ]


def rule_follower(slot: SlotView) -> NDArray[np.bool_]:
    """The hand-written follower, exactly, as a function: bool [B, U, M]."""
    return (slot.answer_BUM & core.ANSWER_RULE) != 0


class Deviators:
    """Followers of which one UE a cell deviates; the others stay as they are."""

    def __init__(self, deviation: Deviation, seat_B: NDArray[np.int64], learned: LearnedFollowers | None) -> None:
        """learned: the others' follower; None = the hand-written rule.

        Raises ValueError for a deviation that copies learned followers where there are none.
        """
        if deviation.base == "learned" and learned is None:
            raise ValueError("the deviation is 'learned', but there are no learned followers")
        self._deviation = deviation
        self._seat_B = seat_B
        self._learned = learned

    def __call__(self, slot: SlotView) -> NDArray[np.bool_]:
        sends_BUM = rule_follower(slot) if self._learned is None else self._learned(slot)
        cells_B = np.arange(len(self._seat_B))
        sends_BUM[cells_B, self._seat_B] = self._sends(slot, sends_BUM)
        return sends_BUM

    def _sends(self, slot: SlotView, others_BUM: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Of the deviating UEs, [B, M]."""
        how, seat_B = self._deviation, self._seat_B
        at = (np.arange(len(seat_B)), seat_B)
        answer_BM, coin_BM, entitled_BM = slot.answer_BUM[at], slot.coin_BUM[at], slot.entitlement_BUM[at]
        open_BM, own_BM = entitled_BM == core.CONTEND, entitled_BM == core.OWN
        p_BM = np.broadcast_to(slot.probability_B[:, None], coin_BM.shape)
        eager_BM = p_BM * self._factor_B(slot, at)[:, None]

        best_BM, alone_BM = (answer_BM & core.ANSWER_ALL) != 0, (answer_BM & core.ANSWER_OWN) != 0
        if how.base == "own":
            sends_BM = alone_BM & own_BM
        elif how.base == "all":
            entered_BM = best_BM & open_BM & (coin_BM < eager_BM)
            some_B1 = entered_BM.any(axis=1, keepdims=True)
            sends_BM = entered_BM | np.where(some_B1, best_BM & own_BM, alone_BM & own_BM)
        else:
            usual_BM = (answer_BM & core.ANSWER_RULE) != 0 if how.base == "rule" else others_BUM[at]
            # Eager: more of the RBGs that would be best. Shy: fewer of the usual ones, the same coins deciding.
            uniform_BM = own_uniforms(slot)[at]
            thinned_BM = usual_BM & (uniform_BM * p_BM < eager_BM)
            extra_BM = best_BM & (coin_BM >= p_BM) & (coin_BM < eager_BM)
            sends_BM = np.where(open_BM, thinned_BM | extra_BM, usual_BM)
        if how.trespass > 0:
            elsewhere_BM = ~(open_BM | own_BM) & (own_uniforms(slot)[at] < how.trespass)
            sends_BM = sends_BM | (elsewhere_BM & (slot.queue_bits_BU[at] > 0)[:, None])
        return np.asarray(sends_BM & slot.present_BU[at][:, None])

    def _factor_B(self, slot: SlotView, at: tuple[NDArray[np.int64], NDArray[np.int64]]) -> NDArray[np.float64]:
        """What it multiplies p with."""
        how = self._deviation
        lost_B = (slot.attempts_BU[at] & 1 == 1) & (slot.attempts_BU[at] > 1)
        left_B = slot.deadline_slots_BU[at] - slot.head_delay_slots_BU[at]
        with np.errstate(invalid="ignore"):  # 0 times infinity: whoever never contends does not push either
            factor_B = (
                how.access * np.where(lost_B, how.after_loss, 1.0) * np.where(left_B <= URGENT_SLOTS, how.urgent, 1.0)
            )
        return np.nan_to_num(factor_B, nan=0.0, posinf=1e9)

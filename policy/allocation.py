"""What is decided: who may use which RBG for the next period, and what happens with what is left over.

Per RBG one owner: a UE, OPEN, DYNAMIC or IDLE. A periodic grant takes its RBG in its own slots from whoever owns it.
On an RBG that nobody holds in a slot (OPEN, or DYNAMIC that the node's scheduler left over) every UE whose class is in
the leftover rule's mask, and that is allowed to, sends with probability p = min(1, contenders / n), n = such UEs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from policy.cell_state import ALL_CLASSES, CellState, TrafficClass

OPEN = -1
"""Anyone allowed may contend, under the leftover rule."""
DYNAMIC = -2
"""The node's own per-slot scheduler decides."""
IDLE = -3
"""Nobody sends."""

NO_CAP = 255
"""`max_rbgs_U` value of a UE without a cap."""


class LeftoverRule(NamedTuple):
    """Who may contend on RBGs that nobody holds, and how eagerly."""

    class_mask: int = ALL_CLASSES
    """Bit 1 << TrafficClass set = UEs of that class may contend (unknown class: allowed iff all bits are set)."""
    contenders: float = 0.0
    """c: expected number of senders per RBG; p = min(1, c / n). 0 = left unused."""


class PeriodicGrant(NamedTuple):
    """A configured grant: UE `ue` (row index) owns `rbg` in slots s with s % period_slots == phase_slots."""

    ue: int
    rbg: int
    period_slots: int
    phase_slots: int


@dataclass(frozen=True, slots=True, eq=False)
class Allocation:
    """One DCM, decoded. Suffixes: U = UEs in the order of `ue_ids`, M = RBGs."""

    ue_ids: tuple[int, ...]
    owner_M: NDArray[np.int16]
    """Row index of the owning UE, or OPEN, DYNAMIC, IDLE."""
    leftover: LeftoverRule = LeftoverRule()
    periodic_grants: tuple[PeriodicGrant, ...] = ()
    open_allowed_U: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    """False = the UE may not contend (capped UEs). An empty array means: everybody may."""
    max_rbgs_U: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))
    """Cap on RBGs a slot, own and DYNAMIC together; NO_CAP = none. An empty array means: no caps."""

    def __post_init__(self) -> None:
        count = len(self.ue_ids)
        if self.open_allowed_U.size == 0:
            object.__setattr__(self, "open_allowed_U", np.ones(count, bool))
        if self.max_rbgs_U.size == 0:
            object.__setattr__(self, "max_rbgs_U", np.full(count, NO_CAP, np.uint8))

    @property
    def num_rbgs(self) -> int:
        return len(self.owner_M)

    def rbgs_per_ue(self) -> NDArray[np.int64]:
        """RBGs owned outright, [U] (periodic grants not counted)."""
        owned = self.owner_M[self.owner_M >= 0]
        return np.bincount(owned, minlength=len(self.ue_ids))

    def may_contend_U(self, state: CellState) -> NDArray[np.bool_]:
        """UEs that may send on what is left over, bool [U]. state: with the same UEs; it knows their classes."""
        class_mask, contenders = self.leftover
        in_mask_U = np.full(len(self.ue_ids), class_mask == ALL_CLASSES)
        for traffic_class in TrafficClass:
            in_mask_U[state.has_class(traffic_class)] = bool(class_mask >> traffic_class & 1)
        return self.open_allowed_U & in_mask_U & (contenders > 0.0)

    def strip(self) -> str:
        """One character an RBG for a screen: A, B, ... = the UE by row, o = OPEN, * = DYNAMIC, . = IDLE."""
        names = {OPEN: "o", DYNAMIC: "*", IDLE: "."}
        return "".join(names.get(owner) or ue_letter(owner) for owner in self.owner_M.tolist())


def ue_letter(row: int) -> str:
    """What a UE is called on a strip; not `o`, and only 40 of them are told apart."""
    return "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmn"[row % 40]


def all_dynamic(ue_ids: tuple[int, ...], num_rbgs: int, leftover: LeftoverRule | None = None) -> Allocation:
    """Leave every RBG to the node's own scheduler."""
    return Allocation(ue_ids, np.full(num_rbgs, DYNAMIC, np.int16), leftover or LeftoverRule())

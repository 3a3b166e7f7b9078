"""The slices of one simulated cell, as OCUDU's scheduler has them: min is a priority until the slice has that much of a
slot, max a ceiling, dedicated is fixed. Of four UEs in a row (1 to 4, 5 to 8, ...) the last two are in slice 2, the
others in slice 1: in every scenario both have UEs of all classes.

Of min % x N_PRB PRBs, rounded down, the MAC makes whole RBGs, rounding down once more. A slice under a ceiling does not
contend for what is left over: nobody could hold it to its ceiling there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policy.allocation import DYNAMIC, Allocation, LeftoverRule
from policy.cell_state import ALL_CLASSES
from training.simulator.plan import NO_SLICE, Plan
from xapp.e2.ccc.messages import Ratios
from xapp.e2.dcm.messages import Carrier

SLICE_SSTS = (1, 2)
"""Slices of the lab's nodes by row, without SD."""
UNLIMITED = Ratios(0, 100, 0)
"""What each of them has from the start."""


def slice_row(ue: int) -> int:
    """The slice of the UE with this number in its cell."""
    return int(ue % 4 in (0, 3))


@dataclass(slots=True)
class SliceTable:
    """One cell's."""

    carrier: Carrier
    ratios: list[Ratios]
    since_slot: list[int]
    """By row: the first slot that is played under them."""

    @classmethod
    def of(cls, carrier: Carrier) -> SliceTable:
        return cls(carrier, [UNLIMITED for _ in SLICE_SSTS], [0 for _ in SLICE_SSTS])

    def set(self, row: int, ratios: Ratios, next_slot: int) -> None:
        if ratios != self.ratios[row]:
            self.ratios[row], self.since_slot[row] = ratios, next_slot

    @property
    def limited(self) -> int:
        """Slices that have other ratios than from the start."""
        return sum(ratios != UNLIMITED for ratios in self.ratios)

    def most_prb_since(self, row: int, slot: int) -> int | None:
        """PRBs a slot that the slice was held to in every slot from `slot` on; None = to none, or it has changed."""
        percent = self.ratios[row].max_percent
        return None if percent == 100 or self.since_slot[row] > slot else percent * self.carrier.bwp_size_prb // 100

    def allocation(self, ue_ids: tuple[int, ...], contenders: float) -> Allocation | None:
        """The node's own scheduler under these slices, whose plan `write` completes; None = no slice is limited."""
        if not self.limited:
            return None
        is_open_U = np.array([self.ratios[slice_row(ue)].max_percent == 100 for ue in ue_ids], np.bool_)
        owner_M = np.full(self.carrier.num_rbgs, DYNAMIC, np.int16)
        return Allocation(ue_ids, owner_M, LeftoverRule(ALL_CLASSES, contenders), open_allowed_U=is_open_U)

    def _rbgs(self, percent: int) -> int:
        return percent * self.carrier.bwp_size_prb // 100 // self.carrier.rbg_size_prb


def with_slices(plan: Plan, tables: Sequence[SliceTable], ue_id_BU: NDArray[np.int64], own_B: Sequence[bool]) -> Plan:
    """The plan in which cells under their own scheduler (own_B) know their UEs' slices, and what these may have."""
    shape = len(tables), len(SLICE_SSTS)
    least_BS, most_BS = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    slice_BU = np.full(ue_id_BU.shape, NO_SLICE, np.int64)
    for b, table in enumerate(tables):
        least_BS[b] = [table._rbgs(ratios.min_percent) for ratios in table.ratios]
        most_BS[b] = [table._rbgs(ratios.max_percent) for ratios in table.ratios]
        if own_B[b] and table.limited:
            slice_BU[b] = [slice_row(ue) if ue > 0 else NO_SLICE for ue in ue_id_BU[b].tolist()]
    return plan._replace(slice_BU=slice_BU, slice_least_BS=least_BS, slice_most_BS=most_BS)

"""What governs the cells while they are played: allocations as arrays over seats.

Suffixes: B cells, U seats, M RBGs, G periodic grants a cell at most, S slices that the node's scheduler knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from policy.allocation import DYNAMIC, IDLE, NO_CAP, Allocation
from policy.cell_state import ALL_CLASSES

NO_SLICE = -1
"""Of a seat whose slice has no shares of its own."""
NOBODY = -1
"""Seat of an unused entry of `grants_BG4`."""


class Plan(NamedTuple):
    """One allocation per cell. A UE is its seat here, and a seat's next UE inherits: translate anew when UEs come."""

    owner_BM: NDArray[np.int16]
    """Seat, or policy.allocation's OPEN, DYNAMIC, IDLE."""
    grants_BG4: NDArray[np.int64]
    """Periodic grants: seat (or NOBODY), RBG, period, phase."""
    class_mask_B: NDArray[np.int64]
    contenders_B: NDArray[np.float64]
    open_allowed_BU: NDArray[np.bool_]
    cap_BU: NDArray[np.int64]
    slice_BU: NDArray[np.int64]
    """Row of the seat's slice in the node's own scheduler; NO_SLICE = it is in none that has shares of its own."""
    slice_least_BS: NDArray[np.int64]
    """RBGs that the node's scheduler gives a slice before anybody else, as long as it has something to send ..."""
    slice_most_BS: NDArray[np.int64]
    """... and that it never gives it more than. Both count what the slice holds otherwise in the slot."""

    def copy(self) -> Plan:
        """A plan of one's own, for a run in which UEs leave: the slot loop takes their RBGs back in place."""
        arrays: list[Any] = [array.copy() for array in self]
        return Plan(*arrays)


def node_plan(cells: int, ues: int, num_rbgs: int, contenders: float, max_grants: int = 0) -> Plan:
    """The node's own scheduler everywhere; leftovers for all classes."""
    return Plan(
        owner_BM=np.full((cells, num_rbgs), DYNAMIC, np.int16),
        grants_BG4=np.full((cells, max_grants, 4), NOBODY, np.int64),
        class_mask_B=np.full(cells, ALL_CLASSES, np.int64),
        contenders_B=np.full(cells, contenders),
        open_allowed_BU=np.ones((cells, ues), bool),
        cap_BU=np.full((cells, ues), NO_CAP, np.int64),
        slice_BU=np.full((cells, ues), NO_SLICE, np.int64),
        slice_least_BS=np.zeros((cells, 0), np.int64),
        slice_most_BS=np.zeros((cells, 0), np.int64),
    )


def owner_plan(owner_BM: NDArray[np.int16], ues: int, contenders_B: NDArray[np.float64] | float) -> Plan:
    """Per-RBG owners (seats, OPEN, DYNAMIC, IDLE) and a leftover rule for all classes: the K = 1 game's DCM."""
    cells, num_rbgs = owner_BM.shape
    plan = node_plan(cells, ues, num_rbgs, 0.0)
    return plan._replace(
        owner_BM=owner_BM.astype(np.int16), contenders_B=np.broadcast_to(contenders_B, cells).astype(np.float64)
    )


def make_plan(
    allocations: Sequence[Allocation | None], ue_id_BU: NDArray[np.int64], num_rbgs: int, contenders: float
) -> Plan:
    """Translate allocations from UE ids to seats; None = the node's own scheduler with its own leftover rule.

    ue_id_BU: the id in each seat, 0 = empty. RBGs and grants of UEs that are gone fall to the node's scheduler; UEs
    that the allocation does not know own nothing and are free otherwise. Raises ValueError where they do not fit.
    """
    cells, ues = ue_id_BU.shape
    if len(allocations) != cells:
        raise ValueError(f"{len(allocations)} allocations for {cells} cells")
    most = max((len(a.periodic_grants) for a in allocations if a is not None), default=0)
    plan = node_plan(cells, ues, num_rbgs, contenders, most)
    for b, allocation in enumerate(allocations):
        if allocation is None:
            continue
        if allocation.num_rbgs != num_rbgs:
            raise ValueError(f"allocation of {allocation.num_rbgs} RBGs for a cell of {num_rbgs}")
        seat_of = {int(ue): seat for seat, ue in enumerate(ue_id_BU[b]) if ue > 0}
        seats = [seat_of.get(int(ue), NOBODY) for ue in allocation.ue_ids]
        for m, owner in enumerate(allocation.owner_M.tolist()):
            if not IDLE <= owner < len(seats):
                raise ValueError(f"RBG {m} belongs to row {owner}, expected a row below {len(seats)} or IDLE and above")
            if owner < 0:
                plan.owner_BM[b, m] = owner
            elif seats[owner] != NOBODY:
                plan.owner_BM[b, m] = seats[owner]
        for g, grant in enumerate(allocation.periodic_grants):
            if not 0 <= grant.rbg < num_rbgs or grant.period_slots < 1:
                raise ValueError(f"periodic grant {grant}: expected an RBG below {num_rbgs} and a period of 1 or more")
            plan.grants_BG4[b, g] = seats[grant.ue], grant.rbg, grant.period_slots, grant.phase_slots
        plan.class_mask_B[b] = allocation.leftover.class_mask
        plan.contenders_B[b] = allocation.leftover.contenders
        for row, seat in enumerate(seats):
            if seat != NOBODY:
                plan.open_allowed_BU[b, seat] = allocation.open_allowed_U[row]
                plan.cap_BU[b, seat] = allocation.max_rbgs_U[row]
    return plan

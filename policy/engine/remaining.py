"""What each UE and slice holds and is owed while a DCM is said: policy.remaining_limits, compiled.

`lim` is what every allocation must keep, `left` the books. Suffixes: U = UEs of the cell, S = its slices.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from policy.engine.jit import kernel
from policy.engine.memory import FIRST_SLICE, FIRST_UE_ROW, NUM_UES, SLICES, Cells
from policy.grammar import FIRST_UE

IntU = NDArray[np.int64]


class CellLimits(NamedTuple):
    """Limits of one cell."""

    cap_U: IntU
    floor_U: IntU
    slice_U: IntU
    """-1 = of none."""
    slice_cap_S: IntU
    slice_floor_S: IntU
    ue_grants: int
    """1 = UEs may own RBGs that nobody owes them."""


class Books(NamedTuple):
    """What changes with every RBG."""

    owed_U: IntU
    used_U: IntU
    used_S: IntU
    lacks_S: IntU
    members_owed_S: IntU
    room_S: IntU
    total_owed: IntU
    """[1]: RBGs that floors still take, all together."""


@kernel
def limits_of(cells: Cells, b: int, ue_grants: int) -> CellLimits:
    numbers = cells.numbers_BC[b]
    first, first_slice = numbers[FIRST_UE_ROW], numbers[FIRST_SLICE]
    end, end_slice = first + numbers[NUM_UES], first_slice + numbers[SLICES]
    return CellLimits(
        cells.cap_N[first:end],
        cells.floor_N[first:end],
        cells.slice_N[first:end],
        cells.slice_cap_S[first_slice:end_slice],
        cells.slice_floor_S[first_slice:end_slice],
        ue_grants,
    )


@kernel
def open_books(lim: CellLimits) -> Books:
    slices = len(lim.slice_cap_S)
    left = Books(
        lim.floor_U.copy(),
        np.zeros(len(lim.cap_U), np.int64),
        np.zeros(slices, np.int64),
        lim.slice_floor_S.copy(),
        np.zeros(slices, np.int64),
        np.zeros(slices, np.int64),
        np.zeros(1, np.int64),
    )
    for ue in range(len(lim.cap_U)):
        row = lim.slice_U[ue]
        if row < 0:
            left.total_owed[0] += lim.floor_U[ue]
        else:
            left.members_owed_S[row] += lim.floor_U[ue]
            left.room_S[row] += lim.cap_U[ue]
    for row in range(slices):
        left.total_owed[0] += slice_owed(left, row)
    return left


@kernel
def slice_owed(left: Books, row: int) -> int:
    return max(left.lacks_S[row], left.members_owed_S[row])


@kernel
def pays(lim: CellLimits, left: Books, ue: int) -> bool:
    """Whether giving `ue` an RBG that counts lowers what is owed."""
    if left.owed_U[ue] > 0:
        return True
    row = lim.slice_U[ue]
    return row >= 0 and left.lacks_S[row] > left.members_owed_S[row] and left.used_U[ue] < lim.cap_U[ue]


@kernel
def may_own(lim: CellLimits, left: Books, ue: int) -> bool:
    """Whether `ue` may have an RBG that counts."""
    if pays(lim, left, ue):
        return True
    if left.used_U[ue] >= lim.cap_U[ue]:
        return False
    row = lim.slice_U[ue]
    return row < 0 or left.used_S[row] + slice_owed(left, row) < lim.slice_cap_S[row]


@kernel
def may_hold(lim: CellLimits, left: Books, ue: int) -> bool:
    """Whether `ue` may have a periodic grant, or an RBG on which others have one."""
    if left.used_U[ue] + left.owed_U[ue] >= lim.cap_U[ue]:
        return False
    row = lim.slice_U[ue]
    if row < 0:
        return True
    within_cap = left.used_S[row] + slice_owed(left, row) < lim.slice_cap_S[row]
    return within_cap and left.room_S[row] > left.lacks_S[row]


@kernel
def hold(lim: CellLimits, left: Books, ue: int) -> None:
    """Give `ue` an RBG that does not count."""
    left.used_U[ue] += 1
    row = lim.slice_U[ue]
    if row >= 0:
        left.used_S[row] += 1
        left.room_S[row] -= 1


@kernel
def own(lim: CellLimits, left: Books, ue: int) -> None:
    """Give `ue` an RBG that counts."""
    paid = 1 if left.owed_U[ue] > 0 else 0
    left.owed_U[ue] -= paid
    row = lim.slice_U[ue]
    if row < 0:
        left.used_U[ue] += 1
        left.total_owed[0] -= paid
        return
    before = slice_owed(left, row)
    left.members_owed_S[row] -= paid
    if left.lacks_S[row] > 0:
        left.lacks_S[row] -= 1
    left.total_owed[0] += slice_owed(left, row) - before
    hold(lim, left, ue)


@kernel
def offer_ue(lim: CellLimits, left: Books, ue: int, clean_A: Any, granted_A: Any, owed_A: Any) -> None:
    """Whether `ue` may own an RBG without, with periodic grants, and when floors are tight."""
    is_paid = pays(lim, left, ue)
    clean_A[FIRST_UE + ue] = is_paid or (lim.ue_grants != 0 and may_own(lim, left, ue))
    granted_A[FIRST_UE + ue] = lim.ue_grants != 0 and may_hold(lim, left, ue)
    owed_A[FIRST_UE + ue] = is_paid


@kernel
def offer_peers(lim: CellLimits, left: Books, ue: int, clean_A: Any, granted_A: Any, owed_A: Any) -> None:
    """The same for all whose answer may have changed with `ue`."""
    row = lim.slice_U[ue]
    if row < 0:
        offer_ue(lim, left, ue, clean_A, granted_A, owed_A)
        return
    for peer in range(len(lim.cap_U)):
        if lim.slice_U[peer] == row:
            offer_ue(lim, left, peer, clean_A, granted_A, owed_A)

"""An intent's hard share limits, compiled for the UEs that are alive: whole RBGs per UE and per slice.

Caps round down, floors round up. Written precedence where an intent contradicts itself: a cap wins over the same UE's
or slice's floor, and a slice's cap over its members' floors; floors that together exceed what there is are scaled down
in proportion, the RBGs that rounding leaves going to the largest remainders, then to slices, then to the lowest UE id.
Suffixes: U = UEs in the order of `state.ue_ids`, S = slices that have a limit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from math import ceil, floor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from policy.allocation import NO_CAP, Allocation, LeftoverRule, PeriodicGrant
from policy.cell_state import CellState
from policy.intent import Intent

IntU = NDArray[np.int64]

ROUNDING = 1e-9
"""Percentages are decimal: 6 of 17 RBGs written as 35.294117647 % is meant to be 6."""
NO_SLICE_CAP = 1 << 30
"""`slice_cap_S` of a slice without one. Periodic grants let UEs share an RBG, so num_rbgs would be a limit."""
NO_SLICE = -1


class Unmet(NamedTuple):
    """A limit that does not hold as written."""

    reason: str
    ue_ids: tuple[int, ...] = ()
    """UEs whose own limits are concerned."""
    slices: tuple[str, ...] = ()


def _no_rows() -> IntU:
    return np.zeros(0, np.int64)


@dataclass(frozen=True, eq=False)
class Limits:
    """What every allocation of a cell must keep. An uncapped UE has cap_U = num_rbgs and max_rbgs_U = NO_CAP.

    What follows from them and is asked for at every allocation is computed once.
    """

    cap_U: IntU
    """RBGs a slot that the UE may hold, at most num_rbgs, and at most its slice's cap."""
    floor_U: IntU
    """RBGs that the UE must own outright; never above cap_U, in sum never above num_rbgs."""
    capped_U: NDArray[np.bool_]
    """True = the UE or its slice is capped, and so it may not contend either."""
    not_enforced: tuple[Unmet, ...] = ()
    """What does not hold as written; empty when all does."""
    slice_of_U: IntU = field(default_factory=_no_rows)
    """Row of the UE's slice, or NO_SLICE; empty when no slice has a limit."""
    slice_cap_S: IntU = field(default_factory=_no_rows)
    """RBGs a slot that the members may hold, summed over them."""
    slice_floor_S: IntU = field(default_factory=_no_rows)
    """RBGs that the members must own outright, in sum; never more than their caps allow."""
    slice_names: tuple[str, ...] = ()
    turn: int = 0
    """Counts periods: members of a capped slice take turns where it has not an RBG for each."""
    has_data_U: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    """False = reports show nothing to send."""

    @property
    def max_rbgs_U(self) -> NDArray[np.uint8]:
        """The caps as an Allocation carries them, slices aside."""
        return np.where(self.capped_U, self.cap_U, NO_CAP).astype(np.uint8)

    @property
    def open_allowed_U(self) -> NDArray[np.bool_]:
        return ~self.capped_U

    @property
    def any(self) -> bool:
        """True when some UE or slice is capped or has a floor."""
        return bool(self.capped_U.any() or self.floor_U.any() or self.slice_floor_S.any())

    @cached_property
    def needed(self) -> int:
        """RBGs that all floors together take."""
        return int(self._claims().sum())

    def _claims(self) -> IntU:
        """RBGs that each slice's floors and each other UE's floor take, slices first."""
        if not self.slice_of_U.size:
            return self.floor_U
        members_S = np.bincount(
            self.slice_of_U[self.slice_of_U >= 0],
            self.floor_U[self.slice_of_U >= 0],
            minlength=len(self.slice_cap_S),
        ).astype(np.int64)
        return np.concatenate((np.maximum(members_S, self.slice_floor_S), self.floor_U[self.slice_of_U < 0]))

    def members(self, row: int) -> IntU:
        """Rows of the UEs in a slice."""
        return np.flatnonzero(self.slice_of_U == row)

    @cached_property
    def members_S(self) -> list[list[int]]:
        """The same of each slice. Whoever asks keeps them as they are."""
        return [self.members(row).tolist() for row in range(len(self.slice_cap_S))]

    @cached_property
    def _capped_slices(self) -> list[tuple[int, list[int]]]:
        """Of each slice that has one, its cap and its members."""
        return [(cap, rows) for cap, rows in zip(self.slice_cap_S.tolist(), self.members_S) if cap < NO_SLICE_CAP]

    @cached_property
    def _caps(self) -> list[int]:
        caps: list[int] = self.cap_U.tolist()
        return caps

    def max_rbgs_for(self, held_U: IntU) -> NDArray[np.uint8]:
        """Caps a slot for an allocation in which the UEs hold so many RBGs: what the node may add stays in the slice.

        A node knows caps of UEs only. So what a slice's cap leaves is dealt out to its members, one RBG each in turn.
        Every other period those with something to send come first (in every one, others would never have a turn).
        """
        max_rbgs_U, caps, held = self.max_rbgs_U, self._caps, held_U.tolist()
        for cap, rows in self._capped_slices:
            most = {ue: held[ue] for ue in rows}
            room = cap - sum(most.values())
            first = self.turn * cap % max(1, len(rows))
            hungry = [ue for ue in rows[first:] + rows[:first] if most[ue] < caps[ue]]
            if self.turn % 2:
                hungry.sort(key=lambda ue: not self.has_data_U[ue])
            while room > 0 and hungry:
                for ue in hungry[:room]:
                    most[ue] += 1
                room -= min(room, len(hungry))
                hungry = [ue for ue in hungry if most[ue] < caps[ue]]
            for ue, rbgs in most.items():
                max_rbgs_U[ue] = rbgs
        return max_rbgs_U

    def allocation(
        self,
        ue_ids: tuple[int, ...],
        owner_M: NDArray[np.int16],
        leftover: LeftoverRule,
        grants: tuple[PeriodicGrant, ...] = (),
    ) -> Allocation:
        """An allocation that carries these limits."""
        max_rbgs_U = self.max_rbgs_U
        if self.slice_of_U.size:
            max_rbgs_U = self.max_rbgs_for(held_rbgs(len(ue_ids), owner_M, grants))
        return Allocation(ue_ids, owner_M, leftover, grants, self.open_allowed_U, max_rbgs_U)


def held_rbgs(count: int, owner_M: NDArray[np.int16], grants: tuple[PeriodicGrant, ...]) -> IntU:
    """RBGs that each UE holds, owned and by periodic grants together, [U]."""
    pairs = {(owner, rbg) for rbg, owner in enumerate(owner_M.tolist()) if owner >= 0}
    pairs |= {(grant.ue, grant.rbg) for grant in grants}
    return np.bincount([ue for ue, _ in pairs], minlength=count).astype(np.int64)


def has_limits(intent: Intent) -> bool:
    """Whether any UE or slice of any cell is limited."""
    return bool(intent.max_share_percent or intent.min_share_percent or intent.slice_limits)


def compile_limits(state: CellState, intent: Intent) -> Limits:
    """The limits of `intent` for the live UEs of `state`; limits on other UEs wait until they appear."""
    num_rbgs, count = state.num_rbgs, state.num_ues
    if not has_limits(intent):
        return Limits(np.full(count, num_rbgs, np.int64), np.zeros(count, np.int64), np.zeros(count, bool))
    return _Compiler(state, intent).limits()


class _Compiler:
    """One intent on its way to whole RBGs. `exact` = shares before rounding and without what is owed."""

    def __init__(self, state: CellState, intent: Intent) -> None:
        self.state, self.intent, self.num_rbgs = state, intent, state.num_rbgs
        self.unmet: list[Unmet] = []
        self.cap_U = np.full(state.num_ues, self.num_rbgs, np.int64)
        self.floor_U = np.zeros(state.num_ues, np.int64)
        self.exact_U = np.zeros(state.num_ues)
        slices = len(intent.slice_limits)
        self.slice_of_U = np.full(state.num_ues if slices else 0, NO_SLICE, np.int64)
        self.slice_cap_S = np.full(slices, NO_SLICE_CAP, np.int64)
        self.slice_floor_S = np.zeros(slices, np.int64)
        self.exact_S = np.zeros(slices)

    def limits(self) -> Limits:
        self._read_ues()
        for row in range(len(self.slice_cap_S)):
            self._read_slice(row)
        capped_U = self.cap_U < self.num_rbgs
        if self.slice_of_U.size:
            capped_U |= (self.slice_of_U >= 0) & (self.slice_cap_S < NO_SLICE_CAP)[self.slice_of_U]
        self._fit_cell()
        return Limits(
            self.cap_U,
            self.floor_U,
            capped_U,
            tuple(self.unmet),
            self.slice_of_U,
            self.slice_cap_S,
            self.slice_floor_S,
            tuple(limit.name for limit in self.intent.slice_limits),
            self.state.slot // max(1, self.state.slots_per_dcm),
            self.state.buffer_bits_U != 0.0,  # NaN: not reported, there may be something
        )

    def _most(self, percent: float) -> int:
        return floor(percent * self.num_rbgs / 100.0 + ROUNDING)

    def _least(self, exact: float, owed: float) -> int:
        return min(self.num_rbgs, max(0, ceil(exact + owed - ROUNDING)))

    def _read_ues(self) -> None:
        intent = self.intent
        limited = intent.max_share_percent.keys() | intent.min_share_percent.keys()
        for row, ue in enumerate(self.state.ue_ids):
            if ue not in limited:
                continue
            most = self._most(intent.max_share_percent.get(ue, 100.0))
            exact = intent.min_share_percent.get(ue, 0.0) * self.num_rbgs / 100.0
            owed = intent.owed_rbgs.get(ue, 0.0) if exact else 0.0
            if exact > most + ROUNDING:
                least = ceil(exact - ROUNDING)
                self.unmet.append(
                    Unmet(f"UE {ue}: floor of {least} RBGs exceeds its cap of {most}: the cap holds", (ue,))
                )
                exact = float(most)
            self.cap_U[row], self.exact_U[row] = most, exact
            self.floor_U[row] = min(most, self._least(exact, owed))

    def _read_slice(self, row: int) -> None:
        limit = self.intent.slice_limits[row]
        what = f"slice {limit.name}"
        rows = [place for place, ue in enumerate(self.state.ue_ids) if ue in limit.ue_ids]
        self.slice_of_U[rows] = row
        exact = limit.min_share_percent * self.num_rbgs / 100.0
        cap = self._most(limit.max_share_percent)
        if cap < self.num_rbgs:
            self.slice_cap_S[row] = cap
            self.cap_U[rows] = np.minimum(self.cap_U[rows], cap)
            if exact > cap + ROUNDING:
                least = ceil(exact - ROUNDING)
                self.unmet.append(
                    Unmet(f"{what}: floor of {least} RBGs exceeds its cap of {cap}: the cap holds", (), (limit.name,))
                )
                exact = float(cap)
            if (asked := int(self.floor_U[rows].sum())) > cap:
                self._note(
                    self.exact_U[rows].sum() > cap + ROUNDING,
                    f"{what}: its UEs' floors ask for {asked} RBGs of its cap of {cap}: scaled down in proportion",
                    tuple(self.state.ue_ids[place] for place in rows if self.floor_U[place]),
                    (limit.name,),
                )
                self.floor_U[rows] = _scaled(self.floor_U[rows], cap)
                self.exact_U[rows] *= min(1.0, cap / max(ROUNDING, self.exact_U[rows].sum()))
        room = int(min(self.cap_U[rows].sum(), self.slice_cap_S[row], self.num_rbgs))
        if rows and exact > room + ROUNDING:
            least = ceil(exact - ROUNDING)
            self.unmet.append(
                Unmet(f"{what}: floor of {least} RBGs, but its UEs may hold {room}: these hold", (), (limit.name,))
            )
        self.exact_S[row] = min(exact, room)
        self.slice_floor_S[row] = min(room, self._least(exact, limit.owed_rbgs if exact else 0.0))

    def _fit_cell(self) -> None:
        """Scale floors that together exceed the cell."""
        alone = np.flatnonzero(self.slice_of_U < 0) if self.slice_of_U.size else np.arange(len(self.floor_U))
        members = [np.flatnonzero(self.slice_of_U == row) for row in range(len(self.slice_cap_S))]
        claims = [max(int(self.floor_U[rows].sum()), int(least)) for rows, least in zip(members, self.slice_floor_S)]
        claim_C = np.array([*claims, *self.floor_U[alone].tolist()], np.int64)
        if (total := int(claim_C.sum())) <= self.num_rbgs:
            return
        exact = sum(max(float(self.exact_U[rows].sum()), float(least)) for rows, least in zip(members, self.exact_S))
        self._note(
            exact + self.exact_U[alone].sum() > self.num_rbgs + ROUNDING,
            f"floors ask for {total} of {self.num_rbgs} RBGs: scaled down in proportion",
            tuple(ue for row, ue in enumerate(self.state.ue_ids) if self.floor_U[row]),
            tuple(s.name for s, least in zip(self.intent.slice_limits, self.slice_floor_S) if least),
        )
        scaled_C = _scaled(claim_C, self.num_rbgs)
        self.floor_U[alone] = scaled_C[len(members) :]
        for row, rows in enumerate(members):
            self.slice_floor_S[row] = min(self.slice_floor_S[row], scaled_C[row])
            if self.floor_U[rows].sum() > scaled_C[row]:
                self.floor_U[rows] = _scaled(self.floor_U[rows], int(scaled_C[row]))

    def _note(self, is_excess: bool, reason: str, ue_ids: tuple[int, ...], slices: tuple[str, ...]) -> None:
        """What only rounding or a debt makes too much is made up within the window, if there is one."""
        if is_excess or self.intent.floor_window_periods == 1:
            self.unmet.append(Unmet(reason, ue_ids, slices))


def _scaled(floor_U: IntU, total: int) -> IntU:
    """Floors in proportion whose sum is exactly `total` (largest remainder)."""
    asked = int(floor_U.sum())
    scaled_U = floor_U * total // asked
    remainder_U = floor_U * total % asked
    left = total - int(scaled_U.sum())
    scaled_U[np.argsort(-remainder_U, kind="stable")[:left]] += 1
    return scaled_U

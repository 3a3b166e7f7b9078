"""Last gate before the radio: turn any proposed allocation into one that is safe to send.

In: a proposal (late, partial, wrong, or not an allocation at all), the newest state of the cell, the active intent.
Out: an allocation for exactly the UEs of that state that keeps every hard limit, and the reason for each change; what
was fine comes back as it was. Pure: no clock, no I/O; never raises.
Suffixes: U = UEs in the order of the state's `ue_ids`, M = RBGs.
"""

from __future__ import annotations

from math import inf, isfinite
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from policy.allocation import DYNAMIC, IDLE, NO_CAP, OPEN, Allocation, LeftoverRule, PeriodicGrant
from policy.cell_state import ALL_CLASSES, CellState
from policy.intent import Intent
from policy.limits import NO_SLICE, NO_SLICE_CAP, Limits, compile_limits, has_limits
from policy.schedulers.periodic_grants import is_slot_pattern, slots_meet
from policy.schedulers.schedulers import spare_owner

GONE = -9
"""Owner of an RBG whose proposal could not be read, or whose UE has left."""


class Guarded(NamedTuple):
    """What may be sent, and what had to be changed for it."""

    allocation: Allocation
    changes: tuple[str, ...]
    """One reason per change; empty = what was proposed."""


def guard(proposal: Allocation, state: CellState, intent: Intent) -> Guarded:
    """Check a proposal against the newest state, and repair as little as possible.

    RBGs of UEs that have left, or above a cap, go to OPEN (K < 10) or DYNAMIC. Floors, UEs' before slices', are then
    filled from RBGs that no UE owns, then from those that have most above their own. Grants that are invalid or in the
    way are dropped.
    """
    limits = compile_limits(state, intent) if has_limits(intent) else None
    try:
        as_proposed = _if_fine(proposal, state, limits)
    except Exception:  # as below
        as_proposed = None
    if as_proposed is not None:
        return Guarded(as_proposed, ())
    repair = _Repair(state, limits or compile_limits(state, intent))
    try:
        repair.read(proposal)
    except Exception as error:  # a plug-in's answer can be anything at all; whatever it is, the radio stays safe
        repair = _Repair(state, repair.limits)
        repair.changes.append(f"unreadable allocation: {type(error).__name__}: {error}")
    repair.keep_caps()
    repair.fill_floors()
    repair.fill_slice_floors()
    repair.keep_room_in_slices()
    return Guarded(repair.allocation(), tuple(repair.changes))


def _if_fine(proposal: Allocation, state: CellState, limits: Limits | None) -> Allocation | None:
    """The usual proposal, which needs no repair: well made, for the UEs of now, of a cell without floors and slices,
    and within its caps. None = this is for a closer look.

    limits: None = there are none.
    """
    if type(proposal) is not Allocation or type(proposal.ue_ids) is not tuple or proposal.ue_ids != state.ue_ids:
        return None
    owner_M, allowed_U, caps_U = proposal.owner_M, proposal.open_allowed_U, proposal.max_rbgs_U
    count = state.num_ues
    if not (_is_column(owner_M, np.int16, state.num_rbgs) and state.num_rbgs and count):
        return None
    if not (_is_column(allowed_U, np.bool_, count) and _is_column(caps_U, np.uint8, count)):
        return None
    class_mask, contenders = leftover = proposal.leftover
    if type(leftover) is not LeftoverRule or type(class_mask) is not int or type(contenders) is not float:
        return None
    if not (0 <= class_mask <= ALL_CLASSES and 0.0 <= contenders < inf) or proposal.periodic_grants != ():
        return None
    if limits is not None:
        if limits.slice_of_U.size or limits.floor_U.any():
            return None
        if ((caps_U > limits.max_rbgs_U) | (allowed_U & limits.capped_U)).any():
            return None
    owners = owner_M.tolist()  # a few: quicker than numpy
    if not (min(owners) >= IDLE and max(owners) < count):
        return None
    if caps_U.min() < state.num_rbgs and (np.bincount(owner_M[owner_M >= 0], minlength=count) > caps_U).any():
        return None
    return Allocation(state.ue_ids, owner_M.copy(), leftover, (), allowed_U.copy(), caps_U.copy())


def _is_column(given: object, kind: type[np.generic], length: int) -> bool:
    return type(given) is np.ndarray and given.dtype == kind and given.shape == (length,)


class _Repair:
    """One proposal under repair, in rows of the newest state."""

    def __init__(self, state: CellState, limits: Limits) -> None:
        self.state = state
        self.limits = limits
        self.changes: list[str] = []
        self._spare = spare_owner(state.slots_per_dcm)
        self._owners: list[int] = [self._spare] * state.num_rbgs
        self._leftover = LeftoverRule()
        self._grants: list[PeriodicGrant] = []
        self._max_rbgs = limits.max_rbgs_U.tolist()
        self._open_allowed = limits.open_allowed_U.tolist()
        self._cap = limits.cap_U.tolist()
        self._floor = limits.floor_U.tolist()
        self._slice = limits.slice_of_U.tolist() or [NO_SLICE] * state.num_ues
        self._members = limits.members_S

    def read(self, proposal: Allocation) -> None:
        """Take over what is valid. May raise anything if `proposal` is not what it claims to be."""
        theirs = tuple(proposal.ue_ids)
        if theirs == self.state.ue_ids:
            rows = list(range(len(theirs)))
        else:
            row_of = {ue: row for row, ue in enumerate(self.state.ue_ids)}
            rows = [row_of.get(ue, GONE) for ue in theirs]
            self.changes.append(f"made for UEs {theirs}, now {self.state.ue_ids}")
            if len(set(theirs)) != len(theirs):
                rows = [GONE] * len(theirs)
                self.changes.append("a UE is named twice: rows mean nothing")
        self._read_owners(proposal, rows)
        self._read_leftover(proposal)
        self._read_limits(proposal, rows)
        self._read_grants(proposal, rows)

    def _read_owners(self, proposal: Allocation, rows: list[int]) -> None:
        owners = np.asarray(proposal.owner_M).tolist()
        if len(owners) != self.state.num_rbgs:
            self.changes.append(f"{len(owners)} owners for {self.state.num_rbgs} RBGs")
        for rbg, owner in enumerate(owners[: self.state.num_rbgs]):
            if owner in (OPEN, DYNAMIC, IDLE):
                self._owners[rbg] = int(owner)
                continue
            row = rows[int(owner)] if 0 <= owner < len(rows) and owner == int(owner) else GONE
            if row == GONE:
                self.changes.append(f"RBG {rbg}: owner {owner} is no live UE")
            else:
                self._owners[rbg] = row

    def _read_leftover(self, proposal: Allocation) -> None:
        class_mask, contenders = proposal.leftover
        if (
            isfinite(contenders)
            and contenders >= 0
            and int(class_mask) == class_mask
            and 0 <= class_mask <= ALL_CLASSES
        ):
            self._leftover = LeftoverRule(int(class_mask), float(contenders))
        else:
            self._leftover = LeftoverRule(contenders=0.0)
            self.changes.append(f"leftover rule {class_mask}, {contenders}: leftovers stay unused")

    def _read_limits(self, proposal: Allocation, rows: list[int]) -> None:
        """A proposal may be stricter than the intent, never laxer."""
        caps_U, allowed_U = np.asarray(proposal.max_rbgs_U), np.asarray(proposal.open_allowed_U)
        if self._has_allowed_limits(caps_U, allowed_U, rows):
            self._max_rbgs = caps_U.tolist()
            self._open_allowed = (allowed_U & self.limits.open_allowed_U).tolist()
            return
        caps, allowed = caps_U.tolist(), allowed_U.tolist()
        if len(caps) != len(rows) or len(allowed) != len(rows):
            self.changes.append(f"limits of {len(caps)} and {len(allowed)} UEs for {len(rows)}")
            return
        for row, cap, is_open in zip(rows, caps, allowed):
            if row == GONE:
                continue
            ue = self.state.ue_ids[row]
            cap = int(cap) if 0 <= cap <= NO_CAP else NO_CAP
            if cap > self._max_rbgs[row]:
                self.changes.append(f"UE {ue}: max_rbgs {cap} above its cap {self._max_rbgs[row]}")
            elif cap < self._floor[row]:
                self.changes.append(f"UE {ue}: max_rbgs {cap} below its floor {self._floor[row]}")
            else:
                self._max_rbgs[row] = cap
            if is_open and not self._open_allowed[row]:
                self.changes.append(f"UE {ue}: a capped UE may not contend")
            self._open_allowed[row] = bool(self._open_allowed[row] and is_open)

    def _has_allowed_limits(self, caps_U: NDArray[Any], allowed_U: NDArray[Any], rows: list[int]) -> bool:
        """Whether the limits are well made, for the UEs of now in their order, and none is laxer than the intent's."""
        limits, count = self.limits, self.state.num_ues
        if self.changes or not caps_U.shape == allowed_U.shape == (count,) or len(rows) != count:
            return False
        if caps_U.dtype != np.uint8 or allowed_U.dtype != np.bool_:
            return False
        wrong_U = (caps_U > limits.max_rbgs_U) | (caps_U < limits.floor_U) | (allowed_U & ~limits.open_allowed_U)
        return not wrong_U.any()

    def _read_grants(self, proposal: Allocation, rows: list[int]) -> None:
        for ue, rbg, period, phase in proposal.periodic_grants:
            row = rows[int(ue)] if 0 <= ue < len(rows) and ue == int(ue) else GONE
            valid = row != GONE and 0 <= rbg < self.state.num_rbgs and rbg == int(rbg)
            if not valid or not is_slot_pattern(period, phase):
                self.changes.append(f"periodic grant {(ue, rbg, period, phase)} is not valid")
                continue
            grant = PeriodicGrant(row, int(rbg), int(period), int(phase))
            if any(grant.rbg == other.rbg and slots_meet(grant, other) for other in self._grants):
                self.changes.append(f"periodic grant {tuple(grant)} meets another one")
            else:
                self._grants.append(grant)

    # Limits over the whole allocation ----------------------------------------------------------------------------

    def keep_caps(self) -> None:
        """Let go of what a UE holds above its cap, owned RBGs and periodic grants together; grants first."""
        holders = self._held_by_ue()
        for row in sorted(row for row, held in holders.items() if held > self._max_rbgs[row]):
            cap = self._max_rbgs[row]
            while (held := len(self._held(row))) > cap:
                self.changes.append(f"UE {self.state.ue_ids[row]}: holds {held} RBGs, capped at {cap}")
                self._let_go(row)
        for row, cap in enumerate(self.limits.slice_cap_S.tolist()):
            while (held := self._held_by_slice(row)) > cap:
                self.changes.append(f"slice {self._name(row)}: holds {held} RBGs, capped at {cap}")
                self._let_go(max(self._members[row], key=self._dispensable))

    def fill_floors(self) -> None:
        """Give UEs the RBGs that floors owe them. An RBG with a periodic grant on it does not count for a floor."""
        for row in np.flatnonzero(self.limits.floor_U).tolist():
            least = self._floor[row]
            while (counted := len(self._counted(row))) < least:
                self.changes.append(f"UE {self.state.ue_ids[row]}: owns {counted} RBGs, its floor is {least}")
                self._give(row, from_peers=True)

    def fill_slice_floors(self) -> None:
        """The same for slices, each RBG to the member with the most room under its cap."""
        for row, least in enumerate(self.limits.slice_floor_S.tolist()):
            members = self._members[row]
            while least and (counted := sum(len(self._counted(ue)) for ue in members)) < least:
                self.changes.append(f"slice {self._name(row)}: owns {counted} RBGs, its floor is {least}")
                ue = max(members, key=lambda ue: self._cap[ue] - len(self._counted(ue)))
                self._max_rbgs[ue] = max(self._max_rbgs[ue], len(self._counted(ue)) + 1)
                self._give(ue, from_peers=False)

    def keep_room_in_slices(self) -> None:
        """What the node may add for the members of a capped slice must stay within the slice's cap."""
        caps = self.limits.slice_cap_S.tolist()
        if not caps:
            return
        held = self._held_by_ue()
        held_U = np.array([held.get(ue, 0) for ue in range(self.state.num_ues)], np.int64)
        dealt = self.limits.max_rbgs_for(held_U).tolist()
        for row, (members, cap) in enumerate(zip(self._members, caps)):
            allowed = sum(self._max_rbgs[ue] for ue in members)
            if cap < NO_SLICE_CAP and allowed > cap:
                self.changes.append(f"slice {self._name(row)}: its UEs may hold {allowed} RBGs, capped at {cap}")
                for ue in members:
                    self._max_rbgs[ue] = dealt[ue]

    def _give(self, row: int, *, from_peers: bool) -> None:
        """Take a step towards one more RBG that counts for a UE: give it one, or make room for it.

        from_peers: it may be another UE's of the same slice.
        """
        place = self._slice[row]
        if len(self._held(row)) >= self._max_rbgs[row]:
            self._let_go(row)
        elif place != NO_SLICE and self._held_by_slice(place) >= self.limits.slice_cap_S[place]:
            self._let_go(max((ue for ue in self._members[place] if self._held(ue)), key=self._dispensable))
        elif (rbg := self._rbg_to_take(row, from_peers)) is not None:
            self._owners[rbg] = row
        else:
            self._grants.pop()  # frees an RBG that counts; without grants there always is one to take

    def _dispensable(self, row: int) -> tuple[bool, int]:
        """Orders a slice's UEs by what they had better let go of: what counts for no floor, then what is above it."""
        counted = len(self._counted(row))
        return len(self._held(row)) > counted, counted - self._floor[row]

    def _let_go(self, row: int) -> None:
        """Take one thing from a UE: a periodic grant, an owned RBG that counts for no floor, any owned RBG."""
        mine = [grant for grant in self._grants if grant.ue == row]
        if mine:
            self._grants.remove(mine[-1])
        else:
            counted = self._counted(row)
            self._owners[max(self._owned(row) - counted or counted)] = self._spare

    def _rbg_to_take(self, receiver: int, from_peers: bool) -> int | None:
        """The last RBG that counts for a floor and that no UE owns, else one of the UE that has most above its own."""
        taken = {grant.rbg for grant in self._grants}
        nobodys = [rbg for rbg, owner in enumerate(self._owners) if owner < 0 and rbg not in taken]
        if nobodys:
            return nobodys[-1]
        above = [self._above_floors(row, receiver, from_peers) for row in range(self.state.num_ues)]
        richest = max(range(len(above)), key=above.__getitem__)
        return max(self._counted(richest)) if above[richest] > 0 else None

    def _above_floors(self, row: int, receiver: int, from_peers: bool) -> int:
        """RBGs that a UE can do without: its floor, and that of a slice which the receiver is not in, still hold."""
        above = len(self._counted(row)) - self._floor[row]
        place = self._slice[row]
        if place == NO_SLICE:
            return above
        if place == self._slice[receiver]:
            return above if from_peers else 0
        in_slice = sum(len(self._counted(ue)) for ue in self._members[place])
        return min(above, in_slice - int(self.limits.slice_floor_S[place]))

    def _name(self, row: int) -> str:
        return self.limits.slice_names[row]

    def _held_by_slice(self, row: int) -> int:
        return sum(held for ue, held in self._held_by_ue().items() if self._slice[ue] == row)

    def _held_by_ue(self) -> dict[int, int]:
        """How many RBGs each UE holds that holds any."""
        pairs = {(owner, rbg) for rbg, owner in enumerate(self._owners) if owner >= 0}
        pairs.update((grant.ue, grant.rbg) for grant in self._grants)
        held: dict[int, int] = {}
        for ue, _ in pairs:
            held[ue] = held.get(ue, 0) + 1
        return held

    def _held(self, row: int) -> set[int]:
        return self._owned(row) | self._granted(row)

    def _owned(self, row: int) -> set[int]:
        return {rbg for rbg, owner in enumerate(self._owners) if owner == row}

    def _granted(self, row: int) -> set[int]:
        return {grant.rbg for grant in self._grants if grant.ue == row}

    def _counted(self, row: int) -> set[int]:
        """Owned RBGs that nobody has a periodic grant on."""
        return self._owned(row) - {grant.rbg for grant in self._grants}

    def allocation(self) -> Allocation:
        return Allocation(
            self.state.ue_ids,
            np.array(self._owners, np.int16),
            self._leftover,
            tuple(self._grants),
            np.array(self._open_allowed, bool),
            np.array(self._max_rbgs, np.uint8),
        )

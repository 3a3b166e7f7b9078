"""The limits that remain in an allocation in the making: what each UE and slice holds and is owed, RBG by RBG.

For a slice, owed = max(its floor - what its members own, what its members are owed). With the answers given here an
allocation that keeps every limit can always be completed: an RBG is refused to a UE exactly if it could not be.
"""

from __future__ import annotations

from collections.abc import Sequence

from policy.limits import Limits


class RemainingLimits:
    """What may still be given. UEs are rows as in Limits; an RBG with a periodic grant on it counts for no floor."""

    __slots__ = (
        "_cap",
        "_members",
        "_members_owed",
        "_owed",
        "_slice",
        "_slice_cap",
        "_slice_lacks",
        "_slice_room",
        "_slice_used",
        "_used",
        "total_owed",
    )

    def __init__(self, limits: Limits) -> None:
        self._cap: list[int] = limits.cap_U.tolist()
        self._owed: list[int] = limits.floor_U.tolist()
        self._used = [0] * len(self._cap)
        self._slice: list[int] | None = limits.slice_of_U.tolist() if limits.slice_of_U.size else None
        self.total_owed = limits.needed
        """RBGs that floors still take, all together."""
        self._members: list[list[int]] = limits.members_S if self._slice else []
        self._slice_cap: list[int] = limits.slice_cap_S.tolist()
        self._slice_used = [0] * len(self._members)
        self._slice_lacks: list[int] = limits.slice_floor_S.tolist()
        self._members_owed = [sum(self._owed[ue] for ue in rows) for rows in self._members]
        self._slice_room = [sum(self._cap[ue] for ue in rows) for rows in self._members]

    def copy(self) -> RemainingLimits:
        other = RemainingLimits.__new__(RemainingLimits)
        other._cap, other._members, other._slice = self._cap, self._members, self._slice
        other._slice_cap, other.total_owed = self._slice_cap, self.total_owed
        other._owed, other._used = self._owed.copy(), self._used.copy()
        other._slice_used, other._slice_lacks = self._slice_used.copy(), self._slice_lacks.copy()
        other._members_owed, other._slice_room = self._members_owed.copy(), self._slice_room.copy()
        return other

    def peers(self, ue: int) -> Sequence[int]:
        """The UEs for whom the answers may change when `ue` takes an RBG, itself among them."""
        row = self._slice[ue] if self._slice is not None else -1
        return self._members[row] if row >= 0 else (ue,)

    def pays(self, ue: int) -> bool:
        """Whether giving `ue` an RBG that counts lowers `total_owed`."""
        if self._owed[ue]:
            return True
        row = self._slice[ue] if self._slice is not None else -1
        return row >= 0 and self._slice_lacks[row] > self._members_owed[row] and self._used[ue] < self._cap[ue]

    def may_own(self, ue: int) -> bool:
        """Whether `ue` may have an RBG that counts; where floors are tight (see `pays`) that is not enough."""
        if self.pays(ue):
            return True
        if self._used[ue] >= self._cap[ue]:
            return False
        row = self._slice[ue] if self._slice is not None else -1
        return row < 0 or self._slice_used[row] + self._slice_owed(row) < self._slice_cap[row]

    def may_hold(self, ue: int) -> bool:
        """Whether `ue` may have a periodic grant, or an RBG on which others have one."""
        if self._used[ue] + self._owed[ue] >= self._cap[ue]:
            return False
        row = self._slice[ue] if self._slice is not None else -1
        if row < 0:
            return True
        within_cap = self._slice_used[row] + self._slice_owed(row) < self._slice_cap[row]
        return within_cap and self._slice_room[row] > self._slice_lacks[row]

    def own(self, ue: int) -> None:
        """Give `ue` an RBG that counts."""
        paid = int(self._owed[ue] > 0)
        self._owed[ue] -= paid
        row = self._slice[ue] if self._slice is not None else -1
        if row < 0:
            self._used[ue] += 1
            self.total_owed -= paid
            return
        before = self._slice_owed(row)
        self._members_owed[row] -= paid
        self._slice_lacks[row] -= self._slice_lacks[row] > 0
        self.total_owed += self._slice_owed(row) - before
        self.hold(ue)

    def hold(self, ue: int) -> None:
        """Give `ue` an RBG that does not count."""
        self._used[ue] += 1
        row = self._slice[ue] if self._slice is not None else -1
        if row >= 0:
            self._slice_used[row] += 1
            self._slice_room[row] -= 1

    def _slice_owed(self, row: int) -> int:
        return max(self._slice_lacks[row], self._members_owed[row])

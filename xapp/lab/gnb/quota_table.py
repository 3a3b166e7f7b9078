"""The quotas of one simulated cell's UEs, as its MAC obeys them: how much of the carrier a UE may be on in a slot.

As on deployed nodes a UE may have floor(max % x N_PRB) PRBs in a slot. This MAC gives away whole RBGs, so that it
rounds down once more: of a limit of 23 PRBs and RBGs of 4 a UE has 5 RBGs. A smallest grant (min) is accepted and does
nothing: RBGs are granted one by one here. There is no lease: a quota stays until it is replaced or the UE leaves.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from policy.allocation import DYNAMIC, NO_CAP, Allocation, LeftoverRule
from policy.cell_state import ALL_CLASSES
from xapp.e2.dcm.messages import Carrier
from xapp.quotas.allocation_to_quota import RELEASED, Quota


class Limit(NamedTuple):
    """A quota in force."""

    quota: Quota
    since_slot: int
    """The first slot that is played under it."""


class QuotaTable:
    """One cell's. UE ids are the cell's own."""

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self._limits: dict[int, Limit] = {}

    def set(self, ue: int, quota: Quota, next_slot: int) -> None:
        """A UE's quota from `next_slot` on."""
        known = self._limits.get(ue)
        if known is None or known.quota != quota:
            self._limits[ue] = Limit(quota, next_slot)

    def quota(self, ue: int) -> Quota:
        """RELEASED for a UE without any."""
        limit = self._limits.get(ue)
        return limit.quota if limit is not None else RELEASED

    def limited(self) -> dict[int, Quota]:
        """UEs under a quota that limits them."""
        return {ue: limit.quota for ue, limit in self._limits.items() if limit.quota != RELEASED}

    def keep(self, ue_ids: tuple[int, ...]) -> None:
        """Forget UEs that have left, and their quotas with them."""
        if gone := self._limits.keys() - set(ue_ids):
            for ue in gone:
                del self._limits[ue]

    def most_prb(self, quota: Quota) -> int:
        """PRBs of a slot that a UE under this quota may have."""
        return quota.max_percent * self._carrier.bwp_size_prb // 100

    def most_prb_since(self, ue: int, slot: int) -> int | None:
        """PRBs a slot that the UE was limited to in every slot from `slot` on; None = to none, or it has changed."""
        limit = self._limits.get(ue)
        if limit is None or limit.quota == RELEASED or limit.since_slot > slot:
            return None
        return self.most_prb(limit.quota)

    def allocation(self, ue_ids: tuple[int, ...], contenders: float) -> Allocation | None:
        """The node's own scheduler under these quotas; None = nobody is limited.

        contenders: c of the node's own leftover rule, under which quotas hold as well.
        """
        limited = self.limited()
        if not limited:
            return None
        caps_U = np.full(len(ue_ids), NO_CAP, np.uint8)
        for row, ue in enumerate(ue_ids):
            if ue in limited:
                caps_U[row] = self.most_prb(limited[ue]) // self._carrier.rbg_size_prb
        owner_M = np.full(self._carrier.num_rbgs, DYNAMIC, np.int16)
        return Allocation(ue_ids, owner_M, LeftoverRule(ALL_CLASSES, contenders), max_rbgs_U=caps_U)

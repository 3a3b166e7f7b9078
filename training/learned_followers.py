"""The followers' model inside the simulator: what each UE sees, and what it sends.

Suffixes: B cells, U seats, M RBGs, N = B x U.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from policy.follower import FollowerPolicy, FollowerView
from training.simulator.cell import SlotView


def follower_view(slot: SlotView) -> FollowerView:
    """Every seat of every cell as one UE of a FollowerView; empty seats have an empty buffer."""
    cells, ues, num_rbgs = slot.cqi_BUM.shape
    return FollowerView(
        buffer_bits_N=np.where(slot.present_BU, slot.queue_bits_BU, 0.0).reshape(-1),
        head_delay_slots_N=slot.head_delay_slots_BU.astype(np.float64).reshape(-1),
        probability_N=np.repeat(slot.probability_B, ues),
        cqi_NM=slot.cqi_BUM.astype(np.int64).reshape(cells * ues, num_rbgs),
        access_NM=slot.entitlement_BUM.astype(np.int64).reshape(cells * ues, num_rbgs),
    )


class LearnedFollowers:
    """A bundle's follower model as the `followers` of CellBatch.play; it draws with the slot's own coins."""

    def __init__(self, policy: FollowerPolicy) -> None:
        self.policy = policy

    def __call__(self, slot: SlotView) -> NDArray[np.bool_]:
        """What the UEs send on, bool [B, U, M]."""
        coins_NM = slot.coin_BUM.astype(np.float64).reshape(-1, slot.coin_BUM.shape[2])
        return self.policy.bits(follower_view(slot), coins_NM).reshape(slot.coin_BUM.shape)

"""The followers' model inside the simulator: what each UE sees, and what it sends.

A UE's private randomness is the slot's coin of each RBG. Below p, the coin fell: the UE knows, as the rule does. Where
in its half the coin came to lie is independent of that, and uniform again: with it bits are drawn. So sampled followers
meet the very coins that the rule meets, and replays are paired.

Suffixes: B cells, U seats, M RBGs, N = B x U.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from policy.follower import Access, FollowerModel, FollowerPolicy, FollowerView
from training.simulator.cell import SlotView
from training.simulator.state import NO_ATTEMPTS


def follower_view(slot: SlotView) -> FollowerView:
    """Every seat of every cell as one UE of a FollowerView; empty seats have an empty buffer."""
    cells, ues, num_rbgs = slot.cqi_BUM.shape
    access_BUM = slot.entitlement_BUM.astype(np.int64)
    head_BU = slot.head_delay_slots_BU.astype(np.float64)
    granted_BU = (access_BUM == Access.OWN).any(axis=2)
    contending_B = slot.eligible_BU.sum(axis=1)
    count_BU = np.frexp(slot.attempts_BU.astype(np.float64))[1] - 1  # bits below the highest
    lost_BU = np.bitwise_count(slot.attempts_BU).astype(np.float64) - 1
    last_BU = np.where(slot.attempts_BU == NO_ATTEMPTS, np.nan, slot.attempts_BU & 1)

    def flat(column_BU: NDArray[np.float64] | NDArray[np.int64]) -> NDArray[np.float64]:
        return np.broadcast_to(column_BU, (cells, ues)).astype(np.float64).reshape(-1)

    return FollowerView(
        buffer_bits_N=flat(np.where(slot.present_BU, slot.queue_bits_BU, 0.0)),
        head_delay_slots_N=flat(head_BU),
        slack_slots_N=flat(slot.deadline_slots_BU - head_BU),
        traffic_class_N=flat(slot.traffic_class_BU),
        served_bits_per_slot_N=flat(slot.served_bits_per_slot_BU),
        probability_N=np.repeat(slot.probability_B, ues),
        contending_ues_N=np.repeat(contending_B.astype(np.float64), ues),
        others_granted_N=flat(granted_BU.sum(axis=1, keepdims=True) - granted_BU.astype(np.int64)),
        attempts_N=flat(count_BU),
        attempts_lost_N=flat(lost_BU),
        last_lost_N=flat(last_BU),
        cqi_NM=slot.cqi_BUM.astype(np.int64).reshape(cells * ues, num_rbgs),
        access_NM=access_BUM.reshape(cells * ues, num_rbgs),
        answer_NM=slot.answer_BUM.astype(np.int64).reshape(cells * ues, num_rbgs),
        turn_NM=_turns(slot, contending_B).reshape(cells * ues, num_rbgs),
    )


def _turns(slot: SlotView, contending_B: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many UEs come before each UE on each open RBG, [B, U, M]; -1 where it may not contend.

    The DCM lets everybody know who may contend and what is open: the first open RBG begins with one UE, the second with
    the next, and a slot later each with the one after.
    """
    open_BUM = slot.entitlement_BUM == Access.CONTEND
    place_BM = np.cumsum(open_BUM.any(axis=1), axis=1) - 1
    rank_BU = np.cumsum(slot.eligible_BU, axis=1) - 1
    count_B11 = np.maximum(contending_B, 1)[:, None, None]
    turn_BUM = (rank_BU[:, :, None] - place_BM[:, None, :] - slot.slot) % count_B11
    return np.asarray(np.where(open_BUM, turn_BUM, -1))


def own_uniforms(slot: SlotView) -> NDArray[np.float64]:
    """A uniform of each UE and RBG that is independent of whether its coin fell, [B, U, M]."""
    p_B11 = slot.probability_B[:, None, None]
    coin_BUM = slot.coin_BUM.astype(np.float64)
    fell_BUM = coin_BUM < p_B11
    with np.errstate(divide="ignore", invalid="ignore"):  # a half without width is never taken
        return np.where(fell_BUM, coin_BUM / p_B11, (coin_BUM - p_B11) / (1.0 - p_B11))


class LearnedFollowers:
    """A follower model as the `followers` of CellBatch.play and of replays: deterministic, and paired with the rule."""

    def __init__(self, policy: FollowerPolicy, *, greedy: bool = False, speaks: bool = False) -> None:
        """greedy: the likelier choice of every bit and word, instead of one drawn with the UEs' own uniforms.
        speaks: reports carry a word, for a leader that reads it. Raises ValueError if the model has none."""
        if speaks and not policy.model.layout.ucm_tokens:
            raise ValueError("these followers have no words")
        self._policy = policy
        self.speaks = speaks
        self._greedy = greedy

    def __call__(self, slot: SlotView) -> NDArray[np.bool_]:
        """What the UEs send on, bool [B, U, M]."""
        shape = slot.coin_BUM.shape
        uniforms_NM = None
        if not self._greedy:
            # A model that does not see its coins has them to draw with.
            knows_coins = "answer" in self._policy.model.layout.rbg
            uniforms_NM = (own_uniforms(slot) if knows_coins else slot.coin_BUM.astype(np.float64)).reshape(
                -1, shape[2]
            )
        return self._policy.bits(follower_view(slot), uniforms_NM).reshape(shape)

    def words(self, slot: SlotView) -> NDArray[np.int8]:
        """The word of each UE, [B, U]: UEs without data send none."""
        uniforms_N = None if self._greedy else word_uniforms(slot).reshape(-1)
        return self._policy.words(follower_view(slot), uniforms_N).astype(np.int8).reshape(slot.present_BU.shape)


def word_uniforms(slot: SlotView) -> NDArray[np.float64]:
    """A uniform of each UE that is independent of each of the coins of the slot to come, [B, U]."""
    return np.asarray(slot.coin_BUM.astype(np.float64).sum(axis=2) % 1.0)


def as_followers(model: FollowerModel, *, greedy: bool = False, speaks: bool = False) -> LearnedFollowers:
    """A model, as it is now, for CellBatch.play and replays."""
    return LearnedFollowers(FollowerPolicy(model), greedy=greedy, speaks=speaks)

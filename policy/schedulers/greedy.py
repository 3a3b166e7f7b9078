"""Give RBGs to UEs one at a time, each to whom it adds most: the core of the channel-aware schedulers.

A UE splits its power over its RBGs, so a second RBG can also lower the rate of the first: what counts is the marginal
weighted bits. The channel is what is reported: one SNR per UE, better on its preferred RBG. Suffixes: U = UEs,
M = RBGs, N = number of RBGs that the UE's power is split over, less 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from policy.allocation import OPEN, PeriodicGrant
from policy.cell_state import FloatU
from policy.cqi import OTHER_RBG_GAIN, PREFERRED_RBG_GAIN, bits_per_rbg
from policy.limits import Limits
from policy.remaining_limits import RemainingLimits
from policy.schedulers.estimate import Estimate


def greedy_owners(estimate: Estimate, weight_U: FloatU, limits: Limits, num_rbgs: int) -> NDArray[np.int16]:
    """Owner of each RBG, [M]: a UE's row, or OPEN where nobody gains. Caps hold; floors are filled even without gain.

    Ties go to the lower row, then to the lower RBG.
    """
    owner_M = np.full(num_rbgs, OPEN, np.int16)
    if not len(weight_U):
        return owner_M
    choice = _Choice(estimate, weight_U, limits, num_rbgs)
    for _ in range(num_rbgs):
        ue = choice.best()
        if ue < 0:
            break
        owner_M[choice.give(ue)] = ue
    return owner_M


def pay_floors(
    estimate: Estimate,
    limits: Limits,
    owner_M: NDArray[np.int16],
    spare: int,
    grants: tuple[PeriodicGrant, ...] = (),
) -> NDArray[np.int16]:
    """The owners [M] with as many of the RBGs that `spare` has as floors still ask for, given to those who are owed.

    Each goes to the one of them whom it adds most bits: the node's own scheduler is fair on the rest. RBGs with a
    periodic grant on them count for no floor; the others that `spare` has must be as many as are owed.
    """
    if not limits.needed:
        return owner_M
    choice = _Choice(estimate, np.ones(len(estimate.queue_bits_U)), limits, len(owner_M))
    owner_M = owner_M.copy()
    choice.take_over(owner_M, grants, spare)
    while (ue := choice.most_owed()) >= 0:
        owner_M[choice.give(ue)] = ue
    return owner_M


class _Choice:
    """Marginal gains of every UE, kept up to date while RBGs are given away."""

    def __init__(self, estimate: Estimate, weight_U: FloatU, limits: Limits, num_rbgs: int) -> None:
        self._weight = weight_U.tolist()
        self._demand = estimate.demand_bits_U.tolist()
        self._preferred = estimate.preferred_rbg_U.tolist()
        snr_UN = estimate.snr_U[:, None] / np.arange(1, num_rbgs + 1)
        known_U1 = estimate.preferred_rbg_U[:, None] >= 0
        other_UN = bits_per_rbg(snr_UN * np.where(known_U1, OTHER_RBG_GAIN, 1.0))
        preferred_UN = bits_per_rbg(snr_UN * PREFERRED_RBG_GAIN)
        self._other_bits = other_UN.tolist()
        self._preferred_bits = preferred_UN.tolist()
        self._remaining = RemainingLimits(limits)

        count = len(weight_U)
        self._owed_U = np.array([self._remaining.pays(ue) for ue in range(count)], bool)
        self._free = list(range(num_rbgs))
        self._held = [0] * count
        self._holds_preferred = [False] * count
        self._served = [0.0] * count
        fits_U = np.array([self._remaining.may_own(ue) for ue in range(count)], bool)
        first_U = np.minimum(estimate.demand_bits_U, other_UN[:, 0]) * weight_U
        self._gain_other_U = np.where(fits_U, first_U, -np.inf)
        first_U = np.minimum(estimate.demand_bits_U, preferred_UN[:, 0]) * weight_U
        self._gain_preferred_U = np.where(fits_U & known_U1[:, 0], first_U, -np.inf)
        self._waiting: dict[int, list[int]] = {}
        """UEs that prefer an RBG which is still free."""
        for ue, rbg in enumerate(self._preferred):
            self._waiting.setdefault(rbg, []).append(ue)
        self._note_last_rbg()

    def best(self) -> int:
        """The UE to serve next; -1 when nobody gains and nobody is owed."""
        gain_U = np.maximum(self._gain_other_U, self._gain_preferred_U)
        owed = self._remaining.total_owed
        if owed and owed >= len(self._free):
            return self.most_owed()
        ue = int(gain_U.argmax())
        if gain_U[ue] > 0.0:
            return ue
        return self.most_owed()

    def most_owed(self) -> int:
        """The UE to serve next of those who are owed; -1 when nobody is."""
        if not self._remaining.total_owed:
            return -1
        owed_N = self._owed_U.nonzero()[0]
        gain_N = np.maximum(self._gain_other_U[owed_N], self._gain_preferred_U[owed_N])
        return int(owed_N[gain_N.argmax()])

    def take_over(self, owner_M: NDArray[np.int16], grants: tuple[PeriodicGrant, ...], spare: int) -> None:
        """Go on from an allocation: what is left to give are the RBGs of `spare` without a periodic grant."""
        held = {(grant.ue, grant.rbg) for grant in grants}
        granted = {rbg for _, rbg in held}
        held |= {(owner, rbg) for rbg, owner in enumerate(owner_M.tolist()) if owner >= 0 and rbg in granted}
        for rbg, owner in enumerate(owner_M.tolist()):
            if owner == spare and rbg not in granted:
                continue
            self._take(rbg)
            if owner >= 0 and rbg not in granted:
                self._own(owner, rbg)
        for ue, _ in sorted(held):
            self._remaining.hold(ue)
            self._note_limits(ue)

    def give(self, ue: int) -> int:
        """Give `ue` the RBG that it gains most on; the RBG."""
        preferred = self._preferred[ue]
        other = next((rbg for rbg in self._free if rbg != preferred), preferred)
        gains = (self._gain_preferred_U[ue], self._gain_other_U[ue])
        takes_preferred = preferred in self._free and (
            gains[0] > gains[1] or (gains[0] == gains[1] and preferred < other)
        )
        rbg = preferred if takes_preferred else other
        self._take(rbg)
        self._own(ue, rbg)
        return rbg

    def _take(self, rbg: int) -> None:
        """`rbg` is not to be given any more."""
        self._free.remove(rbg)
        for waiting in self._waiting.pop(rbg, ()):
            self._gain_preferred_U[waiting] = -np.inf
        self._note_last_rbg()

    def _own(self, ue: int, rbg: int) -> None:
        self._held[ue] += 1
        self._holds_preferred[ue] |= rbg == self._preferred[ue]
        self._remaining.own(ue)
        self._update_gains(ue)
        self._note_limits(ue)

    def _note_limits(self, ue: int) -> None:
        """Who is still owed after `ue` took an RBG; nobody gains by one who may not own it."""
        for peer in self._remaining.peers(ue):
            self._owed_U[peer] = owed = self._remaining.pays(peer)
            if not owed and not self._remaining.may_own(peer):
                self._gain_other_U[peer] = self._gain_preferred_U[peer] = -np.inf

    def _note_last_rbg(self) -> None:
        """UEs that prefer the last free RBG have no other left."""
        if len(self._free) == 1:
            for ue in self._waiting.get(self._free[0], ()):
                self._gain_other_U[ue] = -np.inf

    def _update_gains(self, ue: int) -> None:
        held, with_preferred = self._held[ue], self._holds_preferred[ue]
        self._served[ue] = min(self._demand[ue], self._bits(ue, held, with_preferred))
        if not self._free:
            self._gain_other_U[ue] = self._gain_preferred_U[ue] = -np.inf
            return
        if self._gain_other_U[ue] > -np.inf:
            self._gain_other_U[ue] = self._gain(ue, held + 1, with_preferred)
        if self._gain_preferred_U[ue] > -np.inf:
            self._gain_preferred_U[ue] = self._gain(ue, held + 1, True)

    def _gain(self, ue: int, held: int, with_preferred: bool) -> float:
        bits = min(self._demand[ue], self._bits(ue, held, with_preferred))
        return self._weight[ue] * (bits - self._served[ue])

    def _bits(self, ue: int, held: int, with_preferred: bool) -> float:
        """Bits a slot over `held` RBGs."""
        others = (held - with_preferred) * self._other_bits[ue][held - 1]
        return others + (self._preferred_bits[ue][held - 1] if with_preferred else 0.0)

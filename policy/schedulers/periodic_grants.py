"""Configured grants for packets that arrive like clockwork and would be too old by the time a report of them comes.

Suffixes: U = UEs, M = RBGs.
"""

from __future__ import annotations

from math import gcd
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from policy.allocation import PeriodicGrant
from policy.cell_state import CellState, TrafficClass
from policy.cqi import OTHER_RBG_GAIN, bits_per_rbg
from policy.limits import Limits
from policy.remaining_limits import RemainingLimits
from policy.schedulers.estimate import Estimate

MAX_GRANTS = 8
"""Periodic grants of one cell: as many as a DCM at a RIC's period can hold."""
SLOTS_TO_SERVE = 1
"""Slots that a packet still takes once a report of it has arrived."""
MAX_PERIOD_SLOTS = 65535
"""dcm.proto carries periods as uint16."""


def latency_bound_mask(state: CellState) -> int:
    """Mask of the PERIODIC and SPORADIC classes that have a known deadline here; 0 if there are none."""
    bound_U = np.isfinite(state.deadline_slots_U)
    classes = [c for c in (TrafficClass.PERIODIC, TrafficClass.SPORADIC) if (state.has_class(c) & bound_U).any()]
    return sum(1 << c for c in classes)


def slots_meet(a: PeriodicGrant, b: PeriodicGrant) -> bool:
    """Whether two periodic grants are ever active in the same slot."""
    return (a.phase_slots - b.phase_slots) % gcd(a.period_slots, b.period_slots) == 0


def is_slot_pattern(period: float, phase: float) -> bool:
    """Whether (period, phase) can be the slots of a periodic grant; False for NaN."""
    return 1 <= period <= MAX_PERIOD_SLOTS and 0 <= phase < period and period % 1 == 0 and phase % 1 == 0


class WantedGrant(NamedTuple):
    """What one UE's packets take; sorts cheapest first."""

    rbgs: int
    """Fewest that carry its packet at its reported CQI."""
    ue: int


def wanted_grants(state: CellState, known: Estimate) -> list[WantedGrant]:
    """UEs whose packets can be foreseen, and would be too old by the time a report of them comes. Ascending by UE."""
    slow_U = state.deadline_slots_U <= state.age_slots_U + SLOTS_TO_SERVE  # NaN: not known to need a grant
    wanted = []
    for ue in np.flatnonzero(slow_U & state.has_class(TrafficClass.PERIODIC)).tolist():
        period, phase = float(state.arrival_period_slots_U[ue]), float(state.arrival_phase_slots_U[ue])
        if is_slot_pattern(period, phase) and state.packet_bits_U[ue] > 0:
            rbgs = rbgs_for_packet(float(state.packet_bits_U[ue]), float(known.snr_U[ue]), MAX_GRANTS)
            if rbgs:
                wanted.append(WantedGrant(rbgs, ue))
    return wanted


def give_periodic_grants(
    state: CellState, known: Estimate, limits: Limits, owner_M: NDArray[np.int16]
) -> tuple[PeriodicGrant, ...]:
    """Grants on RBGs that no UE owns, whole UEs only (part of a packet is worth nothing), cheapest UEs first.

    Each of them gets the fewest RBGs that carry its packet at its reported CQI. Ascending by UE and RBG.
    """
    remaining = RemainingLimits(limits)
    for owner in owner_M[owner_M >= 0].tolist():
        remaining.own(owner)
    wanted = [w for w in wanted_grants(state, known) if _after_holding(remaining, w.ue, w.rbgs) is not None]
    grants: list[PeriodicGrant] = []
    for size, ue in sorted(wanted):
        if len(grants) + size > MAX_GRANTS:
            break
        period, phase = int(state.arrival_period_slots_U[ue]), int(state.arrival_phase_slots_U[ue])
        own = [PeriodicGrant(ue, rbg, period, phase) for rbg in np.flatnonzero(owner_M < 0).tolist()]
        own = [grant for grant in own if not any(g.rbg == grant.rbg and slots_meet(g, grant) for g in grants)]
        after = _after_holding(remaining, ue, size)
        if len(own) >= size and after is not None:
            grants += own[:size]
            remaining = after
    return tuple(sorted(grants))


def _after_holding(remaining: RemainingLimits, ue: int, rbgs: int) -> RemainingLimits | None:
    """The remaining limits once `ue` holds so many RBGs more; None if it may not."""
    after = remaining.copy()
    for _ in range(rbgs):
        if not after.may_hold(ue):
            return None
        after.hold(ue)
    return after


def rbgs_for_packet(packet_bits: float, snr: float, most: int) -> int:
    """Fewest RBGs, power split over them, that carry a packet in one slot; 0 if not even `most` do."""
    shares = np.arange(1, most + 1)
    bits = shares * bits_per_rbg(snr * OTHER_RBG_GAIN / shares)
    enough = np.flatnonzero(bits >= packet_bits)
    return int(enough[0]) + 1 if enough.size else 0

"""The classical leaders: every rule that a learned one is compared with, and falls back to.

Each is a pure function of one cell's state and intent. All obey the intent's caps and floors (a floor is owned
outright, whatever the rule), take any column to be missing, and serve a cell without UEs.
Suffixes: U = UEs, M = RBGs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from policy.allocation import DYNAMIC, OPEN, Allocation, LeftoverRule
from policy.cell_state import ALL_CLASSES, CellState
from policy.intent import Intent
from policy.leader import Decision
from policy.limits import Limits, compile_limits
from policy.remaining_limits import RemainingLimits
from policy.schedulers.estimate import Estimate, estimate
from policy.schedulers.greedy import greedy_owners, pay_floors
from policy.schedulers.periodic_grants import give_periodic_grants, latency_bound_mask

OPEN_BELOW_SLOTS = 10
"""K from which a decision is a RIC's: RBGs that nobody holds then go to the node's own scheduler, not to contention."""
BLIND_SENDERS = 1.2
"""Senders wanted on an RBG open to contention when nothing is known of who has something to send."""
ACTIVE_SENDERS = 0.9
"""The same, counted over the UEs that reports show to be active: others become active meanwhile."""
SLOW_CONTENDERS = 2.4
"""c for all classes over a period too long for reports to say who is active: some sleep in any slot."""
ROOMY_CONTENDERS = 4.8
"""The same in a cell with few UEs for its RBGs: the node leaves so much over that collisions cost little."""
ROOMY_UES_PER_RBG = 0.6
URGENT_CONTENDERS = 9.6
"""c where only latency-bound classes may contend: most of them sleep in any slot."""
CAPPED_SHARES = 1.5
"""Equal shares of the RBGs that `fair_caps` leaves a UE: more hurts those with little to send, less the others."""
FAIRNESS_OFFSET_BITS = 50.0
"""Keeps proportional fair's weight 1 / (R + offset) finite for a UE that was served nothing."""

Schedule = Callable[[CellState, Intent], Allocation]


@dataclass(slots=True, eq=False)
class Scheduler:
    """A classical rule as a Leader."""

    name: str
    schedule: Schedule

    def decide(
        self, states: Sequence[CellState], intents: Sequence[Intent], expired: Callable[[], bool]
    ) -> list[Decision]:
        """One decision per state. `expired` is not asked: a decision takes less time than its answer is worth."""
        return [Decision(self.schedule(s, i), decided_by=self.name) for s, i in zip(states, intents, strict=True)]


def spare_owner(slots_per_dcm: int) -> int:
    """The owner of an RBG that nobody is meant to hold: OPEN below OPEN_BELOW_SLOTS, else DYNAMIC."""
    return OPEN if slots_per_dcm < OPEN_BELOW_SLOTS else DYNAMIC


def contenders_for(state: CellState, known: Estimate) -> float:
    """c for p = min(1, c / n) with everybody allowed: n counts every UE, but those with nothing to send stay away."""
    if state.slots_per_dcm >= OPEN_BELOW_SLOTS:
        return SLOW_CONTENDERS
    return ACTIVE_SENDERS * state.num_ues / max(1, int(known.active_U.sum()))


def round_robin(state: CellState, intent: Intent) -> Allocation:
    """RBG after RBG to UE after UE, going on where the last period ended (taken from the slot: no memory)."""
    limits = compile_limits(state, intent)
    count, num_rbgs = state.num_ues, state.num_rbgs
    owner_M = np.full(num_rbgs, spare_owner(state.slots_per_dcm), np.int16)
    remaining = RemainingLimits(limits)
    turn = (state.slot // max(1, state.slots_per_dcm)) * num_rbgs
    for rbg in range(num_rbgs):
        is_next = remaining.pays if remaining.total_owed >= num_rbgs - rbg else remaining.may_own
        ue = next((u % count for u in range(turn, turn + count) if is_next(u % count)), -1)
        if ue < 0:
            break  # everybody is at their cap
        owner_M[rbg] = ue
        remaining.own(ue)
        turn = ue + 1
    return limits.allocation(state.ue_ids, owner_M, LeftoverRule(ALL_CLASSES, BLIND_SENDERS))


def proportional_fair(state: CellState, intent: Intent) -> Allocation:
    """Greedy on weight x bits that can be sent, weight = 1 / (R + 50)^alpha, minus what is already in flight."""
    return _greedy(state, intent, lambda e: (e.served_bits_per_slot_U + FAIRNESS_OFFSET_BITS) ** -intent.alpha)


def max_weight(state: CellState, intent: Intent) -> Allocation:
    """Greedy on backlog x bits that can be sent."""
    return _greedy(state, intent, lambda e: e.queue_bits_U)


def max_rate(state: CellState, intent: Intent) -> Allocation:
    """Greedy on bits that can be sent."""
    return _greedy(state, intent, lambda e: np.ones(len(e.queue_bits_U)))


def contention(state: CellState, intent: Intent) -> Allocation:
    """Everything OPEN: no coordination at all."""
    return _constant(state, intent, OPEN, LeftoverRule(ALL_CLASSES, BLIND_SENDERS))


def dynamic(state: CellState, intent: Intent) -> Allocation:
    """Everything to the node's own per-slot scheduler, anybody may use what it leaves over."""
    return _constant(state, intent, DYNAMIC, LeftoverRule(ALL_CLASSES, contenders_for(state, estimate(state))))


def static_config(state: CellState, intent: Intent) -> Allocation:
    """What traffic classes alone say: everything DYNAMIC, and periodic grants for deadlines that reports cannot serve.

    Where UEs outnumber RBGs, leftovers are for the latency-bound classes only; otherwise there is enough for all.
    """
    limits = compile_limits(state, intent)
    known = estimate(state)
    owner_M = _floors_owned(known, limits, state.num_rbgs, DYNAMIC)
    urgent = latency_bound_mask(state)
    if urgent and state.num_ues > state.num_rbgs:
        leftover = LeftoverRule(urgent, URGENT_CONTENDERS)
    else:
        roomy = state.num_ues < ROOMY_UES_PER_RBG * state.num_rbgs
        leftover = LeftoverRule(ALL_CLASSES, ROOMY_CONTENDERS if roomy else SLOW_CONTENDERS)
    grants = give_periodic_grants(state, known, limits, owner_M)
    return limits.allocation(state.ue_ids, owner_M, leftover, grants)


def fair_caps(state: CellState, intent: Intent) -> Allocation:
    """Everything to the node's own scheduler, but nobody more than CAPPED_SHARES equal shares of a slot.

    What there is to say where all that a node takes is quotas, and all that it reports is who used how much: UEs that
    used nothing lately do not count, so that a few who are active share the whole cell.
    """
    allocation = dynamic(state, intent)
    active = state.num_ues - int((state.prb_share_U <= 0.0).sum())
    most = min(state.num_rbgs, max(1, round(CAPPED_SHARES * state.num_rbgs / max(1, active))))
    if most == state.num_rbgs:
        return allocation
    caps_U = np.maximum(allocation.rbgs_per_ue(), most).astype(np.uint8)  # what floors own stays
    return replace(allocation, max_rbgs_U=np.minimum(allocation.max_rbgs_U, caps_U))


SCHEDULERS: dict[str, Scheduler] = {
    schedule.__name__: Scheduler(schedule.__name__, schedule)
    for schedule in (
        round_robin,
        proportional_fair,
        max_weight,
        max_rate,
        contention,
        dynamic,
        static_config,
        fair_caps,
    )
}
"""The classical leaders by name, for configuration and the command line."""


def _greedy(state: CellState, intent: Intent, weigh: Callable[[Estimate], NDArray[np.float64]]) -> Allocation:
    limits = compile_limits(state, intent)
    known = estimate(state)
    owner_M = greedy_owners(known, weigh(known), limits, state.num_rbgs)
    if not state.num_ues:
        owner_M[:] = spare_owner(state.slots_per_dcm)
    return limits.allocation(state.ue_ids, owner_M, LeftoverRule(ALL_CLASSES, contenders_for(state, known)))


def _constant(state: CellState, intent: Intent, owner: int, leftover: LeftoverRule) -> Allocation:
    limits = compile_limits(state, intent)
    owner_M = np.full(state.num_rbgs, owner, np.int16)
    if limits.needed:
        owner_M = _floors_owned(estimate(state), limits, state.num_rbgs, owner)
    return limits.allocation(state.ue_ids, owner_M, leftover)


def _floors_owned(known: Estimate, limits: Limits, num_rbgs: int, rest: int) -> NDArray[np.int16]:
    """RBGs that floors ask for with their owners, `rest` elsewhere, [M]."""
    return pay_floors(known, limits, np.full(num_rbgs, rest, np.int16), rest)

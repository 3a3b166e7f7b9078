"""The slot loop: the MAC's rule, the UEs' answer, and the world's step, compiled by numba.

One cell at a time, b, over arrays of many (see state.py, plan.py, world.py for shapes and units). All compiled code of
the simulator is in this file: numba's cache notices changes of a file only for the functions in it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from policy.allocation import DYNAMIC, IDLE, NO_CAP, OPEN
from training.simulator.plan import NOBODY, Plan
from training.simulator.state import (
    ABANDONED,
    ARRIVED,
    COLLISIONS,
    DELAY,
    DROPPED,
    OCCUPIED,
    OUTSIDE,
    PRESENT,
    SERVED,
    USED,
    WASTE,
    Constants,
    State,
    Tables,
)
from training.simulator.world import Draws, Seats

# Counting references to the arrays of a struct, and handing structs over, costs four times what these functions do: so
# they are inlined, and live without numba's runtime (_nrt): none allocates an array or assigns a slice.
_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "_nrt": False}
compiled = njit(**_OPTIONS)
inlined = njit(forceinline=True, **_OPTIONS)

UNDECIDED = -9

# What a UE may do on an RBG in a slot, as a learned follower sees it.
NONE, CONTEND, OWN = 0, 1, 2

WORTHWHILE_BITS = 20.0
"""Best response spreads its power over one more RBG only for more than this many bits."""

PF_OFFSET_BITS = 50.0
"""Proportional fair weighs a UE by 1 / (R + this)."""


class Rules(NamedTuple):
    """What does not change during a run."""

    seats: Seats
    tables: Tables
    constants: Constants


class Scratch(NamedTuple):
    """Room for one slot of one cell; not for two threads at once."""

    holder_M: NDArray[np.int64]
    """Who may use the RBG in this slot: a seat, OPEN (contention) or IDLE; DYNAMIC until the node has scheduled."""
    held_U: NDArray[np.int64]
    """RBGs of the slot that the UE holds."""
    eligible_U: NDArray[np.bool_]
    """The UE may contend."""
    sends_UM: NDArray[np.bool_]
    senders_M: NDArray[np.int64]
    order_M: NDArray[np.int64]
    backlog_U: NDArray[np.float64]
    """What the node believes to wait, and to be carried by what the UE holds, bits."""
    carried_U: NDArray[np.float64]
    weight_U: NDArray[np.float64]
    holds_preferred_U: NDArray[np.int64]


def make_scratch(ues: int, num_rbgs: int) -> Scratch:
    return Scratch(
        np.empty(num_rbgs, np.int64),
        np.empty(ues, np.int64),
        np.empty(ues, np.bool_),
        np.empty((ues, num_rbgs), np.bool_),
        np.empty(num_rbgs, np.int64),
        np.empty(num_rbgs, np.int64),
        np.empty(ues),
        np.empty(ues),
        np.empty(ues),
        np.empty(ues, np.int64),
    )


@inlined
def level_of(steps: Any, value: float) -> int:
    """Number of ascending steps at or below value (a buffer level, a CQI)."""
    level = 0
    for k in range(steps.size):  # no early exit: faster than a search whose branches cannot be predicted
        level += value >= steps[k]
    return level


@inlined
def rate_of(tables: Tables, snr: float) -> float:
    """Bits that one RBG carries in one slot."""
    return tables.bits_per_rbg[level_of(tables.snr_steps, snr)]


@inlined
def expected_bits(tables: Tables, cqi: int, rbgs: int, with_preferred: int, backlog: float) -> float:
    """What a scheduler expects of a UE on `rbgs` RBGs, its preferred one among them or not."""
    if rbgs == 0:
        return 0.0
    bits = (rbgs - with_preferred) * tables.guess_PCK[0, cqi, rbgs] + with_preferred * tables.guess_PCK[1, cqi, rbgs]
    return min(backlog, bits)


@inlined
def node_schedule(state: State, rules: Rules, plan: Plan, b: int, slot: int, scratch: Scratch) -> None:
    """The node's own scheduler: greedy proportional fair over the RBGs that are DYNAMIC, on reports D slots old.

    Picks the (UE, RBG) with the largest gain in weighted bits, the UE's power split over what it holds; ties go to the
    lower seat, then the lower RBG, as in the reference game. An RBG is only ever "preferred" or "other" to a UE, so two
    candidates a UE are enough.
    """
    holder_M, held_U, with_preferred_U = scratch.holder_M, scratch.held_U, scratch.holds_preferred_U
    num_rbgs, ues = holder_M.size, held_U.size
    depth = state.cqi_BUD1.shape[2]
    report = (slot + 1) % depth
    backlog_U, carried_U, weight_U = scratch.backlog_U, scratch.carried_U, scratch.weight_U
    for u in range(ues):
        backlog_U[u], carried_U[u] = 0.0, 0.0
        if not state.present_BU[b, u]:
            continue
        backlog = rules.tables.buffer_mid_bits[state.level_BUD1[b, u, report]]
        if rules.constants.subtracts_inflight and depth > 1:
            for d in range(depth - 1):
                backlog -= state.served_BUD[b, u, d]
        backlog_U[u] = max(backlog, 0.0)
        weight_U[u] = 1.0 / (state.average_BU[b, u] + PF_OFFSET_BITS)
        with_preferred_U[u] = holder_M[state.preferred_BUD1[b, u, report]] == u
        cqi = state.cqi_BUD1[b, u, report]
        carried_U[u] = expected_bits(rules.tables, cqi, held_U[u], with_preferred_U[u], backlog_U[u])

    while True:
        first, second = -1, -1
        for m in range(num_rbgs):
            if holder_M[m] == DYNAMIC:
                if first < 0:
                    first = m
                else:
                    second = m
                    break
        if first < 0:
            return
        best, best_u, best_m = 0.0, -1, -1
        for u in range(ues):
            if backlog_U[u] <= carried_U[u] or held_U[u] >= plan.cap_BU[b, u]:
                continue
            cqi = state.cqi_BUD1[b, u, report]
            preferred = state.preferred_BUD1[b, u, report]
            more = held_U[u] + 1
            gain, choice = 0.0, -1
            other = second if first == preferred else first
            if other >= 0:
                gain = expected_bits(rules.tables, cqi, more, with_preferred_U[u], backlog_U[u]) - carried_U[u]
                choice = other
            if holder_M[preferred] == DYNAMIC:
                gain_there = expected_bits(rules.tables, cqi, more, 1, backlog_U[u]) - carried_U[u]
                if choice < 0 or gain_there > gain or (gain_there == gain and preferred < choice):
                    gain, choice = gain_there, preferred
            if gain * weight_U[u] > best:
                best, best_u, best_m = gain * weight_U[u], u, choice
        if best_u < 0:
            return
        holder_M[best_m] = best_u
        held_U[best_u] += 1
        if best_m == state.preferred_BUD1[b, best_u, report]:
            with_preferred_U[best_u] = 1
        cqi = state.cqi_BUD1[b, best_u, report]
        carried_U[best_u] = expected_bits(
            rules.tables, cqi, held_U[best_u], with_preferred_U[best_u], backlog_U[best_u]
        )


@inlined
def entitle(state: State, rules: Rules, plan: Plan, b: int, slot: int, scratch: Scratch) -> float:
    """Apply the MAC's rule to one slot: fills holder, held and eligible, returns the contention probability p.

    In this order: periodic grants of the slot, owners, the node's scheduler on what is DYNAMIC, contention on the rest.
    """
    holder_M, held_U, eligible_U = scratch.holder_M, scratch.held_U, scratch.eligible_U
    num_rbgs, ues = holder_M.size, held_U.size
    for u in range(ues):
        held_U[u] = 0
    for m in range(num_rbgs):
        holder_M[m] = UNDECIDED
    for g in range(plan.grants_BG4.shape[1]):
        u, m = plan.grants_BG4[b, g, 0], plan.grants_BG4[b, g, 1]
        if u == NOBODY or slot % plan.grants_BG4[b, g, 2] != plan.grants_BG4[b, g, 3]:
            continue
        if holder_M[m] == UNDECIDED and held_U[u] < plan.cap_BU[b, u]:
            holder_M[m] = u
            held_U[u] += 1
    dynamic = False
    for m in range(num_rbgs):
        if holder_M[m] != UNDECIDED:
            continue
        owner = plan.owner_BM[b, m]
        if owner >= 0:
            if held_U[owner] < plan.cap_BU[b, owner]:
                holder_M[m] = owner
                held_U[owner] += 1
            else:
                holder_M[m] = IDLE
        else:
            holder_M[m] = owner
            dynamic = dynamic or owner == DYNAMIC
    if dynamic:
        node_schedule(state, rules, plan, b, slot, scratch)
        for m in range(num_rbgs):
            if holder_M[m] == DYNAMIC:
                holder_M[m] = OPEN
    count = 0
    for u in range(ues):
        in_mask = (plan.class_mask_B[b] >> rules.seats.traffic_class[u]) & 1 == 1
        eligible_U[u] = state.present_BU[b, u] and plan.open_allowed_BU[b, u] and in_mask
        count += eligible_U[u]
    if count == 0 or plan.contenders_B[b] <= 0.0:
        for u in range(ues):
            eligible_U[u] = False
        return 0.0
    return min(1.0, plan.contenders_B[b] / count)


@inlined
def best_response(
    state: State, rules: Rules, plan: Plan, draws: Draws, b: int, u: int, t: int, p: float, scratch: Scratch
) -> None:
    """The UE's myopic best answer on fresh information: of what it holds, and of the open RBGs on which its coin fell,
    the k best for the k that carries most of its queue with its power split."""
    holder_M, order_M = scratch.holder_M, scratch.order_M
    num_rbgs, w = holder_M.size, state.world_B[b]
    for m in range(num_rbgs):
        scratch.sends_UM[u, m] = False
    queue = state.queue_BU[b, u]
    if queue <= 0.0 or not state.present_BU[b, u]:
        return
    count = 0  # RBGs that it may use; order_M: best first
    for m in range(num_rbgs):
        open_to_it = holder_M[m] == OPEN and scratch.eligible_U[u] and draws.coin_BTUM[w, t, u, m] < p
        if holder_M[m] == u or open_to_it:
            place = count
            while place > 0 and state.gain_BUM[b, u, order_M[place - 1]] < state.gain_BUM[b, u, m]:
                order_M[place] = order_M[place - 1]
                place -= 1
            order_M[place] = m
            count += 1
    best, best_k = 0.0, 0
    for k in range(1, min(count, plan.cap_BU[b, u]) + 1):
        if best + WORTHWHILE_BITS >= queue:
            break
        bits = 0.0
        for j in range(k):
            bits += rate_of(rules.tables, state.gain_BUM[b, u, order_M[j]] / k)
        bits = min(bits, queue)
        if bits > best + WORTHWHILE_BITS:
            best, best_k = bits, k
    for j in range(best_k):
        scratch.sends_UM[u, order_M[j]] = True


@inlined
def transmit(state: State, rules: Rules, plan: Plan, b: int, slot: int, scratch: Scratch) -> None:
    """Play what the UEs send in one slot: collisions, decoding, queues served and expired, counters.

    Counts every transmission that the rule did not allow, from the holders alone and not from what the UEs were told.
    """
    holder_M, eligible_U, sends_UM, senders_M = (
        scratch.holder_M,
        scratch.eligible_U,
        scratch.sends_UM,
        scratch.senders_M,
    )
    ues, num_rbgs = sends_UM.shape
    for m in range(num_rbgs):
        senders_M[m] = 0
        for u in range(ues):
            if sends_UM[u, m]:
                senders_M[m] += 1
                if not state.present_BU[b, u] or not (holder_M[m] == u or (holder_M[m] == OPEN and eligible_U[u])):
                    state.events_BE[b, OUTSIDE] += 1
        state.events_BE[b, OCCUPIED] += senders_M[m] > 0
        state.events_BE[b, COLLISIONS] += senders_M[m] > 1
    for u in range(ues):
        k = 0
        for m in range(num_rbgs):
            k += sends_UM[u, m]
        state.counters_BUC[b, u, PRESENT] += state.present_BU[b, u]
        state.counters_BUC[b, u, USED] += k
        state.events_BE[b, OUTSIDE] += max(0, k - plan.cap_BU[b, u])
        bits = 0.0
        for m in range(num_rbgs):
            if sends_UM[u, m]:
                rate = rate_of(rules.tables, state.gain_BUM[b, u, m] / k)
                state.events_BE[b, WASTE] += rate == 0.0
                if senders_M[m] == 1:
                    bits += rate
        if state.queue_BU[b, u] <= 0.0:
            state.events_BE[b, WASTE] += k
        served = min(bits, state.queue_BU[b, u])
        state.served_BUD[b, u, slot % state.served_BUD.shape[2]] = served
        decay = rules.constants.served_decay
        state.average_BU[b, u] = decay * state.average_BU[b, u] + (1.0 - decay) * served
        if state.queue_BU[b, u] > 0.0:
            serve_queue(state, b, u, slot, rules.seats.deadline_slots[u], served)


@inlined
def serve_queue(state: State, b: int, u: int, slot: int, deadline: int, served: float) -> None:
    """Take `served` bits from a queue, oldest first; what has reached its deadline and still waits is dropped."""
    oldest = state.waiting_BUA.shape[2]
    left, queue = served, 0.0
    first = min(deadline - 1, slot)
    index = (slot - first - 1) % oldest
    for age in range(first, -1, -1):
        index = index + 1 if index + 1 < oldest else 0
        waiting = state.waiting_BUA[b, u, index]
        if waiting <= 0.0:
            continue
        taken = min(waiting, left)
        if taken > 0.0:
            left -= taken
            waiting -= taken
            state.counters_BUC[b, u, SERVED] += taken
            state.counters_BUC[b, u, DELAY] += taken * (age + 1)
            state.delays_BUA[b, u, age] += taken
        if age == deadline - 1:
            state.counters_BUC[b, u, DROPPED] += waiting
            waiting = 0.0
        state.waiting_BUA[b, u, index] = waiting
        queue += waiting
    state.queue_BU[b, u] = queue


@inlined
def leave(state: State, plan: Plan, b: int, u: int) -> None:
    """The UE goes, with its queue; what the plan gave it falls to the node's scheduler."""
    state.present_BU[b, u] = False
    state.ue_id_BU[b, u] = 0
    state.counters_BUC[b, u, ABANDONED] += state.queue_BU[b, u]
    state.queue_BU[b, u] = 0.0
    for a in range(state.waiting_BUA.shape[2]):
        state.waiting_BUA[b, u, a] = 0.0
    for m in range(plan.owner_BM.shape[1]):
        if plan.owner_BM[b, m] == u:
            plan.owner_BM[b, m] = DYNAMIC
    for g in range(plan.grants_BG4.shape[1]):
        if plan.grants_BG4[b, g, 0] == u:
            plan.grants_BG4[b, g, 0] = NOBODY
    plan.open_allowed_BU[b, u] = True
    plan.cap_BU[b, u] = NO_CAP


@inlined
def come(state: State, rules: Rules, draws: Draws, b: int, u: int, slot: int) -> None:
    """A new UE takes the seat from `slot` on."""
    w = state.world_B[b]
    state.present_BU[b, u] = True
    state.ue_id_BU[b, u] = state.next_id_B[b]
    state.next_id_B[b] += 1
    state.since_BU[b, u] = slot
    state.mean_snr_BU[b, u] = draws.newcomers.mean_snr[w, u]
    state.period_BU[b, u] = draws.newcomers.period_slots[w, u]
    state.phase_BU[b, u] = draws.newcomers.phase_slots[w, u]
    state.average_BU[b, u] = rules.constants.served_start
    for d in range(state.served_BUD.shape[2]):
        state.served_BUD[b, u, d] = 0.0
    for c in range(state.counters_BUC.shape[2]):
        state.arrival_BUC[b, u, c] = state.counters_BUC[b, u, c]


@inlined
def arrive(state: State, rules: Rules, draws: Draws, b: int, u: int, slot: int, t: int) -> None:
    """Packets that become ready in `slot`, drawn with entry t of the chunk."""
    w = state.world_B[b]
    burst, sleep = draws.burst_BTU[w, t, u], draws.sleep_BTU[w, t, u]
    state.on_BU[b, u] = burst >= rules.seats.p_off[u] if state.on_BU[b, u] else burst < rules.seats.p_on[u]
    state.awake_BU[b, u] = sleep >= rules.seats.p_sleep[u] if state.awake_BU[b, u] else sleep < rules.seats.p_wake[u]
    if not state.present_BU[b, u] or not state.awake_BU[b, u]:
        return
    packets = 0
    if state.period_BU[b, u] > 0:
        if slot % state.period_BU[b, u] == state.phase_BU[b, u]:
            packets = 1
    elif state.on_BU[b, u]:
        packets = draws.packets_BTU[w, t, u]
    if packets == 0:
        return
    bits = packets * rules.seats.packet_bits[u]
    kept = min(bits, rules.constants.buffer_limit_bits - state.queue_BU[b, u])
    state.counters_BUC[b, u, ARRIVED] += bits
    state.counters_BUC[b, u, DROPPED] += bits - kept
    state.queue_BU[b, u] += kept
    state.waiting_BUA[b, u, slot % state.waiting_BUA.shape[2]] += kept


@inlined
def report(state: State, rules: Rules, b: int, u: int, slot: int) -> None:
    """The UE's report of its state at the start of `slot`; a UE that just came fills its whole past with it."""
    num_rbgs, oldest = state.gain_BUM.shape[2], state.waiting_BUA.shape[2]
    depth = state.cqi_BUD1.shape[2]
    best, mean = 0, 0.0
    for m in range(num_rbgs):
        mean += state.gain_BUM[b, u, m]
        if state.gain_BUM[b, u, m] > state.gain_BUM[b, u, best]:
            best = m
    head = 0
    if state.queue_BU[b, u] > 0.0:
        head = min(rules.seats.deadline_slots[u] - 1, slot)
        index = (slot - head) % oldest
        while head > 0 and state.waiting_BUA[b, u, index] <= 0.0:
            head -= 1
            index = index + 1 if index + 1 < oldest else 0
    copies = depth if state.since_BU[b, u] == slot else 1
    for copy in range(copies):
        index = (slot + copy) % depth
        state.level_BUD1[b, u, index] = level_of(rules.tables.buffer_edges, state.queue_BU[b, u])
        state.cqi_BUD1[b, u, index] = level_of(rules.tables.snr_steps, mean / num_rbgs)
        state.preferred_BUD1[b, u, index] = best
        state.head_BUD1[b, u, index] = head


@inlined
def step_world(state: State, rules: Rules, plan: Plan, draws: Draws, b: int, slot: int, t: int) -> None:
    """From the end of `slot` (entry t of the chunk) to the start of the next: UEs, packets, fading, reports."""
    w = state.world_B[b]
    for u in range(state.queue_BU.shape[1]):
        if rules.constants.p_leave > 0.0 and u > 0:
            if state.present_BU[b, u]:
                if draws.presence_BTU[w, t, u] < rules.constants.p_leave:
                    leave(state, plan, b, u)
            elif draws.presence_BTU[w, t, u] < rules.constants.p_come:
                come(state, rules, draws, b, u, slot + 1)
        arrive(state, rules, draws, b, u, slot + 1, t)
        for m in range(state.gain_BUM.shape[2]):
            power = 0.0
            for part in range(2):
                h = (
                    rules.constants.rho * state.fading_BUM2[b, u, m, part]
                    + rules.constants.innovation * draws.fading_BTUM2[w, t, u, m, part]
                )
                state.fading_BUM2[b, u, m, part] = h
                power += h * h
            state.gain_BUM[b, u, m] = power * state.mean_snr_BU[b, u]
        if state.present_BU[b, u]:
            report(state, rules, b, u, slot + 1)


@compiled
def play(
    state: State, rules: Rules, plan: Plan, draws: Draws, slot: int, t: int, slots: int, obey: bool, scratch: Scratch
) -> None:
    """Play `slots` slots from `slot` on (entry t of the chunk, which must hold them all) with followers that follow a
    rule: obey (send on all they hold, and nowhere else) or best response."""
    cells, ues, num_rbgs = state.gain_BUM.shape
    for b in range(cells):
        for i in range(slots):
            p = entitle(state, rules, plan, b, slot + i, scratch)
            for u in range(ues):
                if obey:
                    for m in range(num_rbgs):
                        scratch.sends_UM[u, m] = scratch.holder_M[m] == u
                else:
                    best_response(state, rules, plan, draws, b, u, t + i, p, scratch)
            transmit(state, rules, plan, b, slot + i, scratch)
            step_world(state, rules, plan, draws, b, slot + i, t + i)


@compiled
def begin_slot(
    state: State,
    rules: Rules,
    plan: Plan,
    slot: int,
    holder_BM: Any,
    eligible_BU: Any,
    probability_B: Any,
    entitlement_BUM: Any,
    cqi_BUM: Any,
    scratch: Scratch,
) -> None:
    """First half of a slot whose UEs answer for themselves: who may send where, and each UE's fresh CQI per RBG."""
    cells, ues, num_rbgs = state.gain_BUM.shape
    for b in range(cells):
        probability_B[b] = entitle(state, rules, plan, b, slot, scratch)
        for m in range(num_rbgs):
            holder_BM[b, m] = scratch.holder_M[m]
        for u in range(ues):
            eligible_BU[b, u] = scratch.eligible_U[u]
            for m in range(num_rbgs):
                entitlement_BUM[b, u, m] = NONE
                if scratch.holder_M[m] == u:
                    entitlement_BUM[b, u, m] = OWN
                elif scratch.holder_M[m] == OPEN and scratch.eligible_U[u]:
                    entitlement_BUM[b, u, m] = CONTEND
                cqi_BUM[b, u, m] = level_of(rules.tables.snr_steps, state.gain_BUM[b, u, m])


@compiled
def finish_slot(
    state: State,
    rules: Rules,
    plan: Plan,
    draws: Draws,
    slot: int,
    t: int,
    holder_BM: Any,
    eligible_BU: Any,
    sends_BUM: Any,
    scratch: Scratch,
) -> None:
    """Second half: play what the UEs send and step to the next slot."""
    cells, ues, num_rbgs = state.gain_BUM.shape
    for b in range(cells):
        for m in range(num_rbgs):
            scratch.holder_M[m] = holder_BM[b, m]
        for u in range(ues):
            scratch.eligible_U[u] = eligible_BU[b, u]
            for m in range(num_rbgs):
                scratch.sends_UM[u, m] = sends_BUM[b, u, m]
        transmit(state, rules, plan, b, slot, scratch)
        step_world(state, rules, plan, draws, b, slot, t)

"""What a slot does, in its order: transmissions and queues, then the world's step to the next slot.

Compiled into core.py. One cell at a time, b, over arrays of many (see state.py, plan.py, world.py for shapes and
units); u is a seat, m an RBG. Each function stands above those that it calls.
"""

from __future__ import annotations

import numpy as np

from policy.allocation import DYNAMIC, NO_CAP, OPEN
from policy.cell_state import MAX_LAST_CQI_AGE, OUTCOME_DECODED, OUTCOME_IDLE, OUTCOME_LOST, WAS_OPEN
from training.simulator.jit import inlined
from training.simulator.mac_rule import level_of, rate_of
from training.simulator.plan import NO_SLICE, NOBODY, Plan
from training.simulator.state import (
    ABANDONED,
    ARRIVED,
    ATTEMPTS_KEPT,
    COLLISIONS,
    DELAY,
    DROPPED,
    LAST_CQI_AGE,
    LONG_AGO,
    NEVER,
    NO_ATTEMPTS,
    NO_WORD,
    OCCUPIED,
    OUTSIDE,
    PRESENT,
    SERVED,
    USED,
    WASTE,
    Rules,
    Scratch,
    State,
)
from training.simulator.world import Draws

MOST_PACKETS = 500
"""The largest mean number of packets in a slot that is drawn at random; a larger one is its mean."""


@inlined
def transmit(state: State, rules: Rules, plan: Plan, b: int, slot: int, scratch: Scratch) -> None:
    """Play what the UEs send in one slot: collisions, decoding, queues served and expired, counters.

    Counts every transmission that the rule did not allow: by who holds the RBG in this slot, and by the plan itself, so
    that neither a UE nor `entitle` can be wrong unnoticed.
    """
    holder_M, eligible_U = scratch.holder_M, scratch.eligible_U
    sends_UM, senders_M = scratch.sends_UM, scratch.senders_M
    ues, num_rbgs = sends_UM.shape
    # What the base station sees of each RBG.
    for m in range(num_rbgs):
        senders_M[m] = 0
        for u in range(ues):
            if sends_UM[u, m]:
                senders_M[m] += 1
                within = holder_M[m] == u or (holder_M[m] == OPEN and eligible_U[u])
                if not within or not may_send(state, rules, plan, b, u, m, slot, scratch):
                    state.events_BE[b, OUTSIDE] += 1
        state.events_BE[b, OCCUPIED] += senders_M[m] > 0
        state.events_BE[b, COLLISIONS] += senders_M[m] > 1
        # Whoever sends alone may still be too weak to be decoded: for the base station it is as good as a collision.
        outcome = OUTCOME_IDLE if senders_M[m] == 0 else OUTCOME_LOST
        state.outcome_BM[b, m] = outcome + (WAS_OPEN if holder_M[m] == OPEN else 0)
    # What each UE gets through, its power split over the k RBGs that it sends on.
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
                if holder_M[m] == OPEN:
                    remembered = 2 * state.attempts_BU[b, u] + (senders_M[m] > 1)
                    if remembered >= 2 << ATTEMPTS_KEPT:
                        remembered = (1 << ATTEMPTS_KEPT) + remembered % (1 << ATTEMPTS_KEPT)
                    state.attempts_BU[b, u] = remembered
                if rules.constants.coupling > 0.0:
                    noise = 1.0 + leak_onto(state, rules, b, u, m, scratch)
                    rate = rate_of(rules.tables, state.gain_BUM[b, u, m] / k / noise)
                if senders_M[m] == 1:
                    bits += rate
                    if rate > 0.0:
                        state.last_cqi_BUM[b, u, m] = level_of(rules.tables.snr_steps, state.gain_BUM[b, u, m])
                        state.outcome_BM[b, m] += OUTCOME_DECODED - OUTCOME_LOST
        if state.queue_BU[b, u] <= 0.0:
            state.events_BE[b, WASTE] += k
        served = min(bits, state.queue_BU[b, u])
        state.served_BUD[b, u, slot % state.served_BUD.shape[2]] = served
        if served > 0.0:
            state.served_slot_BU[b, u] = slot
        decay = rules.constants.served_decay
        state.average_BU[b, u] = decay * state.average_BU[b, u] + (1.0 - decay) * served
        if state.queue_BU[b, u] > 0.0:
            serve_queue(state, rules, b, u, slot, served)


@inlined
def may_send(state: State, rules: Rules, plan: Plan, b: int, u: int, m: int, slot: int, scratch: Scratch) -> bool:
    """Whether a UE may be on an RBG, read from the plan and not from what `entitle` made of it.

    Only what the node's own scheduler gave away is taken from the slot's holders: it stands nowhere else.
    """
    if not state.present_BU[b, u]:
        return False
    for g in range(plan.grants_BG4.shape[1]):
        is_its = plan.grants_BG4[b, g, 0] == u and plan.grants_BG4[b, g, 1] == m
        if is_its and slot % plan.grants_BG4[b, g, 2] == plan.grants_BG4[b, g, 3]:
            return True
    owner = plan.owner_BM[b, m]
    if owner == u or (owner == DYNAMIC and scratch.holder_M[m] == u):
        return True
    in_mask = (plan.class_mask_B[b] >> rules.profiles.traffic_class[state.profile_BU[b, u]]) & 1 == 1
    left_over = owner in (OPEN, DYNAMIC)
    return left_over and in_mask and plan.open_allowed_BU[b, u] and plan.contenders_B[b] > 0.0


@inlined
def leak_onto(state: State, rules: Rules, b: int, u: int, m: int, scratch: Scratch) -> float:
    """Power that reaches an RBG from what others than UE u send on its neighbours, in units of thermal noise."""
    ues, num_rbgs = scratch.sends_UM.shape
    leak = 0.0
    for v in range(ues):
        if v == u:
            continue
        beside = (m > 0 and scratch.sends_UM[v, m - 1]) + (m + 1 < num_rbgs and scratch.sends_UM[v, m + 1])
        if beside == 0:
            continue
        k = 0
        for n in range(num_rbgs):
            k += scratch.sends_UM[v, n]
        leak += beside * state.gain_BUM[b, v, m] / k
    return rules.constants.coupling * leak


@inlined
def serve_queue(state: State, rules: Rules, b: int, u: int, slot: int, served: float) -> None:
    """Take `served` bits from a queue, oldest first; what has reached its deadline and still waits is dropped."""
    oldest = state.waiting_BUA.shape[2]
    profile = state.profile_BU[b, u]
    deadline = rules.profiles.deadline_slots[profile]
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
            state.class_bits_BC2[b, rules.profiles.traffic_class[profile], 1] += waiting
            waiting = 0.0
        state.waiting_BUA[b, u, index] = waiting
        queue += waiting
    state.queue_BU[b, u] = queue


@inlined
def step_world(state: State, rules: Rules, plan: Plan, draws: Draws, b: int, slot: int, t: int) -> None:
    """Step from the end of `slot` (entry t of the chunk) to the start of the next: UEs, packets, fading, reports."""
    w = state.world_B[b]
    if rules.constants.p_shift > 0.0 and draws.regimes.shift_BT[w, t] < rules.constants.p_shift:
        for u in range(state.queue_BU.shape[1]):
            shift(state, draws, b, u, slot + 1)
    for u in range(state.queue_BU.shape[1]):
        if rules.constants.p_leave > 0.0 and u >= rules.constants.residents:
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
            decoded = state.last_cqi_BUM[b, u, m]
            if decoded > 0:
                state.last_cqi_BUM[b, u, m] = decoded + LAST_CQI_AGE if decoded < MAX_LAST_CQI_AGE * LAST_CQI_AGE else 0
        if state.present_BU[b, u]:
            report(state, rules, b, u, slot + 1)


@inlined
def shift(state: State, draws: Draws, b: int, u: int, slot: int) -> None:
    """Give the seat its part of the regime that begins in `slot`."""
    w, regimes = state.world_B[b], draws.regimes
    state.load_BU[b, u] = regimes.load_BU[w, u]
    if state.profile_BU[b, u] == regimes.profile_BU[w, u]:
        return
    state.before_BU3[b, u, 0] = state.profile_BU[b, u]
    state.before_BU3[b, u, 1] = state.period_BU[b, u]
    state.before_BU3[b, u, 2] = state.phase_BU[b, u]
    state.shifted_BU[b, u] = slot
    state.profile_BU[b, u] = regimes.profile_BU[w, u]
    state.period_BU[b, u] = regimes.period_BU[w, u]
    state.phase_BU[b, u] = regimes.phase_BU[w, u]
    state.due_BU[b, u] = LONG_AGO
    abandon(state, b, u)


@inlined
def leave(state: State, plan: Plan, b: int, u: int) -> None:
    """The UE goes, with its queue; what the plan gave it falls to the node's scheduler."""
    state.present_BU[b, u] = False
    state.ue_id_BU[b, u] = 0
    abandon(state, b, u)
    for m in range(plan.owner_BM.shape[1]):
        if plan.owner_BM[b, m] == u:
            plan.owner_BM[b, m] = DYNAMIC
    for g in range(plan.grants_BG4.shape[1]):
        if plan.grants_BG4[b, g, 0] == u:
            plan.grants_BG4[b, g, 0] = NOBODY
    plan.open_allowed_BU[b, u] = True
    plan.cap_BU[b, u] = NO_CAP
    plan.slice_BU[b, u] = NO_SLICE


@inlined
def come(state: State, rules: Rules, draws: Draws, b: int, u: int, slot: int) -> None:
    """A new UE takes the seat from `slot` on."""
    w = state.world_B[b]
    state.present_BU[b, u] = True
    state.ue_id_BU[b, u] = state.next_id_B[b]
    state.next_id_B[b] += 1
    state.since_BU[b, u] = slot
    state.mean_snr_BU[b, u] = draws.newcomers.mean_snr[w, u]
    if rules.constants.p_shift == 0.0:  # else period and phase go with the regime, which the seat keeps
        state.period_BU[b, u] = draws.newcomers.period_slots[w, u]
        state.phase_BU[b, u] = draws.newcomers.phase_slots[w, u]
    state.shifted_BU[b, u] = LONG_AGO
    state.due_BU[b, u] = LONG_AGO
    state.average_BU[b, u] = rules.constants.served_start
    state.served_slot_BU[b, u] = NEVER
    state.attempts_BU[b, u] = NO_ATTEMPTS
    for m in range(state.last_cqi_BUM.shape[2]):
        state.last_cqi_BUM[b, u, m] = 0
    for d in range(state.served_BUD.shape[2]):
        state.served_BUD[b, u, d] = 0.0
    for c in range(state.counters_BUC.shape[2]):
        state.arrival_BUC[b, u, c] = state.counters_BUC[b, u, c]


@inlined
def abandon(state: State, b: int, u: int) -> None:
    """Empty the UE's queue: what waits is of no use to anybody any more."""
    state.counters_BUC[b, u, ABANDONED] += state.queue_BU[b, u]
    state.queue_BU[b, u] = 0.0
    for a in range(state.waiting_BUA.shape[2]):
        state.waiting_BUA[b, u, a] = 0.0


@inlined
def arrive(state: State, rules: Rules, draws: Draws, b: int, u: int, slot: int, t: int) -> None:
    """Queue the packets that become ready in `slot`, drawn with entry t of the chunk."""
    w, k, p = state.world_B[b], state.profile_BU[b, u], rules.profiles
    burst, sleep = draws.burst_BTU[w, t, u], draws.sleep_BTU[w, t, u]
    state.on_BU[b, u] = burst >= p.p_off[k] if state.on_BU[b, u] else burst < p.p_on[k]
    state.awake_BU[b, u] = sleep >= p.p_sleep[k] if state.awake_BU[b, u] else sleep < p.p_wake[k]
    if not state.present_BU[b, u] or not state.awake_BU[b, u]:
        return
    if p.full_buffer[k]:
        refill(state, rules, b, u, slot)
        return
    packets = 0
    if state.period_BU[b, u] > 0:
        jitter = p.jitter_slots[k]
        if (slot + jitter) % state.period_BU[b, u] == state.phase_BU[b, u]:
            state.due_BU[b, u] = slot + int(burst * (2 * jitter + 1))  # a periodic UE has no bursts to draw
        if slot == state.due_BU[b, u]:
            packets = 1
    elif state.on_BU[b, u]:
        if rules.constants.p_shift == 0.0:
            packets = draws.packets_BTU[w, t, u]
        else:
            packets = poisson(draws.regimes.volume_BTU[w, t, u], p.mean_packets[k] * state.load_BU[b, u])
    if packets == 0:
        return
    bits = packets * p.packet_bits[k]
    kept = min(bits, rules.constants.buffer_limit_bits - state.queue_BU[b, u])
    state.counters_BUC[b, u, ARRIVED] += bits
    state.counters_BUC[b, u, DROPPED] += bits - kept
    state.class_bits_BC2[b, p.traffic_class[k], 0] += bits
    state.class_bits_BC2[b, p.traffic_class[k], 1] += bits - kept
    state.queue_BU[b, u] += kept
    state.waiting_BUA[b, u, slot % state.waiting_BUA.shape[2]] += kept


@inlined
def poisson(uniform: float, mean: float) -> int:
    """The number at which Poisson's distribution function passes `uniform`."""
    if mean > MOST_PACKETS:
        return int(mean)
    count, term = 0, np.exp(-mean)
    total = term
    while uniform >= total and count < 3 * MOST_PACKETS:
        count += 1
        term *= mean / count
        total += term
        if term < 1e-12 and count > mean:  # what float32 cannot tell from 1
            break
    return count


@inlined
def refill(state: State, rules: Rules, b: int, u: int, slot: int) -> None:
    """Fill a full buffer again: what was sent is there once more, and everything is as new as that."""
    limit = rules.constants.buffer_limit_bits
    profile = state.profile_BU[b, u]
    bits = limit - state.queue_BU[b, u]
    state.counters_BUC[b, u, ARRIVED] += bits
    state.class_bits_BC2[b, rules.profiles.traffic_class[profile], 0] += bits
    oldest = state.waiting_BUA.shape[2]
    for a in range(oldest):
        state.waiting_BUA[b, u, a] = 0.0
    state.waiting_BUA[b, u, slot % oldest] = limit
    state.queue_BU[b, u] = limit


@inlined
def report(state: State, rules: Rules, b: int, u: int, slot: int) -> None:
    """Write the UE's report of its state at the start of `slot`; one that just came fills its whole past with it."""
    num_rbgs, oldest = state.gain_BUM.shape[2], state.waiting_BUA.shape[2]
    depth = state.cqi_BUD1.shape[2]
    best, mean = 0, 0.0
    for m in range(num_rbgs):
        mean += state.gain_BUM[b, u, m]
        if state.gain_BUM[b, u, m] > state.gain_BUM[b, u, best]:
            best = m
    head = 0
    if state.queue_BU[b, u] > 0.0:
        head = min(rules.profiles.deadline_slots[state.profile_BU[b, u]] - 1, slot)
        index = (slot - head) % oldest
        while head > 0 and state.waiting_BUA[b, u, index] <= 0.0:
            head -= 1
            index = index + 1 if index + 1 < oldest else 0
    level = level_of(rules.tables.buffer_edges, state.queue_BU[b, u])
    is_new = state.since_BU[b, u] == slot
    copies = depth if is_new else 1
    state.level_before_BU[b, u] = level if is_new else state.level_BUD1[b, u, slot % depth]
    for copy in range(copies):
        index = (slot + copy) % depth
        state.level_BUD1[b, u, index] = level
        state.cqi_BUD1[b, u, index] = level_of(rules.tables.snr_steps, mean / num_rbgs)
        state.preferred_BUD1[b, u, index] = best
        state.head_BUD1[b, u, index] = head
        state.ucm_BUD1[b, u, index] = NO_WORD

"""Who may send on which RBG in a slot, and what a rule-abiding UE then sends.

Compiled into core.py. One cell at a time, b, over arrays of many (see state.py, plan.py, world.py for shapes and
units); u is a seat, m an RBG. Each function stands above those that it calls.
"""

from __future__ import annotations

from typing import Any

from policy.allocation import DYNAMIC, IDLE, OPEN
from training.simulator.jit import inlined
from training.simulator.plan import NOBODY, Plan
from training.simulator.state import Rules, Scratch, State, Tables
from training.simulator.world import Draws

UNDECIDED = -9

WORTHWHILE_BITS = 20.0
"""Best response spreads its power over one more RBG only for more than this many bits."""


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
        in_mask = (plan.class_mask_B[b] >> rules.profiles.traffic_class[state.profile_BU[b, u]]) & 1 == 1
        eligible_U[u] = state.present_BU[b, u] and plan.open_allowed_BU[b, u] and in_mask
        count += eligible_U[u]
    if count == 0 or plan.contenders_B[b] <= 0.0:
        for u in range(ues):
            eligible_U[u] = False
        return 0.0
    return min(1.0, plan.contenders_B[b] / count)


@inlined
def node_schedule(state: State, rules: Rules, plan: Plan, b: int, slot: int, scratch: Scratch) -> None:
    """The node's own scheduler, greedy over the RBGs that are DYNAMIC, on reports D slots old.

    A slice that has less than its least comes first, and one that has its most gets nothing more. Otherwise it
    picks the (UE, RBG) with the largest gain in weighted bits, the UE's power split over what it holds; ties go to the
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
        if rules.constants.node_rule == 0:
            weight_U[u] = 1.0 / (state.average_BU[b, u] + rules.constants.fairness_offset)
        else:
            weight_U[u] = backlog_U[u] if rules.constants.node_rule == 1 else 1.0
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
        slices_first = False  # the best so far is of a slice that has less than its least
        for u in range(ues):
            if backlog_U[u] <= carried_U[u] or held_U[u] >= plan.cap_BU[b, u]:
                continue
            s = plan.slice_BU[b, u]
            comes_first = False
            if s >= 0:
                held_by_slice = 0
                for v in range(ues):
                    if plan.slice_BU[b, v] == s:
                        held_by_slice += held_U[v]
                if held_by_slice >= plan.slice_most_BS[b, s]:
                    continue
                comes_first = held_by_slice < plan.slice_least_BS[b, s]
            if slices_first and not comes_first:
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
            if gain * weight_U[u] > best or (comes_first and not slices_first and gain * weight_U[u] > 0.0):
                best, best_u, best_m = gain * weight_U[u], u, choice
                slices_first = comes_first
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
def expected_bits(tables: Tables, cqi: int, rbgs: int, with_preferred: int, backlog: float) -> float:
    """Bits that a scheduler expects of a UE on `rbgs` RBGs, its preferred one among them or not."""
    if rbgs == 0:
        return 0.0
    bits = (rbgs - with_preferred) * tables.guess_PCK[0, cqi, rbgs] + with_preferred * tables.guess_PCK[1, cqi, rbgs]
    return min(backlog, bits)


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
def rate_of(tables: Tables, snr: float) -> float:
    """Bits that one RBG carries in one slot."""
    return tables.bits_per_rbg[level_of(tables.snr_steps, snr)]


@inlined
def level_of(steps: Any, value: float) -> int:
    """Number of ascending steps at or below value (a buffer level, a CQI)."""
    level = 0
    for k in range(steps.size):  # no early exit: faster than a search whose branches cannot be predicted
        level += value >= steps[k]
    return level

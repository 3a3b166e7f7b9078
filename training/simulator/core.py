"""The slot loop: the MAC's rule, the UEs' answer, and the world's step, as Python calls them.

One cell after the other, b, over arrays of many (see state.py, plan.py, world.py for shapes and units).
"""

from __future__ import annotations

from typing import Any

from policy.allocation import OPEN
from training.simulator.jit import entry_point
from training.simulator.mac_rule import best_response, entitle, level_of
from training.simulator.plan import Plan
from training.simulator.slot_step import step_world, transmit
from training.simulator.state import Rules, Scratch, State
from training.simulator.world import Draws

# What a UE may do on an RBG in a slot, as a learned follower sees it: policy.follower.Access, without its torch.
NONE, CONTEND, OWN = 0, 1, 2
# Which of its best responses an RBG is in, as it works them out: policy.follower.Answer.
ANSWER_OWN, ANSWER_RULE, ANSWER_ALL, ANSWER_COIN = 1, 2, 4, 8


@entry_point
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


@entry_point
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


@entry_point
def answers(
    state: State,
    rules: Rules,
    plan: Plan,
    draws: Draws,
    t: int,
    holder_BM: Any,
    eligible_BU: Any,
    probability_B: Any,
    answer_BUM: Any,
    scratch: Scratch,
) -> None:
    """Each UE's best responses in a slot that has begun: with its own RBGs alone, by the rule, and with all that is
    open to it."""
    cells, ues, num_rbgs = state.gain_BUM.shape
    for b in range(cells):
        for m in range(num_rbgs):
            scratch.holder_M[m] = holder_BM[b, m]
        for u in range(ues):
            scratch.eligible_U[u] = eligible_BU[b, u]
            for m in range(num_rbgs):
                answer_BUM[b, u, m] = 0
                coin = draws.coin_BTUM[state.world_B[b], t, u, m]
                if scratch.holder_M[m] == OPEN and eligible_BU[b, u] and coin < probability_B[b]:
                    answer_BUM[b, u, m] = ANSWER_COIN
            for flag in (ANSWER_OWN, ANSWER_RULE, ANSWER_ALL):
                p = 0.0
                if flag == ANSWER_RULE:
                    p = probability_B[b]
                elif flag == ANSWER_ALL:
                    p = 2.0  # every coin is below it
                best_response(state, rules, plan, draws, b, u, t, p, scratch)
                for m in range(num_rbgs):
                    if scratch.sends_UM[u, m]:
                        answer_BUM[b, u, m] += flag


@entry_point
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

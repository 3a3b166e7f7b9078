"""The prompt of a cell, from its columns to tokens: policy.prompt.compact and action features, compiled."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from policy.cell_state import NUM_OUTCOMES, OUTCOME_DECODED, OUTCOME_LOST, WAS_OPEN, TrafficClass
from policy.engine.jit import kernel
from policy.engine.memory import FIRST_UE_ROW, NUM_RBGS, NUM_UES, SLOTS_PER_DCM, Cells, Memory
from policy.engine.tables import CELL_NUMBERS, UE_NUMBERS, Tables
from policy.leader_models.action_features import AGE_EDGES, QUALITY_EDGES
from policy.schedulers.estimate import UNKNOWN_CQI
from policy.schedulers.periodic_grants import MAX_GRANTS, MAX_PERIOD_SLOTS, SLOTS_TO_SERVE

NUMBERS_OF_UE, NUMBERS_OF_CELL = len(UE_NUMBERS), len(CELL_NUMBERS)
PERIODIC, SPORADIC = float(TrafficClass.PERIODIC), float(TrafficClass.SPORADIC)
DECODED, LOST, OPENED = OUTCOME_DECODED, OUTCOME_LOST, WAS_OPEN
BEST_CQI = 15.0
WORST_KNOWN_CQI = -1.0
GUESSED_CQI = float(UNKNOWN_CQI)
UNKNOWN = math.nan


@kernel
def level_of(value: float, edges: Any, low: int, end: int) -> int:
    """0 = not known, else 1 + how many of edges[low:end] are not above the value."""
    if value != value:
        return 0
    first = low
    while low < end:
        middle = (low + end) >> 1
        if edges[middle] <= value:
            low = middle + 1
        else:
            end = middle
    return low - first + 1


@kernel
def wanted_rbgs(
    kind: float, deadline: float, age: float, period: float, phase: float, bits: float, cqi: float, packet_bits: Any
) -> int:
    """RBGs of the periodic grant that a UE wants; 0 = none (policy.schedulers.periodic_grants.wanted_grants)."""
    if not (kind == PERIODIC and deadline <= age + SLOTS_TO_SERVE and bits > 0.0):
        return 0
    if not (1.0 <= period <= MAX_PERIOD_SLOTS and 0.0 <= phase < period and period % 1 == 0 and phase % 1 == 0):
        return 0
    known = max(cqi, WORST_KNOWN_CQI) if math.isfinite(cqi) else GUESSED_CQI
    row = int(min(max(known, 0.0), BEST_CQI))
    for rbgs in range(MAX_GRANTS):
        if packet_bits[row, rbgs] >= bits:
            return rbgs + 1
    return 0


@kernel
def channel_history_level(channel_history: float, age: float, cqi: float) -> int:
    """How well a UE was heard on an RBG; 0 = not known."""
    if not (math.isfinite(channel_history) and math.isfinite(age) and math.isfinite(cqi)):
        return 0
    quality = 0
    for edge in QUALITY_EDGES:
        quality += channel_history - cqi > edge
    lateness = 0
    for edge in AGE_EDGES:
        lateness += age > edge
    return 1 + quality * (len(AGE_EDGES) + 1) + lateness


@kernel
def encode_cell(cells: Cells, tables: Tables, m: Memory, b: int, first_block: int) -> None:
    """Tokens of one cell's blocks, from block `first_block` on, and what was reported per RBG."""
    numbers = cells.numbers_BC[b]
    num_rbgs, ues, first = numbers[NUM_RBGS], numbers[NUM_UES], numbers[FIRST_UE_ROW]
    fields = len(tables.number) // 2
    u = np.empty(NUMBERS_OF_UE)
    columns = cells.ues_CN
    backlogged = total_backlog = served = long_served = bound = ucms = periodic = sporadic = grants = floors = 0.0
    known = known_served = known_long = 0
    shortest, oldest = math.inf, -math.inf

    wanted = np.zeros(ues, np.int64)
    if tables.wants_grants:
        for i in range(ues):
            n = first + i
            wanted[i] = wanted_rbgs(
                columns[0, n], columns[11, n], columns[12, n], columns[13, n], columns[14, n], columns[17, n],
                columns[4, n], tables.packet_bits,
            )  # fmt: skip
    row = 0
    for i in range(ues):
        n = first + i
        inflight = 0.0 if columns[3, n] != columns[3, n] else columns[3, n]
        backlog = columns[2, n] - inflight
        if backlog < 0.0:
            backlog = 0.0
        deadline, age = columns[11, n], columns[12, n]
        u[0], u[1], u[2], u[3] = columns[0, n], columns[1, n], columns[2, n], backlog
        for column in range(4, 11):
            u[column] = columns[column, n]
        u[11] = deadline - age
        # Without the phase no periodic grant can be given, so the period alone says nothing.
        u[12] = UNKNOWN if columns[14, n] != columns[14, n] else columns[13, n]
        u[13], u[14] = columns[15, n], columns[16, n]
        u[15] = u[16] = u[17] = UNKNOWN
        u[18] = cells.floor_N[n]
        if wanted[i]:
            turn = 0  # RBGs of its own grant and those of cheaper UEs
            for other in range(ues):
                if wanted[other] and (wanted[other] < wanted[i] or (wanted[other] == wanted[i] and other <= i)):
                    turn += wanted[other]
            u[15], u[16], u[17] = wanted[i], turn, row
            row += 1
            grants += wanted[i]
        at = (first_block + 1 + i) * fields
        for field in range(fields):
            f = fields + field
            level = level_of(u[tables.number[f]], tables.edges, tables.first_edge[f], tables.first_edge[f + 1])
            m.prompt[at + field] = tables.first_token[f] + level

        floors += cells.floor_N[n]
        if backlog == backlog:
            known += 1
            total_backlog += backlog
            backlogged += backlog > 0.0
        if u[7] == u[7]:
            known_served += 1
            served += u[7]
        if u[8] == u[8]:
            known_long += 1
            long_served += u[8]
        if age == age:
            oldest = max(oldest, age)
        if deadline == deadline:
            shortest = min(shortest, deadline)
            bound += u[0] == PERIODIC or u[0] == SPORADIC
        ucms += u[14] == u[14]
        periodic += u[0] == PERIODIC
        sporadic += u[0] == SPORADIC
        for rbg in range(num_rbgs):
            m.channel_history_NM[n, rbg] = channel_history_level(
                cells.last_cqi_NM[n, rbg], cells.last_cqi_age_NM[n, rbg], columns[4, n]
            )

    c = np.empty(NUMBERS_OF_CELL)
    c[0], c[1], c[2], c[3] = numbers[SLOTS_PER_DCM], num_rbgs, ues, cells.alpha_B[b]
    c[4] = oldest if math.isfinite(oldest) else UNKNOWN
    c[5] = backlogged if known else UNKNOWN
    c[6] = bound
    c[7] = shortest if math.isfinite(shortest) else UNKNOWN
    c[8] = total_backlog if known else UNKNOWN
    c[9] = served if known_served else UNKNOWN
    c[10] = long_served if known_long else UNKNOWN
    count_outcomes(cells, m, b, num_rbgs, c)
    c[14], c[15], c[16], c[17], c[18] = ucms, periodic, sporadic, grants, floors
    for f in range(fields):
        level = level_of(c[tables.number[f]], tables.edges, tables.first_edge[f], tables.first_edge[f + 1])
        m.prompt[first_block * fields + f] = tables.first_token[f] + level


@kernel
def count_outcomes(cells: Cells, m: Memory, b: int, num_rbgs: int, c: Any) -> None:
    """RBGs by what became of them in the last slot: each one's level, and how many into c[11:14]."""
    decoded = lost = opened = 0.0
    unknown = 0
    for rbg in range(num_rbgs):
        outcome = cells.outcome_BM[b, rbg]
        m.outcome_BM[b, rbg] = 1 + int(outcome) if 0.0 <= outcome < NUM_OUTCOMES else 0
        if outcome != outcome:
            unknown += 1
        elif math.isfinite(outcome):
            decoded += outcome % OPENED == DECODED
            lost += outcome % OPENED == LOST
            opened += outcome >= OPENED
    all_unknown = unknown == num_rbgs
    c[11] = UNKNOWN if all_unknown else decoded
    c[12] = UNKNOWN if all_unknown else lost
    c[13] = UNKNOWN if all_unknown else opened

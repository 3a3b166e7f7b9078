"""The state of many cells as a struct of arrays, and the tables and constants that the slot loop reads.

Suffixes: B cells, U seats, M RBGs, D1 = report delay + 1, A = longest deadline. Every array leads with B, so that cells
can be copied and selected: that is all that branching takes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from policy.cell_state import SERVED_DECAY_PER_SLOT, SERVED_START_BITS_PER_SLOT, TrafficClass
from policy.cqi import (
    BITS_PER_RBG,
    BUFFER_EDGES,
    BUFFER_MID_BITS,
    OTHER_RBG_GAIN,
    PREFERRED_RBG_GAIN,
    REPORTED_SNR,
    SNR_STEPS,
    bits_per_rbg,
)
from policy.schedulers.schedulers import FAIRNESS_OFFSET_BITS
from training.simulator.scenario import NODE_RULES, Scenario
from training.simulator.world import Profiles, Start, make_profiles, make_seats

# Columns of State.counters_BUC: totals per seat since slot 0.
SERVED, ARRIVED, DROPPED, ABANDONED, DELAY, USED, PRESENT = range(7)
NUM_COUNTERS = 7
"""Bits served, arrived, dropped (too old, or no room), abandoned (left with the UE); bit x slots of delay of the served
bits (a bit served in the slot it arrived in has 1); RBG-slots sent on; slots present."""

# Columns of State.events_BE: totals per cell since slot 0, in RBG-slots (OUTSIDE: in transmissions).
COLLISIONS, WASTE, OCCUPIED, OUTSIDE = range(4)
NUM_EVENTS = 4
"""RBG-slots with several senders; transmissions that could carry nothing (no data, or no rate at that power); RBG-slots
with a sender; transmissions that the MAC's rule did not allow."""

NEVER = -1
"""The slot of what has not happened."""
NO_WORD = -1
"""The word of a UCM that was not sent."""
NO_ATTEMPTS = 1
"""State.attempts_BU of a UE that has not contended yet."""
ATTEMPTS_KEPT = 8
"""Attempts that a UE remembers."""
LAST_CQI_AGE = 16
"""State.last_cqi_BUM counts ages in these."""
LONG_AGO = -(2**40)
"""A slot that is further back than anything remembers."""


class State(NamedTuple):
    """Everything about the cells that the past has left behind."""

    world_B: NDArray[np.int64]
    """Row of the world that the cell lives in; branches of a cell share one."""
    fading_BUM2: NDArray[np.float32]
    gain_BUM: NDArray[np.float32]
    """SNR on the RBG if it gets all the power, linear."""
    mean_snr_BU: NDArray[np.float32]
    profile_BU: NDArray[np.int64]
    """What the UE sends now: index into Rules.profiles."""
    load_BU: NDArray[np.float64]
    """Factor on the profile's mean_packets, in scenarios with regimes."""
    shifted_BU: NDArray[np.int64]
    """First slot of that profile; LONG_AGO = since the UE came."""
    before_BU3: NDArray[np.int64]
    """What the UE sent before that: profile, period, phase."""
    due_BU: NDArray[np.int64]
    """Periodic traffic: the slot in which the packet comes that was drawn last."""
    period_BU: NDArray[np.int64]
    phase_BU: NDArray[np.int64]
    on_BU: NDArray[np.bool_]
    awake_BU: NDArray[np.bool_]
    present_BU: NDArray[np.bool_]
    ue_id_BU: NDArray[np.int64]
    since_BU: NDArray[np.int64]
    """First slot of the UE in the seat."""
    next_id_B: NDArray[np.int64]
    waiting_BUA: NDArray[np.float64]
    """Bits that became ready in slot a, at index a mod A; none is older than the deadline."""
    queue_BU: NDArray[np.float64]
    served_BUD: NDArray[np.float64]
    """Bits served in slot s at index s mod max(D, 1)."""
    level_BUD1: NDArray[np.int8]
    """Reports made in slot s at index s mod D1: buffer level, CQI, best RBG, age of the oldest packet."""
    cqi_BUD1: NDArray[np.int8]
    preferred_BUD1: NDArray[np.int8]
    head_BUD1: NDArray[np.int16]
    ucm_BUD1: NDArray[np.int8]
    """The word that the UE's follower sent with it; NO_WORD if it sends none."""
    level_before_BU: NDArray[np.int8]
    """The buffer level of the report one slot older than any in level_BUD1."""
    last_cqi_BUM: NDArray[np.uint8]
    """The UE's last decoded transmission on the RBG: LAST_CQI_AGE x its age + its CQI at full power; 0 = longer than
    MAX_LAST_CQI_AGE slots ago, or never."""
    outcome_BM: NDArray[np.int8]
    """What became of the RBG in the last slot, as in policy.cell_state; -1 before the first slot."""
    attempts_BU: NDArray[np.int64]
    """The UE's last attempts to contend as bits, 1 = collided, the newest lowest; above them a 1 where they begin."""
    served_slot_BU: NDArray[np.int64]
    """The last slot in which anything of the UE was decoded; NEVER = none."""
    average_BU: NDArray[np.float64]
    """R of the node's own scheduler."""
    counters_BUC: NDArray[np.float64]
    arrival_BUC: NDArray[np.float64]
    """The seat's counters when its UE came."""
    delays_BUA: NDArray[np.float64]
    """Bits served with a delay of a + 1 slots."""
    events_BE: NDArray[np.int64]
    class_bits_BC2: NDArray[np.float64]
    """Per TrafficClass: bits arrived, and dropped of them."""

    def select(self, rows_N: NDArray[np.int64]) -> State:
        """The chosen cells, in that order, repeats allowed; shares nothing with the original."""
        arrays: list[Any] = [array[rows_N] for array in self]
        return State(*arrays)


class Tables(NamedTuple):
    """Read-only arrays of the slot loop. Passed as arguments: compiled code would freeze globals into its cache."""

    snr_steps: NDArray[np.float64]
    bits_per_rbg: NDArray[np.float64]
    guess_PCK: NDArray[np.float64]
    """Bits of one RBG that a scheduler expects of a UE with CQI c that splits its power over k RBGs (k = 0 unused);
    P = 1 for the preferred RBG, 0 for the others."""
    buffer_edges: NDArray[np.float64]
    buffer_mid_bits: NDArray[np.float64]


class Constants(NamedTuple):
    """Scalars of the slot loop."""

    rho: float
    innovation: float
    buffer_limit_bits: float
    p_leave: float
    p_come: float
    served_decay: float
    served_start: float
    fairness_offset: float
    subtracts_inflight: bool
    node_rule: int
    """Index into scenario.NODE_RULES."""
    coupling: float
    residents: int
    p_shift: float
    """Probability per slot that a new regime begins."""


class Rules(NamedTuple):
    """What does not change during a run."""

    profiles: Profiles
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


def make_tables(num_rbgs: int) -> Tables:
    split = np.maximum(np.arange(num_rbgs + 1), 1)
    gains = np.array([OTHER_RBG_GAIN, PREFERRED_RBG_GAIN])
    guess = bits_per_rbg(REPORTED_SNR[None, :, None] * gains[:, None, None] / split)
    return Tables(SNR_STEPS, BITS_PER_RBG, guess, BUFFER_EDGES, BUFFER_MID_BITS)


def make_constants(scenario: Scenario) -> Constants:
    return Constants(
        rho=scenario.rho,
        innovation=float(np.sqrt(1.0 - scenario.rho**2)),
        buffer_limit_bits=scenario.buffer_limit_bits,
        p_leave=1.0 / scenario.present_slots if scenario.present_slots else 0.0,
        p_come=1.0 / scenario.absent_slots if scenario.absent_slots else 0.0,
        served_decay=SERVED_DECAY_PER_SLOT,
        served_start=SERVED_START_BITS_PER_SLOT,
        fairness_offset=FAIRNESS_OFFSET_BITS,
        subtracts_inflight=scenario.node_subtracts_inflight,
        node_rule=NODE_RULES.index(scenario.node_rule),
        coupling=scenario.coupling,
        residents=scenario.resident_ues,
        p_shift=1.0 / scenario.regime_slots if scenario.regime_slots else 0.0,
    )


def make_state(scenario: Scenario, start: Start) -> State:
    """The cells at slot 0, all UEs present with ids 1, 2, ...; the past looks as if the start had always been."""
    cells, ues = start.on_BU.shape
    seats = make_seats(scenario, ues)
    depth = scenario.report_delay_slots + 1
    # With regimes a UE may come to have a profile that nobody has yet.
    possible = make_profiles(scenario, ues) if scenario.regime_slots else seats
    oldest = int(possible.deadline_slots.max())
    gain = (start.fading_BUM2**2).sum(-1) * start.newcomers.mean_snr[:, :, None]
    queue = np.minimum(start.packets_BU * seats.packet_bits, scenario.buffer_limit_bits) * (
        start.on_BU & start.awake_BU
    )
    queue[:, seats.full_buffer] = scenario.buffer_limit_bits
    waiting = np.zeros((cells, ues, oldest))
    waiting[:, :, 0] = queue
    counters = np.zeros((cells, ues, NUM_COUNTERS))
    counters[:, :, ARRIVED] = queue
    class_bits = np.zeros((cells, len(TrafficClass), 2))
    for traffic_class in TrafficClass:
        class_bits[:, traffic_class, 0] = queue[:, seats.traffic_class == traffic_class].sum(axis=1)
    # A packet whose time is too early to be drawn comes in time.
    period, phase = start.newcomers.period_slots, start.newcomers.phase_slots
    drawn_later = phase > seats.jitter_slots
    level = np.searchsorted(BUFFER_EDGES, queue, side="right")
    cqi = np.searchsorted(SNR_STEPS, gain.mean(-1), side="right")

    def history(column_BU: NDArray[np.int64], dtype: type) -> Any:
        return np.repeat(column_BU.astype(dtype)[:, :, None], depth, axis=2)

    return State(
        world_B=np.arange(cells),
        fading_BUM2=start.fading_BUM2.copy(),
        gain_BUM=gain,
        mean_snr_BU=start.newcomers.mean_snr.copy(),
        profile_BU=np.tile(np.array(scenario.profile_of_seats(ues), np.int64), (cells, 1)),
        load_BU=np.ones((cells, ues)),
        shifted_BU=np.full((cells, ues), LONG_AGO),
        before_BU3=np.zeros((cells, ues, 3), np.int64),
        due_BU=np.where((period == 0) | drawn_later, LONG_AGO, phase),
        period_BU=period.copy(),
        phase_BU=phase.copy(),
        on_BU=start.on_BU.copy(),
        awake_BU=start.awake_BU.copy(),
        present_BU=np.ones((cells, ues), bool),
        ue_id_BU=np.tile(np.arange(1, ues + 1), (cells, 1)),
        since_BU=np.zeros((cells, ues), np.int64),
        next_id_B=np.full(cells, ues + 1, np.int64),
        waiting_BUA=waiting,
        queue_BU=queue,
        served_BUD=np.zeros((cells, ues, max(scenario.report_delay_slots, 1))),
        level_BUD1=history(level, np.int8),
        cqi_BUD1=history(cqi, np.int8),
        preferred_BUD1=history(gain.argmax(-1), np.int8),
        head_BUD1=np.zeros((cells, ues, depth), np.int16),
        ucm_BUD1=np.full((cells, ues, depth), NO_WORD, np.int8),
        level_before_BU=level.astype(np.int8),
        last_cqi_BUM=np.zeros(gain.shape, np.uint8),
        outcome_BM=np.full((cells, scenario.num_rbgs), -1, np.int8),
        attempts_BU=np.full((cells, ues), NO_ATTEMPTS),
        served_slot_BU=np.full((cells, ues), NEVER),
        average_BU=np.full((cells, ues), SERVED_START_BITS_PER_SLOT),
        counters_BUC=counters,
        arrival_BUC=np.zeros((cells, ues, NUM_COUNTERS)),
        delays_BUA=np.zeros((cells, ues, oldest)),
        events_BE=np.zeros((cells, NUM_EVENTS), np.int64),
        class_bits_BC2=class_bits,
    )


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

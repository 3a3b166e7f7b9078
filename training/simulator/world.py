"""All randomness of a run, drawn before it is played: a run is then a deterministic function of the actions.

Counter-based: what a chunk of slots holds depends on (scenario, seed, cells, ues, chunk) alone, so that any two leaders
meet the same world, and an endless run needs the memory of one chunk. Radio, traffic, access and presence have streams
of their own: changing how one is used does not shift the others.
Suffixes: B cells, T slots of a chunk, U seats (a seat holds one UE after another), M RBGs.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.simulator.scenario import BITS_PER_RBG_AT_FULL_LOAD, MAX_SEED, Scenario, ScenarioError

CHUNK_SLOTS = 64
"""Slots drawn at a time."""

CELL_RADIUS_M = 700.0
MIN_DISTANCE_M = 30.0
TX_POWER_DBM = 23.0
NOISE_DBM = -110.4
"""Thermal noise of one RBG (4 PRB of 180 kHz) and the receiver's noise figure."""
PENETRATION_DB = 10.0
SHADOWING_DB = 6.0
MEAN_SNR_RANGE_DB = (-3.0, 30.0)


class Stream(IntEnum):
    """Independent random streams of one seed."""

    RADIO = 0
    TRAFFIC = 1
    ACCESS = 2
    PRESENCE = 3
    REGIME = 4


class Profiles(NamedTuple):
    """Traffic profiles as arrays over them: a scenario's own, [P], or that of each seat at slot 0, [U]."""

    traffic_class: NDArray[np.int64]
    deadline_slots: NDArray[np.int64]
    packet_bits: NDArray[np.float64]
    mean_packets: NDArray[np.float64]
    """Mean packets a slot while on, if as many UEs are of the class as at slot 0; 0 = not on/off."""
    p_on: NDArray[np.float64]
    p_off: NDArray[np.float64]
    p_wake: NDArray[np.float64]
    p_sleep: NDArray[np.float64]
    """The slow on/off pattern over the bursts, per slot; p_sleep 0 = the UEs never sleep."""
    jitter_slots: NDArray[np.int64]
    full_buffer: NDArray[np.bool_]


class Newcomers(NamedTuple):
    """Where and what a UE is that comes to a seat, [B, U]."""

    mean_snr: NDArray[np.float32]
    """Linear, one RBG at full power."""
    period_slots: NDArray[np.int64]
    """Periodic traffic; 0 = not periodic."""
    phase_slots: NDArray[np.int64]


class Regimes(NamedTuple):
    """The regime that begins in a chunk, if one does; empty arrays in scenarios of one regime."""

    shift_BT: NDArray[np.float32]
    """Uniform: does a new regime begin?"""
    volume_BTU: NDArray[np.float32]
    """Uniform: how many packets arrive if the UE is on, by the inverse of Poisson's distribution."""
    profile_BU: NDArray[np.int64]
    load_BU: NDArray[np.float64]
    """Factor on the profile's mean_packets."""
    period_BU: NDArray[np.int64]
    phase_BU: NDArray[np.int64]


class Start(NamedTuple):
    """The world before slot 0."""

    newcomers: Newcomers
    fading_BUM2: NDArray[np.float32]
    """Real and imaginary part, unit mean power."""
    on_BU: NDArray[np.bool_]
    awake_BU: NDArray[np.bool_]
    packets_BU: NDArray[np.int64]
    """Packets that wait at slot 0 if the UE is on."""


class Draws(NamedTuple):
    """One chunk of the world. Entry t belongs to its t-th slot and to the step from there to the next slot."""

    fading_BTUM2: NDArray[np.float32]
    """Innovation of the fading, unit mean power."""
    burst_BTU: NDArray[np.float32]
    """Uniform: does the burst begin or end?"""
    sleep_BTU: NDArray[np.float32]
    """Uniform: does the UE wake or fall asleep?"""
    packets_BTU: NDArray[np.int64]
    """Packets that arrive if the UE is on."""
    coin_BTUM: NDArray[np.float32]
    """Uniform: the UE may contend on the RBG if this is below p."""
    presence_BTU: NDArray[np.float32]
    """Uniform: does the UE leave, or a new one come?"""
    newcomers: Newcomers
    """Which UE comes, if one comes to the seat in this chunk."""
    regimes: Regimes


def generator(seed: int, stream: Stream, index: int) -> np.random.Generator:
    """The generator of one stream at one index: equal arguments, equal numbers."""
    if not 0 <= seed <= MAX_SEED or not 0 <= index < 2**56:
        raise ScenarioError(f"seed {seed} or index {index} out of range: expected below 2^63 and 2^56")
    return np.random.Generator(np.random.Philox(key=np.array([seed, (int(stream) << 56) | index], dtype=np.uint64)))


def make_profiles(scenario: Scenario, ues: int) -> Profiles:
    """The traffic of each class in a cell of `ues` seats."""
    chosen, profiles = scenario.profile_of_seats(ues), scenario.traffic
    cell_bits_per_slot = scenario.load * scenario.num_rbgs * BITS_PER_RBG_AT_FULL_LOAD
    mean_bits = np.array(
        [
            p.load_share * cell_bits_per_slot / max(chosen.count(k), 1) + p.ue_bits_per_slot
            for k, p in enumerate(profiles)
        ]
    )
    packet_bits = np.array([p.packet_bits for p in profiles])
    return Profiles(
        traffic_class=np.array([int(p.traffic_class) for p in profiles], np.int64),
        deadline_slots=np.array([p.deadline_slots for p in profiles], np.int64),
        packet_bits=packet_bits,
        mean_packets=mean_bits / packet_bits / np.array([p.duty for p in profiles]),
        p_on=np.array([p.p_on for p in profiles]),
        p_off=np.array([p.p_off for p in profiles]),
        p_wake=np.array([1.0 / p.dormant_slots if p.dormant_slots else 1.0 for p in profiles]),
        p_sleep=np.array([1.0 / p.active_slots if p.active_slots else 0.0 for p in profiles]),
        jitter_slots=np.array([p.jitter_slots for p in profiles], np.int64),
        full_buffer=np.array([p.full_buffer for p in profiles]),
    )


def make_seats(scenario: Scenario, ues: int) -> Profiles:
    """The profile that each of a cell's `ues` seats has at slot 0, the same in every cell: arrays [U]."""
    chosen = scenario.profile_of_seats(ues)
    arrays: list[Any] = [array[chosen] for array in make_profiles(scenario, ues)]
    return Profiles(*arrays)


def _draw_newcomers(scenario: Scenario, seed: int, cells: int, ues: int, index: int) -> Newcomers:
    radio = generator(seed, Stream.RADIO, (1 << 48) + index)
    nearest = (MIN_DISTANCE_M / CELL_RADIUS_M) ** 2
    distance_km = CELL_RADIUS_M / 1000.0 * np.sqrt(radio.uniform(nearest, 1.0, (cells, ues)))
    path_loss_db = 128.1 + 37.6 * np.log10(distance_km) + PENETRATION_DB
    snr_db = TX_POWER_DBM - path_loss_db - NOISE_DBM + radio.normal(0.0, SHADOWING_DB, (cells, ues))
    traffic = generator(seed, Stream.TRAFFIC, (1 << 48) + index)
    ranges = [scenario.traffic[k].period_slots for k in scenario.profile_of_seats(ues)]
    low, high = (np.array(edge, np.int64) for edge in zip(*ranges))
    period = traffic.integers(low, high + 1, (cells, ues))
    phase = traffic.integers(0, np.maximum(period, 1))
    return Newcomers((10.0 ** (np.clip(snr_db, *MEAN_SNR_RANGE_DB) / 10.0)).astype(np.float32), period, phase)


def _draw_fading(random: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    fading = random.standard_normal((*shape, 2), dtype=np.float32)
    fading *= np.float32(np.sqrt(0.5))
    return fading


def draw_start(scenario: Scenario, seed: int, cells: int, ues: int) -> Start:
    """The world at slot 0: places, fading and traffic in their stationary state."""
    seats = make_seats(scenario, ues)
    traffic = generator(seed, Stream.TRAFFIC, 0)
    return Start(
        newcomers=_draw_newcomers(scenario, seed, cells, ues, 0),
        fading_BUM2=_draw_fading(generator(seed, Stream.RADIO, 0), (cells, ues, scenario.num_rbgs)),
        on_BU=traffic.random((cells, ues)) < seats.p_on / (seats.p_on + seats.p_off),
        awake_BU=traffic.random((cells, ues)) < seats.p_wake / (seats.p_wake + seats.p_sleep),
        packets_BU=traffic.poisson(seats.mean_packets, (cells, ues)),
    )


def draw_presence(seed: int, cells: int, ues: int, chunk: int) -> NDArray[np.float32]:
    """`presence_BTU` of a chunk by itself: who comes and goes does not depend on what is played."""
    return generator(seed, Stream.PRESENCE, chunk + 1).random((cells, CHUNK_SLOTS, ues), dtype=np.float32)


def _draw_regimes(scenario: Scenario, seed: int, cells: int, ues: int, index: int) -> Regimes:
    if not scenario.regime_slots:
        none = np.zeros((0, 0), np.int64)
        return Regimes(
            none.astype(np.float32), np.zeros((0, 0, 0), np.float32), none, none.astype(np.float64), none, none
        )
    random = generator(seed, Stream.REGIME, index)
    shift_BT = random.random((cells, CHUNK_SLOTS), dtype=np.float32)
    volume_BTU = random.random((cells, CHUNK_SLOTS, ues), dtype=np.float32)
    shares_BP = np.array(scenario.regime_shares)[random.integers(len(scenario.traffic), size=cells)]
    reached_BUP = random.random((cells, ues, 1)) >= shares_BP.cumsum(axis=1)[:, None, :-1]
    profile_BU = reached_BUP.sum(axis=-1)
    factor_B1 = random.uniform(*scenario.regime_load, (cells, 1))
    # The load of a class is that of the cell, whoever offers it: it is split over the UEs that are of it now.
    count_BP = (profile_BU[:, :, None] == np.arange(len(scenario.traffic))).sum(axis=1)
    chosen = scenario.profile_of_seats(ues)
    first_P = np.array([max(chosen.count(k), 1) for k in range(len(scenario.traffic))])
    splits_P = np.array([profile.load_share > 0 for profile in scenario.traffic])
    rows_B1 = np.arange(cells)[:, None]
    split_BU = factor_B1 * first_P[profile_BU] / np.maximum(count_BP[rows_B1, profile_BU], 1)
    low_P, high_P = (np.array(edge, np.int64) for edge in zip(*(p.period_slots for p in scenario.traffic)))
    period_BU = random.integers(low_P[profile_BU], high_P[profile_BU] + 1)
    return Regimes(
        shift_BT,
        volume_BTU,
        profile_BU,
        np.where(splits_P[profile_BU], split_BU, 1.0),
        period_BU,
        random.integers(0, np.maximum(period_BU, 1)),
    )


def draw_chunk(scenario: Scenario, seed: int, cells: int, ues: int, chunk: int) -> Draws:
    """The world in slots chunk * CHUNK_SLOTS to (chunk + 1) * CHUNK_SLOTS - 1, and the steps that follow each."""
    index = chunk + 1  # 0 is the start
    seats = make_seats(scenario, ues)
    shape = (cells, CHUNK_SLOTS, ues)
    traffic = generator(seed, Stream.TRAFFIC, index)
    return Draws(
        fading_BTUM2=_draw_fading(generator(seed, Stream.RADIO, index), (*shape, scenario.num_rbgs)),
        burst_BTU=traffic.random(shape, dtype=np.float32),
        sleep_BTU=traffic.random(shape, dtype=np.float32),
        packets_BTU=traffic.poisson(seats.mean_packets, shape),
        coin_BTUM=generator(seed, Stream.ACCESS, index).random((*shape, scenario.num_rbgs), dtype=np.float32),
        presence_BTU=draw_presence(seed, cells, ues, chunk),
        newcomers=_draw_newcomers(scenario, seed, cells, ues, index),
        regimes=_draw_regimes(scenario, seed, cells, ues, index),
    )

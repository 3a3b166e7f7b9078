"""Several cells that disturb each other: a small uplink of its own, in numpy, of many networks side by side.

The simulator knows one cell. Here a slot has the same RBGs, rates, path loss and noise, and each cell's node gives each
RBG to the UE of the largest marginal proportional-fair value; what the other cells' UEs send is noise for a cell, so an
RBG carries what its true SINR lets it carry (ideal link adaptation). A UE's power on an RBG follows fractional power
control; over all its RBGs it has 23 dBm. On top, a cell may send less, or nothing, on an RBG: its level.

All randomness of a slot comes from (seed, slot), whatever is played: networks can be branched, and all players meet the
same. Suffixes: W networks, C cells, U UEs of a cell, N = C U UEs of a network, M RBGs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from policy.cqi import BITS_PER_RBG, snr_to_cqi

NUM_RBGS = 6
UES = 8
SITE_DISTANCE_M = 500.0
RADIUS_M = 290.0
MIN_DISTANCE_M = 30.0
SHADOWING_DB = 6.0
PENETRATION_DB = 10.0
MAX_DBM = 23.0
NOISE_MW = 10.0**-11.04
RHO = 0.9
"""Of fading, from slot to slot."""
P_ON, P_OFF, PACKET_BITS, BUFFER_BITS = 0.1, 0.3, 1000, 40_000
LOAD = 2.0
"""Packets a slot and RBG that arrive in a cell, on average."""
SEEN_DECAY = 0.9
"""Of a node's average of the interference on an RBG."""
SERVED_DECAY, LONG_DECAY = 0.9, 0.97
PLACES_TRIED = 32

Floats = NDArray[np.float64]


class PowerControl(NamedTuple):
    """Power on an RBG: `at_110_db` dBm at a path loss of 110 dB, and `alpha` dB more for each dB; at most 23 dBm."""

    alpha: float
    at_110_db: float

    def milliwatts(self, loss_db: Floats) -> Floats:
        return 10.0 ** (np.minimum(MAX_DBM, self.at_110_db + self.alpha * (loss_db - 110.0)) / 10.0)


FULL_POWER = PowerControl(0.0, MAX_DBM)


@dataclass(frozen=True)
class Networks:
    """Where networks stand. Nothing is changed in place: a copy is a branch."""

    seed: int
    slot: int
    loss_WNC: Floats
    """Mean path loss of each UE to each cell, dB."""
    fading_WNCM: NDArray[np.complex128]
    on_WN: NDArray[np.bool_]
    queue_WN: Floats
    served_WN: Floats
    """Average of served bits a slot, as in the single cell's game."""
    long_WN: Floats
    total_WN: Floats
    seen_WCM: Floats
    """What each node has seen of others' power, on average, mW."""

    @property
    def cells(self) -> int:
        return self.loss_WNC.shape[2]

    @property
    def own_WN(self) -> Floats:
        """Path loss to the own cell."""
        return self.loss_WNC[:, np.arange(self.loss_WNC.shape[1]), np.arange(self.loss_WNC.shape[1]) // UES]

    def rows(self, index: NDArray[np.int64]) -> Networks:
        """Copies of some networks, which may be named several times."""
        arrays: dict[str, Any] = {k: v[index] for k, v in vars(self).items() if isinstance(v, np.ndarray)}
        return replace(self, **arrays)

    def utility(self, slots: int) -> Floats:
        """Mean over UEs of log(1 + throughput / 100), [W]."""
        return np.log1p(self.total_WN / slots / 100.0).mean(axis=1)


class Draws(NamedTuple):
    """One slot's randomness."""

    innovation_WNCM: NDArray[np.complex128]
    turn_WN: Floats
    packets_WN: NDArray[np.int64]


def positions(cells: int) -> Floats:
    """Of the base stations, m, [C, 2]: three in a triangle, or one with a ring of six."""
    if cells == 3:
        turns = np.pi / 2 + 2 * np.pi / 3 * np.arange(3)
        return SITE_DISTANCE_M / np.sqrt(3) * np.stack([np.cos(turns), np.sin(turns)], 1)
    turns = np.pi / 3 * np.arange(cells - 1)
    return np.concatenate([np.zeros((1, 2)), SITE_DISTANCE_M * np.stack([np.cos(turns), np.sin(turns)], 1)])


def make_networks(networks: int, cells: int, seed: int) -> Networks:
    """UEs dropped around their cells where it is the strongest, or nearly; everything empty."""
    rng = np.random.default_rng([seed, 17])
    site_C2 = positions(cells)
    count = cells * UES
    shape = (networks, count, PLACES_TRIED)
    radius = np.maximum(MIN_DISTANCE_M, RADIUS_M * np.sqrt(rng.random(shape)))
    turn = 2 * np.pi * rng.random(shape)
    own_N2 = np.repeat(site_C2, UES, axis=0)
    place = own_N2[None, :, None] + np.stack([radius * np.cos(turn), radius * np.sin(turn)], -1)
    distance_km = np.linalg.norm(place[..., None, :] - site_C2, axis=-1) / 1000
    loss = 128.1 + 37.6 * np.log10(np.maximum(distance_km, MIN_DISTANCE_M / 1000)) + PENETRATION_DB
    loss = loss + SHADOWING_DB * rng.standard_normal(loss.shape)
    own_N = np.arange(count) // UES
    short = loss[:, np.arange(count), :, own_N].transpose(1, 0, 2) - loss.min(axis=-1)
    chosen = short.argmin(axis=-1)
    loss_WNC = np.take_along_axis(loss, chosen[:, :, None, None], axis=2)[:, :, 0]
    fading = _complex(rng, (*loss_WNC.shape, NUM_RBGS))
    start_WN = np.full((networks, count), 300.0)
    zeros_WN = np.zeros((networks, count))
    seen_WCM = np.full((networks, cells, NUM_RBGS), NOISE_MW)
    on_WN = rng.random((networks, count)) < P_ON / (P_ON + P_OFF)
    return Networks(seed, 0, loss_WNC, fading, on_WN, zeros_WN, start_WN, start_WN, zeros_WN, seen_WCM)


def draw(shape_WNC: tuple[int, int, int], seed: int, slot: int, future: int = 0) -> Draws:
    """The randomness of a slot; `future` 0 is what comes true."""
    rng = np.random.default_rng([seed, 19, slot, future])
    mean = LOAD * NUM_RBGS / UES * (P_ON + P_OFF) / P_ON
    networks_ues = shape_WNC[:2]
    return Draws(_complex(rng, (*shape_WNC, NUM_RBGS)), rng.random(networks_ues), rng.poisson(mean, networks_ues))


def _complex(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.complex128]:
    return np.asarray((rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) / np.sqrt(2))


def begin(at: Networks, draws: Draws) -> tuple[Networks, Floats]:
    """A slot's channels (power gains [W, N, C, M]) and arrivals."""
    fading = RHO * at.fading_WNCM + np.sqrt(1 - RHO**2) * draws.innovation_WNCM
    gain = np.abs(fading) ** 2 * 10.0 ** (-at.loss_WNC[..., None] / 10)
    on_WN = np.where(at.on_WN, draws.turn_WN >= P_OFF, draws.turn_WN < P_ON)
    queue_WN = np.minimum(BUFFER_BITS, at.queue_WN + on_WN * draws.packets_WN * PACKET_BITS)
    return replace(at, fading_WNCM=fading, on_WN=on_WN, queue_WN=queue_WN), gain


def own_gain(gain_WNCM: Floats) -> Floats:
    """To the own cell, [W, N, M]."""
    count = gain_WNCM.shape[1]
    return np.asarray(gain_WNCM[:, np.arange(count), np.arange(count) // UES])


def proportional_fair(
    at: Networks,
    queue_WN: Floats,
    gain_WNM: Floats,
    power_WN: Floats,
    level_WCM: Floats,
    given_WCM: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Each cell's owner of each RBG, a UE of the network or -1, by what its node believes of queues and channels.

    given_WCM: what has been decided before, by somebody else: a UE, -1 = left to the node, -2 = nobody's.
    """
    networks, cells = at.seen_WCM.shape[:2]
    shape = (networks, cells, UES)
    left, gain = queue_WN.reshape(shape).copy(), gain_WNM.reshape(*shape, NUM_RBGS)
    power, weight = power_WN.reshape(shape), 1.0 / (at.served_WN.reshape(shape) + 50.0)
    held = np.zeros(shape)
    owner = np.full((networks, cells, NUM_RBGS), -1)
    first_C1 = UES * np.arange(cells)[None]
    for m in range(NUM_RBGS):
        level = level_WCM[:, :, m, None]
        sent = np.minimum(power * level, 10 ** (MAX_DBM / 10) / (held + 1))
        bits = BITS_PER_RBG[snr_to_cqi(sent * gain[..., m] / (NOISE_MW + at.seen_WCM[:, :, m, None]))]
        value = np.minimum(bits, left) * weight
        best = value.argmax(axis=-1)
        taken = np.take_along_axis(value, best[..., None], -1)[..., 0] > 0
        if given_WCM is not None:
            given = given_WCM[:, :, m]
            best = np.where(given >= 0, given - first_C1, best)
            taken = (taken & (given == -1)) | (given >= 0)
        owner[:, :, m] = np.where(taken, best + first_C1, -1)
        chosen = (np.arange(UES) == best[..., None]) & taken[..., None]
        left = np.where(chosen, np.maximum(0.0, left - bits), left)
        held += chosen
    return owner


class Played(NamedTuple):
    """What a slot came to."""

    at: Networks
    bits_WCM: Floats
    """What each RBG could carry for its owner; 0 without one."""


def finish(
    at: Networks, gain_WNCM: Floats, owner_WCM: NDArray[np.int64], power_WN: Floats, level_WCM: Floats
) -> Played:
    """Send, disturb each other, be served."""
    networks, cells = owner_WCM.shape[:2]
    row_W11, rbg = np.arange(networks)[:, None, None], np.arange(NUM_RBGS)
    used = owner_WCM >= 0
    owner = owner_WCM.clip(0)
    count = at.queue_WN.shape[1]
    held_WN = np.zeros((networks, count))
    np.add.at(held_WN, (np.broadcast_to(row_W11, owner.shape)[used], owner[used]), 1)
    share_WN = 10 ** (MAX_DBM / 10) / np.maximum(held_WN, 1)
    sent = np.minimum(power_WN[row_W11, owner] * level_WCM, share_WN[row_W11, owner]) * used
    # Of each sender's power, what arrives at each cell.
    arrives = sent[..., None] * gain_WNCM[row_W11, owner, :, rbg[None, None]]
    total = arrives.sum(axis=1).transpose(0, 2, 1)
    own = arrives[:, np.arange(cells), :, np.arange(cells)].transpose(1, 0, 2)
    others = np.maximum(total - own, 0.0)
    bits = BITS_PER_RBG[snr_to_cqi(own / (NOISE_MW + others))] * used
    carried_WN = np.zeros((networks, count))
    np.add.at(carried_WN, (np.broadcast_to(row_W11, owner.shape)[used], owner[used]), bits[used])
    served_WN = np.minimum(carried_WN, at.queue_WN)
    after = replace(
        at,
        slot=at.slot + 1,
        queue_WN=at.queue_WN - served_WN,
        served_WN=SERVED_DECAY * at.served_WN + (1 - SERVED_DECAY) * served_WN,
        long_WN=LONG_DECAY * at.long_WN + (1 - LONG_DECAY) * served_WN,
        total_WN=at.total_WN + served_WN,
        seen_WCM=SEEN_DECAY * at.seen_WCM + (1 - SEEN_DECAY) * others,
    )
    return Played(after, bits)


def fresh(at: Networks, gain_WNCM: Floats) -> tuple[Floats, Floats]:
    """Both as they are."""
    return at.queue_WN, own_gain(gain_WNCM)


def play(at: Networks, slots: int, power_WN: Floats, level_WCM: Floats, draws: Callable[[int], Draws]) -> Networks:
    """The nodes schedule for themselves under levels that stand still. draws: of a slot."""
    for _ in range(slots):
        at, gain = begin(at, draws(at.slot))
        queue_WN, gain_WNM = fresh(at, gain)
        owner = proportional_fair(at, queue_WN, gain_WNM, power_WN, level_WCM)
        at = finish(at, gain, owner, power_WN, level_WCM).at
    return at

"""What a run of one cell came to: the numbers that every comparison uses."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from policy.cqi import bits_per_rbg
from training.simulator.state import (
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
    State,
)
from training.simulator.world import Profiles

UTILITY_UNIT_BITS = 100.0
COLLISION_COST = 0.5
WASTE_COST = 0.1


class CellMetrics(NamedTuple):
    """One cell over one run. Averages over UEs are over seats that were ever taken, each per slot present."""

    throughput_bits_per_slot: float
    """Served bits of the whole cell."""
    jain: float
    """Jain's index of the UEs' throughputs, 1/UEs to 1; 0 if nothing was served."""
    utility: float
    """mean_i log(1 + throughput_i / 100) - .5 collision fraction - .1 waste fraction."""
    collision_fraction: float
    """Share of all RBG-slots in which several UEs sent."""
    waste_fraction: float
    """Transmissions that could carry nothing, per RBG-slot."""
    occupied_fraction: float
    """Share of all RBG-slots in which anyone sent."""
    drop_fraction: float
    """Bits dropped (too late, or no room) per bit arrived."""
    drop_fraction_by_class: tuple[float, ...]
    """The same per class, in the order of TrafficClass; NaN for a class without arrivals."""
    mean_delay_slots: float
    """Mean delay of served bits, the slot of delivery included; NaN if nothing was served."""
    p50_delay_slots: float
    p95_delay_slots: float
    transmissions_outside_grant: int
    """Must be 0: see slot_step.transmit."""
    slots: int


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator > 0 else float("nan")


def cell_metrics(state: State, slots: int, row: int) -> CellMetrics:
    """Metrics of cell `row` over its first `slots` slots, after which it is in `state`."""
    totals_UC = state.counters_BUC[row]
    events_E = state.events_BE[row]
    delays_A = state.delays_BUA[row].sum(axis=0)
    taken_U = totals_UC[:, PRESENT] > 0
    rate_U = totals_UC[taken_U, SERVED] / totals_UC[taken_U, PRESENT]
    rbg_slots = max(slots * state.gain_BUM.shape[2], 1)
    collisions, waste = events_E[COLLISIONS] / rbg_slots, events_E[WASTE] / rbg_slots
    served, cumulated_A = totals_UC[:, SERVED].sum(), np.cumsum(delays_A)

    def quantile(share: float) -> float:
        if cumulated_A[-1] <= 0:
            return float("nan")
        return float(np.searchsorted(cumulated_A, share * cumulated_A[-1]) + 1)

    return CellMetrics(
        throughput_bits_per_slot=float(served / max(slots, 1)),
        jain=float(rate_U.sum() ** 2 / max(len(rate_U) * (rate_U**2).sum(), 1e-9)),
        utility=float(np.log1p(rate_U / UTILITY_UNIT_BITS).mean() - COLLISION_COST * collisions - WASTE_COST * waste)
        if len(rate_U)
        else float("nan"),
        collision_fraction=float(collisions),
        waste_fraction=float(waste),
        occupied_fraction=float(events_E[OCCUPIED] / rbg_slots),
        drop_fraction=_ratio(float(totals_UC[:, DROPPED].sum()), float(totals_UC[:, ARRIVED].sum())),
        drop_fraction_by_class=tuple(
            _ratio(float(dropped), float(arrived)) for arrived, dropped in state.class_bits_BC2[row]
        ),
        mean_delay_slots=_ratio(float(totals_UC[:, DELAY].sum()), float(served)),
        p50_delay_slots=quantile(0.5),
        p95_delay_slots=quantile(0.95),
        transmissions_outside_grant=int(events_E[OUTSIDE]),
        slots=slots,
    )


class LostTransmissions(NamedTuple):
    """What each UE sends in vain in one slot, [B, U]."""

    collided_BU: NDArray[np.int64]
    """RBGs on which somebody else sends too."""
    wasted_BU: NDArray[np.int64]
    """Transmissions that carry nothing whatever the others do: no data, or no rate at that power."""


def lost_transmissions(state: State, sends_BUM: NDArray[np.bool_]) -> LostTransmissions:
    """What is lost of `sends_BUM` [B, U, M] in the slot that `state` is about to play."""
    count_BU = sends_BUM.sum(axis=2)
    rate_BUM = bits_per_rbg(state.gain_BUM.astype(np.float64) / np.maximum(count_BU, 1)[:, :, None])
    collided_BU = (sends_BUM & (sends_BUM.sum(axis=1, keepdims=True) > 1)).sum(axis=2)
    wasted_BU = (sends_BUM & (rate_BUM == 0)).sum(axis=2) + np.where(state.queue_BU <= 0, count_BU, 0)
    return LostTransmissions(collided_BU, wasted_BU)


class UeTable(NamedTuple):
    """The UEs that are in a cell now, in the order of their ids: what a gNB reports and a screen shows.

    Totals are since the UE came, so that differences by id are right whatever period they are taken over.
    """

    ue_ids: tuple[int, ...]
    traffic_class_U: np.ndarray
    """The UE's class as it is now: a leader may not know yet."""
    buffer_bits_U: np.ndarray
    """Now, exactly."""
    cqi_U: np.ndarray
    """Now, wideband 0-15."""
    sinr_db_U: np.ndarray
    """Now, mean over RBGs, one RBG at full power."""
    served_bits_U: np.ndarray
    delay_bit_slots_U: np.ndarray
    """Sum over served bits of their delay in slots."""
    rbg_slots_U: np.ndarray
    """RBG-slots sent on."""
    dropped_bits_U: np.ndarray
    """Too old, or without room."""


def ue_table(state: State, profiles: Profiles, snr_steps: np.ndarray, row: int) -> UeTable:
    """The UEs of cell `row`."""
    seated = np.flatnonzero(state.present_BU[row])
    seated = seated[np.argsort(state.ue_id_BU[row, seated])]
    since_UC = state.counters_BUC[row, seated] - state.arrival_BUC[row, seated]
    snr_U = state.gain_BUM[row, seated].mean(axis=-1)
    return UeTable(
        ue_ids=tuple(state.ue_id_BU[row, seated].tolist()),
        traffic_class_U=profiles.traffic_class[state.profile_BU[row, seated]],
        buffer_bits_U=state.queue_BU[row, seated],
        cqi_U=np.searchsorted(snr_steps, snr_U, side="right"),
        sinr_db_U=10.0 * np.log10(np.maximum(snr_U, 1e-3)),
        served_bits_U=since_UC[:, SERVED],
        delay_bit_slots_U=since_UC[:, DELAY],
        rbg_slots_U=since_UC[:, USED],
        dropped_bits_U=since_UC[:, DROPPED],
    )

"""What a decision sees: columns of one cell at one instant, per UE, per RBG, and per UE and RBG.

A live gNB's reports and the simulator's both become these columns, so the same leader serves both.
Suffixes: U = UEs of the cell, in the order of `ue_ids`, M = its RBGs. NaN in any column = not reported.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

FloatU = NDArray[np.float64]
FloatM = NDArray[np.float64]
FloatUM = NDArray[np.float64]

SERVED_DECAY_PER_SLOT = 0.9
"""Per-slot decay of the served-rate average R (proportional fair's memory: about ten slots)."""
SERVED_START_BITS_PER_SLOT = 300.0
"""R of a UE never seen before, bits/slot."""
LONG_DECAY_PER_SLOT = 0.97
"""Per-slot decay of what is remembered longer: about thirty slots."""
MAX_LAST_CQI_AGE = 12
"""Slots after which the CQI that a UE was last decoded with on an RBG is forgotten: it means nothing by then."""

# What became of an RBG in a slot. A base station cannot tell a collision from one UE that was too weak.
OUTCOME_IDLE, OUTCOME_DECODED, OUTCOME_LOST = 0, 1, 2
WAS_OPEN = 3
"""Added to an outcome if the RBG was open to contention."""
NUM_OUTCOMES = 6


class TrafficClass(IntEnum):
    """A UE's traffic class; bit `1 << value` of every class mask."""

    EMBB = 0
    """Sessions of volume traffic (Poisson or on/off)."""
    PERIODIC = 1
    """Fixed-size packets at a known period (TSCAI, TS 23.501 5.27.2)."""
    SPORADIC = 2
    """Rare short bursts with a deadline."""


ALL_CLASSES = sum(1 << c for c in TrafficClass)


@dataclass(frozen=True, slots=True, eq=False)
class CellState:
    """One cell as its scheduler may know it. Float columns hold NaN where nothing was reported."""

    cell: str
    """Cell identity; for live cells `<RAN name>/<NR-CGI as 15 hex digits>`."""
    num_rbgs: int
    """Resource block groups of the uplink BWP (1-18, TS 38.214)."""
    slots_per_dcm: int
    """K: slots that one decision governs."""
    slot: int
    """First slot that had not yet been played when this was observed."""
    ue_ids: tuple[int, ...]
    """Identity of each UE (its gNB-CU-UE-F1AP-ID on a DU), unique, ascending."""
    traffic_class_U: FloatU
    """A TrafficClass value."""
    buffer_bits_U: FloatU
    """Uplink buffer status, bits, as last reported (`age_slots_U` ago)."""
    inflight_bits_U: FloatU
    """Bits decoded since that buffer report: what proportional fair must not schedule twice."""
    cqi_U: FloatU
    """Wideband uplink channel quality, 0-15 (TS 38.214 table 5.2.2.1-2)."""
    preferred_rbg_U: FloatU
    """The RBG on which the UE's channel is best, 0..num_rbgs-1."""
    head_delay_slots_U: FloatU
    """Age of the oldest waiting packet, slots."""
    served_bits_per_slot_U: FloatU
    """R: average of served bits a slot, decaying by SERVED_DECAY_PER_SLOT; kept by the base station's side."""
    prb_share_U: FloatU
    """Share of the cell's PRBs used in the last period, 0-1."""
    buffer_bits_before_U: FloatU
    """Buffer status as it was one slot before `buffer_bits_U`."""
    slots_since_served_U: FloatU
    """Slots since anything of the UE was decoded; 1 = in the last slot played."""
    cqi_mean_U: FloatU
    """Average of the reported `cqi_U`, decaying by LONG_DECAY_PER_SLOT."""
    long_served_bits_per_slot_U: FloatU
    """R with a longer memory: it decays by LONG_DECAY_PER_SLOT."""
    deadline_slots_U: FloatU
    """Packets older than this are worthless, slots."""
    arrival_period_slots_U: FloatU
    """PERIODIC only: slots between arrivals."""
    arrival_phase_slots_U: FloatU
    """PERIODIC only: arrivals fall in slots s with s % period == phase."""
    packet_bits_U: FloatU
    """Typical packet size, bits (PERIODIC: the burst size of TSCAI)."""
    ucm_U: FloatU
    """The word of the UCM that came with that report (policy.follower); its meaning is learned."""
    age_slots_U: FloatU
    """Slots between the report behind this row and `slot`, at most; fewer where the UE came within the last period."""
    last_cqi_UM: FloatUM
    """Channel quality at full power, 0-15, measured on the UE's last decoded transmission on this RBG."""
    last_cqi_age_slots_UM: FloatUM
    """Slots since then, 1..MAX_LAST_CQI_AGE; 1 = in the last slot played."""
    last_outcome_M: FloatM
    """What became of the RBG in the last slot played: OUTCOME_..., plus WAS_OPEN."""

    @property
    def num_ues(self) -> int:
        return len(self.ue_ids)

    def has_class(self, traffic_class: TrafficClass) -> NDArray[np.bool_]:
        """Rows known to be of `traffic_class`, bool [U]."""
        return np.asarray(self.traffic_class_U == float(traffic_class))


COLUMNS: tuple[str, ...] = tuple(f.name for f in fields(CellState) if f.name.endswith("_U"))
"""Names of the per-UE columns, in declaration order."""
RBG_COLUMNS: tuple[str, ...] = tuple(f.name for f in fields(CellState) if f.name.endswith(("_M", "_UM")))
"""Names of the columns per RBG, and per UE and RBG."""
_ALL_COLUMNS = (*COLUMNS, *RBG_COLUMNS)


def column_shape(name: str, num_ues: int, num_rbgs: int) -> tuple[int, ...]:
    """The shape of a column, which its suffix names."""
    sizes = {"U": num_ues, "M": num_rbgs}
    return tuple(sizes[axis] for axis in name.rpartition("_")[2])


def make_cell_state(
    cell: str, *, num_rbgs: int, slots_per_dcm: int, slot: int, ue_ids: tuple[int, ...], **columns: object
) -> CellState:
    """A CellState whose missing columns are NaN.

    columns: any of COLUMNS and RBG_COLUMNS, each array-like of the shape that its suffix names. Raises TypeError for an
    unknown column, ValueError for a wrong shape or for UE ids that are not unique and ascending.
    """
    if unknown := columns.keys() - set(_ALL_COLUMNS):
        raise TypeError(f"unknown columns {sorted(unknown)}; known: {', '.join(_ALL_COLUMNS)}")
    if any(a >= b for a, b in zip(ue_ids, ue_ids[1:], strict=False)):
        raise ValueError(f"ue_ids must be unique and ascending, got {ue_ids}")
    full: dict[str, NDArray[np.float64]] = {}
    for name in _ALL_COLUMNS:
        expected = column_shape(name, len(ue_ids), num_rbgs)
        if name in columns:
            column = np.array(columns[name], dtype=np.float64)
            if column.shape != expected:
                raise ValueError(f"{name} has shape {column.shape}, expected {expected}")
        else:
            column = np.full(expected, np.nan)
        full[name] = column
    return CellState(cell, num_rbgs, slots_per_dcm, slot, ue_ids, **full)


def update_served_average(
    average_U: FloatU, served_bits_U: FloatU, slots: int, decay: float = SERVED_DECAY_PER_SLOT
) -> FloatU:
    """R after `slots` slots in which `served_bits_U` bits in all were served; the same for live cells and simulator.

    NaN or infinity in the average starts it at SERVED_START_BITS_PER_SLOT; NaN in the served bits leaves it as it was.
    """
    average_U = np.where(np.isfinite(average_U), average_U, SERVED_START_BITS_PER_SLOT)
    if slots <= 0:
        return average_U
    keep = decay**slots
    return np.where(np.isnan(served_bits_U), average_U, keep * average_U + (1.0 - keep) * served_bits_U / slots)


def update_cqi_mean(mean_U: FloatU, cqi_U: FloatU, slots: int) -> FloatU:
    """The slow mean of the CQI after a report `slots` slots after the one before; NaN starts at the report."""
    keep = LONG_DECAY_PER_SLOT ** max(slots, 0)
    updated_U = np.where(np.isnan(mean_U), cqi_U, keep * mean_U + (1.0 - keep) * cqi_U)
    return np.where(np.isnan(cqi_U), mean_U, updated_U)

"""A bundle's prompt layout as the kernel reads it: which number each field takes, and where its levels lie."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from policy.cqi import OTHER_RBG_GAIN, REPORTED_SNR, bits_per_rbg
from policy.prompt.compact import GRANT_CELL_FIELDS, PromptLayout
from policy.schedulers.periodic_grants import MAX_GRANTS

UE_COLUMNS = (
    "traffic_class", "buffer_bits_before", "buffer_bits", "inflight_bits", "cqi", "cqi_mean", "preferred_rbg",
    "served_bits_per_slot", "long_served_bits_per_slot", "slots_since_served", "head_delay_slots", "deadline_slots",
    "age_slots", "arrival_period_slots", "arrival_phase_slots", "prb_share", "ucm", "packet_bits",
)  # fmt: skip
"""Columns of a CellState in the order in which the kernel gets them."""
UE_NUMBERS = (
    "traffic_class", "buffer_bits_before", "buffer_bits", "backlog_bits", "cqi", "cqi_mean", "preferred_rbg",
    "served_bits_per_slot", "long_served_bits_per_slot", "slots_since_served", "head_delay_slots",
    "deadline_less_age_slots", "arrival_period_slots", "prb_share", "ucm",
    "packet_rbgs", "grant_turn", "grant_row", "floor_rbgs",
)  # fmt: skip
"""What the kernel works out of a UE, by the names of the prompt's fields, in the order in which it does."""
CELL_NUMBERS = (
    "slots_per_dcm", "num_rbgs", "num_ues", "alpha", "age_slots", "backlogged_ues", "latency_bound_ues",
    "shortest_deadline_slots", "total_backlog_bits", "total_served_bits_per_slot", "total_long_served_bits_per_slot",
    "decoded_rbgs", "lost_rbgs", "open_rbgs", "ucm_ues", "periodic_ues", "sporadic_ues", "grant_rbgs",
    "total_floor_rbgs",
)  # fmt: skip
"""The same of a cell."""


class Tables(NamedTuple):
    """Fields of the cell's block, then of a UE's."""

    number: NDArray[np.int64]
    """Row of CELL_NUMBERS or UE_NUMBERS."""
    sizes: NDArray[np.int64]
    """Tokens of the field."""
    first_token: NDArray[np.int64]
    edges: NDArray[np.float64]
    """All fields' edges, one after the other."""
    first_edge: NDArray[np.int64]
    """[fields + 1]."""
    packet_bits: NDArray[np.float64]
    """[16, MAX_GRANTS]: what so many RBGs carry in a slot at each CQI."""
    wants_grants: int
    """1 = a field tells of periodic grants."""
    first_field: NDArray[np.int64]
    """[positions + 1]: the fields of a block that share each position."""


def tables_of(layout: PromptLayout, positions: int) -> Tables:
    """positions: of a block, at most its fields."""
    cell, ue = layout.cell_fields, layout.ue_fields
    fields = (*cell, *ue)
    numbers = [CELL_NUMBERS.index(f.name) for f in cell] + [UE_NUMBERS.index(f.name) for f in ue]
    sizes = np.array([field.size for field in fields], np.int64)
    shares = np.arange(1, MAX_GRANTS + 1)
    packet_bits = np.stack([shares * bits_per_rbg(snr * OTHER_RBG_GAIN / shares) for snr in REPORTED_SNR])
    return Tables(
        np.array(numbers, np.int64),
        sizes,
        np.cumsum([0, *sizes[:-1]]).astype(np.int64),
        np.concatenate([np.asarray(field.edges, np.float64) for field in fields]),
        np.cumsum([0, *(len(field.edges) for field in fields)]).astype(np.int64),
        packet_bits,
        int(GRANT_CELL_FIELDS[0].name in {field.name for field in cell}),
        np.array([-(-p * len(ue) // positions) for p in range(positions + 1)], np.int64),
    )

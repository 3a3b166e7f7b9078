"""What a node lets a leader see: observation profiles, as the KPM measurements they offer and the columns these fill.

`full` is everything that the project's own service model carries. The two others are what one finds per UE on two open
gNBs: no buffer status, no traffic class, no channel quality.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from policy.cell_state import CellState

FULL = "full"

COLUMNS_OF_MEASUREMENT: dict[str, tuple[str, ...]] = {
    "DRB.UEThpUl": ("served_bits_per_slot_U", "long_served_bits_per_slot_U"),
    "RRU.PrbTotUl": ("prb_share_U",),
    "CQI": ("cqi_U", "cqi_mean_U"),
}
"""What a leader makes of a KPM measurement; the rest of what nodes offer fills no column.

A delay of delivered bits (DRB.AirIfDelayUl) is not the age of what waits, so it does not stand in for it.
"""
ALWAYS_KNOWN = ("age_slots_U",)
"""What follows from a report having come at all."""


@dataclass(frozen=True, slots=True)
class ObservationProfile:
    """What a node reports of each UE."""

    name: str
    measurements: tuple[str, ...]
    """Offered in the KPM RAN function description."""
    dcm_columns: bool
    """DCM indications say what KPM cannot; else they name only the UEs, the boundary and the control in force."""

    @property
    def columns(self) -> frozenset[str] | None:
        """Those of CellState that can be known; None = all."""
        if self.dcm_columns:
            return None
        known = (column for m in self.measurements for column in COLUMNS_OF_MEASUREMENT.get(m, ()))
        return frozenset((*known, *ALWAYS_KNOWN))


PROFILES: dict[str, ObservationProfile] = {
    profile.name: profile
    for profile in (
        ObservationProfile(
            FULL,
            (
                "DRB.UEThpUl",
                "RRU.PrbUsedUl",
                "RRU.PrbAvailUl",
                "RRU.PrbTotUl",
                "DRB.AirIfDelayUl",
                "DRB.RlcSduTransmittedVolumeUL",
                "CQI",
            ),
            True,
        ),
        # srsRAN's DU. It lists CQI too, but always that of one UE: useless, so left out.
        ObservationProfile(
            "kpm_srsran",
            (
                "DRB.UEThpUl",
                "DRB.UEThpDl",
                "RRU.PrbUsedUl",
                "RRU.PrbUsedDl",
                "RRU.PrbAvailUl",
                "RRU.PrbAvailDl",
                "RRU.PrbTotUl",
                "RRU.PrbTotDl",
                "DRB.AirIfDelayUl",
                "DRB.RlcDelayUl",
                "DRB.RlcSduDelayDl",
                "DRB.RlcSduTransmittedVolumeUL",
                "DRB.RlcSduTransmittedVolumeDL",
                "DRB.RlcPacketDropRateDl",
            ),
            False,
        ),
        ObservationProfile(
            "kpm_oai",
            (
                "DRB.PdcpSduVolumeUL",
                "DRB.PdcpSduVolumeDL",
                "DRB.RlcSduDelayDl",
                "DRB.UEThpUl",
                "DRB.UEThpDl",
                "RRU.PrbTotUl",
                "RRU.PrbTotDl",
            ),
            False,
        ),
    )
}


def make_profile(name: str) -> ObservationProfile:
    """The named profile; ValueError lists the names there are."""
    if name not in PROFILES:
        raise ValueError(f"unknown observation profile {name!r}; known: {', '.join(PROFILES)}")
    return PROFILES[name]


def observed(state: CellState, profile: ObservationProfile) -> CellState:
    """`state` as a node with this profile lets it be known: every other measured column is NaN."""
    columns = profile.columns
    if columns is None:
        return state
    hidden: dict[str, Any] = {}
    for field in fields(CellState):
        value = getattr(state, field.name)
        if isinstance(value, np.ndarray) and field.name not in columns:
            hidden[field.name] = np.full(value.shape, np.nan)
    return replace(state, **hidden)

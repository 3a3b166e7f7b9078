"""What a node lets a leader see: observation profiles, as the KPM measurements they offer and the columns these fill.

`full` is everything that the project's own service model carries. The two others are what one finds per UE on two open
gNBs: no buffer status, no traffic class, no channel quality.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np

from policy.cell_state import CellState

FULL = "full"


class Measurement(NamedTuple):
    """A KPM measurement that a leader can use, or a screen shows."""

    highest: float
    """No node can mean more: what is above, or below 0, counts as not reported. In its unit, as the next one."""
    column: str = ""
    """The column of CellState that it fills, where no DCM indication does; "" = none by itself."""
    per: float = 1.0
    """Units of the measurement that are one of the column."""
    others: tuple[str, ...] = ()
    """Columns that xapp.control.cell_tracker makes of it in ways of their own."""


MEASUREMENTS: dict[str, Measurement] = {
    # kbit/s: 100 Gbit/s.
    "DRB.UEThpUl": Measurement(1e8, others=("served_bits_per_slot_U", "long_served_bits_per_slot_U")),
    "RRU.PrbTotUl": Measurement(100, "prb_share_U", per=100.0),  # percent
    "RRU.PrbUsedUl": Measurement(275),
    "DRB.AirIfDelayUl": Measurement(1e6),  # 0.1 ms: 100 s; of delivered bits, so not the age of what waits
    "DRB.RlcSduTransmittedVolumeUL": Measurement(1e9),  # kbit: the largest rate over the longest report period
    "CQI": Measurement(15, others=("cqi_U", "cqi_mean_U")),
}
"""Those that a node is asked for if it offers them. An entry is all that it takes for another one to be asked for,
to be checked, to fill a column, and so to stand in every prompt that has the column's field."""
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
        used = [MEASUREMENTS[name] for name in self.measurements if name in MEASUREMENTS]
        known = (column for m in used for column in (m.column, *m.others) if column)
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

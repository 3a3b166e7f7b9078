"""The usual DCM indication's columns, compiled: bit for bit what indication_columns comes to by numpy, where every UE's
served bits and CQI are reported.

Suffixes: U = UEs, C = columns of an indication, S = those of a state, B = both ends of a range, H = what is remembered.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policy.cell_state import SERVED_START_BITS_PER_SLOT
from policy.engine import jit
from policy.engine.code_cache import EntryPoint
from xapp.control.columns.histories import SINCE
from xapp.control.columns.indication_columns import (
    AGE,
    CQI,
    HISTORY,
    LOST,
    NOT_TAKEN,
    NOWHERE,
    SERVED,
    TAKEN,
    TAKEN_WITH_LOSSES,
)

Table = NDArray[np.float64]
"""Of two dimensions."""


def take_columns(
    values_CU: Table,
    bounds_CB: Table,
    known_HU: Table,
    source_S: NDArray[np.int64],
    reported_slots: float,
    keep_short: float,
    keep_long: float,
    keep_cqi: float,
    since_slot: float,
    slot: float,
    report_delay_slots: float,
    believed_CU: Table,
    rows_HU: Table,
    columns_SU: Table,
) -> int:
    """Fill the last three: TAKEN, or TAKEN_WITH_LOSSES; NOT_TAKEN = some UE's served bits or CQI are not known.

    keep_...: of what each average was.
    """
    columns, count = values_CU.shape
    for c in range(columns):
        for u in range(count):
            value = values_CU[c, u]
            fits = bounds_CB[c, 0] <= value and value <= bounds_CB[c, 1]
            believed_CU[c, u] = value if fits else np.nan
    for u in range(count):
        served, cqi = believed_CU[SERVED, u], believed_CU[CQI, u]
        if np.isnan(served) or np.isnan(cqi):
            return NOT_TAKEN
        for h in range(2):
            average, keep = known_HU[h, u], keep_short if h == 0 else keep_long
            if not np.isfinite(average):
                average = SERVED_START_BITS_PER_SLOT
            if reported_slots > 0:
                average = keep * average + (1.0 - keep) * served / reported_slots
            rows_HU[h, u] = average
        mean, since = known_HU[2, u], known_HU[SINCE, u]
        rows_HU[2, u] = cqi if np.isnan(mean) else keep_cqi * mean + (1.0 - keep_cqi) * cqi
        rows_HU[SINCE, u] = since_slot if np.isnan(since) else since
    for s in range(len(source_S)):
        source = source_S[s]
        for u in range(count):
            if source < NOWHERE:
                columns_SU[s, u] = believed_CU[source, u]
            elif source == AGE:
                age = slot - rows_HU[SINCE, u]
                age = age if age > 0.0 else 0.0
                columns_SU[s, u] = age if age < report_delay_slots else report_delay_slots
            elif source >= HISTORY:
                columns_SU[s, u] = rows_HU[source - HISTORY, u]
            else:
                columns_SU[s, u] = np.nan
    for u in range(count):
        if not np.isnan(believed_CU[LOST, u]):
            return TAKEN_WITH_LOSSES
    return TAKEN


_ANSWERS = NOT_TAKEN, TAKEN, TAKEN_WITH_LOSSES
_PLACES = NOWHERE, AGE, HISTORY, SERVED, CQI, LOST, SINCE
_CONSTANTS = repr((_ANSWERS, _PLACES, SERVED_START_BITS_PER_SLOT)).encode()
_SOURCES = Path(__file__), Path(jit.__file__)
columns: Any = EntryPoint(
    take_columns,
    sources_digest=hashlib.sha256(b"".join((_CONSTANTS, *(path.read_bytes() for path in _SOURCES)))).hexdigest()[:12],
    folder=Path(__file__).parent,
    fastmath=False,  # no multiply-add in one step, which rounds otherwise than numpy
)

"""What a DCM indication comes to, with what was known before it: the columns that may be believed, what is remembered,
and the columns of a state. By numpy, or the usual ones by compiled code, with the same bits. Pure.

Suffixes: U = UEs, C = columns of an indication, S = those of a state, B = both ends of a range.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from policy.cell_state import COLUMNS, LONG_DECAY_PER_SLOT, SERVED_DECAY_PER_SLOT
from xapp.control.column_ranges import DCM_RANGES, Range
from xapp.control.columns.histories import REMEMBERED, SINCE, Elapsed, FloatU, Histories
from xapp.e2.dcm.messages import INDICATION_COLUMNS, Indication, columns_of

ROW_OF = {name: row for row, name in enumerate(INDICATION_COLUMNS)}
SERVED, CQI, LOST, DELIVERED = (ROW_OF[name] for name in ("served_bits", "cqi", "lost_packets", "delivered_packets"))
NOWHERE = len(INDICATION_COLUMNS)
"""In place of the row of an indication's column: there is none."""
STATE_ROW_OF = {name: row for row, name in enumerate(COLUMNS)}
STATE_AGE = STATE_ROW_OF["age_slots_U"]
AGE, HISTORY = NOWHERE + 1, NOWHERE + 2
"""Of a state's column: it is the age of the report; the first of what is remembered."""
_ANY_NUMBER = Range(-np.inf, np.inf)
"""Of columns that no state has."""


def _source(name: str) -> int:
    if name in REMEMBERED:
        return HISTORY + REMEMBERED.index(name)
    return AGE if name == "age_slots_U" else ROW_OF.get(name.removesuffix("_U"), NOWHERE)


SOURCE_OF_STATE = np.array([_source(name) for name in COLUMNS])
"""Where each column of a state comes from, unless something better is known: a row of an indication, NOWHERE, AGE, or
HISTORY and what follows.
"""


class Taken(NamedTuple):
    """Never changed: replaced as a whole."""

    believed_CU: FloatU
    """What cannot be is NaN."""
    histories: Histories
    columns_SU: FloatU
    """A state's, NaN where neither the indication nor what is remembered says anything."""
    has_cqi: bool
    """Of every UE."""
    has_losses: bool
    """Lost packets of some UE are reported."""


_compiled: Callable[..., int] | None = None
NOT_TAKEN, TAKEN, TAKEN_WITH_LOSSES = range(3)
"""What the kernel says."""


def use_compiled_columns(run: Callable[..., int] | None) -> None:
    """run: xapp.control.columns.kernel.take_columns, compiled; None = only numpy."""
    global _compiled
    _compiled = run


def bounds_of(num_rbgs: int) -> FloatU:
    """Both ends of what each column may be believed within, [C, B]; the preferred RBG depends on the carrier."""
    ranges = DCM_RANGES | {"preferred_rbg": Range(0, num_rbgs - 1)}
    return np.array([ranges.get(name, _ANY_NUMBER) for name in INDICATION_COLUMNS])


def take_compiled(
    indication: Indication, slot: int, bounds_CB: FloatU, known: Histories, elapsed: Elapsed
) -> Taken | None:
    """As `take`, where every UE's served bits and CQI are reported, and compiled code is there; None elsewhere.

    slot: of the indication.
    """
    if _compiled is None or not known.ue_ids:
        return None
    count, reported_slots = len(known.ue_ids), max(elapsed.reported_slots, 0)
    believed_CU, columns_SU = np.empty((NOWHERE, count)), np.empty((len(COLUMNS), count))
    rows_HU = np.empty((SINCE + 1, count))
    found = _compiled(
        # Of the one layout that it is compiled for.
        np.ascontiguousarray(columns_of(indication), np.float64),
        bounds_CB,
        np.ascontiguousarray(known.rows_HU),
        SOURCE_OF_STATE,
        float(reported_slots),
        SERVED_DECAY_PER_SLOT**reported_slots,
        LONG_DECAY_PER_SLOT**reported_slots,
        LONG_DECAY_PER_SLOT ** max(elapsed.slots, 0),
        float(elapsed.since_slot),
        float(slot),
        float(indication.report_delay_slots),
        believed_CU,
        rows_HU,
        columns_SU,
    )
    if found == NOT_TAKEN:
        return None
    return Taken(believed_CU, Histories(known.ue_ids, rows_HU), columns_SU, True, found == TAKEN_WITH_LOSSES)


def believed(indication: Indication, bounds_CB: FloatU) -> FloatU:
    """Its columns, [C, U]; what cannot be is NaN (xapp.control.column_ranges)."""
    values_CU = columns_of(indication)
    return np.where((values_CU >= bounds_CB[:, :1]) & (values_CU <= bounds_CB[:, 1:]), values_CU, np.nan)


def take(believed_CU: FloatU, histories: Histories, slot: int, report_delay_slots: int) -> Taken:
    """histories: with what this indication adds to them."""
    columns_SU = np.full((len(COLUMNS), len(histories.ue_ids)), np.nan)
    for row, source in enumerate(SOURCE_OF_STATE.tolist()):
        if source < NOWHERE:
            columns_SU[row] = believed_CU[source]
        elif source >= HISTORY:
            columns_SU[row] = histories.rows_HU[source - HISTORY]
    # The reports of a UE that has just come are no older than the UE.
    columns_SU[STATE_AGE] = np.minimum(np.maximum(slot - histories.rows_HU[SINCE], 0), report_delay_slots)
    has_cqi, has_losses = not np.isnan(believed_CU[CQI]).any(), not np.isnan(believed_CU[LOST]).all()
    return Taken(believed_CU, histories, columns_SU, has_cqi, has_losses)


def example_arguments() -> tuple[Any, ...]:
    """Of the types that `take_compiled` calls the kernel with."""
    table = np.empty((1, 1))
    return (table, table, table, np.empty(1, np.int64), *(0.0,) * 7, table, table, table)

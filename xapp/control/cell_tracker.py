"""One cell's newest reports and history, joined into the CellState that a decision sees. Pure: no clock, no I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from policy.cell_state import (
    COLUMNS,
    RBG_COLUMNS,
    CellState,
    column_shape,
)
from policy.observation import MEASUREMENTS
from policy.time_scales import SLOT_MS
from xapp.control.column_ranges import dcm_column, kpm_columns
from xapp.control.columns.histories import REMEMBERED, Elapsed, Histories, rows_of
from xapp.control.columns.indication_columns import (
    CQI,
    DELIVERED,
    LOST,
    SERVED,
    STATE_AGE,
    STATE_ROW_OF,
    Taken,
    believed,
    bounds_of,
    take,
    take_compiled,
)
from xapp.control.measurement_pace import MeasurementPace
from xapp.control.report_sequence import ReportSequence
from xapp.e2.dcm.messages import AppliedControl, Indication, IndicationHeader
from xapp.e2.kpm.report_reader import NO_UE, KpmReport
from xapp.e2.ue_id.ue_key import own_number

FloatU = NDArray[np.float64]

_FILLED = tuple((name, STATE_ROW_OF[each.column], each.per) for name, each in MEASUREMENTS.items() if each.column)
"""Measurement, row of the column that it fills, units of the one that are one of the other."""
_STATE_CQI = STATE_ROW_OF["cqi_U"]


class Service(NamedTuple):
    """What UEs were served in the time of one report. Never changed."""

    ue_ids: tuple[int, ...]
    served_bits_U: FloatU
    slots: int
    lost_packets_U: FloatU | None = None
    delivered_packets_U: FloatU | None = None
    """None = not reported."""


class CellTracker:
    """Joins a cell's KPM reports and DCM indications. Not thread safe: one thread feeds it."""

    def __init__(self, cell: str, *, num_rbgs: int, report_period_ms: int, has_kpm: bool, has_dcm: bool) -> None:
        self.cell = cell
        self.num_rbgs = num_rbgs
        self.report_period_ms = report_period_ms
        self.has_kpm = has_kpm
        self.has_dcm = has_dcm
        self._dcm_sequence = ReportSequence()
        self._kpm_sequence = ReportSequence()
        self._kpm: KpmReport | None = None
        self._kpm_row_of: dict[int, int] = {}
        self._kpm_ue_ids: tuple[int, ...] | None = None  # in the order of its rows; None = some are left out
        self._kpm_believed: tuple[tuple[int, ...], FloatU] | None = None  # of which UEs, [measurements, U], once asked
        self._kpm_count = 0
        self._kpm_is_current = False
        self._pace = MeasurementPace(report_period_ms)
        self.measurements = 0
        """Counts those that KPM reports brought: one that repeats its predecessor brings none."""
        self.twins: Mapping[int, int] = {}
        """UEs of the newest KPM report that have one id between them, and how many: whose values are whose is not
        known, so that none of them is in the state. Replaced as a whole."""
        self._dcm: tuple[IndicationHeader, Indication, Taken] | None = None  # the last
        self._histories = Histories()
        self._last_slot: int | None = None
        self.service: Service | None = None
        """Of the newest report that brought a measurement. Replaced as a whole."""
        self._bounds_CB = bounds_of(num_rbgs)

    def restart(self, kind: str) -> None:
        """A new subscription of this kind (`kpm` or `dcm`): its sequence numbers start anew."""
        self._sequence(kind).restart()

    def is_newer(self, kind: str, sn: int | None) -> bool:
        """Whether a report of this kind with this number is ahead of the newest."""
        return self._sequence(kind).is_ahead(sn)

    def _sequence(self, kind: str) -> ReportSequence:
        return self._dcm_sequence if kind == "dcm" else self._kpm_sequence

    @property
    def last_dcm_sn(self) -> int | None:
        """Of the newest DCM indication; None = there is none, or it has no number."""
        return self._dcm_sequence.last

    @property
    def resynchronised(self) -> int:
        """How often reports that had seemed late turned out to be the node's own (see report_sequence)."""
        return self._dcm_sequence.resynchronised + self._kpm_sequence.resynchronised

    def on_dcm(self, sn: int | None, header: IndicationHeader, indication: Indication) -> bool:
        """Take a DCM indication; False = a duplicate or older than the newest, not taken."""
        if not self._dcm_sequence.take(sn):
            return False
        ue_ids, slots = indication.ue_ids, indication.slots_per_report
        known, elapsed = self._known(ue_ids, header.slot, slots)
        taken = take_compiled(indication, header.slot, self._bounds_CB, known, elapsed)
        if taken is None:
            believed_CU = believed(indication, self._bounds_CB)
            served_bits_U, cqi_U = believed_CU[SERVED], believed_CU[CQI]
            if self._kpm_is_current:
                # A node that leaves served bits out may still report throughput: the KPM report of the period before
                # says it. Each report is counted once: where the next one is missing, nothing is known of this period.
                served_bits_U = self._served_bits(ue_ids, served_bits_U, slots)
                cqi_U = self._cqi(ue_ids, indication.cqi, cqi_U)
            histories = known.after(served_bits_U, cqi_U, elapsed)
            taken = take(believed_CU, histories, header.slot, indication.report_delay_slots)
        else:
            served_bits_U = taken.believed_CU[SERVED]
        self._dcm = header, indication, taken
        self._kpm_is_current = False
        self._histories, self._last_slot = taken.histories, header.slot
        packets = (taken.believed_CU[LOST], taken.believed_CU[DELIVERED]) if taken.has_losses else ()
        self.service = Service(ue_ids, served_bits_U, slots, *packets)
        return True

    def on_kpm(self, sn: int | None, report: KpmReport, elsewhere: frozenset[int] = frozenset()) -> bool:
        """Take a KPM report; False = a duplicate or older than the newest, not taken.

        elsewhere: UEs in it that count for another cell (xapp.control.ue_owners).
        """
        if not self._kpm_sequence.take(sn):
            return False
        self._kpm = report
        # A DCM indication names UEs by their number alone.
        ues = [own_number(ue) if ue != NO_UE else ue for ue in report.ue_keys] if self.has_dcm else report.ue_keys
        rows_of = dict(zip(ues, range(len(ues))))
        self.twins = {}
        if len(rows_of) < len(ues):
            counts = Counter(ues)
            self.twins = {ue: count for ue, count in counts.items() if count > 1 and ue != NO_UE}
        self._kpm_ue_ids = tuple(ues)
        if self.twins or elsewhere or NO_UE in rows_of:
            self._kpm_ue_ids = None
            left_out = elsewhere | self.twins.keys() | {NO_UE}
            rows_of = {ue: row for ue, row in rows_of.items() if ue not in left_out}
        self._kpm_row_of, self._kpm_believed = rows_of, None
        self._kpm_count += 1
        self._kpm_is_current = True
        if not self.has_dcm:
            self.measurements += self._pace.is_new(report)
            slots = self._slots_per_period
            ue_ids = tuple(sorted(self._kpm_row_of))
            served_bits_U = self._kpm_column("DRB.UEThpUl", ue_ids) * self.report_period_ms  # kbit/s x ms = bits
            # A repeated measurement is at the slot of the last one, where nothing has gone by that would count.
            known, elapsed = self._known(ue_ids, self.measurements * slots, slots)
            self._histories = known.after(served_bits_U, self._kpm_column("CQI", ue_ids), elapsed)
            self._last_slot = self.measurements * slots
            self.service = Service(ue_ids, served_bits_U, slots)
        return True

    @property
    def reports_per_measurement(self) -> int:
        """How many KPM reports carry one measurement; 0 = not known."""
        return self._pace.reports_per_measurement

    @property
    def kpm(self) -> KpmReport | None:
        """The newest KPM report."""
        return self._kpm

    @property
    def applied(self) -> AppliedControl | None:
        """The control that governed the cell when its newest DCM indication was made; None = the node's own."""
        return self._dcm[1].applied if self._dcm is not None else None

    @property
    def period_complete(self) -> bool:
        """Everything that this cell reports has come for the newest period (a DCM indication opens one)."""
        if self.has_dcm:
            return self._dcm is not None and (self._kpm_is_current or not self.has_kpm)
        return self._kpm is not None

    def state(self) -> CellState | None:
        """The newest state; None before the first report."""
        return self._make_state() if self._opened else None

    def state_maker(self) -> Callable[[], CellState] | None:
        """Makes what `state` is now, later and in any thread; None before the first report."""
        if not self._opened:
            return None
        # All that a state is made of is replaced as a whole, and never changed.
        now = CellTracker.__new__(CellTracker)
        now.__dict__.update(self.__dict__)
        return now._make_state

    @property
    def _opened(self) -> bool:
        return self._dcm is not None or (self._kpm is not None and not self.has_dcm)

    def _make_state(self) -> CellState:
        return self._state_from_dcm(*self._dcm) if self._dcm is not None else self._state_from_kpm()

    def _state(
        self, ue_ids: tuple[int, ...], slots_per_dcm: int, slot: int, columns_SU: FloatU, rbg_columns: dict[str, FloatU]
    ) -> CellState:
        """With what KPM measurements say where a column is not known otherwise (policy.observation.MEASUREMENTS).

        columns_SU: a state's in their order, its own to change; NaN where nobody says anything.
        """
        for name, row, per in _FILLED:
            unknown_U = np.isnan(columns_SU[row])
            if unknown_U.any():
                np.copyto(columns_SU[row], self._kpm_column(name, ue_ids) / per, where=unknown_U)
        columns = dict(zip(COLUMNS, columns_SU))
        return CellState(self.cell, self.num_rbgs, slots_per_dcm, slot, ue_ids, **columns, **rbg_columns)

    @property
    def lead_slots(self) -> int:
        """Slots from the newest report to the period that its answer governs, as the node says."""
        return max(0, self._dcm[1].next_boundary_slot - self._dcm[0].slot) if self._dcm is not None else 0

    @property
    def _slots_per_period(self) -> int:
        return max(1, round(self.report_period_ms / SLOT_MS))

    def _state_from_dcm(self, header: IndicationHeader, indication: Indication, taken: Taken) -> CellState:
        ue_ids, heard_shape = indication.ue_ids, (len(indication.ue_ids), self.num_rbgs)
        columns_SU = taken.columns_SU.copy()  # what a leader does to a state is not to be found in the next one
        if not taken.has_cqi:
            columns_SU[_STATE_CQI] = self._cqi(ue_ids, indication.cqi, columns_SU[_STATE_CQI])
        rbg_columns = {
            # Of another number of RBGs than the carrier's: as good as not reported.
            "last_cqi_UM": _shaped("heard_cqi", indication.heard_cqi, heard_shape),
            "last_cqi_age_slots_UM": _shaped("heard_age_slots", indication.heard_age_slots, heard_shape),
            "last_outcome_M": _shaped("last_outcome", indication.last_outcome, (self.num_rbgs,)),
        }
        return self._state(ue_ids, indication.slots_per_report, header.slot, columns_SU, rbg_columns)

    def _state_from_kpm(self) -> CellState:
        ue_ids = tuple(sorted(self._kpm_row_of))
        known_HU = self._histories.of(ue_ids).rows_HU
        columns_SU = np.full((len(COLUMNS), len(ue_ids)), np.nan)
        for row, name in enumerate(REMEMBERED):
            columns_SU[STATE_ROW_OF[name]] = known_HU[row]
        columns_SU[_STATE_CQI] = self._kpm_column("CQI", ue_ids)
        columns_SU[STATE_AGE] = 0.0
        rbg_columns = {name: _unknown(column_shape(name, len(ue_ids), self.num_rbgs)) for name in RBG_COLUMNS}
        slots = self._slots_per_period
        return self._state(ue_ids, slots, self._kpm_count * slots, columns_SU, rbg_columns)

    def _known(self, ue_ids: tuple[int, ...], slot: int, slots_per_report: int) -> tuple[Histories, Elapsed]:
        """What is known of UEs as a report of `slots_per_report` slots before `slot` comes."""
        last_slot, histories = self._last_slot, self._histories
        if last_slot is not None and slot < last_slot:
            last_slot, histories = None, Histories()  # the node started over
        gone_by = 0 if last_slot is None else slot - last_slot
        since = 0 if last_slot is None else last_slot + 1
        return histories.of(ue_ids), Elapsed(gone_by, min(gone_by, slots_per_report), since)

    def _served_bits(self, ue_ids: tuple[int, ...], reported_U: FloatU, slots: int) -> FloatU:
        """Where a DCM indication leaves them out, what the KPM report's throughput comes to."""
        if not np.isnan(reported_U).any():
            return reported_U
        throughput_U = self._kpm_column("DRB.UEThpUl", ue_ids) * SLOT_MS * slots  # kbit/s x ms = bits
        return np.where(np.isnan(reported_U), throughput_U, reported_U)

    def _cqi(self, ue_ids: tuple[int, ...], reported_U: FloatU, believed_U: FloatU) -> FloatU:
        """As the DCM indication reported it, or else the KPM report."""
        return np.where(np.isnan(reported_U), self._kpm_column("CQI", ue_ids), believed_U)

    def _kpm_column(self, name: str, ue_ids: tuple[int, ...]) -> FloatU:
        """A measurement in the row order of `ue_ids`; NaN where not reported or not possible. Not to be changed."""
        if self._kpm is None or name not in self._kpm.names:
            return np.full(len(ue_ids), np.nan)
        if self.has_dcm and self._kpm_ue_ids == ue_ids:  # of others there is no need
            row = self._kpm.names.index(name)
            column_U: FloatU = kpm_columns((name,), self._kpm.values.T[row : row + 1])[0]
            return column_U
        if self._kpm_believed is None or self._kpm_believed[0] != ue_ids:
            self._kpm_believed = ue_ids, self._kpm_columns(self._kpm, ue_ids)
        return self._kpm_believed[1][self._kpm.names.index(name)]

    def _kpm_columns(self, kpm: KpmReport, ue_ids: tuple[int, ...]) -> FloatU:
        """All measurements of a report, [measurements, U]."""
        if not len(kpm.values):
            return np.full((len(kpm.names), len(ue_ids)), np.nan)
        if self._kpm_ue_ids == ue_ids:
            return kpm_columns(kpm.names, kpm.values.T)
        rows_U = rows_of(self._kpm_row_of, ue_ids)
        return kpm_columns(kpm.names, np.where(rows_U >= 0, kpm.values.T[:, rows_U], np.nan))


def _unknown(shape: tuple[int, ...]) -> FloatU:
    """Nothing but NaN, its own to change."""
    return np.full(shape, np.nan)


def _shaped(name: str, values: FloatU, shape: tuple[int, ...]) -> FloatU:
    """A column of a DCM indication per RBG as it may be believed; NaN if it has another shape."""
    return dcm_column(name, values) if values.shape == shape else _unknown(shape)

"""One cell's newest reports and history, joined into the CellState that a decision sees. Pure: no clock, no I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from policy.cell_state import (
    COLUMNS,
    LONG_DECAY_PER_SLOT,
    RBG_COLUMNS,
    CellState,
    column_shape,
    update_cqi_mean,
    update_served_average,
)
from policy.observation import MEASUREMENTS
from policy.time_scales import SLOT_MS
from xapp.control.column_ranges import DCM_RANGES, Range, dcm_column, kpm_columns
from xapp.control.measurement_pace import MeasurementPace
from xapp.control.report_sequence import ReportSequence
from xapp.e2.dcm.messages import INDICATION_COLUMNS, AppliedControl, Indication, IndicationHeader
from xapp.e2.kpm.report_reader import NO_UE, KpmReport
from xapp.e2.ue_id.ue_key import own_number

FloatU = NDArray[np.float64]

_OF_DCM = {name: f"{name}_U" for name in INDICATION_COLUMNS if f"{name}_U" in COLUMNS and name != "cqi"}
"""Columns of a DCM indication that are columns of the state, each by its name there."""
_ROW_OF = {name: row for row, name in enumerate(INDICATION_COLUMNS)}
_FILLED = tuple((name, each.column, each.per) for name, each in MEASUREMENTS.items() if each.column)
"""Measurement, column that it fills, units of the one that are one of the other."""


ANY_NUMBER = Range(-np.inf, np.inf)
"""Of columns that no state has."""


class _Histories(NamedTuple):
    """What is remembered of UEs. Never changed: replaced as a whole."""

    ue_ids: tuple[int, ...] = ()
    served_average_U: FloatU = np.zeros(0)
    """R, bits/slot."""
    long_average_U: FloatU = np.zeros(0)
    """The same with a longer memory."""
    cqi_mean_U: FloatU = np.zeros(0)
    since_slot_U: FloatU = np.zeros(0)
    """The earliest slot it may have come in."""

    def of(self, ue_ids: tuple[int, ...]) -> _Histories:
        """Of these UEs; NaN for one never seen before."""
        if ue_ids == self.ue_ids:
            return self
        rows = _rows(dict(zip(self.ue_ids, range(len(self.ue_ids)))), ue_ids)
        return _Histories(ue_ids, *(_picked(column_U, rows) for column_U in self[1:]))

    def columns(self) -> dict[str, FloatU]:
        """Of a state, its own to change."""
        return {
            "served_bits_per_slot_U": self.served_average_U.copy(),
            "long_served_bits_per_slot_U": self.long_average_U.copy(),
            "cqi_mean_U": self.cqi_mean_U.copy(),
        }


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
        self._dcm: tuple[IndicationHeader, Indication, FloatU] | None = None  # the last: [columns, U], believed
        self._histories = _Histories()
        self._last_slot: int | None = None
        self.service: Service | None = None
        """Of the newest report that brought a measurement. Replaced as a whole."""
        ranges = DCM_RANGES | {"preferred_rbg": Range(0, num_rbgs - 1)}
        self._ranges_C = np.array([ranges.get(name, ANY_NUMBER) for name in INDICATION_COLUMNS])[:, :, None]

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
        believed_CU = self._believed(indication)
        self._dcm = (header, indication, believed_CU)
        slots = indication.slots_per_report
        served_bits_U, cqi_U = believed_CU[_ROW_OF["served_bits"]], believed_CU[_ROW_OF["cqi"]]
        if self._kpm_is_current:
            if np.isnan(served_bits_U).any():
                # A node that leaves served bits out may still report throughput: the KPM report of the period before
                # says it. Each report is counted once: where the next one is missing, nothing is known of this period.
                throughput_U = (
                    self._kpm_column("DRB.UEThpUl", indication.ue_ids) * SLOT_MS * slots
                )  # kbit/s x ms = bits
                served_bits_U = np.where(np.isnan(served_bits_U), throughput_U, served_bits_U)
            cqi_U = self._cqi(indication.ue_ids, indication.cqi)
        self._kpm_is_current = False
        self._remember(indication.ue_ids, served_bits_U, cqi_U, header.slot, slots)
        lost_U, delivered_U = (believed_CU[_ROW_OF[name]] for name in ("lost_packets", "delivered_packets"))
        if not np.isnan(lost_U).all():
            self.service = Service(indication.ue_ids, served_bits_U, slots, lost_U, delivered_U)
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
            cqi_U = self._cqi(ue_ids, np.full(len(ue_ids), np.nan))
            # A repeated measurement is at the slot of the last one, where nothing has gone by that would count.
            self._remember(ue_ids, served_bits_U, cqi_U, self.measurements * slots, slots)
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

    def _state(self, ue_ids: tuple[int, ...], slots_per_dcm: int, slot: int, columns: dict[str, FloatU]) -> CellState:
        """With what KPM measurements say where a column is not known otherwise (policy.observation.MEASUREMENTS), and
        NaN where nobody says anything.
        """
        for name, column, per in _FILLED:
            known_U = columns.get(column)
            if known_U is not None and not np.isnan(known_U).any():
                continue
            measured_U = self._kpm_column(name, ue_ids) / per
            columns[column] = measured_U if known_U is None else np.where(np.isnan(known_U), measured_U, known_U)
        for column in (*COLUMNS, *RBG_COLUMNS):
            if column not in columns:
                columns[column] = np.full(column_shape(column, len(ue_ids), self.num_rbgs), np.nan)
        return CellState(self.cell, self.num_rbgs, slots_per_dcm, slot, ue_ids, **columns)

    @property
    def lead_slots(self) -> int:
        """Slots from the newest report to the period that its answer governs, as the node says."""
        return max(0, self._dcm[1].next_boundary_slot - self._dcm[0].slot) if self._dcm is not None else 0

    @property
    def _slots_per_period(self) -> int:
        return max(1, round(self.report_period_ms / SLOT_MS))

    def _believed(self, indication: Indication) -> FloatU:
        """The columns of an indication, [columns, U]; what cannot be is NaN (xapp.control.column_ranges)."""
        values_CU = np.array([getattr(indication, name) for name in INDICATION_COLUMNS])
        in_range_CU = (values_CU >= self._ranges_C[:, 0]) & (values_CU <= self._ranges_C[:, 1])
        return np.where(in_range_CU, values_CU, np.nan)

    def _state_from_dcm(self, header: IndicationHeader, indication: Indication, believed_CU: FloatU) -> CellState:
        ue_ids, heard_shape = indication.ue_ids, (len(indication.ue_ids), self.num_rbgs)
        known = self._histories.of(ue_ids)
        own_CU = believed_CU.copy()  # what a leader does to a state is not to be found in the next one
        columns = {column: own_CU[_ROW_OF[name]] for name, column in _OF_DCM.items()}
        columns |= known.columns()
        columns |= {
            "cqi_U": self._cqi(ue_ids, indication.cqi),
            # Of another number of RBGs than the carrier's: as good as not reported.
            "last_cqi_UM": _shaped("heard_cqi", indication.heard_cqi, heard_shape),
            "last_cqi_age_slots_UM": _shaped("heard_age_slots", indication.heard_age_slots, heard_shape),
            "last_outcome_M": _shaped("last_outcome", indication.last_outcome, (self.num_rbgs,)),
            # The reports of a UE that has just come are no older than the UE.
            "age_slots_U": np.minimum(np.maximum(header.slot - known.since_slot_U, 0), indication.report_delay_slots),
        }
        return self._state(ue_ids, indication.slots_per_report, header.slot, columns)

    def _state_from_kpm(self) -> CellState:
        ue_ids = tuple(sorted(self._kpm_row_of))
        known = self._histories.of(ue_ids)
        columns = known.columns() | {
            "cqi_U": self._cqi(ue_ids, np.full(len(ue_ids), np.nan)),
            "age_slots_U": np.zeros(len(ue_ids)),
        }
        return self._state(ue_ids, self._slots_per_period, self._kpm_count * self._slots_per_period, columns)

    def _remember(
        self, ue_ids: tuple[int, ...], served_bits_U: FloatU, cqi_U: FloatU, slot: int, slots_per_report: int
    ) -> None:
        """`served_bits_U` were served in the `slots_per_report` slots before `slot`."""
        self.service = Service(ue_ids, served_bits_U, slots_per_report)
        if self._last_slot is not None and slot < self._last_slot:
            self._histories = _Histories()  # the node started over
            self._last_slot = None
        gone_by = 0 if self._last_slot is None else slot - self._last_slot
        # What was served in reports that were lost is not known: they leave the averages as they were.
        slots = min(gone_by, slots_per_report)
        since = 0 if self._last_slot is None else self._last_slot + 1
        known = self._histories.of(ue_ids)
        self._histories = _Histories(
            ue_ids,
            update_served_average(known.served_average_U, served_bits_U, slots),
            update_served_average(known.long_average_U, served_bits_U, slots, LONG_DECAY_PER_SLOT),
            update_cqi_mean(known.cqi_mean_U, cqi_U, gone_by),
            np.where(np.isnan(known.since_slot_U), since, known.since_slot_U),
        )
        self._last_slot = slot

    def _cqi(self, ue_ids: tuple[int, ...], reported_U: FloatU) -> FloatU:
        """As the DCM indication reported it, or else the KPM report, which nobody looks into where that is no news."""
        if not np.isnan(reported_U).any():
            return dcm_column("cqi", reported_U)
        return dcm_column("cqi", np.where(np.isnan(reported_U), self._kpm_column("CQI", ue_ids), reported_U))

    def _kpm_column(self, name: str, ue_ids: tuple[int, ...]) -> FloatU:
        """A measurement in the row order of `ue_ids`; NaN where not reported or not possible. Not to be changed."""
        if self._kpm is None or name not in self._kpm.names:
            return np.full(len(ue_ids), np.nan)
        if self._kpm_believed is None or self._kpm_believed[0] != ue_ids:
            self._kpm_believed = ue_ids, self._kpm_columns(self._kpm, ue_ids)
        return self._kpm_believed[1][self._kpm.names.index(name)]

    def _kpm_columns(self, kpm: KpmReport, ue_ids: tuple[int, ...]) -> FloatU:
        """All measurements of a report, [measurements, U]."""
        if not len(kpm.values):
            return np.full((len(kpm.names), len(ue_ids)), np.nan)
        if self._kpm_ue_ids == ue_ids:
            return kpm_columns(kpm.names, kpm.values.T)
        rows_U = _rows(self._kpm_row_of, ue_ids)
        return kpm_columns(kpm.names, np.where(rows_U >= 0, kpm.values.T[:, rows_U], np.nan))


def _rows(row_of: Mapping[int, int], ue_ids: tuple[int, ...]) -> NDArray[np.int64]:
    """Each UE's row, -1 = none."""
    return np.array([row_of.get(ue, -1) for ue in ue_ids], np.int64)


def _picked(column: FloatU, rows: NDArray[np.int64]) -> FloatU:
    """The entries in these rows; NaN for -1."""
    if not column.size:
        return np.full(len(rows), np.nan)
    return np.where(rows >= 0, column[rows], np.nan)


def _shaped(name: str, values: FloatU, shape: tuple[int, ...]) -> FloatU:
    """A column of a DCM indication per RBG as it may be believed; NaN if it has another shape."""
    return dcm_column(name, values) if values.shape == shape else np.full(shape, np.nan)

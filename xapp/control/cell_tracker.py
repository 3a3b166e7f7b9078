"""One cell's newest reports and history, joined into the CellState that a decision sees. Pure: no clock, no I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from policy.cell_state import (
    LONG_DECAY_PER_SLOT,
    CellState,
    make_cell_state,
    update_cqi_mean,
    update_served_average,
)
from policy.observation import MEASUREMENTS
from policy.time_scales import SLOT_MS
from xapp.control.column_ranges import Range, dcm_column, kpm_column, within
from xapp.control.measurement_pace import MeasurementPace
from xapp.control.report_sequence import ReportSequence
from xapp.e2.dcm.messages import AppliedControl, Indication, IndicationHeader
from xapp.e2.kpm.report_reader import NO_UE, KpmReport
from xapp.e2.ue_id.ue_key import own_number

FloatU = NDArray[np.float64]


class _History(NamedTuple):
    """What is remembered of a UE."""

    served_average: float
    """R, bits/slot."""
    long_average: float
    """The same with a longer memory."""
    cqi_mean: float
    since_slot: int
    """The earliest slot it may have come in."""


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
        self._kpm_count = 0
        self._kpm_is_current = False
        self._pace = MeasurementPace(report_period_ms)
        self.measurements = 0
        """Counts those that KPM reports brought: one that repeats its predecessor brings none."""
        self.twins: Mapping[int, int] = {}
        """UEs of the newest KPM report that have one id between them, and how many: whose values are whose is not
        known, so that none of them is in the state. Replaced as a whole."""
        self._dcm: tuple[IndicationHeader, Indication] | None = None
        self._histories: dict[int, _History] = {}
        self._last_slot: int | None = None

    def restart(self, kind: str) -> None:
        """A new subscription of this kind (`kpm` or `dcm`): its sequence numbers start anew."""
        (self._dcm_sequence if kind == "dcm" else self._kpm_sequence).restart()

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
        self._dcm = (header, indication)
        slots = indication.slots_per_report
        served_bits_U = dcm_column("served_bits", indication.served_bits)
        cqi_U = dcm_column("cqi", indication.cqi)
        if self._kpm_is_current:
            # A node that leaves served bits out may still report throughput: the KPM report of the period before says
            # it. Each report is counted once: where the next one is missing, nothing is known of this period.
            throughput_U = self._kpm_column("DRB.UEThpUl", indication.ue_ids) * SLOT_MS * slots  # kbit/s x ms = bits
            served_bits_U = np.where(np.isnan(served_bits_U), throughput_U, served_bits_U)
            cqi_U = self._cqi(indication.ue_ids, indication.cqi)
        self._kpm_is_current = False
        self._remember(indication.ue_ids, served_bits_U, cqi_U, header.slot, slots)
        return True

    def on_kpm(self, sn: int | None, report: KpmReport, elsewhere: frozenset[int] = frozenset()) -> bool:
        """Take a KPM report; False = a duplicate or older than the newest, not taken.

        elsewhere: UEs in it that count for another cell (xapp.control.ue_owners).
        """
        if not self._kpm_sequence.take(sn):
            return False
        self._kpm = report
        # A DCM indication names UEs by their number alone.
        ues = [own_number(ue) if self.has_dcm and ue != NO_UE else ue for ue in report.ue_keys]
        rows = Counter(ues)
        self.twins = {ue: count for ue, count in rows.items() if count > 1 and ue != NO_UE}
        self._kpm_row_of = {
            ue: row for row, ue in enumerate(ues) if rows[ue] == 1 and ue not in elsewhere and ue != NO_UE
        }
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
        if self._dcm is not None:
            return self._filled(self._state_from_dcm(*self._dcm))
        return self._filled(self._state_from_kpm()) if self._kpm is not None and not self.has_dcm else None

    def _filled(self, state: CellState) -> CellState:
        """With what KPM measurements say where a column is not known otherwise (policy.observation.MEASUREMENTS)."""
        filled: dict[str, Any] = {}
        for name, measurement in MEASUREMENTS.items():
            if measurement.column:
                known_U = filled.get(measurement.column, getattr(state, measurement.column))
                measured_U = self._kpm_column(name, state.ue_ids) / measurement.per
                filled[measurement.column] = np.where(np.isnan(known_U), measured_U, known_U)
        return replace(state, **filled)

    @property
    def lead_slots(self) -> int:
        """Slots from the newest report to the period that its answer governs, as the node says."""
        return max(0, self._dcm[1].next_boundary_slot - self._dcm[0].slot) if self._dcm is not None else 0

    @property
    def _slots_per_period(self) -> int:
        return max(1, round(self.report_period_ms / SLOT_MS))

    def _state_from_dcm(self, header: IndicationHeader, indication: Indication) -> CellState:
        ue_ids = indication.ue_ids
        since_U = np.array([self._histories[ue].since_slot for ue in ue_ids], dtype=np.float64)
        heard_shape = (len(ue_ids), self.num_rbgs)
        return make_cell_state(
            self.cell,
            num_rbgs=self.num_rbgs,
            slots_per_dcm=indication.slots_per_report,
            slot=header.slot,
            ue_ids=ue_ids,
            traffic_class_U=dcm_column("traffic_class", indication.traffic_class),
            buffer_bits_U=dcm_column("buffer_bits", indication.buffer_bits),
            inflight_bits_U=dcm_column("inflight_bits", indication.inflight_bits),
            cqi_U=self._cqi(ue_ids, indication.cqi),
            preferred_rbg_U=within(indication.preferred_rbg, Range(0, self.num_rbgs - 1)),
            head_delay_slots_U=dcm_column("head_delay_slots", indication.head_delay_slots),
            served_bits_per_slot_U=self._remembered(ue_ids, "served_average"),
            long_served_bits_per_slot_U=self._remembered(ue_ids, "long_average"),
            cqi_mean_U=self._remembered(ue_ids, "cqi_mean"),
            deadline_slots_U=dcm_column("deadline_slots", indication.deadline_slots),
            arrival_period_slots_U=dcm_column("arrival_period_slots", indication.arrival_period_slots),
            arrival_phase_slots_U=dcm_column("arrival_phase_slots", indication.arrival_phase_slots),
            packet_bits_U=dcm_column("packet_bits", indication.packet_bits),
            buffer_bits_before_U=dcm_column("buffer_bits_before", indication.buffer_bits_before),
            slots_since_served_U=dcm_column("slots_since_served", indication.slots_since_served),
            ucm_U=dcm_column("ucm", indication.ucm),
            # Of another number of RBGs than the carrier's: as good as not reported.
            last_cqi_UM=_shaped(dcm_column("heard_cqi", indication.heard_cqi), heard_shape),
            last_cqi_age_slots_UM=_shaped(dcm_column("heard_age_slots", indication.heard_age_slots), heard_shape),
            last_outcome_M=_shaped(dcm_column("last_outcome", indication.last_outcome), (self.num_rbgs,)),
            # The reports of a UE that has just come are no older than the UE.
            age_slots_U=np.clip(header.slot - since_U, 0, indication.report_delay_slots),
        )

    def _state_from_kpm(self) -> CellState:
        ue_ids = tuple(sorted(self._kpm_row_of))
        return make_cell_state(
            self.cell,
            num_rbgs=self.num_rbgs,
            slots_per_dcm=self._slots_per_period,
            slot=self._kpm_count * self._slots_per_period,
            ue_ids=ue_ids,
            cqi_U=self._cqi(ue_ids, np.full(len(ue_ids), np.nan)),
            served_bits_per_slot_U=self._remembered(ue_ids, "served_average"),
            long_served_bits_per_slot_U=self._remembered(ue_ids, "long_average"),
            cqi_mean_U=self._remembered(ue_ids, "cqi_mean"),
            age_slots_U=np.zeros(len(ue_ids)),
        )

    def _remember(
        self, ue_ids: tuple[int, ...], served_bits_U: FloatU, cqi_U: FloatU, slot: int, slots_per_report: int
    ) -> None:
        """`served_bits_U` were served in the `slots_per_report` slots before `slot`."""
        if self._last_slot is not None and slot < self._last_slot:
            self._histories = {}  # the node started over
            self._last_slot = None
        gone_by = 0 if self._last_slot is None else slot - self._last_slot
        # What was served in reports that were lost is not known: they leave the averages as they were.
        slots = min(gone_by, slots_per_report)
        average_U = update_served_average(self._remembered(ue_ids, "served_average"), served_bits_U, slots)
        long_U = self._remembered(ue_ids, "long_average")
        long_U = update_served_average(long_U, served_bits_U, slots, LONG_DECAY_PER_SLOT)
        cqi_mean_U = update_cqi_mean(self._remembered(ue_ids, "cqi_mean"), cqi_U, gone_by)
        since = 0 if self._last_slot is None else self._last_slot + 1
        known = self._histories
        self._histories = {
            ue: _History(average, long_average, cqi_mean, known[ue].since_slot if ue in known else since)
            for ue, average, long_average, cqi_mean in zip(
                ue_ids, average_U.tolist(), long_U.tolist(), cqi_mean_U.tolist(), strict=True
            )
        }
        self._last_slot = slot

    def _remembered(self, ue_ids: tuple[int, ...], field: str) -> FloatU:
        """A field of every UE's history; NaN for a UE never seen before."""
        known = self._histories
        return np.array([getattr(known[ue], field) if ue in known else np.nan for ue in ue_ids], dtype=np.float64)

    def _cqi(self, ue_ids: tuple[int, ...], reported_U: FloatU) -> FloatU:
        """As the DCM indication reported it, or else the KPM report."""
        return dcm_column("cqi", np.where(np.isnan(reported_U), self._kpm_column("CQI", ue_ids), reported_U))

    def _kpm_column(self, name: str, ue_ids: tuple[int, ...]) -> FloatU:
        """A measurement in the row order of `ue_ids`; NaN where not reported, or where it cannot be."""
        column_U = np.full(len(ue_ids), np.nan)
        if self._kpm is None or name not in self._kpm.names:
            return column_U
        rows = np.array([self._kpm_row_of.get(ue, -1) for ue in ue_ids], dtype=np.int64)
        measured = self._kpm.values[:, self._kpm.names.index(name)]
        column_U[rows >= 0] = measured[rows[rows >= 0]]
        return kpm_column(name, column_U)


def _shaped(values: FloatU, shape: tuple[int, ...]) -> FloatU:
    return values if values.shape == shape else np.full(shape, np.nan)

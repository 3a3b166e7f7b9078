"""One cell's newest reports and history, joined into the CellState that a decision sees. Pure: no clock, no I/O."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from policy.cell_state import CellState, make_cell_state, update_served_average
from xapp.e2.dcm import Indication, IndicationHeader
from xapp.e2.kpm_report import KpmReport

FloatU = NDArray[np.float64]

SN_RANGE = 65_536
"""RICindicationSN is 0..65535 and wraps."""
SLOT_MS = 1.0
"""Slot length assumed for a node that reports no DCM indication (15 kHz subcarriers)."""


def is_newer(sn: int | None, last_sn: int | None) -> bool:
    """Whether a report's sequence number follows the last one seen (half the range ahead counts as new)."""
    if sn is None or last_sn is None:
        return True
    return 0 < (sn - last_sn) % SN_RANGE < SN_RANGE // 2


class CellTracker:
    """Joins a cell's KPM reports and DCM indications. Not thread safe: one thread feeds it."""

    def __init__(self, cell: str, *, num_rbgs: int, report_period_ms: int, has_kpm: bool, has_dcm: bool) -> None:
        self.cell = cell
        self.num_rbgs = num_rbgs
        self.report_period_ms = report_period_ms
        self.has_kpm = has_kpm
        self.has_dcm = has_dcm
        self.last_dcm_sn: int | None = None
        self.last_kpm_sn: int | None = None
        self.next_boundary_slot = 0
        self._kpm: KpmReport | None = None
        self._kpm_count = 0
        self._kpm_is_current = False
        self._dcm: tuple[IndicationHeader, Indication] | None = None
        self._served_average: dict[int, float] = {}
        self._last_slot: int | None = None

    def on_dcm(self, sn: int | None, header: IndicationHeader, indication: Indication) -> bool:
        """Take a DCM indication; False = a duplicate or older than the newest, not taken."""
        if not is_newer(sn, self.last_dcm_sn):
            return False
        self.last_dcm_sn = sn
        self._dcm = (header, indication)
        self._kpm_is_current = False
        self.next_boundary_slot = indication.next_boundary_slot
        self._keep_average(indication.ue_ids, indication.served_bits_U, header.slot)
        return True

    def on_kpm(self, sn: int | None, report: KpmReport) -> bool:
        """Take a KPM report; False = a duplicate or older than the newest, not taken."""
        if not is_newer(sn, self.last_kpm_sn):
            return False
        self.last_kpm_sn = sn
        self._kpm = report
        self._kpm_count += 1
        self._kpm_is_current = True
        if not self.has_dcm:
            served_bits_U = _measured(report, "DRB.UEThpUl") * self.report_period_ms  # kbit/s x ms = bits
            self._keep_average(
                tuple(int(ue) for ue in report.ue_keys), served_bits_U, self._kpm_count * self._slots_per_period
            )
        return True

    @property
    def period_complete(self) -> bool:
        """Everything that this cell reports has come for the newest period (a DCM indication opens one)."""
        if self.has_dcm:
            return self._dcm is not None and (self._kpm_is_current or not self.has_kpm)
        return self._kpm is not None

    def state(self) -> CellState | None:
        """The newest state; None before the first report."""
        if self._dcm is not None:
            return self._state_from_dcm(*self._dcm)
        return self._state_from_kpm(self._kpm) if self._kpm is not None and not self.has_dcm else None

    @property
    def _slots_per_period(self) -> int:
        return max(1, round(self.report_period_ms / SLOT_MS))

    def _state_from_dcm(self, header: IndicationHeader, indication: Indication) -> CellState:
        ue_ids = indication.ue_ids
        kpm = self._kpm_columns(ue_ids)
        return make_cell_state(
            self.cell,
            num_rbgs=self.num_rbgs,
            slots_per_dcm=max(1, indication.slots_per_report),
            slot=header.slot,
            ue_ids=ue_ids,
            traffic_class_U=indication.traffic_class_U,
            buffer_bits_U=indication.buffer_bits_U,
            inflight_bits_U=indication.inflight_bits_U,
            cqi_U=_first_known(indication.cqi_U, kpm["CQI"]),
            preferred_rbg_U=indication.preferred_rbg_U,
            head_delay_slots_U=indication.head_delay_slots_U,
            served_bits_per_slot_U=self._averages(ue_ids),
            prb_share_U=kpm["RRU.PrbTotUl"] / 100.0,
            deadline_slots_U=indication.deadline_slots_U,
            arrival_period_slots_U=indication.arrival_period_slots_U,
            arrival_phase_slots_U=indication.arrival_phase_slots_U,
            packet_bits_U=indication.packet_bits_U,
            age_slots_U=np.full(len(ue_ids), float(indication.report_delay_slots)),
        )

    def _state_from_kpm(self, report: KpmReport) -> CellState:
        order = np.argsort(np.asarray(report.ue_keys, dtype=np.int64), kind="stable")
        ue_ids = tuple(int(report.ue_keys[i]) for i in order)
        kpm = self._kpm_columns(ue_ids)
        return make_cell_state(
            self.cell,
            num_rbgs=self.num_rbgs,
            slots_per_dcm=self._slots_per_period,
            slot=self._kpm_count * self._slots_per_period,
            ue_ids=ue_ids,
            cqi_U=kpm["CQI"],
            head_delay_slots_U=kpm["DRB.AirIfDelayUl"] * 0.1 / SLOT_MS,  # reported in 0.1 ms
            served_bits_per_slot_U=self._averages(ue_ids),
            prb_share_U=kpm["RRU.PrbTotUl"] / 100.0,
            age_slots_U=np.zeros(len(ue_ids)),
        )

    def _keep_average(self, ue_ids: tuple[int, ...], served_bits_U: FloatU, slot: int) -> None:
        if self._last_slot is not None and slot < self._last_slot:
            self._served_average.clear()  # the node started over
            self._last_slot = None
        slots = 0 if self._last_slot is None else slot - self._last_slot
        average_U = np.array([self._served_average.get(ue, np.nan) for ue in ue_ids], dtype=np.float64)
        average_U = update_served_average(average_U, served_bits_U, slots)
        self._served_average = dict(zip(ue_ids, average_U.tolist(), strict=True))
        self._last_slot = slot

    def _averages(self, ue_ids: tuple[int, ...]) -> FloatU:
        return np.array([self._served_average.get(ue, np.nan) for ue in ue_ids], dtype=np.float64)

    def _kpm_columns(self, ue_ids: tuple[int, ...]) -> dict[str, FloatU]:
        """Measurements that decisions use, in the row order of `ue_ids`; NaN where not reported."""
        columns = {name: np.full(len(ue_ids), np.nan) for name in ("CQI", "RRU.PrbTotUl", "DRB.AirIfDelayUl")}
        if self._kpm is None:
            return columns
        row_of = {int(ue): row for row, ue in enumerate(self._kpm.ue_keys)}
        rows = np.array([row_of.get(ue, -1) for ue in ue_ids], dtype=np.int64)
        for name, column in columns.items():
            measured = _measured(self._kpm, name)
            if measured.size:
                column[rows >= 0] = measured[rows[rows >= 0]]
        return columns


def _measured(report: KpmReport, name: str) -> FloatU:
    if name not in report.names:
        return np.full(len(report.ue_keys), np.nan)
    return np.asarray(report.values[:, report.names.index(name)], dtype=np.float64)


def _first_known(a_U: FloatU, b_U: FloatU) -> FloatU:
    return np.where(np.isnan(a_U), b_U, a_U)

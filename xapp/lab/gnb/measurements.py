"""What the simulated node can measure; which of it a node reports is its observation profile (policy.observation).

Suffix: U = UEs of the report, ascending by id; N = measurements.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from policy.time_scales import SLOT_MS
from training.simulator.metrics import UeTable
from xapp.e2.dcm.messages import Carrier
from xapp.lab.gnb.mac import CellReport

FloatU = NDArray[np.float64]


class Totals(NamedTuple):
    """What happened to each UE over the slots of one report."""

    slots: int
    served_bits_U: FloatU
    delay_bit_slots_U: FloatU
    rbg_slots_U: FloatU
    dropped_bits_U: FloatU
    whole_U: NDArray[np.bool_]
    """The UE was there when the report began."""


def totals_since(table: UeTable, previous: UeTable | None, slots: int) -> Totals:
    """Differences by UE id; a UE that was not in `previous` came since, with its totals from zero."""
    columns = (table.served_bits_U, table.delay_bit_slots_U, table.rbg_slots_U, table.dropped_bits_U)
    if previous is None:
        served_U, delay_U, rbg_slots_U, dropped_U = (column.copy() for column in columns)
        return Totals(slots, served_U, delay_U, rbg_slots_U, dropped_U, np.ones(len(table.ue_ids), bool))
    row_of = {ue: row for row, ue in enumerate(previous.ue_ids)}
    before = np.array([row_of.get(ue, -1) for ue in table.ue_ids], np.int64)
    earlier = (previous.served_bits_U, previous.delay_bit_slots_U, previous.rbg_slots_U, previous.dropped_bits_U)
    # Row -1 is the zero appended for newcomers.
    served_U, delay_U, rbg_slots_U, dropped_U = (
        now - np.append(then, 0.0)[before] for now, then in zip(columns, earlier)
    )
    return Totals(slots, served_U, delay_U, rbg_slots_U, dropped_U, before >= 0)


class Measured(NamedTuple):
    """All that a measurement is computed from."""

    report: CellReport
    totals: Totals
    carrier: Carrier


def _throughput_kbps(m: Measured) -> FloatU:
    return m.totals.served_bits_U / (max(m.totals.slots, 1) * SLOT_MS)


def _used_share(m: Measured) -> FloatU:
    return m.totals.rbg_slots_U / (max(m.totals.slots, 1) * m.carrier.num_rbgs)


def _delay_tenths_ms(m: Measured) -> FloatU:
    served_U = m.totals.served_bits_U
    delay_U = np.divide(m.totals.delay_bit_slots_U, served_U, out=np.full(len(served_U), np.nan), where=served_U > 0)
    return delay_U * SLOT_MS * 10.0


def _every(m: Measured, value: float) -> FloatU:
    return np.full(len(m.report.table.ue_ids), value)


def _not_measured(m: Measured) -> FloatU:
    """The simulated cell has no downlink and no layer above RLC: listed by the profile, reported as noValue."""
    return _every(m, np.nan)


class RefreshedMeasurements:
    """One cell's measurements of a node that renews them more seldom than it reports: in between it repeats them."""

    def __init__(self, carrier: Carrier, refresh_slots: int) -> None:
        self._carrier, self._refresh_slots = carrier, refresh_slots
        self._measured: Measured | None = None
        self._slot = 0
        self.ue_ids: tuple[int, ...] = ()
        """The UEs that are there now."""

    def boundary(self, slot: int, report: CellReport) -> None:
        """A period boundary: renew what is due."""
        self.ue_ids = report.table.ue_ids
        if self._measured is None or slot - self._slot >= self._refresh_slots:
            before = self._measured.report.table if self._measured is not None else None
            totals = totals_since(report.table, before, slot - self._slot)
            self._measured, self._slot = Measured(report, totals, self._carrier), slot

    def values(self, names: Sequence[str]) -> NDArray[np.float64]:
        """[U, N], of `ue_ids`; of UEs that have come since, or while it was gathered, nothing is known."""
        values_UN = np.full((len(self.ue_ids), len(names)), np.nan)
        if self._measured is not None:
            row_of = {ue: row for row, ue in enumerate(self._measured.report.table.ue_ids)}
            known_UN = measure(self._measured, names, late_ues=False)
            for row, ue in enumerate(self.ue_ids):
                if ue in row_of:
                    values_UN[row] = known_UN[row_of[ue]]
        return values_UN


class Measurement(NamedTuple):
    compute: Callable[[Measured], FloatU]
    integer: bool
    """Reported as INTEGER, rounded; else as REAL."""


MEASUREMENTS: dict[str, Measurement] = {
    "DRB.UEThpUl": Measurement(_throughput_kbps, False),
    "DRB.UEThpDl": Measurement(_not_measured, False),
    "RRU.PrbUsedUl": Measurement(lambda m: _used_share(m) * m.carrier.bwp_size_prb, True),
    "RRU.PrbUsedDl": Measurement(_not_measured, True),
    "RRU.PrbAvailUl": Measurement(lambda m: _every(m, float(m.carrier.bwp_size_prb)), True),
    "RRU.PrbAvailDl": Measurement(_not_measured, True),
    "RRU.PrbTotUl": Measurement(lambda m: 100.0 * _used_share(m), True),
    "RRU.PrbTotDl": Measurement(_not_measured, True),
    "DRB.AirIfDelayUl": Measurement(_delay_tenths_ms, False),
    # Buffering in the UE is the only delay there is: the same as over the air.
    "DRB.RlcDelayUl": Measurement(_delay_tenths_ms, False),
    "DRB.RlcSduDelayDl": Measurement(_not_measured, False),
    "DRB.RlcSduTransmittedVolumeUL": Measurement(lambda m: m.totals.served_bits_U / 1000.0, True),
    "DRB.RlcSduTransmittedVolumeDL": Measurement(_not_measured, True),
    "DRB.RlcPacketDropRateDl": Measurement(_not_measured, True),
    "DRB.PdcpSduVolumeUL": Measurement(lambda m: m.totals.served_bits_U / 1000.0, True),
    "DRB.PdcpSduVolumeDL": Measurement(_not_measured, True),
    "CQI": Measurement(lambda m: m.report.state.cqi_U, True),
}


def measure(measured: Measured, names: Sequence[str], *, late_ues: bool = True) -> NDArray[np.float64]:
    """[U, N]; NaN = noValue; integer measurements are whole numbers.

    late_ues=False: as on deployed nodes nothing is known of a UE that came while the report was being gathered.
    """
    columns = []
    for name in names:
        measurement = MEASUREMENTS[name]
        column_U = measurement.compute(measured)
        columns.append(np.rint(column_U) if measurement.integer else column_U)
    values_UN = np.stack(columns, axis=1)
    if not late_ues:
        values_UN[~measured.totals.whole_U] = np.nan
    return values_UN

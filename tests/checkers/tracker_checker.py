"""A cell's tracker written UE by UE, to hold the real one against: it takes reports and says what they come to."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np

from policy.cell_state import (
    COLUMNS,
    LONG_DECAY_PER_SLOT,
    SERVED_DECAY_PER_SLOT,
    CellState,
    make_cell_state,
    update_cqi_mean,
    update_served_average,
)
from policy.observation import MEASUREMENTS
from policy.time_scales import SLOT_MS
from xapp.control.column_ranges import DCM_RANGES, KPM_RANGES, Range
from xapp.e2.dcm.messages import INDICATION_COLUMNS, Indication, IndicationHeader
from xapp.e2.kpm.report_reader import NO_UE, KpmReport
from xapp.e2.ue_id.ue_key import own_number

NAN = float("nan")


class Remembered(NamedTuple):
    average: float = NAN
    long_average: float = NAN
    cqi_mean: float = NAN
    since_slot: int | None = None


def believed(value: float, allowed: Range) -> float:
    return value if allowed.lowest <= value <= allowed.highest else NAN


def first_known(*values: float) -> float:
    return next((value for value in values if value == value), NAN)


class PlainTracker:
    """Reports are taken in the order in which they come: sequence numbers are the real one's business."""

    def __init__(self, cell: str, *, num_rbgs: int, report_period_ms: int, has_dcm: bool) -> None:
        self.cell, self.num_rbgs, self.has_dcm = cell, num_rbgs, has_dcm
        self.slots_per_period = max(1, round(report_period_ms / SLOT_MS))
        self.period_ms = report_period_ms
        self.memory: dict[int, Remembered] = {}
        self.slot: int | None = None
        self.kpm: dict[int, dict[str, float]] = {}
        self.kpm_is_current = False
        self.kpm_count = 0
        self.dcm: tuple[IndicationHeader, Indication] | None = None

    def on_dcm(self, header: IndicationHeader, indication: Indication) -> None:
        self.dcm = (header, indication)
        slots, served, cqi = indication.slots_per_report, {}, {}
        for row, ue in enumerate(indication.ue_ids):
            served[ue] = believed(float(indication.served_bits[row]), DCM_RANGES["served_bits"])
            cqi[ue] = believed(float(indication.cqi[row]), DCM_RANGES["cqi"])
            if self.kpm_is_current:
                served[ue] = first_known(served[ue], self.measured(ue, "DRB.UEThpUl") * SLOT_MS * slots)
                cqi[ue] = self.best_cqi(ue, float(indication.cqi[row]))
        self.kpm_is_current = False
        self.remember(served, cqi, header.slot, slots)

    def on_kpm(self, report: KpmReport, elsewhere: frozenset[int], measurements: int) -> None:
        """measurements: how many the real tracker has counted, with this report."""
        ues = [own_number(ue) if self.has_dcm and ue != NO_UE else ue for ue in report.ue_keys]
        counts = Counter(ues)
        self.kpm = {
            ue: dict(zip(report.names, values))
            for ue, values in zip(ues, report.values.tolist())
            if counts[ue] == 1 and ue != NO_UE and ue not in elsewhere
        }
        self.kpm_is_current = True
        self.kpm_count += 1
        if not self.has_dcm:
            served = {ue: self.measured(ue, "DRB.UEThpUl") * self.period_ms for ue in self.kpm}
            cqi = {ue: self.best_cqi(ue, NAN) for ue in self.kpm}
            self.remember(served, cqi, measurements * self.slots_per_period, self.slots_per_period)

    def measured(self, ue: int, name: str) -> float:
        return believed(self.kpm.get(ue, {}).get(name, NAN), KPM_RANGES[name])

    def best_cqi(self, ue: int, reported: float) -> float:
        return believed(first_known(reported, self.measured(ue, "CQI")), DCM_RANGES["cqi"])

    def remember(self, served: dict[int, float], cqi: dict[int, float], slot: int, per_report: int) -> None:
        if self.slot is not None and slot < self.slot:
            self.memory, self.slot = {}, None
        gone_by = 0 if self.slot is None else slot - self.slot
        slots, since = min(gone_by, per_report), 0 if self.slot is None else self.slot + 1
        old, self.memory, self.slot = self.memory, {}, slot
        for ue, bits in served.items():
            was, bits_U = old.get(ue, Remembered()), np.array([bits])
            self.memory[ue] = Remembered(
                update_served_average(np.array([was.average]), bits_U, slots, SERVED_DECAY_PER_SLOT)[0],
                update_served_average(np.array([was.long_average]), bits_U, slots, LONG_DECAY_PER_SLOT)[0],
                update_cqi_mean(np.array([was.cqi_mean]), np.array([cqi[ue]]), gone_by)[0],
                since if was.since_slot is None else was.since_slot,
            )

    def state(self) -> CellState | None:
        if self.dcm is None and (self.has_dcm or not self.kpm_count):
            return None
        indication = self.dcm[1] if self.dcm is not None else None
        ue_ids = indication.ue_ids if indication is not None else tuple(sorted(self.kpm))
        columns: dict[str, list[float]] = {name: [] for name in COLUMNS}
        for row, ue in enumerate(ue_ids):
            for name in COLUMNS:
                columns[name].append(self.column(name, ue, row))
        slots, slot = self.slots_per_period, self.kpm_count * self.slots_per_period
        if self.dcm is not None:
            slots, slot = self.dcm[1].slots_per_report, self.dcm[0].slot
        per_rbg = self.per_rbg(indication) if indication is not None else {}
        return make_cell_state(
            self.cell, num_rbgs=self.num_rbgs, slots_per_dcm=slots, slot=slot, ue_ids=ue_ids, **columns, **per_rbg
        )

    def column(self, name: str, ue: int, row: int) -> float:
        memory, plain = self.memory[ue], name.removesuffix("_U")
        kept = {
            "served_bits_per_slot": memory.average,
            "long_served_bits_per_slot": memory.long_average,
            "cqi_mean": memory.cqi_mean,
        }
        if plain in kept:
            return kept[plain]
        reported = NAN
        if self.dcm is not None and plain in INDICATION_COLUMNS:
            reported = float(getattr(self.dcm[1], plain)[row])
        if plain == "cqi":
            return self.best_cqi(ue, reported)
        if plain == "age_slots":
            assert memory.since_slot is not None
            if self.dcm is None:
                return 0.0
            return min(max(self.dcm[0].slot - memory.since_slot, 0), self.dcm[1].report_delay_slots)
        if plain == "preferred_rbg":
            return believed(reported, Range(0, self.num_rbgs - 1))
        if plain in DCM_RANGES:
            reported = believed(reported, DCM_RANGES[plain])
        filled = [self.measured(ue, m) / each.per for m, each in MEASUREMENTS.items() if each.column == name]
        return first_known(reported, *filled)

    def per_rbg(self, indication: Indication) -> dict[str, object]:
        shape = (len(indication.ue_ids), self.num_rbgs)
        found: dict[str, object] = {}
        for column, name, expected in (
            ("last_cqi_UM", "heard_cqi", shape),
            ("last_cqi_age_slots_UM", "heard_age_slots", shape),
            ("last_outcome_M", "last_outcome", shape[1:]),
        ):
            values = getattr(indication, name)
            if values.shape == expected:
                flat = [believed(value, DCM_RANGES[name]) for value in values.ravel().tolist()]
                found[column] = np.array(flat).reshape(expected)
        return found

"""DCM indications: what KPM cannot say about each UE, and which control the node obeys.

Suffixes: U = UEs in the order of `ue_ids`, M = RBGs, C = columns. On the wire a column is float32, what is said per RBG
is one octet each; what is nothing but NaN is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policy.cell_state import MAX_LAST_CQI_AGE, NUM_OUTCOMES, TrafficClass
from xapp.e2.asn1.errors import E2DecodeError, E2EncodeError
from xapp.e2.dcm import dcm_pb2
from xapp.e2.dcm.carrier import (
    MAX_CARRIER_RBGS,
    DcmColumnError,
    check_cell,
    decode_ue_ids,
    encodable_cell,
    encode_ue_ids,
    parse,
    serialise,
)
from xapp.e2.dcm.compiled_indication import CompiledIndications
from xapp.e2.dcm.flat_message import FlatMessage

FloatU = NDArray[np.float64]
FloatM = NDArray[np.float64]
FloatUM = NDArray[np.float64]

INDICATION_COLUMNS = (
    "traffic_class",
    "buffer_bits",
    "cqi",
    "preferred_rbg",
    "head_delay_slots",
    "served_bits",
    "inflight_bits",
    "ul_sinr_db",
    "power_headroom_db",
    "deadline_slots",
    "arrival_period_slots",
    "arrival_phase_slots",
    "packet_bits",
    "ucm",
    "buffer_bits_before",
    "slots_since_served",
    "lost_packets",
    "delivered_packets",
)
"""Per-UE float columns of an Indication, in the order of their field numbers."""
RBG_COLUMNS = ("heard_cqi", "heard_age_slots", "last_outcome")
"""Float columns of an Indication per RBG: [U, M], [U, M] and [M]."""

HEADER, INDICATION = FlatMessage(dcm_pb2.IndicationHeader), FlatMessage(dcm_pb2.Indication)

_SIGNED_C = np.array([name in ("ul_sinr_db", "power_headroom_db") for name in INDICATION_COLUMNS])
_MOST_C = np.full(len(INDICATION_COLUMNS), np.finfo(np.float64).max)
_LEAST_C = np.where(_SIGNED_C, -_MOST_C, 0.0)
_MOST_C[0] = max(TrafficClass)


@dataclass(frozen=True, slots=True)
class IndicationHeader:
    """Which cell an indication speaks of, and when it was observed."""

    cell: str
    slot: int
    """First slot not yet played."""
    time_ns: int
    """The node's wall clock, ns since 1970."""


@dataclass(frozen=True, slots=True)
class AppliedControl:
    """The control in force when an indication was sent, its bitmaps as `allocation_bitmaps` makes them."""

    instance_epoch: int
    decision_id: int
    rbg_bitmaps: bytes = b""
    open_bitmap: bytes = b""
    dynamic_bitmap: bytes = b""


def _unreported() -> FloatU:
    return np.zeros(0)


@dataclass(frozen=True, slots=True, eq=False)
class Indication:
    """One report of one cell. Columns are float64 [U], NaN = not known; one not given is all NaN."""

    ue_ids: tuple[int, ...]
    slots_per_report: int
    """K: slots until the next indication."""
    next_boundary_slot: int
    """Where a control with apply_from_slot = 0 takes effect when it arrives in time."""
    report_delay_slots: int
    """D: buffer, CQI and preferred RBG are this old."""
    applied: AppliedControl | None = None
    """None = the node's own scheduler."""
    traffic_class: FloatU = field(default_factory=_unreported)
    """A policy.cell_state.TrafficClass value."""
    buffer_bits: FloatU = field(default_factory=_unreported)
    cqi: FloatU = field(default_factory=_unreported)
    """Wideband, 0-15."""
    preferred_rbg: FloatU = field(default_factory=_unreported)
    head_delay_slots: FloatU = field(default_factory=_unreported)
    served_bits: FloatU = field(default_factory=_unreported)
    """Decoded since the last indication."""
    inflight_bits: FloatU = field(default_factory=_unreported)
    """Decoded since the buffer report."""
    ul_sinr_db: FloatU = field(default_factory=_unreported)
    """Mean over RBGs at full power."""
    power_headroom_db: FloatU = field(default_factory=_unreported)
    deadline_slots: FloatU = field(default_factory=_unreported)
    arrival_period_slots: FloatU = field(default_factory=_unreported)
    """TSCAI periodicity."""
    arrival_phase_slots: FloatU = field(default_factory=_unreported)
    """TSCAI burst arrival time, slot % period."""
    packet_bits: FloatU = field(default_factory=_unreported)
    """TSCAI burst size."""
    ucm: FloatU = field(default_factory=_unreported)
    """Learned UCM token, where the follower speaks one."""
    buffer_bits_before: FloatU = field(default_factory=_unreported)
    """Buffer status one slot before `buffer_bits`."""
    slots_since_served: FloatU = field(default_factory=_unreported)
    """Slots since anything of the UE was decoded."""
    lost_packets: FloatU = field(default_factory=_unreported)
    """Dropped since the last indication: too old, or without room."""
    delivered_packets: FloatU = field(default_factory=_unreported)
    """Decoded since the last indication."""
    heard_cqi: FloatUM = field(default_factory=_unreported)
    """[U, M]; CQI 1-15 at full power, from the UE's last decoded transmission on the RBG; [U, 0] = not reported."""
    heard_age_slots: FloatUM = field(default_factory=_unreported)
    """[U, M]; slots since then, 1-12."""
    last_outcome: FloatM = field(default_factory=_unreported)
    """[M]; what became of the RBG in the last slot, as in policy.cell_state; [0] = not reported."""

    def __post_init__(self) -> None:
        count = len(self.ue_ids)
        if self.heard_cqi.shape != self.heard_age_slots.shape:
            raise ValueError(f"heard_cqi is {self.heard_cqi.shape}, heard_age_slots {self.heard_age_slots.shape}")
        for name in ("heard_cqi", "heard_age_slots"):
            if not getattr(self, name).size:
                object.__setattr__(self, name, np.zeros((count, 0)))
            elif getattr(self, name).shape[:-1] != (count,):
                raise ValueError(f"{name} has shape {getattr(self, name).shape}, expected ({count}, RBGs)")
        for name in INDICATION_COLUMNS:
            if getattr(self, name).shape != (count,):
                if getattr(self, name).size:
                    raise ValueError(f"{name} has shape {getattr(self, name).shape}, expected ({count},)")
                object.__setattr__(self, name, np.full(count, np.nan))


_ROW_OF = {name: row for row, name in enumerate(INDICATION_COLUMNS)}


class _TableIndication(Indication):
    """One that was read: its columns are rows of a table, looked up when they are asked for."""

    __slots__ = ("columns_CU",)
    columns_CU: FloatUM

    def __getattr__(self, name: str) -> FloatU:
        row = _ROW_OF.get(name)
        if row is None:
            raise AttributeError(name)
        column_U: FloatU = self.columns_CU[row]
        return column_U


def columns_of(indication: Indication) -> FloatUM:
    """[C, U], in the order of INDICATION_COLUMNS; not to be changed."""
    columns_CU: FloatUM | None = getattr(indication, "columns_CU", None)
    if columns_CU is None:
        columns_CU = np.array([getattr(indication, name) for name in INDICATION_COLUMNS])
    return columns_CU


_compiled: CompiledIndications | None = None


def compiled_indications(run: Callable[..., int]) -> CompiledIndications:
    """run: xapp.e2.dcm.indication_walk.walk_indication, compiled."""
    return CompiledIndications(run, INDICATION_COLUMNS, _LEAST_C, _MOST_C)


def use_compiled_indications(reader: CompiledIndications | None) -> None:
    """None = indications are read by Python alone."""
    global _compiled
    _compiled = reader


def encode_indication_header(header: IndicationHeader) -> bytes:
    """Raises E2EncodeError."""
    return serialise(
        dcm_pb2.IndicationHeader, cell=encodable_cell(header.cell), slot=header.slot, time_ns=header.time_ns
    )


def decode_indication_header(data: bytes) -> IndicationHeader:
    """Raises E2DecodeError."""
    message = HEADER.read(data) or parse(dcm_pb2.IndicationHeader.FromString, data, "DCM indication header")
    return IndicationHeader(check_cell(message.cell, "DCM indication header"), message.slot, message.time_ns)


def encode_indication(indication: Indication) -> bytes:
    """Raises E2EncodeError for an infinite value, an unknown class, UE ids that are not ascending."""
    # Float32 holds every whole number of bits up to 2^24 exactly and larger ones to 6e-8: plenty for a schedule.
    with np.errstate(over="ignore"):
        columns_CU = np.array([getattr(indication, name) for name in INDICATION_COLUMNS]).astype("<f4")
    if problem := _column_problem(columns_CU.astype(np.float64)):
        raise E2EncodeError(problem)
    if indication.slots_per_report < 1:
        raise E2EncodeError(f"slots_per_report is {indication.slots_per_report}, expected at least 1")
    fields: dict[str, Any] = {}
    reported_C = ~np.isnan(columns_CU).all(axis=1)
    for name, column_U, reported in zip(INDICATION_COLUMNS, columns_CU, reported_C.tolist()):
        if reported:
            fields[name] = column_U.tobytes()
    fields["heard"] = _encode_heard(indication)
    fields["last_outcome"] = _encode_outcomes(indication.last_outcome)
    if applied := indication.applied:
        fields |= {
            "applied_epoch": applied.instance_epoch,
            "applied_decision_id": applied.decision_id,
            "applied_rbg_bitmaps": applied.rbg_bitmaps,
            "applied_open_bitmap": applied.open_bitmap,
            "applied_dynamic_bitmap": applied.dynamic_bitmap,
        }
    return serialise(
        dcm_pb2.Indication,
        slots_per_report=indication.slots_per_report,
        next_boundary_slot=indication.next_boundary_slot,
        report_delay_slots=indication.report_delay_slots,
        ue_ids=encode_ue_ids(indication.ue_ids),
        **fields,
    )


def decode_indication(data: bytes) -> Indication:
    """Raises E2DecodeError, DcmColumnError for columns of the wrong length."""
    path = "DCM indication"
    message, columns_CU = (_compiled.read(data) if _compiled is not None else None) or _columns_by_numpy(data, path)
    ue_ids = decode_ue_ids(message.ue_ids, path)
    if message.slots_per_report < 1:
        raise E2DecodeError("slots_per_report is 0, expected at least 1", path=path)
    heard_cqi, heard_age_slots = _decode_heard(message.heard, len(ue_ids), f"{path}.heard")
    indication = _TableIndication.__new__(_TableIndication)
    for name, value in (
        ("ue_ids", ue_ids),
        ("slots_per_report", message.slots_per_report),
        ("next_boundary_slot", message.next_boundary_slot),
        ("report_delay_slots", message.report_delay_slots),
        ("applied", _applied(message, path)),
        ("heard_cqi", heard_cqi),
        ("heard_age_slots", heard_age_slots),
        ("last_outcome", _decode_outcomes(message.last_outcome, f"{path}.last_outcome")),
        ("columns_CU", columns_CU),
    ):
        object.__setattr__(indication, name, value)
    return indication


def _columns_by_numpy(data: bytes, path: str) -> tuple[Any, FloatUM]:
    """An indication's fields, and its columns [C, U]. Raises as `decode_indication`."""
    message = INDICATION.read(data) or parse(dcm_pb2.Indication.FromString, data, path)
    count = len(decode_ue_ids(message.ue_ids, path))
    octets = 4 * count
    unreported = b"\x00\x00\xc0\x7f" * count
    columns = []
    for name in INDICATION_COLUMNS:
        column = getattr(message, name)
        if len(column) != octets:
            if column:
                raise DcmColumnError(f"{len(column)} octets, expected {octets}", path=f"{path}.{name}")
            column = unreported
        columns.append(column)
    columns_CU = np.frombuffer(b"".join(columns), "<f4").reshape(len(columns), count).astype(np.float64)
    if problem := _column_problem(columns_CU):
        raise E2DecodeError(problem, path=path)
    return message, columns_CU


def _column_problem(columns_CU: FloatU) -> str:
    """What is wrong with the values, "" = nothing: an infinity, a negative count, a class nobody knows."""
    # NaN compares false with everything: not known is fine anywhere.
    classes_U = columns_CU[0]
    wrong_CU = (columns_CU < _LEAST_C[:, None]) | (columns_CU > _MOST_C[:, None])
    # TrafficClass counts from 0 without gaps.
    wrong_CU[0] |= classes_U % 1 > 0
    if not wrong_CU.any():
        return ""
    column, row = (int(i) for i in np.argwhere(wrong_CU)[0])
    expected = "a TrafficClass" if column == 0 else "a finite number" if _SIGNED_C[column] else "a finite number >= 0"
    return f"{INDICATION_COLUMNS[column]}[{row}] is {columns_CU[column, row]:g}, expected {expected}"


_AGE = 16
"""In an octet of `heard`: 16 x age + CQI."""


def _encode_heard(indication: Indication) -> bytes:
    cqi_UM, age_UM = indication.heard_cqi, indication.heard_age_slots
    known_UM = ~(np.isnan(cqi_UM) & np.isnan(age_UM))
    if not known_UM.any():
        return b""
    for name, values_UM, highest in (("heard_cqi", cqi_UM, 15), ("heard_age_slots", age_UM, MAX_LAST_CQI_AGE)):
        values = values_UM[known_UM]
        if not np.isin(values, np.arange(1, highest + 1)).all():
            raise E2EncodeError(f"{name} holds other values than 1 to {highest}, or a CQI without an age")
    return np.where(known_UM, np.nan_to_num(age_UM * _AGE + cqi_UM), 0.0).astype(np.uint8).tobytes()


def _decode_heard(octets: bytes, ues: int, path: str) -> tuple[FloatUM, FloatUM]:
    """CQI and age, NaN where not known; [U, 0] for nothing."""
    if not octets:
        return np.zeros((ues, 0)), np.zeros((ues, 0))
    if not ues or len(octets) % ues or len(octets) > ues * MAX_CARRIER_RBGS:
        raise DcmColumnError(f"{len(octets)} octets for {ues} UEs, expected one for each UE and RBG", path=path)
    channel_history_UM = np.frombuffer(octets, np.uint8).reshape(ues, -1)
    age_UM, cqi_UM = np.divmod(channel_history_UM.astype(np.float64), _AGE)
    known_UM = channel_history_UM > 0
    if (known_UM & ((age_UM < 1) | (age_UM > MAX_LAST_CQI_AGE) | (cqi_UM < 1))).any():
        raise E2DecodeError(f"an age that is not 1 to {MAX_LAST_CQI_AGE}, or a CQI that is not 1 to 15", path=path)
    return np.where(known_UM, cqi_UM, np.nan), np.where(known_UM, age_UM, np.nan)


def _encode_outcomes(outcome_M: FloatM) -> bytes:
    known_M = ~np.isnan(outcome_M)
    if not known_M.any():
        return b""
    if not np.isin(outcome_M[known_M], np.arange(NUM_OUTCOMES)).all():
        raise E2EncodeError(f"last_outcome holds other values than 0 to {NUM_OUTCOMES - 1}")
    return np.where(known_M, np.nan_to_num(outcome_M) + 1.0, 0.0).astype(np.uint8).tobytes()


def _decode_outcomes(octets: bytes, path: str) -> FloatM:
    if not octets:
        return _unreported()
    if len(octets) > MAX_CARRIER_RBGS:
        raise DcmColumnError(f"{len(octets)} octets, expected at most {MAX_CARRIER_RBGS}", path=path)
    outcome_M = np.frombuffer(octets, np.uint8).astype(np.float64) - 1.0
    if (outcome_M >= NUM_OUTCOMES).any():
        raise E2DecodeError(f"an outcome above {NUM_OUTCOMES}", path=path)
    return np.where(outcome_M >= 0, outcome_M, np.nan)


def _applied(message: Any, path: str) -> AppliedControl | None:
    if not message.applied_epoch and not message.applied_decision_id:
        return None
    applied = AppliedControl(
        message.applied_epoch,
        message.applied_decision_id,
        message.applied_rbg_bitmaps,
        message.applied_open_bitmap,
        message.applied_dynamic_bitmap,
    )
    octets = len(applied.open_bitmap)
    if octets > MAX_CARRIER_RBGS // 8 or len(applied.dynamic_bitmap) != octets:
        raise DcmColumnError(
            "applied_open_bitmap and applied_dynamic_bitmap differ in length or are too long", path=path
        )
    if len(applied.rbg_bitmaps) % octets if octets else applied.rbg_bitmaps:
        raise DcmColumnError("applied_rbg_bitmaps do not fit applied_open_bitmap", path=path)
    return applied

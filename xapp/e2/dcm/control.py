"""DCM controls: an Allocation and its lease on the wire, and the node's answer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from policy.allocation import DYNAMIC, IDLE, OPEN, Allocation, LeftoverRule, PeriodicGrant, all_dynamic
from policy.cell_state import ALL_CLASSES
from xapp.e2.asn1.errors import E2DecodeError, E2EncodeError
from xapp.e2.dcm import dcm_pb2
from xapp.e2.dcm.carrier import (
    Carrier,
    DcmColumnError,
    check_cell,
    decode_column,
    decode_ue_ids,
    encodable_cell,
    encode_ue_ids,
    pack_bits,
    parse,
    serialise,
    unpack_bits,
)
from xapp.e2.dcm.flat_message import FlatMessage

CONTROL = FlatMessage(dcm_pb2.Control)
MAX_GRANT_SLOTS = 0xFFFF
"""Longest period of a periodic grant."""


@dataclass(frozen=True, slots=True)
class ControlHeader:
    """Which cell a control is for."""

    cell: str


class OutcomeCode(IntEnum):
    """How a node answers a control; see dcm.proto."""

    OK = dcm_pb2.OUTCOME_OK
    STALE_DECISION = dcm_pb2.OUTCOME_STALE_DECISION
    STALE_EPOCH = dcm_pb2.OUTCOME_STALE_EPOCH
    UNKNOWN_UE = dcm_pb2.OUTCOME_UNKNOWN_UE
    UNKNOWN_CELL = dcm_pb2.OUTCOME_UNKNOWN_CELL
    BAD_CARRIER = dcm_pb2.OUTCOME_BAD_CARRIER
    BAD_BITMAP = dcm_pb2.OUTCOME_BAD_BITMAP
    MALFORMED = dcm_pb2.OUTCOME_MALFORMED


@dataclass(frozen=True, slots=True)
class Outcome:
    """The node's answer, in RICcontrolAcknowledge (OK) or RICcontrolFailure."""

    code: OutcomeCode
    detail: str = ""
    decision_id: int = 0
    apply_from_slot: int = 0
    """OK only: where it takes effect."""


@dataclass(frozen=True, slots=True, eq=False)
class Control:
    """One decoded control."""

    instance_epoch: int
    decision_id: int
    based_on_indication_sn: int
    carrier: Carrier
    apply_from_slot: int
    """0 = next period boundary."""
    valid_for_slots: int
    """The lease."""
    release: bool
    """Give the cell back to the node's own scheduler now; `allocation` is then all DYNAMIC and means nothing."""
    allocation: Allocation
    """Exactly what was given to `encode_control`."""


class Bitmaps(NamedTuple):
    """An allocation's RBGs as a control and an indication's applied_* fields carry them."""

    rbg_bitmaps: bytes
    open_bitmap: bytes
    dynamic_bitmap: bytes


def allocation_bitmaps(allocation: Allocation) -> Bitmaps:
    """Per UE ceil(M/8) octets, RBG 0 = most significant bit; then those of OPEN and DYNAMIC."""
    # One comparison for all: rows 0..U-1 are the UEs, then OPEN, then DYNAMIC.
    owners = np.arange(len(allocation.ue_ids) + 2)
    owners[-2:] = OPEN, DYNAMIC
    octets = -(-allocation.num_rbgs // 8)
    packed = pack_bits(allocation.owner_M == owners[:, None])
    return Bitmaps(packed[: -2 * octets], packed[-2 * octets : -octets], packed[-octets:])


def encode_control(
    allocation: Allocation,
    *,
    instance_epoch: int,
    decision_id: int,
    based_on_indication_sn: int,
    carrier: Carrier,
    apply_from_slot: int = 0,
    valid_for_slots: int,
) -> bytes:
    """A control's bytes. Raises E2EncodeError for an allocation that does not fit the carrier or itself."""
    _check_allocation(allocation, carrier)
    if valid_for_slots < 1:
        raise E2EncodeError(f"valid_for_slots is {valid_for_slots}, expected at least 1")
    bitmaps = allocation_bitmaps(allocation)
    grants: dict[str, bytes] = {}
    if allocation.periodic_grants:
        ues, rbgs, periods, phases = zip(*allocation.periodic_grants)
        grants = {
            "grant_ue_ids": np.array([allocation.ue_ids[ue] for ue in ues], "<u4").tobytes(),
            "grant_rbgs": bytes(rbgs),
            "grant_period_slots": np.array(periods, "<u2").tobytes(),
            "grant_phase_slots": np.array(phases, "<u2").tobytes(),
        }
    return CONTROL.write(
        instance_epoch=instance_epoch,
        decision_id=decision_id,
        based_on_indication_sn=based_on_indication_sn,
        carrier=carrier.to_octets(),
        apply_from_slot=apply_from_slot,
        valid_for_slots=valid_for_slots,
        ue_ids=encode_ue_ids(allocation.ue_ids),
        rbg_bitmaps=bitmaps.rbg_bitmaps,
        open_allowed=pack_bits(allocation.open_allowed_U),
        max_rbgs=allocation.max_rbgs_U.tobytes(),
        open_bitmap=bitmaps.open_bitmap,
        dynamic_bitmap=bitmaps.dynamic_bitmap,
        leftover_class_mask=allocation.leftover.class_mask,
        leftover_contenders=allocation.leftover.contenders,
        **grants,
    )


def encode_release(
    *, instance_epoch: int, decision_id: int, carrier: Carrier, based_on_indication_sn: int = 0
) -> bytes:
    """A control that gives the cell back to the node's own scheduler at once. Raises E2EncodeError."""
    return serialise(
        dcm_pb2.Control,
        instance_epoch=instance_epoch,
        decision_id=decision_id,
        based_on_indication_sn=based_on_indication_sn,
        carrier=carrier.to_message(),
        release=True,
    )


def decode_control(data: bytes) -> Control:
    """Raises E2DecodeError; of its kind DcmColumnError when a column or bitmap contradicts the rest."""
    path = "DCM control"
    message = parse(dcm_pb2.Control.FromString, data, path)
    carrier = Carrier.from_message(message.carrier, f"{path}.carrier")
    if message.release:
        allocation = all_dynamic((), carrier.num_rbgs)
    else:
        allocation = _allocation(message, carrier.num_rbgs, path)
        if message.valid_for_slots < 1:
            raise E2DecodeError("valid_for_slots is 0, expected at least 1", path=path)
    return Control(
        message.instance_epoch,
        message.decision_id,
        message.based_on_indication_sn,
        carrier,
        message.apply_from_slot,
        message.valid_for_slots,
        message.release,
        allocation,
    )


@lru_cache(maxsize=256)
def encode_control_header(header: ControlHeader) -> bytes:
    """Raises E2EncodeError."""
    return serialise(dcm_pb2.ControlHeader, cell=encodable_cell(header.cell))


def decode_control_header(data: bytes) -> ControlHeader:
    """Raises E2DecodeError."""
    path = "DCM control header"
    return ControlHeader(check_cell(parse(dcm_pb2.ControlHeader.FromString, data, path).cell, path))


def encode_outcome(outcome: Outcome) -> bytes:
    """Raises E2EncodeError."""
    return serialise(
        dcm_pb2.Outcome,
        code=int(outcome.code),
        detail=outcome.detail,
        decision_id=outcome.decision_id,
        apply_from_slot=outcome.apply_from_slot,
    )


def decode_outcome(data: bytes) -> Outcome:
    """Raises E2DecodeError, also for a code that nobody knows."""
    message = parse(dcm_pb2.Outcome.FromString, data, "DCM outcome")
    try:
        code = OutcomeCode(message.code)
    except ValueError:
        raise E2DecodeError(f"{message.code} is no OutcomeCode", path="DCM outcome.code") from None
    return Outcome(code, message.detail, message.decision_id, message.apply_from_slot)


# -- an allocation and its columns ------------------------------------------------------------------------------------


def _check_allocation(allocation: Allocation, carrier: Carrier) -> None:
    count, num_rbgs = len(allocation.ue_ids), allocation.num_rbgs
    if num_rbgs != carrier.num_rbgs:
        raise E2EncodeError(f"the allocation has {num_rbgs} RBGs, expected the carrier's {carrier.num_rbgs}")
    owners = allocation.owner_M.tolist()  # a few: quicker than numpy
    if min(owners) < IDLE or max(owners) >= count:
        raise E2EncodeError(f"owner_M is {allocation.owner_M.tolist()}, expected {IDLE} to {count - 1}")
    if allocation.open_allowed_U.shape != (count,) or allocation.max_rbgs_U.shape != (count,):
        raise E2EncodeError(f"open_allowed_U and max_rbgs_U must have {count} entries")
    if allocation.max_rbgs_U.dtype != np.uint8 or allocation.open_allowed_U.dtype != np.bool_:
        raise E2EncodeError("open_allowed_U must be bool and max_rbgs_U uint8")
    if problem := _rule_problem(allocation.leftover):
        raise E2EncodeError(problem)
    for grant in allocation.periodic_grants:
        if not 0 <= grant.ue < count or (problem := _grant_problem(grant, num_rbgs)):
            raise E2EncodeError(problem if 0 <= grant.ue < count else f"{grant}: no UE in row {grant.ue}")


def _rule_problem(rule: LeftoverRule) -> str:
    if not 0 <= rule.class_mask <= ALL_CLASSES:
        return f"leftover class mask is {rule.class_mask}, expected 0 to {ALL_CLASSES}"
    if not 0.0 <= rule.contenders < float("inf"):
        return f"leftover contenders is {rule.contenders}, expected a finite number >= 0"
    return ""


def _grant_problem(grant: PeriodicGrant, num_rbgs: int) -> str:
    if not 0 <= grant.rbg < num_rbgs:
        return f"{grant}: expected an RBG 0 to {num_rbgs - 1}"
    if not (1 <= grant.period_slots <= MAX_GRANT_SLOTS and 0 <= grant.phase_slots < grant.period_slots):
        return f"{grant}: expected a period 1 to {MAX_GRANT_SLOTS} and a phase below it"
    return ""


def _allocation(message: Any, num_rbgs: int, path: str) -> Allocation:
    ue_ids = decode_ue_ids(message.ue_ids, path)
    count = len(ue_ids)
    rule = LeftoverRule(message.leftover_class_mask, message.leftover_contenders)
    if problem := _rule_problem(rule):
        raise E2DecodeError(problem, path=path)
    return Allocation(
        ue_ids,
        _owners(message, count, num_rbgs, path),
        rule,
        _grants(message, ue_ids, num_rbgs, path),
        unpack_bits(message.open_allowed, 1, count, f"{path}.open_allowed")[0],
        decode_column(message.max_rbgs, "u1", count, f"{path}.max_rbgs"),
    )


def _owners(message: Any, count: int, num_rbgs: int, path: str) -> NDArray[np.int16]:
    """owner_M out of all bitmaps; an RBG in two of them is a DcmColumnError, one in none is IDLE."""
    octets = -(-num_rbgs // 8)
    for name, rows in (("rbg_bitmaps", count), ("open_bitmap", 1), ("dynamic_bitmap", 1)):
        if len(getattr(message, name)) != rows * octets:
            wrong = len(getattr(message, name))
            raise DcmColumnError(f"{wrong} octets, expected {rows * octets}", path=f"{path}.{name}")
    together = message.rbg_bitmaps + message.open_bitmap + message.dynamic_bitmap
    holders = unpack_bits(together, count + 2, num_rbgs, f"{path}.rbg_bitmaps")
    taken_M = holders.sum(axis=0)
    if (taken_M > 1).any():
        raise DcmColumnError(f"RBG {int(np.argmax(taken_M > 1))} is given twice", path=path)
    owner_M = holders.argmax(axis=0).astype(np.int16)
    owner_M[owner_M == count] = OPEN
    owner_M[owner_M == count + 1] = DYNAMIC
    owner_M[taken_M == 0] = IDLE
    return owner_M


def _grants(message: Any, ue_ids: tuple[int, ...], num_rbgs: int, path: str) -> tuple[PeriodicGrant, ...]:
    grant_ids = message.grant_ue_ids
    if not grant_ids and not message.grant_rbgs and not message.grant_period_slots and not message.grant_phase_slots:
        return ()
    count = len(message.grant_rbgs)
    columns = (
        decode_column(grant_ids, "<u4", count, f"{path}.grant_ue_ids"),
        decode_column(message.grant_period_slots, "<u2", count, f"{path}.grant_period_slots"),
        decode_column(message.grant_phase_slots, "<u2", count, f"{path}.grant_phase_slots"),
    )
    row_of = {ue: row for row, ue in enumerate(ue_ids)}
    grants = []
    for ue, rbg, period, phase in zip(columns[0].tolist(), message.grant_rbgs, *(c.tolist() for c in columns[1:])):
        if ue not in row_of:
            raise E2DecodeError(f"a grant to UE {ue}, which is not in ue_ids", path=f"{path}.grant_ue_ids")
        grant = PeriodicGrant(row_of[ue], rbg, period, phase)
        if problem := _grant_problem(grant, num_rbgs):
            raise E2DecodeError(problem, path=path)
        grants.append(grant)
    return tuple(grants)

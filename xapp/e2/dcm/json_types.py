"""DCM messages for people: bytes to a JSON value that can be edited, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from policy.allocation import DYNAMIC, IDLE, NO_CAP, OPEN, Allocation, LeftoverRule, PeriodicGrant
from xapp.e2.asn1.errors import E2EncodeError
from xapp.e2.dcm.messages import (
    INDICATION_COLUMNS,
    RBG_COLUMNS,
    AppliedControl,
    Carrier,
    Indication,
    decode_control,
    decode_indication,
    encode_control,
    encode_indication,
    encode_release,
)

Tree = dict[str, Any]
T = TypeVar("T")

_OWNERS = {OPEN: "OPEN", DYNAMIC: "DYNAMIC", IDLE: "IDLE"}
_OWNER_NAMES = {name: owner for owner, name in _OWNERS.items()}


def control_to_json(data: bytes) -> Tree:
    """Raises E2DecodeError. `owners`: one entry an RBG, a UE id or OPEN, DYNAMIC, IDLE."""
    control = decode_control(data)
    carrier = control.carrier
    tree: Tree = {
        "instance_epoch": control.instance_epoch,
        "decision_id": control.decision_id,
        "based_on_indication_sn": control.based_on_indication_sn,
        "carrier": {name: getattr(carrier, name) for name in Carrier.__slots__},
        "release": control.release,
    }
    if control.release:
        return tree
    allocation = control.allocation
    caps = allocation.max_rbgs_U.tolist()
    return tree | {
        "apply_from_slot": control.apply_from_slot,
        "valid_for_slots": control.valid_for_slots,
        "owners": [_OWNERS[o] if o < 0 else allocation.ue_ids[o] for o in allocation.owner_M.tolist()],
        "leftover": allocation.leftover._asdict(),
        "ues": [
            {"id": ue, "open_allowed": allowed, "max_rbgs": None if cap == NO_CAP else cap}
            for ue, allowed, cap in zip(allocation.ue_ids, allocation.open_allowed_U.tolist(), caps)
        ],
        "periodic_grants": [
            grant._asdict() | {"ue": allocation.ue_ids[grant.ue]} for grant in allocation.periodic_grants
        ],
    }


def control_from_json(tree: Tree) -> bytes:
    """Raises E2EncodeError, naming the key that is missing or wrong."""
    carrier_tree = _get(tree, "carrier", dict)
    carrier = Carrier(
        _get(carrier_tree, "cell", str), *(_get(carrier_tree, name, int) for name in Carrier.__slots__[1:])
    )
    epoch, decision = _get(tree, "instance_epoch", int), _get(tree, "decision_id", int)
    based_on = _get(tree, "based_on_indication_sn", int)
    if _get(tree, "release", bool):
        return encode_release(
            instance_epoch=epoch, decision_id=decision, carrier=carrier, based_on_indication_sn=based_on
        )
    return encode_control(
        _allocation(tree),
        instance_epoch=epoch,
        decision_id=decision,
        based_on_indication_sn=based_on,
        carrier=carrier,
        apply_from_slot=_get(tree, "apply_from_slot", int),
        valid_for_slots=_get(tree, "valid_for_slots", int),
    )


def _allocation(tree: Tree) -> Allocation:
    ues = _list(tree, "ues", dict)
    ue_ids = tuple(_get(ue, "id", int) for ue in ues)
    row_of = {ue: row for row, ue in enumerate(ue_ids)}

    def row(ue: int, key: str) -> int:
        if ue not in row_of:
            raise E2EncodeError(f"{key}: UE {ue} is not in ues")
        return row_of[ue]

    owners = []
    for owner in _list(tree, "owners", (int, str)):
        if isinstance(owner, str) and owner not in _OWNER_NAMES:
            raise E2EncodeError(f"owners: {owner!r}, expected a UE id or one of {', '.join(_OWNER_NAMES)}")
        owners.append(_OWNER_NAMES[owner] if isinstance(owner, str) else row(owner, "owners"))
    caps = [_get(ue, "max_rbgs", (int, type(None))) for ue in ues]
    for cap in caps:
        if cap is not None and not 0 <= cap < NO_CAP:
            raise E2EncodeError(f"max_rbgs: {cap}, expected 0 to {NO_CAP - 1} or null")
    leftover = _get(tree, "leftover", dict)
    grants = []
    for grant in _list(tree, "periodic_grants", dict):
        rbg, period, phase = (_get(grant, key, int) for key in ("rbg", "period_slots", "phase_slots"))
        grants.append(PeriodicGrant(row(_get(grant, "ue", int), "periodic_grants"), rbg, period, phase))
    return Allocation(
        ue_ids,
        np.array(owners, np.int16),
        LeftoverRule(_get(leftover, "class_mask", int), float(_get(leftover, "contenders", (int, float)))),
        tuple(grants),
        np.array([_get(ue, "open_allowed", bool) for ue in ues], np.bool_),
        np.array([NO_CAP if cap is None else cap for cap in caps], np.uint8),
    )


def indication_to_json(data: bytes) -> Tree:
    """Raises E2DecodeError. `columns` has only what was reported; null in a column = not known.

    `rbgs` has what was reported per RBG (`last_outcome`), and per UE and RBG (the others, one row a UE).
    """
    indication = decode_indication(data)
    columns = {name: getattr(indication, name) for name in INDICATION_COLUMNS}
    applied = indication.applied
    return {
        "slots_per_report": indication.slots_per_report,
        "next_boundary_slot": indication.next_boundary_slot,
        "report_delay_slots": indication.report_delay_slots,
        "applied": None
        if applied is None
        else {
            "instance_epoch": applied.instance_epoch,
            "decision_id": applied.decision_id,
            "rbg_bitmaps": applied.rbg_bitmaps.hex(),
            "open_bitmap": applied.open_bitmap.hex(),
            "dynamic_bitmap": applied.dynamic_bitmap.hex(),
        },
        "ue_ids": list(indication.ue_ids),
        "columns": {
            name: [_short(value) for value in column.tolist()]
            for name, column in columns.items()
            if not np.isnan(column).all()
        },
        "rbgs": {
            name: _shortened(getattr(indication, name).tolist())
            for name in RBG_COLUMNS
            if getattr(indication, name).size
        },
    }


def indication_from_json(tree: Tree) -> bytes:
    """Raises E2EncodeError, naming the key that is missing or wrong."""
    ue_ids = tuple(_list(tree, "ue_ids", int))
    columns = {}
    for name in _get(tree, "columns", dict):
        if name not in INDICATION_COLUMNS:
            raise E2EncodeError(f"columns: no column {name!r}, expected some of {', '.join(INDICATION_COLUMNS)}")
        values = _list(tree["columns"], name, (int, float, type(None)))
        if len(values) != len(ue_ids):
            raise E2EncodeError(f"{name}: {len(values)} values, expected {len(ue_ids)}, one for each of ue_ids")
        columns[name] = np.array([np.nan if value is None else value for value in values], np.float64)
    for name, values in _get(tree, "rbgs", dict).items():
        columns[name] = _rbg_column(name, values, len(ue_ids))
    heard = [columns[name].shape if name in columns else () for name in ("heard_cqi", "heard_age_slots")]
    if heard[0] != heard[1]:
        raise E2EncodeError("rbgs: heard_cqi and heard_age_slots differ in size")
    applied = _get(tree, "applied", (dict, type(None)))
    return encode_indication(
        Indication(
            ue_ids,
            _get(tree, "slots_per_report", int),
            _get(tree, "next_boundary_slot", int),
            _get(tree, "report_delay_slots", int),
            None
            if applied is None
            else AppliedControl(
                _get(applied, "instance_epoch", int),
                _get(applied, "decision_id", int),
                *(_hex(applied, key) for key in ("rbg_bitmaps", "open_bitmap", "dynamic_bitmap")),
            ),
            **columns,
        )
    )


def _shortened(values: Any) -> Any:
    return [_shortened(value) for value in values] if isinstance(values, list) else _short(values)


def _rbg_column(name: str, values: Any, ues: int) -> NDArray[np.float64]:
    """[M], or [U, M] of what has a row for each UE."""
    if name not in RBG_COLUMNS:
        raise E2EncodeError(f"rbgs: no column {name!r}, expected some of {', '.join(RBG_COLUMNS)}")
    one_row = name == "last_outcome"
    rows = [_checked(row, name, list) for row in ([values] if one_row else _checked(values, name, list))]
    numbers = [[_checked(value, name, (int, float, type(None))) for value in row] for row in rows]
    if len(rows) != (1 if one_row else ues) or len({len(row) for row in rows}) > 1:
        raise E2EncodeError(f"{name}: expected one row for each of ue_ids, one value for each RBG")
    column = np.array([[np.nan if value is None else value for value in row] for row in numbers], np.float64)
    return column[0] if one_row else column


def _short(value: float) -> float | int | None:
    """The shortest number that is this float32."""
    if np.isnan(value):
        return None
    short = float(str(np.float32(value)))
    return int(short) if short.is_integer() and abs(short) < 2**53 else short


def _get(tree: Tree, key: str, kind: type[T] | tuple[type, ...]) -> T | Any:
    """tree[key], which must be there and of this kind (a bool is no int)."""
    if key not in tree:
        raise E2EncodeError(f"{key} is missing")
    return _checked(tree[key], key, kind)


def _list(tree: Tree, key: str, kind: type[T] | tuple[type, ...]) -> list[Any]:
    return [_checked(item, key, kind) for item in _get(tree, key, list)]


def _checked(value: Any, key: str, kind: type[T] | tuple[type, ...]) -> Any:
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        expected = " or ".join("null" if k is type(None) else k.__name__ for k in kinds)
        raise E2EncodeError(f"{key}: {repr(value)[:60]}, expected {expected}")
    return value


def _hex(tree: Tree, key: str) -> bytes:
    try:
        return bytes.fromhex(_get(tree, key, str))
    except ValueError:
        raise E2EncodeError(f"{key}: {tree[key]!r}, expected hexadecimal digits") from None


DCM_TYPES: dict[str, tuple[Callable[[bytes], Tree], Callable[[Tree], bytes]]] = {
    "dcm-control": (control_to_json, control_from_json),
    "dcm-indication": (indication_to_json, indication_from_json),
}

"""The simulated node's E2SM-RC function: PRB quotas per UE (style 2, action 6), obeyed as deployed nodes do.

A success is acknowledged without an outcome, a refusal names a cause and no outcome either. A node has one function for
all its cells and an RC control names none: what tells its UEs apart is the F1AP id, of which the cell is a part here.
"""

from __future__ import annotations

from typing import NamedTuple

from xapp.e2.asn1.errors import E2DecodeError
from xapp.e2.dialect import Dialect
from xapp.e2.e2ap import hot_messages as e2ap
from xapp.e2.e2ap import procedures
from xapp.e2.rc import messages as rc
from xapp.e2.rc.prb_quota import PARAMETER_NAMES
from xapp.lab.gnb.behaviour import BEHAVIOURS, Behaviour
from xapp.lab.gnb.mac import Mac
from xapp.quotas.allocation_to_quota import Quota

RC_FUNCTION_ID = 3
RC_OID = rc.RC_OIDS[0]
UE_BITS = 20
"""F1AP id = the cell's row, and in the lower bits the UE's id in its cell: in a node's first cell the same."""
CONTROL_INVALID = e2ap.Cause("ricRequest", "control-message-invalid")
CONTROL_FAILED = e2ap.Cause("ricRequest", "control-failed-to-execute")
ACTION_UNSUPPORTED = e2ap.Cause("ricRequest", "action-not-supported")


class Refused(NamedTuple):
    """Why a control is not obeyed."""

    cause: e2ap.Cause
    name: str
    """For counters."""
    reason: str


def f1ap_id(row: int, ue: int) -> int:
    """The id of a UE that is `ue` in the cell of this row."""
    return row << UE_BITS | ue


def ue_of(f1ap_id: int) -> tuple[int, int]:
    """Row of the cell, and the UE's id there."""
    return f1ap_id >> UE_BITS, f1ap_id & (1 << UE_BITS) - 1


def function_item() -> procedures.RanFunctionItem:
    """What the node says of it in E2 setup."""
    parameters = tuple(rc.Parameter(number, name) for number, name in PARAMETER_NAMES.items())
    action = rc.ControlAction(rc.SLICE_PRB_QUOTA.action, "Slice-level PRB quota", parameters)
    style = rc.ControlStyle(
        rc.SLICE_PRB_QUOTA.style, "Radio Resource Allocation Control", (action,), call_process_id_format=1
    )
    function = rc.RanFunction("ORAN-E2SM-RC", RC_OID, "RAN Control", control_styles=(style,))
    return procedures.RanFunctionItem(RC_FUNCTION_ID, rc.encode_ran_function(function), 1, RC_OID)


def obey(
    mac: Mac,
    request: e2ap.ControlRequest,
    dialect: Dialect = Dialect.STANDARD,
    behaviour: Behaviour = BEHAVIOURS[""],
) -> Refused | None:
    """Hold a UE to its quota; None = done."""
    try:
        header = rc.decode_control_header(request.header, dialect)
        if (header.style, header.action) != rc.SLICE_PRB_QUOTA:
            return Refused(ACTION_UNSUPPORTED, "action", f"control style {header.style}, action {header.action}")
        (quota, *others) = rc.decode_prb_quotas(request.message, dialect)
    except (E2DecodeError, ValueError) as error:
        return Refused(CONTROL_INVALID, "malformed", str(error))
    if others:
        return Refused(CONTROL_INVALID, "malformed", f"{1 + len(others)} quotas for one UE")
    number = behaviour.number_of(header.ue_id)
    if number is None:
        expected = "a gNB-DU-UEID" if behaviour.ue_ids == "du" else "a gNB-UEID"
        return Refused(CONTROL_INVALID, "ue_id", f"{type(header.ue_id).__name__}, {expected} expected")
    if quota.min_percent > quota.max_percent:
        return Refused(CONTROL_INVALID, "malformed", f"min {quota.min_percent} above max {quota.max_percent} percent")
    row, ue = ue_of(number)
    if not mac.limit(row, ue, Quota(quota.min_percent, quota.max_percent, quota.dedicated_percent)):
        return Refused(CONTROL_FAILED, "unknown_ue", f"no UE with id {number}")
    return None

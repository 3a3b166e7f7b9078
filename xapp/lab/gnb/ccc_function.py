"""The simulated node's CCC function: O-RRMPolicyRatio of its slices, obeyed by its MAC, answered as OCUDU answers.

As there, the resource type is read and means nothing below (the lab's cells have an uplink only), a dedicated ratio
cannot change, and no answer names the control that it answers.
"""

from __future__ import annotations

from typing import NamedTuple

from xapp.e2.asn1.errors import E2DecodeError
from xapp.e2.ccc import messages as ccc
from xapp.e2.e2ap import hot_messages as e2ap
from xapp.e2.e2ap import procedures
from xapp.lab.gnb.mac import Mac
from xapp.lab.gnb.rc_function import ACTION_UNSUPPORTED, CONTROL_FAILED, CONTROL_INVALID, Refused
from xapp.lab.gnb.slice_table import SLICE_SSTS

CCC_FUNCTION_ID = 4
PLMN = "00101"


class Answer(NamedTuple):
    """What a control is answered."""

    outcome: bytes
    refused: Refused | None = None


def function_item(mac: Mac) -> procedures.RanFunctionItem:
    """What the node says of it in E2 setup."""
    cells = tuple(carrier.cell for carrier in mac.carriers)
    function = ccc.RanFunction(ccc.CCC_NAME, ccc.CCC_OIDS[0], "Cell Configuration and Control", cells)
    return procedures.RanFunctionItem(CCC_FUNCTION_ID, ccc.encode_ran_function(function), 1, ccc.CCC_OIDS[0])


def obey(mac: Mac, request: e2ap.ControlRequest, time_text: str) -> Answer:
    """Hold slices to their ratios: all that the control names, or none. time_text: for the outcome's time stamps."""
    try:
        style = ccc.decode_control_header(request.header)
        if style != ccc.STYLE:
            return Answer(b"", Refused(ACTION_UNSUPPORTED, "action", f"control style {style}, expected {ccc.STYLE}"))
        changes = ccc.decode_control(request.message)
    except E2DecodeError as error:
        return Answer(b"", Refused(CONTROL_INVALID, "malformed", str(error)))
    rows = [_rows(mac, change) for change in changes]
    wrong = next((found for found in rows if isinstance(found, Refused)), None)
    outcomes = []
    for change, found in zip(changes, rows):
        before = change.new if isinstance(found, Refused) else _in_force(mac, change, found[0])
        if wrong is None and not isinstance(found, Refused):
            for cell, row in found:
                mac.limit_slice(cell, row, change.new.ratios)
        is_taken = wrong is None
        cause = "" if wrong is None else wrong.reason
        current = change.new if is_taken else before
        known = None if isinstance(found, Refused) else before
        outcomes.append(ccc.StructureOutcome(change.cell, is_taken, known, current if known else None, cause))
    return Answer(ccc.encode_outcome(outcomes, time_text), wrong)


def _rows(mac: Mac, change: ccc.Change) -> list[tuple[int, int]] | Refused:
    """Cell and slice of each member."""
    cell = mac.row_of(change.cell)
    if cell is None:
        return Refused(CONTROL_FAILED, "unknown_cell", f"no cell {change.cell}")
    ratios, found = change.new.ratios, []
    if ratios.min_percent > ratios.max_percent:
        reason = f"min {ratios.min_percent} above max {ratios.max_percent} percent"
        return Refused(CONTROL_INVALID, "malformed", reason)
    for member in change.new.members:
        if member.plmn != PLMN or member.sd or member.sst not in SLICE_SSTS:
            return Refused(CONTROL_FAILED, "unknown_slice", f"no slice {member.sst} {member.sd} of {member.plmn}")
        row = SLICE_SSTS.index(member.sst)
        dedicated = mac.slices[cell].ratios[row].dedicated_percent
        if ratios.dedicated_percent != dedicated:
            reason = f"dedicated {ratios.dedicated_percent} percent, and {dedicated} cannot change"
            return Refused(CONTROL_FAILED, "dedicated_ratio", reason)
        found.append((cell, row))
    return found


def _in_force(mac: Mac, change: ccc.Change, place: tuple[int, int]) -> ccc.PolicyRatio:
    return change.new._replace(ratios=mac.slices[place[0]].ratios[place[1]])

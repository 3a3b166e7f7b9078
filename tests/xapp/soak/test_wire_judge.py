"""The judge of a soak finds by bytes what it is there for, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from policy.allocation import DYNAMIC, Allocation, LeftoverRule, PeriodicGrant
from xapp.e2.dcm import messages as dcm
from xapp.e2.dcm.control import encode_release
from xapp.e2.e2ap import hot_messages as e2ap
from xapp.e2.rc import messages as rc
from xapp.e2.ue_id.ue_id import GnbDuUeId
from xapp.soak.wire_judge import WireJudge

CELL = "00f110000000011"
CARRIER = dcm.Carrier.of(CELL, bwp_size_prb=40, rbg_size_prb=4)
REQUEST = e2ap.RicRequestId(1, 2)


def control(allocation: Allocation, *, based_on: int = 1) -> bytes:
    message = dcm.encode_control(
        allocation, instance_epoch=1, decision_id=1, based_on_indication_sn=based_on, carrier=CARRIER, valid_for_slots=2
    )
    return e2ap.encode_control_request(e2ap.ControlRequest(REQUEST, dcm.DCM_FUNCTION_ID, b"", message))


def report(sn: int) -> bytes:
    kind = e2ap.IndicationType.REPORT
    return e2ap.encode_indication(e2ap.Indication(REQUEST, dcm.DCM_FUNCTION_ID, 0, kind, b"", b"", sn=sn))


def quota(percent: int) -> bytes:
    made = rc.encode_prb_quota_control(GnbDuUeId(3), rc.PrbQuota(bytes.fromhex("00f110"), 1, None, 0, percent, 100))
    return e2ap.encode_control_request(e2ap.ControlRequest(REQUEST, 3, made.header, made.message))


def capped(owners: list[int], *, most: int = 4, **changes: object) -> Allocation:
    """Two UEs that may not contend and hold 4 RBGs of 10 at most."""
    fields: dict[str, object] = {
        "open_allowed_U": np.zeros(2, bool), "max_rbgs_U": np.full(2, most, np.uint8), **changes
    }  # fmt: skip
    return Allocation((3, 9), np.array(owners, np.int16), LeftoverRule(0, 1.0), **fields)  # type: ignore[arg-type]


LEGAL = [0, 0, 0, 0, 1, 1, 1, 1, DYNAMIC, DYNAMIC]
FIVE = [0, 0, 0, 0, 0, 1, 1, 1, 1, DYNAMIC]


@pytest.mark.parametrize(
    ("pdu", "found"),
    [
        (control(capped(LEGAL)), {}),
        (control(capped(FIVE)), {"over_cap": 1}),
        (control(capped(LEGAL, periodic_grants=(PeriodicGrant(1, 8, 10, 0),))), {"over_cap": 1}),
        (control(capped(LEGAL, periodic_grants=(PeriodicGrant(1, 7, 10, 0),))), {}),
        (control(capped(LEGAL, open_allowed_U=np.array([False, True]))), {"capped_ue_may_contend": 1}),
        (control(capped(LEGAL, most=5)), {"dynamic_over_cap": 2}),
        (quota(40), {}),
        (quota(41), {"over_cap": 1}),
        (quota(100), {}),
        (b"\x00\x04rubbish", {"unreadable": 1}),
    ],
)
def test_what_breaks_a_cap_is_a_violation_once_the_cap_holds(pdu: bytes, found: dict[str, int]) -> None:
    judge = WireJudge(40.0)
    judge.see(False, pdu)
    assert judge.violations.keys() - {"unreadable"} == set() or not +judge.violations
    judge.violations.clear()
    judge.cap_holds = True
    judge.see(False, pdu)
    assert dict(+judge.violations) == found


def test_a_release_breaks_nothing() -> None:
    judge = WireJudge(40.0)
    judge.cap_holds = True
    message = encode_release(instance_epoch=1, decision_id=2, carrier=CARRIER)
    judge.see(False, e2ap.encode_control_request(e2ap.ControlRequest(REQUEST, dcm.DCM_FUNCTION_ID, b"", message)))
    assert not +judge.violations and judge.controls == 1


def test_a_control_that_follows_an_older_report_is_a_violation_but_not_one_after_a_forged_report() -> None:
    judge = WireJudge(40.0)
    for sn in (7, 8, 9):
        judge.see(True, report(sn))
    for based_on, found in ((8, 0), (9, 0), (20_009, 0), (9, 0), (8, 1)):
        judge.see(False, control(capped(LEGAL), based_on=based_on))
        assert judge.violations.total() == found, based_on


def test_acknowledgements_of_nodes_are_counted() -> None:
    judge = WireJudge(40.0)
    judge.see(True, e2ap.encode_control_acknowledge(e2ap.ControlAcknowledge(REQUEST, 3)))
    judge.see(True, report(1))
    assert judge.acks == 1

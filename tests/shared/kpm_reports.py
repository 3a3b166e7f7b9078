"""Measurement reports written by hand, in the composed types: of single UEs, and under conditions."""

from __future__ import annotations

from xapp.e2.kpm.json_types import KPM_TYPES
from xapp.e2.ue_id.ue_id import Guami

MESSAGE = KPM_TYPES["kpm-indication-message"]
NAMES = ("DRB.UEThpUl", "RRU.PrbUsedUl", "CQI")
GUAMI = Guami(b"\x00\xf1\x10", 128, 4, 1)


def f3(*ue_reports):
    """Format 3: a report of several UEs."""
    return MESSAGE.encode(
        {"indicationMessage-formats": {"indicationMessage-Format3": {"ueMeasReportList": list(ue_reports)}}}
    )


def info_list(*names):
    return [{"measType": {"measName": name}, "labelInfoList": [{"measLabel": {"noLabel": "true"}}]} for name in names]


def ue_report(f1ap_id, *values, **more):
    record = [{"noValue": None} if value is None else {"integer": value} for value in values]
    report = {"measData": [{"measRecord": record}]} | more
    return {"ueID": {"gNB-DU-UEID": {"gNB-CU-UE-F1AP-ID": f1ap_id}}, "measReport": report}

"""A simulated gNB of today: KPM reports of each UE, PRB quotas by E2SM-RC, no buffer status, over real sockets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from policy.allocation import NO_CAP
from policy.observation import PROFILES
from training.simulator.scenario import make_scenario
from xapp.e2.dcm import messages as dcm
from xapp.e2.dialect import Dialect
from xapp.e2.e2ap import hot_messages as e2ap
from xapp.e2.kpm import messages as kpm
from xapp.e2.kpm.report_reader import KpmReport, decode_report
from xapp.e2.rc import messages as rc
from xapp.e2.ue_id.ue_id import GnbDuUeId, GnbUeId, Guami, UeId
from xapp.lab.gnb.mac import Mac
from xapp.lab.gnb.quota_table import QuotaTable
from xapp.lab.gnb.ran_functions import make_carriers
from xapp.lab.gnb.rc_function import RC_FUNCTION_ID, RC_OID, f1ap_id, ue_of
from xapp.quotas.allocation_to_quota import RELEASED, Quota
from xapp.rmr.transport import RIC_CONTROL_REQUEST, RmrMessage

PERIOD_MS = 40
PLMN = bytes.fromhex("00f110")
NAMES = ("DRB.UEThpUl", "RRU.PrbUsedUl", "RRU.PrbTotUl")
PATIENCE_REPORTS = 200


class Today:
    """A gNB with RC and a KPM subscription on its first cell."""

    def __init__(self, lab: Any, **options: Any) -> None:
        self.dialect = options.get("dialect", Dialect.STANDARD)
        defaults = {"scenario": "ric100", "k": PERIOD_MS, "ues": 4, "period_ms": PERIOD_MS}
        self.lab = lab
        self.gnb = lab.gnb(control="rc", observe="kpm_srsran", **{**defaults, **options})
        subscription = lab.xapp.subscribe_kpm(self.gnb, NAMES, period_ms=PERIOD_MS, dialect=self.dialect)
        self.instance = subscription["E2EventInstanceId"]

    def report(self) -> KpmReport:
        return decode_report(self.lab.xapp.indication(self.instance).message, (), self.dialect)

    def quota(self, ue_id: UeId, percent: int, **changes: Any) -> e2ap.Cause | None:
        """Sends a quota; None = acknowledged, and without an outcome."""
        quota = rc.PrbQuota(PLMN, 1, None, **{"min_percent": 0, "max_percent": percent, **changes})
        return self.control(*rc.encode_prb_quota_control(ue_id, quota, self.dialect))

    def control(self, header: bytes, message: bytes, function_id: int = RC_FUNCTION_ID) -> e2ap.Cause | None:
        xapp = self.lab.xapp
        call = next(xapp._calls).to_bytes(4, "big")
        request = e2ap.ControlRequest(
            e2ap.RicRequestId(123, self.instance), function_id, header, message, call, e2ap.AckRequest.ACK
        )
        assert xapp.rmr.send(RmrMessage(RIC_CONTROL_REQUEST, e2ap.encode_control_request(request), meid=self.gnb.name))
        while (message_in := xapp.rmr.receive(10.0)) is not None:
            if message_in.mtype == 12041:
                acknowledge = e2ap.decode_control_acknowledge(message_in.payload)
                if acknowledge.call_process_id == call:
                    assert acknowledge.outcome is None
                    return None
            elif message_in.mtype == 12042:
                failure = e2ap.decode_control_failure(message_in.payload)
                if failure.call_process_id == call:
                    assert failure.outcome is None
                    return failure.cause
        raise AssertionError("no answer")


@pytest.fixture
def today(lab: Any) -> Today:
    return Today(lab)


def test_a_node_may_speak_the_other_dialect(lab: Any) -> None:
    flexric = Today(lab, dialect=Dialect.FLEXRIC)
    assert flexric.instance
    report = flexric.report()
    assert report.names == NAMES and report.ue_keys
    assert flexric.quota(GnbDuUeId(report.ue_keys[0]), 50) is None
    standard_header, message = rc.encode_prb_quota_control(
        GnbDuUeId(report.ue_keys[0]), rc.PrbQuota(PLMN, 1, None, 0, 9)
    )
    assert flexric.control(standard_header, message) is not None  # read as another message, or as none
    standard_action = lab.xapp.subscribe_kpm(flexric.gnb, NAMES, period_ms=PERIOD_MS)
    assert standard_action["E2EventInstanceId"] == 0
    assert standard_action["ErrorCause"] == "ricRequest: action-not-supported"


def test_it_offers_kpm_and_rc_and_no_dcm(lab: Any, today: Today) -> None:
    node = lab.xapp.e2mgr.get(f"/nodeb/{today.gnb.name}").json()
    functions = {function["ranFunctionOid"]: function for function in node["gnb"]["ranFunctions"]}
    assert functions.keys() == {"1.3.6.1.4.1.53148.1.2.2.2", RC_OID}
    described = rc.decode_ran_function(bytes.fromhex(functions[RC_OID]["ranFunctionDefinition"]))
    assert described.offers(rc.SLICE_PRB_QUOTA)
    styles = kpm.decode_ran_function(
        bytes.fromhex(functions["1.3.6.1.4.1.53148.1.2.2.2"]["ranFunctionDefinition"])
    ).report_styles
    assert {style.measurements for style in styles} == {PROFILES["kpm_srsran"].measurements}
    refused = lab.xapp.post(
        today.gnb.name,
        dcm.DCM_FUNCTION_ID,
        dcm.encode_event_trigger(dcm.EventTrigger(PERIOD_MS)),
        dcm.encode_action_definition(dcm.ActionDefinition(today.gnb.cells[0])),
    )
    assert refused.status_code == 201
    (instance,) = lab.xapp.notifications.get(timeout=30)["SubscriptionInstances"]
    assert instance["ErrorCause"] == "ricRequest: ran-function-id-invalid"
    assert today.control(b"", b"", dcm.DCM_FUNCTION_ID) == e2ap.Cause("ricRequest", "ran-function-id-invalid")


@pytest.mark.parametrize("name", ["kpm_srsran", "kpm_oai"])
def test_what_the_profile_does_not_offer_cannot_be_had(lab: Any, name: str) -> None:
    gnb = lab.gnb(control="rc", observe=name, scenario="ric100", k=PERIOD_MS, period_ms=PERIOD_MS)
    for wanted in sorted({m for profile in PROFILES.values() for m in profile.measurements}):
        instance = lab.xapp.subscribe_kpm(gnb, (wanted,), period_ms=PERIOD_MS)
        assert bool(instance["E2EventInstanceId"]) == (wanted in PROFILES[name].measurements), wanted


def test_a_ue_is_on_no_more_prbs_than_its_quota_says(today: Today) -> None:
    report = today.report()
    busiest = np.argmax(report.values[:, 1])
    ue_id = report.ue_id(int(busiest))
    assert report.values[busiest, 1] > 8
    assert today.quota(ue_id, 12) is None
    today.report()  # began before the quota
    most_prb = 12 * 68 // 100
    for _ in range(5):
        report = today.report()
        used_prb = report.values[report.ue_keys.index(ue_id.f1ap_id), 1]
        assert used_prb <= most_prb
    assert today.quota(ue_id, 100) is None
    later = (today.report() for _ in range(PATIENCE_REPORTS))  # it may have little to send for a while
    assert any(report.values[report.ue_keys.index(ue_id.f1ap_id), 1] > most_prb for report in later)
    final = today.gnb.stop()
    assert final["transmissions_outside_grant"] == 0
    assert final["ue_reports_under_quota"] >= 5
    assert final["ue_reports_over_quota"] == 0
    assert final["ues_limited"] == 0
    assert final["controls_applied"] == final["controls_accepted"] == 2


def test_what_cannot_be_obeyed_is_refused_by_cause(today: Today) -> None:
    invalid = e2ap.Cause("ricRequest", "control-message-invalid")
    failed = e2ap.Cause("ricRequest", "control-failed-to-execute")
    assert today.quota(GnbDuUeId(99), 50) == failed
    assert today.quota(GnbDuUeId(f1ap_id(7, 1)), 50) == failed
    assert today.quota(GnbUeId(1, Guami(PLMN, 1, 1, 1)), 50) == invalid
    assert today.quota(GnbDuUeId(1), 20, min_percent=30) == invalid
    header, message = rc.encode_prb_quota_control(GnbDuUeId(1), rc.PrbQuota(PLMN, 1, None, 0, 50))
    assert today.control(header, b"\xff") == invalid
    assert today.control(b"\xff", message) == invalid
    other = rc.encode_control_header(rc.ControlHeader(GnbDuUeId(1), 2, 7))
    assert today.control(other, message) == e2ap.Cause("ricRequest", "action-not-supported")
    two = rc.encode_prb_quotas([rc.PrbQuota(PLMN, 1, None, 0, 50)] * 2)
    assert today.control(header, two) == invalid
    status = today.gnb.stop()
    assert sum(status["controls_failed"].values()) == 8
    assert (status["controls_applied"], status["ues_limited"]) == (0, 0)


def test_cells_of_a_node_share_one_function_and_keep_their_ues_apart(lab: Any) -> None:
    assert ue_of(f1ap_id(3, 12_345)) == (3, 12_345)
    assert f1ap_id(0, 7) == 7
    today = Today(lab, cells=2)
    assert today.quota(GnbDuUeId(f1ap_id(1, 2)), 30) is None
    tables = today.gnb.gnb.mac.quotas
    assert [table.limited() for table in tables] == [{}, {2: Quota(0, 30)}]


def test_of_a_ue_that_came_late_nothing_is_known(lab: Any) -> None:
    today = Today(lab, scenario="lab_paper", k=PERIOD_MS, ues=8)
    seen, late = set(today.report().ue_keys), 0
    for _ in range(60):
        report = today.report()
        for row, ue in enumerate(report.ue_keys):
            assert np.isnan(report.values[row]).all() == (ue not in seen)
            late += ue not in seen
        seen |= set(report.ue_keys)
        if late >= 3:
            return
    raise AssertionError("nobody came")


# -- the MAC without sockets ------------------------------------------------------------------------------------------


def test_limits_round_down_to_whole_rbgs() -> None:
    table = QuotaTable(make_carriers(1, 1, 17)[0])  # 68 PRBs in RBGs of 4
    for ue, percent in ((1, 34), (2, 5), (3, 6), (4, 0), (5, 100)):
        table.set(ue, Quota(0, percent), 0)
    allocation = table.allocation((1, 2, 3, 4, 5, 6), 2.4)
    assert allocation is not None
    assert allocation.max_rbgs_U.tolist() == [5, 0, 1, 0, NO_CAP, NO_CAP]
    assert [table.most_prb(Quota(0, percent)) for percent in (34, 5, 6)] == [23, 3, 4]


def make_mac() -> Mac:
    scenario = make_scenario("ric100").with_(slots_per_dcm=20)
    return Mac(scenario, make_carriers(1, 1, scenario.num_rbgs), 4, 1, "best_response")


def test_a_quota_stays_until_it_is_taken_back() -> None:
    mac, free = make_mac(), make_mac()
    assert not mac.limit(0, 77, Quota(0, 10))
    assert mac.limit(0, 1, Quota(0, 10))
    for _ in range(400):
        mac.play(5)
        free.play(5)
    held, unheld = (m.batch.ue_table(0).rbg_slots_U[0] for m in (mac, free))
    assert held < unheld
    assert held <= 1 * mac.slot
    assert mac.quotas[0].most_prb_since(1, 0) == 6
    assert mac.limit(0, 1, RELEASED)
    assert mac.quotas[0].most_prb_since(1, mac.slot) is None
    assert mac.quotas[0].allocation((1, 2), 1.0) is None
    assert mac.metrics()[0].transmissions_outside_grant == 0


def test_a_quota_that_limits_nobody_changes_nothing() -> None:
    mac, free = make_mac(), make_mac()
    assert mac.limit(0, 1, Quota(0, 99))  # 67 of 68 PRBs: 16 of 17 RBGs
    assert mac.limit(0, 1, RELEASED)
    for _ in range(100):
        mac.play(5)
        free.play(5)
    np.testing.assert_equal(mac.metrics(), free.metrics())


def test_quotas_leave_with_their_ue() -> None:
    table = QuotaTable(make_carriers(1, 1, 17)[0])
    table.set(1, Quota(0, 10), 0)
    table.keep((1, 2))
    assert table.quota(1) == Quota(0, 10)
    table.keep((2,))
    assert table.quota(1) == RELEASED

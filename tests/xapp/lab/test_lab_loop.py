"""RIC and gNB over sockets: setup, subscriptions, indications, controls, leases, loss."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policy.allocation import DYNAMIC, Allocation, LeftoverRule
from xapp.e2.dcm import messages as dcm
from xapp.e2.dcm.messages import OutcomeCode
from xapp.e2.e2ap import hot_messages as e2ap
from xapp.e2.kpm import messages as kpm
from xapp.e2.kpm.report_reader import decode_report
from xapp.lab.e2_link.e2_transport import E2Association, E2Server
from xapp.rmr.transport import RIC_CONTROL_REQUEST, RmrMessage

CONTROL_INVALID = e2ap.Cause("ricRequest", "control-message-invalid")
CONTROL_FAILED = e2ap.Cause("ricRequest", "control-failed-to-execute")


def encode(gnb: Any, allocation: Allocation, decision_id: int, **changes: Any) -> bytes:
    """A control for the gNB's first cell."""
    fields = {"instance_epoch": 1, "based_on_indication_sn": 0, "valid_for_slots": 2, **changes}
    return dcm.encode_control(allocation, decision_id=decision_id, **{"carrier": gnb.gnb.mac.carriers[0], **fields})


class Loop:
    """A gNB with a DCM subscription, and the state of its last report."""

    def __init__(self, lab: Any, **options: Any) -> None:
        self.lab, self.gnb = lab, lab.gnb(**options)
        self.instance = lab.xapp.subscribe_dcm(self.gnb)["E2EventInstanceId"]
        self.refresh()

    def refresh(self) -> None:
        self.sn, self.header, self.report = self.lab.xapp.dcm_report(self.instance)

    def idle(self) -> Allocation:
        return self.lab.all_idle(self.report.ue_ids, self.gnb.gnb.scenario.num_rbgs)

    def send(self, message: bytes, **options: Any) -> tuple[e2ap.Cause | None, dcm.Outcome | None]:
        call = self.lab.xapp.control(self.gnb, message, instance=self.instance, **options)
        return self.lab.xapp.answer(call)


@pytest.fixture
def loop(lab: Any) -> Loop:
    return Loop(lab)


# -- setup and subscriptions ------------------------------------------------------------------------------------------


def test_a_node_that_sets_up_is_in_the_rnib_with_its_functions(lab: Any) -> None:
    gnb = lab.gnb(cells=2)
    lab.wait_until(lambda: lab.ric.inventory.get(gnb.name) is not None)
    states = {state["inventoryName"]: state for state in lab.xapp.e2mgr.get("/nodeb/states").json()}
    assert states[gnb.name]["connectionStatus"] == "CONNECTED"
    assert states[gnb.name]["globalNbId"]["plmnId"] == "00F110"
    node = lab.xapp.e2mgr.get(f"/nodeb/{gnb.name}").json()
    functions = {function["ranFunctionOid"]: function for function in node["gnb"]["ranFunctions"]}
    described = dcm.decode_ran_function(bytes.fromhex(functions[dcm.DCM_OID]["ranFunctionDefinition"]))
    assert [carrier.cell for carrier in described.cells] == gnb.cells
    styles = kpm.decode_ran_function(
        bytes.fromhex(functions["1.3.6.1.4.1.53148.1.2.2.2"]["ranFunctionDefinition"])
    ).report_styles
    assert [(style.style, style.action_format) for style in styles] == [(number, number) for number in range(1, 6)]
    assert "CQI" in styles[3].measurements
    assert lab.xapp.e2mgr.get("/nodeb/gnb_nobody").status_code == 404


def test_a_period_brings_its_dcm_indication_then_its_kpm_report(lab: Any) -> None:
    gnb = lab.gnb()
    dcm_id = lab.xapp.subscribe_dcm(gnb)["E2EventInstanceId"]
    names = ("DRB.UEThpUl", "CQI")
    kpm_id = lab.xapp.subscribe_kpm(gnb, names)["E2EventInstanceId"]
    lab.xapp.drain()
    first = lab.xapp.receive(12050)
    while first.sub_id != dcm_id:
        first = lab.xapp.receive(12050)
    assert first.meid == gnb.name
    second = lab.xapp.receive(12050)
    assert second.sub_id == kpm_id
    header = dcm.decode_indication_header(e2ap.decode_indication(first.payload).header)
    indication = dcm.decode_indication(e2ap.decode_indication(first.payload).message)
    report = decode_report(e2ap.decode_indication(second.payload).message)
    assert report.names == names
    assert tuple(report.ue_keys) == indication.ue_ids
    np.testing.assert_array_equal(report.values[:, 1], indication.cqi)
    assert header.slot == indication.next_boundary_slot
    assert indication.slots_per_report == 1
    assert indication.applied is None
    later = lab.xapp.dcm_report(dcm_id)
    assert later[0] == e2ap.decode_indication(first.payload).sn + 1
    assert later[1].slot == header.slot + 1


def test_at_the_rics_pace_an_answer_governs_the_period_after_the_one_that_runs(lab: Any) -> None:
    loop = Loop(lab, scenario="ric20", k=20, ues=4)
    for decision_id in range(1, 100):
        assert loop.report.next_boundary_slot == loop.header.slot + 20
        _, outcome = loop.send(encode(loop.gnb, loop.idle(), decision_id, valid_for_slots=40))
        if outcome.apply_from_slot == loop.report.next_boundary_slot:
            return
        # On a busy machine the answer comes when that period has begun, and has to wait for the next one.
        late = outcome.apply_from_slot - loop.report.next_boundary_slot
        assert late > 0 and late % 20 == 0
        loop.lab.xapp.drain()
        loop.refresh()
    raise AssertionError("no answer of a hundred was in time")


@pytest.mark.parametrize(
    ("wrong", "cause"),
    [
        ({"names": ("DRB.UEThpUl", "DRB.Nonsense")}, "requested-information-unavailable"),
        ({"cell": "00f1100000000ff"}, "invalid-information-request"),
        ({"period_ms": 31}, "eventTriggerNotSupported"),
        ({"style": 3}, "action-not-supported"),
    ],
)
def test_a_kpm_subscription_that_cannot_be_honoured_is_refused_by_cause(
    lab: Any, wrong: dict[str, Any], cause: str
) -> None:
    instance = lab.xapp.subscribe_kpm(lab.gnb(), **wrong)
    assert instance["E2EventInstanceId"] == 0
    assert instance["ErrorCause"] == f"ricRequest: {cause}"
    assert instance["ErrorSource"] == "E2Node"


def test_an_unknown_function_or_garbage_is_refused_by_cause(lab: Any) -> None:
    gnb = lab.gnb()
    trigger = dcm.encode_event_trigger(dcm.EventTrigger(30))
    for function_id, definition, cause in (
        (9, b"\x00", "ran-function-id-invalid"),
        (dcm.DCM_FUNCTION_ID, b"\xff\xff", "action-not-supported"),
        (2, b"\xff\xff", "eventTriggerNotSupported"),
    ):
        assert lab.xapp.post(gnb.name, function_id, trigger, definition).status_code == 201
        (instance,) = lab.xapp.notifications.get(timeout=30)["SubscriptionInstances"]
        assert (instance["E2EventInstanceId"], instance["ErrorCause"]) == (0, f"ricRequest: {cause}")


def test_a_multiple_of_the_period_is_reported_that_often(lab: Any) -> None:
    gnb = lab.gnb()
    instance = lab.xapp.subscribe_dcm(gnb, period_ms=90)["E2EventInstanceId"]
    (sn, header, report), (next_sn, next_header, _) = (lab.xapp.dcm_report(instance) for _ in range(2))
    assert next_sn == sn + 1
    assert next_header.slot == header.slot + 3
    assert report.slots_per_report == 3


def test_a_deleted_subscription_reports_no_more(lab: Any) -> None:
    gnb = lab.gnb()
    instance = lab.xapp.subscribe_dcm(gnb)
    lab.xapp.dcm_report(instance["E2EventInstanceId"])
    assert lab.xapp.http.delete(f"/subscriptions/{instance['SubscriptionId']}").status_code == 204
    gnb.lines.wait_for(lambda status: status["subscriptions"] == 0)


def test_the_notification_may_come_before_the_201(make_lab: Callable[..., Any], tmp_path: Path) -> None:
    routes = tmp_path / "routes.rt"
    lab = make_lab(notify_first=True, write_routes=str(routes))
    gnb = lab.gnb()
    trigger = dcm.encode_event_trigger(dcm.EventTrigger(30))
    definition = dcm.encode_action_definition(dcm.ActionDefinition(gnb.cells[0]))
    answer = lab.xapp.post(gnb.name, dcm.DCM_FUNCTION_ID, trigger, definition)
    notification = lab.xapp.notifications.get_nowait()
    assert notification["SubscriptionId"] == answer.json()["SubscriptionId"]
    assert f"mse|{RIC_CONTROL_REQUEST}|-1|{lab.ric.transport.source}" in routes.read_text()


def test_the_profile_decides_what_is_offered_and_said(lab: Any) -> None:
    gnb = lab.gnb(observe="kpm_oai")
    assert lab.xapp.subscribe_kpm(gnb, ("CQI",))["E2EventInstanceId"] == 0
    assert lab.xapp.subscribe_kpm(gnb, ("DRB.PdcpSduVolumeUL",))["E2EventInstanceId"] > 0
    instance = lab.xapp.subscribe_dcm(gnb)["E2EventInstanceId"]
    _, _, report = lab.xapp.dcm_report(instance)
    assert report.ue_ids == (1, 2, 3)
    assert np.isnan(report.buffer_bits).all()


# -- controls ---------------------------------------------------------------------------------------------------------


def test_a_control_is_acknowledged_applied_and_seen_in_the_next_report(loop: Loop) -> None:
    allocation = loop.lab.first_ue_gets_all(loop.report.ue_ids, 6)
    cause, outcome = loop.send(encode(loop.gnb, allocation, 5, based_on_indication_sn=loop.sn, valid_for_slots=1000))
    assert cause is None
    assert (outcome.code, outcome.decision_id) == (OutcomeCode.OK, 5)
    assert outcome.apply_from_slot >= loop.header.slot
    loop.gnb.lines.wait_for(lambda status: status["controls_applied"] == 1)
    while loop.header.slot <= outcome.apply_from_slot:
        loop.refresh()
    assert (loop.report.applied.instance_epoch, loop.report.applied.decision_id) == (1, 5)
    assert loop.report.applied.rbg_bitmaps == b"\xfc\x00\x00"
    status = loop.gnb.lines.wait_for(lambda status: status["cells"][0]["decision_id"] == 5)
    assert status["cells"][0]["strip"] == "AAAAAA"
    assert status["transmissions_outside_grant"] == 0


def test_an_idle_cell_serves_nobody_until_the_lease_is_over(loop: Loop) -> None:
    """And then the node's own scheduler has it back within two periods."""
    _, outcome = loop.send(encode(loop.gnb, loop.idle(), 1, valid_for_slots=6))
    first, served = outcome.apply_from_slot, {}
    while loop.header.slot < first + 9:
        loop.refresh()
        served[loop.header.slot] = (float(np.nansum(loop.report.served_bits)), loop.report.applied is not None)
    for slot in range(first + 1, first + 6):
        assert served[slot] == (0.0, True)
    assert not served[first + 6][1]
    assert loop.gnb.lines.newest["own_scheduler_periods"] > 0


def test_release_gives_the_cell_back_at_once(loop: Loop) -> None:
    loop.send(encode(loop.gnb, loop.idle(), 1, valid_for_slots=100_000))
    carrier = loop.gnb.gnb.mac.carriers[0]
    cause, _ = loop.send(dcm.encode_release(instance_epoch=1, decision_id=2, carrier=carrier))
    assert cause is None
    loop.lab.xapp.drain()
    loop.refresh()
    loop.refresh()
    assert loop.report.applied is None
    assert loop.gnb.lines.newest["releases"] == 1


def test_wrong_controls_are_failed_with_their_cause(loop: Loop) -> None:
    assert loop.send(encode(loop.gnb, loop.idle(), 10, instance_epoch=2))[0] is None
    carrier = loop.gnb.gnb.mac.carriers[0]
    strangers = loop.lab.all_idle((1, 2, 4_000_000), 6)
    wider = dcm.Carrier.of(carrier.cell, bwp_size_prb=28, rbg_size_prb=4)
    twice = (
        encode(loop.gnb, loop.idle(), 17, instance_epoch=2)
        .replace(b"Z\x01\x00", b"Z\x01\xfc")
        .replace(b"b\x01\x00", b"b\x01\xfc")
    )
    wrong = [
        (encode(loop.gnb, loop.idle(), 10, instance_epoch=2), CONTROL_FAILED, OutcomeCode.STALE_DECISION),
        (encode(loop.gnb, loop.idle(), 9, instance_epoch=2), CONTROL_FAILED, OutcomeCode.STALE_DECISION),
        (encode(loop.gnb, loop.idle(), 99, instance_epoch=1), CONTROL_FAILED, OutcomeCode.STALE_EPOCH),
        (encode(loop.gnb, strangers, 14, instance_epoch=2), CONTROL_INVALID, OutcomeCode.UNKNOWN_UE),
        (
            encode(loop.gnb, loop.lab.all_idle((1, 2, 3), 7), 15, instance_epoch=2, carrier=wider),
            CONTROL_INVALID,
            OutcomeCode.BAD_CARRIER,
        ),
        (
            encode(loop.gnb, loop.idle(), 16, instance_epoch=2, apply_from_slot=10**9),
            CONTROL_INVALID,
            OutcomeCode.MALFORMED,
        ),
        (twice, CONTROL_INVALID, OutcomeCode.BAD_BITMAP),
        (b"\xff\xff\xff", CONTROL_INVALID, OutcomeCode.MALFORMED),
    ]
    for message, cause, code in wrong:
        got_cause, outcome = loop.send(message)
        assert (got_cause, outcome.code) == (cause, code)
    cause, outcome = loop.send(encode(loop.gnb, loop.idle(), 18, instance_epoch=2), cell="00f1100000000ff")
    assert (cause, outcome.code) == (CONTROL_INVALID, OutcomeCode.UNKNOWN_CELL)
    cause, _ = loop.send(encode(loop.gnb, loop.idle(), 19, instance_epoch=2), function_id=77)
    assert cause == e2ap.Cause("ricRequest", "ran-function-id-invalid")
    failed = loop.gnb.lines.wait_for(lambda status: "ran_function" in status["controls_failed"])["controls_failed"]
    assert failed["stale_decision"] == 2
    assert failed["unknown_ue"] == 1
    # After all that the next good one is still obeyed.
    assert loop.send(encode(loop.gnb, loop.idle(), 20, instance_epoch=2))[0] is None


def test_a_younger_instance_takes_over_with_any_decision_id(loop: Loop) -> None:
    assert loop.send(encode(loop.gnb, loop.idle(), 500, instance_epoch=10))[0] is None
    assert loop.send(encode(loop.gnb, loop.idle(), 1, instance_epoch=11))[0] is None
    cause, outcome = loop.send(encode(loop.gnb, loop.idle(), 501, instance_epoch=10))
    assert (cause, outcome.code) == (CONTROL_FAILED, OutcomeCode.STALE_EPOCH)


def test_a_control_that_wants_no_acknowledgement_gets_none(loop: Loop) -> None:
    silent = loop.lab.xapp.control(
        loop.gnb, encode(loop.gnb, loop.idle(), 1), instance=loop.instance, ack=e2ap.AckRequest.NO_ACK
    )
    spoken = loop.lab.xapp.control(loop.gnb, encode(loop.gnb, loop.idle(), 2), instance=loop.instance)
    answers = []
    while not answers or answers[-1] != spoken:
        message = loop.lab.xapp.receive(12041)
        answers.append(e2ap.decode_control_acknowledge(message.payload).call_process_id)
    assert silent not in answers
    loop.gnb.lines.wait_for(lambda status: status["controls_accepted"] == 2)


def test_rows_of_ues_that_just_left_are_ignored(lab: Any) -> None:
    """UEs come and go; a decision on a report that still had them is obeyed for the others."""
    loop = Loop(lab, scenario="lab_paper", k=5, ues=4, period_ms=10, seed=3)
    old_sn, old_ues = loop.sn, loop.report.ue_ids
    while set(old_ues) <= set(loop.report.ue_ids):
        old_sn, old_ues = loop.sn, loop.report.ue_ids
        loop.refresh()
    allocation = Allocation(old_ues, np.full(6, DYNAMIC, np.int16), LeftoverRule(7, 1.2))
    cause, outcome = loop.send(encode(loop.gnb, allocation, 1, based_on_indication_sn=old_sn, valid_for_slots=50))
    assert (cause, outcome.code) == (None, OutcomeCode.OK)
    loop.gnb.lines.wait_for(lambda status: status["controls_applied"] == 1)


def test_controls_for_nobody_are_dropped_and_counted(lab: Any) -> None:
    dropped = lab.ric.counters["e2term_unknown_meid"]
    assert lab.xapp.rmr.send(RmrMessage(RIC_CONTROL_REQUEST, b"anything", meid="gnb_999"))
    lab.wait_until(lambda: lab.ric.counters["e2term_unknown_meid"] == dropped + 1)


def test_bytes_that_are_no_pdu_cost_neither_side_the_association(loop: Loop) -> None:
    for junk in (b"\xff", b"\x00\x04\x00", bytes(50), b"\x00\x04\x00\x03\x00\x00\x00"):
        assert loop.lab.xapp.rmr.send(RmrMessage(RIC_CONTROL_REQUEST, junk, meid=loop.gnb.name))
    loop.gnb.lines.wait_for(lambda status: status["counters"].get("e2_undecodable", 0) >= 4)
    loop.refresh()
    assert loop.gnb.lines.newest["connected"]


# -- loss -------------------------------------------------------------------------------------------------------------


def test_a_stopped_gnb_is_gone_for_submgr_and_rnib(lab: Any) -> None:
    loop = Loop(lab)
    final = loop.gnb.stop()
    assert final["slots_run"] > 0
    lab.wait_until(lambda: not lab.ric.inventory.get(loop.gnb.name).connected)
    assert lab.xapp.post(loop.gnb.name, 5, b"", b"").status_code == 503
    assert all(entry["Meid"] != loop.gnb.name for entry in lab.xapp.http.get("/subscriptions").json())
    call = lab.xapp.control(loop.gnb, encode(loop.gnb, loop.idle(), 1), instance=loop.instance)
    lab.xapp.drain()
    with pytest.raises(AssertionError, match="no message"):
        lab.xapp.receive(12041, timeout_s=0.3)
    assert call


def test_a_gnb_comes_back_when_the_ric_does(make_lab: Callable[..., Any]) -> None:
    lab = make_lab()
    loop = Loop(lab)
    lab.ric.e2term._server.close()
    loop.gnb.lines.wait_for(lambda status: not status["connected"])
    assert loop.gnb.lines.newest["subscriptions"] == 0
    ric = lab.ric.e2term
    ric._server = E2Server("127.0.0.1", ric.port, lab.ric.wire, ric._on_pdu, ric._on_close, lab.ric.counters)
    loop.gnb.lines.wait_for(lambda status: status["connected"])
    instance = lab.xapp.subscribe_dcm(loop.gnb)["E2EventInstanceId"]
    assert lab.xapp.dcm_report(instance)[1].slot > loop.header.slot


def test_a_second_association_of_a_node_replaces_the_first(lab: Any) -> None:
    gnb = lab.gnb()
    lab.xapp.subscribe_dcm(gnb)
    first: E2Association = lab.ric.e2term._by_name[gnb.name]
    twin = lab.gnb(gnb_id=gnb.gnb.options.gnb_id)
    assert lab.ric.e2term._by_name[gnb.name] is not first
    assert lab.ric.inventory.get(gnb.name).connected
    twin.stop()


# -- numbers ----------------------------------------------------------------------------------------------------------


def test_slot_0_waits_for_the_subscriptions_and_metrics_end_with_the_window(lab: Any) -> None:
    gnb = lab.gnb(scenario="mix", k=10, period_ms=10, slots=50, start_on_subscription=True)
    instance = lab.xapp.subscribe_dcm(gnb, period_ms=10)["E2EventInstanceId"]
    assert gnb.lines.newest["slots_total"] == 0
    lab.xapp.subscribe_kpm(gnb, period_ms=10)
    assert lab.xapp.dcm_report(instance)[1].slot == 0
    at_window = gnb.lines.wait_for(lambda status: status["slots_total"] >= 50)
    gnb.lines.wait_for(lambda status: status["slots_total"] >= 80)
    final = gnb.stop()
    assert final["slots_run"] == 50
    assert final["slots_total"] >= 80
    assert final["throughput_mbps"] > 0
    if at_window["slots_total"] == 50:
        assert final["throughput_mbps"] == at_window["throughput_mbps"]


def test_live_and_offline_worlds_are_the_same(lab: Any) -> None:
    """What the gNB measures is what the simulator's core measures for the same seed."""
    from training.simulator.cell import CellBatch
    from training.simulator.scenario import make_scenario

    gnb = lab.gnb(scenario="mix", k=10, period_ms=10, slots=60, seed=11)
    gnb.lines.wait_for(lambda status: status["slots_total"] >= 60)
    final = gnb.stop()
    batch = CellBatch(make_scenario("mix").with_(slots_per_dcm=10), 1, 3, 11)
    batch.play(None, 60)
    (cell,) = batch.metrics()
    assert final["throughput_mbps"] == pytest.approx(cell.throughput_bits_per_slot / 1e3)
    assert final["utility"] == pytest.approx(cell.utility)

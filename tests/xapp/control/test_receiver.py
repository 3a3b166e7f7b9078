"""The receive side: reports reach the right cell, and no bytes stop the thread or go uncounted."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from waiting import PATIENCE_S, wait_for

from policy.allocation import all_dynamic
from xapp.control.cell_link import Report, ReportSubscription
from xapp.control.mailbox import Mailbox
from xapp.control.receiver import Receiver
from xapp.control.sender import ControlSender
from xapp.e2.asn1.errors import E2DecodeError
from xapp.e2.dialect import Dialect
from xapp.e2.e2ap import hot_messages as e2ap
from xapp.monitoring.metrics import Metrics
from xapp.rmr.transport import RIC_CONTROL_ACK, RIC_CONTROL_FAILURE, RIC_INDICATION, RmrMessage

UNKNOWN_TYPE = 12099
MEASURED = {"DRB.UEThpUl": 100.0, "RRU.PrbTotUl": 50.0, "CQI": 9.0}


class Receiving:
    """A receiver with a DCM and a KPM feed of the node's cell."""

    def __init__(self, node: Any, *, has_kpm: bool = True, has_dcm: bool = True) -> None:
        self.node = node
        self.metrics = Metrics()
        self.mailbox: Mailbox[Report] = Mailbox(0.0)
        self.sender = ControlSender(node.xapp, self.metrics, instance_epoch=1, lease_periods=2)
        self.receiver = Receiver(node.xapp, self.mailbox, self.sender, self.metrics)
        self.link = node.link(has_kpm=has_kpm, has_dcm=has_dcm)
        if has_dcm:
            self.receiver.attach(node.dcm_instance, ReportSubscription(node.cell, "dcm"), self.link)
        if has_kpm:
            self.receiver.attach(node.kpm_instance, ReportSubscription(node.cell, "kpm", tuple(MEASURED)), self.link)

    @property
    def dropped(self) -> dict[str, int]:
        dropped: dict[str, int] = self.metrics.summary()["dropped"]
        return dropped

    def taken(self, timeout_s: float = 0.0) -> list[Report]:
        return [report for _, report in self.mailbox.take(timeout_s)]


@pytest.fixture
def receiving(node: Any) -> Iterator[Receiving]:
    made = Receiving(node)
    yield made
    made.receiver.close()


# -- reports ----------------------------------------------------------------------------------------------------------


def test_a_report_on_the_wire_becomes_a_state_in_the_mailbox(receiving: Receiving) -> None:
    receiving.receiver.start()
    before_ns = time.perf_counter_ns()
    receiving.node.send(receiving.node.dcm_message(5))
    (report,) = receiving.taken(PATIENCE_S)
    assert report.state.cell == receiving.node.cell
    assert report.state.ue_ids == (1, 2)
    assert (report.indication_sn, report.lead_slots) == (5, 0)
    assert report.link is receiving.link
    assert before_ns < report.received_ns < time.perf_counter_ns()
    assert receiving.metrics["indications_received"] == 1


@pytest.mark.parametrize("kind", ["dcm", "kpm"])
def test_one_forged_report_far_ahead_does_not_stop_a_cell(node: Any, kind: str) -> None:
    receiving = Receiving(node, has_dcm=kind == "dcm", has_kpm=kind == "kpm")

    def reports(sn: int) -> int:
        message = node.dcm_message(sn) if kind == "dcm" else node.kpm_message(sn, {1: MEASURED})
        receiving.receiver.handle(message)
        return len(receiving.taken())

    assert [reports(sn) for sn in (1, 2, 3)] == [1, 1, 1]
    assert reports(20_003) == 1
    assert sum(reports(sn) for sn in range(4, 14)) == 8
    assert receiving.dropped == {"late_or_duplicate_report": 2}
    assert receiving.metrics["report_numbers_resynchronised"] == 1


def test_a_kpm_report_completes_the_period_and_opens_none(receiving: Receiving) -> None:
    on_message, node = receiving.receiver.on_message, receiving.node
    on_message(node.kpm_message(1, {1: MEASURED, 2: MEASURED}))
    assert receiving.taken() == []
    on_message(node.dcm_message(1))
    on_message(node.kpm_message(2, {1: MEASURED, 2: MEASURED}))
    (report,) = receiving.taken()
    assert report.state.prb_share_U.tolist() == [0.5, 0.5]
    on_message(node.kpm_message(3, {1: MEASURED, 2: {**MEASURED, "RRU.PrbTotUl": 70.0}}))
    assert receiving.taken() == []
    assert receiving.link.newest is not None
    assert receiving.link.newest.state.prb_share_U.tolist() == [0.5, 0.7]


def test_a_kpm_report_is_read_in_its_nodes_dialect(node: Any) -> None:
    receiving = Receiving(node, has_dcm=False)
    flexric = node.kpm_message(1, {4: MEASURED}, dialect=Dialect.FLEXRIC)
    with pytest.raises(E2DecodeError):
        receiving.receiver.on_message(flexric)
    receiving.receiver.attach(
        node.kpm_instance, ReportSubscription(node.cell, "kpm", tuple(MEASURED), Dialect.FLEXRIC), receiving.link
    )
    receiving.receiver.on_message(flexric)
    (report,) = receiving.taken()
    assert report.state.ue_ids == (4,)


@pytest.mark.parametrize("dialect", list(Dialect))
def test_the_first_readable_report_tells_how_its_node_writes(node: Any, dialect: Dialect) -> None:
    receiving = Receiving(node, has_dcm=False, has_kpm=False)
    found: list[tuple[str, Dialect, int]] = []
    receiving.receiver.on_dialect = lambda name, form: found.append((name, form, len(receiving.taken())))
    untold, other = (
        ReportSubscription(node.cell, "kpm", tuple(MEASURED), None),
        ReportSubscription(f"{node.name}/2", "kpm", tuple(MEASURED), None),
    )
    receiving.receiver.attach(node.kpm_instance, untold, receiving.link)
    receiving.receiver.attach(node.kpm_instance + 1, other, node.link(has_kpm=True, has_dcm=False))
    whole = node.kpm_message(1, {4: MEASURED}, dialect=dialect)
    report = e2ap.decode_indication(whole.payload)
    damaged = replace(whole, payload=e2ap.encode_indication(report._replace(message=report.message[:-9])))
    with pytest.raises(E2DecodeError):
        receiving.receiver.on_message(damaged)
    assert found == []
    receiving.receiver.on_message(node.kpm_message(1, {4: MEASURED}, dialect=dialect))
    assert found == [(node.name, dialect, 0)], "before anybody could decide on it"
    (taken,) = receiving.taken()
    assert taken.state.ue_ids == (4,)
    wrong = next(each for each in Dialect if each is not dialect)
    for instance in (node.kpm_instance, node.kpm_instance + 1):
        with pytest.raises(E2DecodeError):
            receiving.receiver.on_message(node.kpm_message(2, {4: MEASURED}, instance=instance, dialect=wrong))
    assert len(found) == 1, "once and for all cells of the node"


def test_the_loop_time_counts_from_the_report_that_opened_the_period(receiving: Receiving) -> None:
    first = receiving.node.dcm_message(1)
    second = receiving.node.kpm_message(1, {1: MEASURED})
    for message, received_ns in ((first, 1000), (second, 5000)):
        receiving.receiver.on_message(
            RmrMessage(message.mtype, message.payload, meid=message.meid, received_ns=received_ns)
        )
    (report,) = receiving.taken()
    assert report.received_ns == 1000


def test_a_cell_with_kpm_alone_is_decided_by_kpm(node: Any) -> None:
    receiving = Receiving(node, has_dcm=False)
    receiving.receiver.on_message(node.kpm_message(1, {4: MEASURED}))
    (report,) = receiving.taken()
    assert (report.state.ue_ids, report.indication_sn) == ((4,), 0)


def test_duplicates_and_late_reports_are_dropped_and_counted(receiving: Receiving) -> None:
    for sn in (65535, 0, 0, 65535):
        receiving.receiver.on_message(receiving.node.dcm_message(sn, slot=10 + sn % 7))
    (report,) = receiving.taken()
    assert report.indication_sn == 0
    assert receiving.dropped == {"late_or_duplicate_report": 2}


def test_reports_of_no_subscription_and_of_the_wrong_cell_are_dropped(receiving: Receiving) -> None:
    node = receiving.node
    receiving.receiver.on_message(node.dcm_message(1, instance=999))
    receiving.receiver.on_message(node.dcm_message(1, nci="00f110000000012"))
    receiving.receiver.on_message(node.dcm_message(1, meid="gnb_of_someone_else"))
    receiving.receiver.on_message(replace(node.kpm_message(1, {1: {"CQI": 7.0}}), meid="gnb_of_someone_else"))
    assert receiving.taken() == []
    assert receiving.dropped == {"unknown_subscription": 1, "wrong_cell": 3}
    assert receiving.metrics["indications_received"] == 4


def test_a_detached_subscription_feeds_nothing_and_a_cell_without_any_is_forgotten(receiving: Receiving) -> None:
    node = receiving.node
    receiving.receiver.detach(node.dcm_instance)
    assert receiving.receiver.links() == [receiving.link]
    receiving.receiver.on_message(node.dcm_message(1))
    assert receiving.dropped == {"unknown_subscription": 1}
    receiving.receiver.detach(node.kpm_instance)
    assert receiving.receiver.links() == []
    receiving.receiver.detach(node.kpm_instance)


def test_a_subscription_made_anew_may_count_from_zero_again(receiving: Receiving) -> None:
    node = receiving.node
    receiving.receiver.on_message(node.dcm_message(700))
    receiving.receiver.detach(node.dcm_instance)
    receiving.receiver.attach(31, ReportSubscription(node.cell, "dcm"), receiving.link)
    receiving.receiver.on_message(node.dcm_message(0, instance=31, slot=701))
    (report,) = receiving.taken()
    assert (report.indication_sn, report.state.slot) == (0, 701)


def test_the_silence_of_one_subscription_is_its_own(receiving: Receiving) -> None:
    node, receiver = receiving.node, receiving.receiver
    time.sleep(0.02)
    receiver.on_message(node.dcm_message(1))
    assert receiver.silent_for_s(node.kpm_instance) >= 0.02
    assert receiver.silent_for_s(node.dcm_instance) < receiver.silent_for_s(node.kpm_instance)
    assert receiver.silent_for_s(999) == 0.0


# -- other messages ---------------------------------------------------------------------------------------------------


def test_a_message_of_another_type_goes_to_its_registered_handler(receiving: Receiving) -> None:
    taken: list[bytes] = []
    receiving.receiver.register(UNKNOWN_TYPE, lambda message: taken.append(message.payload))
    receiving.receiver.on_message(RmrMessage(UNKNOWN_TYPE, b"for you"))
    assert taken == [b"for you"]
    assert receiving.dropped == {}


@pytest.mark.parametrize("mtype", [RIC_INDICATION, RIC_CONTROL_ACK, RIC_CONTROL_FAILURE])
def test_a_message_type_has_one_handler(receiving: Receiving, mtype: int) -> None:
    with pytest.raises(ValueError, match=str(mtype)):
        receiving.receiver.register(mtype, lambda message: None)


# -- whatever bytes ---------------------------------------------------------------------------------------------------


def test_undecodable_messages_are_counted_and_the_thread_lives_on(
    receiving: Receiving, caplog: pytest.LogCaptureFixture
) -> None:
    receiving.receiver.start()
    for mtype in (RIC_INDICATION, RIC_CONTROL_ACK, RIC_CONTROL_FAILURE):
        receiving.node.send(RmrMessage(mtype, b"\x00\x05", meid="gnb\nforged line"))
    receiving.node.send(RmrMessage(UNKNOWN_TYPE, b""))
    receiving.node.send(receiving.node.dcm_message(1))
    assert len(receiving.taken(PATIENCE_S)) == 1
    assert receiving.metrics["decode_errors"] == 3
    assert receiving.dropped == {"unknown_message_type": 1}
    assert all("\n" not in record.getMessage() for record in caplog.records)


def test_on_message_says_what_is_wrong_with_the_bytes(receiving: Receiving) -> None:
    with pytest.raises(E2DecodeError):
        receiving.receiver.on_message(RmrMessage(RIC_INDICATION, b"\x00"))


@st.composite
def damaged(draw: st.DrawFn, good: list[bytes]) -> bytes:
    """A good PDU with a few octets changed, or cut."""
    data = bytearray(draw(st.sampled_from(good)))
    for _ in range(draw(st.integers(1, 4))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)))]) if draw(st.booleans()) else bytes(data)


def test_no_bytes_stop_the_thread_or_go_uncounted(receiving: Receiving, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    node, metrics = receiving.node, receiving.metrics
    receiving.receiver.start()
    assert receiving.sender.send(node.target(), all_dynamic((1, 2), node.num_rbgs), node.context())
    request, _ = node.next_control()
    good = [
        node.dcm_message(1).payload,
        node.kpm_message(1, {1: MEASURED, 2: {**MEASURED, "CQI": np.nan}}).payload,
        node.acknowledgement(request).payload,
        node.refusal(request, 1).payload,
    ]
    answers = ("controls_acked", "controls_failed", "answers_unmatched")
    sentinels = 0

    @given(
        st.sampled_from((RIC_INDICATION, RIC_CONTROL_ACK, RIC_CONTROL_FAILURE, UNKNOWN_TYPE)),
        st.one_of(st.binary(max_size=200), damaged(good)),
    )
    def check(mtype: int, payload: bytes) -> None:
        nonlocal sentinels
        before = metrics.summary()
        seen = [metrics[name] for name in ("indications_received", *answers)]
        node.send(RmrMessage(mtype, payload, sub_id=node.dcm_instance, meid=node.name))
        node.send(RmrMessage(UNKNOWN_TYPE, b"sentinel"))
        sentinels += 1 + (mtype == UNKNOWN_TYPE)
        wait_for(lambda: receiving.dropped.get("unknown_message_type", 0) == sentinels)
        received, *answered = (
            now - then for now, then in zip((metrics[name] for name in ("indications_received", *answers)), seen)
        )
        undecodable = metrics["decode_errors"] - before["decode_errors"]
        assert undecodable in (0, 1)
        assert "handler_error" not in receiving.dropped
        if mtype == RIC_INDICATION:
            assert received == 1
        elif mtype in (RIC_CONTROL_ACK, RIC_CONTROL_FAILURE):
            assert sum(answered) + undecodable >= 1
        else:
            assert received == sum(answered) == undecodable == 0

    check()

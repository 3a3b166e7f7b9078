"""Controls on their way out and answers on their way in, over real sockets."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from waiting import PATIENCE_S

import xapp.control.sender
from policy.allocation import Allocation, all_dynamic
from xapp.control.encoder import ControlMessage
from xapp.control.sender import ControlSender
from xapp.control_kinds.dcm import DcmEncoder
from xapp.e2.asn1.errors import E2EncodeError
from xapp.e2.dcm.messages import Outcome, OutcomeCode, encode_outcome
from xapp.e2.e2ap import hot_messages as e2ap
from xapp.monitoring.metrics import Metrics
from xapp.rmr.transport import RIC_CONTROL_FAILURE

EPOCH = 1_700_000_000_000_000_000
OTHER_NCI = "00f110000000012"


class Sending:
    """A sender and the node that it sends to."""

    def __init__(self, node: Any) -> None:
        self.node = node
        self.metrics = Metrics()
        self.sender = self.another(EPOCH)

    def another(self, epoch: int) -> ControlSender:
        return ControlSender(self.node.xapp, self.metrics, instance_epoch=epoch, lease_periods=2)

    def send(self, allocation: Allocation | None = None, **changes: Any) -> bool:
        target = changes.pop("target", self.node.target())
        context = self.node.context(**{"k": 100, "indication_sn": 7, **changes})
        return self.sender.send(target, allocation or all_dynamic((1, 2), self.node.num_rbgs), context)

    def acknowledge(self, request: e2ap.ControlRequest, node: str = "") -> None:
        acknowledge = e2ap.decode_control_acknowledge(self.node.acknowledgement(request).payload)
        self.sender.on_acknowledge(acknowledge, node or self.node.name)

    def refuse(self, request: e2ap.ControlRequest, code: OutcomeCode) -> None:
        message = self.node.refusal(request, code)
        assert message.mtype == RIC_CONTROL_FAILURE
        self.sender.on_failure(e2ap.decode_control_failure(message.payload), self.node.name)

    def forge(self, request: e2ap.ControlRequest, call: bytes | None, decision_id: int, node: str = "") -> None:
        """A refusal of our epoch by somebody who has seen the request."""
        outcome = encode_outcome(Outcome(OutcomeCode.STALE_EPOCH, "because", decision_id))
        cause = e2ap.Cause("ricRequest", "control-failed-to-execute")
        failure = e2ap.ControlFailure(request.request_id, request.function_id, cause, call, outcome)
        pdu = e2ap.encode_control_failure(failure)
        self.sender.on_failure(e2ap.decode_control_failure(pdu), node or self.node.name)


@pytest.fixture
def sending(node: Any) -> Iterator[Sending]:
    yield Sending(node)


def test_a_control_arrives_as_it_was_meant(sending: Sending) -> None:
    assert sending.send()
    request, control = sending.node.next_control()
    assert request.request_id == e2ap.RicRequestId(123, sending.node.dcm_instance)
    assert (request.function_id, request.ack_request) == (5, e2ap.AckRequest.ACK)
    assert (control.instance_epoch, control.decision_id) == (EPOCH, 1)
    assert (control.based_on_indication_sn, control.apply_from_slot) == (7, 0)
    assert control.valid_for_slots == 200
    assert not control.release
    assert control.carrier == sending.node.carrier
    assert control.allocation.ue_ids == (1, 2)


@pytest.mark.parametrize(("k", "lead", "valid"), [(100, 100, 100), (100, 0, 200), (1, 0, 2), (20, 60, 20)])
def test_a_lease_counts_from_the_report(sending: Sending, k: int, lead: int, valid: int) -> None:
    assert sending.send(k=k, lead_slots=lead)
    assert sending.node.next_control()[1].valid_for_slots == valid


def test_decision_ids_grow_over_all_cells_and_over_releases(sending: Sending) -> None:
    other = sending.node.target(OTHER_NCI)
    for target in (sending.node.target(), other, sending.node.target()):
        assert sending.send(target=target)
    assert sending.sender.release(other.cell)
    assert [sending.node.next_control()[1].decision_id for _ in range(4)] == [1, 2, 3, 4]


def test_an_answer_is_matched_once_to_the_control_it_answers(sending: Sending) -> None:
    for _ in range(2):
        assert sending.send()
    first, second = (sending.node.next_control()[0] for _ in range(2))
    assert first.call_process_id != second.call_process_id
    assert sending.sender.outstanding == 2
    sending.acknowledge(second)
    assert (sending.metrics["controls_acked"], sending.sender.outstanding) == (1, 1)
    sending.acknowledge(second)
    sending.acknowledge(first, node="another node")
    assert (sending.metrics["controls_acked"], sending.metrics["answers_unmatched"]) == (1, 2)
    sending.acknowledge(first)
    assert (sending.metrics["controls_acked"], sending.sender.outstanding) == (2, 0)


def test_a_refusal_is_counted_by_its_cause(sending: Sending) -> None:
    assert sending.send()
    sending.refuse(sending.node.next_control()[0], OutcomeCode.UNKNOWN_UE)
    summary = sending.metrics.summary()
    assert (summary["controls_failed"], summary["controls_acked"]) == (1, 0)
    assert summary["dropped"] == {"control_failed_unknown_ue": 1}
    assert not sending.sender.yielded
    assert sending.send()


def test_a_stale_epoch_makes_this_instance_yield(sending: Sending) -> None:
    assert sending.send()
    sending.refuse(sending.node.next_control()[0], OutcomeCode.STALE_EPOCH)
    assert sending.sender.yielded
    assert not sending.send()
    assert not sending.sender.release(sending.node.cell)
    sending.sender.release_all()
    assert sending.node.rmr.receive(0.05) is None


def test_a_stale_epoch_is_believed_only_as_the_answer_to_an_outstanding_control(sending: Sending) -> None:
    assert sending.send()
    request, control = sending.node.next_control()
    call = request.call_process_id
    assert call is not None
    sending.forge(request, b"\0" * len(call), control.decision_id)
    sending.forge(request, call, control.decision_id, node="another node")
    assert sending.metrics["answers_unmatched"] == 2
    sending.forge(request, None, control.decision_id)  # answers without a name are matched where only one is meant
    assert sending.send()
    request, control = sending.node.next_control()
    sending.forge(request, request.call_process_id, control.decision_id + 1)
    assert sending.metrics.summary()["dropped"]["stale_epoch_not_believed"] == 2
    assert sending.send()
    given_up = sending.node.next_control()[0]
    sending.sender.take_control(EPOCH + 1)
    sending.refuse(given_up, OutcomeCode.STALE_EPOCH)  # of the epoch before
    assert not sending.sender.yielded
    assert sending.send()
    request = sending.node.next_control()[0]
    sending.acknowledge(request)
    sending.refuse(request, OutcomeCode.STALE_EPOCH)  # of a control that the node has acknowledged
    assert not sending.sender.yielded
    assert sending.send()


def test_what_another_instance_was_refused_is_not_ours(sending: Sending) -> None:
    """Answers go to whoever registered last: the older instance's stale epoch must not silence the younger one."""
    older = sending.another(EPOCH - 1)
    assert older.send(sending.node.target(), all_dynamic((1, 2), sending.node.num_rbgs), sending.node.context())
    refused = sending.node.next_control()[0]
    assert sending.send()
    sending.refuse(refused, OutcomeCode.STALE_EPOCH)
    assert not sending.sender.yielded
    assert (sending.metrics["answers_unmatched"], sending.metrics["controls_failed"]) == (1, 0)
    assert sending.sender.outstanding == 1


def test_controls_that_nobody_answers_are_swept_and_counted(sending: Sending, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sending.send()
    sending.sender.sweep()
    assert sending.sender.outstanding == 1
    monkeypatch.setattr(xapp.control.sender, "ANSWER_TIMEOUT_S", 0.0)
    time.sleep(0.001)
    sending.sender.sweep()
    assert (sending.sender.outstanding, sending.metrics["controls_unanswered"]) == (0, 1)
    sending.acknowledge(sending.node.next_control()[0])
    assert (sending.metrics["controls_acked"], sending.metrics["answers_unmatched"]) == (0, 1)


def test_only_what_was_controlled_is_released_and_only_once(sending: Sending) -> None:
    assert not sending.sender.release(sending.node.cell)
    assert sending.send()
    sending.node.next_control()
    assert not sending.sender.release("gnb/other")
    assert sending.sender.release(sending.node.cell)
    request, control = sending.node.next_control()
    assert control.release
    assert control.carrier == sending.node.carrier
    assert not sending.sender.release(sending.node.cell)
    sending.acknowledge(request)
    assert (sending.metrics["releases_sent"], sending.metrics["releases_acked"]) == (1, 1)
    assert (sending.metrics["controls_sent"], sending.metrics["controls_acked"]) == (1, 0)


def test_after_the_last_release_nothing_is_controlled_any_more(sending: Sending) -> None:
    for target in (sending.node.target(), sending.node.target(OTHER_NCI)):
        assert sending.send(target=target)
    sending.sender.release_all()
    assert [sending.node.next_control()[1].release for _ in range(4)] == [False, False, True, True]
    assert not sending.send()
    sending.sender.release_all()
    assert sending.node.rmr.receive(0.05) is None


class SlowEncoder(DcmEncoder):
    """Its controls are made when the test says so."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()

    def encode(self, *arguments: Any) -> Sequence[ControlMessage]:
        self.begun.set()
        assert self.go_on.wait(PATIENCE_S)
        return super().encode(*arguments)


@pytest.mark.parametrize("stops", [True, False])
def test_a_control_that_is_being_made_does_not_overtake_the_last_release(sending: Sending, stops: bool) -> None:
    encoder = SlowEncoder()
    target = replace(sending.node.target(), encoder=encoder)
    sent: list[bool] = []
    pacer = threading.Thread(target=lambda: sent.append(sending.send(target=target)))
    pacer.start()
    assert encoder.begun.wait(PATIENCE_S)
    if stops:
        sending.sender.release_all()
        assert sending.node.next_control()[1].release
    else:
        sending.sender.enter_standby()
    encoder.go_on.set()
    pacer.join(PATIENCE_S)
    assert sent == [False]
    assert sending.node.rmr.receive(0.05) is None
    assert sending.sender.outstanding == int(stops)  # the release


class BreakingEncoder(DcmEncoder):
    """Can neither release nor send what waits, once it is broken."""

    broken = False

    def release(self, *arguments: Any) -> Sequence[ControlMessage]:
        if self.broken:
            raise E2EncodeError("told to")
        return super().release(*arguments)

    def due(self, *arguments: Any, **options: Any) -> Sequence[ControlMessage]:
        if self.broken:
            raise E2EncodeError("told to")
        return ()


def test_a_cell_that_cannot_be_released_keeps_no_other_from_it(sending: Sending) -> None:
    encoder = BreakingEncoder()
    first = replace(sending.node.target(OTHER_NCI), encoder=encoder)
    for target in (first, sending.node.target()):
        sending.sender.watch(target)
        assert sending.send(target=target)
        sending.node.next_control()
    encoder.broken = True
    sending.sender.release_all()
    assert sending.node.next_control()[1].release


class WaitingEncoder(DcmEncoder):
    """Counts how often it is asked for what waits."""

    asked = 0

    def due(self, *arguments: Any, **options: Any) -> Sequence[ControlMessage]:
        self.asked += 1
        return ()


def test_what_waits_for_one_node_waits_for_no_other(sending: Sending) -> None:
    encoders = BreakingEncoder(), WaitingEncoder()
    for name, encoder in zip(("one node", "another"), encoders, strict=True):
        sending.sender.watch(replace(sending.node.target(), node=name, encoder=encoder))
    encoders[0].broken = True
    before = encoders[1].asked
    sending.sender.pump()
    assert encoders[1].asked == before + 1


def test_a_control_without_a_route_is_counted_and_expects_no_answer(sending: Sending) -> None:
    sending.node.xapp.routes.update("newrt|start\nrte|1|192.0.2.1:9\nnewrt|end\n")
    assert not sending.send()
    assert sending.sender.outstanding == 0
    assert (sending.metrics["controls_sent"], sending.metrics.summary()["dropped"]) == (0, {"control_not_sent": 1})


def test_an_allocation_that_does_not_fit_the_carrier_leaves_nothing_behind(sending: Sending) -> None:
    with pytest.raises(E2EncodeError, match="7 RBGs, expected the carrier's 6"):
        sending.send(all_dynamic((1, 2), 7))
    assert sending.sender.outstanding == 0
    assert sending.send()
    assert sending.node.next_control()[1].decision_id == 2

"""The send side: allocations to control bytes, one outstanding book per node, releases."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from policy.allocation import Allocation
from xapp.control.cell_link import ControlTarget
from xapp.control.decision_record import ControlOutcome, ControlStatus, SentControl
from xapp.control.encoder import ControlEncoder, ControlMessage, DecisionContext, OnAnswer, SendContext
from xapp.control.observer import Observer
from xapp.e2.dcm import messages as dcm
from xapp.e2.e2ap import hot_messages as e2ap
from xapp.e2.kpm.report_reader import KpmReport
from xapp.monitoring.metrics import Metrics
from xapp.rmr.transport import RIC_CONTROL_REQUEST, RmrMessage, Transport

log = logging.getLogger(__name__)

ANSWER_TIMEOUT_S = 2.0
"""Nobody times out for us: a control without an answer after this is counted as unanswered."""
REQUESTOR_ID = 123
"""submgr's requestor id, which e2term's routing expects."""


class _Outstanding(NamedTuple):
    """A control that has not been answered."""

    sent: SentControl
    function_id: int
    instance_id: int
    encoder: ControlEncoder
    subject: int | None
    on_answer: OnAnswer | None
    on_outcome: Callable[[bytes], None] | None


class ControlSender:
    """Thread safe. Decision ids grow over all cells of this instance; the instance's epoch is its start time."""

    def __init__(
        self,
        transport: Transport,
        metrics: Metrics,
        *,
        instance_epoch: int,
        lease_periods: int,
        observer: Observer | None = None,
    ) -> None:
        self._transport = transport
        self._observer = observer or Observer()
        self._metrics = metrics
        self._epoch = instance_epoch
        self.lease_periods = lease_periods
        """Periods after a report until which its control holds, where a control has a lease."""
        self._lock = threading.Lock()
        self._handing_over = threading.Lock()
        """Held while a control is handed to RMR, and while this instance ceases to control: no control that was being
        made meanwhile leaves after the last release, or in standby. Taken before `_lock`; encoders never see it."""
        self._decision_id = 0
        self._outstanding: dict[tuple[str, bytes | int], _Outstanding] = {}
        """By node and RICcallProcessID; by its own number where a control has none."""
        self._controlled: dict[str, ControlTarget] = {}
        self._watched: dict[tuple[str, int], ControlTarget] = {}
        """By node and RAN function."""
        self._outcomes: dict[str, ControlOutcome] = {}
        self._unanswered_s: dict[str, float] = {}
        """time.monotonic() at which a node's silence was noticed; not of nodes that have answered since."""
        self._in_standby = False
        self.on_refused: Callable[[], None] = lambda: None
        """Called when a node refuses our epoch: a younger instance controls it."""
        self._closing = False

    def send(
        self,
        target: ControlTarget,
        allocation: Allocation,
        context: DecisionContext,
        *,
        outcome: ControlOutcome | None = None,
    ) -> bool:
        """Send a decision; False = nothing was handed to RMR: no route or queue full (counted), no longer ours to
        control, or nothing that the node does not hold to already.

        outcome: it notes what was sent, now or later, and what came of it.

        Raises E2EncodeError for an allocation that does not fit the target's carrier.
        """
        outcome = outcome if outcome is not None else ControlOutcome()
        with self._lock:
            if self._closing or self._in_standby:
                outcome.nothing = "closing" if self._closing else "yielded"
                return False
            before = self._controlled.get(target.cell)
            self._controlled[target.cell] = target
            self._outcomes[target.cell] = outcome
        if before is not None and before.encoder.service_model != target.encoder.service_model:
            self._give_back(before)
        messages = target.encoder.encode(target.cell, target.carrier, allocation, context, self._send_context())
        if not messages:
            outcome.nothing = "unchanged"
        outcome.in_force = target.encoder.explain(target.cell)
        return self._hand_over(target, messages, outcome)

    def release(self, cell: str, outcome: ControlOutcome | None = None) -> bool:
        """Give a cell back to the node's own scheduler, if it was ever controlled; True = a release was sent."""
        with self._lock:
            target = self._controlled.pop(cell, None)
            self._outcomes.pop(cell, None)
            if target is None or self._in_standby:
                return False
        messages = target.encoder.release(target.cell, target.carrier, self._send_context())
        return self._hand_over(target, messages, outcome)

    def _give_back(self, before: ControlTarget) -> None:
        """A cell that is controlled otherwise from now on: what was decided while its node was planned anew came after
        the release, and nobody else would take it back. Under the subscription of now, which answers come to.
        """
        with self._lock:
            now = self._watched.get((before.node, before.function_id), before)
        messages = before.encoder.release(before.cell, before.carrier, self._send_context())
        self._hand_over(replace(before, instance_id=now.instance_id), messages, None)

    def release_all(self) -> None:
        """Release every controlled cell, for good: no control leaves after it, not even one that is being made.

        What has to wait for answers is sent by `pump`.
        """
        with self._handing_over, self._lock:
            self._closing = True
        self.release_controlled()

    def release_controlled(self) -> int:
        """Release every controlled cell, and send what waits; returns the number of cells. It may be controlled again:
        by whoever controls it now, unless that one stands still.
        """
        with self._lock:
            cells = list(self._controlled)
        for cell in cells:
            try:
                self.release(cell)
            except Exception:  # one cell's trouble is not the others'
                self._metrics.drop("send_error")
                log.exception("no release for %s", cell)
        self.pump()
        return len(cells)

    def reported(self, node: str, kpm: KpmReport | None) -> None:
        """A node reports these UEs: whoever keeps quotas of it may want to know."""
        if kpm is None:
            return
        with self._lock:
            encoders = [target.encoder for (name, _), target in self._watched.items() if name == node]
        for encoder in encoders:
            encoder.reported(kpm, time.monotonic())

    def watch(self, target: ControlTarget) -> None:
        """Send what waits in the target's encoder as soon as it may be sent: `pump` looks after it."""
        with self._lock:
            self._watched[target.node, target.function_id] = target
        self._pump(target)

    def unwatch(self, node: str) -> None:
        """The node is gone."""
        with self._lock:
            self._watched = {key: target for key, target in self._watched.items() if target.node != node}

    def pump(self) -> None:
        """Send what had to wait (for a rate limit, an answer, or an id to be kept) and need not any longer."""
        with self._lock:
            watched = list(self._watched.values())
        for target in watched:
            try:
                self._pump(target)
            except Exception:  # one node's trouble is not the others'
                self._metrics.drop("send_error")
                log.exception("nothing that waits is sent to %s", target.node)

    def _pump(self, target: ControlTarget) -> None:
        if self._in_standby:
            return
        for message in target.encoder.due(self._send_context(), closing=self._closing):
            with self._lock:
                outcome = self._outcomes.get(message.cell)
            self._hand_over(target, (message,), outcome)

    @property
    def epoch(self) -> int:
        """This instance's."""
        return self._epoch

    @property
    def yielded(self) -> bool:
        """Another instance controls: nothing is sent, not even a release."""
        return self._in_standby

    def enter_standby(self) -> None:
        """Another instance controls, or is about to: send nothing from now on. What was controlled is its business."""
        with self._handing_over, self._lock:
            self._observer.entered_standby()
            self._in_standby = True
            self._controlled.clear()
            self._watched.clear()
            self._outcomes.clear()

    def take_control(self, instance_epoch: int) -> None:
        """Control, under this epoch."""
        with self._lock:
            self._epoch = instance_epoch
            self._in_standby = False

    def on_acknowledge(self, acknowledge: e2ap.ControlAcknowledge, node: str) -> None:
        """Match an acknowledgement to the control it answers."""
        found = self._match_answer(node, acknowledge)
        if found is None:
            self._metrics.count("answers_unmatched")
            return
        found.sent.answered(ControlStatus.ACKNOWLEDGED, time.monotonic())
        self._metrics.count(f"{found.sent.what}_acked")
        if acknowledge.outcome and found.on_outcome is not None:
            found.on_outcome(acknowledge.outcome)
        self._answered(found, node, True, echoed=acknowledge.call_process_id is not None)

    def on_failure(self, failure: e2ap.ControlFailure, node: str) -> None:
        """Count a refused control by its cause; a stale epoch makes this instance yield, if it is ours to believe.

        A refusal of something that this instance never sent is only counted: answers to another instance may come
        here too, and its stale epoch is not ours. Raises E2DecodeError for an outcome that is none.
        """
        found = self._match_answer(node, failure)
        if found is None:
            self._metrics.count("answers_unmatched")
            return
        sent = found.sent
        self._metrics.count(f"{sent.what}_failed")
        sent.answered(ControlStatus.REFUSED, time.monotonic(), f"{failure.cause.group}: {failure.cause.value}")
        if found.subject is not None:
            # A quota: the node says no more than the cause.
            what = "release" if sent.what == "releases" else "quota"
            self._metrics.drop(f"{what}_refused_{failure.cause.value.replace('-', '_')}")
            of = found.encoder.subject
            log.info("%s refuses %s of %s %d: %s", node, what, of, found.subject, sent.detail)
        elif failure.outcome and (outcome := found.encoder.read_outcome(failure.outcome)):
            sent.detail = f"{outcome.code.name}: {outcome.detail}"
            self._metrics.drop(f"control_failed_{outcome.code.name.lower()}")
            if outcome.code is dcm.OutcomeCode.STALE_EPOCH:
                if self._is_ours(sent, failure.call_process_id, outcome):
                    self.enter_standby()
                    self.on_refused()
                else:
                    self._metrics.drop("stale_epoch_not_believed")
        else:
            self._metrics.drop("control_failed_without_outcome")
        self._answered(found, node, False, echoed=failure.call_process_id is not None)

    def _is_ours(self, sent: SentControl, call_process_id: bytes | None, outcome: dcm.Outcome) -> bool:
        """Whether a stale epoch is that of the control which it answers. Everything else may be anybody's: a refusal
        that names no control, or another decision than the one it answers, and one of an epoch that we have given up.
        """
        with self._lock:
            epoch = self._epoch
        return call_process_id is not None and outcome.decision_id == sent.decision_id and sent.instance_epoch == epoch

    def _answered(self, found: _Outstanding, node: str, accepted: bool | None, *, echoed: bool = False) -> None:
        """Tell the encoder, and send what waited for this answer."""
        if found.on_answer is None:
            return
        found.on_answer(accepted, echoed=echoed, now_s=time.monotonic())
        with self._lock:
            watched = self._watched.get((node, found.function_id))
        if watched is not None and watched.encoder is found.encoder:
            self._pump(watched)

    @property
    def outstanding(self) -> int:
        """Controls sent and not yet answered."""
        with self._lock:
            return len(self._outstanding)

    @property
    def unfinished(self) -> bool:
        """Something that was sent has not been answered, or something was limited that has not been released.

        Never of an instance in standby: what it left behind is another's business.
        """
        with self._lock:
            if self._in_standby:
                return False
            return bool(self._outstanding) or any(target.encoder.limited for target in self._watched.values())

    def sweep(self) -> None:
        """Count and forget controls that nobody answered in time (the task runner)."""
        until_s = time.monotonic() - ANSWER_TIMEOUT_S
        with self._lock:
            overdue = {key: found for key, found in self._outstanding.items() if found.sent.sent_s < until_s}
            for key in overdue:
                del self._outstanding[key]
            self._unanswered_s |= {node: time.monotonic() for node, _ in overdue}
        for (node, _), found in overdue.items():
            found.sent.status = ControlStatus.UNANSWERED
            self._answered(found, node, None)
        if overdue:
            self._metrics.count("controls_unanswered", len(overdue))

    def unanswered_s(self, node: str) -> float:
        """time.monotonic() at which a control of the node was given up, none having been answered since; 0 = none."""
        with self._lock:
            return self._unanswered_s.get(node, 0.0)

    def _send_context(self) -> SendContext:
        return SendContext(self._epoch, self._next_id, time.monotonic(), self.lease_periods)

    def _next_id(self) -> int:
        with self._lock:
            self._decision_id += 1
            return self._decision_id

    def _hand_over(
        self, target: ControlTarget, messages: Sequence[ControlMessage], outcome: ControlOutcome | None
    ) -> bool:
        """Send messages; True if one at least left. A release that no decision asked for goes to the observer."""
        sent = [self._send(target, message) for message in messages]
        for control in sent:
            if outcome is not None:
                outcome.controls.append(control)
                if outcome.nothing == "unchanged":
                    outcome.nothing = ""
            elif control.what == "releases":
                self._observer.released(control)
        return any(control.status is not ControlStatus.NOT_SENT for control in sent)

    def _send(self, target: ControlTarget, message: ControlMessage) -> SentControl:
        pdu = e2ap.encode_control_request(
            e2ap.ControlRequest(
                request_id=e2ap.RicRequestId(REQUESTOR_ID, target.instance_id),
                function_id=target.function_id,
                call_process_id=message.call_process_id,
                header=message.header,
                message=message.message,
                ack_request=e2ap.AckRequest.ACK,
            )
        )
        call = message.decision_id if message.call_process_id is None else message.call_process_id
        key = (target.node, call)
        sent = SentControl(
            target.node,
            message.cell,
            message.what,
            message.decision_id,
            pdu,
            time.monotonic(),
            message.subject,
            self._epoch,
            self.lease_periods,
        )
        with self._handing_over:
            may_send = not self._in_standby and (message.what == "releases" or not self._closing)
            if may_send:
                with self._lock:
                    self._outstanding[key] = _Outstanding(
                        sent,
                        target.function_id,
                        target.instance_id,
                        target.encoder,
                        message.subject,
                        message.on_answer,
                        message.on_outcome,
                    )
                if self._transport.send(RmrMessage(RIC_CONTROL_REQUEST, pdu, meid=target.node)):
                    self._metrics.count(f"{message.what}_sent")
                    return sent
                self._metrics.drop("control_not_sent")
        with self._lock:
            self._outstanding.pop(key, None)
        sent.status = ControlStatus.NOT_SENT
        if message.on_not_sent is not None:
            message.on_not_sent()
        return sent

    def _match_answer(self, node: str, answer: e2ap.ControlAcknowledge | e2ap.ControlFailure) -> _Outstanding | None:
        """The control that an answer is about. One that names none is about the only one of its node and function that
        was sent under the answer's subscription.
        """
        with self._lock:
            self._unanswered_s.pop(node, None)
            if answer.call_process_id is not None:
                return self._outstanding.pop((node, answer.call_process_id), None)
            wanted = (answer.function_id, answer.request_id.instance)
            theirs = [
                key
                for key, found in self._outstanding.items()
                if key[0] == node and (found.function_id, found.instance_id) == wanted
            ]
            return self._outstanding.pop(theirs[0]) if len(theirs) == 1 else None

"""The send side: allocations to control bytes, one outstanding book per node, releases."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from policy.allocation import Allocation
from xapp.decision_record import ControlStatus, ControlTrail, SentControl
from xapp.e2 import dcm, e2ap
from xapp.metrics import Metrics
from xapp.rmr.transport import RIC_CONTROL_REQUEST, RmrMessage, Transport
from xapp.tap import Tap

ANSWER_TIMEOUT_S = 2.0
"""Nobody times out for us: a control without an answer after this is counted as unanswered."""
REQUESTOR_ID = 123
"""submgr's requestor id, which e2term's routing expects."""


@dataclass(frozen=True, slots=True)
class ControlTarget:
    """Where a cell's controls go."""

    node: str
    cell: str
    """Key of the cell in the xApp: `<node>/<NR-CGI>`."""
    function_id: int
    instance_id: int
    """E2EventInstanceId of our own subscription: answers are routed by it."""
    carrier: dcm.Carrier


class ControlSender:
    """Thread safe. Decision ids grow over all cells of this instance; the instance's epoch is its start time."""

    def __init__(
        self,
        transport: Transport,
        metrics: Metrics,
        *,
        instance_epoch: int,
        lease_periods: int,
        tap: Tap | None = None,
    ) -> None:
        self._transport = transport
        self._tap = tap or Tap()
        self._metrics = metrics
        self._epoch = instance_epoch
        self.lease_periods = lease_periods
        self._lock = threading.Lock()
        self._decision_id = 0
        self._outstanding: dict[tuple[str, bytes], SentControl] = {}
        self._controlled: dict[str, ControlTarget] = {}
        self._superseded_by_newer = False
        self._closing = False

    def send(
        self,
        target: ControlTarget,
        allocation: Allocation,
        *,
        slots_per_dcm: int,
        indication_sn: int,
        lead_slots: int = 0,
        trail: ControlTrail | None = None,
    ) -> bool:
        """Encode and hand one control to RMR; False = no route or queue full (counted), or no longer ours to control.

        The lease ends `lease_periods` periods after the report: `lead_slots` are those before the control begins.
        trail: is told what was sent, and later what came of it.

        Raises E2EncodeError for an allocation that does not fit the target's carrier.
        """
        trail = trail if trail is not None else ControlTrail()
        with self._lock:
            if self._closing or self._superseded_by_newer:
                trail.nothing = "closing" if self._closing else "yielded"
                return False
            self._controlled[target.cell] = target
            decision_id = self._next_id()
        return self._send(
            target,
            decision_id,
            dcm.encode_control(
                allocation,
                instance_epoch=self._epoch,
                decision_id=decision_id,
                based_on_indication_sn=indication_sn,
                carrier=target.carrier,
                apply_from_slot=0,
                valid_for_slots=max(slots_per_dcm, self.lease_periods * slots_per_dcm - lead_slots),
            ),
            "controls",
            trail,
        )

    def release(self, cell: str, trail: ControlTrail | None = None) -> bool:
        """Give a cell back to the node's own scheduler, if it was ever controlled; True = a release was sent."""
        with self._lock:
            target = self._controlled.pop(cell, None)
            if target is None or self._superseded_by_newer:
                return False
            decision_id = self._next_id()
        told = trail if trail is not None else ControlTrail()
        message = dcm.encode_release(instance_epoch=self._epoch, decision_id=decision_id, carrier=target.carrier)
        sent = self._send(target, decision_id, message, "releases", told)
        if trail is None:
            for release in told.controls:
                self._tap.released(release)
        return sent

    def release_all(self) -> int:
        """Release every controlled cell, for good: nothing is controlled after it. The number of releases sent."""
        with self._lock:
            self._closing = True
            cells = list(self._controlled)
        return sum(self.release(cell) for cell in cells)

    @property
    def yielded(self) -> bool:
        """A node refused our epoch: a younger instance controls it, and this one must stop sending."""
        return self._superseded_by_newer

    def on_acknowledge(self, acknowledge: e2ap.ControlAcknowledge, node: str) -> None:
        """Match an acknowledgement to the control it answers."""
        sent = self._settle(node, acknowledge.call_process_id)
        if sent is not None:
            sent.answered(ControlStatus.ACKNOWLEDGED, time.monotonic())
        self._metrics.count(f"{sent.what}_acked" if sent else "answers_unmatched")

    def on_failure(self, failure: e2ap.ControlFailure, node: str) -> None:
        """Count a refused control by its cause; a stale epoch makes this instance yield.

        A refusal of something that this instance never sent is only counted: answers to another instance may come
        here too, and its stale epoch is not ours. Raises E2DecodeError for an outcome that is none.
        """
        sent = self._settle(node, failure.call_process_id)
        if sent is None:
            self._metrics.count("answers_unmatched")
            return
        self._metrics.count(f"{sent.what}_failed")
        sent.answered(ControlStatus.REFUSED, time.monotonic(), f"{failure.cause.group}: {failure.cause.value}")
        if failure.outcome:
            outcome = dcm.decode_outcome(failure.outcome)
            sent.detail = f"{outcome.code.name}: {outcome.detail}"
            self._metrics.drop(f"control_failed_{outcome.code.name.lower()}")
            if outcome.code is dcm.OutcomeCode.STALE_EPOCH:
                self._superseded_by_newer = True
        else:
            self._metrics.drop("control_failed_without_outcome")

    @property
    def outstanding(self) -> int:
        """Controls sent and not yet answered."""
        with self._lock:
            return len(self._outstanding)

    def sweep(self) -> None:
        """Count and forget controls that nobody answered in time (housekeeping)."""
        until_s = time.monotonic() - ANSWER_TIMEOUT_S
        with self._lock:
            overdue = [key for key, sent in self._outstanding.items() if sent.sent_s < until_s]
            for key in overdue:
                self._outstanding.pop(key).status = ControlStatus.UNANSWERED
        if overdue:
            self._metrics.count("controls_unanswered", len(overdue))

    def _next_id(self) -> int:
        """Locked."""
        self._decision_id += 1
        return self._decision_id

    def _send(self, target: ControlTarget, decision_id: int, message: bytes, what: str, trail: ControlTrail) -> bool:
        # With the epoch in it: answers to another instance's controls may come here, and its ids count from 1 as well.
        call_process_id = self._epoch.to_bytes(8, "big") + decision_id.to_bytes(8, "big")
        pdu = e2ap.encode_control_request(
            e2ap.ControlRequest(
                request_id=e2ap.RicRequestId(REQUESTOR_ID, target.instance_id),
                function_id=target.function_id,
                call_process_id=call_process_id,
                header=dcm.encode_control_header(dcm.ControlHeader(target.carrier.cell)),
                message=message,
                ack_request=e2ap.AckRequest.ACK,
            )
        )
        key = (target.node, call_process_id)
        sent = SentControl(target.node, what, decision_id, pdu, time.monotonic())
        trail.controls.append(sent)
        with self._lock:
            self._outstanding[key] = sent
        if self._transport.send(RmrMessage(RIC_CONTROL_REQUEST, pdu, meid=target.node)):
            self._metrics.count(f"{what}_sent")
            return True
        with self._lock:
            self._outstanding.pop(key, None)
        sent.status = ControlStatus.NOT_SENT
        self._metrics.drop("control_not_sent")
        return False

    def _settle(self, node: str, call_process_id: bytes | None) -> SentControl | None:
        with self._lock:
            return self._outstanding.pop((node, call_process_id), None) if call_process_id is not None else None

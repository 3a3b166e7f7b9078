"""The send side: allocations to control bytes, one outstanding book per node, releases."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from policy.allocation import Allocation
from xapp.e2 import dcm, e2ap
from xapp.metrics import Metrics
from xapp.rmr.transport import RIC_CONTROL_REQUEST, RmrMessage, Transport

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


@dataclass(frozen=True, slots=True)
class _Outstanding:
    decision_id: int
    cell: str
    sent_s: float


class ControlSender:
    """Thread safe. Decision ids grow over all cells of this instance; the instance's epoch is its start time."""

    def __init__(self, transport: Transport, metrics: Metrics, *, instance_epoch: int, lease_periods: int) -> None:
        self._transport = transport
        self._metrics = metrics
        self._epoch = instance_epoch
        self._lease_periods = lease_periods
        self._lock = threading.Lock()
        self._decision_id = 0
        self._outstanding: dict[tuple[str, bytes], _Outstanding] = {}
        self._controlled: dict[str, ControlTarget] = {}
        self._superseded_by_newer = False

    def send(self, target: ControlTarget, allocation: Allocation, *, slots_per_dcm: int, indication_sn: int) -> bool:
        """Encode and hand one control to RMR; False = no route or queue full (counted)."""
        with self._lock:
            self._controlled[target.cell] = target
        return self._send(
            target,
            lambda decision_id: dcm.encode_control(
                allocation,
                instance_epoch=self._epoch,
                decision_id=decision_id,
                based_on_indication_sn=indication_sn,
                carrier=target.carrier,
                apply_from_slot=0,
                valid_for_slots=self._lease_periods * slots_per_dcm,
            ),
            "controls_sent",
        )

    def release(self, cell: str) -> bool:
        """Give a cell back to the node's own scheduler, if it was ever controlled; True = a release was sent."""
        with self._lock:
            target = self._controlled.pop(cell, None)
        if target is None:
            return False
        return self._send(
            target,
            lambda decision_id: dcm.encode_release(
                instance_epoch=self._epoch, decision_id=decision_id, carrier=target.carrier
            ),
            "releases_sent",
        )

    def release_all(self) -> int:
        """Release every controlled cell; the number of releases sent."""
        with self._lock:
            cells = list(self._controlled)
        return sum(self.release(cell) for cell in cells)

    @property
    def yielded(self) -> bool:
        """A node refused our epoch: a younger instance controls it, and this one must stop sending."""
        return self._superseded_by_newer

    def on_acknowledge(self, acknowledge: e2ap.ControlAcknowledge, node: str) -> None:
        """Match an acknowledgement to the control it answers."""
        self._metrics.count("controls_acked" if self._settle(node, acknowledge.call_process_id) else "acks_unmatched")

    def on_failure(self, failure: e2ap.ControlFailure, node: str) -> None:
        """Count a refused control by its cause; a stale epoch makes this instance yield."""
        known = self._settle(node, failure.call_process_id)
        self._metrics.count("controls_failed" if known else "acks_unmatched")
        if failure.outcome:
            outcome = dcm.decode_outcome(failure.outcome)
            self._metrics.drop(f"control_failed_{outcome.code.name.lower()}")
            if outcome.code is dcm.OutcomeCode.STALE_EPOCH:
                self._superseded_by_newer = True

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
                del self._outstanding[key]
        if overdue:
            self._metrics.count("controls_unanswered", len(overdue))

    def _send(self, target: ControlTarget, encode: Callable[[int], bytes], event: str) -> bool:
        with self._lock:
            self._decision_id += 1
            decision_id = self._decision_id
            call_process_id = decision_id.to_bytes(8, "big")
            key = (target.node, call_process_id)
            self._outstanding[key] = _Outstanding(decision_id, target.cell, time.monotonic())
        pdu = e2ap.encode_control_request(
            e2ap.ControlRequest(
                request_id=e2ap.RicRequestId(REQUESTOR_ID, target.instance_id),
                function_id=target.function_id,
                call_process_id=call_process_id,
                header=dcm.encode_control_header(dcm.ControlHeader(target.carrier.cell)),
                message=encode(decision_id),
                ack_request=e2ap.AckRequest.ACK,
            )
        )
        if self._transport.send(RmrMessage(RIC_CONTROL_REQUEST, pdu, meid=target.node)):
            self._metrics.count(event)
            return True
        with self._lock:
            self._outstanding.pop(key, None)
        self._metrics.drop("control_not_sent")
        return False

    def _settle(self, node: str, call_process_id: bytes | None) -> bool:
        with self._lock:
            return call_process_id is not None and self._outstanding.pop((node, call_process_id), None) is not None

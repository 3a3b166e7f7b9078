"""An E2 node made of a real agent's bytes: it says what was captured, and remembers what it is sent.

Only what must differ from one association to the next is put in: the request id of a subscription, and what an answer
echoes of the question.
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle
from pathlib import Path

from xapp.e2.e2ap import hot_messages as e2ap
from xapp.e2.e2ap import procedures
from xapp.e2.e2ap.elements import PduKind, Procedure
from xapp.lab.counters import Counters
from xapp.lab.e2_link.e2_transport import E2Association, E2Client
from xapp.lab.e2_link.e2_wire import E2Wire

CAPTURES = Path(__file__).parent / "captures.json"
REPORT_PERIOD_S = 0.02


class Captured:
    """One agent's PDUs, by kind."""

    def __init__(self, agent: str) -> None:
        entries = json.loads(CAPTURES.read_text(encoding="utf-8"))["pdus"]
        self.agent = next(entry["node"] for entry in entries if entry["node"].startswith(agent))
        self._pdus: dict[str, list[bytes]] = {}
        for entry in entries:
            if entry["node"] == self.agent:
                self._pdus.setdefault(entry["kind"], []).append(bytes.fromhex(entry["hex"]))

    def all(self, kind: str) -> list[bytes]:
        return self._pdus.get(kind, [])

    def setup(self) -> procedures.E2SetupRequest:
        (pdu,) = self.all("setup-request")
        message = procedures.decode(pdu)
        assert isinstance(message, procedures.E2SetupRequest)
        return message

    def indications(self) -> list[e2ap.Indication]:
        return [e2ap.decode_indication(pdu) for pdu in self.all("indication")]


class ReplayingNode:
    """Connects to a RIC; every subscription gets the captured reports over and over."""

    def __init__(
        self,
        captured: Captured,
        port: int,
        wire: E2Wire,
        *,
        setup: procedures.E2SetupRequest | None = None,
        reports: Sequence[e2ap.Indication] = (),
    ) -> None:
        """setup, reports: in place of the captured ones."""
        self._captured = captured
        self._setup = procedures.encode(setup) if setup is not None else captured.all("setup-request")[0]
        self._reports = list(reports) or captured.indications()
        self.subscriptions: queue.SimpleQueue[procedures.SubscriptionRequest] = queue.SimpleQueue()
        self.controls: queue.SimpleQueue[e2ap.ControlRequest] = queue.SimpleQueue()
        self.deleted: queue.SimpleQueue[procedures.SubscriptionDeleteRequest] = queue.SimpleQueue()
        self.accepted = threading.Event()
        self._active: set[tuple[e2ap.RicRequestId, int]] = set()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._association: E2Association | None = None
        self._thread = threading.Thread(target=self._report, daemon=True)
        self._thread.start()
        self._client = E2Client(
            "127.0.0.1", port, wire, self._on_open, self._on_pdu, lambda association, reason: None, Counters()
        )

    def close(self) -> None:
        self._closed.set()
        self._thread.join()
        self._client.close()

    def _on_open(self, association: E2Association) -> None:
        self._association = association
        association.send(self._setup)

    def _on_pdu(self, association: E2Association, pdu: bytes) -> None:
        if e2ap.peek(pdu) == (PduKind.INITIATING, Procedure.RIC_CONTROL):
            self._on_control(association, e2ap.decode_control_request(pdu))
            return
        match procedures.decode(pdu):
            case procedures.E2SetupResponse():
                self.accepted.set()
            case procedures.SubscriptionRequest() as request:
                (answer,) = self._captured.all("subscription-response")
                self._send_answer(association, answer, request)
                with self._lock:
                    self._active.add((request.request_id, request.function_id))
                self.subscriptions.put(request)
            case procedures.SubscriptionDeleteRequest() as request:
                with self._lock:
                    self._active.discard((request.request_id, request.function_id))
                (answer,) = self._captured.all("subscription-delete-response")
                self._send_answer(association, answer, request)
                self.deleted.put(request)

    @staticmethod
    def _send_answer(
        association: E2Association,
        captured: bytes,
        request: procedures.SubscriptionRequest | procedures.SubscriptionDeleteRequest,
    ) -> None:
        answer = procedures.decode(captured)
        assert isinstance(answer, procedures.SubscriptionResponse | procedures.SubscriptionDeleteResponse)
        answer = replace(answer, request_id=request.request_id, function_id=request.function_id)
        association.send(procedures.encode(answer))

    def _on_control(self, association: E2Association, request: e2ap.ControlRequest) -> None:
        answer = e2ap.decode_control_acknowledge(self._captured.all("control-acknowledge")[0])
        echoes = answer.call_process_id is not None
        answer = answer._replace(
            request_id=request.request_id,
            function_id=request.function_id,
            call_process_id=request.call_process_id if echoes else None,
        )
        association.send(e2ap.encode_control_acknowledge(answer))
        self.controls.put(request)

    def _report(self) -> None:
        for report in cycle(self._reports):
            if self._closed.wait(REPORT_PERIOD_S):
                return
            with self._lock:
                active = list(self._active)
            for request_id, function_id in active:
                pdu = e2ap.encode_indication(report._replace(request_id=request_id, function_id=function_id))
                if self._association is not None:
                    self._association.send(pdu)

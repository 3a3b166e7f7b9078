"""Stand-ins on loopback: any of the platform's HTTP services, and an E2 node behind RMR."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import numpy as np
import pytest
from deciding import Deciding

from policy.cell_state import make_cell_state
from policy.intent import Intent
from xapp.config.model import Controls
from xapp.control.cell_link import CellLink, ControlTarget, Report, ReportSubscription
from xapp.control.cell_tracker import CellTracker
from xapp.control.control_loop import ControlLoop
from xapp.control.decision_record import DecisionRecord
from xapp.control.encoder import DecisionContext
from xapp.control.mailbox import Mailbox
from xapp.control.receiver import Receiver
from xapp.control.sender import ControlSender
from xapp.control_kinds.dcm import DcmEncoder
from xapp.e2.dcm import messages as dcm
from xapp.e2.dialect import Dialect
from xapp.e2.e2ap import hot_messages as e2ap
from xapp.e2.kpm.report_writer import encode_report
from xapp.e2.ue_id.ue_id import GnbDuUeId
from xapp.monitoring.metrics import Metrics
from xapp.rmr.routes import RouteTable
from xapp.rmr.si95 import Si95Transport
from xapp.rmr.transport import (
    RIC_CONTROL_ACK,
    RIC_CONTROL_FAILURE,
    RIC_CONTROL_REQUEST,
    RIC_INDICATION,
    RmrMessage,
)


class Request(NamedTuple):
    method: str
    path: str
    body: Any
    """Decoded JSON, or None."""


Answer = tuple[int, object]
"""Status, and what is sent as JSON; bytes as they are; None = nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away before its answer is part of some tests."""


class FakeService:
    """An HTTP server that answers with `respond(request)` and remembers every request."""

    def __init__(self, respond: Callable[[Request], Answer]) -> None:
        self.respond = respond
        self.requests: list[Request] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _handle(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                request = Request(self.command, self.path, json.loads(raw) if raw else None)
                service.requests.append(request)
                status, body = service.respond(request)
                content = b"" if body is None else body
                data = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_DELETE = _handle

            def log_message(self, format: str, *args: object) -> None:
                """Test output is not a server log."""

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def of(self, method: str) -> list[Request]:
        return [request for request in self.requests if request.method == method]


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[Request], Answer]], FakeService]]:
    """`serve(respond)` starts a service; the test's end stops it."""
    with ExitStack() as stack:

        def start(respond: Callable[[Request], Answer]) -> FakeService:
            service = FakeService(respond)
            stack.callback(service.close)
            return service

        yield start


PATIENCE_S = 30.0


class FakeNode:
    """An E2 node as the loop sees it: RMR messages in both directions over real sockets, every byte the test's choice.

    `xapp` is the loop's transport. Reports are also to be had without a wire: `dcm_message`, `kpm_message`.
    """

    name = "gnb_001_001_00000001"
    nci = "00f110000000011"
    cell = f"{name}/{nci}"
    num_rbgs = 6
    dcm_instance = 21
    kpm_instance = 22

    def __init__(self) -> None:
        self.carrier = dcm.Carrier.of(self.nci, bwp_size_prb=24, rbg_size_prb=4)
        self.rmr = Si95Transport("127.0.0.1", 0, routes=RouteTable("newrt|start\nrte|1|192.0.2.1:9\nnewrt|end\n"))
        here = self.rmr.source
        self.xapp = Si95Transport(
            "127.0.0.1", 0, routes=RouteTable(f"newrt|start\nrte|{RIC_CONTROL_REQUEST}|{here}\nnewrt|end\n")
        )
        there = self.xapp.source
        types = (RIC_INDICATION, RIC_CONTROL_ACK, RIC_CONTROL_FAILURE, 12099)
        self.rmr.routes.update(
            "\n".join(["newrt|start", *(f"rte|{mtype}|{there}" for mtype in types), "newrt|end", ""])
        )

    def close(self) -> None:
        self.rmr.close()
        self.xapp.close()

    def target(self, nci: str = "") -> ControlTarget:
        carrier = dcm.Carrier.of(nci, bwp_size_prb=24, rbg_size_prb=4) if nci else self.carrier
        return ControlTarget(self.name, f"{self.name}/{carrier.cell}", 5, self.dcm_instance, carrier, DcmEncoder())

    def context(self, *, k: int = 1, **fields: Any) -> DecisionContext:
        """Of a decision about UEs 1 and 2."""
        state = make_cell_state(self.cell, num_rbgs=self.num_rbgs, slots_per_dcm=k, slot=0, ue_ids=(1, 2))
        return DecisionContext(state, **fields)

    def link(self, *, has_kpm: bool = False, has_dcm: bool = True, period_ms: int = 100) -> CellLink:
        tracker = CellTracker(
            self.cell, num_rbgs=self.num_rbgs, report_period_ms=period_ms, has_kpm=has_kpm, has_dcm=has_dcm
        )
        return CellLink(tracker, self.target())

    def indication(self, ue_ids: tuple[int, ...] = (1, 2), *, k: int = 1, slot: int = 0, **columns: Any) -> Any:
        """A DCM indication in which every UE has something to send."""
        count = len(ue_ids)
        known: dict[str, Any] = {
            "traffic_class": np.zeros(count),
            "buffer_bits": np.full(count, 4000.0),
            "cqi": np.full(count, 9.0),
            "preferred_rbg": np.arange(count, dtype=float) % self.num_rbgs,
            "inflight_bits": np.zeros(count),
            "served_bits": np.zeros(count),
            "deadline_slots": np.full(count, 20.0),
            **columns,
        }
        return dcm.Indication(ue_ids, k, slot if k < 10 else slot + k, 4, **known)

    def dcm_message(self, sn: int, indication: Any = None, *, slot: int | None = None, **changes: Any) -> RmrMessage:
        """changes: instance, meid, nci."""
        slot = sn if slot is None else slot
        header = dcm.IndicationHeader(changes.get("nci", self.nci), slot, 0)
        return self._report(
            changes.get("instance", self.dcm_instance),
            sn,
            dcm.encode_indication_header(header),
            dcm.encode_indication(indication or self.indication(slot=slot)),
            changes.get("meid", self.name),
        )

    def kpm_message(
        self,
        sn: int,
        values: dict[int, dict[str, float]],
        *,
        instance: int | None = None,
        dialect: Dialect = Dialect.STANDARD,
    ) -> RmrMessage:
        """values: by UE, then by measurement; all UEs have the same."""
        names = tuple(next(iter(values.values())))
        rows = np.array([list(row.values()) for row in values.values()], dtype=float)
        ue_ids = [GnbDuUeId(ue) for ue in values]
        message = encode_report(ue_ids, names, rows, 100, reals=("DRB.UEThpUl",), dialect=dialect)
        return self._report(instance or self.kpm_instance, sn, b"\0", message, self.name)

    def _report(self, instance: int, sn: int, header: bytes, message: bytes, meid: str) -> RmrMessage:
        indication = e2ap.Indication(
            e2ap.RicRequestId(123, instance), 5, 0, e2ap.IndicationType.REPORT, header, message, sn=sn
        )
        return RmrMessage(RIC_INDICATION, e2ap.encode_indication(indication), sub_id=instance, meid=meid)

    def send(self, message: RmrMessage) -> None:
        assert self.rmr.send(message)

    def next_control(self, timeout_s: float = PATIENCE_S) -> tuple[e2ap.ControlRequest, Any]:
        """The next control request and its DCM control."""
        message = self.rmr.receive(timeout_s)
        assert message is not None, "no control came"
        return self.decoded(message)

    def decoded(self, message: RmrMessage) -> tuple[e2ap.ControlRequest, Any]:
        """A control request and its DCM control."""
        assert (message.mtype, message.meid) == (RIC_CONTROL_REQUEST, self.name)
        request = e2ap.decode_control_request(message.payload)
        return request, dcm.decode_control(request.message)

    def acknowledgement(self, request: e2ap.ControlRequest) -> RmrMessage:
        pdu = e2ap.encode_control_acknowledge(
            e2ap.ControlAcknowledge(request.request_id, request.function_id, request.call_process_id)
        )
        return RmrMessage(RIC_CONTROL_ACK, pdu, sub_id=request.request_id.instance, meid=self.name)

    def refusal(self, request: e2ap.ControlRequest, code: dcm.OutcomeCode) -> RmrMessage:
        pdu = e2ap.encode_control_failure(
            e2ap.ControlFailure(
                request.request_id,
                request.function_id,
                e2ap.Cause("ricRequest", "control-failed-to-execute"),
                request.call_process_id,
                dcm.encode_outcome(dcm.Outcome(code, "because", dcm.decode_control(request.message).decision_id)),
            )
        )
        return RmrMessage(RIC_CONTROL_FAILURE, pdu, sub_id=request.request_id.instance, meid=self.name)


@pytest.fixture
def node() -> Iterator[FakeNode]:
    """A fake node and, as `node.xapp`, the loop's transport with routes both ways."""
    fake = FakeNode()
    yield fake
    fake.close()


class DecidingCell:
    """Receiver, loop and sender around one leader and one cell; decisions are made in the test's own thread."""

    def __init__(self, node: FakeNode, leader: Any, observer: Any = None, discretion: Any = None) -> None:
        self.node, self.metrics, self.intent = node, Metrics(), Intent()
        self.sender = ControlSender(node.xapp, self.metrics, instance_epoch=1, lease_periods=2, observer=observer)
        self.mailbox: Mailbox[Report] = Mailbox(0.0)
        self.receiver = Receiver(node.xapp, self.mailbox, self.sender, self.metrics, observer=observer)
        self.loop = ControlLoop(
            Controls(decision_deadline_ms=10_000.0),
            leader,
            self.mailbox,
            self.sender,
            self.metrics,
            links=self.receiver.links,
            intent_of=lambda cell: self.intent,
            observer=observer,
            discretion=discretion,
        )
        self.link = node.link()
        self.receiver.attach(node.dcm_instance, ReportSubscription(node.cell, "dcm"), self.link)

    def report(self, sn: int, indication: Any = None) -> None:
        self.receiver.on_message(self.node.dcm_message(sn, indication))

    def decide_what_waits(self) -> DecisionRecord:
        """About what was reported last."""
        self.loop.decide([report for _, report in self.mailbox.take(0.0)])
        return self.loop.log.newest(self.node.cell)[0]

    def decide(self, sn: int, indication: Any = None) -> DecisionRecord:
        self.report(sn, indication)
        return self.decide_what_waits()

    def close(self) -> None:
        self.loop.close()


@pytest.fixture
def make_cell(node: FakeNode) -> Iterator[Callable[..., DecidingCell]]:
    """`make_cell(leader, tap)`: a cell of `node` whose decisions the test makes."""
    with ExitStack() as stack:

        def make(leader: Any, observer: Any = None, discretion: Any = None) -> DecidingCell:
            cell = DecidingCell(node, leader, observer, discretion)
            stack.callback(cell.close)
            return cell

        yield make


@pytest.fixture
def make(node: FakeNode) -> Iterator[Callable[..., Deciding]]:
    """`make(leader, **controls)` starts a control loop; the test's end stops it."""
    with ExitStack() as stack:

        def start(leader: Any, **controls: Any) -> Deciding:
            deciding = Deciding(node, leader, **controls)
            deciding.loop.start()
            stack.callback(deciding.loop.close)
            return deciding

        yield start

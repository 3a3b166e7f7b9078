"""A RIC and gNBs in this process, over real sockets, and the least an xApp can be: what the lab's tests share."""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI, Request

from policy.allocation import IDLE, Allocation
from xapp.e2.dcm import messages as dcm
from xapp.e2.dialect import Dialect
from xapp.e2.e2ap import hot_messages as e2ap
from xapp.e2.kpm import messages as kpm
from xapp.http.server import BackgroundServer
from xapp.lab.e2_link.e2_wire import available_wires
from xapp.lab.gnb.gnb import Gnb
from xapp.lab.gnb.options import GnbOptions
from xapp.lab.ric.command import Ric
from xapp.lab.ric.options import RIC_PORTS, RicOptions
from xapp.lab.status_lines import Lines
from xapp.rmr.routes import RouteTable
from xapp.rmr.si95 import Si95Transport
from xapp.rmr.transport import (
    RIC_CONTROL_ACK,
    RIC_CONTROL_FAILURE,
    RIC_CONTROL_REQUEST,
    RIC_INDICATION,
    RmrMessage,
)

WAIT_S = 30.0
ONE_SLICE = kpm.Condition("sNSSAI", "equal", {"valueOctS": "01"})
PERIOD_MS = 30
MEASUREMENTS = ("DRB.UEThpUl", "RRU.PrbTotUl", "CQI")


def wait_until(condition: Callable[[], bool], timeout_s: float = WAIT_S) -> None:
    """For what no event announces (another process's state seen over REST)."""
    give_up_at = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < give_up_at, "it never became true"
        time.sleep(0.01)


class RecordedLines(Lines):
    """Keeps the lines instead of printing them; a status whenever the node looks."""

    def __init__(self) -> None:
        super().__init__(True, lambda event, fields: "")
        self.ready: queue.Queue[dict[str, Any]] = queue.Queue()
        self.final: dict[str, Any] = {}
        self.newest: dict[str, Any] = {}
        self._changed = threading.Condition()

    def emit(self, event: str, fields: dict[str, Any]) -> None:
        if event == "ready":
            self.ready.put(fields)
            return
        with self._changed:
            self.newest = fields
            if event == "final":
                self.final = fields
            self._changed.notify_all()

    def status_due(self) -> bool:
        return True

    def wait_for(self, condition: Callable[[dict[str, Any]], bool], timeout_s: float = WAIT_S) -> dict[str, Any]:
        """The first status for which the condition holds."""
        with self._changed:
            assert self._changed.wait_for(lambda: bool(self.newest) and condition(self.newest), timeout_s), self.newest
            return self.newest


class RunningGnb:
    """A gNB in a thread."""

    def __init__(self, options: GnbOptions) -> None:
        self.gnb = Gnb(options)
        self.lines = RecordedLines()
        self._thread = threading.Thread(target=self.gnb.run, args=(self.lines,))
        self._thread.start()
        self.ready = self.lines.ready.get(timeout=150.0)  # a first run compiles the simulator

    @property
    def name(self) -> str:
        return self.gnb.name

    @property
    def cells(self) -> list[str]:
        return [carrier.cell for carrier in self.gnb.mac.carriers]

    def stop(self) -> dict[str, Any]:
        """Its final line."""
        self.lines.stop.set()
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()
        return self.lines.final


class TestXapp:
    """Subscribes by REST, receives by RMR, controls."""

    __test__ = False

    def __init__(self, ric: Ric) -> None:
        self.ric = ric
        self.notifications: queue.Queue[dict[str, Any]] = queue.Queue()
        app = FastAPI()

        @app.post("/ric/v1/subscriptions/response")
        async def response(request: Request) -> dict[str, str]:
            self.notifications.put(await request.json())
            return {}

        self.server = BackgroundServer(app, "127.0.0.1", 0)
        assert self.server.wait_started()
        routes = RouteTable(f"newrt|start\nmse|{RIC_CONTROL_REQUEST}|-1|{ric.transport.source}\nnewrt|end|1")
        self.rmr = Si95Transport("127.0.0.1", 0, routes=routes)
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{ric.submgr_http.port}/ric/v1", trust_env=False)
        self.e2mgr = httpx.Client(base_url=f"http://127.0.0.1:{ric.e2mgr_http.port}/v1", trust_env=False)
        self._events = itertools.count(1)
        self._calls = itertools.count(1)

    def close(self) -> None:
        self.http.close()
        self.e2mgr.close()
        self.rmr.close()
        self.server.close()

    # -- subscriptions ------------------------------------------------------------------------------------------------

    def post(self, meid: str, function_id: int, trigger: bytes, definition: bytes) -> httpx.Response:
        action = {"ActionID": 1, "ActionType": "report", "ActionDefinition": list(definition)}
        after = {"SubsequentActionType": "continue", "TimeToWait": "zero"}
        detail = {
            "XappEventInstanceId": next(self._events),
            "EventTriggers": list(trigger),
            "ActionToBeSetupList": [{**action, "SubsequentAction": after}],
        }
        endpoint = {"Host": "127.0.0.1", "HTTPPort": self.server.port, "RMRPort": self.rmr.port}
        body = {
            "ClientEndpoint": endpoint,
            "Meid": meid,
            "RANFunctionID": function_id,
            "SubscriptionDetails": [detail],
        }
        return self.http.post("/subscriptions", json=body)

    def subscribe_dcm(self, gnb: RunningGnb, cell: str = "", period_ms: int = PERIOD_MS) -> dict[str, Any]:
        """The instance of its notification."""
        trigger = dcm.encode_event_trigger(dcm.EventTrigger(period_ms))
        definition = dcm.encode_action_definition(dcm.ActionDefinition(cell or gnb.cells[0]))
        return self._subscribe(gnb.name, dcm.DCM_FUNCTION_ID, trigger, definition)

    def subscribe_kpm(
        self,
        gnb: RunningGnb,
        names: tuple[str, ...] = MEASUREMENTS,
        cell: str = "",
        period_ms: int = PERIOD_MS,
        style: int = 4,
        dialect: Dialect = Dialect.STANDARD,
    ) -> dict[str, Any]:
        trigger = kpm.encode_event_trigger(kpm.EventTrigger(period_ms))
        action = kpm.ActionDefinition(style, names, period_ms, cell or gnb.cells[0], (ONE_SLICE,))
        return self._subscribe(gnb.name, 2, trigger, kpm.encode_action_definition(action, dialect))

    def _subscribe(self, *args: Any) -> dict[str, Any]:
        answer = self.post(*args)
        assert answer.status_code == 201, answer.text
        notification = self.notifications.get(timeout=WAIT_S)
        assert notification["SubscriptionId"] == answer.json()["SubscriptionId"]
        (instance,) = notification["SubscriptionInstances"]
        return {**instance, "SubscriptionId": notification["SubscriptionId"]}

    # -- messages -----------------------------------------------------------------------------------------------------

    def receive(self, mtype: int, sub_id: int | None = None, timeout_s: float = WAIT_S) -> RmrMessage:
        """The next message of this type (and subscription); others are passed over."""
        give_up_at = time.monotonic() + timeout_s
        while time.monotonic() < give_up_at:
            message = self.rmr.receive(0.1)
            if message is not None and message.mtype == mtype and sub_id in (None, message.sub_id):
                return message
        raise AssertionError(f"no message of type {mtype}")

    def indication(self, sub_id: int) -> e2ap.Indication:
        return e2ap.decode_indication(self.receive(RIC_INDICATION, sub_id).payload)

    def dcm_report(self, sub_id: int) -> tuple[int, dcm.IndicationHeader, dcm.Indication]:
        """Sequence number, header and message of the next DCM indication."""
        indication = self.indication(sub_id)
        assert indication.sn is not None
        header = dcm.decode_indication_header(indication.header)
        return indication.sn, header, dcm.decode_indication(indication.message)

    def drain(self) -> None:
        while self.rmr.receive(0.0) is not None:
            pass

    # -- controls -----------------------------------------------------------------------------------------------------

    def control(
        self,
        gnb: RunningGnb,
        message: bytes,
        *,
        instance: int,
        cell: str = "",
        ack: e2ap.AckRequest | None = e2ap.AckRequest.ACK,
        function_id: int = dcm.DCM_FUNCTION_ID,
    ) -> bytes:
        """Send one control; returns its call process id."""
        call = next(self._calls).to_bytes(4, "big")
        header = dcm.encode_control_header(dcm.ControlHeader(cell or gnb.cells[0]))
        request = e2ap.ControlRequest(e2ap.RicRequestId(123, instance), function_id, header, message, call, ack)
        pdu = e2ap.encode_control_request(request)
        assert self.rmr.send(RmrMessage(RIC_CONTROL_REQUEST, pdu, meid=gnb.name))
        return call

    def answer(self, call: bytes) -> tuple[e2ap.Cause | None, dcm.Outcome | None]:
        """The answer to that call: (None, outcome) acknowledged, (cause, outcome) failed."""
        give_up_at = time.monotonic() + WAIT_S
        while time.monotonic() < give_up_at:
            message = self.rmr.receive(0.1)
            if message is None or message.mtype not in (RIC_CONTROL_ACK, RIC_CONTROL_FAILURE):
                continue
            if message.mtype == RIC_CONTROL_ACK:
                acknowledge = e2ap.decode_control_acknowledge(message.payload)
                if acknowledge.call_process_id == call:
                    assert acknowledge.outcome is not None
                    return None, dcm.decode_outcome(acknowledge.outcome)
            else:
                failure = e2ap.decode_control_failure(message.payload)
                if failure.call_process_id == call:
                    return failure.cause, dcm.decode_outcome(failure.outcome) if failure.outcome else None
        raise AssertionError("no answer to the control")


def first_ue_gets_all(ue_ids: tuple[int, ...], num_rbgs: int) -> Allocation:
    return Allocation(ue_ids, np.zeros(num_rbgs, np.int16))


def all_idle(ue_ids: tuple[int, ...], num_rbgs: int) -> Allocation:
    return Allocation(ue_ids, np.full(num_rbgs, IDLE, np.int16))


class LabRig:
    """A RIC, an xApp, and the gNBs that a test starts."""

    all_idle = staticmethod(all_idle)
    first_ue_gets_all = staticmethod(first_ue_gets_all)
    wait_until = staticmethod(wait_until)

    def __init__(self, **ric: Any) -> None:
        self.ric = Ric(RicOptions(**{**dict.fromkeys(RIC_PORTS, 0), "xapp_route_port": 0, **ric}))
        self.xapp = TestXapp(self.ric)
        self._gnbs: list[RunningGnb] = []
        self._gnb_ids = itertools.count(1)

    def gnb(self, **options: Any) -> RunningGnb:
        """A gNB that has set up with the RIC."""
        defaults = {"scenario": "mix", "k": 1, "ues": 3, "period_ms": PERIOD_MS, "seed": 7}
        defaults |= {"e2": f"127.0.0.1:{self.ric.e2term.port}", "e2_transport": self.ric.wire}
        gnb = RunningGnb(GnbOptions(**{**defaults, "gnb_id": next(self._gnb_ids), **options}))
        self._gnbs.append(gnb)
        gnb.lines.wait_for(lambda status: status["connected"])
        return gnb

    def stop_gnbs(self) -> None:
        while self._gnbs:
            self._gnbs.pop().stop()
        self.xapp.drain()

    def close(self) -> None:
        self.stop_gnbs()
        self.xapp.close()
        self.ric.close()


@pytest.fixture(scope="session", params=available_wires())
def shared_lab(request: pytest.FixtureRequest) -> Iterator[LabRig]:
    """One RIC for many tests, over each E2 transport that this machine has."""
    lab = LabRig(e2_transport=request.param)
    yield lab
    lab.close()


@pytest.fixture
def lab(shared_lab: LabRig) -> Iterator[LabRig]:
    """The shared RIC; gNBs of the test end with it."""
    yield shared_lab
    shared_lab.stop_gnbs()


@pytest.fixture
def make_lab() -> Iterator[Callable[..., LabRig]]:
    """A RIC with options of its own."""
    labs: list[LabRig] = []

    def make(**options: Any) -> LabRig:
        labs.append(LabRig(**options))
        return labs[-1]

    yield make
    for lab in labs:
        lab.close()

"""The subscription manager's stand-in over real HTTP, with a scripted E2 side."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import Response

from xapp.http.server import BackgroundServer
from xapp.lab.counters import Counters
from xapp.lab.ric.submgr import E2Answer, SubscriptionManager, make_submgr_app
from xapp.lab.ric.submgr_models import Detail, Endpoint

WAIT_S = 30.0
NODE = "gnb_001_001_00000001"


class ScriptedE2:
    """Answers each subscription as told; `hold` keeps the answer back."""

    def __init__(self) -> None:
        self.up = {NODE}
        self.answer = E2Answer(True)
        self.hold = threading.Event()
        self.hold.set()
        self.subscribed: list[int] = []
        self.unsubscribed: queue.Queue[int] = queue.Queue()

    def connected(self, meid: str) -> bool:
        return meid in self.up

    def subscribe(self, meid: str, function_id: int, instance_id: int, detail: Detail, timeout_s: float) -> E2Answer:
        self.subscribed.append(instance_id)
        assert self.hold.wait(WAIT_S)
        return self.answer

    def unsubscribe(self, meid: str, function_id: int, instance_id: int, timeout_s: float) -> E2Answer:
        self.unsubscribed.put(instance_id)
        return E2Answer(True)


class RecordedRoutes:
    def __init__(self) -> None:
        self.endpoints: dict[int, str] = {}

    def add(self, instance_id: int, endpoint: str) -> None:
        self.endpoints[instance_id] = endpoint

    def remove(self, instance_id: int) -> None:
        self.endpoints.pop(instance_id, None)


class Xapp:
    """Receives notifications; answers with the statuses it was given, then 200."""

    def __init__(self) -> None:
        self.notifications: queue.Queue[dict[str, Any]] = queue.Queue()
        self.statuses: list[int] = []
        app = FastAPI()

        @app.post("/ric/v1/subscriptions/response")
        async def response(request: Request) -> Response:
            self.notifications.put(await request.json())
            return Response(status_code=self.statuses.pop(0) if self.statuses else 200)

        self.server = BackgroundServer(app, "127.0.0.1", 0)
        assert self.server.wait_started()

    def notified(self) -> dict[str, Any]:
        return self.notifications.get(timeout=WAIT_S)


class CurrentManager:
    """Stands before the manager of the test that runs, so that all tests share one HTTP server."""

    manager: SubscriptionManager

    def __getattr__(self, name: str) -> Any:
        return getattr(self.manager, name)


class Servers:
    """The HTTP servers of both sides, and a client."""

    def __init__(self) -> None:
        self.xapp, self.current = Xapp(), CurrentManager()
        self.server = BackgroundServer(make_submgr_app(self.current), "127.0.0.1", 0)
        assert self.server.wait_started()
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.server.port}", trust_env=False)

    def close(self) -> None:
        self.http.close()
        self.server.close()
        self.xapp.server.close()


class Rig:
    """A manager behind HTTP, and the xApp that it notifies."""

    def __init__(self, servers: Servers, notify_first: bool = False) -> None:
        self.e2, self.routes, self.counters = ScriptedE2(), RecordedRoutes(), Counters()
        self.manager = SubscriptionManager(self.e2, self.routes, self.counters, notify_first=notify_first, retry_s=0.05)
        servers.current.manager = self.manager
        self.xapp, self.http = servers.xapp, servers.http
        self.path = "/ric/v1/subscriptions"

    def body(self, **changes: Any) -> dict[str, Any]:
        body = {
            "ClientEndpoint": {"Host": "127.0.0.1", "HTTPPort": self.xapp.server.port, "RMRPort": 4560},
            "Meid": NODE,
            "RANFunctionID": 2,
            "SubscriptionDetails": [
                {
                    "XappEventInstanceId": 7,
                    "EventTriggers": [0, 1, 255],
                    "ActionToBeSetupList": [{"ActionID": 1, "ActionType": "report", "ActionDefinition": [9]}],
                }
            ],
        }
        return {**body, **changes}

    def post(self, **changes: Any) -> httpx.Response:
        return self.http.post(self.path, json=self.body(**changes))

    def close(self) -> None:
        self.e2.hold.set()
        self.manager.close()
        self.xapp.statuses.clear()
        while not self.xapp.notifications.empty():
            self.xapp.notifications.get()


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    servers = Servers()
    yield servers
    servers.close()


@pytest.fixture
def make_rig(servers: Servers) -> Iterator[Callable[..., Rig]]:
    rigs: list[Rig] = []

    def make(**options: Any) -> Rig:
        rigs.append(Rig(servers, **options))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.close()


@pytest.fixture
def rig(make_rig: Callable[..., Rig]) -> Rig:
    return make_rig()


def test_a_post_is_accepted_then_notified_and_routed(rig: Rig) -> None:
    rig.e2.hold.clear()
    answer = rig.post()
    assert answer.status_code == 201
    assert rig.xapp.notifications.empty()
    rig.e2.hold.set()
    (instance,) = rig.e2.subscribed or [1]
    assert rig.xapp.notified() == {
        "SubscriptionId": answer.json()["SubscriptionId"],
        "SubscriptionInstances": [{"XappEventInstanceId": 7, "E2EventInstanceId": instance}],
    }
    assert rig.routes.endpoints == {instance: "127.0.0.1:4560"}
    listed = rig.http.get(rig.path).json()
    assert listed == [{"SubscriptionId": instance, "Meid": NODE, "ClientEndpoint": ["127.0.0.1:4560"]}]


def test_the_notification_may_come_before_the_201(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(notify_first=True)
    answer = rig.post()
    notification = rig.xapp.notifications.get_nowait()
    assert notification["SubscriptionId"] == answer.json()["SubscriptionId"]


def test_the_same_body_gets_the_old_id_and_another_notification(rig: Rig) -> None:
    first = rig.post().json()["SubscriptionId"]
    told = rig.xapp.notified()
    assert rig.post().json()["SubscriptionId"] == first
    assert rig.xapp.notified() == told
    assert rig.post(SubscriptionId=first).json()["SubscriptionId"] == first
    assert rig.xapp.notified() == told
    assert len(rig.e2.subscribed) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"Meid": ""},
        {"RANFunctionID": 4096},
        {"RANFunctionID": "2"},
        {"SubscriptionDetails": []},
        {"SubscriptionDetails": [{"XappEventInstanceId": 65536, "EventTriggers": [], "ActionToBeSetupList": []}]},
        {"E2SubscriptionDirectives": {"E2RetryCount": 1}},
        {"ClientEndpoint": {"Host": "x"}},
    ],
)
def test_a_body_that_breaks_the_schema_is_a_400(rig: Rig, changes: dict[str, Any]) -> None:
    assert rig.post(**changes).status_code == 400
    assert rig.e2.subscribed == []


def test_other_refusals(rig: Rig) -> None:
    assert rig.http.post(rig.path, content=b"{").status_code == 400
    assert rig.post(Meid="gnb_unknown").status_code == 503
    assert rig.post(SubscriptionId="never-seen").status_code == 404
    assert rig.http.delete(f"{rig.path}/never-seen").status_code == 204


def test_delete_waits_for_the_procedure_then_frees_the_node(rig: Rig) -> None:
    rig.e2.hold.clear()
    subscription_id = rig.post().json()["SubscriptionId"]
    assert rig.http.delete(f"{rig.path}/{subscription_id}").status_code == 400
    assert rig.post(SubscriptionId=subscription_id).status_code == 400
    rig.e2.hold.set()
    instance = rig.xapp.notified()["SubscriptionInstances"][0]["E2EventInstanceId"]
    assert rig.http.delete(f"{rig.path}/{subscription_id}").status_code == 204
    assert rig.e2.unsubscribed.get(timeout=WAIT_S) == instance
    assert rig.http.get(rig.path).json() == []


def test_a_refusal_by_the_node_is_notified_with_its_cause(rig: Rig) -> None:
    rig.e2.answer = E2Answer(False, "ricRequest: action-not-supported")
    rig.post()
    (instance,) = rig.xapp.notified()["SubscriptionInstances"]
    assert instance == {
        "XappEventInstanceId": 7,
        "E2EventInstanceId": 0,
        "ErrorCause": "ricRequest: action-not-supported",
        "ErrorSource": "E2Node",
    }
    assert rig.routes.endpoints == {}
    assert rig.http.get(rig.path).json() == []


def test_a_silent_node_is_tried_again_then_cleaned_up(rig: Rig) -> None:
    rig.e2.answer = E2Answer(False, "no answer", timed_out=True)
    rig.post(E2SubscriptionDirectives={"E2TimeoutTimerValue": 1, "E2RetryCount": 2, "RMRRoutingNeeded": True})
    (instance,) = rig.xapp.notified()["SubscriptionInstances"]
    assert (instance["E2EventInstanceId"], instance["TimeoutType"]) == (0, "E2-Timeout")
    assert len(rig.e2.subscribed) == 3
    assert rig.e2.unsubscribed.get(timeout=WAIT_S) == rig.e2.subscribed[0]


def test_no_route_unless_asked_for(rig: Rig) -> None:
    rig.post(E2SubscriptionDirectives={"E2TimeoutTimerValue": 1})
    assert rig.xapp.notified()["SubscriptionInstances"][0]["E2EventInstanceId"] > 0
    assert rig.routes.endpoints == {}


def test_the_rmr_endpoint_is_the_http_service_renamed() -> None:
    endpoint = Endpoint(Host="service-ricxapp-stackmac-http.ricxapp", HTTPPort=8080, RMRPort=4560)
    assert endpoint.rmr == "service-ricxapp-stackmac-rmr.ricxapp:4560"


def test_a_notification_is_repeated_until_it_is_answered_200(rig: Rig) -> None:
    rig.xapp.statuses = [500, 404]
    rig.post()
    told = [rig.xapp.notified() for _ in range(3)]
    assert told[0] == told[1] == told[2]


def test_a_lost_node_takes_its_subscriptions_with_it_silently(rig: Rig) -> None:
    rig.post()
    rig.xapp.notified()
    rig.manager.node_lost(NODE)
    assert rig.http.get(rig.path).json() == []
    assert rig.routes.endpoints == {}
    rig.e2.up.clear()
    assert rig.post().status_code == 503
    assert rig.xapp.notifications.empty()


def test_a_node_lost_during_the_procedure_leaves_nothing_behind(rig: Rig) -> None:
    rig.e2.hold.clear()
    rig.post()
    rig.manager.node_lost(NODE)
    rig.e2.hold.set()
    rig.xapp.notified()
    rig.manager.close()  # the worker has ended after this
    assert rig.http.get(rig.path).json() == []
    assert rig.routes.endpoints == {}

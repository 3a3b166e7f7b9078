"""Registration with appmgr: the real client against the lab's stand-in over HTTP, and services that misbehave."""

from __future__ import annotations

import json
import random
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from waiting import PATIENCE_S

from xapp.http.server import BackgroundServer
from xapp.lab.ric.appmgr import AppManager, XappEndpoint, make_appmgr_app
from xapp.ric.appmgr import CHECK_S, FIRST_BACKOFF_S, MAX_BACKOFF_S, Registrar, Registration

CONFIG = {
    "name": "stackmac",
    "rmr": {"txMessages": ["RIC_CONTROL_REQ"], "rxMessages": ["RIC_INDICATION"], "policies": [1, "2", "x", 10**10]},
    "messaging": {"ports": [{"name": "rmrdata", "txMessages": ["SOMETHING_ELSE"], "rxMessages": [], "policies": []}]},
}
ME = Registration("stackmac-host", "stackmac", "1.2.3", "127.0.0.1:8080", "127.0.0.1:4560", json.dumps(CONFIG))


class Served:
    """The stand-in behind a port that can be closed and opened again, empty."""

    def __init__(self) -> None:
        self.manager = AppManager()
        self.server = BackgroundServer(make_appmgr_app(self.manager), "127.0.0.1", 0)
        assert self.server.wait_started()
        self.port = self.server.port
        self.url = f"http://127.0.0.1:{self.port}"

    def restart(self) -> None:
        self.server.close()
        self.manager = AppManager()
        self.server = BackgroundServer(make_appmgr_app(self.manager), "127.0.0.1", self.port)
        assert self.server.wait_started()


@pytest.fixture
def appmgr() -> Iterator[Served]:
    made = Served()
    yield made
    made.server.close()


@pytest.fixture
def registrar() -> Callable[..., Registrar]:
    def make(url: str, registration: Registration = ME, **options: Any) -> Registrar:
        return Registrar(url, registration, rng=random.Random(0), **options)

    return make


def test_it_registers_once_and_the_route_manager_sees_where_it_is(appmgr: Served, registrar: Any) -> None:
    client = registrar(appmgr.url)
    assert not client.registered
    assert client.run() == CHECK_S
    assert client.registered and client.last_error == ""
    assert appmgr.manager.endpoints() == (
        XappEndpoint("stackmac", "127.0.0.1:4560", ("RIC_CONTROL_REQ",), ("RIC_INDICATION",), (1, 2)),
    )
    appmgr.manager.on_change = lambda: pytest.fail("it registered again")
    assert client.run() == CHECK_S


def test_an_appmgr_that_restarted_hears_of_it_again(appmgr: Served, registrar: Any) -> None:
    client = registrar(appmgr.url)
    client.run()
    appmgr.restart()
    assert appmgr.manager.endpoints() == ()
    assert client.run() == CHECK_S
    assert [endpoint.name for endpoint in appmgr.manager.endpoints()] == ["stackmac"]


def test_a_changed_configuration_is_registered_anew(appmgr: Served, registrar: Any) -> None:
    client = registrar(appmgr.url)
    client.run()
    client.update(replace(ME, config=json.dumps({"rmr": {"txMessages": ["NEW"], "rxMessages": []}})))
    assert not client.registered
    client.run()
    (endpoint,) = appmgr.manager.endpoints()
    assert endpoint.tx_messages == ("NEW",)
    client.update(client._registration)
    assert client.registered


def test_deregistration_is_final_and_may_come_before_any_registration(appmgr: Served, registrar: Any) -> None:
    client = registrar(appmgr.url)
    client.run()
    assert client.deregister(2.0)
    assert appmgr.manager.endpoints() == ()
    client.run()
    assert appmgr.manager.endpoints() == ()
    assert registrar("http://127.0.0.1:9").deregister(2.0)


def test_a_registration_that_somebody_else_took_over_is_left_alone(appmgr: Served, registrar: Any) -> None:
    client = registrar(appmgr.url)
    client.run()
    client.abandon()
    client.run()
    assert client.deregister(2.0)
    assert [endpoint.name for endpoint in appmgr.manager.endpoints()] == ["stackmac"]


def test_without_messages_there_are_no_routes(appmgr: Served, registrar: Any) -> None:
    registrar(appmgr.url, replace(ME, config="{}")).run()
    assert len(appmgr.manager.listing()) == 1
    assert appmgr.manager.endpoints() == ()


def test_without_a_configuration_appmgr_asks_for_it(appmgr: Served, registrar: Any, serve: Any) -> None:
    mine = serve(lambda request: (200, [{"metadata": {}, "config": json.dumps(CONFIG)}]))
    registrar(appmgr.url, replace(ME, config="", httpEndpoint=mine.url.removeprefix("http://"))).run()
    assert [request.path for request in mine.requests] == ["/ric/v1/config"]
    assert len(appmgr.manager.endpoints()) == 1


@pytest.mark.parametrize(
    "change", [{"rmrEndpoint": "nowhere"}, {"config": "{"}, {"config": "[]"}, {"config": "", "httpEndpoint": "x:y"}]
)
def test_what_appmgr_refuses_is_an_error_and_tried_again(appmgr: Served, registrar: Any, change: Any) -> None:
    client = registrar(appmgr.url, replace(ME, **change))
    waits = [client.run() for _ in range(3)]
    assert not client.registered
    assert "400" in client.last_error
    assert all(0 < wait_s <= MAX_BACKOFF_S for wait_s in waits)


def test_the_pause_grows_with_each_failure_up_to_a_limit(registrar: Any, caplog: pytest.LogCaptureFixture) -> None:
    client = registrar("http://127.0.0.1:9")
    waits = [client.run() for _ in range(12)]
    assert waits[0] <= FIRST_BACKOFF_S
    assert MAX_BACKOFF_S / 2 <= waits[-1] <= MAX_BACKOFF_S
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1


def test_a_black_hole_costs_a_time_out(registrar: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = registrar(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.1)
        started_s = time.monotonic()
        client.run()
        assert time.monotonic() - started_s < PATIENCE_S
        assert not client.registered
        client.registered = True
        assert not client.deregister(0.1)


@pytest.mark.parametrize("listing", [b"{", 7, {}, [7], [{"instances": 7}], [{"instances": [7]}]])
def test_a_listing_that_makes_no_sense_is_survived(registrar: Any, serve: Any, listing: object) -> None:
    appmgr = serve(lambda request: (200, listing) if request.method == "GET" else (201, None))
    client = registrar(appmgr.url)
    client.run()
    client.run()
    assert client.registered
    assert len(appmgr.of("POST")) == (1 if listing == b"{" else 2)


@pytest.mark.parametrize(("body", "status"), [({}, 422), ({"appName": "a", "appInstanceName": "b"}, 400)])
def test_deregistering_a_stranger_is_refused(appmgr: Served, body: object, status: int) -> None:
    assert (
        httpx.post(f"{appmgr.url}/ric/v1/deregister", json=body, trust_env=False, timeout=PATIENCE_S).status_code
        == status
    )

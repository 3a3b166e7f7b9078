"""The xApp's HTTP server, asked over a real socket."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from waiting import PATIENCE_S

from xapp.http.routes import MAX_BODY_BYTES, build_app
from xapp.http.server import BackgroundServer, listen
from xapp.monitoring.metrics import Metrics, percentiles

RESPONSE_PATH = "/ric/v1/subscriptions/response"


class Served:
    """The app with answers that the test chooses."""

    def __init__(self) -> None:
        self.ready: tuple[bool, str] = (True, "")
        self.metrics = Metrics()
        self.notifications: list[bytes] = []
        self.answer = 200
        app = build_app(
            ready=lambda: self.ready,
            config=lambda: [{"metadata": {"xappName": "stackmac", "configType": "json"}, "config": "{}"}],
            metrics=self.metrics.prometheus,
            status=self.metrics.summary,
            symptoms=lambda: b"PK",
            on_notification=self._take,
        )
        self.server = BackgroundServer(app, "127.0.0.1", 0)
        assert self.server.wait_started()
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.server.port}", trust_env=False, timeout=PATIENCE_S)

    def _take(self, body: bytes) -> int:
        self.notifications.append(body)
        return self.answer

    def close(self) -> None:
        self.http.close()
        self.server.close()


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    made = Served()
    yield made
    made.close()


def test_it_is_alive(served: Served) -> None:
    answer = served.http.get("/ric/v1/health/alive")
    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})


def test_readiness_says_why_not(served: Served) -> None:
    served.ready = (False, "no route table")
    answer = served.http.get("/ric/v1/health/ready")
    assert (answer.status_code, answer.json()) == (503, {"status": "no route table"})
    served.ready = (True, "")
    answer = served.http.get("/ric/v1/health/ready")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready"})


def test_the_configuration_has_the_shape_that_the_platform_asks_for(served: Served) -> None:
    (entry,) = served.http.get("/ric/v1/config").json()
    assert set(entry) == {"metadata", "config"}
    assert set(entry["metadata"]) == {"xappName", "configType"}
    assert isinstance(entry["config"], str)


def test_metrics_are_prometheus_text(served: Served) -> None:
    served.metrics.count("indications_received", 3)
    served.metrics.count("something_else", 2)
    served.metrics.add_source("elsewhere", "Kept by somebody else.", "event", lambda: {"sent": 7})
    served.metrics.drop("wrong_cell")
    served.metrics.decided("model", 1.5, 2.5)
    served.metrics.set_state("nodes_connected", 1)
    answer = served.http.get("/ric/v1/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert samples[("stackmac_indications_received_total",)] == 3
    assert samples["stackmac_events_total", "something_else"] == 2
    assert samples["stackmac_elsewhere_total", "sent"] == 7
    assert samples["stackmac_dropped_total", "wrong_cell"] == 1
    assert samples["stackmac_decisions_total", "model"] == 1
    assert samples[("stackmac_nodes_connected",)] == 1
    assert samples[("stackmac_decision_seconds_count",)] == 1
    assert samples[("stackmac_loop_seconds_sum",)] == pytest.approx(0.0025)
    status = served.http.get("/ric/v1/status").json()
    assert status["indications_received"] == 3
    assert status["loop_ms"] == {"p50": 2.5, "p95": 2.5, "p99": 2.5}


def test_symptom_data_are_a_zip(served: Served) -> None:
    answer = served.http.get("/ric/v1/symptomdata")
    assert (answer.headers["content-type"], answer.content) == ("application/zip", b"PK")


def test_percentiles_of_nothing_are_none() -> None:
    assert percentiles([]) == {"p50": None, "p95": None, "p99": None}
    assert percentiles([float(i) for i in range(101)]) == {"p50": 50.0, "p95": 95.0, "p99": 99.0}


@pytest.mark.parametrize("status", [200, 400])
def test_a_notification_is_handed_on_as_it_came_and_answered_as_told(served: Served, status: int) -> None:
    served.answer = status
    body = b'{"SubscriptionId": "x", \xff not even JSON'
    assert served.http.post(RESPONSE_PATH, content=body).status_code == status
    assert served.notifications[-1] == body


def test_a_body_that_is_too_large_is_refused_unread(served: Served) -> None:
    before = len(served.notifications)
    largest = served.http.post(RESPONSE_PATH, content=b"x" * MAX_BODY_BYTES)
    assert largest.status_code == served.answer
    assert served.http.post(RESPONSE_PATH, content=b"x" * (MAX_BODY_BYTES + 1)).status_code == 413
    chunked = served.http.post(RESPONSE_PATH, content=iter([b"x" * 1000] * 100))
    assert chunked.status_code == 413
    assert len(served.notifications) == before + 1


def test_half_a_request_blocks_nobody(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.server.port)) as half:
        half.sendall(f"POST {RESPONSE_PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf".encode())
        assert served.http.get("/ric/v1/health/alive", timeout=5.0).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("GET", "/docs", 404), ("GET", "/ric/v1/health", 404), ("PUT", "/ric/v1/health/alive", 405)],
)
def test_there_is_nothing_else(served: Served, method: str, path: str, status: int) -> None:
    assert served.http.request(method, path).status_code == status


def test_an_address_that_cannot_be_had_is_named(served: Served) -> None:
    with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{served.server.port}: "):
        listen("127.0.0.1", served.server.port)
    with pytest.raises(OSError, match=r"cannot listen on no\.\.host:80: "):
        listen("no..host", 80)


def test_a_closed_server_gives_its_port_back() -> None:
    listener = listen("127.0.0.1", 0)
    app = build_app(
        ready=lambda: (True, ""),
        config=list,
        metrics=bytes,
        status=dict[str, Any],
        symptoms=bytes,
        on_notification=lambda body: 200,
    )
    server = BackgroundServer(app, listener=listener)
    assert server.wait_started()
    server.close()
    listen("127.0.0.1", server.port).close()

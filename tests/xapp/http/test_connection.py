"""HTTP cannot be held: clients that are slow, silent or many, over real sockets."""

from __future__ import annotations

import resource
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from waiting import PATIENCE_S, wait_for

from xapp.http.connection import LIMIT_S, MAX_CONNECTIONS, SHARE_OF_FILES, Phase, max_connections
from xapp.http.routes import WORKER_THREADS, build_app
from xapp.http.server import BackgroundServer

RESPONSE_PATH = "/ric/v1/subscriptions/response"
SHORT_S = 0.2
HALF_A_HEADER = b"GET /ric/v1/health/alive HTTP/1.1\r\nHost: x\r\nX-Slow: "
HALF_A_BODY = f"POST {RESPONSE_PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf".encode()


class Served:
    """The routes, whose slow answers wait until the test lets them go."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.waiting = 0
        self.symptoms_made = 0
        self.symptoms = b"PK"
        self.on_symptoms: Callable[[], None] = lambda: None
        app = build_app(
            ready=lambda: (True, ""),
            config=list,
            metrics=lambda: b"",
            status=self._status,
            symptoms=self._symptoms,
            on_notification=lambda body: 200,
        )
        self.server = BackgroundServer(app, "127.0.0.1", 0)
        assert self.server.wait_started()
        self.url = f"http://127.0.0.1:{self.server.port}"

    def _status(self) -> dict[str, Any]:
        self.waiting += 1
        assert self.go_on.wait(PATIENCE_S)
        self.waiting -= 1
        return {"instance": {}}

    def _symptoms(self) -> bytes:
        self.symptoms_made += 1
        self.on_symptoms()
        return self.symptoms

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.server.port), PATIENCE_S)

    def is_alive(self) -> bool:
        answer = httpx.get(f"{self.url}/ric/v1/health/alive", trust_env=False, timeout=PATIENCE_S)
        return answer.status_code == 200

    def close(self) -> None:
        self.go_on.set()
        self.server.close()


@pytest.fixture
def served() -> Iterator[Served]:
    made = Served()
    yield made
    made.close()


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> Callable[[Phase | None], None]:
    """`limit(phase)`: that one is short, the others, or all, are longer than a test has patience."""

    def shorten(phase: Phase | None) -> None:
        for each in Phase:
            monkeypatch.setitem(LIMIT_S, each, SHORT_S if each is phase else 10 * PATIENCE_S)

    return shorten


def is_closed(sock: socket.socket) -> bool:
    """The server has ended it; what it said before is read."""
    try:
        while select.select([sock], [], [], 0)[0]:
            if not sock.recv(1 << 16):
                return True
    except OSError:
        return True
    return False


@pytest.mark.parametrize(
    ("phase", "said"),
    [
        (Phase.HEADER, b""),
        (Phase.HEADER, HALF_A_HEADER),
        (Phase.HEADER, b"GET /ric/v1/health/alive HTTP/1.1\r\nHost: x\r\n\r\n"),
        (Phase.BODY, HALF_A_BODY),
        (Phase.HEADER, b"GET /ric/v1/health/ready HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"),
    ],
)
def test_a_request_that_is_not_completed_in_time_ends_its_connection(
    served: Served, limit: Callable[[Phase], None], phase: Phase, said: bytes
) -> None:
    limit(phase)
    with served.connect() as slow:
        slow.sendall(said)
        wait_for(lambda: is_closed(slow))


@pytest.mark.parametrize(("phase", "said"), [(Phase.HEADER, HALF_A_HEADER), (Phase.BODY, HALF_A_BODY)])
def test_a_byte_now_and_then_buys_no_time(
    served: Served, limit: Callable[[Phase], None], phase: Phase, said: bytes
) -> None:
    limit(phase)
    with served.connect() as slow:
        slow.sendall(said)

        def one_more() -> bool:
            try:
                slow.sendall(b"x")
            except OSError:
                return True
            time.sleep(SHORT_S / 10)
            return is_closed(slow)

        wait_for(one_more)


def test_a_client_that_does_not_read_its_answer_is_let_go(served: Served, limit: Callable[[Phase], None]) -> None:
    limit(Phase.ANSWER)
    served.symptoms = b"P" * (32 << 20)
    with served.connect() as deaf:
        deaf.sendall(b"GET /ric/v1/symptomdata HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(lambda: served.server.connections == 1)
        wait_for(lambda: served.server.connections == 0)


def test_an_answer_that_is_read_slowly_but_in_time_arrives_whole(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time for the next request does not begin while the answer to this one is on its way."""
    served.symptoms = b"P" * (8 << 20)
    # From here on: the first request may take its time on a busy machine.
    served.on_symptoms = lambda: monkeypatch.setitem(LIMIT_S, Phase.HEADER, SHORT_S)
    with served.connect() as slow:
        slow.sendall(b"GET /ric/v1/symptomdata HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        received = 0
        time.sleep(3 * SHORT_S)
        while data := slow.recv(1 << 18):
            received += len(data)
    assert received > 8 << 20


@pytest.mark.parametrize("said", [b"", HALF_A_HEADER, HALF_A_BODY])
def test_a_flood_of_slow_connections_keeps_no_probe_out(
    served: Served, limit: Callable[[None], None], said: bytes
) -> None:
    limit(None)
    with ExitStack() as stack:
        flood = []
        for number in range(3 * MAX_CONNECTIONS):
            flood.append(stack.enter_context(served.connect()))
            flood[-1].sendall(said)
            if number % 16 == 0:
                assert served.is_alive()
        wait_for(lambda: sum(map(is_closed, flood)) >= 2 * MAX_CONNECTIONS)
        assert served.server.connections <= MAX_CONNECTIONS
        assert served.is_alive()


def test_clients_that_wait_for_slow_answers_keep_no_probe_out(served: Served) -> None:
    """However many ask, a few answers are worked out at a time, and health is not one of them."""
    with ExitStack() as stack:
        for _ in range(3 * WORKER_THREADS):
            waiting = stack.enter_context(served.connect())
            waiting.sendall(b"GET /ric/v1/status HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(lambda: served.waiting == WORKER_THREADS)
        for path in ("alive", "ready"):
            answer = httpx.get(f"{served.url}/ric/v1/health/{path}", trust_env=False, timeout=PATIENCE_S)
            assert answer.status_code == 200
        assert served.waiting == WORKER_THREADS


@pytest.mark.parametrize(
    ("files", "most"),
    [(1 << 20, MAX_CONNECTIONS), (256, 256 // SHARE_OF_FILES), (1, 2), (resource.RLIM_INFINITY, MAX_CONNECTIONS)],
)
def test_connections_are_a_small_share_of_the_file_descriptors(
    monkeypatch: pytest.MonkeyPatch, files: int, most: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda what: (files, files))
    assert max_connections() == most

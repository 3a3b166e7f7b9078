"""Requests to the platform: whatever a service answers is an Answer or one RestError, in bounded time and memory."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from xapp.http.rest_client import MAX_ANSWER_BYTES, Answer, RestClient, RestError

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


@pytest.fixture
def endless() -> Iterator[Callable[[int, float], RestClient]]:
    """`endless(size, pause_s)`: a service whose answer never ends, so many bytes every so often."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(30.0)
    stopped = threading.Event()
    threads: list[threading.Thread] = []

    def answer(size: int, pause_s: float) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            try:
                connection.sendall(HEAD)
                while not stopped.wait(pause_s):
                    connection.sendall(bytes(size))
            except OSError:
                pass  # the client had enough

    def start(size: int, pause_s: float) -> RestClient:
        threads.append(threading.Thread(target=answer, args=(size, pause_s)))
        threads[-1].start()
        return RestClient("service", f"http://127.0.0.1:{listener.getsockname()[1]}", timeout_s=0.3)

    yield start
    stopped.set()
    for thread in threads:
        thread.join()
    listener.close()


def test_a_dribbled_answer_is_given_up(endless: Callable[[int, float], RestClient]) -> None:
    with pytest.raises(RestError, match=r"service: an answer that is not complete after 0\.3 s"):
        endless(1, 0.01).request("GET", "stream")


def test_a_huge_answer_is_given_up(endless: Callable[[int, float], RestClient]) -> None:
    client = endless(1 << 18, 0.0)
    client.timeout_s = 10.0
    with pytest.raises(RestError, match=f"service: an answer of more than {MAX_ANSWER_BYTES} bytes"):
        client.request("GET", "stream")


def test_a_segment_is_quoted_and_the_answer_is_whole(serve: Callable[..., Any]) -> None:
    service = serve(lambda request: (418, {"path": request.path, "got": request.body}))
    client = RestClient("service", service.url + "/", timeout_s=5.0)
    answer = client.request("POST", "a", "b/c d?", body=[1])
    assert (answer.service, answer.status) == ("service", 418)
    assert answer.json() == {"path": "/a/b%2Fc%20d%3F", "got": [1]}


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "no url", "http://\ud800/", "http://a..b/", "ftp://x/"])
def test_a_url_that_leads_nowhere_is_one_line(url: str) -> None:
    client = RestClient("service", url, timeout_s=1.0)
    with pytest.raises(RestError, match=r"^service: .+$"):
        client.request("GET", "x")


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b"1" * 5000], ids=range(5))
def test_what_is_no_json_is_one_line(body: bytes) -> None:
    with pytest.raises(RestError, match=r"^service: the answer is not JSON: .*$"):
        Answer("service", 200, body).json()

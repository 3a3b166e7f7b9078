"""The xApp's HTTP server (FastAPI on uvicorn, in its own thread): health, configuration, metrics, notifications."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

MAX_BODY_BYTES = 64 * 1024
"""Larger request bodies are refused: a subscription notification is a few hundred bytes."""


def listen(host: str, port: int) -> socket.socket:
    """A bound socket to listen on (port 0 = any). Raises OSError with the address in it."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, _, _, address = found[0]
        listener = socket.socket(family, kind)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except OSError:
            listener.close()
            raise
    except (OSError, UnicodeError) as error:
        raise cannot_listen(host, port, error) from None
    return listener


def cannot_listen(host: str, port: int, error: OSError | UnicodeError) -> OSError:
    """One line that names the address; a name that DNS could never have is a UnicodeError."""
    return OSError(f"cannot listen on {host}:{port}: {getattr(error, 'strerror', None) or error}")


class BackgroundServer:
    """Any ASGI app, served from a thread."""

    def __init__(self, app: FastAPI, host: str = "", port: int = 0, *, listener: socket.socket | None = None) -> None:
        """listener: a socket of `listen` instead of an address; it is closed with the server."""
        self._socket = listener or listen(host, port)
        self.port: int = self._socket.getsockname()[1]
        self._server = uvicorn.Server(
            uvicorn.Config(app, log_level="error", access_log=False, lifespan="off", timeout_graceful_shutdown=1)
        )
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name=f"http-{self.port}", daemon=True
        )
        self._thread.start()

    def wait_started(self, timeout_s: float = 10.0) -> bool:
        """True once requests are answered."""
        until_s = time.monotonic() + timeout_s
        while not self._server.started and time.monotonic() < until_s and self._thread.is_alive():
            time.sleep(0.01)
        return self._server.started

    def begin_close(self) -> None:
        """Have it stop soon: of several servers none then waits for the others."""
        self._server.should_exit = True

    def close(self) -> None:
        """Stop serving; open requests get one second."""
        self.begin_close()
        self._thread.join(timeout=3.0)
        self._socket.close()


async def read_body(request: Request) -> bytes | None:
    """The request's body; None if it is larger than MAX_BODY_BYTES."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            return None
    return body


def build_app(
    *,
    ready: Callable[[], tuple[bool, str]],
    config: Callable[[], list[dict[str, Any]]],
    metrics: Callable[[], bytes],
    status: Callable[[], dict[str, Any]],
    symptoms: Callable[[], bytes],
    on_notification: Callable[[bytes], int],
) -> FastAPI:
    """The xApp's routes.

    ready() = (is it, why not). symptoms() = a zip. on_notification(body) = the HTTP status to answer submgr with.
    """
    app = FastAPI(title="stackmac", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/ric/v1/health/alive")
    def alive() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/ric/v1/health/ready")
    def is_ready() -> JSONResponse:
        good, reason = ready()
        return JSONResponse({"status": "ready" if good else reason}, status_code=200 if good else 503)

    @app.get("/ric/v1/config")
    def configuration() -> JSONResponse:
        return JSONResponse(config())

    @app.get("/ric/v1/metrics")
    def exposition() -> Response:
        return Response(metrics(), media_type="text/plain; version=0.0.4")

    @app.get("/ric/v1/status")
    def numbers() -> JSONResponse:
        return JSONResponse(status())

    @app.get("/ric/v1/symptomdata")
    def symptom_zip() -> Response:
        headers = {"Content-Disposition": 'attachment; filename="symptomdata.zip"'}
        return Response(symptoms(), media_type="application/zip", headers=headers)

    @app.post("/ric/v1/subscriptions/response")
    async def subscription_response(request: Request) -> JSONResponse:
        body = await read_body(request)
        return JSONResponse({}, status_code=413 if body is None else on_notification(body))

    return app

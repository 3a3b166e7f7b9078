"""What the xApp answers over HTTP (FastAPI): health, configuration, metrics, status, symptom data, notifications."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import anyio
import anyio.to_thread
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from xapp.http.access import SYMPTOMS_PATH, Access, is_trusted

MAX_BODY_BYTES = 64 * 1024
"""Larger request bodies are refused: a subscription notification is a few hundred bytes."""

WORKER_THREADS = 4
"""Answers that are worked out at the same time, health not among them: each thread more takes turns from decisions."""


class FewThreads:
    """ASGI middleware: what waits for a thread waits in the event loop, whatever the number of clients."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        anyio.to_thread.current_default_thread_limiter().total_tokens = WORKER_THREADS
        await self._app(scope, receive, send)


async def _nothing() -> None:
    pass


async def read_body(request: Request) -> bytes | None:
    """The request's body; None if it is larger than MAX_BODY_BYTES, or does not come."""
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                return None
    except ClientDisconnect:
        return None
    return body


def build_app(
    *,
    ready: Callable[[], tuple[bool, str]],
    config: Callable[[], list[dict[str, Any]]],
    metrics: Callable[[], bytes],
    status: Callable[[], dict[str, Any]],
    open_status: Callable[[dict[str, Any]], dict[str, Any]] = dict,
    symptoms: Callable[[], bytes],
    on_notification: Callable[[bytes], int],
    problem: Callable[[], str] = lambda: "",
    token: Callable[[], str] | None = None,
) -> FastAPI:
    """The xApp's routes.

    ready() = (is it, why not); it must not block. open_status(status) = of it what everybody may see. symptoms() = a
    zip. on_notification(body) = the HTTP status to answer submgr with. problem() = what only a restart mends; empty =
    nothing. token: see xapp.http.access.
    """
    app = FastAPI(title="stackmac", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Access, token=token)
    app.add_middleware(FewThreads)
    anyio.run(_nothing)  # what it loads once takes 20 ms: the first notification of a subscription must not wait for it

    # Health waits for no thread: probes are answered however many ask for the rest.
    @app.get("/ric/v1/health/alive")
    async def alive() -> JSONResponse:
        why = problem()
        return JSONResponse({"status": why or "alive"}, status_code=503 if why else 200)

    @app.get("/ric/v1/health/ready")
    async def is_ready() -> JSONResponse:
        good, reason = ready()
        return JSONResponse({"status": "ready" if good else reason}, status_code=200 if good else 503)

    @app.get("/ric/v1/config")
    def configuration() -> JSONResponse:
        return JSONResponse(config())

    @app.get("/ric/v1/metrics")
    def exposition() -> Response:
        return Response(metrics(), media_type="text/plain; version=0.0.4")

    @app.get("/ric/v1/status")
    def numbers(request: Request) -> JSONResponse:
        found = status()
        return JSONResponse(found if is_trusted(request) else open_status(found))

    one_at_a_time = asyncio.Lock()

    @app.get(SYMPTOMS_PATH)
    async def symptom_zip() -> Response:
        headers = {"Content-Disposition": 'attachment; filename="symptomdata.zip"'}
        async with one_at_a_time:  # who waits takes up no thread
            content = await anyio.to_thread.run_sync(symptoms)
        return Response(content, media_type="application/zip", headers=headers)

    @app.post("/ric/v1/subscriptions/response")
    async def subscription_response(request: Request) -> JSONResponse:
        body = await read_body(request)
        return JSONResponse({}, status_code=413 if body is None else on_notification(body))

    return app

"""What the xApp answers over HTTP (FastAPI): health, configuration, metrics, status, symptom data, notifications."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

MAX_BODY_BYTES = 64 * 1024
"""Larger request bodies are refused: a subscription notification is a few hundred bytes."""


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
    problem: Callable[[], str] = lambda: "",
) -> FastAPI:
    """The xApp's routes.

    ready() = (is it, why not). symptoms() = a zip. on_notification(body) = the HTTP status to answer submgr with.
    problem() = what only a restart mends; empty = nothing.
    """
    app = FastAPI(title="stackmac", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/ric/v1/health/alive")
    def alive() -> JSONResponse:
        why = problem()
        return JSONResponse({"status": why or "alive"}, status_code=503 if why else 200)

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

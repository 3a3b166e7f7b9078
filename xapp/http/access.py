"""Who may read what over HTTP: what the platform asks for is open, the rest is for whom shows the token.

Without a token nothing can be shown: then everybody may read, but what a forger could use (epochs, whole messages,
symptom data) only whoever is on this host, as somebody in the pod is.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Callable

from fastapi import Request
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

OPEN_PATHS = frozenset(
    {
        "/ric/v1/health/alive",
        "/ric/v1/health/ready",
        "/ric/v1/config",
        "/ric/v1/metrics",
        "/ric/v1/subscriptions/response",
    }
)
"""The platform sends no token: probes, appmgr, Prometheus, the subscription manager."""
SYMPTOMS_PATH = "/ric/v1/symptomdata"
HOW_TO = "controls.http.token_file names the token that opens it"


class Access:
    """ASGI middleware. token: what has to be shown, asked for with each request; None = nothing."""

    def __init__(self, app: ASGIApp, *, token: Callable[[], str] | None) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            trusted = self._is_trusted(scope)
            scope.setdefault("state", {})["trusted"] = trusted
            if not trusted and self._is_closed(scope["path"]):
                await self._refusal()(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _is_trusted(self, scope: Scope) -> bool:
        if self._token is None:
            return _is_local(scope.get("client"))
        scheme, _, shown = Headers(scope=scope).get("authorization", "").partition(" ")
        # Bytes: what is shown may be any text.
        return scheme.lower() == "bearer" and hmac.compare_digest(shown.strip().encode(), self._token().encode())

    def _is_closed(self, path: str) -> bool:
        return path == SYMPTOMS_PATH if self._token is None else path not in OPEN_PATHS

    def _refusal(self) -> JSONResponse:
        if self._token is None:
            return JSONResponse({"detail": f"only from this host: {HOW_TO}"}, status_code=403)
        headers = {"WWW-Authenticate": "Bearer"}
        return JSONResponse({"detail": f"no token, or another one: {HOW_TO}"}, status_code=401, headers=headers)


def is_trusted(request: Request) -> bool:
    """Whether who asks may see what a forger could use; False where nobody has looked."""
    return bool(getattr(request.state, "trusted", False))


def _is_local(client: tuple[str, int] | None) -> bool:
    try:
        return client is not None and ipaddress.ip_address(client[0]).is_loopback
    except ValueError:
        return False  # no address

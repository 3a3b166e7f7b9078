"""The application manager's stand-in: xApps register here, and the route manager asks who is there.

One departure from the real one, which makes up each xApp's RMR host (`service-ricxapp-<instance>-rmr.ricxapp`): here it
is the one that was registered, as there is no DNS to resolve the other.
"""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict

from xapp.http.rest_client import RestClient, RestError
from xapp.rmr.routes import is_endpoint

logger = logging.getLogger(__name__)

CONFIG_TIMEOUT_S = 2.0
POLICY_TYPE = re.compile(r"[0-9]{1,9}")
"""It becomes a number in a route record; one that cannot be would spoil everybody's table."""


class Registration(BaseModel):
    """The body of POST /ric/v1/register."""

    model_config = ConfigDict(extra="ignore")

    appName: str
    appVersion: str = ""
    appInstanceName: str
    httpEndpoint: str
    rmrEndpoint: str
    configPath: str = ""
    config: str = ""


class Deregistration(BaseModel):
    """The body of POST /ric/v1/deregister."""

    model_config = ConfigDict(extra="ignore")

    appName: str
    appInstanceName: str


class XappEndpoint(NamedTuple):
    """A registered xApp as the route manager sees it."""

    name: str
    rmr: str
    """host:port of its RMR data port."""
    tx_messages: tuple[str, ...]
    """Names of the message types it sends (`RIC_CONTROL_REQ`, ...)."""
    rx_messages: tuple[str, ...]
    policies: tuple[int, ...]


class AppManager:
    """Who is registered. Thread safe. Whichever thread brings a new state about calls `on_change`."""

    def __init__(self, on_change: Callable[[], None] = lambda: None) -> None:
        self.on_change = on_change
        self._lock = threading.Lock()
        self._xapps: dict[tuple[str, str], tuple[Registration, XappEndpoint]] = {}

    def endpoints(self) -> tuple[XappEndpoint, ...]:
        """Every registered xApp; one that neither sends nor receives anything gets no routes and is left out."""
        with self._lock:
            endpoints = [endpoint for _, endpoint in self._xapps.values()]
        return tuple(endpoint for endpoint in endpoints if endpoint.tx_messages or endpoint.rx_messages)

    def register(self, registration: Registration) -> None:
        """Add an xApp, or replace what was known of it. ValueError for what the real one would refuse."""
        if not is_endpoint(registration.rmrEndpoint):
            raise ValueError(f"rmrEndpoint {registration.rmrEndpoint!r} is no host:port")
        config = registration.config or self._ask_for_config(registration)
        endpoint = _endpoint(registration, config)
        with self._lock:
            self._xapps[registration.appName, registration.appInstanceName] = registration, endpoint
        logger.info("xApp %s registered at %s", endpoint.name, endpoint.rmr)
        self.on_change()

    def deregister(self, app: Deregistration) -> bool:
        """False = it was not registered."""
        with self._lock:
            known = self._xapps.pop((app.appName, app.appInstanceName), None)
        if known is not None:
            self.on_change()
        return known is not None

    def listing(self) -> list[dict[str, Any]]:
        """Answer GET /ric/v1/xapps."""
        with self._lock:
            known = list(self._xapps.values())
        return [
            {
                "name": registration.appName,
                "status": "deployed",
                "version": registration.appVersion,
                "instances": [
                    {
                        "name": registration.appInstanceName,
                        "status": "deployed",
                        "ip": endpoint.rmr.rpartition(":")[0],
                        "port": int(endpoint.rmr.rpartition(":")[2]),
                        "txMessages": endpoint.tx_messages,
                        "rxMessages": endpoint.rx_messages,
                        "policies": endpoint.policies,
                    }
                ],
            }
            for registration, endpoint in known
        ]

    @staticmethod
    def _ask_for_config(registration: Registration) -> str:
        url = f"http://{registration.httpEndpoint}{registration.configPath}"
        try:
            return str(RestClient("xApp", url, timeout_s=CONFIG_TIMEOUT_S).request("GET").json()[0]["config"])
        except (RestError, LookupError, TypeError) as error:
            raise ValueError(f"no configuration at {url}: {error!r}") from None


def _endpoint(registration: Registration, config: str) -> XappEndpoint:
    try:
        document = json.loads(config)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the configuration is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise ValueError("the configuration is not an object")
    sections: Any = [document["rmr"]] if "rmr" in document else _dict(document.get("messaging")).get("ports")
    sections = [_dict(section) for section in sections] if isinstance(sections, list) else []

    def gathered(key: str) -> list[Any]:
        lists = [section.get(key) for section in sections]
        return [value for values in lists if isinstance(values, list) for value in values]

    return XappEndpoint(
        registration.appInstanceName,
        registration.rmrEndpoint,
        tuple(str(value) for value in gathered("txMessages")),
        tuple(str(value) for value in gathered("rxMessages")),
        tuple(int(value) for value in gathered("policies") if POLICY_TYPE.fullmatch(str(value))),
    )


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def make_appmgr_app(manager: AppManager) -> FastAPI:
    """appmgr's REST as far as xApps and the route manager use it."""
    app = FastAPI(title="appmgr stand-in", openapi_url=None)

    @app.post("/ric/v1/register")
    def register(registration: Registration) -> Response:
        try:
            manager.register(registration)
        except ValueError as error:
            logger.warning("registration of %s refused: %s", registration.appInstanceName, error)
            return Response(status_code=400)
        return Response(status_code=201)

    @app.post("/ric/v1/deregister")
    def deregister(app: Deregistration) -> Response:
        return Response(status_code=204 if manager.deregister(app) else 400)

    @app.get("/ric/v1/xapps")
    def xapps() -> JSONResponse:
        return JSONResponse(manager.listing())

    return app

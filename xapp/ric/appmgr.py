"""Registration with the platform's application manager: it tells the route manager where this xApp is.

`run` is a task: it registers, looks from time to time whether the registration is still known (appmgr forgets when it
restarts), and registers again. Everything may block for a time-out.
"""

from __future__ import annotations

import logging
import random
import threading
from dataclasses import asdict, dataclass
from typing import Any

from xapp.http.rest_client import RestClient, RestError

log = logging.getLogger(__name__)

CONFIG_PATH = "/ric/v1/config"
"""Where appmgr may ask for the configuration."""
CHECK_S = 10.0
"""How often a registration is looked up."""
FIRST_BACKOFF_S = 0.5
MAX_BACKOFF_S = 15.0


@dataclass(frozen=True, slots=True)
class Registration:
    """Who this xApp says it is. The platform makes the RMR host that routes lead to out of `appInstanceName`:
    `service-ricxapp-<appInstanceName>-rmr.ricxapp`.
    """

    appName: str
    appInstanceName: str
    """The descriptor's `name`."""
    appVersion: str
    httpEndpoint: str
    """host:port."""
    rmrEndpoint: str
    """host:port of the RMR data port."""
    config: str
    """The descriptor as JSON text: its message types become routes."""
    configPath: str = CONFIG_PATH


class Registrar:
    """Keeps this xApp registered from the first `run` to `deregister`. One thread at a time calls them."""

    def __init__(
        self, appmgr_url: str, registration: Registration, *, timeout_s: float = 3.0, rng: random.Random | None = None
    ) -> None:
        self._rest = RestClient("appmgr", appmgr_url, timeout_s=timeout_s)
        self._rng = rng or random.Random()
        self._lock = threading.Lock()
        self._registration = registration
        self._closed = False
        self._failures = 0
        self.registered = False
        self.last_error = ""
        """Why the newest attempt failed; empty if it did not."""

    def update(self, registration: Registration) -> None:
        """Register anew, with this, at the next `run`. From any thread."""
        with self._lock:
            if registration != self._registration:
                self._registration, self.registered = registration, False

    def run(self) -> float:
        """Do what is due; seconds until the next time. Never raises."""
        if self._closed:
            return MAX_BACKOFF_S
        try:
            if not self.registered or not self._is_known():
                self._register()
        except RestError as error:
            return self._after_failure(str(error))
        if self.last_error:
            log.info("appmgr: registered")
        self.last_error, self._failures = "", 0
        return CHECK_S

    def deregister(self, timeout_s: float) -> bool:
        """Take the registration back, for good; False if appmgr did not confirm it."""
        abandoned, self._closed = self._closed, True
        done = True
        if self.registered and not abandoned:
            registration = self._registration
            names = {"appName": registration.appName, "appInstanceName": registration.appInstanceName}
            try:
                answer = self._rest.request("POST", "ric", "v1", "deregister", body=names, timeout_s=timeout_s)
                done = answer.status in (200, 204, 400)  # 400: it does not know us, which is what we want
            except RestError as error:
                log.warning("not deregistered: %s", error)
                done = False
            self.registered = not done
        return done

    def abandon(self) -> None:
        """Somebody else has the registration now: neither renew it nor take it back."""
        self._closed, self.registered = True, False

    def resume(self) -> None:
        """After `abandon`: it is ours again, and to be renewed at the next `run`."""
        self._closed = False

    def _register(self) -> None:
        with self._lock:
            registration = self._registration
        answer = self._rest.request("POST", "ric", "v1", "register", body=asdict(registration))
        if answer.status != 201:
            raise RestError(f"appmgr answers {answer.status} to the registration: {answer.body[:200]!r}")
        with self._lock:
            self.registered = registration == self._registration
        log.info("registered with appmgr as %s (%s)", registration.appInstanceName, registration.rmrEndpoint)

    def _is_known(self) -> bool:
        """Raises RestError if nobody says."""
        return (self._registration.appName, self._registration.appInstanceName) in registered_names(self._rest)

    def _after_failure(self, error: str) -> float:
        if not self.last_error:
            log.warning("registration: %s", error)
        self.last_error = error
        longest = min(MAX_BACKOFF_S, FIRST_BACKOFF_S * 2 ** min(self._failures, 16))
        self._failures += 1
        return longest * self._rng.uniform(0.5, 1.0)


def registered_names(appmgr: RestClient) -> set[tuple[str, str]]:
    """(appName, appInstanceName) of everybody. Raises RestError if appmgr does not say."""
    answer = appmgr.request("GET", "ric", "v1", "xapps")
    if answer.status != 200:
        raise RestError(f"appmgr answers {answer.status} when asked for its xApps")
    return {
        (str(xapp.get("name")), str(instance.get("name")))
        for xapp in _objects(answer.json())
        for instance in _objects(xapp.get("instances"))
    }


def _objects(value: object) -> list[dict[str, Any]]:
    """The objects of a JSON list; whatever else there is is passed over."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []

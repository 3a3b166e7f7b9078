"""Requests to the platform's REST services: an answer of bounded size, or one RestError whatever comes back."""

from __future__ import annotations

import json
import time
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx

from policy.errors import ServiceError

MAX_ANSWER_BYTES = 1 << 22
"""Hundreds of nodes with their RAN functions; a stream that never ends is none."""


class RestError(ServiceError):
    """A request without a usable answer: one line that names the service."""


class Answer(NamedTuple):
    service: str
    status: int
    body: bytes

    def json(self) -> Any:
        """Raises RestError, also for JSON that Python cannot hold (nesting, digits)."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise RestError(f"{self.service}: the answer is not JSON: {self.body[:60]!r}") from None


class RestClient:
    """One service below one URL. Thread safe; blocks for about a time-out, so never in the decision path."""

    def __init__(self, service: str, url: str, *, timeout_s: float) -> None:
        self.service = service
        self.timeout_s = timeout_s
        self._url = url.rstrip("/")
        self._http = httpx.Client(timeout=timeout_s, trust_env=False)

    def request(self, method: str, *path: str, body: object = None, timeout_s: float | None = None) -> Answer:
        """`path`: the segments below the URL, as they are. `body`: sent as JSON. Raises RestError."""
        limit_s = self.timeout_s if timeout_s is None else timeout_s
        until_s = time.monotonic() + limit_s
        received = bytearray()
        try:
            url = "/".join([self._url, *(quote(segment, safe="") for segment in path)])
            with self._http.stream(method, url, json=body, timeout=limit_s) as response:
                for chunk in response.iter_bytes():
                    received += chunk
                    if len(received) > MAX_ANSWER_BYTES:
                        raise RestError(f"{self.service}: an answer of more than {MAX_ANSWER_BYTES} bytes")
                    if time.monotonic() > until_s:  # httpx's own limit is for each piece of it
                        raise RestError(f"{self.service}: an answer that is not complete after {limit_s:g} s")
                return Answer(self.service, response.status_code, bytes(received))
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:  # ValueError: text that is not UTF-8's
            raise RestError(f"{self.service}: {error or type(error).__name__}") from None

    def close(self) -> None:
        self._http.close()

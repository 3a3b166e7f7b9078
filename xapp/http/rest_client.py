"""Requests to REST services: an answer of bounded size, or one RestError, whatever comes back.

By the standard library: httpx takes longer to import than all the rest of a process that asks once.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, IncompleteRead
from typing import Any, NamedTuple
from urllib.parse import SplitResult, quote, urlencode, urlsplit

from policy.errors import ServiceError

MAX_ANSWER_BYTES = 1 << 22
"""Hundreds of nodes with their RAN functions; a stream that never ends is none."""
PIECE_BYTES = 1 << 16


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
    """One service below one URL. Thread safe; blocks for about a time-out, so never in the decision path.

    Each request has a connection of its own: nothing is kept open towards a service that is asked every second.
    """

    def __init__(self, service: str, url: str, *, timeout_s: float, token: str = "") -> None:
        """token: shown with each request, "" = none."""
        self.service = service
        self._authorization = {"Authorization": f"Bearer {token}"} if token else {}
        self.timeout_s = timeout_s
        self._url = url.rstrip("/")

    def request(
        self,
        method: str,
        *path: str,
        body: object = None,
        query: Mapping[str, int] | None = None,
        timeout_s: float | None = None,
    ) -> Answer:
        """`path`: the segments below the URL, as they are. `body`: sent as JSON. Raises RestError."""
        limit_s = self.timeout_s if timeout_s is None else timeout_s
        until_s = time.monotonic() + limit_s
        try:
            asked = f"?{urlencode(query)}" if query else ""
            url = urlsplit("/".join([self._url, *(quote(segment, safe="") for segment in path)]) + asked)
            content = None if body is None else json.dumps(body, allow_nan=False).encode()
            headers = {} if body is None else {"Content-Type": "application/json"}
            with closing(_connection(url, limit_s)) as connection:
                target = (url.path or "/") + (f"?{url.query}" if url.query else "")
                connection.request(method, target, content, {"Accept": "*/*", **self._authorization, **headers})
                response = connection.getresponse()
                return Answer(self.service, response.status, self._received(response, until_s, limit_s))
        except OSError as error:
            where = url.netloc.rpartition("@")[2]
            raise RestError(f"{self.service}: {where}: {error.strerror or error or type(error).__name__}") from None
        except (HTTPException, ValueError) as error:  # ValueError: a URL, or text, that is none
            raise RestError(f"{self.service}: {error or type(error).__name__}") from None

    def _received(self, response: HTTPResponse, until_s: float, limit_s: float) -> bytes:
        received = bytearray()
        while chunk := response.read1(PIECE_BYTES):
            received += chunk
            if len(received) > MAX_ANSWER_BYTES:
                raise RestError(f"{self.service}: an answer of more than {MAX_ANSWER_BYTES} bytes")
            if time.monotonic() > until_s:  # a socket's own limit is for each piece of it
                raise RestError(f"{self.service}: an answer that is not complete after {limit_s:g} s")
        if response.length:
            raise IncompleteRead(bytes(received), response.length)
        return bytes(received)


def _connection(url: SplitResult, timeout_s: float) -> HTTPConnection:
    """Raises ValueError for a URL without scheme or host."""
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError(f"the URL is {url.geturl()!r}, expected http://HOST:PORT or https://HOST:PORT")
    kind = HTTPSConnection if url.scheme == "https" else HTTPConnection
    return kind(url.hostname, url.port, timeout=timeout_s)

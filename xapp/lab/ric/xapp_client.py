"""What managers ask of xApps over HTTP, by the standard library: httpx takes as long to import as all that a RIC has of
its own, and brings a terminal's colours.
"""

from __future__ import annotations

import json
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from typing import Any, NamedTuple
from urllib.parse import urlsplit


class NoAnswer(Exception):
    """An xApp that cannot be asked, or does not answer."""


class Answer(NamedTuple):
    status: int
    body: bytes


def ask(method: str, url: str, *, timeout_s: float, document: Any = None) -> Answer:
    """One request, with a document as JSON, on a connection of its own. Raises NoAnswer.

    timeout_s: of connecting, and of each part of the answer.
    """
    try:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError("expected http://HOST:PORT")
        body = None if document is None else json.dumps(document).encode()
        headers = {} if document is None else {"Content-Type": "application/json"}
        with closing(HTTPConnection(parts.hostname, parts.port, timeout=timeout_s)) as connection:
            path = parts.path or "/"
            connection.request(method, f"{path}?{parts.query}" if parts.query else path, body, headers)
            response = connection.getresponse()
            return Answer(response.status, response.read())
    except (OSError, HTTPException, ValueError) as error:  # UnicodeError, of a host's name, is a ValueError
        raise NoAnswer(f"{type(error).__name__}: {error}") from None

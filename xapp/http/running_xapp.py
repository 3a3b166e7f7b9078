"""A running xApp as commands ask it: a JSON document, or one line that says why there is none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from policy.errors import RunFailed
from xapp.http.rest_client import RestClient, RestError
from xapp.http.token_file import refused_token, token_of

T = TypeVar("T")
TIMEOUT_S = 30.0
"""Explaining a decision takes the longest."""
MAX_DETAIL_CHARACTERS = 1000


class NoAnswerError(RunFailed):
    """One line for the user."""


class RunningXapp:
    """The HTTP server of one xApp."""

    def __init__(self, url: str, token_file: Path | None) -> None:
        """token_file: holds what opens it, None = nothing does. Raises UserMistake for a file without a token."""
        self._url, self._token_file = url.rstrip("/"), token_file
        self._token = token_of(token_file)

    def ask(
        self,
        path: str,
        *segments: str,
        read: Callable[[Any], T],
        method: str = "GET",
        query: Mapping[str, int] | None = None,
    ) -> T:
        """What `read` makes of the document there. segments: what comes below the path.

        Raises NoAnswerError, also where `read` misses something: another service answered, or another version.
        """
        client = RestClient("xApp", f"{self._url}{path}", timeout_s=TIMEOUT_S, token=self._token)
        try:
            answer = client.request(method, *segments, query=query)
            if refused := refused_token(answer.status, self._url, self._token_file):
                raise NoAnswerError(refused)
            document = answer.json()
        except RestError as error:
            raise NoAnswerError(f"{self._url} does not answer as an xApp: {error}") from None
        if answer.status != 200:
            detail = document.get("detail", document) if isinstance(document, dict) else document
            raise NoAnswerError(f"{self._url}: {str(detail)[:MAX_DETAIL_CHARACTERS]}")
        try:
            return read(document)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            what = f"{type(error).__name__}: {error}"
            raise NoAnswerError(f"{self._url} does not answer {path} as an xApp of this version: {what}") from None

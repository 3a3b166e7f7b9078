"""The bearer token that opens the xApp's HTTP server, in a file: of the server, and of the commands that ask it."""

from __future__ import annotations

import logging
import string
from pathlib import Path

from policy.errors import UserMistake

log = logging.getLogger(__name__)

UNAUTHORIZED = 401
MIN_CHARACTERS, MAX_CHARACTERS = 16, 4096
CHARACTERS = frozenset(string.ascii_letters + string.digits + string.punctuation)


def read_token(name: str, path: Path) -> str:
    """The token in the file that `name` (a field, a flag) names. Raises UserMistake, without what was read."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_CHARACTERS + 64)
    except OSError as error:
        raise UserMistake(f"{name} is {str(path)!r}: {error.strerror}") from None
    token = content.decode("utf-8", "replace").strip()
    if not MIN_CHARACTERS <= len(token) <= MAX_CHARACTERS or not CHARACTERS.issuperset(token):
        raise UserMistake(
            f"{name} is {str(path)!r}, which holds no token: expected one line of {MIN_CHARACTERS} to {MAX_CHARACTERS}"
            " visible ASCII characters"
        )
    return token


def token_of(path: Path | None) -> str:
    """What a command shows: the token in the file of --token-file; "" = it was not given. Raises UserMistake."""
    return "" if path is None else read_token("--token-file", path)


def refused_token(status: int, url: str, path: Path | None) -> str:
    """One line where an xApp asks for a token, or for another one; "" = its answer is about something else. path: of
    --token-file, None = not given.
    """
    if status != UNAUTHORIZED:
        return ""
    if path is not None:
        return f"{url} takes another token than the one in --token-file {path}: its controls.http.token_file names it"
    return f"{url} asks for a token: show the one that its controls.http.token_file names, with --token-file FILE"


class ServedToken:
    """The token that the server asks for. A file that is replaced (as a Kubernetes Secret is) holds at the next
    request; one that becomes unreadable changes nothing. Raises UserMistake for one that is unreadable at first.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._token = read_token("controls.http.token_file", path)
        self._seen = self._stamp()

    def __call__(self) -> str:
        """The token in force. A look at the file's date: nothing that blocks for long."""
        stamp = self._stamp()
        if stamp != self._seen:
            self._seen = stamp
            try:
                self._token = read_token("controls.http.token_file", self._path)
            except UserMistake as error:
                log.warning("the token before stays in force: %s", error)
        return self._token

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_ino, status.st_size

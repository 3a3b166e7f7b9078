"""Addresses of HTTP services, as they are configured and typed."""

from __future__ import annotations

from urllib.parse import urlsplit

from policy.errors import UserMistake


def is_http_url(text: str) -> bool:
    """Whether HTTP can be asked there: scheme and host, maybe a port and a path, nothing else."""
    try:
        parts = urlsplit(text)
        port = 1 if parts.port is None else parts.port
    except ValueError:
        return False
    whole = text.isprintable() and not any(mark in text for mark in " ?#")
    return whole and parts.scheme in ("http", "https") and bool(parts.hostname) and port > 0


def check_url(flag: str, text: str) -> None:
    """Refuse what is not the URL of an HTTP service. Raises UserMistake."""
    if not is_http_url(text):
        raise UserMistake(f"{flag} is {text!r}, expected http://HOST:PORT")

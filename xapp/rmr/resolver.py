"""Host names to addresses without ever blocking the caller."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any

Addresses = list[tuple[socket.AddressFamily, tuple[Any, ...]]]


def look_up(endpoint: str, flags: int = 0) -> Addresses | OSError:
    """The addresses of host:port in the resolver's order."""
    host, _, port = endpoint.rpartition(":")
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=flags)
    except UnicodeError as error:  # a label that is too long or otherwise impossible
        return OSError(f"{host!r} cannot be a host name: {error}")
    except OSError as error:
        return error
    return [(family, address) for family, _, _, _, address in found]


def resolve(endpoint: str, done: Callable[[Addresses | OSError], None]) -> None:
    """Call `done` with the outcome: at once for a numeric host, from a thread of its own for a name."""
    numeric = look_up(endpoint, socket.AI_NUMERICHOST)
    if not isinstance(numeric, OSError):
        done(numeric)
        return
    try:
        threading.Thread(target=lambda: done(look_up(endpoint)), name="rmr-resolve", daemon=True).start()
    except RuntimeError as error:  # no more threads: like a name that does not resolve, worth another attempt
        done(OSError(str(error)))

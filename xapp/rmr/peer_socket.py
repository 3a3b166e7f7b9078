"""The sockets of an SI95 endpoint: how they are dialled, and what they are told."""

from __future__ import annotations

import socket
from typing import Any

UNSENT_TIMEOUT_MS = 5000
"""A peer that acknowledges nothing for this long is gone (TCP_USER_TIMEOUT)."""


def dial(family: socket.AddressFamily, address: tuple[Any, ...]) -> socket.socket:
    """A socket whose connection is being set up."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        tune(sock)
        sock.connect(address)
    except BlockingIOError:
        pass
    except OSError:
        sock.close()
        raise
    return sock


def tune(sock: socket.socket) -> None:
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNSENT_TIMEOUT_MS)

"""Ports that nobody has at the moment."""

from __future__ import annotations

import socket


def free_port() -> int:
    """One that may be taken by someone else between choosing and using it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

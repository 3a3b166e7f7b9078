"""Ports that nobody has at the moment."""

from __future__ import annotations

import random
import socket

NOT_EPHEMERAL = range(20_000, 32_768)
"""Linux gives outgoing connections, and whoever asks for any port, ports above these."""
_RNG = random.SystemRandom()
"""Several processes look for ports at once; and no test's own numbers depend on it."""


def free_port() -> int:
    """One that stays free unless someone else chooses it, too: no connection gets it, and no server of any port."""
    while True:
        port = _RNG.choice(NOT_EPHEMERAL)
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue

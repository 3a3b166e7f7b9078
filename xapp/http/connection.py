"""A connection that cannot be held: HTTP/1.1 as uvicorn speaks it, with a time limit for each part of a request, and
with a limit of connections at which the one that has been silent for longest gives way.

uvicorn by itself waits for ever for the rest of a request, and for a client to read its answer.
"""

from __future__ import annotations

import asyncio
import resource
from enum import Enum, auto
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_CONNECTIONS = 64
ACCEPTED_AT_ONCE = 32
"""Connections that are taken in one round of the event loop, before the limit is looked at."""
SHARE_OF_FILES = 8
"""Connections are at most this share of the file descriptors that the process may open: RMR, Redis and the platform's
services need theirs, whoever connects here."""


def max_connections() -> int:
    """How many there may be in this process."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_CONNECTIONS if soft == resource.RLIM_INFINITY else max(2, min(MAX_CONNECTIONS, soft // SHARE_OF_FILES))


class Phase(Enum):
    """What a connection waits for."""

    HEADER = auto()
    """A request's line and headers, from the connection's start or the answer before."""
    BODY = auto()
    """What the platform sends fits into one packet."""
    ANSWER = auto()
    """From the whole request until the client has taken the answer."""


LIMIT_S = {Phase.HEADER: 5.0, Phase.BODY: 5.0, Phase.ANSWER: 60.0}


class BoundedConnection(H11Protocol):
    """In uvicorn's event loop."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._phase: Phase | None = None
        self._request: object = None
        """Whose phase it is."""
        self._since_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        if len(self.connections) >= max_connections():
            self._evict()
        super().connection_made(transport)
        self._look()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def _evict(self) -> None:
        """Close the connection that has waited for longest for its client; where none waits, the oldest answer."""
        held = [each for each in self.connections if isinstance(each, BoundedConnection)]
        if held:
            longest = min(held, key=lambda each: (each._phase is Phase.ANSWER, each._since_s))
            self.connections.discard(longest)  # at once: there may be more to accept in this round of the event loop
            longest.transport.abort()

    def _look(self) -> None:
        """Start the time of a phase that has just begun; more of the same gets no more."""
        phase = self._now()
        if phase is self._phase and self.cycle is self._request:
            return
        self._phase, self._request, self._since_s = phase, self.cycle, self.loop.time()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(LIMIT_S[phase], self._give_up)

    def _now(self) -> Phase:
        if self.cycle is None or self.cycle.response_complete:
            # What the client has not read yet is still its answer.
            return Phase.ANSWER if self.transport.get_write_buffer_size() else Phase.HEADER
        return Phase.BODY if self.conn.their_state is h11.SEND_BODY else Phase.ANSWER

    def _give_up(self) -> None:
        if self._now() is not self._phase:
            self._look()  # the answer has been read meanwhile
        else:
            self.transport.abort()  # not close(): that waits for a client that may never read

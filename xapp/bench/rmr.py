"""What `stackmac bench rmr` measures: a question and its answer over loopback, by each transport."""

from __future__ import annotations

import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xapp.config.model import RmrConfig
from xapp.rmr.osc import LibrmrTransport
from xapp.rmr.routes import RouteTable
from xapp.rmr.settings import resolve_settings
from xapp.rmr.si95 import Si95Transport
from xapp.rmr.transport import RIC_CONTROL_ACK, RIC_INDICATION, RmrMessage, Transport

PATIENCE_S = 10.0
READ_BYTES = 1 << 16


class Echo:
    """The other end of every comparison: a Python endpoint that answers with what it got."""

    def __init__(self) -> None:
        self.transport = Si95Transport("127.0.0.1", 0)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while (message := self.transport.receive(PATIENCE_S)) is not None:
            self.transport.reply(message, RIC_CONTROL_ACK, message.payload)

    def close(self) -> None:
        self.transport.close()
        self._thread.join()


class RoundTrip:
    """One question after the other; each waits for its answer."""

    def __init__(self, transport: Transport, payload: bytes) -> None:
        self._transport, self._message = transport, RmrMessage(RIC_INDICATION, payload)

    def __call__(self) -> None:
        if not self._transport.send(self._message) or self._transport.receive(PATIENCE_S) is None:
            raise RuntimeError(f"no answer: {self._transport.counters}")


def routes_to(endpoint: str) -> str:
    return f"newrt|start\nrte|{RIC_INDICATION}|{endpoint}\nnewrt|end|1\n"


@contextmanager
def si95_round_trip(payload: bytes) -> Iterator[RoundTrip]:
    """Python at both ends."""
    echo = Echo()
    near = Si95Transport("127.0.0.1", 0, routes=RouteTable(routes_to(echo.transport.source)))
    try:
        yield RoundTrip(near, payload)
    finally:
        near.close()
        echo.close()


@contextmanager
def librmr_round_trip(payload: bytes) -> Iterator[RoundTrip]:
    """librmr at the near end. LibrmrMissing where there is none."""
    echo = Echo()
    config = RmrConfig(bind_host="127.0.0.1", host="127.0.0.1", port=0, route_manager="-1")
    try:
        with tempfile.TemporaryDirectory() as folder:
            seed = Path(folder) / "routes.rt"
            seed.write_text(routes_to(echo.transport.source), encoding="utf-8")
            near = LibrmrTransport(resolve_settings(config, {"RMR_SEED_RT": str(seed)}))
            try:
                give_up_at = time.monotonic() + PATIENCE_S
                while not near.ready and time.monotonic() < give_up_at:
                    time.sleep(0.01)
                yield RoundTrip(near, payload)
            finally:
                near.close()
    finally:
        echo.close()


@contextmanager
def socket_round_trip(payload: bytes) -> Iterator[SocketRoundTrip]:
    """The same octets over a plain TCP connection: what is left without any messaging."""
    trip = SocketRoundTrip(payload)
    try:
        yield trip
    finally:
        trip.close()


class SocketRoundTrip:
    """Both ends block in the kernel; nothing is framed, queued or routed."""

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self._near = socket.create_connection(listener.getsockname())
            self._far, _ = listener.accept()
        for end in (self._near, self._far):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._thread = threading.Thread(target=self._echo, daemon=True)
        self._thread.start()

    def _echo(self) -> None:
        while data := self._far.recv(READ_BYTES):
            self._far.sendall(data)

    def __call__(self) -> None:
        self._near.sendall(self._payload)
        missing = len(self._payload)
        while missing:
            missing -= len(self._near.recv(READ_BYTES))

    def close(self) -> None:
        self._near.close()
        self._thread.join()
        self._far.close()

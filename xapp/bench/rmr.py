"""What `stackmac bench rmr` measures: a question and its answer over loopback, by each transport."""

from __future__ import annotations

import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from xapp.bench.echo import READ_BYTES, SI95, SOCKET, echo
from xapp.bench.in_turn import Case, in_turn
from xapp.config.model import RmrConfig
from xapp.rmr.osc import LibrmrTransport, librmr_problem
from xapp.rmr.routes import RouteTable
from xapp.rmr.settings import resolve_settings
from xapp.rmr.si95 import Si95Transport
from xapp.rmr.transport import RIC_INDICATION, RmrMessage, Transport

PATIENCE_S = 10.0


class RoundTrip:
    """One question after the other; each waits for its answer."""

    def __init__(self, transport: Transport, payload: bytes) -> None:
        self._transport, self._message = transport, RmrMessage(RIC_INDICATION, payload)

    def __call__(self) -> None:
        if not self._transport.send(self._message) or self._transport.receive(PATIENCE_S) is None:
            raise RuntimeError(f"no answer: {self._transport.counters}")


def rmr_cases(payload: bytes, seconds: float, at_least: int, at_most: int) -> Iterator[Case]:
    """Round trips in turn, by the clock: half of one happens in another process."""
    what = f"round trip, {len(payload) // 1000} KB"
    with ExitStack() as opened:
        runs: dict[str, Callable[[], object]] = {
            "si95": opened.enter_context(si95_round_trip(payload)),
            "a bare socket": opened.enter_context(socket_round_trip(payload)),
        }
        if not librmr_problem():
            runs["librmr"] = opened.enter_context(librmr_round_trip(payload))
        found = in_turn(runs, seconds, at_least, at_most, clock=time.perf_counter)
    ours = found.pop("si95")
    for name, theirs in found.items():
        params = {"bytes": len(payload), "theirs_p99_us": round(theirs.p99_us, 1)}
        yield Case(f"{what}, si95", params, ours, name, theirs.median_us)
    yield one_thread_case(f"{what}, one thread", payload, seconds, at_least, at_most)


def one_thread_case(what: str, payload: bytes, seconds: float, at_least: int, at_most: int) -> Case:
    """Both ends in this thread, by its processor time: the work alone, as nobody is woken."""
    with two_endpoints(payload) as endpoints, two_sockets(payload) as sockets:
        found = in_turn({"si95": endpoints, "sockets": sockets}, seconds, at_least, at_most)
    return Case(what, {"bytes": len(payload)}, found["si95"], "bare sockets", found["sockets"].median_us)


@contextmanager
def two_endpoints(payload: bytes) -> Iterator[Callable[[], None]]:
    """A question from one endpoint to another and the answer, each received before the next is sent."""
    with ExitStack() as opened:
        near, far = (Si95Transport("127.0.0.1", 0, routes=RouteTable()) for _ in range(2))
        for end, other in ((near, far), (far, near)):
            opened.callback(end.close)
            end.routes.update(routes_to(f"127.0.0.1:{other.port}"))
        message = RmrMessage(RIC_INDICATION, payload)

        def run() -> None:
            for sender, receiver in ((near, far), (far, near)):
                if not sender.send(message) or receiver.receive(PATIENCE_S) is None:
                    raise RuntimeError(f"nothing came: {sender.counters}")

        yield run


@contextmanager
def two_sockets(payload: bytes) -> Iterator[Callable[[], None]]:
    """The same octets from one end of a TCP connection to the other and back."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    with near, far:
        for end in (near, far):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def run() -> None:
            for sender, receiver in ((near, far), (far, near)):
                sender.sendall(payload)
                missing = len(payload)
                while missing:
                    missing -= len(receiver.recv(READ_BYTES))

        yield run


def routes_to(endpoint: str) -> str:
    return f"newrt|start\nrte|{RIC_INDICATION}|{endpoint}\nnewrt|end|1\n"


@contextmanager
def si95_round_trip(payload: bytes) -> Iterator[RoundTrip]:
    """Python at both ends."""
    with echo(SI95) as port:
        near = Si95Transport("127.0.0.1", 0, routes=RouteTable(routes_to(f"127.0.0.1:{port}")))
        try:
            yield RoundTrip(near, payload)
        finally:
            near.close()


@contextmanager
def librmr_round_trip(payload: bytes) -> Iterator[RoundTrip]:
    """librmr at the near end. LibrmrMissing where there is none."""
    config = RmrConfig(bind_host="127.0.0.1", host="127.0.0.1", port=0, route_manager="-1")
    with echo(SI95) as port, tempfile.TemporaryDirectory() as folder:
        seed = Path(folder) / "routes.rt"
        seed.write_text(routes_to(f"127.0.0.1:{port}"), encoding="utf-8")
        near = LibrmrTransport(resolve_settings(config, {"RMR_SEED_RT": str(seed)}))
        try:
            give_up_at = time.monotonic() + PATIENCE_S
            while not near.ready and time.monotonic() < give_up_at:
                time.sleep(0.01)
            yield RoundTrip(near, payload)
        finally:
            near.close()


@contextmanager
def socket_round_trip(payload: bytes) -> Iterator[SocketRoundTrip]:
    """The same octets over a plain TCP connection: what is left without any messaging."""
    with echo(SOCKET) as port, socket.create_connection(("127.0.0.1", port)) as near:
        near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield SocketRoundTrip(near, payload)


class SocketRoundTrip:
    """Blocks in the kernel; nothing is framed, queued or routed."""

    def __init__(self, near: socket.socket, payload: bytes) -> None:
        self._near, self._payload = near, payload

    def __call__(self) -> None:
        self._near.sendall(self._payload)
        missing = len(self._payload)
        while missing:
            missing -= len(self._near.recv(READ_BYTES))

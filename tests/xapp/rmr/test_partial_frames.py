"""Frames that begin and never end: bounded over all connections, and their memory is given back."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from waiting import PATIENCE_S, wait_for

from xapp.rmr.frame import encode_frame
from xapp.rmr.io_loop import MAX_INBOUND
from xapp.rmr.si95 import Si95Transport
from xapp.rmr.si95_options import Si95Options
from xapp.rmr.transport import RmrMessage

BOUND = 1 << 20
PART = 300_000
"""Of a frame, that a peer sends."""


def frame(payload_bytes: int, source: str = "peer:1") -> bytes:
    return encode_frame(RmrMessage(12050, b"x" * payload_bytes), source=source)


@pytest.fixture
def bounded() -> Iterator[Si95Transport]:
    transport = Si95Transport("127.0.0.1", 0, options=Si95Options(max_partial_bytes=BOUND))
    yield transport
    transport.close()


@pytest.fixture
def connect(bounded: Si95Transport) -> Iterator[Callable[[], socket.socket]]:
    with ExitStack() as stack:
        yield lambda: stack.enter_context(socket.create_connection(("127.0.0.1", bounded.port), PATIENCE_S))


def test_beyond_the_bound_the_frame_that_began_first_gives_way(
    bounded: Si95Transport, connect: Callable[[], socket.socket]
) -> None:
    honest = frame(PART)
    slow = [connect() for _ in range(BOUND // PART)]
    for sock in slow:
        held = bounded.partial_bytes
        sock.sendall(honest[:-1])
        wait_for(lambda held=held: bounded.partial_bytes == held + len(honest) - 1)
    other = connect()
    other.sendall(honest[:-1])  # too much now
    wait_for(lambda: bounded.counters.get("partial_evicted") == 1)
    assert slow[0].recv(1) == b""
    other.sendall(honest[-1:])
    message = bounded.receive(PATIENCE_S)
    assert message is not None and len(message.payload) == PART
    slow[1].sendall(b"x")  # those within the bound may still end theirs
    assert bounded.receive(PATIENCE_S) is not None


def test_a_peer_that_sends_whole_frames_is_never_the_one_that_gives_way(
    bounded: Si95Transport, connect: Callable[[], socket.socket]
) -> None:
    """Many begin frames and send a byte now and then; one peer's reports come through all the while."""
    reporting = connect()
    for _ in range(30):
        reporting.sendall(frame(10_000)[:5000])
        wait_for(lambda: bounded.partial_bytes >= 5000)
        connect().sendall(frame(PART)[:-1])
        reporting.sendall(frame(10_000)[5000:])
        message = bounded.receive(PATIENCE_S)
        assert message is not None and len(message.payload) == 10_000
        assert bounded.partial_bytes <= BOUND


def test_what_ends_no_longer_counts(bounded: Si95Transport, connect: Callable[[], socket.socket]) -> None:
    ends = connect()
    ends.sendall(frame(PART)[:-1])
    wait_for(lambda: bounded.partial_bytes > 0)
    ends.close()
    wait_for(lambda: bounded.partial_bytes == 0)
    assert "partial_evicted" not in bounded.counters


MEASURE = """
import json, socket, sys, time
from xapp.monitoring.process import rss_mb
from xapp.rmr.frame import encode_frame
from xapp.rmr.si95 import Si95Transport
from xapp.rmr.transport import RmrMessage

transport = Si95Transport("127.0.0.1", 0)
part = encode_frame(RmrMessage(12050, b"x" * 1_000_000), source="peer:1")[:-1]
before_mb, peers = rss_mb(), []
for _ in range(int(sys.argv[1])):
    peers.append(socket.create_connection(("127.0.0.1", transport.port)))
    try:
        peers[-1].sendall(part)
    except OSError:
        pass
most_mb = rss_mb()
for peer in peers:
    peer.close()
give_up_at = time.monotonic() + 30
while (transport.partial_bytes or rss_mb() > before_mb + 5) and time.monotonic() < give_up_at:
    time.sleep(0.05)
print(json.dumps([before_mb, most_mb, rss_mb()]))
transport.close()
"""


def test_a_flood_of_partial_frames_takes_little_memory_and_gives_it_back() -> None:
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(MAX_INBOUND)], cwd=root, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    before_mb, most_mb, after_mb = json.loads(done.stdout)
    assert most_mb - before_mb < 64  # where each might hold its own, 256 MB
    assert after_mb - before_mb < 10

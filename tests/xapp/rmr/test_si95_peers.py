"""What peers may do to an SI95 endpoint: flood it, send nonsense, fall silent, and ask to be answered anywhere."""

from __future__ import annotations

import random
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from ports import free_port
from rmr_endpoints import RmrEndpoints, dial, received
from waiting import PATIENCE_S, wait_for

from xapp.rmr.frame import FrameReader, encode_frame
from xapp.rmr.si95 import UNUSED_S, Si95Transport
from xapp.rmr.si95_options import Si95Options
from xapp.rmr.transport import HEALTH_REQUEST, RIC_CONTROL_ACK, RIC_CONTROL_REQUEST, RIC_INDICATION, RmrMessage

MESSAGE = RmrMessage(RIC_INDICATION, b"report")
Opener = Callable[..., Si95Transport]


@pytest.fixture
def opener(rmr_endpoints: RmrEndpoints) -> Opener:
    return rmr_endpoints.si95


def test_a_full_receive_queue_drops_the_oldest(opener: Opener) -> None:
    peer = opener(options=Si95Options(max_receive_queue=3))
    with dial(peer) as connection:
        connection.sendall(b"".join(encode_frame(RmrMessage(1, bytes([n])), source="a:1") for n in range(10)))
        wait_for(lambda: peer.counters.get("received", 0) == 10)
    assert [received(peer).payload[0] for _ in range(3)] == [7, 8, 9]
    assert peer.counters["receive_overflow"] == 7


def test_the_receive_queue_is_bounded_in_bytes_too(opener: Opener) -> None:
    peer = opener(options=Si95Options(max_receive_bytes=2500))
    with dial(peer) as connection:
        connection.sendall(b"".join(encode_frame(RmrMessage(1, bytes([n]) * 1000), source="a:1") for n in range(10)))
        wait_for(lambda: peer.counters.get("received", 0) == 10)
        assert [received(peer).payload[0] for _ in range(2)] == [8, 9]
        connection.sendall(encode_frame(RmrMessage(1, b"small"), source="a:1"))
        assert received(peer).payload == b"small"
    assert peer.counters["receive_overflow"] == 8


def test_a_reply_to_a_source_that_cannot_be_dialled_uses_the_inbound_connection(opener: Opener) -> None:
    peer = opener()
    source = f"127.0.0.1:{free_port()}"
    with dial(peer) as connection:
        reader, answers = FrameReader(), []
        connection.sendall(encode_frame(RmrMessage(RIC_CONTROL_REQUEST, b"q1", xid=b"1"), source=source))
        assert peer.reply(received(peer), RIC_CONTROL_ACK, b"a1")
        while not answers:
            answers += reader.feed(connection.recv(4096))
        # The second does not wait for another attempt to fail.
        connection.sendall(encode_frame(RmrMessage(RIC_CONTROL_REQUEST, b"q2", xid=b"2", sub_id=8), source=source))
        assert peer.reply(received(peer), RIC_CONTROL_ACK, b"a2")
        while len(answers) < 2:
            answers += reader.feed(connection.recv(4096))
    assert [(answer.payload, answer.xid, answer.sub_id) for answer in answers] == [(b"a1", b"1", -1), (b"a2", b"2", 8)]


def test_a_reply_to_a_source_that_swallows_the_attempt_uses_the_inbound_connection(opener: Opener) -> None:
    peer = opener()
    with ExitStack() as stack:
        hole = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(2):  # its backlog is full: what comes now gets no answer
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(hole.getsockname())
        connection = stack.enter_context(dial(peer))
        source = f"127.0.0.1:{hole.getsockname()[1]}"
        connection.sendall(encode_frame(RmrMessage(HEALTH_REQUEST, b""), source=source))
        assert [message.payload for message in FrameReader().feed(connection.recv(4096))] == [b"OK\n"]
    assert "send_expired" not in peer.counters


def test_peers_that_name_many_sources_use_up_neither_routes_nor_their_own_connections(
    opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xapp.rmr.si95.MAX_REPLY_DESTINATIONS", 2)
    target = opener()
    peer = opener(f"rte|{RIC_INDICATION}|{target.source}", options=Si95Options(max_queue_age_s=60.0))
    sources = [f"127.0.0.1:{free_port()}" for _ in range(4)]
    replies = [peer.reply(RmrMessage(1, b"", source=source), 2, b"") for source in sources[:3]]
    assert replies == [True, True, False] and peer.counters["destinations_full"] == 1
    assert peer.send(MESSAGE)
    assert received(target).payload == b"report"
    with dial(peer) as connection:
        connection.sendall(encode_frame(RmrMessage(HEALTH_REQUEST, b""), source=sources[3]))
        assert [message.payload for message in FrameReader().feed(connection.recv(4096))] == [b"OK\n"]


class Clock:
    """Real time and what the test adds; runs `between` in the next call that the test's own thread makes."""

    def __init__(self) -> None:
        self.added_s = 0.0
        self.between: Callable[[], object] | None = None
        self._test = threading.current_thread()

    def __call__(self) -> float:
        if self.between is not None and threading.current_thread() is self._test:
            between, self.between = self.between, None
            between()
        return time.monotonic() + self.added_s


class Listener:
    """Somebody who is sent something and takes the connection that it comes by."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._socket = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self._socket.settimeout(PATIENCE_S)
        self.source = f"127.0.0.1:{self._socket.getsockname()[1]}"

    def accept(self, peer: Si95Transport) -> socket.socket:
        """The connection, once `peer` knows of it too."""
        connection = self._stack.enter_context(self._socket.accept()[0])
        connection.settimeout(PATIENCE_S)
        wait_for(lambda: peer.is_connected(self.source))
        return connection


def answer(peer: Si95Transport, source: str) -> bool:
    return peer.reply(RmrMessage(1, b"", source=source), 2, b"")


def test_reply_connections_that_nobody_uses_give_way(opener: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xapp.rmr.si95.MAX_REPLY_DESTINATIONS", 2)
    clock = Clock()
    peer = opener(clock=clock)
    with ExitStack() as stack:
        listeners = [Listener(stack) for _ in range(3)]
        assert [answer(peer, listener.source) for listener in listeners] == [True, True, False]
        connections = [listener.accept(peer) for listener in listeners[:2]]
        wait_for(lambda: peer.counters.get("sent", 0) == 2)
        clock.added_s += UNUSED_S - 1.0
        assert answer(peer, listeners[1].source)
        clock.added_s += 2.0
        assert answer(peer, listeners[2].source)  # one of the two was silent for a minute
        assert FrameReader().feed(listeners[2].accept(peer).recv(4096))
        assert FrameReader().feed(connections[0].recv(4096))
        assert connections[0].recv(1) == b""
        assert not answer(peer, f"127.0.0.1:{free_port()}")


def test_endpoints_of_routes_that_are_gone_give_way(opener: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xapp.rmr.si95.MAX_REPLY_DESTINATIONS", 2)
    clock = Clock()
    peer = opener(clock=clock)
    with ExitStack() as stack:
        routed = [Listener(stack) for _ in range(3)]
        for listener in routed:
            peer.routes.update(f"newrt|start\nrte|{RIC_INDICATION}|{listener.source}\nnewrt|end")
            assert peer.send(MESSAGE)
            listener.accept(peer)
        assert not answer(peer, Listener(stack).source)
        clock.added_s += UNUSED_S + 1.0
        assert [answer(peer, Listener(stack).source) for _ in range(3)] == [True, True, False]
        assert [peer.is_connected(listener.source) for listener in routed] == [False, False, True]


def test_a_reply_that_finds_its_connection_given_up_opens_another(
    opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xapp.rmr.si95.MAX_REPLY_DESTINATIONS", 1)
    clock = Clock()
    peer = opener(clock=clock)
    with ExitStack() as stack:
        listener, other = Listener(stack), Listener(stack)
        assert answer(peer, listener.source)
        listener.accept(peer).close()
        wait_for(lambda: not peer.is_connected(listener.source))
        clock.between = lambda: answer(peer, other.source)
        answer(peer, listener.source)
        other.accept(peer).close()
        wait_for(lambda: answer(peer, listener.source))
        connection = listener.accept(peer)
        peer.close()
        while connection.recv(4096):
            pass  # its end comes: no connection outlives its endpoint


def test_a_peer_that_comes_back_from_another_port_is_answered_there(opener: Opener) -> None:
    peer = opener()
    for source in (f"127.0.0.1:{free_port()}", "somebody"):
        for _ in range(2):
            with dial(peer) as connection:
                connection.sendall(encode_frame(RmrMessage(1, b"?"), source=source))
                request = received(peer)
                assert peer.reply(request, 2, b"!")
                assert [message.payload for message in FrameReader().feed(connection.recv(4096))] == [b"!"]
    wait_for(lambda: not peer.reply(request, 2, b"late"))
    assert peer.counters["reply_without_way"] == 1


def test_replies_stay_in_order_when_a_source_comes_back_that_could_not_be_reached(opener: Opener) -> None:
    """What waits for a source that is away must not overtake what it is answered on the connection by which it is
    back: a route manager's table of yesterday would come last."""
    peer = opener(options=Si95Options(max_queue_age_s=PATIENCE_S, first_backoff_s=0.5, max_backoff_s=0.5))
    port = free_port()
    source = f"127.0.0.1:{port}"
    assert peer.reply(RmrMessage(1, b"", source=source), 2, b"old")
    wait_for(lambda: peer.counters.get("connect_failed", 0) >= 1)
    back = opener(f"rte|1|{peer.source}", port=port)
    assert back.source == source
    assert back.send(RmrMessage(1, b"here again"))
    assert peer.reply(received(peer), 2, b"new")
    assert [received(back).payload for _ in range(2)] == [b"old", b"new"]


def test_a_source_that_is_no_address_is_answered_on_its_connection(opener: Opener) -> None:
    peer = opener()
    with dial(peer) as connection:
        connection.sendall(encode_frame(RmrMessage(HEALTH_REQUEST, b""), source="somebody"))
        assert [message.payload for message in FrameReader().feed(connection.recv(4096))] == [b"OK\n"]


def test_a_reply_without_any_way_back_is_refused(opener: Opener) -> None:
    peer = opener()
    assert not peer.reply(RmrMessage(1, b"", source="nowhere"), 2, b"")
    assert not peer.reply(RmrMessage(1, b"", source=peer.source), 2, b"")
    assert (peer.counters["reply_without_way"], peer.counters["to_self"]) == (1, 1)


def test_a_blocking_call_gets_its_id_back(opener: Opener) -> None:
    peer = opener()
    call = bytearray(encode_frame(RmrMessage(1, b"?", call_id=17), source="caller"))
    call[242:246] = (4).to_bytes(4, sys.byteorder)
    with dial(peer) as connection:
        connection.sendall(call)
        assert peer.reply(received(peer), 2, b"!")
        assert connection.recv(4096)[330] == 17


def test_wrong_frames_are_counted_and_the_stream_goes_on(opener: Opener) -> None:
    peer = opener(options=Si95Options(max_frame_bytes=5000))
    wrong_version = bytearray(encode_frame(MESSAGE, source="a:1"))
    wrong_version[58:62] = (1).to_bytes(4, "big")
    too_long = encode_frame(RmrMessage(1, bytes(20_000)), source="a:1")
    with dial(peer) as connection:
        connection.sendall(bytes(wrong_version) + too_long)
        for byte in encode_frame(MESSAGE, source="a:1"):
            connection.send(bytes([byte]))
        assert received(peer).payload == b"report"
    assert (peer.counters["frame_version"], peer.counters["frame_oversized"]) == (1, 1)


def test_a_stream_without_sense_is_closed_and_others_are_not(opener: Opener) -> None:
    peer = opener()
    noise = random.Random(7)
    with dial(peer) as good:
        for _ in range(20):
            with dial(peer) as bad:
                bad.sendall(b"\xff\xff\xff\xff" + noise.randbytes(5000))
                try:
                    while bad.recv(4096):
                        pass
                except ConnectionResetError:
                    pass  # also an end
        good.sendall(encode_frame(MESSAGE, source="a:1"))
        assert received(peer).payload == b"report"
    assert peer.counters["frame_lost"] == 20


def test_silent_connections_give_way_to_new_ones(opener: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xapp.rmr.io_loop.MAX_INBOUND", 3)
    peer = opener()
    with ExitStack() as stack:
        talker = stack.enter_context(dial(peer))
        talker.sendall(encode_frame(MESSAGE, source="a:1"))
        received(peer)
        silent = [stack.enter_context(dial(peer)) for _ in range(5)]
        wait_for(lambda: peer.counters.get("inbound_evicted", 0) == 3)
        assert [connection.recv(1) for connection in silent[:3]] == [b""] * 3
        for number, connection in enumerate((talker, *silent[3:])):
            connection.sendall(encode_frame(RmrMessage(1, bytes([number])), source=f"b:{number + 1}"))
            assert received(peer).payload == bytes([number])


def test_messages_survive_a_connection_per_message(opener: Opener) -> None:
    peer = opener()
    for number in range(50):
        with dial(peer) as connection:
            connection.sendall(encode_frame(RmrMessage(1, bytes([number])), source="a:1"))
    assert sorted(received(peer).payload[0] for _ in range(50)) == list(range(50))

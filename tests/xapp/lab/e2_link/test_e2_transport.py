"""The E2 association over real sockets, for every wire this machine has."""

from __future__ import annotations

import queue
import socket
from collections.abc import Iterator

import pytest

from policy.errors import UserMistake
from xapp.lab.counters import Counters
from xapp.lab.e2_link.e2_transport import E2Association, E2Client, E2Server
from xapp.lab.e2_link.e2_wire import (
    MAX_PDU_BYTES,
    BadLength,
    E2Wire,
    LengthPrefixReader,
    RecordReader,
    available_wires,
    choose_wire,
)

WAIT_S = 30.0


class Peer:
    """One side's callbacks, as queues that a test can wait on."""

    def __init__(self) -> None:
        self.counters = Counters()
        self.opened: queue.Queue[E2Association] = queue.Queue()
        self.pdus: queue.Queue[tuple[E2Association, bytes]] = queue.Queue()
        self.closed: queue.Queue[str] = queue.Queue()

    def on_pdu(self, association: E2Association, pdu: bytes) -> None:
        self.pdus.put((association, pdu))

    def on_close(self, association: E2Association, reason: str) -> None:
        self.closed.put(reason)


@pytest.fixture(params=available_wires())
def wire(request: pytest.FixtureRequest) -> E2Wire:
    chosen: E2Wire = request.param
    return chosen


@pytest.fixture
def ric() -> Peer:
    return Peer()


@pytest.fixture
def server(ric: Peer, wire: E2Wire) -> Iterator[E2Server]:
    server = E2Server("127.0.0.1", 0, wire, ric.on_pdu, ric.on_close, ric.counters)
    yield server
    server.close()


def connect(peer: Peer, server: E2Server) -> E2Client:
    return E2Client("127.0.0.1", server.port, server.wire, peer.opened.put, peer.on_pdu, peer.on_close, peer.counters)


def test_pdus_keep_their_boundaries_both_ways(ric: Peer, server: E2Server) -> None:
    node = Peer()
    client = connect(node, server)
    try:
        association = node.opened.get(timeout=WAIT_S)
        sent = [b"\x00", b"abc" * 5000, bytes(range(256)) * 500]
        for pdu in sent:
            assert association.send(pdu)
        received = [ric.pdus.get(timeout=WAIT_S) for _ in sent]
        assert [pdu for _, pdu in received] == sent
        for pdu in sent:
            assert received[0][0].send(pdu)
        assert [node.pdus.get(timeout=WAIT_S)[1] for _ in sent] == sent
    finally:
        client.close()
    assert ric.closed.get(timeout=WAIT_S) == "peer_closed"


def test_a_client_reconnects_when_the_server_comes_back(ric: Peer, wire: E2Wire) -> None:
    server = E2Server("127.0.0.1", 0, wire, ric.on_pdu, ric.on_close, ric.counters)
    node = Peer()
    client = connect(node, server)
    try:
        node.opened.get(timeout=WAIT_S)
        server.close()
        node.closed.get(timeout=WAIT_S)
        server = E2Server("127.0.0.1", server.port, wire, ric.on_pdu, ric.on_close, ric.counters)
        assert node.opened.get(timeout=WAIT_S).send(b"again")
        assert ric.pdus.get(timeout=WAIT_S)[1] == b"again"
    finally:
        client.close()
        server.close()


def test_a_handler_that_fails_does_not_end_the_association(ric: Peer, server: E2Server) -> None:
    node = Peer()
    server._on_pdu = lambda association, pdu: ric.on_pdu(association, pdu) if pdu != b"bad" else 1 / 0
    client = connect(node, server)
    try:
        association = node.opened.get(timeout=WAIT_S)
        association.send(b"bad")
        association.send(b"good")
        assert ric.pdus.get(timeout=WAIT_S)[1] == b"good"
        assert ric.counters["e2_handler_error"] == 1
    finally:
        client.close()


def test_sends_are_refused_when_closed_empty_or_too_large(ric: Peer, server: E2Server) -> None:
    node = Peer()
    client = connect(node, server)
    association = node.opened.get(timeout=WAIT_S)
    assert not association.send(b"")
    assert not association.send(bytes(MAX_PDU_BYTES + 1))
    client.close()
    assert not association.send(b"late")
    assert node.counters["e2_send_bad_length"] == 2


@pytest.fixture
def tcp_server(ric: Peer) -> Iterator[E2Server]:
    server = E2Server("127.0.0.1", 0, "tcp", ric.on_pdu, ric.on_close, ric.counters)
    yield server
    server.close()


def test_a_stream_that_dribbles_in_octet_by_octet_is_read(ric: Peer, tcp_server: E2Server) -> None:
    stream = b"".join(len(pdu).to_bytes(4, "big") + pdu for pdu in (b"one", b"two", b"three"))
    with socket.create_connection(("127.0.0.1", tcp_server.port)) as raw:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for octet in stream:
            raw.send(bytes([octet]))
        assert [ric.pdus.get(timeout=WAIT_S)[1] for _ in range(3)] == [b"one", b"two", b"three"]


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        ((MAX_PDU_BYTES + 1).to_bytes(4, "big"), "bad_length"),
        (bytes(4), "bad_length"),
        (b"GET / HTTP/1.1\r\n\r\n", "bad_length"),
        (b"\x00\x00\x00\x05ab", "truncated"),
        (b"\x00", "truncated"),
        (b"", "peer_closed"),
    ],
)
def test_a_stream_that_makes_no_sense_closes_the_association_by_name(
    ric: Peer, tcp_server: E2Server, stream: bytes, reason: str
) -> None:
    with socket.create_connection(("127.0.0.1", tcp_server.port)) as raw:
        raw.sendall(stream)
        raw.shutdown(socket.SHUT_WR)
        assert ric.closed.get(timeout=WAIT_S) == reason
    assert ric.counters[f"e2_closed_{reason}"] == 1
    assert ric.pdus.empty()


def test_a_peer_that_reads_nothing_fills_the_queue_and_blocks_nobody(ric: Peer, tcp_server: E2Server) -> None:
    with socket.create_connection(("127.0.0.1", tcp_server.port)) as raw:
        raw.sendall(b"\x00\x00\x00\x05hello")
        association, _ = ric.pdus.get(timeout=WAIT_S)
        pdu = bytes(MAX_PDU_BYTES)
        accepted = sum(association.send(pdu) for _ in range(40))
        assert 7 <= accepted < 40
        assert ric.counters["e2_send_queue_full"] == 40 - accepted
        association.close()
        assert ric.closed.get(timeout=WAIT_S) == "closed"


def test_record_sockets_end_a_pdu_where_the_record_ends() -> None:
    """The reader that SCTP uses, on the one kind of record socket that every kernel has."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    reader = RecordReader()
    with ours, theirs:
        for pdu in (b"one", b"two" * 1000):
            theirs.send(pdu)
        for pdu in (b"one", b"two" * 1000):
            data, _, _, _ = ours.recvmsg(1 << 16)
            assert reader.feed(data, socket.MSG_EOR) == [pdu]


def test_pieces_of_a_record_are_joined_and_notifications_skipped() -> None:
    reader = RecordReader()
    assert reader.feed(b"ab", 0) == []
    assert reader.feed(b"an event", 0x8000 | socket.MSG_EOR) == []
    assert reader.partial
    assert reader.feed(b"c", socket.MSG_EOR) == [b"abc"]
    assert not reader.partial
    with pytest.raises(BadLength):
        for _ in range(20):
            reader.feed(bytes(1 << 16), 0)


def test_the_prefix_reader_gives_the_same_pdus_however_the_stream_is_cut() -> None:
    pdus = [bytes([i]) * (i + 1) for i in range(20)]
    stream = b"".join(len(pdu).to_bytes(4, "big") + pdu for pdu in pdus)
    for step in (1, 2, 3, 7, 64, len(stream)):
        reader = LengthPrefixReader()
        got = [pdu for at in range(0, len(stream), step) for pdu in reader.feed(stream[at : at + step])]
        assert got == pdus
        assert not reader.partial


def test_the_transport_is_chosen_by_name() -> None:
    assert choose_wire("auto") == available_wires()[0]
    assert choose_wire("tcp") == "tcp"
    with pytest.raises(UserMistake, match="carrier_pigeon"):
        choose_wire("carrier_pigeon")
    if "sctp" not in available_wires():
        with pytest.raises(UserMistake, match="no SCTP"):
            choose_wire("sctp")

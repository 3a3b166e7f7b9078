"""The SI95 endpoint on loopback: failures of peers, limits, and who gets what."""

from __future__ import annotations

import random
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest
from rmr_endpoints import RmrEndpoints, dial, received
from waiting import PATIENCE_S, wait_for

from xapp.rmr.frame import FrameReader, encode_frame
from xapp.rmr.si95 import Si95Options, Si95Transport
from xapp.rmr.transport import HEALTH_REQUEST, RIC_CONTROL_ACK, RIC_CONTROL_REQUEST, RIC_INDICATION, RmrMessage

MESSAGE = RmrMessage(RIC_INDICATION, b"report")
Opener = Callable[..., Si95Transport]


@pytest.fixture
def opener(rmr_endpoints: RmrEndpoints) -> Opener:
    return rmr_endpoints.si95


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_round_robin_and_fan_out_reach_their_endpoints(opener: Opener) -> None:
    first, second, copy = opener(), opener(), opener()
    sender = opener(f"rte|{RIC_INDICATION}|{first.source},{second.source};{copy.source}")
    for number in range(4):
        assert sender.send(RmrMessage(RIC_INDICATION, bytes([number])))
    assert [received(copy).payload[0] for _ in range(4)] == [0, 1, 2, 3]
    assert [received(first).payload[0] for _ in range(2)] == [0, 2]
    assert [received(second).payload[0] for _ in range(2)] == [1, 3]


def test_round_robin_passes_over_an_endpoint_that_is_down(opener: Opener) -> None:
    up = opener()
    sender = opener(f"rte|{RIC_INDICATION}|127.0.0.1:{free_port()},{up.source}")
    sender.send(MESSAGE)
    wait_for(lambda: sender.counters.get("connect_failed", 0) > 0)
    for _ in range(4):
        assert sender.send(RmrMessage(RIC_INDICATION, b"later"))
    assert [received(up).payload for _ in range(4)] == [b"later"] * 4


def test_an_endpoint_that_is_back_gets_its_turns_again(opener: Opener) -> None:
    up, port = opener(), free_port()
    options = Si95Options(max_queue_age_s=0.1)
    sender = opener(f"rte|{RIC_INDICATION}|127.0.0.1:{port},{up.source}", options=options)
    sender.send(MESSAGE)
    wait_for(lambda: sender.counters.get("send_expired", 0) == 1)  # nothing waits for it any more
    back = opener(port=port)
    wait_for(lambda: sender.send(RmrMessage(RIC_INDICATION, b"more")) and back.receive(0.0) is not None)
    assert sender.counters["send_expired"] == 1  # trying cost no message


def test_a_managed_entity_chooses_the_endpoint(opener: Opener) -> None:
    one, two = opener(), opener()
    sender = opener(f"rte|{RIC_CONTROL_REQUEST}|%meid")
    sender.routes.update(f"meid_map|start\nmme_ar|{one.source}|gnb1\nmme_ar|{two.source}|gnb2\nmeid_map|end")
    assert sender.send(RmrMessage(RIC_CONTROL_REQUEST, b"to two", meid="gnb2"))
    assert sender.send(RmrMessage(RIC_CONTROL_REQUEST, b"to one", meid="gnb1"))
    assert not sender.send(RmrMessage(RIC_CONTROL_REQUEST, b"to nobody", meid="gnb3"))
    assert (received(one).payload, received(two).payload) == (b"to one", b"to two")


def test_it_reconnects_when_the_peer_restarts(opener: Opener) -> None:
    peer = opener()
    sender = opener(f"rte|{RIC_INDICATION}|{peer.source}", options=Si95Options(max_queue_age_s=60.0))
    assert sender.send(MESSAGE)
    received(peer)
    peer.close()
    # The end of the connection must have been seen, otherwise the kernel takes a message that nobody will read.
    wait_for(lambda: not sender.is_connected(peer.source))
    sender.send(RmrMessage(RIC_INDICATION, b"while it is away"))
    wait_for(lambda: sender.counters.get("connect_failed", 0) >= 2)
    again = opener(port=peer.port)
    sender.send(RmrMessage(RIC_INDICATION, b"when it is back"))
    assert [received(again).payload for _ in range(2)] == [b"while it is away", b"when it is back"]


def test_attempts_become_rarer(opener: Opener) -> None:
    start = time.monotonic()
    sender = opener(
        f"rte|{RIC_INDICATION}|127.0.0.1:{free_port()}",
        options=Si95Options(first_backoff_s=0.02, max_backoff_s=0.5, max_queue_age_s=60.0),
    )
    sender.send(MESSAGE)
    wait_for(lambda: sender.counters.get("connect_failed", 0) >= 6)
    # At least half of 20 + 40 + 80 + 160 + 320 ms lies between six attempts.
    assert time.monotonic() - start >= 0.31


def test_a_full_send_queue_refuses_the_newest(opener: Opener) -> None:
    target = f"127.0.0.1:{free_port()}"
    sender = opener(f"rte|{RIC_INDICATION}|{target}", options=Si95Options(max_send_queue=3, max_queue_age_s=60.0))
    assert [sender.send(RmrMessage(RIC_INDICATION, bytes([n]))) for n in range(5)] == [True, True, True, False, False]
    assert sender.counters["send_queue_full"] == 2
    peer = opener(port=int(target.split(":")[1]))
    assert [received(peer).payload[0] for _ in range(3)] == [0, 1, 2]


def test_one_full_destination_does_not_hold_up_another(opener: Opener) -> None:
    up = opener()
    options = Si95Options(max_send_queue=1, max_queue_age_s=60.0)
    sender = opener(f"rte|{RIC_INDICATION}|127.0.0.1:{free_port()};{up.source}", options=options)
    assert sender.send(MESSAGE)
    received(up)
    assert not sender.send(RmrMessage(RIC_INDICATION, b"second"))
    assert received(up).payload == b"second"


def test_send_does_not_wait_for_a_peer_that_reads_nothing(opener: Opener) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = f"127.0.0.1:{listener.getsockname()[1]}"
        sender = opener(f"rte|{RIC_INDICATION}|{endpoint}", options=Si95Options(max_send_queue=20))
        big = RmrMessage(RIC_INDICATION, bytes(900_000))
        start = time.monotonic()
        outcomes = [sender.send(big) for _ in range(60)]
        assert time.monotonic() - start < 5.0
        assert outcomes[0] and not outcomes[-1]
        connection, _ = listener.accept()
        with connection:
            reader, count = FrameReader(), 0
            connection.settimeout(PATIENCE_S)
            while count < sum(outcomes):
                data = connection.recv(1 << 20)
                assert data, "closed before everything was sent"
                for message in reader.feed(data):
                    assert message.payload == big.payload
                    count += 1
        assert not reader.drops


def test_what_waited_too_long_is_not_sent(opener: Opener) -> None:
    target = f"127.0.0.1:{free_port()}"
    sender = opener(f"rte|{RIC_INDICATION}|{target}", options=Si95Options(max_queue_age_s=0.1))
    sender.send(RmrMessage(RIC_INDICATION, b"stale"))
    wait_for(lambda: sender.counters.get("send_expired", 0) == 1)
    peer = opener(port=int(target.split(":")[1]))
    sender.send(RmrMessage(RIC_INDICATION, b"fresh"))
    assert received(peer).payload == b"fresh"


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


def test_many_threads_may_send(opener: Opener) -> None:
    peer = opener(options=Si95Options(max_receive_queue=2000))
    sender = opener(f"rte|{RIC_INDICATION}|{peer.source}", options=Si95Options(max_send_queue=2000))
    payload = bytes(3000)

    def send_all() -> None:
        for _ in range(100):
            sender.send(RmrMessage(RIC_INDICATION, payload))

    threads = [threading.Thread(target=send_all) for _ in range(6)]
    for thread in threads:
        thread.start()
    assert all(received(peer).payload == payload for _ in range(600))
    for thread in threads:
        thread.join()
    wait_for(lambda: sender.counters["sent"] == 600)


def test_a_host_name_is_looked_up(opener: Opener) -> None:
    peer = opener()
    sender = opener(f"rte|{RIC_INDICATION}|localhost:{peer.port}")
    assert sender.send(MESSAGE)
    assert received(peer).payload == b"report"


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 70, "a..b"])
def test_a_name_that_does_not_exist_is_a_failed_attempt(opener: Opener, host: str) -> None:
    sender = opener(f"rte|{RIC_INDICATION}|{host}:4560")
    assert sender.send(MESSAGE)
    wait_for(lambda: sender.counters.get("connect_failed", 0) > 0)
    assert sender.ready


def test_no_thread_to_look_a_name_up_is_a_failed_attempt(opener: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    class NoMoreThreads:
        def __init__(self, **_: object) -> None: ...

        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    sender = opener(f"rte|{RIC_INDICATION}|localhost:4560")
    monkeypatch.setattr("xapp.rmr.resolver.threading", SimpleNamespace(Thread=NoMoreThreads))
    assert sender.send(MESSAGE)
    wait_for(lambda: sender.counters.get("connect_failed", 0) > 0)
    assert sender.ready


def test_a_route_file_may_come_later_and_change(
    opener: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xapp.rmr.si95.RELOAD_PERIOD_S", 0.01)
    monkeypatch.setattr("xapp.rmr.io_loop.IDLE_TICK_S", 0.01)
    path, written = tmp_path / "routes.txt", tmp_path / "written.txt"
    peer = opener()
    sender = opener(routes=path)
    assert not sender.ready
    written.write_text(f"newrt|start\nrte|{RIC_INDICATION}|{peer.source}\nnewrt|end\n")
    written.replace(path)  # at once: half a file would be a refused table
    wait_for(lambda: sender.ready)
    written.write_text("newrt|start\nnewrt|end|3\n")
    written.replace(path)
    wait_for(lambda: sender.counters.get("route_table_refused", 0) == 1)
    assert sender.ready and "its end says 3" in sender.routes.last_error
    assert sender.send(MESSAGE)
    received(peer)


def test_closing_flushes_what_can_be_written_and_leaves_no_thread(opener: Opener) -> None:
    peer = opener()
    sender = opener(f"rte|{RIC_INDICATION}|{peer.source}")
    sender.send(MESSAGE)
    received(peer)
    sender.send(RmrMessage(RIC_INDICATION, b"last words"))
    sender.close()
    assert received(peer).payload == b"last words"
    assert f"rmr-{sender.port}" not in {thread.name for thread in threading.enumerate()}


def test_a_port_in_use_is_an_os_error(opener: Opener) -> None:
    with pytest.raises(OSError, match="in use"):
        opener(port=opener().port)

"""What an SI95 endpoint sends: who gets it, what waits for whom, and what becomes of it when a peer is away."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from ports import free_port
from rmr_endpoints import RmrEndpoints, received
from waiting import PATIENCE_S, wait_for

from xapp.rmr.frame import FrameReader
from xapp.rmr.si95 import Si95Transport
from xapp.rmr.si95_options import Si95Options
from xapp.rmr.transport import RIC_CONTROL_REQUEST, RIC_INDICATION, RmrMessage

MESSAGE = RmrMessage(RIC_INDICATION, b"report")
EXPIRES_S = 1.0
"""What can be sent is sent within it, however busy the machine is."""
Opener = Callable[..., Si95Transport]


@pytest.fixture
def opener(rmr_endpoints: RmrEndpoints) -> Opener:
    return rmr_endpoints.si95


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
    options = Si95Options(max_queue_age_s=EXPIRES_S)
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
        options = Si95Options(max_send_queue=20, max_queue_age_s=60.0)
        sender = opener(f"rte|{RIC_INDICATION}|{endpoint}", options=options)
        big = RmrMessage(RIC_INDICATION, bytes(900_000))
        start = time.monotonic()
        outcomes = [sender.send(big) for _ in range(60)]
        assert time.monotonic() - start < PATIENCE_S
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
    sender = opener(f"rte|{RIC_INDICATION}|{target}", options=Si95Options(max_queue_age_s=EXPIRES_S))
    sender.send(RmrMessage(RIC_INDICATION, b"stale"))
    wait_for(lambda: sender.counters.get("send_expired", 0) == 1)
    peer = opener(port=int(target.split(":")[1]))
    sender.send(RmrMessage(RIC_INDICATION, b"fresh"))
    assert received(peer).payload == b"fresh"


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


def test_who_waits_reads_the_sockets_and_others_do_while_nobody_waits(opener: Opener) -> None:
    far = opener()
    near = opener(f"rte|{RIC_INDICATION}|{far.source}")
    assert far.receive(0.0) is None
    for number in range(3):  # taken by turns: by a thread that waits, by none
        assert near.send(RmrMessage(RIC_INDICATION, bytes([number, 0])))
        assert received(far).payload == bytes([number, 0])
        assert near.send(RmrMessage(RIC_INDICATION, bytes([number, 1])))
        wait_for(lambda: far.waiting == 1)
        assert received(far).payload == bytes([number, 1])


def test_several_that_wait_get_a_message_each(opener: Opener) -> None:
    far = opener()
    near = opener(f"rte|{RIC_INDICATION}|{far.source}")
    got: list[bytes] = []
    waiting = [threading.Thread(target=lambda: got.append(received(far).payload)) for _ in range(3)]
    for thread in waiting:
        thread.start()
    for number in range(len(waiting)):
        assert near.send(RmrMessage(RIC_INDICATION, bytes([number])))
    for thread in waiting:
        thread.join(PATIENCE_S)
    assert sorted(got) == [b"\0", b"\1", b"\2"]


def test_closing_wakes_who_reads_the_sockets(opener: Opener) -> None:
    endpoint = opener()
    got: list[RmrMessage | None] = []
    waiting = threading.Thread(target=lambda: got.append(endpoint.receive(PATIENCE_S)))
    waiting.start()
    endpoint.close()
    waiting.join(PATIENCE_S)
    assert got == [None]
    assert not endpoint.ready

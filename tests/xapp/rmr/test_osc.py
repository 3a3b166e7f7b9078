"""librmr beneath the transport: what the contract does not say, and that nothing leaks. Run where librmr loads."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from rmr_endpoints import RmrEndpoints, dial, needs_librmr, received
from waiting import PATIENCE_S, wait_for

from xapp.config.model import ConfigError, RmrConfig
from xapp.lab.counters import Counters
from xapp.lab.ric.rtmgr import RouteManager
from xapp.rmr.endpoint import Si95Endpoint, open_endpoint
from xapp.rmr.frame import encode_frame
from xapp.rmr.osc import NORMAL_PAYLOAD_BYTES, LibrmrTransport, librmr_problem, load_librmr
from xapp.rmr.settings import resolve_settings
from xapp.rmr.si95 import Si95Transport
from xapp.rmr.si95_options import Si95Options
from xapp.rmr.transport import (
    HEALTH_REQUEST,
    RIC_CONTROL_ACK,
    RIC_CONTROL_REQUEST,
    RIC_INDICATION,
    ROUTE_ANSWER,
    ROUTE_TABLE,
    RmrMessage,
)

Opener = Callable[..., LibrmrTransport]


@pytest.fixture
def peer(rmr_endpoints: RmrEndpoints) -> Si95Transport:
    return rmr_endpoints.si95(options=Si95Options(max_receive_queue=20_000, max_send_queue=20_000))


@pytest.fixture
def opener(rmr_endpoints: RmrEndpoints) -> Opener:
    return rmr_endpoints.librmr


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


# -- the choice --------------------------------------------------------------------------------------------------------


def test_the_transport_is_librmr_where_it_loads_and_asking_for_it_elsewhere_is_one_line() -> None:
    config = RmrConfig(bind_host="127.0.0.1", host="127.0.0.1", port=0, route_manager="-1")
    settings = resolve_settings(config, {})
    with ExitStack() as stack:
        chosen = open_endpoint(settings, "auto")
        stack.callback(chosen.close)
        python = open_endpoint(settings, "si95")
        stack.callback(python.close)
        assert isinstance(python, Si95Endpoint)
        if not librmr_problem():
            assert isinstance(chosen, LibrmrTransport)
            return
        assert isinstance(chosen, Si95Endpoint)
        with pytest.raises(
            ConfigError, match=r"controls.rmr.transport is 'librmr': librmr cannot be loaded: "
        ) as error:
            open_endpoint(settings, "librmr")
        assert "\n" not in str(error.value)


# -- with librmr -------------------------------------------------------------------------------------------------------


@needs_librmr
def test_ten_thousand_messages_each_way_leave_the_memory_as_it_was(opener: Opener, peer: Si95Transport) -> None:
    near = opener(f"rte|{RIC_INDICATION}|{peer.source}", options=Si95Options(max_receive_queue=20_000))
    payload = bytes(2000)

    def exchange(count: int) -> None:
        for _ in range(count):
            assert near.send(RmrMessage(RIC_INDICATION, payload, meid="gnb"))
            assert not near.send(RmrMessage(30_000, payload)) or near.counters["no_route"]
            assert peer.reply(received(peer), RIC_CONTROL_ACK, payload)
            answer = received(near)
            assert answer.payload == payload
        near.reply(answer, RIC_CONTROL_ACK, payload)
        received(peer)

    exchange(2000)
    before = resident_bytes()
    exchange(10_000)
    # One buffer in ten that was not freed would be 16 MB.
    assert resident_bytes() - before < 8_000_000
    assert near.counters["sent"] == 12_002
    assert near.counters["received"] == 12_000


@needs_librmr
def test_a_message_longer_than_the_usual_buffer_goes_both_ways(opener: Opener, peer: Si95Transport) -> None:
    near = opener(f"rte|{RIC_INDICATION}|{peer.source}")
    payload = bytes(range(256)) * (8 * NORMAL_PAYLOAD_BYTES // 256)
    assert near.send(RmrMessage(RIC_INDICATION, payload))
    question = received(peer)
    assert question.payload == payload
    assert peer.reply(question, RIC_CONTROL_ACK, payload)
    assert received(near).payload == payload


@needs_librmr
def test_zero_is_a_type_and_a_subscription_like_any_other(opener: Opener, peer: Si95Transport) -> None:
    near = opener(f"mse|0|0|{peer.source}")
    assert near.send(RmrMessage(0, b"", sub_id=0))
    got = received(peer)
    assert (got.mtype, got.sub_id, got.payload) == (0, 0, b"")


@needs_librmr
def test_a_managed_entity_chooses_the_endpoint(opener: Opener, peer: Si95Transport) -> None:
    near = opener(
        f"mse|{RIC_CONTROL_REQUEST}|-1|%meid",
        "newrt|end",
        "meid_map|start",
        f"mme_ar|{peer.source}|gnb1",
        "meid_map|end|1",
        send_patience_s=PATIENCE_S,
    )
    assert near.send(RmrMessage(RIC_CONTROL_REQUEST, b"control", meid="gnb1"))
    assert received(peer).meid == "gnb1"
    assert not near.send(RmrMessage(RIC_CONTROL_REQUEST, b"control", meid="gnb2"))
    assert near.counters["no_route"] == 1


@needs_librmr
def test_sending_to_a_black_hole_holds_nobody_up(opener: Opener) -> None:
    with ExitStack() as stack:
        hole = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(2):  # its backlog is full: what comes now gets no answer
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(hole.getsockname())
        near = opener(f"rte|{RIC_INDICATION}|127.0.0.1:{hole.getsockname()[1]}", options=Si95Options(max_send_queue=3))
        start = time.monotonic()
        outcomes = [near.send(RmrMessage(RIC_INDICATION, b"report")) for _ in range(6)]
        near.close()
        assert time.monotonic() - start < 7.0  # so long librmr sits in connect()
    assert outcomes == sorted(outcomes, reverse=True)
    assert sum(outcomes) in (3, 4)  # three in the queue, and the one in connect() if it was there already
    assert near.counters["send_queue_full"] == outcomes.count(False)


@needs_librmr
def test_the_receive_queue_is_bounded(opener: Opener) -> None:
    near = opener("rte|1|192.0.2.1:9", options=Si95Options(max_receive_queue=3))
    with dial(near) as connection:
        connection.sendall(b"".join(encode_frame(RmrMessage(1, bytes([n])), source="a:1") for n in range(10)))
        wait_for(lambda: near.counters.get("received") == 10)
    assert [received(near).payload[0] for _ in range(3)] == [7, 8, 9]
    assert near.counters["receive_overflow"] == 7


@needs_librmr
def test_a_reply_keeps_the_id_of_a_call_and_needs_an_address(opener: Opener, peer: Si95Transport) -> None:
    near = opener("rte|1|192.0.2.1:9", send_patience_s=PATIENCE_S)
    with socket.create_server(("127.0.0.1", 0)) as caller:
        source = f"127.0.0.1:{caller.getsockname()[1]}"
        call = bytearray(encode_frame(RmrMessage(1, b"?", xid=b"x", call_id=17), source=source))
        call[242:246] = (4).to_bytes(4, sys.byteorder)
        with dial(near) as connection:
            connection.sendall(call)
            question = received(near)
        assert (question.call_id, question.source) == (17, source)
        assert near.reply(question, 2, b"!")
        answer, _ = caller.accept()
        with answer:
            assert answer.recv(4096)[330] == 17
    assert not near.reply(RmrMessage(1, b"", source="somebody"), 2, b"")
    assert not near.reply(RmrMessage(1, b"", source=near.source), 2, b"")
    assert (near.counters["reply_without_way"], near.counters["to_self"]) == (1, 1)


@needs_librmr
@pytest.mark.parametrize("asks", [True, False])
def test_librmr_takes_its_table_from_the_labs_route_manager(asks: bool, opener: Opener) -> None:
    """The real client against our stand-in, in both modes."""
    counters = Counters()
    nodes = {"gnb1": "127.0.0.1:38000"}
    manager = RouteManager("127.0.0.1", 0, counters, nodes=lambda: nodes)
    try:
        near = opener(manager=manager.rmr.source if asks else "0")
        if not asks:
            manager.push_to(f"127.0.0.1:{near.control_port}")
        wait_for(lambda: near.ready)
        wait_for(lambda: manager.status()["up_to_date"] == 1)
        nodes["gnb2"] = "127.0.0.1:38000"
        manager.add(7, "127.0.0.1:9")
        wait_for(lambda: manager.status()["version"] > 2 and manager.status()["up_to_date"] == 1)
    finally:
        manager.close()


@needs_librmr
def test_a_route_manager_on_librmr_gets_its_calls_answered_by_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """OSC's route manager pushes by a blocking call over a wormhole: a whole table and the node map in one message."""
    monkeypatch.setenv("RMR_RTG_SVC", "-1")
    rmr = load_librmr()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    context = rmr.rmr_init(str(port).encode(), 4096, rmr.RMRFL_NONE)
    config = RmrConfig(bind_host="127.0.0.1", host="127.0.0.1", port=0)
    endpoint = Si95Endpoint(resolve_settings(config, {"RMR_RTG_SVC": "0"}))
    try:
        assert endpoint.route_client is not None
        wormhole = rmr.rmr_wh_open(context, f"127.0.0.1:{endpoint.route_client.port}".encode())
        for call_id, node in enumerate((b"gnb1", b"gnb2"), start=201):
            text = (
                b"newrt|start\nmse|12040|-1|%meid\nnewrt|end\nmeid_map|start\nmme_ar|a:1|"
                + node
                + b"\nmeid_map|end|1\n"
            )
            buffer = rmr.rmr_alloc_msg(context, 4096, payload=text, mtype=ROUTE_TABLE, gen_transaction_id=True)
            answer = rmr.rmr_wh_call(context, wormhole, buffer, call_id, 5000)
            assert answer and answer.contents.state == rmr.RMR_OK
            assert answer.contents.mtype == ROUTE_ANSWER
            assert rmr.get_payload(answer).startswith(b"OK <id-missing> ")
            rmr.rmr_free_msg(answer)
            wait_for(lambda node=node: endpoint.routes.lookup(12040, -1, node.decode()) == ("a:1",))  # type: ignore[misc]
    finally:
        endpoint.close()


@needs_librmr
def test_the_environment_is_afterwards_what_it_was(opener: Opener) -> None:
    before = dict(os.environ)
    opener("rte|1|192.0.2.1:9")
    opener(manager="0")
    assert dict(os.environ) == before


@needs_librmr
def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for config, environ in (
            (RmrConfig(bind_host="127.0.0.1", port=port, route_manager="-1"), {}),
            (RmrConfig(bind_host="127.0.0.1", port=0), {"RMR_RTG_SVC": str(port)}),
        ):
            with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}: "):
                LibrmrTransport(resolve_settings(config, environ))


@needs_librmr
def test_a_port_where_librmr_listens_is_taken_and_one_that_a_killed_process_had_is_not(opener: Opener) -> None:
    config = {"bind_host": "127.0.0.1", "host": "127.0.0.1", "route_manager": "-1"}
    living = opener("rte|1|192.0.2.1:9")  # with its SO_REUSEPORT the kernel would let two share the port
    with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{living.port}: "):
        LibrmrTransport(resolve_settings(RmrConfig(port=living.port, **config), {}))
    program = (
        "import sys, time; from xapp.config.model import RmrConfig; from xapp.rmr.osc import LibrmrTransport;"
        "from xapp.rmr.settings import resolve_settings;"
        f"made = LibrmrTransport(resolve_settings(RmrConfig(port=int(sys.argv[1]), **{config!r}), {{}}));"
        "print(made.port, flush=True); time.sleep(60)"
    )
    port = "0"
    with ExitStack() as stack:
        back = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        question = encode_frame(RmrMessage(HEALTH_REQUEST, b""), source=f"127.0.0.1:{back.getsockname()[1]}")
        for _ in range(2):
            with subprocess.Popen([sys.executable, "-c", program, port], stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout is not None
                port = process.stdout.readline().strip()
                assert port, "it did not start"
                connection = socket.create_connection(("127.0.0.1", int(port)), timeout=PATIENCE_S)
                stack.enter_context(connection).sendall(question)
                stack.enter_context(back.accept()[0])  # so it has taken the connection
                process.kill()  # and the connection outlives it in the kernel


@needs_librmr
def test_closed_it_answers_nobody(opener: Opener, peer: Si95Transport) -> None:
    near = opener(f"rte|{RIC_INDICATION}|{peer.source}")
    near.close()
    assert not near.ready
    assert not near.send(RmrMessage(RIC_INDICATION, b""))

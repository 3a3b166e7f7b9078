"""The route manager's client over real sockets, in both modes; and that no text half-applies."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ports import free_port
from waiting import PATIENCE_S, wait_for

from xapp.config.model import RmrConfig
from xapp.rmr.endpoint import Si95Endpoint
from xapp.rmr.frame import FrameReader, encode_frame
from xapp.rmr.route_client import MAX_BLOCK_BYTES, TableAssembler
from xapp.rmr.routes import RouteTable
from xapp.rmr.settings import RmrSettings, resolve_settings
from xapp.rmr.si95 import Si95Transport
from xapp.rmr.transport import ROUTE_ANSWER, ROUTE_REQUEST, ROUTE_TABLE, RmrMessage

WHOLE = "newrt|start|t1\nmse|12040|-1|%meid\nnewrt|end|1\n"
MEIDS = "meid_map|start|m1\nmme_ar|127.0.0.1:38000|gnb1\nmeid_map|end|1\n"


def settings(said: str, **environ: str) -> RmrSettings:
    config = RmrConfig(bind_host="127.0.0.1", port=0, host="127.0.0.1")
    return resolve_settings(config, {"RMR_RTG_SVC": said, "RMR_CTL_PORT": "0", **environ})


class Manager:
    """A route manager: sends text, reads answers."""

    def __init__(self) -> None:
        self.rmr = Si95Transport("127.0.0.1", 0)
        self.target = ""

    def push(self, text: str) -> None:
        assert self.rmr.reply(RmrMessage(0, b"", source=self.target), ROUTE_TABLE, text.encode())

    def answer(self) -> str:
        message = self.rmr.receive(PATIENCE_S)
        assert message is not None and message.mtype == ROUTE_ANSWER
        return message.payload.decode().rstrip("\0\n ")


@pytest.fixture
def manager() -> Iterator[Manager]:
    made = Manager()
    yield made
    made.rmr.close()


@pytest.fixture
def start() -> Iterator[Callable[[RmrSettings], Si95Endpoint]]:
    with ExitStack() as stack:

        def start_one(how: RmrSettings) -> Si95Endpoint:
            endpoint = Si95Endpoint(how)
            stack.callback(endpoint.close)
            return endpoint

        yield start_one


@pytest.fixture
def listening(manager: Manager, start: Callable[[RmrSettings], Si95Endpoint]) -> Si95Endpoint:
    endpoint = start(settings("0"))
    assert endpoint.route_client is not None
    manager.target = f"127.0.0.1:{endpoint.route_client.port}"
    return endpoint


def test_a_pushed_table_is_taken_and_answered(manager: Manager, listening: Si95Endpoint) -> None:
    assert not listening.ready
    manager.push(WHOLE + MEIDS)  # both in one message, as the platform's own sends them
    assert (manager.answer(), manager.answer()) == ("OK t1", "OK m1")
    assert listening.ready
    assert listening.routes.lookup(12040, -1, "gnb1") == ("127.0.0.1:38000",)
    assert listening.counters["route_tables"] == 2


def test_a_table_may_come_in_several_messages(manager: Manager, listening: Si95Endpoint) -> None:
    for part in WHOLE.splitlines(keepends=True):
        assert not listening.ready
        manager.push(part)
    assert manager.answer() == "OK t1"
    assert listening.ready


def test_updates_follow_the_table(manager: Manager, listening: Si95Endpoint) -> None:
    update = "updatert|start|u1\nmse|12050|7|127.0.0.1:9\ndel|12040|-1\nupdatert|end|2\n"
    manager.push(update)
    assert manager.answer() == "ERR u1 no whole table (newrt) came before this updatert"
    manager.push(WHOLE)
    assert manager.answer() == "OK t1"
    manager.push(update)
    assert manager.answer() == "OK u1"
    assert listening.routes.lookup(12050, 7) == ("127.0.0.1:9",)
    assert listening.routes.lookup(12040, -1, "gnb1") == ()


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("newrt|start|t2\nnewrt|end|3\n", "ERR t2 line 2: newrt has 0 records, its end says 3"),
        ("newrt|start\nrte|x|a:1\nnewrt|end\n", "ERR <id-missing> line 2: the message type is 'x', expected a number"),
        ("newrt|start|t2\nrte|1|a:1\n" + WHOLE, "ERR t2 table not complete"),
    ],
)
def test_a_bad_table_is_answered_and_counted_and_the_old_one_holds(
    manager: Manager, listening: Si95Endpoint, text: str, answer: str
) -> None:
    manager.push(WHOLE + MEIDS)
    assert (manager.answer(), manager.answer()) == ("OK t1", "OK m1")
    manager.push(text)
    assert manager.answer() == answer
    assert listening.counters["route_table_refused"] == 1
    assert listening.routes.lookup(12040, -1, "gnb1") == ("127.0.0.1:38000",)
    assert listening.routes.lookup(1) == ()


def test_a_call_is_answered_with_its_id(manager: Manager, listening: Si95Endpoint) -> None:
    """The platform's route manager waits in a blocking call; its answer must carry the call's id and transaction."""
    call = bytearray(encode_frame(RmrMessage(ROUTE_TABLE, WHOLE.encode(), xid=b"x7", call_id=201), source="caller"))
    call[242:246] = (4).to_bytes(4, sys.byteorder)
    with socket.create_connection(("127.0.0.1", int(manager.target.split(":")[1])), timeout=PATIENCE_S) as connection:
        connection.sendall(call)
        frame = connection.recv(4096)
    (answer,) = FrameReader().feed(frame)
    assert (answer.mtype, answer.payload, answer.xid) == (ROUTE_ANSWER, b"OK t1 \n\0", b"x7")
    assert frame[330] == 201


def test_records_outside_of_a_table_are_counted(manager: Manager, listening: Si95Endpoint) -> None:
    manager.push("rte|1|a:1\n" + WHOLE)
    assert manager.answer() == "OK t1"
    wait_for(lambda: listening.counters.get("route_records_astray") == 1)
    manager.push("nothing|of|that\n")
    wait_for(lambda: listening.counters.get("route_records_astray") == 2)


def test_it_asks_until_a_table_has_come(manager: Manager, start: Callable[[RmrSettings], Si95Endpoint]) -> None:
    endpoint = start(replace(settings(manager.rmr.source), request_period_s=0.05))
    for _ in range(3):
        request = manager.rmr.receive(PATIENCE_S)
        assert request is not None and (request.mtype, request.sub_id) == (ROUTE_REQUEST, 0)
        name, stamp = request.payload.decode().rstrip("\0\n").split(" ")
        assert name == endpoint.source and stamp.startswith("ts=")
        manager.target = request.source
        assert not endpoint.ready
    manager.push("newrt|start|bad\nnewrt|end|9\n")
    manager.push(WHOLE)

    def answered() -> str:
        message = manager.rmr.receive(PATIENCE_S)
        assert message is not None
        return message.payload.decode().rstrip("\0\n ") if message.mtype == ROUTE_ANSWER else ""

    answers = []
    while len(answers) < 2:
        answers += [text for text in [answered()] if text]
    assert answers[0].startswith("ERR bad ") and answers[1] == "OK t1"
    requests = endpoint.counters["route_requests"]
    while manager.rmr.receive(0.3) is not None:
        pass  # what was on its way
    assert endpoint.counters["route_requests"] == requests


def test_a_manager_that_comes_late_is_found(start: Callable[[RmrSettings], Si95Endpoint]) -> None:
    port = free_port()
    endpoint = start(replace(settings(f"127.0.0.1:{port}"), request_period_s=0.05))
    wait_for(lambda: endpoint.counters.get("route_requests", 0) > 1)
    late = Si95Transport("127.0.0.1", port)
    try:
        request = late.receive(PATIENCE_S)
        assert request is not None
        assert late.reply(request, ROUTE_TABLE, WHOLE.encode())
        wait_for(lambda: endpoint.ready)
    finally:
        late.close()


def test_the_seed_holds_until_a_table_comes(
    manager: Manager, start: Callable[[RmrSettings], Si95Endpoint], tmp_path: Path
) -> None:
    seed = tmp_path / "routes.rt"
    seed.write_text("newrt|start\nrte|5|seed:1\nnewrt|end|1\n")
    endpoint = start(settings("0", RMR_SEED_RT=str(seed)))
    assert endpoint.ready and endpoint.routes.lookup(5) == ("seed:1",)
    assert endpoint.route_client is not None
    manager.target = f"127.0.0.1:{endpoint.route_client.port}"
    manager.push(WHOLE)
    assert manager.answer() == "OK t1"
    assert endpoint.routes.lookup(5) == ()


def test_without_a_manager_nothing_listens(start: Callable[[RmrSettings], Si95Endpoint]) -> None:
    assert start(settings("-1")).route_client is None


def test_a_wanted_control_port_that_is_taken_is_an_error_and_the_default_one_is_not(
    start: Callable[[RmrSettings], Si95Endpoint],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        wanted = settings(str(port))
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}: "):
            Si95Endpoint(wanted)
        endpoint = start(replace(wanted, control_port_is_wanted=False))
    assert endpoint.route_client is None
    assert endpoint.counters["control_port_taken"] == 1


# -- any text ----------------------------------------------------------------------------------------------------------

words = st.sampled_from(
    ["newrt", "updatert", "meid_map", "start", "end", "rte", "mse", "del", "mme_ar", "mme_del", "1", "a:1", "#", ""]
)
some_records = st.lists(st.one_of(words, st.text(max_size=5)), max_size=5).map("|".join)
texts = st.one_of(st.text(), st.lists(some_records, max_size=8).map("\n".join))


@given(st.lists(texts, max_size=4))
def test_any_text_is_cut_into_blocks_that_a_table_takes_whole_or_not_at_all(pushed: list[str]) -> None:
    assembler, table = TableAssembler(), RouteTable("newrt|start\nrte|77|keep:1\nnewrt|end\n")
    for text in pushed:
        for block in assembler.feed(text):
            before = (table.lookup(77), table.lookup(1), table.lookup(1, 1), table.managed)
            reason = block.refused or table.update_by_manager(block.text)
            assert "\n" not in reason and block.table_id
            if reason:
                assert (table.lookup(77), table.lookup(1), table.lookup(1, 1), table.managed) == before


@given(st.data())
def test_where_messages_are_cut_does_not_matter(data: st.DataObject) -> None:
    lines = (WHOLE + "stray|1\n" + MEIDS + WHOLE.replace("t1", "t2")).splitlines(keepends=True)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(lines)), max_size=4)))
    assembler = TableAssembler()
    parts = ["".join(lines[start:end]) for start, end in zip([0, *cuts], [*cuts, len(lines)])]
    blocks = [block for part in parts for block in assembler.feed(part)]
    assert blocks == TableAssembler().feed("".join(lines))
    assert [block.table_id for block in blocks] == ["t1", "m1", "t2"]


def test_a_table_without_end_is_given_up() -> None:
    assembler = TableAssembler()
    record = f"rte|1|{'a' * 1000}:1\n"
    assert assembler.feed("newrt|start|endless\n") == []
    blocks = [block for _ in range(MAX_BLOCK_BYTES // len(record) + 2) for block in assembler.feed(record)]
    assert [(block.table_id, block.refused) for block in blocks] == [
        ("endless", f"table longer than {MAX_BLOCK_BYTES} bytes")
    ]
    assert assembler.feed(WHOLE)[0].refused == ""

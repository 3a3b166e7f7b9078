"""The route manager's stand-in: who gets which records, when, and what happens to who does not answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from xapp.config.model import RmrConfig
from xapp.lab.counters import Counters
from xapp.lab.ric import rtmgr
from xapp.lab.ric.appmgr import XappEndpoint
from xapp.lab.ric.rtmgr import RouteManager
from xapp.rmr.endpoint import Si95Endpoint
from xapp.rmr.routes import RouteTable
from xapp.rmr.settings import resolve_settings
from xapp.rmr.si95 import Si95Transport
from xapp.rmr.transport import ROUTE_ANSWER, ROUTE_REQUEST, ROUTE_TABLE, RmrMessage

PATIENCE_S = 30.0
E2TERM = "127.0.0.1:38000"


def wait_for(condition: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up_at, "did not happen in time"
        time.sleep(0.002)


class World:
    """What the route manager asks the others for."""

    def __init__(self) -> None:
        self.nodes: dict[str, str] = {}
        self.xapps: list[XappEndpoint] = []
        self.counters = Counters()
        self.now_s = 100.0
        """The route manager's clock: nothing is overdue before it moves."""
        self.looks = 0
        """How often it has looked at the clock."""

    def clock(self) -> float:
        self.looks += 1
        return self.now_s


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def start(world: World) -> Iterator[Callable[..., RouteManager]]:
    with ExitStack() as stack:

        def start_one(**options: object) -> RouteManager:
            made = RouteManager(
                "127.0.0.1",
                0,
                world.counters,
                nodes=lambda: world.nodes,
                xapps=lambda: world.xapps,
                clock=world.clock,
                **options,  # type: ignore[arg-type]
            )
            stack.callback(made.close)
            return made

        yield start_one


@pytest.fixture
def xapp() -> Iterator[Callable[[str], Si95Endpoint]]:
    with ExitStack() as stack:

        def start_one(route_manager: str) -> Si95Endpoint:
            config = RmrConfig(bind_host="127.0.0.1", port=0, host="127.0.0.1", route_manager=route_manager)
            endpoint = Si95Endpoint(resolve_settings(config, {"RMR_CTL_PORT": "0"}))
            stack.callback(endpoint.close)
            return endpoint

        yield start_one


def registered(endpoint: str, *policies: int) -> XappEndpoint:
    return XappEndpoint("stackmac", endpoint, ("RIC_CONTROL_REQ",), ("RIC_INDICATION",), policies)


def test_who_asks_gets_the_table_and_whatever_changes(
    world: World, start: Callable[..., RouteManager], xapp: Callable[[str], Si95Endpoint]
) -> None:
    world.nodes["gnb1"] = E2TERM
    manager = start()
    one = xapp(manager.rmr.source)
    wait_for(lambda: one.ready)
    wait_for(lambda: manager.status()["up_to_date"] == 1)
    assert one.routes.lookup(12040, -1, "gnb1") == (E2TERM,)
    other = xapp(manager.rmr.source)
    world.nodes = {"gnb2": E2TERM}
    manager.refresh()
    manager.add(7, other.source)
    wait_for(lambda: one.routes.lookup(12050, 7) == (other.source,))
    wait_for(lambda: one.routes.lookup(12040, -1, "gnb2") == (E2TERM,))
    assert one.routes.lookup(12040, -1, "gnb1") == ()
    manager.remove(7)
    wait_for(lambda: one.routes.lookup(12050, 7) == ())
    wait_for(lambda: manager.status()["up_to_date"] == 2)
    for endpoint in (one, other):
        assert endpoint.counters["route_requests"] == 1
        assert "route_table_refused" not in endpoint.counters
    assert "rtmgr_unanswered" not in world.counters.snapshot()


def test_who_is_registered_is_told_on_its_route_port(
    world: World, start: Callable[..., RouteManager], xapp: Callable[[str], Si95Endpoint]
) -> None:
    one = xapp("0")  # listens
    assert one.route_client is not None
    manager = start(xapp_route_port=one.route_client.port)
    assert not one.ready
    world.nodes["gnb1"] = E2TERM
    world.xapps.append(registered(one.source, 20000))
    manager.set_a1_mediator("a1:4562")
    wait_for(lambda: manager.status()["up_to_date"] == 1)
    assert one.routes.lookup(12040, -1, "gnb1") == (E2TERM,)
    assert one.routes.lookup(20011) == one.routes.lookup(20012) == ("a1:4562",)


def test_parts_of_the_platform_have_the_same_routes(world: World, start: Callable[..., RouteManager]) -> None:
    manager, table = start(default_xapp="127.0.0.1:4560"), RouteTable()
    manager.add_platform(table)
    assert table.lookup(12050, 3) == ("127.0.0.1:4560",)
    world.nodes["gnb1"] = E2TERM
    world.xapps.append(registered("127.0.0.1:5560", 20000))
    manager.add(3, "127.0.0.1:5560")
    assert table.lookup(12050, 3) == table.lookup(12041, 3) == table.lookup(20010, 20000) == ("127.0.0.1:5560",)
    assert table.lookup(12042, 4) == ("127.0.0.1:4560",)
    world.nodes, world.xapps = {}, []
    manager.refresh()
    assert table.lookup(20010, 20000) == ()
    assert table.last_error == ""


class Peer:
    """An xApp under the test's control."""

    def __init__(self, manager: RouteManager) -> None:
        routes = RouteTable(f"newrt|start\nrte|{ROUTE_REQUEST}|{manager.rmr.source}\nnewrt|end")
        self.rmr = Si95Transport("127.0.0.1", 0, routes=routes)
        assert self.rmr.send(RmrMessage(ROUTE_REQUEST, b"127.0.0.1:4560 ts=1\n\0"))

    def table(self) -> tuple[RmrMessage, str]:
        """The message that completes the next table, and all of it."""
        text = ""
        while "meid_map|end" not in text:
            message = self.rmr.receive(PATIENCE_S)
            assert message is not None and message.mtype == ROUTE_TABLE
            assert len(message.payload) <= rtmgr.MAX_MESSAGE_BYTES and message.payload.endswith(b"\n")
            text += message.payload.decode()
        return message, text

    def answer(self, message: RmrMessage, text: str, verdict: str) -> None:
        ids = [line.split("|")[2] for line in text.splitlines() if "|start|" in line]
        for table_id in ids:
            self.rmr.reply(message, ROUTE_ANSWER, f"{verdict} {table_id} because\n\0".encode())


@pytest.fixture
def peer(start: Callable[..., RouteManager]) -> Iterator[tuple[RouteManager, Peer]]:
    manager = start()
    made = Peer(manager)
    yield manager, made
    made.rmr.close()


def test_a_long_table_comes_in_several_messages(peer: tuple[RouteManager, Peer], world: World) -> None:
    manager, xapp = peer
    xapp.answer(*xapp.table(), "OK")
    wait_for(lambda: manager.status()["up_to_date"] == 1)
    world.nodes = {f"gnb_001_001_{number:08d}": E2TERM for number in range(200)}
    manager.refresh()
    _, text = xapp.table()
    assert text.startswith("meid_map|start|") and text.count("mme_ar|") == 200
    assert text.endswith("meid_map|end|200\n")


def test_what_is_not_answered_or_refused_is_sent_again_as_a_whole(
    peer: tuple[RouteManager, Peer], world: World
) -> None:
    manager, xapp = peer
    first = xapp.table()
    world.now_s += 2 * rtmgr.ANSWER_TIMEOUT_S
    again = xapp.table()
    assert first[1].startswith("newrt|start|") and again[1].startswith("newrt|start|")
    assert world.counters.snapshot()["rtmgr_unanswered"] == 1
    xapp.answer(*first, "OK")
    wait_for(lambda: world.counters.snapshot().get("rtmgr_late_answer") == 2)  # for its routes and its meids
    assert manager.status()["up_to_date"] == 0
    xapp.answer(*again, "OK")
    wait_for(lambda: manager.status()["up_to_date"] == 1)
    world.nodes = {"gnb1": E2TERM}
    manager.refresh()
    message, text = xapp.table()
    assert text.startswith("meid_map|start|")  # what has changed, no more
    xapp.answer(message, text, "ERR")
    wait_for(lambda: world.counters.snapshot().get("rtmgr_tables_refused") == 1)
    world.now_s += 2 * rtmgr.ANSWER_TIMEOUT_S
    _, text = xapp.table()
    assert text.startswith("newrt|start|") and "mme_ar|" in text


def test_who_answers_for_an_old_table_last_gets_the_newest_again(peer: tuple[RouteManager, Peer], world: World) -> None:
    manager, xapp = peer
    old = xapp.table()
    world.now_s += 2 * rtmgr.ANSWER_TIMEOUT_S
    xapp.answer(*xapp.table(), "OK")
    wait_for(lambda: manager.status()["up_to_date"] == 1)
    world.nodes = {"gnb1": E2TERM}
    manager.refresh()
    change = xapp.table()  # it is on its way when the old one is answered, and does not put that right
    assert change[1].startswith("meid_map|start|")
    xapp.answer(*old, "OK")
    wait_for(lambda: world.counters.snapshot().get("rtmgr_late_answer") == 2)
    xapp.answer(*change, "OK")
    world.now_s += 2 * rtmgr.ANSWER_TIMEOUT_S
    again = xapp.table()
    assert again[1].startswith("newrt|start|") and "mse|12040,127.0.0.1:4560|-1|%meid" in again[1]
    xapp.answer(*again, "OK")
    wait_for(lambda: manager.status()["up_to_date"] == 1)


def test_who_answers_twice_is_not_told_at_once_again(peer: tuple[RouteManager, Peer], world: World) -> None:
    manager, xapp = peer
    first = xapp.table()
    for _ in range(2):
        xapp.answer(*first, "OK")
    wait_for(lambda: world.counters.snapshot().get("rtmgr_late_answer") == 2)
    sent = world.counters.snapshot()["rtmgr_tables"]
    for _ in range(10):
        manager.refresh()
    assert world.counters.snapshot()["rtmgr_tables"] == sent == 1
    world.now_s += 2 * rtmgr.ANSWER_TIMEOUT_S
    xapp.table()


def test_who_says_nothing_is_forgotten(peer: tuple[RouteManager, Peer], world: World) -> None:
    manager, _ = peer
    wait_for(lambda: manager.status()["peers"] == 1)
    world.now_s += 2 * rtmgr.LOST_AFTER_S
    wait_for(lambda: manager.status()["peers"] == 0)


def test_who_had_nothing_to_answer_is_not_forgotten_for_that(peer: tuple[RouteManager, Peer], world: World) -> None:
    manager, xapp = peer
    xapp.answer(*xapp.table(), "OK")
    wait_for(lambda: manager.status()["up_to_date"] == 1)
    world.now_s += 2 * rtmgr.LOST_AFTER_S
    world.nodes["gnb1"] = E2TERM
    manager.refresh()
    changed = xapp.table()
    looks = world.looks
    wait_for(lambda: world.looks >= looks + 3)  # nobody says anything: of each two looks one is for who is lost
    assert manager.status()["peers"] == 1
    xapp.answer(*changed, "OK")
    wait_for(lambda: manager.status()["up_to_date"] == 1)


def test_requests_that_are_none_are_counted(start: Callable[..., RouteManager], world: World) -> None:
    manager = start()
    routes = RouteTable(f"newrt|start\nrte|21|{manager.rmr.source}\nrte|99|{manager.rmr.source}\nnewrt|end")
    stranger = Si95Transport("127.0.0.1", 0, routes=routes)
    try:
        for message in (RmrMessage(21, b"\xff\xfe"), RmrMessage(99, b"")):
            assert stranger.send(message)
        wait_for(lambda: {"rtmgr_bad_request", "rtmgr_unexpected_mtype"} <= world.counters.snapshot().keys())
        assert manager.status()["peers"] == 0
    finally:
        stranger.close()

"""Who may bring route tables, over real sockets: this machine has more than one address."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest
from waiting import PATIENCE_S, wait_for

from xapp.config.model import ConfigError, RmrConfig, parse_controls
from xapp.rmr.endpoint import Si95Endpoint, open_endpoint
from xapp.rmr.frame import FrameReader, encode_frame
from xapp.rmr.route_sources import REMEMBERED_S, RouteSources
from xapp.rmr.settings import RmrSettings, resolve_settings
from xapp.rmr.transport import ROUTE_TABLE, RmrMessage

MANAGER, SOMEBODY = "127.0.0.1", "127.0.0.2"


def table(endpoint: str) -> bytes:
    return f"newrt|start|{endpoint}\nrte|77|{endpoint}\nnewrt|end|1\n".encode()


def settings(*sources: str) -> RmrSettings:
    config = RmrConfig(bind_host="127.0.0.1", port=0, host="127.0.0.1", route_sources=sources)
    return resolve_settings(config, {"RMR_RTG_SVC": "0"})


@pytest.fixture
def start() -> Iterator[Callable[..., Si95Endpoint]]:
    with ExitStack() as stack:

        def start_one(*sources: str) -> Si95Endpoint:
            endpoint = open_endpoint(settings(*sources), "si95")
            assert isinstance(endpoint, Si95Endpoint)
            stack.callback(endpoint.close)
            return endpoint

        yield start_one


def push(endpoint: Si95Endpoint, address: str, text: bytes, *, answered: bool = True) -> str:
    """A route manager at `address`, whatever it calls itself, sends a table; what it is answered."""
    assert endpoint.route_client is not None
    port = endpoint.route_client.port
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S, source_address=(address, 0)) as sock:
        sock.sendall(encode_frame(RmrMessage(ROUTE_TABLE, text), source="routemgr:4561x"))
        if not answered:
            wait_for(lambda: endpoint.counters.get("route_source_refused", 0) > 0)
            return ""
        reader = FrameReader()
        while not (messages := reader.feed(sock.recv(4096))):
            pass
        return messages[0].payload.decode()


def test_a_second_source_of_route_tables_is_an_alarm(start: Callable[..., Si95Endpoint]) -> None:
    endpoint = start()
    for _ in range(2):
        assert push(endpoint, MANAGER, table("a:1")).startswith("OK")
    assert endpoint.route_problem == ""
    assert push(endpoint, SOMEBODY, table("b:1")).startswith("OK")
    assert endpoint.route_problem == f"from {SOMEBODY}, before from {MANAGER}"


@pytest.mark.parametrize("allowed", ["127.0.0.1", "127.0.0.1/32", "::ffff:127.0.0.1", "127.0.0.0/31"])
def test_with_route_sources_nobody_else_changes_a_route(start: Callable[..., Si95Endpoint], allowed: str) -> None:
    if ":" in allowed:
        sources = RouteSources(["127.0.0.1"])  # an IPv4 peer of a socket that takes both
        assert sources.admits(allowed) and not sources.admits(f"::ffff:{SOMEBODY}")
        return
    endpoint = start("10.0.0.0/8", allowed)
    assert push(endpoint, MANAGER, table("a:1")).startswith("OK")
    push(endpoint, SOMEBODY, table("evil:1"), answered=False)
    assert push(endpoint, MANAGER, table("c:1")).startswith("OK")
    assert endpoint.routes.lookup(77) == ("c:1",)
    assert (endpoint.counters["route_tables"], endpoint.counters["route_source_refused"]) == (2, 1)
    assert endpoint.route_problem == f"refused from {SOMEBODY}, which is not in controls.rmr.route_sources"


def test_half_a_table_of_somebody_else_spoils_none_of_an_allowed_source(start: Callable[..., Si95Endpoint]) -> None:
    endpoint = start(MANAGER)
    first, _, rest = table("a:1").partition(b"\n")
    assert endpoint.route_client is not None
    address = ("127.0.0.1", endpoint.route_client.port)
    with socket.create_connection(address, PATIENCE_S, source_address=(MANAGER, 0)) as sock:
        sock.sendall(encode_frame(RmrMessage(ROUTE_TABLE, first + b"\n"), source="x"))
        sock.sendall(encode_frame(RmrMessage(1, b"after it"), source="x"))
        wait_for(lambda: endpoint.counters.get("route_messages_unknown") == 1)
        push(endpoint, SOMEBODY, b"newrt|start|evil\n", answered=False)
        sock.sendall(encode_frame(RmrMessage(ROUTE_TABLE, rest), source="x"))
        wait_for(lambda: endpoint.ready)
    assert endpoint.routes.lookup(77) == ("a:1",)


def test_a_route_manager_that_has_moved_is_known_after_a_while() -> None:
    now_s = 0.0
    sources = RouteSources(clock=lambda: now_s)
    assert sources.admits(MANAGER) and sources.admits(SOMEBODY)
    now_s = REMEMBERED_S - 1
    assert sources.problem and sources.admits(SOMEBODY)
    now_s = REMEMBERED_S
    assert not sources.problem
    assert sources.admits(MANAGER)
    assert sources.problem == f"from {MANAGER}, before from {SOMEBODY}"


def test_where_we_call_ourselves_nobody_is_a_second_source() -> None:
    sources = RouteSources(["10.0.0.0/8"])
    assert sources.admits("")
    assert not sources.problem
    assert not sources.admits("no address")


def test_librmr_which_takes_tables_from_everybody_is_refused_with_route_sources() -> None:
    with pytest.raises(ConfigError, match=r"controls\.rmr\.transport is 'librmr', which takes route tables from"):
        open_endpoint(settings("10.0.0.0/8"), "librmr")
    endpoint = open_endpoint(replace(settings("10.0.0.0/8")), "auto")
    endpoint.close()
    assert endpoint.kind == "si95"


@pytest.mark.parametrize("wrong", ["", "10.0.0.0/33", "rtmgr", "10.0.0.0/8,11.0.0.0/8"])
def test_a_network_that_is_none_is_refused_in_one_line(wrong: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_controls({"rmr": {"route_sources": ["10.0.0.0/8", wrong]}})
    assert f"{wrong!r} is no network, expected ADDRESS/BITS" in str(raised.value)
    assert "\n" not in str(raised.value)

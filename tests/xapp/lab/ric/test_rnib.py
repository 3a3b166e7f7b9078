"""The R-NIB stand-in in a real Redis, read back as the xApp reads it."""

from __future__ import annotations

import time
from typing import Any

import pytest

from xapp.e2.e2ap import procedures
from xapp.lab.counters import Counters
from xapp.lab.ric.rnib import Node, NodeInventory
from xapp.ric.nodes import NodeChange, NodeWatcher, RnibSource
from xapp.ric.sdl import SharedStore


@pytest.fixture
def shared(own_redis: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """SDL on a Redis that the test may restart."""
    for name, value in own_redis.environ.items():
        monkeypatch.setenv(name, value)
    return own_redis


@pytest.mark.usefixtures("shared")
def test_nodes_are_in_sdl_when_there_is_one() -> None:
    counters = Counters()
    inventory = NodeInventory(counters)
    functions = (procedures.RanFunctionItem(5, b"\x0a\x0b", 1, "1.3.6.1.4.1.32473.5.1"),)
    node = Node(procedures.GnbId(bytes.fromhex("00f110"), 0x77), functions, "127.0.0.1:38000")
    inventory.put(node)
    inventory.disconnected(node.name)
    inventory.close()
    assert counters.snapshot() == {}
    store = SharedStore(timeout_s=10.0)
    source = RnibSource(store)
    assert source.names()[node.name] is False
    seen = source.node(node.name)
    assert not seen.connected
    assert [(f.id, f.oid, f.definition) for f in seen.functions] == [(5, "1.3.6.1.4.1.32473.5.1", b"\x0a\x0b")]
    store.close()


def test_without_sdl_nothing_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DBAAS_SERVICE_HOST", raising=False)
    inventory = NodeInventory(Counters())
    inventory.disconnected("gnb_never_seen")
    assert inventory.all() == []
    inventory.close()


NODE = Node(procedures.GnbId(bytes.fromhex("00f110"), 0x78), (), "127.0.0.1:38000")
PATIENCE_S = 30.0


def heard(watcher: NodeWatcher) -> list[Any]:
    """What `listen` says, once there is something."""
    give_up_at = time.monotonic() + PATIENCE_S
    while not (events := watcher.listen()) and not watcher.news:
        assert time.monotonic() < give_up_at, "nothing was heard"
        time.sleep(0.01)
    return events


def test_what_happens_to_a_node_is_heard_at_once_and_again_after_redis_restarted(shared: Any) -> None:
    store = SharedStore(timeout_s=10.0)
    watcher = NodeWatcher([RnibSource(store)])
    watcher.listen()
    inventory = NodeInventory(Counters())
    inventory.put(NODE)
    assert heard(watcher) == []
    (event,) = watcher.poll()
    assert (event.change, event.node.name) == (NodeChange.CONNECTED, NODE.name)
    inventory.disconnected(NODE.name)
    (event,) = heard(watcher)
    assert (event.change, event.node.name) == (NodeChange.LOST, NODE.name)
    assert watcher.poll() == []
    shared.stop()
    shared.start()
    watcher.listen()  # finds out that the connection is gone
    assert not store.healthy
    watcher.listen()
    assert store.healthy
    inventory.put(NODE)
    heard(watcher)
    (event,) = watcher.poll()
    assert event.change is NodeChange.CONNECTED
    inventory.close()
    store.close()


@pytest.mark.usefixtures("shared")
def test_a_ric_that_was_killed_leaves_no_node_behind_that_seems_connected() -> None:
    first = NodeInventory(Counters())
    first.put(NODE)
    first.close()
    second = NodeInventory(Counters())
    second.put(NODE)
    second.disconnected(NODE.name)
    second.close()
    store = SharedStore(timeout_s=10.0)
    assert RnibSource(store).names() == {NODE.name: False}
    store.close()

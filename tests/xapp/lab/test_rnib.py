"""The R-NIB stand-in in a real Redis, read back as the xApp reads it."""

from __future__ import annotations

from typing import Any

import pytest

from xapp.e2 import e2ap_procedures as procedures
from xapp.lab.counters import Counters
from xapp.lab.rnib import Node, NodeInventory
from xapp.ric.nodes import RnibSource
from xapp.ric.sdl import SharedStore


def test_nodes_are_in_sdl_when_there_is_one(redis_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBAAS_SERVICE_HOST", redis_server.host)
    monkeypatch.setenv("DBAAS_SERVICE_PORT", str(redis_server.port))
    counters = Counters()
    inventory = NodeInventory(counters)
    functions = (procedures.RanFunctionItem(5, b"\x0a\x0b", 1, "1.3.6.1.4.1.32473.5.1"),)
    node = Node(procedures.GnbId(bytes.fromhex("00f110"), 0x77), functions, "127.0.0.1:38000")
    inventory.put(node)
    inventory.disconnected(node.name)
    inventory.close()
    assert counters.snapshot() == {}
    store = SharedStore()
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

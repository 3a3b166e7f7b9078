"""The shared store: in memory, on a real Redis, and on one that does not answer."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest
from ricxappframe.xapp_sdl import SDLWrapper
from waiting import PATIENCE_S

import xapp.ric.sdl
from xapp.ric.sdl import SharedStore

NAMESPACES = iter(range(1000))


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[SharedStore]:
    if request.param == "redis":
        address = request.getfixturevalue("redis_server")
        monkeypatch.setenv("DBAAS_SERVICE_HOST", address.host)
        monkeypatch.setenv("DBAAS_SERVICE_PORT", str(address.port))
    else:
        monkeypatch.delenv("DBAAS_SERVICE_HOST", raising=False)
    store = SharedStore(f"test{next(NAMESPACES)}", timeout_s=10.0)
    assert store.is_shared == (request.param == "redis")
    yield store
    store.close()


VALUES: list[Any] = [0, "text", [1, 2], {"a": {"b": None}}, "üñ", False]


@pytest.mark.parametrize("value", VALUES)
def test_a_value_comes_back(store: SharedStore, value: object) -> None:
    assert store.set("key", value)
    assert store.get("key") == value


def test_what_is_not_there_is_none(store: SharedStore) -> None:
    assert store.get("nothing") is None
    assert store.healthy


def test_deleting_removes_and_may_be_repeated(store: SharedStore) -> None:
    store.set("key", 1)
    assert store.delete("key")
    assert store.get("key") is None
    assert store.delete("key")


def test_find_gives_the_keys_with_the_prefix(store: SharedStore) -> None:
    for key in ("sub/1", "sub/2", "other"):
        store.set(key, key)
    assert store.find("sub/") == {"sub/1": "sub/1", "sub/2": "sub/2"}
    assert store.find("none") == {}


def test_what_is_stored_survives_its_store(store: SharedStore) -> None:
    store.set("key", 5)
    other = SharedStore(store.namespace, timeout_s=10.0)
    assert other.get("key") == (5 if store.is_shared else None)
    other.close()


def test_whether_there_was_an_answer_is_each_threads_own(store: SharedStore) -> None:
    def fail(sdl: Any) -> None:
        raise OSError("told to")

    store._call(fail)
    others: list[bool] = []
    other = threading.Thread(target=lambda: others.append(store.set("key", 1) and store.answered))
    other.start()
    other.join()
    assert (others, store.healthy, store.answered) == ([True], True, False)
    assert store.get("nothing") is None
    assert store.answered


def test_after_close_calls_fail_without_raising(store: SharedStore) -> None:
    store.close()
    store.timeout_s = 0.05
    assert not store.set("key", 1)
    assert store.get("key") is None
    assert not store.healthy


def between_any_two_instructions(frame: FrameType, event: str, _: Any) -> Any:
    """A trace function that lets the other threads run wherever the store's own code could be interrupted."""
    if frame.f_code.co_filename != xapp.ric.sdl.__file__:
        return None
    frame.f_trace_opcodes = True
    time.sleep(0)
    return between_any_two_instructions


def test_calls_of_many_threads_are_all_counted() -> None:
    store = SharedStore(timeout_s=PATIENCE_S, environ={})
    together = threading.Barrier(8)

    def call() -> None:
        together.wait(PATIENCE_S)
        sys.settrace(between_any_two_instructions)
        for _ in range(10):
            store.get("key")

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store.close()
    assert store.counters == {"ok": 80}


def shared(redis_server: Any, monkeypatch: pytest.MonkeyPatch) -> SDLWrapper:
    monkeypatch.setenv("DBAAS_SERVICE_HOST", redis_server.host)
    monkeypatch.setenv("DBAAS_SERVICE_PORT", str(redis_server.port))
    return SDLWrapper()


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"[]", b'"x"', b'{"value":1}', b'{"version":2,"value":1}', b"{"])
def test_a_value_of_another_release_is_ignored(redis_server: Any, monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    shared(redis_server, monkeypatch).set("stackmac-odd", "key", data, usemsgpack=False)
    store = SharedStore("stackmac-odd", timeout_s=10.0)
    assert store.get("key") is None
    assert store.find("k") == {}
    assert store.counters["unreadable"] == 2 and store.healthy
    store.close()


def test_the_sets_and_values_of_others_can_be_read(redis_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sdl = shared(redis_server, monkeypatch)
    sdl.add_member("others", "GNB", b"\x01", usemsgpack=False)
    sdl.set("others", "RAN:x", b"\x02\xff", usemsgpack=False)
    store = SharedStore(timeout_s=10.0)
    assert store.members("others", "GNB") == {b"\x01"}
    assert store.members("others", "ENB") == frozenset()
    assert store.raw("others", "RAN:x") == b"\x02\xff"
    assert store.raw("others", "RAN:y") is None
    store.close()


def test_a_redis_that_refuses_is_an_error_and_its_return_is_noticed(
    redis_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("DBAAS_SERVICE_HOST", "127.0.0.1")
        monkeypatch.setenv("DBAAS_SERVICE_PORT", str(closed.getsockname()[1]))
        store = SharedStore(timeout_s=10.0)
        assert not store.set("key", 1)
        assert store.find("key") == {}
        assert store.members("e2Manager", "GNB") is None
    assert not store.healthy and store.counters == {"error": 3}
    store.close()


def test_a_redis_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("DBAAS_SERVICE_HOST", "127.0.0.1")
        monkeypatch.setenv("DBAAS_SERVICE_PORT", str(silent.getsockname()[1]))
        store = SharedStore(timeout_s=0.1)
        start = time.monotonic()
        assert store.get("key") is None
        assert not store.set("key", 1)
        assert time.monotonic() - start < PATIENCE_S
        assert not store.healthy and store.counters == {"timeout": 2}
        store.close()

"""What SDL must do, the platform's and ours: the same calls, and over Redis the same keys, values and channels."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis
from ricxappframe.xapp_sdl import SDLWrapper

from xapp.platform.libraries import ADD_COMMAND
from xapp.platform.redis_sdl import Database, MemorySdl, RedisSdl, databases, open_sdl

NAMESPACES = (f"contract{number}" for number in range(1000))
PATIENCE_S = 30.0
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.binary() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture
def redis_environment(redis_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBAAS_SERVICE_HOST", redis_server.host)
    monkeypatch.setenv("DBAAS_SERVICE_PORT", str(redis_server.port))


@pytest.fixture(params=["platform", "ours", "platform in memory", "ours in memory"])
def sdl(request: pytest.FixtureRequest, redis_environment: None) -> Any:
    makers: dict[str, Callable[[], Any]] = {
        "platform": SDLWrapper,
        "ours": RedisSdl,
        "platform in memory": lambda: SDLWrapper(use_fake_sdl=True),
        "ours in memory": MemorySdl,
    }
    return makers[request.param]()


def test_a_key_that_is_no_text_hides_no_other(redis_environment: None, redis: Redis, ns: str) -> None:
    sdl = RedisSdl()
    sdl.set(ns, "a/good", b"value", usemsgpack=False)
    redis.set(f"{{{ns}}},a/".encode() + b"\xff", b"other")
    assert sdl.find_and_get(ns, "a/", usemsgpack=False) == {"a/good": b"value", "a/\\xff": b"other"}


@pytest.fixture
def both(redis_environment: None) -> tuple[SDLWrapper, RedisSdl]:
    return SDLWrapper(), RedisSdl()


@pytest.fixture
def ns() -> str:
    return next(NAMESPACES)


@pytest.fixture
def redis(redis_server: Any) -> Iterator[Redis]:
    with Redis(host=redis_server.host, port=redis_server.port) as client:
        yield client


def test_values_are_set_found_and_deleted(sdl: Any, ns: str) -> None:
    for key in ("a/2", "a/1", "b"):
        sdl.set(ns, key, key.encode(), usemsgpack=False)
    assert sdl.get(ns, "b", usemsgpack=False) == b"b"
    assert sdl.get(ns, "c", usemsgpack=False) is None
    assert list(sdl.find_and_get(ns, "a/", usemsgpack=False).items()) == [("a/1", b"a/1"), ("a/2", b"a/2")]
    assert sdl.find_and_get(ns, "c", usemsgpack=False) == {}
    sdl.delete(ns, "b")
    sdl.delete(ns, "b")
    assert sdl.get(ns, "b", usemsgpack=False) is None


def test_a_value_is_packed_unless_it_is_bytes(sdl: Any, ns: str) -> None:
    sdl.set(ns, "key", {"a": [1, b"\xff", None]})
    assert sdl.get(ns, "key") == {"a": [1, b"\xff", None]}
    assert sdl.find_and_get(ns, "k") == {"key": {"a": [1, b"\xff", None]}}
    with pytest.raises(Exception, match="bytes"):
        sdl.set(ns, "key", "text", usemsgpack=False)


def test_members_come_and_go(sdl: Any, ns: str) -> None:
    assert sdl.get_members(ns, "group", usemsgpack=False) == set()
    for member in (b"\x01", b"\x02", b"\x02"):
        sdl.add_member(ns, "group", member, usemsgpack=False)
    sdl.remove_member(ns, "group", b"\x01", usemsgpack=False)
    sdl.remove_member(ns, "group", b"\x03", usemsgpack=False)
    assert sdl.get_members(ns, "group", usemsgpack=False) == {b"\x02"}
    sdl.remove_member(ns, "group", b"\x02", usemsgpack=False)
    assert sdl.get_members(ns, "group", usemsgpack=False) == set()


@given(VALUES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_one_writes_the_other_reads(both: tuple[Any, Any], value: object) -> None:
    for writer, reader in (both, both[::-1]):
        writer.set("shared", "key", value)
        assert reader.get("shared", "key") == value
        assert reader.find_and_get("shared", "k") == {"key": value}


def test_both_write_the_same_bytes_under_the_same_keys(both: tuple[Any, Any], redis: Redis) -> None:
    written = []
    for sdl in both:
        sdl.set("bytes", "a,{b}", b"\x00\xff", usemsgpack=False)
        sdl.set("bytes", "packed", {"n": 1})
        sdl.add_member("bytes", "group", b"\x01", usemsgpack=False)
        sdl.add_member("bytes", "group", "x")
        keys = sorted(redis.keys("{bytes}*"))
        assert keys == [b"{bytes},a,{b}", b"{bytes},group", b"{bytes},packed"]
        written.append((redis.get(keys[0]), redis.smembers(keys[1]), redis.get(keys[2])))
        redis.delete(*keys)
    assert written[0] == written[1]
    assert written[0][:2] == (b"\x00\xff", {b"\x01", b"\xa1x"})


@pytest.mark.parametrize("make", [SDLWrapper, RedisSdl])
def test_what_is_published_is_heard_once(
    make: Callable[[], Any], redis_environment: None, ns: str, redis: Redis
) -> None:
    sdl = make()
    heard: list[tuple[str, list[str]]] = []
    sdl.subscribe_channel(ns, lambda channel, events: heard.append((channel, events)), "news")
    sdl.subscribe_channel(ns, lambda channel, events: heard.append((channel, events)), "other")
    give_up_at = time.monotonic() + PATIENCE_S
    while redis.publish(f"{{{ns}}},news", "one___two") == 0:
        assert time.monotonic() < give_up_at, "the subscription did not arrive"
    while not heard:
        assert time.monotonic() < give_up_at, "what was published did not arrive"
        sdl.handle_events()
    assert heard == [("news", ["one", "two"])]
    assert sdl.handle_events() is None


def test_a_namespace_lives_in_the_same_one_of_several_databases(
    both: Any, own_redis: Any, redis_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DBAAS_CLUSTER_ADDR_LIST", f"{redis_server.host},{own_redis.address.host}")
    monkeypatch.setenv("DBAAS_SERVICE_PORT", f"{redis_server.port},{own_redis.address.port}")
    platform, ours = SDLWrapper(), RedisSdl()
    for number in range(8):
        platform.set(f"spread{number}", "key", number)
        assert ours.get(f"spread{number}", "key") == number
    with Redis(host=own_redis.address.host, port=own_redis.address.port) as second:
        assert 0 < len(second.keys("{spread*")) < 8


def test_the_variables_name_the_databases() -> None:
    assert databases({}) == []
    assert databases({"DBAAS_SERVICE_HOST": "a"}) == [Database("a", 6379, None, "")]
    assert databases(
        {
            "DBAAS_SERVICE_HOST": "a",
            "DBAAS_CLUSTER_ADDR_LIST": "b,c",
            "DBAAS_SERVICE_PORT": "1",
            "DBAAS_SERVICE_SENTINEL_PORT": "2,3",
            "DBAAS_MASTER_NAME": "m",
        }
    ) == [Database("b", 1, 2, "m"), Database("c", 1, 3, "m")]
    with pytest.raises(ValueError, match="DBAAS_SERVICE_HOST"):
        RedisSdl({})


@pytest.mark.parametrize("missing", ["ricxappframe", "ricsdl"])
def test_without_the_platforms_libraries_ours_steps_in_and_says_how_to_add_them(
    redis_environment: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, missing: str
) -> None:
    assert isinstance(open_sdl(is_shared=True), SDLWrapper)
    assert isinstance(open_sdl(is_shared=False), SDLWrapper)
    for name in [name for name in sys.modules if name.partition(".")[0] in ("ricxappframe", "ricsdl")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    assert caplog.messages == []
    assert isinstance(open_sdl(is_shared=False), MemorySdl)
    assert isinstance(open_sdl(is_shared=True), RedisSdl)
    (line,) = caplog.messages
    assert ADD_COMMAND in line and "\n" not in line

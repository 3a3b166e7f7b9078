"""SDL without the platform's libraries: the same keys, values and channels over Redis alone, or in memory.

As much of ricxappframe's SDLWrapper as stackmac uses, under the same names. Redis is found by the same variables: one
or several databases (a namespace lives in one of them, by its checksum), each directly or through its Sentinel.
"""

from __future__ import annotations

import logging
import os
import zlib
from collections import defaultdict
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from itertools import cycle
from typing import Any, NamedTuple

import msgpack

from xapp.platform.libraries import HOW_TO_ADD, is_missing

log = logging.getLogger(__name__)

EVENT_SEPARATOR = "___"
"""Between the events of one message on a channel."""
DEFAULT_PORT = 6379

EventHandler = Callable[[str, list[str]], None]


def open_sdl(*, is_shared: bool) -> Any:
    """The platform's SDL where its library is installed, else ours; in memory unless shared."""
    try:
        from ricxappframe.xapp_sdl import SDLWrapper
    except ImportError as error:
        if not is_missing(error):
            raise
        if not is_shared:
            return MemorySdl()
        log.warning("shared data go by Redis alone: %s", HOW_TO_ADD)
        return RedisSdl()
    return SDLWrapper(use_fake_sdl=not is_shared)


def is_refusal(error: Exception) -> bool:
    """Redis answered, and refused: it is a replica, full, or wants a password. By name, as the platform's library has
    an error of its own for it, and neither library need be there.
    """
    return any(kind.__name__ in ("ResponseError", "RejectedByBackend") for kind in type(error).__mro__)


class Database(NamedTuple):
    """Where one Redis is."""

    host: str
    port: int
    sentinel_port: int | None
    """None = there is no Sentinel: connect directly."""
    master_name: str


def databases(environ: Mapping[str, str]) -> list[Database]:
    """What the DBAAS variables name. Of a list that is shorter than that of the hosts, the last entry holds on."""

    def entries(variable: str) -> list[str]:
        return [entry for entry in environ.get(variable, "").split(",") if entry]

    hosts = entries("DBAAS_CLUSTER_ADDR_LIST") or entries("DBAAS_SERVICE_HOST")
    ports, sentinel_ports = entries("DBAAS_SERVICE_PORT"), entries("DBAAS_SERVICE_SENTINEL_PORT")
    names = entries("DBAAS_MASTER_NAME")

    def nth(found: list[str], index: int) -> str:
        return found[min(index, len(found) - 1)] if found else ""

    return [
        Database(
            host,
            int(nth(ports, index) or DEFAULT_PORT),
            int(nth(sentinel_ports, index)) if sentinel_ports else None,
            nth(names, index),
        )
        for index, host in enumerate(hosts)
    ]


class RedisSdl:
    """SDL over redis-py. Raises Redis' own errors; one thread at a time."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        from redis import Redis
        from redis.sentinel import Sentinel

        self._clients: list[Any] = []
        for database in databases(os.environ if environ is None else environ):
            if database.sentinel_port is None:
                self._clients.append(Redis(host=database.host, port=database.port))
            else:
                sentinel = Sentinel([(database.host, database.sentinel_port)])
                self._clients.append(sentinel.master_for(database.master_name))
        if not self._clients:
            raise ValueError("no Redis: neither DBAAS_SERVICE_HOST nor DBAAS_CLUSTER_ADDR_LIST is set")
        self._channels = [client.pubsub(ignore_subscribe_messages=True) for client in self._clients]
        self._turns = cycle(self._channels)
        self._handlers: dict[str, EventHandler] = {}

    def set(self, ns: str, key: str, value: Any, usemsgpack: bool = True) -> None:
        self._client(ns).set(_full(ns, key), _packed(value, usemsgpack))

    def get(self, ns: str, key: str, usemsgpack: bool = True) -> Any:
        data = self._client(ns).get(_full(ns, key))
        return None if data is None else _unpacked(data, usemsgpack)

    def find_and_get(self, ns: str, prefix: str, usemsgpack: bool = True) -> dict[str, Any]:
        keys = sorted(self._client(ns).keys(_full(ns, f"{prefix}*")))
        values = self._client(ns).mget(keys) if keys else []
        return {
            _short(key.decode(errors="backslashreplace")): _unpacked(data, usemsgpack)  # whoever wrote such a key
            for key, data in zip(keys, values)
            if data is not None  # deleted since its key was found
        }

    def delete(self, ns: str, key: str) -> None:
        self._client(ns).delete(_full(ns, key))

    def add_member(self, ns: str, group: str, member: Any, usemsgpack: bool = True) -> None:
        self._client(ns).sadd(_full(ns, group), _packed(member, usemsgpack))

    def remove_member(self, ns: str, group: str, member: Any, usemsgpack: bool = True) -> None:
        self._client(ns).srem(_full(ns, group), _packed(member, usemsgpack))

    def get_members(self, ns: str, group: str, usemsgpack: bool = True) -> AbstractSet[Any]:
        return {_unpacked(data, usemsgpack) for data in self._client(ns).smembers(_full(ns, group))}

    def subscribe_channel(self, ns: str, cb: EventHandler, channel: str) -> None:
        self._handlers[_full(ns, channel)] = cb
        self._channels[self._index(ns)].subscribe(_full(ns, channel))

    def handle_events(self) -> tuple[str, list[str]] | None:
        """Hand at most one message to its callback, the databases taking turns. None: there was none."""
        message = next(self._turns).get_message()
        if message is None:
            return None
        name, events = message["channel"].decode(), message["data"].decode().split(EVENT_SEPARATOR)
        self._handlers[name](_short(name), events)
        return _short(name), events

    def _index(self, ns: str) -> int:
        return zlib.crc32(ns.encode()) % len(self._clients)

    def _client(self, ns: str) -> Any:
        return self._clients[self._index(ns)]


class MemorySdl:
    """SDL for one process alone: values as they would lie in Redis, and nobody who publishes."""

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}
        self._groups: defaultdict[str, set[bytes]] = defaultdict(set)

    def set(self, ns: str, key: str, value: Any, usemsgpack: bool = True) -> None:
        self._values[_full(ns, key)] = _packed(value, usemsgpack)

    def get(self, ns: str, key: str, usemsgpack: bool = True) -> Any:
        data = self._values.get(_full(ns, key))
        return None if data is None else _unpacked(data, usemsgpack)

    def find_and_get(self, ns: str, prefix: str, usemsgpack: bool = True) -> dict[str, Any]:
        found = sorted(key for key in self._values if key.startswith(_full(ns, prefix)))
        return {_short(key): _unpacked(self._values[key], usemsgpack) for key in found}

    def delete(self, ns: str, key: str) -> None:
        self._values.pop(_full(ns, key), None)

    def add_member(self, ns: str, group: str, member: Any, usemsgpack: bool = True) -> None:
        self._groups[_full(ns, group)].add(_packed(member, usemsgpack))

    def remove_member(self, ns: str, group: str, member: Any, usemsgpack: bool = True) -> None:
        self._groups[_full(ns, group)].discard(_packed(member, usemsgpack))

    def get_members(self, ns: str, group: str, usemsgpack: bool = True) -> AbstractSet[Any]:
        return {_unpacked(data, usemsgpack) for data in self._groups[_full(ns, group)]}

    def subscribe_channel(self, ns: str, cb: EventHandler, channel: str) -> None:
        pass

    def handle_events(self) -> None:
        return None


def _full(ns: str, key: str) -> str:
    """A key on the wire: the braces keep a namespace together where Redis is a cluster."""
    return f"{{{ns}}},{key}"


def _short(full: str) -> str:
    return full.partition(",")[2]


def _packed(value: Any, usemsgpack: bool) -> bytes:
    data: bytes = msgpack.packb(value) if usemsgpack else value
    if not isinstance(data, bytes):
        raise TypeError(f"a value without msgpack has to be bytes, not {type(data).__name__}")
    return data


def _unpacked(data: bytes, usemsgpack: bool) -> Any:
    return msgpack.unpackb(data) if usemsgpack else data

"""RMR route tables: the records that say where a message type goes.

One record a line, `|` between fields. `newrt|start` ... `newrt|end[|count]` replaces all routes (known meids stay);
`updatert` and `meid_map` blocks change what is there. Among a record's endpoints `,` means round robin and `;` a copy
to each group. A table that is wrong anywhere changes nothing.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

UNSET_SUB_ID = -1
MEID_ROUTE = "%meid"
"""In place of endpoints: the message's managed entity decides."""

_COMMENT = re.compile(r"(^|\s)#.*$")
_PORT = re.compile(r"[0-9]{1,5}")
_BLOCKS = frozenset({"newrt", "updatert", "meid_map"})


class RouteError(ValueError):
    """A route table that was refused: one line that names the record."""


class Key(NamedTuple):
    sub_id: int
    mtype: int


@dataclass(frozen=True, slots=True)
class Group:
    """Endpoints that take turns."""

    endpoints: tuple[str, ...]
    turn: Iterator[int] = field(default_factory=itertools.count, compare=False, repr=False)

    def pick(self, usable: Callable[[str], bool] | None) -> str:
        """The endpoint whose turn it is; one that is not `usable` is passed over while another is."""
        first = next(self.turn) % len(self.endpoints)
        if usable is not None:
            for step in range(len(self.endpoints)):
                endpoint = self.endpoints[(first + step) % len(self.endpoints)]
                if usable(endpoint):
                    return endpoint
        return self.endpoints[first]


@dataclass(frozen=True, slots=True)
class Route:
    groups: tuple[Group, ...] = ()
    by_meid: bool = False


@dataclass(slots=True)
class _Table:
    routes: dict[Key, Route] = field(default_factory=dict)
    meids: dict[str, str] = field(default_factory=dict)


def is_endpoint(text: str) -> bool:
    """Whether `text` is host:port with a possible port."""
    host, colon, port = text.rpartition(":")
    return bool(host and colon) and _PORT.fullmatch(port) is not None and 0 < int(port) < 65536


class RouteTable:
    """The table in force. `own` names this endpoint ("host:port", maybe several): it decides which records with senders
    are meant for it, and it is never a destination. Reading is thread safe; one thread updates.
    """

    def __init__(self, text: str = "", *, own: Iterable[str] = ()) -> None:
        self.own = frozenset(own)
        self.last_error = ""
        """Why the newest table was refused; empty if it was not."""
        self._table = _Table()
        if text:
            self.update(text)

    @property
    def loaded(self) -> bool:
        """There is at least one route."""
        return bool(self._table.routes)

    def update(self, text: str) -> str:
        """Take over the blocks in `text`. Returns "" or, the old table staying in force, the reason in one line."""
        try:
            self._table = _Parser(self._table, self.own).parse(text)
            self.last_error = ""
        except RouteError as error:
            self.last_error = str(error)
        return self.last_error

    def lookup(
        self, mtype: int, sub_id: int = UNSET_SUB_ID, meid: str = "", usable: Callable[[str], bool] | None = None
    ) -> tuple[str, ...]:
        """Where a message goes, one endpoint per group: (sub_id, mtype) decides, else (-1, mtype). Empty = nowhere."""
        table = self._table
        route = table.routes.get(Key(sub_id, mtype)) or table.routes.get(Key(UNSET_SUB_ID, mtype))
        if route is None:
            return ()
        if route.by_meid:
            endpoint = table.meids.get(meid, "")
            return (endpoint,) if endpoint and endpoint not in self.own else ()
        return tuple(group.pick(usable) for group in route.groups)


class _Parser:
    """Reads blocks into a copy of a table; the copy is handed out only if everything was right."""

    def __init__(self, base: _Table, own: frozenset[str]) -> None:
        self.own = own
        self.table = _Table(dict(base.routes), dict(base.meids))
        self.block = ""
        self.blocks_read = 0
        self.records = 0
        self.line_number = 0

    def parse(self, text: str) -> _Table:
        for self.line_number, line in enumerate(text.splitlines(), start=1):
            line = _COMMENT.sub("", line).strip()
            if line:
                self._record([token.strip() for token in line.split("|")])
        if self.block:
            raise RouteError(f"{self.block} is never ended")
        if not self.blocks_read:
            raise RouteError("no newrt, updatert or meid_map block in it")
        return self.table

    def _fail(self, reason: str) -> RouteError:
        return RouteError(f"line {self.line_number}: {reason}")

    def _number(self, text: str, what: str) -> int:
        if re.fullmatch(r"-?[0-9]{1,9}", text) is None:
            raise self._fail(f"{what} is {text!r:.80}, expected a number")
        return int(text)

    def _record(self, tokens: list[str]) -> None:
        name = tokens[0]
        if name in _BLOCKS:
            self._start_or_end(name, tokens)
            return
        handlers: dict[str, Callable[[list[str]], None]] = {
            "rte": self._rte,
            "mse": self._mse,
            "del": self._delete,
            "mme_ar": self._meid_add,
            "mme_del": self._meid_delete,
        }
        handler = handlers.get(name)
        if handler is None:
            return  # librmr ignores record types that it does not know, and newer route managers rely on it
        if not self.block:
            raise self._fail(f"{name} outside of a table")
        if name.startswith("mme") != (self.block == "meid_map"):
            raise self._fail(f"{name} in a {self.block} block")
        if name == "del" and self.block != "updatert":
            raise self._fail("del in a newrt block")
        handler(tokens)
        self.records += 1

    def _start_or_end(self, name: str, tokens: list[str]) -> None:
        action = tokens[1] if len(tokens) > 1 else ""
        if action == "start":
            if self.block:
                raise self._fail(f"{name} starts inside {self.block}")
            self.block, self.records = name, 0
            if name == "newrt":
                self.table.routes = {}
        elif action == "end":
            if self.block != name:
                raise self._fail(f"{name} ends but was not started")
            if len(tokens) > 2 and self._number(tokens[2], "the record count") != self.records:
                raise self._fail(f"{name} has {self.records} records, its end says {tokens[2]}")
            self.block = ""
            self.blocks_read += 1
        else:
            raise self._fail(f"{name}|{action:.80}, expected start or end")

    def _need(self, tokens: list[str], least: int, most: int) -> None:
        if not least <= len(tokens) <= most:
            raise self._fail(f"{tokens[0]} has {len(tokens)} fields, expected {least} to {most}")

    def _rte(self, tokens: list[str]) -> None:
        self._need(tokens, 3, 4)
        self._route(tokens[1], tokens[3] if len(tokens) > 3 else "-1", tokens[2])

    def _mse(self, tokens: list[str]) -> None:
        self._need(tokens, 4, 4)
        self._route(tokens[1], tokens[2], tokens[3])

    def _key(self, type_and_senders: str, sub_id: str) -> tuple[Key, bool]:
        """The key, and whether the record is meant for this endpoint."""
        mtype, *senders = [part.strip() for part in type_and_senders.split(",")]
        key = Key(self._number(sub_id, "the subscription id"), self._number(mtype, "the message type"))
        return key, not senders or not self.own.isdisjoint(senders)

    def _route(self, type_and_senders: str, sub_id: str, groups: str) -> None:
        key, is_ours = self._key(type_and_senders, sub_id)
        if groups == MEID_ROUTE:
            route = Route(by_meid=True)
        else:
            route = Route(tuple(self._groups(groups)))
        if is_ours:
            self.table.routes[key] = route

    def _groups(self, text: str) -> Iterator[Group]:
        for part in text.split(";"):
            endpoints = [endpoint.strip() for endpoint in part.split(",") if endpoint.strip()]
            for endpoint in endpoints:
                self._check_endpoint(endpoint)
            others = tuple(endpoint for endpoint in endpoints if endpoint not in self.own)
            if others:
                yield Group(others)
        if not text.strip(" ,;"):
            raise self._fail("no endpoints")

    def _check_endpoint(self, endpoint: str) -> None:
        if not is_endpoint(endpoint):
            raise self._fail(f"endpoint {endpoint!r:.80}, expected host:port")

    def _delete(self, tokens: list[str]) -> None:
        self._need(tokens, 3, 3)
        key, is_ours = self._key(tokens[1], tokens[2])
        if is_ours:
            self.table.routes.pop(key, None)

    def _meid_add(self, tokens: list[str]) -> None:
        self._need(tokens, 3, 3)
        self._check_endpoint(tokens[1])
        self.table.meids.update(dict.fromkeys(tokens[2].split(), tokens[1]))

    def _meid_delete(self, tokens: list[str]) -> None:
        self._need(tokens, 2, 2)
        for meid in tokens[1].split():
            self.table.meids.pop(meid, None)

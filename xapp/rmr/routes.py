"""RMR route tables: the records that say where a message type goes.

One record a line, `|` between fields. `newrt|start` (or `begin`) ... `newrt|end[|count]` replaces all routes (known
meids stay); `updatert` and `meid_map` blocks change what is there. Among a record's endpoints `,` means round robin and
`;` a copy to each group. A table that is wrong anywhere changes nothing.

Route managers write records that nobody can use: a message type that they do not know by name is empty, so are the
endpoints of a component that is not there. librmr takes such a table, and so does this.
"""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from policy.errors import DecodeError

UNSET_SUB_ID = -1
MAX_ENTRIES = 1 << 17
"""Routes and meids together: changes upon changes must not fill the memory."""
MEID_ROUTE = "%meid"
"""In place of endpoints: the message's managed entity decides."""

_COMMENT = re.compile(r"(^|\s)#.*$")
_LINE_END = re.compile(r"\r\n|\r|\n")
_ENDPOINT = re.compile(r"[\w.:%\[\]-]+:([0-9]{1,5})", re.ASCII)
"""A host of letters, digits and what IPv6 needs: none of a record's own marks, no URL."""
_BLOCKS = frozenset({"newrt", "updatert", "meid_map"})
_STARTS = ("start", "begin")
"""librmr's code writes start, its guide begin."""


class RouteError(DecodeError):
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
    routes: dict[tuple[int, int], Route] = field(default_factory=dict)
    """By Key: whoever only looks something up need not make one."""
    meids: dict[str, str] = field(default_factory=dict)


def records(text: str) -> list[str]:
    """The lines of a table, by whichever line ends."""
    return _LINE_END.split(text)


def fields(record: str) -> list[str]:
    """What stands between a record's bars, without comments and blanks; [""] for a line that says nothing."""
    return [field.strip() for field in _COMMENT.sub("", record).strip().split("|")]


def is_endpoint(text: str) -> bool:
    """Whether `text` is host:port with a possible host and port."""
    found = _ENDPOINT.fullmatch(text)
    return found is not None and 0 < int(found[1]) < 65536


class RouteTable:
    """The table in force. `own` names this endpoint ("host:port", maybe several): it decides which records with senders
    are meant for it, and it is never a destination. Thread safe.
    """

    def __init__(self, text: str = "", *, own: Iterable[str] = ()) -> None:
        self.own = frozenset(own)
        self.last_error = ""
        """Why the newest table was refused; empty if it was not."""
        self.managed = False
        """A route manager has sent a whole table: from then on it alone decides."""
        self._updating = threading.Lock()
        self._table = _Table()
        self._named: tuple[_Table, frozenset[str]] = (self._table, frozenset())
        """A table, and what `endpoints` found in it."""
        if text:
            self.update(text)

    @property
    def loaded(self) -> bool:
        """There is at least one route."""
        return bool(self._table.routes)

    def endpoints(self) -> frozenset[str]:
        """Every endpoint that a message may be sent to."""
        of, found = self._named
        table = self._table
        if of is not table:
            groups = (group for route in table.routes.values() for group in route.groups)
            found = frozenset(endpoint for group in groups for endpoint in group.endpoints) | {*table.meids.values()}
            self._named = table, found
        return found

    def update(self, text: str) -> str:
        """Take over the blocks in `text`. Returns "" or, the old table staying in force, the reason in one line."""
        with self._updating:
            return self._update(text)

    def seed(self, text: str) -> str:
        """`update` from a file: of no effect once a route manager has sent its table."""
        with self._updating:
            return "" if self.managed else self._update(text)

    def update_by_manager(self, block: str) -> str:
        """`update` with one block of a route manager, who must begin with a whole table: `newrt`."""
        kind = fields(records(block)[0])[0]
        with self._updating:
            if kind == "updatert" and not self.managed:
                self.last_error = "no whole table (newrt) came before this updatert"
                return self.last_error
            reason = self._update(block)
            self.managed |= kind == "newrt" and not reason
            return reason

    def _update(self, text: str) -> str:
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
        route = table.routes.get((sub_id, mtype)) or table.routes.get((UNSET_SUB_ID, mtype))
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
        for self.line_number, record in enumerate(records(text), start=1):
            tokens = fields(record)
            if tokens != [""]:
                self._record(tokens)
        if self.block:
            raise RouteError(f"{self.block} is never ended")
        if not self.blocks_read:
            raise RouteError("no newrt, updatert or meid_map block in it")
        entries = len(self.table.routes) + len(self.table.meids)
        if entries > MAX_ENTRIES:
            raise RouteError(f"{entries} routes and nodes in all, expected at most {MAX_ENTRIES}")
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
        if action in _STARTS:
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
            raise self._fail(f"{name}|{action:.80}, expected start, begin or end")

    def _need(self, tokens: list[str], least: int, most: int) -> None:
        if not least <= len(tokens) <= most:
            raise self._fail(f"{tokens[0]} has {len(tokens)} fields, expected {least} to {most}")

    def _rte(self, tokens: list[str]) -> None:
        self._need(tokens, 3, 4)
        self._route(tokens[1], tokens[3] if len(tokens) > 3 else "-1", tokens[2])

    def _mse(self, tokens: list[str]) -> None:
        self._need(tokens, 4, 4)
        self._route(tokens[1], tokens[2], tokens[3])

    def _key(self, type_and_senders: str, sub_id: str) -> Key | None:
        """The key; None for a record that is meant for other senders, or for a message type without a number."""
        mtype, *senders = [part.strip() for part in type_and_senders.split(",")]
        if not mtype or (senders and self.own.isdisjoint(senders)):
            return None
        return Key(self._number(sub_id, "the subscription id"), self._number(mtype, "the message type"))

    def _route(self, type_and_senders: str, sub_id: str, groups: str) -> None:
        key = self._key(type_and_senders, sub_id)
        if key is None:
            return
        if groups == MEID_ROUTE:
            self.table.routes[key] = Route(by_meid=True)
        else:
            self.table.routes[key] = Route(tuple(self._groups(groups)))

    def _groups(self, text: str) -> Iterator[Group]:
        for part in text.split(";"):
            endpoints = [endpoint.strip() for endpoint in part.split(",") if endpoint.strip()]
            for endpoint in endpoints:
                self._check_endpoint(endpoint)
            others = tuple(endpoint for endpoint in endpoints if endpoint not in self.own)
            if others:
                yield Group(others)
        if text and not text.strip(" ,;"):
            raise self._fail("no endpoints")

    def _check_endpoint(self, endpoint: str) -> None:
        if not is_endpoint(endpoint):
            raise self._fail(f"endpoint {endpoint!r:.80}, expected host:port")

    def _delete(self, tokens: list[str]) -> None:
        self._need(tokens, 3, 3)
        key = self._key(tokens[1], tokens[2])
        if key is not None:
            self.table.routes.pop(key, None)

    def _meid_add(self, tokens: list[str]) -> None:
        self._need(tokens, 3, 3)
        self._check_endpoint(tokens[1])
        self.table.meids.update(dict.fromkeys(tokens[2].split(), tokens[1]))

    def _meid_delete(self, tokens: list[str]) -> None:
        self._need(tokens, 2, 2)
        for meid in tokens[1].split():
            self.table.meids.pop(meid, None)

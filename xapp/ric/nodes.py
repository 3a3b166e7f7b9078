"""Which E2 nodes there are and what they offer: e2mgr's REST interface, or the R-NIB in SDL.

Polled by the task runner's thread; every call may block for a time-out. A source that does not answer changes nothing:
nodes are lost only when somebody says so. The R-NIB also publishes what happens, which a poll may come too late to
see: a node that broke and came back has lost its subscriptions.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple, Protocol

from policy.errors import ServiceError
from xapp.http.rest_client import RestClient, RestError
from xapp.platform.rnib_entities import entities
from xapp.ric.sdl import SharedStore

log = logging.getLogger(__name__)

RNIB_NAMESPACE = "e2Manager"
STATUS_CHANNEL = "RAN_CONNECTION_STATUS_CHANGE"
"""Events on it are `<RAN name>_<status>`."""
LOST_STATUSES = ("DISCONNECTED", "UNDER_RESET", "SHUTTING_DOWN", "SHUT_DOWN")
CONNECTED_STATUS = 1
"""entities.ConnectionStatus.CONNECTED; REST spells it out."""


@dataclass(frozen=True, slots=True)
class RanFunction:
    """A service model that a node offers."""

    id: int
    oid: str
    definition: bytes
    """As the node encoded it (hex text in the R-NIB). Empty if that text was no hex."""
    revision: int = 0


@dataclass(frozen=True, slots=True)
class E2Node:
    """An E2 node by its RAN name, the meid of its messages."""

    name: str
    connected: bool
    functions: tuple[RanFunction, ...] = ()

    def function(self, oid: str) -> RanFunction | None:
        """The first function whose OID ends like `oid` (see oid_matches)."""
        return next((function for function in self.functions if oid_matches(function.oid, oid)), None)


def oid_matches(oid: str, wanted: str) -> bool:
    """Whether two OIDs mean the same service model: one's arcs are the other's last arcs.

    Nodes disagree about how much of the prefix (1.3.6.1.4.1) they write. Less than three common arcs mean nothing.
    """
    arcs, wanted_arcs = oid.strip(". ").split("."), wanted.strip(". ").split(".")
    common = min(len(arcs), len(wanted_arcs))
    return common >= 3 and arcs[-common:] == wanted_arcs[-common:]


class NodeChange(Enum):
    CONNECTED = "connected"
    """New, or back."""
    LOST = "lost"
    CHANGED = "changed"
    """Still connected, with other RAN functions."""


class NodeEvent(NamedTuple):
    change: NodeChange
    node: E2Node


class SourceError(ServiceError):
    """A source that gave no usable answer: one line."""


class NodeSource(Protocol):
    def names(self) -> dict[str, bool]:
        """RAN name -> connected. SourceError."""
        ...

    def node(self, name: str) -> E2Node:
        """One node in full. SourceError."""
        ...

    def events(self) -> list[str]:
        """What was published since the last call; always empty where nothing is."""
        ...


class E2mgrSource:
    """e2mgr's REST interface. JSON of its protobufs: camelCase, zero values left out."""

    def __init__(self, url: str, *, timeout_s: float = 3.0) -> None:
        self._rest = RestClient("e2mgr", url, timeout_s=timeout_s)

    def names(self) -> dict[str, bool]:
        answer = self._get("states")
        if not isinstance(answer, list):
            raise SourceError("e2mgr's list of nodes is not a list")
        entries = (entry for entry in answer if isinstance(entry, dict))
        states = {str(entry.get("inventoryName") or ""): _is_connected(entry) for entry in entries}
        return {name: connected for name, connected in states.items() if name and name.isprintable()}

    def node(self, name: str) -> E2Node:
        answer = self._get(name)
        if not isinstance(answer, dict):
            raise SourceError(f"e2mgr's answer about {name} is not an object")
        gnb = answer.get("gnb")
        functions = gnb.get("ranFunctions") if isinstance(gnb, dict) else None
        entries = [entry for entry in functions if isinstance(entry, dict)] if isinstance(functions, list) else []
        return E2Node(
            name,
            _is_connected(answer),
            tuple(
                RanFunction(
                    _integer(entry.get("ranFunctionId")),
                    str(entry.get("ranFunctionOid") or ""),
                    _from_hex(str(entry.get("ranFunctionDefinition") or "")),
                    _integer(entry.get("ranFunctionRevision")),
                )
                for entry in entries
            ),
        )

    def events(self) -> list[str]:
        return []

    def close(self) -> None:
        pass

    def _get(self, name: str) -> Any:
        try:
            answer = self._rest.request("GET", "v1", "nodeb", name)
            if answer.status != 200:
                raise SourceError(f"e2mgr answers {answer.status} about {name}")
            return answer.json()
        except RestError as error:
            raise SourceError(str(error)) from None


class RnibSource:
    """The R-NIB as e2mgr keeps it in SDL: sets of NbIdentity, and a NodebInfo per node."""

    def __init__(self, store: SharedStore) -> None:
        self._store = store
        self._new_identity: Callable[[], Any] = entities().NbIdentity
        self._new_info: Callable[[], Any] = entities().NodebInfo

    def names(self) -> dict[str, bool]:
        members = self._store.members(RNIB_NAMESPACE, "GNB")
        if members is None:
            raise SourceError("no answer from the R-NIB")
        names: dict[str, bool] = {}
        for member in members:
            identity = self._new_identity()
            _parse(identity, member, "node identity")
            if identity.inventory_name:
                # A status change may leave the old member behind for a moment: connected wins.
                connected = identity.connection_status == CONNECTED_STATUS
                names[identity.inventory_name] = connected or names.get(identity.inventory_name, False)
        return names

    def node(self, name: str) -> E2Node:
        data = self._store.raw(RNIB_NAMESPACE, f"RAN:{name}")
        if data is None:
            raise SourceError(f"nothing in the R-NIB about {name}")
        info = self._new_info()
        _parse(info, data, name)
        functions = tuple(
            RanFunction(
                function.ran_function_id,
                function.ran_function_oid,
                _from_hex(function.ran_function_definition),
                function.ran_function_revision,
            )
            for function in info.gnb.ran_functions
        )
        return E2Node(name, info.connection_status == CONNECTED_STATUS, functions)

    def events(self) -> list[str]:
        return self._store.events(RNIB_NAMESPACE, STATUS_CHANNEL)


class NodeWatcher:
    """Keeps the nodes up to date. `poll` belongs to one thread; `nodes` may be read by any.

    Sources are tried in order; the first that answers counts, unless it knows of nobody and another one does. A
    connected node's functions are looked up again every `refresh_s`, because a node may restart between two polls.
    """

    def __init__(
        self, sources: Sequence[NodeSource], *, refresh_s: float = 10.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._sources = tuple(sources)
        self._refresh_s = refresh_s
        self._clock = clock
        self._looked_up_at: dict[str, float] = {}
        self.nodes: dict[str, E2Node] = {}
        """By name; replaced as a whole, never changed in place."""
        self.last_error = ""
        """Why the newest poll got no answer; empty if it got one."""
        self.failures = 0
        self.news = False
        """Something was published since the last poll."""

    @property
    def healthy(self) -> bool:
        return not self.last_error

    def listen(self) -> list[NodeEvent]:
        """What was published since the last call: a node that is said to be lost is, even if it is back by now.
        Whatever was said, `news` asks for a poll. Never raises.
        """
        lost = []
        for event in [event for source in self._sources for event in source.events()]:
            self.news = True
            name = lost_node(event)
            node = self.nodes.get(name)
            if node is not None and node.connected:
                gone = E2Node(name, False, node.functions)
                self.nodes = {**self.nodes, name: gone}
                lost.append(NodeEvent(NodeChange.LOST, gone))
        return lost

    def poll(self) -> list[NodeEvent]:
        """What changed since the last poll. Never raises."""
        self.news = False
        errors = []
        answers: list[tuple[NodeSource, dict[str, bool]]] = []
        for source in self._sources:
            try:
                answers.append((source, source.names()))
            except SourceError as error:
                errors.append(str(error))
                continue
            if answers[-1][1]:
                break
        if not answers:
            self._note("; ".join(errors) or "no source of E2 nodes is configured")
            return []
        self._note("")
        return self._compare(*answers[-1])

    def _note(self, error: str) -> None:
        if error:
            self.failures += 1
            if not self.last_error:
                log.warning("E2 nodes: %s", error)
        elif self.last_error:
            log.info("E2 nodes: answers again")
        self.last_error = error

    def _compare(self, source: NodeSource, names: dict[str, bool]) -> list[NodeEvent]:
        now = self._clock()
        nodes, events = dict(self.nodes), []
        for name in sorted({*nodes, *names}):
            old = nodes.get(name)
            if not names.get(name, False):
                if old is None or old.connected:
                    nodes[name] = E2Node(name, False, old.functions if old else ())
                    if old is not None:
                        events.append(NodeEvent(NodeChange.LOST, nodes[name]))
                continue
            was_connected = old is not None and old.connected
            if was_connected and now - self._looked_up_at[name] < self._refresh_s:
                continue
            try:
                new = source.node(name)
            except SourceError as error:
                log.warning("E2 node %s: %s", name, error)
                continue  # known as before; looked up again at the next poll
            self._looked_up_at[name] = now
            if new.connected and (not was_connected or new != old):
                change = NodeChange.CHANGED if was_connected else NodeChange.CONNECTED
                nodes[name] = new
                events.append(NodeEvent(change, new))
        self.nodes = nodes
        return events


def lost_node(event: str) -> str:
    """The RAN that a published event says is lost; "" if it says something else."""
    for status in LOST_STATUSES:
        if event.endswith(f"_{status}"):
            return event.removesuffix(f"_{status}")
    return ""


def _is_connected(entry: dict[str, Any]) -> bool:
    return entry.get("connectionStatus") in ("CONNECTED", CONNECTED_STATUS)


def _integer(value: object) -> int:
    """JSON of protobuf: zero is left out, 64-bit numbers are text."""
    try:
        return int(value)  # type: ignore[call-overload]
    except (TypeError, ValueError, OverflowError):
        return 0


def _from_hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        log.warning("a RAN function definition is not hex: %.40r", text)
        return b""


def _parse(message: Any, data: bytes, what: str) -> None:
    from google.protobuf.message import DecodeError

    try:
        message.ParseFromString(data)
    # Pure Python protobuf lets errors of UTF-8 and of nesting through.
    except (DecodeError, ValueError, RecursionError) as error:
        raise SourceError(f"R-NIB: {what} is unreadable: {error}") from None

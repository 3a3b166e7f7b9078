"""The route manager's stand-in: who is told what goes where, over RMR, whenever it changes.

It pushes tables (type 20) to the route port of each xApp it knows, until they are answered (type 22) `OK`, and takes
requests for a table (type 21). What it knows comes from the application manager (who is registered), the subscription
manager (which subscription is whose), the inventory (which node is where) and whoever asks. Its records are those of
OSC's route manager: by sender, by subscription, by node (`%meid`). Parts of this process have their tables updated
directly.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from xapp.lab.counters import Counters
from xapp.lab.ric.appmgr import XappEndpoint
from xapp.rmr.routes import MEID_ROUTE, UNSET_SUB_ID, RouteTable, is_endpoint
from xapp.rmr.si95 import Si95Transport
from xapp.rmr.transport import (
    A1_POLICY_QUERY,
    A1_POLICY_REQUEST,
    A1_POLICY_RESPONSE,
    RIC_CONTROL_ACK,
    RIC_CONTROL_FAILURE,
    RIC_CONTROL_REQUEST,
    RIC_INDICATION,
    ROUTE_ANSWER,
    ROUTE_REQUEST,
    ROUTE_TABLE,
    RmrMessage,
)

logger = logging.getLogger(__name__)

TO_XAPP = (RIC_INDICATION, RIC_CONTROL_ACK, RIC_CONTROL_FAILURE)
MAX_MESSAGE_BYTES = 4000
"""A table longer than that goes out in several messages: librmr's buffers hold 4 KB."""
ANSWER_TIMEOUT_S = 1.0
"""After it a table is sent again, as a whole."""
LOST_AFTER_S = 30.0
"""A peer that answers nothing for so long is forgotten, unless it is registered."""
KEPT_CHANGES = 64
"""A peer that missed more gets the whole table."""


@dataclass(frozen=True, slots=True)
class Change:
    """What has to be said to whoever has the table before it."""

    routes: tuple[str, ...]
    meids: tuple[str, ...]


@dataclass(slots=True)
class Peer:
    """Somebody who gets tables, by the host:port where they are sent."""

    version: int = 0
    """Of the table it has answered for; 0 = none."""
    waiting_for: dict[str, int] = field(default_factory=dict)
    """Table ids sent and not answered yet -> the version that it has then."""
    is_whole: bool = False
    """What was sent last was the whole table."""
    sent_at: float = float("-inf")
    owes_since_s: float = 0.0
    """An answer: since the first table that it has said nothing to."""


class RouteManager:
    """Thread safe. OSError when the port cannot be had."""

    def __init__(
        self,
        host: str,
        port: int,
        counters: Counters,
        *,
        nodes: Callable[[], Mapping[str, str]] = dict,
        xapps: Callable[[], Iterable[XappEndpoint]] = tuple,
        default_xapp: str = "",
        xapp_route_port: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """nodes: RAN name -> host:port of its E2 termination. xapps: who is registered. default_xapp: host:port that
        gets what belongs to no subscription. xapp_route_port: where registered xApps take tables (OSC: 4561), 0 =
        tables only for those who ask."""
        self._counters, self._nodes, self._xapps = counters, nodes, xapps
        self._default_xapp, self._xapp_route_port, self._clock = default_xapp, xapp_route_port, clock
        self._lock = threading.Lock()
        self._subscriptions: dict[int, str] = {}
        self._askers: dict[str, str] = {}
        """Who asked: where its tables go -> its RMR endpoint."""
        self._a1_mediator = ""
        self._peers: dict[str, Peer] = {}
        self._platform: list[RouteTable] = []
        self._routes: dict[str, str] = {}
        """`type[,sender]|subscription` -> where to."""
        self._meids: dict[str, str] = {}
        self._changes: dict[int, Change] = {}
        self._version = 1
        self._closed = threading.Event()
        self.rmr = Si95Transport(host, port)
        self._thread = threading.Thread(target=self._run, name="rtmgr", daemon=True)
        self._thread.start()
        self.refresh()

    # -- what is known -------------------------------------------------------------------------------------------------

    def add(self, instance_id: int, endpoint: str) -> None:
        """Indications and control answers of this subscription go to `endpoint`."""
        with self._lock:
            self._subscriptions[instance_id] = endpoint
        self.refresh()

    def remove(self, instance_id: int) -> None:
        with self._lock:
            self._subscriptions.pop(instance_id, None)
        self.refresh()

    def set_a1_mediator(self, endpoint: str) -> None:
        """Where A1 answers and queries go."""
        with self._lock:
            self._a1_mediator = endpoint
        self.refresh()

    def push_to(self, endpoint: str) -> None:
        """Somebody who takes tables at this host:port without asking."""
        with self._lock:
            self._peer(endpoint)
        self.refresh()

    def add_platform(self, table: RouteTable) -> None:
        """Keep the table of a part of this process up to date as well."""
        with self._lock:
            self._platform.append(table)
            self._update_platform()

    def refresh(self) -> None:
        """Something may have changed: say so to everybody who has to know."""
        with self._lock:
            routes, meids = self._wanted_routes(), dict(self._nodes())
            if self._xapp_route_port:
                for xapp in self._xapps():
                    self._peer(f"{xapp.rmr.rpartition(':')[0]}:{self._xapp_route_port}")
            if (routes, meids) != (self._routes, self._meids):
                change = Change(
                    tuple(
                        [f"del|{key}" for key in self._routes if key not in routes]
                        + [f"mse|{key}|{to}" for key, to in routes.items() if self._routes.get(key) != to]
                    ),
                    tuple(
                        [f"mme_del|{ran}" for ran in self._meids if ran not in meids]
                        + [f"mme_ar|{e2term}|{ran}" for ran, e2term in meids.items() if self._meids.get(ran) != e2term]
                    ),
                )
                self._routes, self._meids = routes, meids
                self._version += 1
                self._changes[self._version] = change
                self._changes.pop(self._version - KEPT_CHANGES, None)
                self._update_platform()
            for endpoint, peer in self._peers.items():
                self._bring_up_to_date(endpoint, peer)

    def status(self) -> dict[str, int]:
        """The table's version, who gets it, and how many of them have answered for the newest."""
        with self._lock:
            current = sum(peer.version == self._version for peer in self._peers.values())
            return {"version": self._version, "peers": len(self._peers), "up_to_date": current}

    def close(self) -> None:
        self._closed.set()
        self.rmr.close()
        self._thread.join(timeout=2.0)

    def _wanted_routes(self) -> dict[str, str]:
        """Locked. Where two want the same, the later one gets it, as with OSC's."""
        routes: dict[str, str] = {}
        registered = {xapp.rmr: xapp.policies for xapp in self._xapps()}
        for xapp in dict.fromkeys([*registered, *self._askers.values()]):
            routes[f"{RIC_CONTROL_REQUEST},{xapp}|{UNSET_SUB_ID}"] = MEID_ROUTE
            for mtype in (RIC_CONTROL_ACK, RIC_CONTROL_FAILURE):
                routes[f"{mtype}|{UNSET_SUB_ID}"] = xapp
            for policy in registered.get(xapp, ()):
                routes[f"{A1_POLICY_REQUEST}|{policy}"] = xapp
        if self._default_xapp:
            routes |= {f"{mtype}|{UNSET_SUB_ID}": self._default_xapp for mtype in TO_XAPP}
        for instance_id, endpoint in self._subscriptions.items():
            routes |= {f"{mtype}|{instance_id}": endpoint for mtype in TO_XAPP}
        if self._a1_mediator:
            for mtype in (A1_POLICY_RESPONSE, A1_POLICY_QUERY):
                routes[f"{mtype}|{UNSET_SUB_ID}"] = self._a1_mediator
        return routes

    # -- telling it ----------------------------------------------------------------------------------------------------

    def _peer(self, endpoint: str) -> Peer:
        """Locked."""
        return self._peers.setdefault(endpoint, Peer())

    def _whole(self) -> Change:
        return Change(
            tuple(f"mse|{key}|{to}" for key, to in self._routes.items()),
            tuple(f"mme_ar|{e2term}|{ran}" for ran, e2term in self._meids.items()),
        )

    def _update_platform(self) -> None:
        """Locked. Meids stay in a table that gets new routes, so the lost ones are named."""
        whole = self._whole()
        gone = self._changes[self._version].meids if self._version in self._changes else ()
        gone = tuple(record for record in gone if record.startswith("mme_del"))
        text = _block("newrt", "", whole.routes) + _block("meid_map", "", gone + whole.meids)
        for table in self._platform:
            refused = table.update(text)
            if refused:
                logger.warning("routes: %s", refused)

    def _bring_up_to_date(self, endpoint: str, peer: Peer) -> None:
        """Locked. Send what this peer lacks, unless it is about to answer."""
        now = self._clock()
        is_pending = peer.waiting_for or not peer.version
        if peer.version == self._version or (is_pending and now < peer.sent_at + ANSWER_TIMEOUT_S):
            return
        if peer.waiting_for:
            self._counters.add("rtmgr_unanswered")
            peer.version = 0
        else:
            peer.owes_since_s = now
        missed = range(peer.version + 1, self._version + 1)
        name = f"lab-{self._version}-{int(now * 1e3)}"
        peer.is_whole = not peer.version or any(version not in self._changes for version in missed)
        if not peer.is_whole:
            changes = [self._changes[version] for version in missed]
            routes = [record for change in changes for record in change.routes]
            meids = [record for change in changes for record in change.meids]
            blocks = {f"{name}-r": ("updatert", routes), f"{name}-m": ("meid_map", meids)}
            blocks = {table_id: block for table_id, block in blocks.items() if block[1]}
        else:
            whole = self._whole()
            blocks = {f"{name}-r": ("newrt", list(whole.routes)), f"{name}-m": ("meid_map", list(whole.meids))}
        peer.waiting_for = dict.fromkeys(blocks, self._version)
        peer.sent_at = now
        self._counters.add("rtmgr_tables")
        for part in _parts("".join(_block(kind, name, records) for name, (kind, records) in blocks.items())):
            self.rmr.reply(RmrMessage(0, b"", source=endpoint), ROUTE_TABLE, part.encode())

    # -- hearing from xApps --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closed.is_set():
            message = self.rmr.receive(ANSWER_TIMEOUT_S / 4)
            if message is None:
                self._forget_the_lost()
                self.refresh()  # whatever is overdue
            elif message.mtype == ROUTE_REQUEST:
                self._on_request(message)
            elif message.mtype == ROUTE_ANSWER:
                self._on_answer(message)
            else:
                self._counters.add("rtmgr_unexpected_mtype")

    def _on_request(self, message: RmrMessage) -> None:
        name = message.payload.split(b"\0", 1)[0].decode("utf-8", "replace").split(" ")[0].strip()
        if not is_endpoint(name) or not is_endpoint(message.source):
            self._counters.add("rtmgr_bad_request")
            return
        logger.info("%s asks for its routes", name)
        self._counters.add("rtmgr_requests")
        with self._lock:
            self._askers[message.source] = name
            self._peers[message.source] = Peer()  # who asks has nothing
        self.refresh()

    def _on_answer(self, message: RmrMessage) -> None:
        verdict, _, rest = message.payload.split(b"\0", 1)[0].decode("utf-8", "replace").strip().partition(" ")
        table_id, _, reason = rest.partition(" ")
        with self._lock:
            peer = self._peers.get(message.source)
            version = peer.waiting_for.get(table_id) if peer is not None else None
            if peer is None or version is None:
                self._counters.add("rtmgr_late_answer")
            if peer is None:
                return
            peer.owes_since_s = self._clock()
            if version is None:
                if not (peer.waiting_for and peer.is_whole):
                    # An old table may have taken the place of the newest; a whole one that is on its way puts it right.
                    peer.waiting_for.clear()
                    peer.version = 0
            elif verdict == "OK":
                del peer.waiting_for[table_id]
                if not peer.waiting_for:
                    peer.version = version
            else:  # it gets the whole table when its time is over
                self._counters.add("rtmgr_tables_refused")
                logger.warning("%s refuses table %s: %s", message.source, table_id, reason)
        self.refresh()

    def _forget_the_lost(self) -> None:
        with self._lock:
            lost_before = self._clock() - LOST_AFTER_S
            lost = [name for name, peer in self._peers.items() if peer.waiting_for and peer.owes_since_s < lost_before]
            for endpoint in lost:
                del self._peers[endpoint]
                self._askers.pop(endpoint, None)


def _block(kind: str, table_id: str, records: Iterable[str]) -> str:
    lines = [*records]
    return "\n".join([f"{kind}|start|{table_id}", *lines, f"{kind}|end|{len(lines)}", ""])


def _parts(text: str) -> list[str]:
    """`text` in messages of whole records."""
    parts = [""]
    for line in text.splitlines(keepends=True):
        if len(parts[-1]) + len(line) > MAX_MESSAGE_BYTES:
            parts.append("")
        parts[-1] += line
    return parts

"""The RMR endpoint in pure Python: speaks SI95 with librmr or with another of these.

A caller's `send` writes straight into a connected, idle connection, and who waits in `receive` reads the sockets
itself: neither a report nor a control costs a thread switch. Everything else waits in that connection's bounded queue;
a thread of the endpoint looks after it, and after the listening socket, while nobody receives.

What is dropped, and how it is counted:
    receive_overflow   the receive queue was full: the oldest message gave way
    inbound_evicted    too many connections from peers: the one that was silent for longest was closed
    partial_evicted    too much in frames that never ended: the connection whose frame began first was closed
    send_queue_full    a destination's queue was full: the newest message was refused
    send_expired       queued longer than `max_queue_age_s` for an unreachable peer: a control is stale by then
    send_failed        queued on a connection that the peer had opened and closed again
    no_route, unencodable, to_self, reply_without_way, destinations_full   `send` or `reply` returned False
    frame_short, frame_version, frame_lengths, frame_oversized             received, wrong, skipped
    frame_lost         the stream made no sense any more and was closed
    connect_failed, accept_failed, route_table_refused
"""

from __future__ import annotations

import logging
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from xapp.rmr.frame import FrameError, FrameReader, encode_frame
from xapp.rmr.io_loop import HOST_AWAY_S, IoLoop
from xapp.rmr.link import Link, LinkState, Offer, ReceiveQueue
from xapp.rmr.routes import RouteTable, is_endpoint
from xapp.rmr.si95_options import Si95Options
from xapp.rmr.transport import HEALTH_REQUEST, HEALTH_RESPONSE, RmrMessage

log = logging.getLogger(__name__)

MAX_REPLY_DESTINATIONS = 256
"""Links that this endpoint dials, beyond those of its routes: when there are more, one that is not used gives way."""
UNUSED_S = 60.0
"""A connection by which nothing was sent for this long gives way: its peer may have gone without a word."""
DRAIN_S = 0.005
"""While messages wait here the sockets are looked at so often, too: what waits in the kernel has no age, and no bound
of ours."""
RELOAD_PERIOD_S = 1.0
"""How often the route file is looked at."""


class Si95Transport:
    """A Transport (see transport.py). `routes` is a table, or the path of a static route file (RMR_SEED_RT) that may
    appear or change later. Others reply to `source` (host:port), else to `host` with this endpoint's port, else to
    where it listens. `own_hosts` are other names of this host: a route to one of them with its port leads to itself.

    OSError from the constructor when the port cannot be bound.
    """

    kind = "si95"

    def __init__(
        self,
        bind_host: str = "0.0.0.0",
        port: int = 4560,
        *,
        source: str = "",
        host: str = "",
        own_hosts: Iterable[str] = (),
        routes: RouteTable | Path | str | None = None,
        options: Si95Options | None = None,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self.options = options or Si95Options()
        self._clock = clock
        family = socket.AF_INET6 if ":" in bind_host else socket.AF_INET
        listener = socket.create_server((bind_host, port), family=family, backlog=64)
        self.port: int = listener.getsockname()[1]
        host = host or (socket.gethostname() if bind_host in ("", "0.0.0.0", "::") else bind_host)
        self.source = source or f"{host}:{self.port}"
        self._route_file = Path(routes) if isinstance(routes, str | Path) else None
        self._route_file_seen: tuple[int, int] | None = None
        own = [self.source, *(f"{own_host}:{self.port}" for own_host in own_hosts)]
        self.routes = routes if isinstance(routes, RouteTable) else RouteTable(own=own)
        self._counts: Counter[str] = Counter()
        self._counts_lock = threading.Lock()
        self._received = ReceiveQueue(self.options.max_receive_queue, self.options.max_receive_bytes)
        self._links: dict[str, Link] = {}
        self._links_lock = threading.Lock()
        self._inbound_by_source: dict[str, Link] = {}
        """The connection that a source's newest message came in on."""
        self._handing_over = threading.Lock()
        """Held from taking replies that wait for a source until they, and whatever follows them, have gone out."""
        self._reload_at = 0.0
        self._reload_routes()
        self._loop = IoLoop(listener, self, self.options, clock, rng)
        self._loop.start()

    # -- any thread ------------------------------------------------------------------------------------------------

    def send(self, message: RmrMessage) -> bool:
        """To every endpoint that the route table names; False unless each of them took it."""
        endpoints = self.routes.lookup(message.mtype, message.sub_id, message.meid, self._is_usable)
        if not endpoints:
            self.count(message.without_route)
            return False
        frame = self._encode(message)
        if frame is None:
            return False
        if len(endpoints) == 1:
            return self._offer(self._link_to(endpoints[0], is_reply=False), frame)
        taken = [self._offer(self._link_to(endpoint, is_reply=False), frame) for endpoint in endpoints]
        return all(taken)

    def reply(self, request: RmrMessage, mtype: int, payload: bytes) -> bool:
        """To the request's source; if that cannot be dialled, on the connection that the request came in on."""
        frame = self._encode(
            RmrMessage(mtype, payload, request.sub_id, request.meid, request.xid, call_id=request.call_id)
        )
        if frame is None:
            return False
        back = self._inbound_by_source.get(request.source)
        if back is not None and not (is_endpoint(request.source) and self._is_usable(request.source)):
            with self._handing_over:
                self._hand_over(request.source, back)
                return self._offer(back, frame, is_reply=True)
        if not is_endpoint(request.source):
            self.count("reply_without_way")
            return False
        return self._offer(self._link_to(request.source) or back, frame, is_reply=True)

    def receive(self, timeout_s: float) -> RmrMessage | None:
        """Whoever waits here reads the sockets itself, see io_loop."""
        give_up_at_s = time.monotonic() + timeout_s
        if self._received and self._loop.idle_s > DRAIN_S:
            self._loop.host(lambda: True, 0.0)
        message = self._received.get(0.0) if self._received else None
        while message is None and not self._received.closed:
            left_s = give_up_at_s - time.monotonic()
            is_host = self._loop.host(self._received.__len__, left_s)
            message = self._received.get(0.0 if is_host else max(0.0, min(left_s, HOST_AWAY_S)))
            if time.monotonic() >= give_up_at_s:
                break
        return message

    @property
    def ready(self) -> bool:
        return self.routes.loaded and self._loop.running

    @property
    def counters(self) -> dict[str, int]:
        with self._counts_lock:
            return dict(self._counts)

    def is_connected(self, endpoint: str) -> bool:
        """Whether a connection that this endpoint opened to `endpoint` stands."""
        link = self._links.get(endpoint)
        return link is not None and link.state is LinkState.CONNECTED

    @property
    def waiting(self) -> int:
        return len(self._received)

    @property
    def partial_bytes(self) -> int:
        """Of frames that are not whole yet, over all connections."""
        return self._loop.partial_bytes

    def close(self) -> None:
        self._loop.stop()
        self._received.close()

    def count(self, name: str, by: int = 1) -> None:
        if by:
            with self._counts_lock:
                self._counts[name] += by

    def _encode(self, message: RmrMessage) -> bytes | None:
        try:
            return encode_frame(message, source=self.source)
        except (FrameError, UnicodeError) as error:
            self.count("unencodable")
            log.warning("message of type %d not sent: %s", message.mtype, error)
            return None

    def _is_usable(self, endpoint: str) -> bool:
        """Worth a message: not known to be failing. One that fails is tried again, as often as its backoff lets it."""
        link = self._links.get(endpoint)
        if link is None or not link.failures:
            return True
        if link.state is LinkState.IDLE and self._clock() >= link.retry_at:
            link.probe = True
            self._loop.attend(link)
        return False

    def _link_to(self, endpoint: str, *, is_reply: bool = True) -> Link | None:
        """The link that dials `endpoint`, new if there was none; None (counted) if there can be none."""
        if endpoint == self.source:
            self.count("to_self")
            return None
        link = self._links.get(endpoint)
        if link is not None and not link.retired:
            return link
        with self._links_lock:
            link = self._links.get(endpoint)
            if link is None:
                if not self._has_room() and is_reply:
                    self.count("destinations_full")
                    return None
                reader = FrameReader(self.options.max_frame_bytes)
                link = Link(endpoint, self.options.max_send_queue, reader, used_at_s=self._clock())
                self._links[endpoint] = link
        return link

    def _has_room(self) -> bool:
        """Whether there may be one link more that no route names: peers choose what they call themselves, and route
        tables change. What is not used gives way. Locked.
        """
        if len(self._links) < MAX_REPLY_DESTINATIONS:
            return True
        routed, unused_since_s = self.routes.endpoints(), self._clock() - UNUSED_S
        kept = 0
        for endpoint, link in list(self._links.items()):
            if endpoint in routed:
                continue
            if link.retire(unused_since_s):
                del self._links[endpoint]
                self._loop.attend(link)
            else:
                kept += 1
        return kept < MAX_REPLY_DESTINATIONS

    def _offer(self, link: Link | None, frame: bytes, *, is_reply: bool = False) -> bool:
        if link is None:
            return False
        outcome = link.offer(frame, self._clock(), is_reply=is_reply)
        if outcome is Offer.SENT:
            self.count("sent")
        elif outcome is Offer.QUEUED:
            self._loop.attend(link)
        elif outcome is Offer.FULL:
            self.count("send_queue_full")
        elif link.endpoint:
            return self._offer(self._link_to(link.endpoint, is_reply=is_reply), frame, is_reply=is_reply)
        else:
            self.count("reply_without_way")  # the request's own connection has ended meanwhile
        return outcome in (Offer.SENT, Offer.QUEUED)

    def _hand_over(self, source: str, back: Link) -> None:
        """Replies that wait for `source` to be reached go out on its own connection: before newer ones, or who is back
        would get the oldest of them last. Under `_handing_over`.
        """
        link = self._links.get(source)
        if link is not None:
            for item in link.take(lambda item: item.is_reply):
                self._offer(back, item.frame, is_reply=True)

    # -- the I/O thread's LoopOwner --------------------------------------------------------------------------------

    def dialled_links(self) -> Collection[Link]:
        return self._links.values()

    def on_messages(self, link: Link, messages: list[RmrMessage]) -> None:
        self.count("received", len(messages))
        if messages[-1].source != link.source:
            if self._inbound_by_source.get(link.source) is link:
                del self._inbound_by_source[link.source]
            link.source = messages[-1].source
        self._inbound_by_source[link.source] = link
        asked = [message for message in messages if message.mtype == HEALTH_REQUEST]
        wanted = [message for message in messages if message.mtype != HEALTH_REQUEST] if asked else messages
        if wanted and (overflow := self._received.put(wanted)):
            self.count("receive_overflow", overflow)
        for message in asked:
            self.count("health_requests")
            self.reply(message, HEALTH_RESPONSE, b"OK\n")

    def on_unreachable(self, link: Link) -> None:
        """Replies that cannot be delivered this way go back on their request's own connection."""
        back = self._inbound_by_source.get(link.endpoint)
        if back is not None:
            with self._handing_over:
                self._hand_over(link.endpoint, back)

    def on_closed(self, link: Link) -> None:
        if self._inbound_by_source.get(link.source) is link:
            del self._inbound_by_source[link.source]

    def on_tick(self) -> None:
        if self._clock() >= self._reload_at:
            self._reload_routes()

    def _reload_routes(self) -> None:
        """Take over a static route file that is new or has changed; a broken one leaves the old table in force."""
        if self.routes.managed:
            return
        self._reload_at = self._clock() + RELOAD_PERIOD_S
        if self._route_file is None:
            return
        try:
            status = self._route_file.stat()
            seen = (status.st_mtime_ns, status.st_size)
            if seen == self._route_file_seen:
                return
            text = self._route_file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return  # not there yet: `ready` says so
        self._route_file_seen = seen
        reason = self.routes.seed(text)
        if reason:
            self.count("route_table_refused")
            log.warning("%s: %s", self._route_file, reason)

"""The RMR endpoint in pure Python: speaks SI95 with librmr or with another of these.

One thread owns the listening socket and all connections. A caller's `send` writes straight into a connected, idle
connection, so a control leaves without a thread switch; everything else waits in that connection's bounded queue.

What is dropped, and how it is counted:
    receive_overflow   the receive queue was full: the oldest message gave way
    send_queue_full    a destination's queue was full: the newest message was refused
    send_expired       queued longer than `max_queue_age_s` for an unreachable peer: a control is stale by then
    send_failed        queued on a connection that the peer had opened and closed again
    no_route, unencodable, to_self, reply_without_way, destinations_full   `send` or `reply` returned False
    frame_short, frame_version, frame_lengths, frame_oversized             received, wrong, skipped
    frame_lost         the stream made no sense any more and was closed
    connect_failed, accept_failed, inbound_refused, route_table_refused
"""

from __future__ import annotations

import errno
import logging
import os
import random
import selectors
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xapp.rmr.frame import DEFAULT_MAX_FRAME_BYTES, FrameReader, encode_frame
from xapp.rmr.link import Link, LinkState, Offer, ReceiveQueue
from xapp.rmr.resolver import Addresses, resolve
from xapp.rmr.routes import RouteTable, is_endpoint
from xapp.rmr.transport import HEALTH_REQUEST, HEALTH_RESPONSE, RmrMessage

log = logging.getLogger(__name__)

READ_BYTES = 1 << 18
MAX_INBOUND = 256
MAX_DESTINATIONS = 256
IDLE_TICK_S = 1.0
"""The longest sleep of the I/O thread; also how often the route file is looked at."""
ACCEPT_PAUSE_S = 0.2
"""After a failed accept (no file descriptors left), so that the thread does not spin."""
UNSENT_TIMEOUT_MS = 5000
"""A peer that acknowledges nothing for this long is gone (TCP_USER_TIMEOUT)."""


@dataclass(frozen=True, slots=True)
class Si95Options:
    """Limits and paces of an endpoint."""

    max_receive_queue: int = 1024
    max_send_queue: int = 256
    """Frames per destination."""
    max_queue_age_s: float = 2.0
    max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES
    connect_timeout_s: float = 3.0
    first_backoff_s: float = 0.05
    max_backoff_s: float = 2.0


class Si95Transport:
    """A Transport (see transport.py). `routes` is a table, or the path of a static route file (RMR_SEED_RT) that may
    appear or change later. `source` is the host:port that others reply to; by default where this endpoint listens.

    OSError from the constructor when the port cannot be bound.
    """

    def __init__(
        self,
        bind_host: str = "0.0.0.0",
        port: int = 4560,
        *,
        source: str = "",
        routes: RouteTable | Path | str | None = None,
        options: Si95Options | None = None,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self.options = options or Si95Options()
        self._clock = clock
        self._rng = rng or random.Random()
        family = socket.AF_INET6 if ":" in bind_host else socket.AF_INET
        self._listener = socket.create_server((bind_host, port), family=family, backlog=64)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        host = socket.gethostname() if bind_host in ("", "0.0.0.0", "::") else bind_host
        self.source = source or f"{host}:{self.port}"
        self._route_file = Path(routes) if isinstance(routes, str | Path) else None
        self._route_file_seen: tuple[int, int] | None = None
        self.routes = routes if isinstance(routes, RouteTable) else RouteTable(own=(self.source,))
        self._counts: Counter[str] = Counter()
        self._counts_lock = threading.Lock()
        self._received = ReceiveQueue(self.options.max_receive_queue)
        self._links: dict[str, Link] = {}
        self._links_lock = threading.Lock()
        self._inbound: set[Link] = set()
        self._inbound_by_source: dict[str, Link] = {}
        self._attention: deque[Link] = deque()
        """Links that another thread gave something to do."""
        self._selector = selectors.DefaultSelector()
        self._waker, self._wakee = socket.socketpair()
        self._waker.setblocking(False)
        self._wakee.setblocking(False)
        self._accept_again_at = 0.0
        self._reload_at = 0.0
        self._closed = threading.Event()
        self._selector.register(self._wakee, selectors.EVENT_READ)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._reload_routes()
        self._thread = threading.Thread(target=self._run, name=f"rmr-{self.port}", daemon=True)
        self._thread.start()

    # -- any thread ------------------------------------------------------------------------------------------------

    def send(self, message: RmrMessage) -> bool:
        """To every endpoint that the route table names; False unless each of them took it."""
        endpoints = self.routes.lookup(message.mtype, message.sub_id, message.meid, self._is_reachable)
        if not endpoints:
            self._count("no_route")
            return False
        frame = self._encode(message)
        if frame is None:
            return False
        taken = [self._offer(self._link_to(endpoint), frame) for endpoint in endpoints]
        return all(taken)

    def reply(self, request: RmrMessage, mtype: int, payload: bytes) -> bool:
        """To the request's source; if that cannot be dialled, on the connection that the request came in on."""
        frame = self._encode(
            RmrMessage(mtype, payload, request.sub_id, request.meid, request.xid, call_id=request.call_id)
        )
        if frame is None:
            return False
        back = self._inbound_by_source.get(request.source)
        if back is not None and not (is_endpoint(request.source) and self._is_reachable(request.source)):
            return self._offer(back, frame, is_reply=True)
        if not is_endpoint(request.source):
            self._count("reply_without_way")
            return False
        return self._offer(self._link_to(request.source), frame, is_reply=True)

    def receive(self, timeout_s: float) -> RmrMessage | None:
        return self._received.get(timeout_s)

    @property
    def ready(self) -> bool:
        return self.routes.loaded and self._thread.is_alive() and not self._closed.is_set()

    @property
    def counters(self) -> dict[str, int]:
        with self._counts_lock:
            return dict(self._counts)

    def is_connected(self, endpoint: str) -> bool:
        """Whether a connection that this endpoint opened to `endpoint` stands."""
        link = self._links.get(endpoint)
        return link is not None and link.state is LinkState.CONNECTED

    def close(self) -> None:
        self._closed.set()
        self._wake()
        self._thread.join(timeout=5.0)
        self._received.close()

    def _count(self, name: str, by: int = 1) -> None:
        if by:
            with self._counts_lock:
                self._counts[name] += by

    def _encode(self, message: RmrMessage) -> bytes | None:
        try:
            return encode_frame(message, source=self.source)
        except ValueError as error:
            self._count("unencodable")
            log.warning("message of type %d not sent: %s", message.mtype, error)
            return None

    def _is_reachable(self, endpoint: str) -> bool:
        """Worth a turn of the round robin: not known to be failing."""
        link = self._links.get(endpoint)
        return link is None or not link.failures

    def _link_to(self, endpoint: str) -> Link | None:
        """The link that dials `endpoint`, new if there was none; None (counted) if there can be none."""
        if endpoint == self.source:
            self._count("to_self")
            return None
        link = self._links.get(endpoint)
        if link is not None:
            return link
        with self._links_lock:
            if len(self._links) >= MAX_DESTINATIONS:
                self._forget_unused()
            if len(self._links) >= MAX_DESTINATIONS:
                self._count("destinations_full")
                return None
            return self._links.setdefault(endpoint, self._new_link(endpoint))

    def _forget_unused(self) -> None:
        """Peers choose what they call themselves, so the number of reply destinations has to be bounded."""
        for endpoint, link in list(self._links.items()):
            if link.state is LinkState.IDLE and not link.queue:
                del self._links[endpoint]

    def _new_link(self, endpoint: str, sock: socket.socket | None = None) -> Link:
        return Link(endpoint, self.options.max_send_queue, FrameReader(self.options.max_frame_bytes), sock)

    def _offer(self, link: Link | None, frame: bytes, *, is_reply: bool = False) -> bool:
        if link is None:
            return False
        outcome = link.offer(frame, self._clock(), is_reply=is_reply)
        if outcome is Offer.FULL:
            self._count("send_queue_full")
        elif outcome is Offer.SENT:
            self._count("sent")
        else:
            self._attention.append(link)
            self._wake()
        return outcome is not Offer.FULL

    def _wake(self) -> None:
        try:
            self._waker.send(b"\0")
        except OSError:
            pass  # full: the thread is about to wake anyway; closed: it has ended

    # -- the I/O thread --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._closed.is_set():
                for key, mask in self._selector.select(self._sleep_s()):
                    if key.fileobj is self._listener:
                        self._accept()
                    elif key.fileobj is self._wakee:
                        self._drain_wakes()
                    else:
                        self._on_link_event(key.data, mask)
                while self._attention:
                    self._advance(self._attention.popleft())
                self._on_tick()
        finally:
            self._close_sockets()

    def _sleep_s(self) -> float:
        now = self._clock()
        wake_at = now + IDLE_TICK_S
        for link in list(self._links.values()):
            if link.state is LinkState.CONNECTING:
                wake_at = min(wake_at, link.give_up_at)
            elif link.state is LinkState.IDLE and link.queue:
                wake_at = min(wake_at, link.retry_at)
        return max(0.0, wake_at - now)

    def _on_tick(self) -> None:
        now = self._clock()
        for link in list(self._links.values()):
            if link.queue or link.state is LinkState.CONNECTING:
                self._advance(link)
        if now >= self._reload_at:
            self._reload_routes()
        if self._accept_again_at and now >= self._accept_again_at:
            self._accept_again_at = 0.0
            self._selector.register(self._listener, selectors.EVENT_READ)

    def _drain_wakes(self) -> None:
        try:
            while len(self._wakee.recv(4096)) == 4096:
                pass
        except BlockingIOError:
            pass

    def _reload_routes(self) -> None:
        """Take over a static route file that is new or has changed; a broken one leaves the old table in force."""
        self._reload_at = self._clock() + IDLE_TICK_S
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
        reason = self.routes.update(text)
        if reason:
            self._count("route_table_refused")
            log.warning("%s: %s", self._route_file, reason)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                self._count("accept_failed")
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self._selector.unregister(self._listener)
                    self._accept_again_at = self._clock() + ACCEPT_PAUSE_S
                return
            if len(self._inbound) >= MAX_INBOUND:
                self._count("inbound_refused")
                sock.close()
                continue
            _tune(sock)
            link = self._new_link("", sock)
            self._inbound.add(link)
            self._watch(link)

    def _watch(self, link: Link) -> None:
        """Register what this link waits for now."""
        assert link.sock is not None
        if link.state is LinkState.CONNECTING:
            events = selectors.EVENT_WRITE
        else:
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if link.queue else 0)
        if not link.events:
            self._selector.register(link.sock, events, link)
        elif events != link.events:
            self._selector.modify(link.sock, events, link)
        link.events = events

    def _on_link_event(self, link: Link, mask: int) -> None:
        if link.sock is None:
            return  # closed by an earlier event of the same round
        if link.state is LinkState.CONNECTING:
            code = link.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                self._on_failed(link, OSError(code, os.strerror(code)))
                return
            link.attach(link.sock, LinkState.CONNECTED)
            self._advance(link)
            return
        if mask & selectors.EVENT_READ:
            self._read(link)
        if mask & selectors.EVENT_WRITE:
            self._advance(link)

    def _read(self, link: Link) -> None:
        assert link.sock is not None
        try:
            data = link.sock.recv(READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._disconnect(link)
            return
        messages = link.reader.feed(data, time.perf_counter_ns())
        if link.reader.drops:
            for reason, number in link.reader.drops.items():
                self._count(f"frame_{reason}", number)
            link.reader.drops.clear()
        if messages:
            self._take(link, messages)
        if link.reader.lost:
            log.info("closed the connection of %s: no frame boundary in what it sends", link.source or "a peer")
            self._disconnect(link)

    def _take(self, link: Link, messages: list[RmrMessage]) -> None:
        self._count("received", len(messages))
        if messages[-1].source != link.source:
            if self._inbound_by_source.get(link.source) is link:
                del self._inbound_by_source[link.source]
            link.source = messages[-1].source
        self._inbound_by_source[link.source] = link
        wanted = [message for message in messages if message.mtype != HEALTH_REQUEST]
        self._count("receive_overflow", self._received.put(wanted) if wanted else 0)
        for message in messages:
            if message.mtype == HEALTH_REQUEST:
                self._count("health_requests")
                self.reply(message, HEALTH_RESPONSE, b"OK\n")

    def _advance(self, link: Link) -> None:
        """Do whatever is next for this link: resolve, connect, write, give up, or nothing."""
        if link.broken:
            self._disconnect(link)
        now = self._clock()
        if link.state is LinkState.CONNECTED:
            self._count("sent", link.flush())
            if link.broken:
                self._disconnect(link)
            elif link.sock is not None:
                self._watch(link)
            return
        self._count("send_expired", link.drop_older(now - self.options.max_queue_age_s))
        if not link.endpoint:
            self._count("send_failed", len(link.take(lambda _: True)))  # a peer's own connection is never dialled
            return
        if link.state is LinkState.CONNECTING and now >= link.give_up_at:
            self._on_failed(link, TimeoutError("connect timed out"))
        elif link.state is LinkState.RESOLVING and link.resolved is not None:
            self._on_resolved(link)
        elif link.state is LinkState.IDLE and link.queue and now >= link.retry_at:
            self._resolve(link)

    def _resolve(self, link: Link) -> None:
        link.state, link.resolved = LinkState.RESOLVING, None

        def done(outcome: Addresses | OSError) -> None:
            link.resolved = outcome
            self._attention.append(link)
            self._wake()

        resolve(link.endpoint, done)

    def _on_resolved(self, link: Link) -> None:
        found, link.resolved = link.resolved, None
        if found is None or isinstance(found, OSError):
            self._on_failed(link, found or OSError("no address"))
            return
        family, address = found[link.failures % len(found)]
        try:
            sock = _dial(family, address)
        except OSError as error:
            self._on_failed(link, error)
            return
        link.give_up_at = self._clock() + self.options.connect_timeout_s
        link.attach(sock, LinkState.CONNECTING)
        self._watch(link)

    def _on_failed(self, link: Link, error: OSError) -> None:
        """Back off; replies that could not be delivered this way go back on their request's own connection."""
        self._count("connect_failed")
        if not link.failures:
            log.warning("cannot reach %s: %s", link.endpoint, error)
        link.failures += 1
        doublings = min(link.failures - 1, 16)
        delay = min(self.options.max_backoff_s, self.options.first_backoff_s * 2**doublings)
        link.retry_at = self._clock() + delay * self._rng.uniform(0.5, 1.0)
        self._disconnect(link)
        back = self._inbound_by_source.get(link.endpoint)
        if back is not None:
            for item in link.take(lambda item: item.is_reply):
                self._offer(back, item.frame, is_reply=True)

    def _disconnect(self, link: Link) -> None:
        """Close the socket. A dialled link stays and reconnects when it has something to send."""
        sock = link.detach()
        if sock is not None:
            if link.events:
                self._selector.unregister(sock)
                link.events = 0
            sock.close()
        link.reader = FrameReader(self.options.max_frame_bytes)
        if self._inbound_by_source.get(link.source) is link:
            del self._inbound_by_source[link.source]
        if not link.endpoint:
            self._inbound.discard(link)
            self._count("send_failed", len(link.take(lambda _: True)))

    def _close_sockets(self) -> None:
        for link in [*self._links.values(), *self._inbound]:
            self._advance_last(link)
        self._listener.close()
        self._selector.close()
        self._waker.close()
        self._wakee.close()

    def _advance_last(self, link: Link) -> None:
        self._count("sent", link.flush())
        sock = link.detach()
        if sock is not None:
            try:
                # What was written must arrive even if something unread is thrown away by the close.
                sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            sock.close()


def _dial(family: socket.AddressFamily, address: tuple[Any, ...]) -> socket.socket:
    """A socket whose connection is being set up."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        _tune(sock)
        sock.connect(address)
    except BlockingIOError:
        pass
    except OSError:
        sock.close()
        raise
    return sock


def _tune(sock: socket.socket) -> None:
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNSENT_TIMEOUT_MS)

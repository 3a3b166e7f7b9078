"""What happens on an SI95 endpoint's sockets: accepts, dials, reads, and writes what senders could not at once.

It happens in rounds, which one thread at a time runs: whoever waits for a message, else a thread of its own. A message
that a second thread reads from the socket costs its receiver a switch between threads, as much as all else together.
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
from collections import deque
from collections.abc import Callable
from math import inf

from xapp.rmr.frame import FrameReader
from xapp.rmr.link import Link, LinkState
from xapp.rmr.loop_owner import LoopOwner
from xapp.rmr.partial_frames import PartialFrames
from xapp.rmr.peer_socket import dial, tune
from xapp.rmr.resolver import Addresses, resolve
from xapp.rmr.si95_options import Si95Options

log = logging.getLogger(__name__)

READ_BYTES = 1 << 18
READS_PER_ROUND = 32
"""Of one connection: what waits in the kernel has no age, so all of it is read before anybody works on the first."""
MAX_INBOUND = 256
"""Beyond it one gives way, see `_evict`: a peer that died without a word never closes its connection."""
ACCEPTS_PER_ROUND = 64
"""So that a flood of connections does not keep the thread from those that stand."""
IDLE_TICK_S = 1.0
"""The longest sleep of the thread, and so the pace of the endpoint's own `on_tick`."""
HOST_AWAY_S = 0.05
"""When nobody has waited for a message for so long, the endpoint's own thread runs the rounds again."""
ACCEPT_PAUSE_S = 0.2
"""After a failed accept (no file descriptors left), so that the thread does not spin."""


class IoLoop:
    """Runs from `start` to `stop`. `attend` and `host` may be called from any thread, everything else belongs to the
    one that runs the round.
    """

    def __init__(
        self,
        listener: socket.socket,
        owner: LoopOwner,
        options: Si95Options,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self.options = options
        self._listener = listener
        self._owner = owner
        self._clock = clock
        self._rng = rng or random.Random()
        self._inbound: set[Link] = set()
        self._read_into = memoryview(bytearray(READ_BYTES))
        """Used again and again: to have so much from the C library takes longer than to read a message."""
        self._partial = PartialFrames(max(options.max_partial_bytes, options.max_frame_bytes))
        self._attention: deque[Link] = deque()
        """Links that another thread gave something to do."""
        self._accept_again_at = 0.0
        self._wake_at = 0.0
        """When links are to be looked at again; 0 = now. A message that came in whole is no reason."""
        self._stopped = threading.Event()
        self._rounds = threading.Lock()
        """Held by the thread that runs them."""
        self._is_hosted = False
        """A thread that waits for a message runs them ..."""
        self._hosted_at_s = 0.0
        """... or did until then (time.monotonic)."""
        self._wants_to_host = False
        self._selector = selectors.DefaultSelector()
        self._waker, self._wakee = socket.socketpair()
        for sock in (listener, self._waker, self._wakee):
            sock.setblocking(False)
        self._selector.register(self._wakee, selectors.EVENT_READ)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name=f"rmr-{listener.getsockname()[1]}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread and close its sockets, after writing what the kernel takes at once. Idempotent."""
        self._stopped.set()
        self._wake()
        self._thread.join(timeout=1.0)

    @property
    def running(self) -> bool:
        return self._thread.is_alive() and not self._stopped.is_set()

    @property
    def idle_s(self) -> float:
        """How long ago somebody who waits for messages ran the last round."""
        return time.monotonic() - self._hosted_at_s

    @property
    def partial_bytes(self) -> int:
        """Of frames that are not whole yet."""
        return self._partial.held_bytes

    def attend(self, link: Link) -> None:
        """This link has something to do."""
        self._attention.append(link)
        self._wake()

    def _wake(self) -> None:
        try:
            self._waker.send(b"\0")
        except OSError:
            pass  # full: the thread is about to wake anyway; closed: it has ended

    def host(self, has_arrived: Callable[[], object], timeout_s: float) -> bool:
        """Run rounds in the calling thread until something has arrived, one at least; False = somebody else does, or
        it has all ended.
        """
        if self._is_hosted or not self._admit(timeout_s):
            return False
        self._is_hosted = True
        give_up_at_s = time.monotonic() + timeout_s
        try:
            while not self._stopped.is_set():
                self._round(timeout_s)
                if has_arrived() or timeout_s <= 0:
                    return True
                timeout_s = give_up_at_s - time.monotonic()
            return False
        except Exception:  # as if it had come up in the endpoint's own thread, which ends of it
            log.exception("the endpoint stops working")
            self._stopped.set()
            return False
        finally:
            self._is_hosted, self._hosted_at_s = False, time.monotonic()
            self._rounds.release()

    def _admit(self, timeout_s: float) -> bool:
        """Take the rounds over from the endpoint's own thread."""
        if self._rounds.acquire(blocking=False):
            return True
        self._wants_to_host = True
        self._wake()
        return self._rounds.acquire(timeout=max(0.0, min(timeout_s, HOST_AWAY_S)))

    def _run(self) -> None:
        try:
            while not self._stopped.is_set():
                with self._rounds:
                    while not self._stopped.is_set() and not self._wants_to_host:
                        self._round(IDLE_TICK_S)
                    self._wants_to_host, self._hosted_at_s = False, time.monotonic()
                while self._is_hosted or time.monotonic() < self._hosted_at_s + HOST_AWAY_S:
                    if self._stopped.wait(HOST_AWAY_S):
                        break
        finally:
            self._stopped.set()
            with self._rounds:
                self._close_sockets()

    def _round(self, most_s: float) -> None:
        if not self._wake_at:
            self._wake_at = self._next_wake_s()
        for key, mask in self._selector.select(max(0.0, min(most_s, self._wake_at - self._clock()))):
            if key.fileobj is self._listener:
                self._accept()
            elif key.fileobj is self._wakee:
                self._drain_wakes()
            else:
                self._on_link_event(key.data, mask)
        while self._attention:
            self._wake_at = 0.0
            self._advance(self._attention.popleft())
        if self._clock() >= self._wake_at:
            self._on_tick()

    def _next_wake_s(self) -> float:
        now = self._clock()
        wake_at = min(now + IDLE_TICK_S, self._accept_again_at or inf)
        for link in list(self._owner.dialled_links()):
            if link.state is LinkState.CONNECTING:
                wake_at = min(wake_at, link.give_up_at)
            elif link.state is LinkState.IDLE and link.queue:
                wake_at = min(wake_at, link.retry_at)
        return wake_at

    def _on_tick(self) -> None:
        self._wake_at = 0.0
        now = self._clock()
        for link in list(self._owner.dialled_links()):
            if link.queue or link.state is LinkState.CONNECTING:
                self._advance(link)
        if self._accept_again_at and now >= self._accept_again_at:
            self._accept_again_at = 0.0
            self._selector.register(self._listener, selectors.EVENT_READ)
        self._partial.tidy(now)
        self._owner.on_tick()

    def _drain_wakes(self) -> None:
        try:
            while len(self._wakee.recv(4096)) == 4096:
                pass
        except BlockingIOError:
            pass

    def _accept(self) -> None:
        for _ in range(ACCEPTS_PER_ROUND):
            try:
                sock, address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                self._owner.count("accept_failed")
                self._wake_at = 0.0
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self._selector.unregister(self._listener)
                    self._accept_again_at = self._clock() + ACCEPT_PAUSE_S
                return
            if len(self._inbound) >= MAX_INBOUND:
                self._evict()
            tune(sock)
            reader = FrameReader(self.options.max_frame_bytes)
            link = Link("", self.options.max_send_queue, reader, sock, peer=address[0])
            link.received_at_s = self._clock()
            self._inbound.add(link)
            self._watch(link)

    def _evict(self) -> None:
        """Close the connection that was silent for longest, of those that never said anything if there are any."""
        self._owner.count("inbound_evicted")
        self._disconnect(min(self._inbound, key=lambda link: (bool(link.source), link.received_at_s)))

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
        if mask != selectors.EVENT_READ:
            self._wake_at = 0.0
        if link.state is LinkState.CONNECTING:
            code = link.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                self._on_failed(link, OSError(code, os.strerror(code)))
                return
            link.failures = 0  # before it is connected: whoever finds it failing takes what waits in it
            link.attach(link.sock, LinkState.CONNECTED)
            self._advance(link)
            return
        if mask & selectors.EVENT_READ:
            reads = 1
            while self._read(link) == READ_BYTES and reads < READS_PER_ROUND:
                reads += 1
        if mask & selectors.EVENT_WRITE:
            self._advance(link)

    def _read(self, link: Link) -> int:
        """Take what has come in, READ_BYTES at most; how much that was."""
        if link.sock is None:
            return 0
        try:
            octets = link.sock.recv_into(self._read_into)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            octets = 0
        if not octets:
            self._disconnect(link)
            return 0
        link.received_at_s = self._clock()
        messages = link.reader.feed(self._read_into[:octets], time.perf_counter_ns())
        if link.reader.held_bytes or self._partial.held_bytes:
            self._partial.note(link, link.received_at_s, is_another=bool(messages or link.reader.drops))
        if link.reader.drops:
            for reason, number in link.reader.drops.items():
                self._owner.count(f"frame_{reason}", number)
            link.reader.drops.clear()
        if messages:
            self._owner.on_messages(link, messages)
        if link.reader.lost:
            log.info("closed the connection of %s: no frame boundary in what it sends", link.source or "a peer")
            self._disconnect(link)
        while (slow := self._partial.too_many()) is not None:
            self._owner.count("partial_evicted")
            self._disconnect(slow)
        return octets

    def _advance(self, link: Link) -> None:
        """Do whatever is next for this link: resolve, connect, write, give up, or nothing."""
        if link.broken or link.retired:
            self._disconnect(link)
        if link.retired:
            return
        now = self._clock()
        if link.state is LinkState.CONNECTED:
            self._owner.count("sent", link.flush())
            if link.broken:
                self._disconnect(link)
            elif link.sock is not None:
                self._watch(link)
            return
        self._owner.count("send_expired", link.drop_older(now - self.options.max_queue_age_s))
        if link.state is LinkState.CONNECTING and now >= link.give_up_at:
            self._on_failed(link, TimeoutError("connect timed out"))
        elif link.state is LinkState.RESOLVING and link.resolved is not None:
            self._on_resolved(link)
        elif link.state is LinkState.IDLE and (link.queue or link.probe) and now >= link.retry_at:
            self._resolve(link)

    def _resolve(self, link: Link) -> None:
        link.state, link.resolved, link.probe = LinkState.RESOLVING, None, False

        def done(outcome: Addresses | OSError) -> None:
            link.resolved = outcome
            self.attend(link)

        resolve(link.endpoint, done)

    def _on_resolved(self, link: Link) -> None:
        found, link.resolved = link.resolved, None
        if found is None or isinstance(found, OSError):
            self._on_failed(link, found or OSError("no address"))
            return
        family, address = found[link.failures % len(found)]
        try:
            sock = dial(family, address)
        except OSError as error:
            self._on_failed(link, error)
            return
        link.give_up_at = self._clock() + self.options.connect_timeout_s
        link.attach(sock, LinkState.CONNECTING)
        self._watch(link)

    def _on_failed(self, link: Link, error: OSError) -> None:
        """Back off, so that a peer that is down costs little."""
        self._owner.count("connect_failed")
        if not link.failures:
            log.warning("cannot reach %s: %s", link.endpoint, error)
        link.failures += 1
        doublings = min(link.failures - 1, 16)
        delay = min(self.options.max_backoff_s, self.options.first_backoff_s * 2**doublings)
        link.retry_at = self._clock() + delay * self._rng.uniform(0.5, 1.0)
        self._disconnect(link)
        self._owner.on_unreachable(link)

    def _disconnect(self, link: Link) -> None:
        """Close the socket. A dialled link stays and reconnects when it has something to send."""
        self._wake_at = 0.0
        sock = link.detach()
        if sock is not None:
            if link.events:
                self._selector.unregister(sock)
                link.events = 0
            sock.close()
        link.reader = FrameReader(self.options.max_frame_bytes)
        self._partial.forget(link)
        self._owner.on_closed(link)
        if not link.endpoint:
            self._inbound.discard(link)
            self._owner.count("send_failed", len(link.take(lambda _: True)))

    def _close_sockets(self) -> None:
        for link in [*self._owner.dialled_links(), *self._inbound, *self._attention]:
            self._advance_last(link)
        self._listener.close()
        self._selector.close()
        self._waker.close()
        self._wakee.close()

    def _advance_last(self, link: Link) -> None:
        self._owner.count("sent", link.flush())
        sock = link.detach()
        if sock is not None:
            try:
                # What was written must arrive even if something unread is thrown away by the close.
                sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            sock.close()

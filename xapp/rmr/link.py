"""One TCP connection of the SI95 endpoint with its bounded send queue, and the bounded receive queue."""

from __future__ import annotations

import socket
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from xapp.rmr.frame import FrameReader
from xapp.rmr.resolver import Addresses
from xapp.rmr.transport import RmrMessage


class LinkState(Enum):
    IDLE = auto()
    """Not connected and not trying; a queued frame starts an attempt, not before `retry_at`."""
    RESOLVING = auto()
    CONNECTING = auto()
    CONNECTED = auto()


class Offer(Enum):
    SENT = auto()
    """All of it is in the kernel's hands."""
    QUEUED = auto()
    FULL = auto()
    GONE = auto()
    """Nothing leaves by this link any more."""


@dataclass(slots=True)
class Outgoing:
    frame: bytes
    queued_at_s: float
    is_reply: bool = False
    """May also go out on the connection that its request came in on."""


class Link:
    """A connection to or from one peer.

    Any thread may `offer`, `retire` and set `probe`; all else belongs to the I/O thread. `lock` covers the queue and
    writing to the socket.
    """

    def __init__(
        self,
        endpoint: str,
        max_queue: int,
        reader: FrameReader,
        sock: socket.socket | None = None,
        *,
        peer: str = "",
        used_at_s: float = 0.0,
    ) -> None:
        self.peer = peer
        """IP address of a peer that opened the connection, whatever it calls itself; empty for one that is dialled."""
        self.endpoint = endpoint
        """host:port that is dialled; empty for a connection that a peer opened."""
        self.max_queue = max_queue
        self.reader = reader
        self.sock = sock
        self.state = LinkState.CONNECTED if sock is not None else LinkState.IDLE
        self.lock = threading.Lock()
        self.queue: deque[Outgoing] = deque()
        self.sent_of_first = 0
        """Bytes of queue[0] already written."""
        self.broken = False
        self.source = ""
        """What the peer last called itself."""
        self.events = 0
        """What the selector watches this socket for; 0 = not registered."""
        self.failures = 0
        """Attempts since it was last connected."""
        self.probe = False
        """Somebody would send here if it worked: try to connect without a frame to lose."""
        self.retired = False
        """Given up for good: the I/O thread closes it, and whoever still holds it is told."""
        self.used_at_s = used_at_s
        """When something was last to be sent, at first when it was made."""
        self.received_at_s = 0.0
        """When something last came in."""
        self.retry_at = 0.0
        self.give_up_at = 0.0
        self.resolved: Addresses | OSError | None = None

    def offer(self, frame: bytes, now_s: float, *, is_reply: bool = False) -> Offer:
        """Write at once if nothing waits before it, else queue the rest. Never blocks on the network."""
        with self.lock:
            if self.retired:
                return Offer.GONE
            self.used_at_s = now_s
            if len(self.queue) >= self.max_queue:
                return Offer.FULL
            written = 0
            if self.state is LinkState.CONNECTED and not self.queue and not self.broken:
                written = self._write(frame)
                if written == len(frame):
                    return Offer.SENT
            self.queue.append(Outgoing(frame, now_s, is_reply))
            self.sent_of_first = written if len(self.queue) == 1 else self.sent_of_first
            return Offer.QUEUED

    def retire(self, unused_since_s: float) -> bool:
        """Give the link up, unless something waits in it, or it is connected and was used later than that."""
        with self.lock:
            if self.queue or (self.state is not LinkState.IDLE and self.used_at_s > unused_since_s):
                return False
            self.retired = True
            return True

    def flush(self) -> int:
        """Write what the kernel takes; the number of frames completed."""
        done = 0
        with self.lock:
            while self.queue and not self.broken and self.state is LinkState.CONNECTED:
                frame = self.queue[0].frame
                self.sent_of_first += self._write(memoryview(frame)[self.sent_of_first :])
                if self.sent_of_first < len(frame):
                    break
                self.queue.popleft()
                self.sent_of_first = 0
                done += 1
        return done

    def drop_older(self, than_s: float) -> int:
        """Forget frames queued before `than_s` of which nothing has been written; how many."""
        dropped = 0
        with self.lock:
            while self.queue and not self.sent_of_first and self.queue[0].queued_at_s < than_s:
                self.queue.popleft()
                dropped += 1
        return dropped

    def take(self, wanted: Callable[[Outgoing], bool]) -> list[Outgoing]:
        """Remove and return the queued frames that are `wanted`; none while connected: they are on their way."""
        with self.lock:
            if self.state is LinkState.CONNECTED:
                return []
            taken = [item for item in self.queue if wanted(item)]
            self.queue = deque(item for item in self.queue if not wanted(item))
        return taken

    def detach(self) -> socket.socket | None:
        """Back to IDLE: a frame that was cut off will be sent whole again. Returns the socket for closing.

        A connection that a peer opened cannot be had again.
        """
        with self.lock:
            self.retired |= not self.endpoint
            sock, self.sock = self.sock, None
            self.state = LinkState.IDLE
            self.broken = False
            self.sent_of_first = 0
        return sock

    def attach(self, sock: socket.socket, state: LinkState) -> None:
        with self.lock:
            self.sock, self.state = sock, state

    def _write(self, data: bytes | memoryview) -> int:
        assert self.sock is not None
        try:
            return self.sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            self.broken = True
            return 0


class ReceiveQueue:
    """Bounded; when full the oldest message gives way, because the newest report is the one worth deciding on."""

    def __init__(self, max_messages: int, max_payload_bytes: int) -> None:
        self._messages: deque[RmrMessage] = deque()
        self._max_messages = max_messages
        self._max_payload_bytes = max_payload_bytes
        self._payload_bytes = 0
        self._changed = threading.Condition()
        self._waiting = 0
        """Threads that wait in `get`: to wake nobody takes longer than to put a message."""
        self._closed = False

    def put(self, messages: list[RmrMessage]) -> int:
        """Returns how many messages had to give way."""
        overflow = 0
        with self._changed:
            self._messages.extend(messages)
            self._payload_bytes += sum(len(message.payload) for message in messages)
            while len(self._messages) > self._max_messages or self._payload_bytes > self._max_payload_bytes:
                self._pop()
                overflow += 1
            if self._waiting:
                self._changed.notify(len(messages))
        return overflow

    def get(self, timeout_s: float) -> RmrMessage | None:
        with self._changed:
            if timeout_s > 0 and not self._messages and not self._closed:
                self._waiting += 1
                try:
                    self._changed.wait_for(lambda: self._messages or self._closed, timeout_s)
                finally:
                    self._waiting -= 1
            return self._pop() if self._messages else None

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def closed(self) -> bool:
        return self._closed

    def _pop(self) -> RmrMessage:
        """Locked."""
        message = self._messages.popleft()
        self._payload_bytes -= len(message.payload)
        return message

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

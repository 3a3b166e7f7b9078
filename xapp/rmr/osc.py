"""The RMR endpoint over OSC's C library, librmr, through ricxappframe's bindings: the same contract as si95.py.

Only the bare C functions are used, from two threads of our own, because what ricxappframe puts on top costs too much or
hides what happened: it copies payloads element by element, queues without bound, retries a failed send a hundred times,
ignores a message type, subscription id or payload that is zero or empty, and its errors escape `except Exception`.

Sending has a thread because librmr may sit in connect() for seconds. `send` waits for the outcome only while nothing
else is being sent, and then for `send_patience_s` at most; an outcome that comes later is counted.

A buffer that librmr hands over holds the frame as it came over the wire, and one that it takes is filled as one: both
are the business of frame.py.

What is dropped, and how it is counted: as in si95.py, except that librmr does not say why a message found no endpoint.
    no_route       no route, or its endpoint cannot be reached
    send_expired   the peer took nothing for `max_queue_age_s`
    send_failed    librmr could not write it
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from xapp.http.server import cannot_listen
from xapp.platform.libraries import HOW_TO_ADD, LibrmrMissing, is_missing
from xapp.rmr.frame import (
    D1_BYTES,
    RMR_HEADER_BYTES,
    SOURCE_BYTES,
    TRANSPORT_HEADER_BYTES,
    FrameError,
    decode_frame,
    encode_frame,
)
from xapp.rmr.link import ReceiveQueue
from xapp.rmr.routes import is_endpoint
from xapp.rmr.settings import ANY_ADDRESS, RmrSettings, TableSource
from xapp.rmr.si95_options import Si95Options
from xapp.rmr.transport import HEALTH_REQUEST, HEALTH_RESPONSE, RmrMessage

log = logging.getLogger(__name__)

NORMAL_PAYLOAD_BYTES = 16_384
"""librmr keeps a buffer of this size for every message that waits in its ring of 4096; longer ones get their own."""
MAX_FRAME_BYTES = 1 << 26
RECEIVE_TIMEOUT_MS = 100
RETRY_PAUSE_S, SEND_PATIENCE_S = 0.001, 0.005
SETTLED_S = 0.5
"""The longest that a start waits for librmr to have read its settings; a route file that is not there yet costs it."""
LAST_WORDS_S = 0.5
"""How long `close` waits for what is still to be sent."""
ERRORS_ONLY = 2
"""librmr's log level: warnings would come with every message that finds no route."""

# Offsets in the RMR header, from its start (see frame.py).
XID_OFFSET, SOURCE_OFFSET = 12, 76


@cache
def load_librmr() -> Any:
    """ricxappframe's bindings. Raises LibrmrMissing."""
    try:
        from ricxappframe.rmr import rmr
    except (OSError, ImportError) as error:
        reason = HOW_TO_ADD if isinstance(error, ImportError) and is_missing(error) else error
        raise LibrmrMissing(f"librmr cannot be loaded: {reason}") from None
    return rmr


@cache
def librmr_problem() -> str:
    """Why librmr cannot be used; "" if it can."""
    try:
        load_librmr()
    except LibrmrMissing as error:
        return str(error)
    return ""


@dataclass(slots=True)
class Outgoing:
    """One message on its way out."""

    frame: bytes
    mtype: int
    sub_id: int
    queued_at_s: float
    reply_to: str = ""  # host:port; "" = by the route table
    without_route: str = "no_route"  # what it counts as if there is no way
    outcome: bool = True
    done: threading.Event = field(default_factory=threading.Event)


class LibrmrTransport:
    """A Transport (see transport.py). LibrmrMissing, or OSError (one line) for a port that cannot be had.

    librmr takes its settings from the environment of the process: they are written there until it has read them, so
    endpoints are made one after the other. It cannot close its sockets: they live as long as the process.
    """

    kind, route_problem = "librmr", ""  # who brings its route tables it does not say

    def __init__(
        self,
        settings: RmrSettings,
        options: Si95Options | None = None,
        *,
        send_patience_s: float = SEND_PATIENCE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rmr = load_librmr()
        from ricxappframe.rmr.exceptions import BadBufferAllocation, InitFailed

        self._bad_buffer = BadBufferAllocation
        self.options = options or Si95Options()
        self._send_patience_s, self._clock = send_patience_s, clock
        settings = _with_free_ports(settings)
        self.port, self.control_port = settings.port, settings.control_port
        self.source = f"{settings.host}:{settings.port}"
        self._is_file_only = settings.tables is TableSource.FILE
        self._counts: Counter[str] = Counter()
        self._counts_lock = threading.Lock()
        self._received = ReceiveQueue(self.options.max_receive_queue, self.options.max_receive_bytes)
        self._outgoing: deque[Outgoing] = deque()
        self._sending = False
        self._changed = threading.Condition()
        self._closed = threading.Event()
        with _environment(settings):
            try:
                self._context = self._rmr.rmr_init(str(self.port).encode(), NORMAL_PAYLOAD_BYTES, self._rmr.RMRFL_NONE)
            except InitFailed:
                raise OSError(f"librmr cannot listen on port {self.port}") from None
            self._wait_settled(settings)
        if "RMR_LOG_VLEVEL" not in os.environ:
            self._rmr.rmr_set_vlevel(ERRORS_ONLY)
        self._threads = [
            threading.Thread(target=target, name=f"librmr-{name}-{self.port}", daemon=True)
            for name, target in (("receive", self._receive_all), ("send", self._send_all))
        ]
        for thread in self._threads:
            thread.start()

    def _wait_settled(self, settings: RmrSettings) -> None:
        """Until librmr's own thread has read the environment: it opens the control port, or has read the file, next."""
        give_up_at = self._clock() + SETTLED_S
        while self._clock() < give_up_at:
            if settings.tables is not TableSource.FILE:
                if _is_answered(settings.bind_host, settings.control_port):
                    return
            elif settings.seed is None or self._rmr.rmr_ready(self._context) == 1:
                return
            time.sleep(0.005)

    # -- any thread ------------------------------------------------------------------------------------------------

    def send(self, message: RmrMessage) -> bool:
        """By librmr's route table; False if it is known to have failed."""
        return self._enqueue(message)

    def reply(self, request: RmrMessage, mtype: int, payload: bytes) -> bool:
        """To the request's source, which must be an address that can be dialled."""
        if not is_endpoint(request.source):
            self.count("reply_without_way")
            return False
        if request.source == self.source:
            self.count("to_self")
            return False
        answer = RmrMessage(mtype, payload, request.sub_id, request.meid, request.xid, call_id=request.call_id)
        return self._enqueue(answer, reply_to=request.source)

    def receive(self, timeout_s: float) -> RmrMessage | None:
        return self._received.get(timeout_s)

    waiting = property(lambda self: len(self._received))

    @property
    def ready(self) -> bool:
        return not self._closed.is_set() and self._rmr.rmr_ready(self._context) == 1

    @property
    def counters(self) -> dict[str, int]:
        with self._counts_lock:
            return dict(self._counts)

    def close(self) -> None:
        with self._changed:
            if self._closed.is_set():
                return
            self._closed.set()
            self._changed.notify_all()
        self._received.close()
        for thread in self._threads:
            thread.join(LAST_WORDS_S + RECEIVE_TIMEOUT_MS / 1e3)
        # Reading a file librmr goes on using the name that rmr_close frees; a thread still in connect() needs it all.
        if not self._is_file_only and not any(thread.is_alive() for thread in self._threads):
            self._rmr.rmr_close(self._context)

    def count(self, name: str, by: int = 1) -> None:
        if by:
            with self._counts_lock:
                self._counts[name] += by

    def _enqueue(self, message: RmrMessage, reply_to: str = "") -> bool:
        try:
            frame = encode_frame(message, source=self.source)
        except (FrameError, UnicodeError) as error:
            self.count("unencodable")
            log.warning("message of type %d not sent: %s", message.mtype, error)
            return False
        item = Outgoing(frame, message.mtype, message.sub_id, self._clock(), reply_to, message.without_route)
        with self._changed:
            if self._closed.is_set():
                return False
            if len(self._outgoing) >= self.options.max_send_queue:
                self.count("send_queue_full")
                return False
            is_next = not self._sending and not self._outgoing
            self._outgoing.append(item)
            self._changed.notify()
        if is_next and threading.current_thread() not in self._threads:
            item.done.wait(self._send_patience_s)
        return item.outcome

    # -- the sending thread ----------------------------------------------------------------------------------------

    def _send_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._outgoing or self._closed.is_set())
                if not self._outgoing:
                    return
                item = self._outgoing.popleft()
                self._sending = True
            try:
                outcome = self._send_one(item)
            except Exception:  # a bug costs one message, not all that follow
                outcome = "send_failed"
                log.exception("message of type %d not sent", item.mtype)
            item.outcome = outcome == "sent"
            self.count(outcome)
            with self._changed:
                self._sending = False
            item.done.set()

    def _send_one(self, item: Outgoing) -> str:
        """What it counts as."""
        give_up_at = item.queued_at_s + self.options.max_queue_age_s
        while self._clock() < give_up_at:
            state = self._write(item)
            if state == self._rmr.RMR_OK:
                return "sent"
            if state == self._rmr.RMR_ERR_NOENDPT:
                return item.without_route
            if state != self._rmr.RMR_ERR_RETRY:
                return "send_failed"
            time.sleep(RETRY_PAUSE_S)  # the peer reads nothing at the moment
        return "send_expired"

    def _write(self, item: Outgoing) -> int:
        """One attempt; librmr's state after it."""
        body = item.frame[TRANSPORT_HEADER_BYTES:]
        payload_bytes = len(body) - RMR_HEADER_BYTES - D1_BYTES
        try:
            buffer = self._rmr.rmr_alloc_msg(self._context, max(1, payload_bytes))
        except self._bad_buffer:
            return -1
        try:
            header = _address(buffer.contents.xaction) - XID_OFFSET
            if _address(buffer.contents.payload) - header != RMR_HEADER_BYTES + D1_BYTES:
                log.error("this librmr lays its messages out otherwise than version 4.9")
                return -1
            ctypes.memmove(header, body, len(body))
            buffer.contents.mtype, buffer.contents.sub_id = item.mtype, item.sub_id
            buffer.contents.len = payload_bytes
            if item.reply_to:  # librmr returns a message to whom it says it came from, and says then that it is ours
                ctypes.memmove(header + SOURCE_OFFSET, item.reply_to.encode().ljust(SOURCE_BYTES, b"\0"), SOURCE_BYTES)
                buffer = self._rmr.rmr_rts_msg(self._context, buffer)
            else:
                buffer = self._rmr.rmr_send_msg(self._context, buffer)
            return int(buffer.contents.state) if buffer else -1
        finally:
            if buffer:
                self._rmr.rmr_free_msg(buffer)

    # -- the receiving thread --------------------------------------------------------------------------------------

    def _receive_all(self) -> None:
        while not self._closed.is_set():
            buffer = self._rmr.rmr_torcv_msg(self._context, None, RECEIVE_TIMEOUT_MS)
            if not buffer:
                continue
            received_ns = time.perf_counter_ns()
            try:
                message = _read(buffer.contents, received_ns)
            except FrameError as error:
                self.count(f"frame_{error}")
                continue
            finally:
                self._rmr.rmr_free_msg(buffer)
            self.count("received")
            if message.mtype == HEALTH_REQUEST:
                self.count("health_requests")
                self.reply(message, HEALTH_RESPONSE, b"OK\n")
            else:
                self.count("receive_overflow", self._received.put([message]))


def _address(pointer: Any) -> int:
    return ctypes.cast(pointer, ctypes.c_void_p).value or 0


def _read(buffer: Any, received_ns: int) -> RmrMessage:
    """The message in librmr's buffer, copied. FrameError like decode_frame."""
    header = _address(buffer.xaction) - XID_OFFSET
    size = _address(buffer.payload) - header + buffer.len
    if not RMR_HEADER_BYTES <= size <= MAX_FRAME_BYTES:
        raise FrameError("lengths")
    frame = ctypes.string_at(header - TRANSPORT_HEADER_BYTES, TRANSPORT_HEADER_BYTES + size)
    return decode_frame(frame, received_ns=received_ns)


def _with_free_ports(settings: RmrSettings) -> RmrSettings:
    """With numbers for ports that may be any. OSError for one that is taken: librmr would not say which, or go on."""
    port, control_port = _probe(settings.bind_host, settings.port, must_be_free=True), settings.control_port
    if settings.tables is not TableSource.FILE:
        control_port = _probe(settings.bind_host, control_port, must_be_free=settings.control_port_is_wanted)
    return replace(settings, port=port, control_port=control_port)


def _probe(host: str, port: int, *, must_be_free: bool) -> int:
    """The port, or a free one for 0."""
    try:
        return _bound(host, port)
    except (OSError, UnicodeError) as error:
        if must_be_free:
            raise cannot_listen(host, port, error) from None
        log.warning("no route manager can reach this xApp: port %d: %s", port, error)
        return port


def _bound(host: str, port: int) -> int:
    """Bind as librmr does, and let go. It shares its ports (SO_REUSEPORT): with what a process that was killed left
    behind, which is welcome after a restart, and with another that listens there, which is not."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        probe.bind((host, port))
        port = int(probe.getsockname()[1])
        if _is_answered(host, port):
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        return port


def _is_answered(host: str, port: int) -> bool:
    """Whether somebody listens there."""
    try:
        socket.create_connection(("localhost" if host in ANY_ADDRESS else host, port), timeout=SETTLED_S).close()
    except OSError:
        return False
    return True


@contextmanager
def _environment(settings: RmrSettings) -> Iterator[None]:
    """What librmr is to read, as long as it does."""
    host = settings.bind_host
    bind = "" if host in ANY_ADDRESS else f"[{host}]" if ":" in host else host
    service = {TableSource.FILE: "-1", TableSource.PUSHED: str(settings.control_port)}
    wanted = {
        "RMR_BIND_IF": bind,
        "RMR_SRC_ID": settings.host,
        "RMR_RTG_SVC": service.get(settings.tables, settings.manager),
        "RMR_CTL_PORT": str(settings.control_port) if settings.tables is TableSource.ASKED else "",
        "RMR_SEED_RT": str(settings.seed or ""),
    }
    before = {name: os.environ.get(name, "") for name in wanted}
    _set_variables(wanted)
    try:
        yield
    finally:
        _set_variables(before)


def _set_variables(values: dict[str, str]) -> None:
    """ "" = not set: librmr takes an empty name for a name."""
    for name, value in values.items():
        if value:
            os.environ[name] = value
        else:
            os.environ.pop(name, None)

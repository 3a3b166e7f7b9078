"""The E2 association: whole E2AP PDUs between a node and the RIC, over SCTP or length-prefixed TCP (`e2_wire`).

No call blocks on the network: `send` queues for a writer thread, a reader thread hands over what arrives. A length that
cannot be right closes the association with a counted reason.
"""

from __future__ import annotations

import errno
import logging
import select
import socket
import threading
from collections import deque
from collections.abc import Callable

from xapp.lab.counters import Counters
from xapp.lab.e2_link.e2_wire import (
    MAX_PDU_BYTES,
    BadLength,
    E2Wire,
    LengthPrefixReader,
    RecordReader,
    make_socket,
    tune,
)

logger = logging.getLogger(__name__)

SEND_QUEUE_BYTES = 8 * MAX_PDU_BYTES
"""PDUs waiting for the network; when full the newest is dropped and counted."""
READ_BYTES = 1 << 16
POLL_MS = 200
"""How long a thread may take to notice that its association was closed under it."""
CONNECT_TIMEOUT_S = 2.0
BACKOFF_START_S, BACKOFF_MAX_S = 0.1, 2.0


class E2Association:
    """One connected peer. `run` reads until the association ends; `send` and `close` may be called from any thread."""

    def __init__(
        self,
        sock: socket.socket,
        wire: E2Wire,
        on_pdu: Callable[[E2Association, bytes], None],
        counters: Counters,
        peer: str = "",
    ) -> None:
        self.wire = wire
        self.peer = peer
        self._sock = sock
        self._on_pdu = on_pdu
        self._counters = counters
        self._outgoing: deque[bytes] = deque()
        self._outgoing_bytes = 0
        self._changed = threading.Condition()
        self._closed = False
        self._reason = ""
        sock.setblocking(False)
        tune(sock, wire)
        self._writer = threading.Thread(target=self._write_loop, name="e2-writer", daemon=True)
        self._writer.start()

    def send(self, pdu: bytes) -> bool:
        """Queue one PDU. False = closed, too large, or the queue is full (counted)."""
        if not 0 < len(pdu) <= MAX_PDU_BYTES:
            self._counters.add("e2_send_bad_length")
            return False
        with self._changed:
            if self._closed:
                return False
            if self._outgoing_bytes + len(pdu) > SEND_QUEUE_BYTES:
                self._counters.add("e2_send_queue_full")
                return False
            self._outgoing.append(pdu if self.wire == "sctp" else len(pdu).to_bytes(4, "big") + pdu)
            self._outgoing_bytes += len(self._outgoing[-1])
            self._changed.notify()
        return True

    def close(self, reason: str = "closed") -> None:
        """End the association now; the first reason given stays. Idempotent."""
        with self._changed:
            if self._closed:
                return
            self._closed, self._reason = True, reason
            self._changed.notify()
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # not connected any more: the threads notice by themselves

    def run(self) -> str:
        """Read until the end and release the socket; returns why it ended."""
        try:
            self._read_loop()
        except BadLength as error:
            logger.warning("E2 association with %s closed: %s", self.peer, error)
            self.close("bad_length")
        except OSError as error:
            self.close(errno.errorcode.get(error.errno or 0, "socket_error").lower())
        self.close("closed")
        self._writer.join()
        self._sock.close()
        self._counters.add(f"e2_closed_{self._reason}")
        return self._reason

    def _read_loop(self) -> None:
        stream, records = LengthPrefixReader(), RecordReader()
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        while not self._closed:
            if not poll.poll(POLL_MS):
                continue
            try:
                data, _, flags, _ = self._sock.recvmsg(READ_BYTES)
            except BlockingIOError:
                continue
            if not data:
                self.close("truncated" if stream.partial or records.partial else "peer_closed")
                return
            for pdu in stream.feed(data) if self.wire == "tcp" else records.feed(data, flags):
                self._hand_over(pdu)

    def _hand_over(self, pdu: bytes) -> None:
        try:
            self._on_pdu(self, pdu)
        except Exception:
            # A fault in our own handler must not cost the association; it is counted, and logged in full.
            logger.exception("handling an E2AP PDU from %s", self.peer)
            self._counters.add("e2_handler_error")

    def _write_loop(self) -> None:
        while True:
            with self._changed:
                while not self._outgoing and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                pdu = self._outgoing.popleft()
                self._outgoing_bytes -= len(pdu)
            try:
                self._write(pdu)
            except OSError as error:
                if error.errno == errno.EMSGSIZE:  # SCTP: larger than the socket's buffer
                    self._counters.add("e2_send_too_large")
                    continue
                self.close("send_failed")
                return

    def _write(self, pdu: bytes) -> None:
        poll = select.poll()
        poll.register(self._sock, select.POLLOUT)
        rest = memoryview(pdu)
        while rest and not self._closed:
            try:
                rest = rest[self._sock.send(rest) :]
            except BlockingIOError:
                poll.poll(POLL_MS)


class E2Server:
    """Accepts associations; each is read in its own thread."""

    def __init__(
        self,
        host: str,
        port: int,
        wire: E2Wire,
        on_pdu: Callable[[E2Association, bytes], None],
        on_close: Callable[[E2Association, str], None],
        counters: Counters,
    ) -> None:
        """port 0 = any free one (see `port`). Raises OSError when the address cannot be had."""
        self.wire = wire
        self._on_pdu, self._on_close, self._counters = on_pdu, on_close, counters
        self._lock = threading.Lock()
        self._associations: dict[E2Association, threading.Thread] = {}
        self._closed = threading.Event()
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        self._listener = make_socket(wire, family)
        try:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind(address)
            self._listener.listen(64)
        except OSError as error:
            self._listener.close()
            raise OSError(f"cannot listen for E2 on {host}:{port}: {error.strerror}") from None
        self._listener.settimeout(POLL_MS / 1000)
        self.port = int(self._listener.getsockname()[1])
        self._acceptor = threading.Thread(target=self._accept_loop, name="e2-accept", daemon=True)
        self._acceptor.start()

    def close(self) -> None:
        """Stop listening, end every association and wait for its threads."""
        self._closed.set()
        self._acceptor.join()
        self._listener.close()
        with self._lock:
            readers = dict(self._associations)
        for association in readers:
            association.close()
        for reader in readers.values():
            reader.join()

    def _accept_loop(self) -> None:
        while not self._closed.is_set():
            try:
                sock, address = self._listener.accept()
            except TimeoutError:
                continue
            except OSError as error:
                self._counters.add("e2_accept_error")
                logger.warning("accepting an E2 association: %s", error)
                self._closed.wait(POLL_MS / 1000)  # out of descriptors: do not spin
                continue
            association = E2Association(sock, self.wire, self._on_pdu, self._counters, f"{address[0]}:{address[1]}")
            reader = threading.Thread(target=self._run, args=(association,), name="e2-reader", daemon=True)
            with self._lock:
                self._associations[association] = reader
            reader.start()

    def _run(self, association: E2Association) -> None:
        reason = association.run()
        with self._lock:
            self._associations.pop(association, None)
        self._on_close(association, reason)


class E2Client:
    """Keeps one association to a server, reconnecting with backoff for as long as it lives."""

    def __init__(
        self,
        host: str,
        port: int,
        wire: E2Wire,
        on_open: Callable[[E2Association], None],
        on_pdu: Callable[[E2Association, bytes], None],
        on_close: Callable[[E2Association, str], None],
        counters: Counters,
    ) -> None:
        self._address = (host, port)
        self._wire: E2Wire = wire
        self._on_open, self._on_pdu, self._on_close, self._counters = on_open, on_pdu, on_close, counters
        self._closed = threading.Event()
        self._association: E2Association | None = None
        self._thread = threading.Thread(target=self._loop, name="e2-client", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the association; a thread that is stuck in a connection attempt is left to end by itself."""
        self._closed.set()
        association = self._association
        if association is not None:
            association.close()
        self._thread.join(2 * POLL_MS / 1000)

    def _loop(self) -> None:
        backoff_s = BACKOFF_START_S
        while not self._closed.is_set():
            sock = self._connect()
            if sock is not None:
                backoff_s = BACKOFF_START_S
                peer = f"{self._address[0]}:{self._address[1]}"
                association = E2Association(sock, self._wire, self._on_pdu, self._counters, peer)
                self._association = association
                if self._closed.is_set():
                    association.close()
                else:
                    self._on_open(association)
                self._on_close(association, association.run())
            self._closed.wait(backoff_s)
            backoff_s = min(2 * backoff_s, BACKOFF_MAX_S)

    def _connect(self) -> socket.socket | None:
        try:
            family, _, _, _, address = socket.getaddrinfo(*self._address, type=socket.SOCK_STREAM)[0]
            sock = make_socket(self._wire, family)
        except (OSError, UnicodeError):  # the latter for a name that DNS could never have
            self._counters.add("e2_connect_failed")
            return None
        try:
            sock.settimeout(CONNECT_TIMEOUT_S)
            sock.connect(address)
        except OSError:
            sock.close()
            self._counters.add("e2_connect_failed")
            return None
        return sock

"""How E2AP PDUs lie on a socket: as SCTP messages, or length-prefixed in a TCP stream.

SCTP one-to-one sockets where the kernel has them (a message ends at MSG_EOR, payload protocol id 70 for E2AP); else
TCP, each PDU after its length as 4 octets, big-endian: the lab's one departure from the standard.
"""

from __future__ import annotations

import logging
import socket
import struct
from typing import Literal

from policy.errors import DecodeError, UserMistake

logger = logging.getLogger(__name__)

E2Wire = Literal["sctp", "tcp"]

MAX_PDU_BYTES = 1 << 20
PPID_E2AP = 70
"""IANA's SCTP payload protocol identifier of E2AP."""
SOCKET_BUFFER_BYTES = 2 * MAX_PDU_BYTES

IPPROTO_SCTP = 132
# linux/sctp.h; the socket module does not name them.
SCTP_NODELAY = 3
SCTP_DEFAULT_SEND_PARAM = 10
SCTP_SNDRCVINFO = struct.Struct("=HHHxxIIIIIi")  # stream, ssn, flags, ppid, context, ttl, tsn, cumtsn, assoc id
MSG_NOTIFICATION = 0x8000


def sctp_available() -> bool:
    """Whether this kernel makes SCTP sockets."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_SCTP).close()
    except OSError:
        return False
    return True


def available_wires() -> tuple[E2Wire, ...]:
    """What this machine can carry E2AP over, best first."""
    return ("sctp", "tcp") if sctp_available() else ("tcp",)


def choose_wire(name: str) -> E2Wire:
    """`auto`, `sctp` or `tcp` to what will be used. Raises UserMistake when it cannot be had."""
    if name == "auto":
        return available_wires()[0]
    if name == "tcp":
        return "tcp"
    if name == "sctp":
        if not sctp_available():
            raise UserMistake("this kernel has no SCTP sockets (modprobe sctp), use auto or tcp")
        return "sctp"
    raise UserMistake(f"E2 transport {name!r} is none of auto, sctp, tcp")


def make_socket(wire: E2Wire, family: int) -> socket.socket:
    return socket.socket(family, socket.SOCK_STREAM, IPPROTO_SCTP if wire == "sctp" else 0)


def tune(sock: socket.socket, wire: E2Wire) -> None:
    """Send at once, and say that it is E2AP. What the kernel refuses is done without."""
    options: list[tuple[int, int, int | bytes]] = [(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER_BYTES)]
    if wire == "tcp":
        options.append((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1))
    else:
        send_as_e2ap = SCTP_SNDRCVINFO.pack(0, 0, 0, socket.htonl(PPID_E2AP), 0, 0, 0, 0, 0)
        options.append((IPPROTO_SCTP, SCTP_NODELAY, 1))
        options.append((IPPROTO_SCTP, SCTP_DEFAULT_SEND_PARAM, send_as_e2ap))
    for level, name, value in options:
        try:
            sock.setsockopt(level, name, value)
        except OSError as error:
            logger.debug("socket option %d/%d: %s", level, name, error)


class BadLength(DecodeError):
    """The peer announced or sent a PDU of an impossible size."""


class LengthPrefixReader:
    """Cuts a TCP byte stream into PDUs, however it dribbles in."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def partial(self) -> bool:
        """Part of a PDU is waiting for the rest."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """PDUs completed by `data`. Raises BadLength for a length of 0 or above MAX_PDU_BYTES."""
        self._buffer += data
        pdus, start = [], 0
        while len(self._buffer) - start >= 4:
            length = int.from_bytes(self._buffer[start : start + 4], "big")
            if not 0 < length <= MAX_PDU_BYTES:
                raise BadLength(f"PDU length {length}")
            if len(self._buffer) - start < 4 + length:
                break
            pdus.append(bytes(self._buffer[start + 4 : start + 4 + length]))
            start += 4 + length
        del self._buffer[:start]
        return pdus


class RecordReader:
    """Joins the pieces of SCTP messages up to MSG_EOR."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    @property
    def partial(self) -> bool:
        return bool(self._pieces)

    def feed(self, data: bytes, flags: int) -> list[bytes]:
        """The PDU completed by this piece, if any. Raises BadLength above MAX_PDU_BYTES."""
        if flags & MSG_NOTIFICATION:
            return []
        self._pieces.append(data)
        self._size += len(data)
        if self._size > MAX_PDU_BYTES:
            raise BadLength(f"PDU of at least {self._size} bytes")
        if not flags & socket.MSG_EOR:
            return []
        whole = b"".join(self._pieces)
        self._pieces, self._size = [], 0
        return [whole]

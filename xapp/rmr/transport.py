"""The Transport contract: how the rest of the xApp sends and receives RMR messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

# Message types of the OSC RIC.
ROUTE_TABLE = 20
ROUTE_REQUEST = 21
ROUTE_ANSWER = 22
HEALTH_REQUEST = 100
HEALTH_RESPONSE = 101
RIC_CONTROL_REQUEST = 12040
RIC_CONTROL_ACK = 12041
RIC_CONTROL_FAILURE = 12042
RIC_INDICATION = 12050
A1_POLICY_REQUEST = 20010
A1_POLICY_RESPONSE = 20011
A1_POLICY_QUERY = 20012


@dataclass(frozen=True, slots=True)
class RmrMessage:
    """One RMR message. `payload` is owned by the receiver."""

    mtype: int
    payload: bytes
    sub_id: int = -1
    """Subscription id, -1 = unset."""
    meid: str = ""
    """Managed entity (RAN name), at most 31 bytes."""
    xid: bytes = b""
    """Transaction id, at most 32 bytes, read up to the first NUL."""
    source: str = ""
    """Sender's `host:port` (filled in by the transport when sending)."""
    received_ns: int = 0
    """time.perf_counter_ns() when the last byte of the frame arrived (receive side only)."""
    call_id: int = 0
    """1-255 when the sender waits in a blocking call; `reply` gives it back. 0 = an ordinary message."""
    without_route: str = "no_route"
    """The counter of messages like this one for which there is no way (send side only)."""


@runtime_checkable
class Transport(Protocol):
    """Thread safe. Never raises for what peers do; what is dropped is counted."""

    def send(self, message: RmrMessage) -> bool:
        """Route by (sub_id, mtype) and queue for sending; never blocks on the network. False = no route, queue full."""
        ...

    def receive(self, timeout_s: float) -> RmrMessage | None:
        """The next message, or None after `timeout_s` or when closed."""
        ...

    @property
    def waiting(self) -> int:
        """Messages that have come in whole and that nobody has taken yet."""
        ...

    def reply(self, request: RmrMessage, mtype: int, payload: bytes) -> bool:
        """Return to sender: `request`'s meid, sub_id and xid go back to its source with another type and payload."""
        ...

    @property
    def ready(self) -> bool:
        """A route table is loaded and the listening socket is open."""
        ...

    @property
    def counters(self) -> dict[str, int]:
        """A snapshot of sent, received, and each kind of drop by name."""
        ...

    def close(self) -> None:
        """Stop threads and sockets; idempotent; wakes `receive`."""
        ...

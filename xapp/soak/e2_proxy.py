"""Between a node and the E2 termination: every E2AP PDU passes here, is shown to a judge, and may be tampered with.

Only what goes up, to the xApp, is corrupted or made up: E2's own protection keeps a control whole on its way to the
node, and a node that obeyed a damaged control would be no fault of the xApp.
"""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum

from xapp.e2.asn1.errors import E2DecodeError
from xapp.e2.dcm.control import Outcome, OutcomeCode, encode_outcome
from xapp.e2.e2ap import hot_messages as e2ap
from xapp.e2.e2ap.cause import Cause
from xapp.e2.e2ap.elements import PduKind, Procedure
from xapp.lab.e2_link.e2_wire import BadLength, LengthPrefixReader

AHEAD = 20_000
"""A forged report's number is so far ahead."""
FLOOD_PDUS = 300
LATE_S = 0.04
"""How long after its successor a report comes that was overtaken."""
REPORT = (PduKind.INITIATING, Procedure.RIC_INDICATION)
HOT = frozenset(
    (
        REPORT,
        (PduKind.INITIATING, Procedure.RIC_CONTROL),
        (PduKind.SUCCESSFUL, Procedure.RIC_CONTROL),
        (PduKind.UNSUCCESSFUL, Procedure.RIC_CONTROL),
    )
)
"""What is tampered with: reports, controls and their answers. Setup and subscriptions pass."""


class Tampering(StrEnum):
    """What becomes of PDUs for a while."""

    NONE = ""
    DELAY = "delay"
    DROP = "drop"
    DUPLICATE = "duplicate"
    CORRUPT = "corrupt"
    REORDER = "reorder"
    FLOOD = "flood"
    FORGED_REPORT = "forged_report"
    FORGED_REFUSAL = "forged_refusal"


class E2Proxy:
    """Listens for the node on loopback, and speaks for it to the E2 termination."""

    def __init__(self, e2term_port: int, rng: random.Random, judge: Callable[[bool, bytes], None]) -> None:
        """judge(up, pdu): sees each PDU as its sender wrote it; up = from the node."""
        self._to = ("127.0.0.1", e2term_port)
        self._rng, self._judge = rng, judge
        self.tampering = Tampering.NONE
        self.tampered = 0
        """PDUs that something was done to."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, name="e2-proxy", daemon=True).start()

    def close(self) -> None:
        self._listener.close()
        for each in list(self._open):
            _end(each)

    def _accept(self) -> None:
        while True:
            try:
                node, _ = self._listener.accept()
            except OSError:
                return  # closed
            try:
                term = socket.create_connection(self._to, timeout=2.0)
            except OSError:
                node.close()
                continue
            term.settimeout(None)
            self._open |= {node, term}
            for up, here, there in ((True, node, term), (False, term, node)):
                threading.Thread(target=self._pump, args=(up, here, there), name="e2-proxy", daemon=True).start()

    def _pump(self, up: bool, here: socket.socket, there: socket.socket) -> None:
        reader, held = LengthPrefixReader(), dict[int, bytes]()
        with suppress(OSError, BadLength):
            while data := here.recv(1 << 16):
                for pdu in reader.feed(data):
                    self._judge(up, pdu)
                    for each in self._tampered_with(up, pdu, held, there):
                        there.sendall(_framed(each))
        for sock in (here, there):
            _end(sock)
        self._open -= {here, there}

    def _tampered_with(self, up: bool, pdu: bytes, held: dict[int, bytes], there: socket.socket) -> list[bytes]:
        """What is passed on in place of a PDU. held: reports that wait for the next of their function."""
        kind, out = _kind(pdu), [pdu]
        function = e2ap.decode_indication(pdu).function_id if kind == REPORT else -1
        if function in held:
            there.sendall(_framed(pdu))
            time.sleep(LATE_S)  # the newer one has been decided about
            return [held.pop(function)]
        if self.tampering is Tampering.NONE or kind not in HOT:
            return out
        if not up and self.tampering not in (Tampering.DELAY, Tampering.DROP):
            return out
        self.tampered += 1
        match self.tampering:
            case Tampering.DELAY:
                time.sleep(self._rng.uniform(0.02, 0.3))
            case Tampering.DROP:
                return [] if self._rng.random() < 0.5 else out
            case Tampering.DUPLICATE:
                return [pdu, pdu]
            case Tampering.CORRUPT:
                return [_damaged(pdu, self._rng)]
            case Tampering.REORDER if kind == REPORT:
                held[function] = pdu
                return []
            case Tampering.FLOOD:
                return [pdu] * FLOOD_PDUS
            case Tampering.FORGED_REPORT:
                return [*out, *_report_ahead(pdu)]
            case Tampering.FORGED_REFUSAL:
                return [*_refusal(pdu), *out]
        return out


def _framed(pdu: bytes) -> bytes:
    return len(pdu).to_bytes(4, "big") + pdu


def _kind(pdu: bytes) -> tuple[PduKind, int] | None:
    try:
        return e2ap.peek(pdu)
    except E2DecodeError:
        return None


def _damaged(pdu: bytes, rng: random.Random) -> bytes:
    damaged = bytearray(pdu)
    for _ in range(rng.randint(1, 8)):
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def _report_ahead(pdu: bytes) -> list[bytes]:
    """The same report under a number far ahead."""
    if _kind(pdu) != REPORT:
        return []
    indication = e2ap.decode_indication(pdu)
    if indication.sn is None:
        return []
    return [e2ap.encode_indication(indication._replace(sn=(indication.sn + AHEAD) % 65536))]


def _refusal(pdu: bytes) -> list[bytes]:
    """A refusal of a newer epoch's, in front of the acknowledgement of the same control."""
    if _kind(pdu) != (PduKind.SUCCESSFUL, Procedure.RIC_CONTROL):
        return []
    answer = e2ap.decode_control_acknowledge(pdu)
    failure = e2ap.ControlFailure(
        answer.request_id,
        answer.function_id,
        Cause("ricRequest", "control-failed-to-execute"),
        answer.call_process_id,
        encode_outcome(Outcome(OutcomeCode.STALE_EPOCH, "forged")),
    )
    return [e2ap.encode_control_failure(failure)]


def _end(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()

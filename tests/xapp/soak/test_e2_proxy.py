"""What the proxy does to E2: over real sockets, each way of tampering by what comes out."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from xapp.e2.dcm import messages as dcm
from xapp.e2.dcm.control import OutcomeCode, decode_outcome
from xapp.e2.e2ap import hot_messages as e2ap
from xapp.lab.e2_link.e2_wire import LengthPrefixReader
from xapp.soak.e2_proxy import AHEAD, FLOOD_PDUS, E2Proxy, Tampering

REQUEST = e2ap.RicRequestId(1, 2)
TIMEOUT_S = 60.0


def report(sn: int) -> bytes:
    kind = e2ap.IndicationType.REPORT
    return e2ap.encode_indication(e2ap.Indication(REQUEST, dcm.DCM_FUNCTION_ID, 0, kind, b"h", b"m", sn=sn))


ACK = e2ap.encode_control_acknowledge(e2ap.ControlAcknowledge(REQUEST, 5, b"\x07"))
CONTROL = e2ap.encode_control_request(e2ap.ControlRequest(REQUEST, 5, b"h", b"m"))


class Ends:
    """A node and an E2 termination with the proxy between them."""

    def __init__(self) -> None:
        self.seen: list[tuple[bool, bytes]] = []
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(TIMEOUT_S)
            self.proxy = E2Proxy(
                listener.getsockname()[1], random.Random(1), lambda up, pdu: self.seen.append((up, pdu))
            )
            self.node = socket.create_connection(("127.0.0.1", self.proxy.port), TIMEOUT_S)
            self.term, _ = listener.accept()
        self.term.settimeout(TIMEOUT_S)

    def up(self, *pdus: bytes, expect: int) -> list[bytes]:
        """Send from the node; what arrives, so many."""
        return self._through(self.node, self.term, pdus, expect)

    def down(self, *pdus: bytes, expect: int) -> list[bytes]:
        return self._through(self.term, self.node, pdus, expect)

    @staticmethod
    def _through(here: socket.socket, there: socket.socket, pdus: tuple[bytes, ...], expect: int) -> list[bytes]:
        for pdu in pdus:
            here.sendall(len(pdu).to_bytes(4, "big") + pdu)
        reader, arrived = LengthPrefixReader(), list[bytes]()
        while len(arrived) < expect:
            arrived += reader.feed(there.recv(1 << 16))
        return arrived

    def close(self) -> None:
        for sock in (self.node, self.term):
            sock.close()
        self.proxy.close()


@pytest.fixture
def ends() -> Iterator[Ends]:
    with closing(Ends()) as made:
        yield made


def test_without_tampering_all_passes_and_the_judge_sees_it(ends: Ends) -> None:
    assert ends.up(report(1), ACK, expect=2) == [report(1), ACK]
    assert ends.down(CONTROL, expect=1) == [CONTROL]
    assert ends.seen == [(True, report(1)), (True, ACK), (False, CONTROL)] and ends.proxy.tampered == 0


def test_duplicates_floods_and_reordered_reports(ends: Ends) -> None:
    ends.proxy.tampering = Tampering.DUPLICATE
    assert ends.up(ACK, expect=2) == [ACK, ACK]
    ends.proxy.tampering = Tampering.FLOOD
    assert ends.up(report(1), expect=FLOOD_PDUS) == [report(1)] * FLOOD_PDUS
    ends.proxy.tampering = Tampering.REORDER
    assert ends.up(report(1), report(2), expect=2) == [report(2), report(1)]
    assert ends.down(CONTROL, expect=1) == [CONTROL], "a control is never made up or damaged"
    assert len(ends.seen) == 5, "the judge sees what was sent, not what became of it"


def test_what_is_dropped_or_damaged(ends: Ends) -> None:
    ends.proxy.tampering = Tampering.CORRUPT
    (damaged,) = ends.up(report(1), expect=1)
    assert damaged != report(1) and len(damaged) == len(report(1))
    ends.proxy.tampering = Tampering.DROP
    for sn in range(40):
        ends.node.sendall(len(report(sn)).to_bytes(4, "big") + report(sn))
    arrived = ends.up(b"\xff", expect=1)  # none of ours: it always passes, and comes last
    while arrived[-1] != b"\xff":
        arrived += ends.up(expect=1)
    assert 1 < len(arrived) < 40 and ends.proxy.tampered == 41


def test_forgeries(ends: Ends) -> None:
    ends.proxy.tampering = Tampering.FORGED_REPORT
    true, forged = ends.up(report(65_535), expect=2)
    assert true == report(65_535) and e2ap.decode_indication(forged).sn == AHEAD - 1
    ends.proxy.tampering = Tampering.FORGED_REFUSAL
    refusal, true = ends.up(ACK, expect=2)
    failure = e2ap.decode_control_failure(refusal)
    assert true == ACK and failure.call_process_id == b"\x07"
    assert failure.outcome is not None and decode_outcome(failure.outcome).code is OutcomeCode.STALE_EPOCH

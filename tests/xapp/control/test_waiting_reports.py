"""Reports that wait together, good and bad ones, against a plain rule: one gives way unread where a good one of its
subscription comes after it in the batch, and everything else is handled as if it had come alone.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from enum import Enum
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from waiting import wait_for

from xapp.bench.decision_path import Sent
from xapp.control.cell_link import CellLink, Report, ReportSubscription
from xapp.control.cell_tracker import CellTracker
from xapp.control.mailbox import Mailbox
from xapp.control.observer import Observer
from xapp.control.receiver import Receiver
from xapp.control.sender import ControlSender
from xapp.e2.dcm import messages as dcm
from xapp.e2.e2ap import hot_messages as e2ap
from xapp.e2.kpm.report_writer import encode_report
from xapp.e2.ue_id.ue_id import GnbDuUeId
from xapp.monitoring.metrics import Metrics
from xapp.rmr.transport import RIC_CONTROL_ACK, RIC_INDICATION, RmrMessage

NODES = ("gnb_1", "gnb_2")
NCI = "00f110000000011"
MEASURED = ("DRB.UEThpUl",)
FIRST_SN = 100
UNKNOWN_INSTANCE = 99


class Feed(NamedTuple):
    """A subscription of a node's only cell."""

    node: str
    kind: str
    instance: int

    @property
    def cell(self) -> str:
        return f"{self.node}/{NCI}"


FEEDS = tuple(
    Feed(node, kind, 10 * number + place)
    for number, node in enumerate(NODES)
    for place, kind in enumerate(("dcm", "kpm"))
)


class Fault(Enum):
    NONE = "none"
    LATE = "late"
    """A number that its cell has had."""
    NO_PDU = "no_pdu"
    NO_REPORT = "no_report"
    """The PDU is whole, what it carries is none."""
    WRONG_CELL = "wrong_cell"
    OTHER_HEADER = "other_header"
    """RMR's header names another subscription than the report."""
    UNKNOWN = "unknown"
    """RMR's header is right, the report is of a subscription that nobody has."""
    NO_HEADER = "no_header"
    """RMR's header names no subscription."""
    ANSWER = "answer"
    """No report at all."""


def report(feed: Feed, sn: int, fault: Fault = Fault.NONE) -> RmrMessage:
    if feed.kind == "dcm":
        nci = "00f110000000022" if fault is Fault.WRONG_CELL else NCI
        header = dcm.encode_indication_header(dcm.IndicationHeader(nci, sn, 0))
        content = dcm.encode_indication(dcm.Indication((1, 2), 1, sn, 4))
    else:
        header, ues = b"\0", [GnbDuUeId(1), GnbDuUeId(2)]
        content = encode_report(ues, MEASURED, [[1.0], [float(sn % 50)]], 100, reals=())
    if fault is Fault.NO_REPORT:
        content = content[:-1] + b"\xff\xff"
    instance = UNKNOWN_INSTANCE if fault is Fault.UNKNOWN else feed.instance
    number = FIRST_SN - 7 if fault is Fault.LATE else sn
    pdu = e2ap.encode_indication(
        e2ap.Indication(e2ap.RicRequestId(123, instance), 5, 0, e2ap.IndicationType.REPORT, header, content, sn=number)
    )
    if fault is Fault.NO_PDU:
        pdu = pdu[: len(pdu) // 2]
    if fault is Fault.ANSWER:
        answer = e2ap.ControlAcknowledge(e2ap.RicRequestId(123, feed.instance), 5, b"x", None)
        return RmrMessage(
            RIC_CONTROL_ACK, e2ap.encode_control_acknowledge(answer), sub_id=feed.instance, meid=feed.node
        )
    sub_id = {Fault.OTHER_HEADER: feed.instance + 1, Fault.NO_HEADER: -1}.get(fault, feed.instance)
    return RmrMessage(RIC_INDICATION, pdu, sub_id=sub_id, meid=feed.node)


class Inbox(Sent):
    """Brings what a test has put there."""

    def __init__(self) -> None:
        super().__init__()
        self.inbox: deque[RmrMessage] = deque()

    @property
    def waiting(self) -> int:
        return len(self.inbox)

    def receive(self, timeout_s: float) -> RmrMessage | None:
        return self.inbox.popleft() if self.inbox else None


class Heard(Observer):
    """The messages that were handled, in order."""

    def __init__(self) -> None:
        self.messages: list[RmrMessage] = []

    def received(self, message: RmrMessage) -> None:
        self.messages.append(message)


class Receiving:
    """A receiver with four feeds of two cells, each of which has had its first report."""

    def __init__(self) -> None:
        self.inbox, self.heard, self.metrics = Inbox(), Heard(), Metrics()
        self.mailbox: Mailbox[Report] = Mailbox(0.0)
        sender = ControlSender(self.inbox, self.metrics, instance_epoch=1, lease_periods=2)
        self.receiver = Receiver(self.inbox, self.mailbox, sender, self.metrics, observer=self.heard)
        self.links = {}
        for node in NODES:
            cell = f"{node}/{NCI}"
            tracker = CellTracker(cell, num_rbgs=6, report_period_ms=100, has_kpm=True, has_dcm=True)
            self.links[cell] = CellLink(tracker, None)
        for feed in FEEDS:
            subscription = ReportSubscription(feed.cell, feed.kind, MEASURED if feed.kind == "kpm" else ())
            self.receiver.attach(feed.instance, subscription, self.links[feed.cell])
            self.receiver.handle(report(feed, FIRST_SN))

    def together(self, messages: Sequence[RmrMessage]) -> None:
        """All of them wait before the receiver looks."""
        self.inbox.inbox.extend(messages)
        self.receiver.start()
        wait_for(lambda: not self.inbox.inbox)
        self.receiver.close()  # waits for the thread, which ends when what it has taken is handled

    def result(self) -> dict[str, Any]:
        """All that is left of what was handled."""
        counted = self.metrics.summary()
        counted["dropped"].pop("report_too_old", None)
        newest = {cell: link.newest for cell, link in self.links.items()}
        return {
            "order": self.heard.messages,
            "counted": {name: counted[name] for name in ("dropped", "indications_received", "decode_errors")},
            "answers": self.metrics["answers_unmatched"],
            "resynchronised": self.metrics["report_numbers_resynchronised"],
            "numbers": {cell: link.tracker.last_dcm_sn for cell, link in self.links.items()},
            "states": {cell: repr(newest.state) for cell, newest in newest.items() if newest is not None},
            "counts": {cell: newest.number for cell, newest in newest.items() if newest is not None},
        }


def batch_of(kinds: Sequence[tuple[int, Fault]]) -> list[RmrMessage]:
    """Numbers go up by one from message to message."""
    return [report(FEEDS[feed], FIRST_SN + 1 + place, fault) for place, (feed, fault) in enumerate(kinds)]


def named_by(feed: Feed, fault: Fault) -> tuple[str, int] | None:
    """The subscription that a report's RMR header names."""
    if fault in (Fault.NO_HEADER, Fault.ANSWER):
        return None
    return feed.node, feed.instance + (fault is Fault.OTHER_HEADER)


def is_good(feed: Feed, fault: Fault) -> bool:
    """KPM reports do not say which cell they are about."""
    return fault is Fault.NONE or (fault is Fault.WRONG_CELL and feed.kind == "kpm")


def gives_way(kinds: Sequence[tuple[int, Fault]], place: int) -> bool:
    """The rule."""
    (feed, fault), *later = ((FEEDS[feed], fault) for feed, fault in kinds[place:])
    named = named_by(feed, fault)
    return named is not None and any(named_by(*other) == named and is_good(*other) for other in later)


@given(st.lists(st.tuples(st.integers(0, len(FEEDS) - 1), st.sampled_from(Fault)), min_size=2, max_size=12))
def test_only_a_good_report_displaces_those_before_it(kinds: list[tuple[int, Fault]]) -> None:
    together, alone = Receiving(), Receiving()
    messages = batch_of(kinds)
    together.together(messages)
    displaced = [place for place in range(len(messages)) if gives_way(kinds, place)]
    for place, message in enumerate(messages):
        if place not in displaced:
            alone.receiver.handle(message)
    assert together.metrics.summary()["dropped"].get("report_too_old", 0) == len(displaced)
    assert together.result() == alone.result()


@pytest.mark.parametrize("fault", [Fault.NO_PDU, Fault.NO_REPORT, Fault.WRONG_CELL, Fault.LATE, Fault.UNKNOWN])
def test_a_bad_report_after_a_good_one_does_not_displace_it(fault: Fault) -> None:
    receiving = Receiving()
    receiving.together(batch_of([(0, Fault.NONE), (0, Fault.NONE), (0, fault), (1, Fault.NONE)]))
    assert receiving.links[FEEDS[0].cell].tracker.last_dcm_sn == FIRST_SN + 2
    dropped = receiving.metrics.summary()["dropped"]
    assert dropped.pop("report_too_old") == 1, "the first, by the second"
    assert receiving.metrics["decode_errors"] + sum(dropped.values()) == 1, "the bad one"


def test_an_old_report_gives_way_to_others_and_not_to_what_cannot_be_read() -> None:
    receiving = Receiving()
    receiving.receiver.old_after_s = 0.05
    long_ago_ns = time.perf_counter_ns() - 10**9
    old, broken, lone = batch_of([(0, Fault.NONE), (0, Fault.NO_PDU), (3, Fault.NONE)])
    other = report(FEEDS[2], FIRST_SN + 4)
    receiving.together([*(replace(each, received_ns=long_ago_ns) for each in (old, broken, lone)), other])
    assert receiving.links[FEEDS[0].cell].tracker.last_dcm_sn == FIRST_SN + 1
    assert receiving.metrics.summary()["dropped"] == {"report_too_old": 2}, "the broken one, and one that waits alone"


def test_what_was_read_for_one_subscription_is_read_again_for_another() -> None:
    """A report that comes first changes how the next are read: the dialect that a node's first one tells."""
    receiving = Receiving()
    feed = FEEDS[1]
    untold = ReportSubscription(feed.cell, "kpm", MEASURED, None)
    receiving.receiver.detach(feed.instance)
    receiving.receiver.attach(feed.instance, untold, receiving.links[feed.cell])
    other = replace(report(feed, FIRST_SN + 1), sub_id=-1)
    found: list[str] = []
    receiving.receiver.on_dialect = lambda node, dialect: found.append(node)
    receiving.together([report(feed, FIRST_SN + 2), other, report(feed, FIRST_SN + 3)])
    assert found == [feed.node], "told once"
    assert receiving.metrics.summary()["dropped"] == {"report_too_old": 1}

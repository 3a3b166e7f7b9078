"""A report's octets, read as its subscription says, and which reports of a batch another displaces. Pure: nothing is
counted, and no tracker changes; the receiver does that with what it finds here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

from xapp.control.cell_link import CellLink, ReportSubscription
from xapp.e2.dcm import messages as dcm
from xapp.e2.dialect import Dialect
from xapp.e2.e2ap.hot_messages import Indication
from xapp.e2.kpm.report_reader import KpmReport, decode_report, decode_report_of_any_form
from xapp.rmr.transport import RIC_INDICATION, RmrMessage


class ReadReport(NamedTuple):
    """A report, and the subscription under which it was read."""

    indication: Indication
    subscription: ReportSubscription
    content: tuple[dcm.IndicationHeader, dcm.Indication] | KpmReport
    dialect: Dialect | None = None
    """How the node writes its reports, where this one has told it."""

    def is_newer(self, link: CellLink) -> bool:
        """Whether the tracker of its cell would surely take it."""
        return link.tracker.is_newer(self.subscription.kind, self.indication.sn)


def read_report(message: RmrMessage, indication: Indication, subscription: ReportSubscription) -> ReadReport | None:
    """None = it speaks of another cell, or comes from another node, than its subscription. Raises E2DecodeError."""
    if subscription.kind == "dcm":
        header = dcm.decode_indication_header(indication.header)
        if subscription.cell != f"{message.meid}/{header.cell}":
            return None
        return ReadReport(indication, subscription, (header, dcm.decode_indication(indication.message)))
    if message.meid != subscription.node:
        return None
    if subscription.dialect is not None:
        kpm = decode_report(indication.message, subscription.measurements, subscription.dialect)
        return ReadReport(indication, subscription, kpm)
    kpm, dialect = decode_report_of_any_form(indication.message, subscription.measurements)
    return ReadReport(indication, subscription, kpm, dialect)


class WaitingReports:
    """Messages that wait together. Of a subscription's reports one displaces those before it, which are a period old,
    whatever the clock says: it knows nothing of the time that they spent in the kernel. But only one that can be read
    and is newer than what its cell has: what was forged or garbled displaces nothing.
    """

    def __init__(self, messages: Sequence[RmrMessage], read_newer: Callable[[RmrMessage], ReadReport | None]) -> None:
        """read_newer: a report as it can be read now, None = it is refused, or no newer than what its cell has."""
        self._messages = messages
        self._read_newer = read_newer
        self._places: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
        for place, message in enumerate(messages):
            if message.mtype == RIC_INDICATION and message.sub_id >= 0:
                self._places[_subscription(message)].append(place)
        self._newest: dict[tuple[str, int], tuple[int, ReadReport | None]] = {}

    def is_displaced(self, place: int) -> bool:
        """Whether a later one of the same subscription stands for the message in this place."""
        return place < self._newest_beside(place)[0]

    def reading(self, place: int) -> ReadReport | None:
        """What this message was found to say while the newest was looked for; None = it was not read, or in vain."""
        newest, report = self._newest_beside(place)
        return report if newest == place else None

    def _newest_beside(self, place: int) -> tuple[int, ReadReport | None]:
        """The place of the newest good report of a message's subscription, which may be before it; -1 = there is none.
        It is looked for, from the last one on, when the first is asked about.
        """
        key = _subscription(self._messages[place])
        places = self._places.get(key, ())
        if len(places) < 2 or self._messages[place].mtype != RIC_INDICATION:
            return -1, None
        if key not in self._newest:
            self._newest[key] = -1, None
            for later in reversed(places):
                report = self._read_newer(self._messages[later])
                if report is not None:
                    self._newest[key] = later, report
                    break
        return self._newest[key]


def _subscription(message: RmrMessage) -> tuple[str, int]:
    """Whose report a message is, as RMR's header says."""
    return message.meid, message.sub_id

"""The receive side of the loop. A report comes in as an RMR message, its subscription says which cell it is about, the
cell's tracker takes it, and the state that the tracker then holds is offered to the mailbox, where the pacer finds it.

Answers to controls come in by the same thread and go to the sender. Whatever arrives, the thread lives on.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import inf

from xapp.control.cell_link import CellLink, Report, ReportSubscription, node_of
from xapp.control.cell_tracker import CellTracker
from xapp.control.mailbox import Mailbox
from xapp.control.observer import Observer
from xapp.control.report_reading import ReadReport, WaitingReports, read_report
from xapp.control.sender import ControlSender
from xapp.control.ue_owners import UeOwners
from xapp.e2.asn1.errors import E2DecodeError
from xapp.e2.dialect import Dialect
from xapp.e2.e2ap import hot_messages as e2ap
from xapp.e2.kpm.report_reader import NO_UE, KpmReport
from xapp.monitoring.metrics import Metrics
from xapp.rmr.transport import RIC_CONTROL_ACK, RIC_CONTROL_FAILURE, RIC_INDICATION, RmrMessage, Transport

log = logging.getLogger(__name__)


MOST_AT_ONCE = 1024
"""Messages that are looked at together: as many as RMR's queue holds."""


class Receiver:
    """The thread that receives, and what it knows of every subscription. `handle` and `on_message` belong to that
    thread, and `register` comes before its start; any thread may call the rest.
    """

    def __init__(
        self,
        transport: Transport,
        mailbox: Mailbox[Report],
        sender: ControlSender,
        metrics: Metrics,
        *,
        observer: Observer | None = None,
    ) -> None:
        self._transport = transport
        self._mailbox = mailbox
        self._sender = sender
        self._metrics = metrics
        self._observer = observer or Observer()
        self._reports = 0
        self._lock = threading.Lock()
        self._subscriptions_by_instance: dict[int, ReportSubscription] = {}
        self._links: dict[str, CellLink] = {}
        self._last_reported_s: dict[int, float] = {}
        self._owners: dict[str, UeOwners] = {}
        """Which UE counts for which cell, by node; only nodes of which several cells are attached have an entry."""
        self._have_reported: set[int] = set()
        self._reported_s: dict[tuple[str, str], float] = {}
        """The time (time.monotonic) of the newest report of a cell, by kind. It outlives the subscription."""
        self._handlers: dict[int, Callable[[RmrMessage], None]] = {
            RIC_INDICATION: self._on_indication,
            RIC_CONTROL_ACK: self._on_acknowledge,
            RIC_CONTROL_FAILURE: self._on_failure,
        }
        self.on_dialect: Callable[[str, Dialect], None] = lambda node, dialect: None
        """Called in the receive thread with the dialect of a node's first readable report, before anybody decides about
        that report. It must not block."""
        self.old_after_s = inf
        """Less than a period: an older report gives way unread where messages wait behind it."""
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="receive", daemon=True)

    def register(self, mtype: int, handler: Callable[[RmrMessage], None]) -> None:
        """Messages of this type go to `handler` from now on. It runs in the receive thread, so it must not block, and
        hands to the task runner what may. It raises E2DecodeError for bytes that are not what they should be.
        """
        if mtype in self._handlers:
            raise ValueError(f"message type {mtype} has a handler already")
        self._handlers[mtype] = handler

    @property
    def message_types(self) -> frozenset[int]:
        """The message types that have a handler. The descriptor must name them, or they are not routed here."""
        return frozenset(self._handlers)

    def start(self) -> None:
        """Begin to receive. Every handler has been registered by then."""
        self._thread.start()

    def attach(self, instance_id: int, subscription: ReportSubscription, link: CellLink) -> None:
        """Reports with this E2EventInstanceId are about that cell from now on."""
        with self._lock:
            self._links[subscription.cell] = link
            self._subscriptions_by_instance[instance_id] = subscription
            self._last_reported_s[instance_id] = time.monotonic()
            node = node_of(subscription.cell)
            if (
                node not in self._owners
                and len({f.cell for f in self._subscriptions_by_instance.values() if node_of(f.cell) == node}) > 1
            ):
                self._owners[node] = UeOwners()
            link.tracker.restart(subscription.kind)
            self._observer.attached(instance_id, subscription, link)
            self._mailbox.expect(frozenset(f.cell for f in self._subscriptions_by_instance.values()))

    def _run(self) -> None:
        while not self._closed.is_set():
            message = self._transport.receive(0.2)
            if message is not None and self._transport.waiting:
                self._handle_newest([message, *self._all_that_wait()])
            elif message is not None:
                self.handle(message)

    def _all_that_wait(self) -> Iterator[RmrMessage]:
        for _ in range(MOST_AT_ONCE):
            message = self._transport.receive(0.0) if self._transport.waiting else None
            if message is None:
                return
            yield message

    def _handle_newest(self, messages: list[RmrMessage]) -> None:
        """In their order; of a subscription's reports those that a later one displaces are not read."""
        waiting, last = WaitingReports(messages, self._read_newer), len(messages) - 1
        for place, message in enumerate(messages):
            read = waiting.reading(place)
            gives_way = read is None and place < last and self._is_old(message)
            if gives_way or waiting.is_displaced(place):
                self._metrics.drop("report_too_old")
            else:
                self.handle(message, read)

    def _read_newer(self, message: RmrMessage) -> ReadReport | None:
        """A report of the subscription that RMR's header names, if it would be taken now."""
        with self._lock:
            subscription = self._subscriptions_by_instance.get(message.sub_id)
            link = self._links.get(subscription.cell) if subscription is not None else None
        if subscription is None or link is None:
            return None
        try:
            indication = e2ap.decode_indication(message.payload)
            if indication.request_id.instance != message.sub_id:
                return None
            report = read_report(message, indication, subscription)
        except Exception:  # whatever is wrong with it is counted when it is handled
            return None
        return report if report is not None and report.is_newer(link) else None

    def _is_old(self, message: RmrMessage) -> bool:
        """A report that waited so long is as good as replaced, as soon as anything waits behind it; unless others of
        its subscription do, of which none can be read.
        """
        waited_ns = time.perf_counter_ns() - message.received_ns if message.received_ns else 0
        return message.mtype == RIC_INDICATION and waited_ns > self.old_after_s * 1e9

    def handle(self, message: RmrMessage, read: ReadReport | None = None) -> None:
        """Handle one message, whatever it is. What is wrong with it is counted, and nothing is raised. read: what it
        says, where that is known.
        """
        try:
            if read is None:
                self.on_message(message)
            else:
                self._on_indication(message, read)
        except E2DecodeError as error:
            self._metrics.count("decode_errors")
            log.warning("undecodable message type %d from %r: %s", message.mtype, message.meid, error)
        except Exception:  # a bug in a handler must cost one message, not the loop
            self._metrics.drop("handler_error")
            log.exception("handler failed on message type %d", message.mtype)

    def on_message(self, message: RmrMessage) -> None:
        """Hand one message to its type's handler. Raises E2DecodeError for bytes that are not what they should be."""
        handler = self._handlers.get(message.mtype)
        if handler is None:
            self._metrics.drop("unknown_message_type")
            return
        if message.mtype != RIC_INDICATION:
            self._observer.received(message)  # `_on_indication` does it for indications
        handler(message)

    def _on_indication(self, message: RmrMessage, read: ReadReport | None = None) -> None:
        received_ns = message.received_ns or time.perf_counter_ns()
        self._metrics.count("indications_received")
        try:
            indication = e2ap.decode_indication(message.payload) if read is None else read.indication
        except E2DecodeError:
            self._observer.received(message)
            raise
        instance_id = indication.request_id.instance
        with self._lock:
            self._observer.received(message)  # locked: a recording has it where it came between attach and detach
            subscription = self._subscriptions_by_instance.get(instance_id)
            link = self._links.get(subscription.cell) if subscription is not None else None
        if subscription is None or link is None:
            self._metrics.drop("unknown_subscription")
            return
        if read is None or read.subscription is not subscription:
            read = read_report(message, indication, subscription)
            if read is None:
                self._metrics.drop("wrong_cell")
                return
        if read.dialect is not None:
            self._learn(subscription.node, read.dialect)
        tracker = link.tracker
        resynchronised = tracker.resynchronised
        opens_period = subscription.kind == "dcm" or not tracker.has_dcm
        if isinstance(read.content, KpmReport):
            kpm = read.content
            taken = tracker.on_kpm(indication.sn, kpm, self._counted_elsewhere(subscription.cell, kpm, tracker))
        else:
            taken = tracker.on_dcm(indication.sn, *read.content)
        if not taken:
            self._metrics.drop("late_or_duplicate_report")
            return
        if tracker.resynchronised > resynchronised:
            self._metrics.count("report_numbers_resynchronised")
            log.warning("%s: reports that had seemed late count on: one before had a wrong number", subscription.cell)
        if tracker.twins and not link.had_twins:
            link.had_twins = True  # said once: they may come and go with every report
            log.warning("%s: UEs that cannot be told apart by their ids are never limited", subscription.cell)
        now_s = time.monotonic()
        with self._lock:
            if instance_id in self._last_reported_s:
                self._last_reported_s[instance_id] = self._reported_s[subscription.cell, subscription.kind] = now_s
                self._have_reported.add(instance_id)
        if opens_period:
            link.first_frame_ns = received_ns
            link.last_report_s = now_s
        make_state = tracker.state_maker()
        if make_state is None:
            return
        self._reports += 1
        report = link.newest = Report(
            link,
            make_state,
            tracker.last_dcm_sn or 0,
            link.first_frame_ns,
            tracker.lead_slots,
            self._reports,
            tracker.kpm,
            None if tracker.has_dcm else tracker.measurements,
            tracker.service,
            tracker.applied,
        )
        # A KPM report of a cell with DCM indications only completes the period that the indication opened.
        self._mailbox.offer(
            subscription.cell,
            report,
            complete=tracker.period_complete,
            news=opens_period,
            age_s=(time.perf_counter_ns() - received_ns) / 1e9,
        )

    def _learn(self, node: str, dialect: Dialect) -> None:
        """A node's first readable report tells the dialect of all that follow."""
        with self._lock:
            for instance_id, other in self._subscriptions_by_instance.items():
                if other.node == node and other.dialect is None:
                    self._subscriptions_by_instance[instance_id] = replace(other, dialect=dialect)
        self.on_dialect(node, dialect)

    def _counted_elsewhere(self, cell: str, kpm: KpmReport, tracker: CellTracker) -> frozenset[int]:
        """The UEs of the report that count for another cell of the node. Where a cell sends DCM indications these say
        whom it serves, and there are none.
        """
        owners = self._owners.get(node_of(cell))
        if owners is None or tracker.has_dcm:
            return frozenset()
        with self._lock:
            was_shared = bool(owners.shared())
            elsewhere = owners.report(cell, (ue for ue in kpm.ue_keys if ue != NO_UE))
            is_shared = bool(owners.shared())
        if elsewhere:
            self._metrics.count("ue_reports_elsewhere", len(elsewhere))
        if is_shared and not was_shared:
            log.warning("%s reports UEs in several cells: each counts for the first that reported it", node_of(cell))
        return elsewhere

    def _on_acknowledge(self, message: RmrMessage) -> None:
        self._sender.on_acknowledge(e2ap.decode_control_acknowledge(message.payload), message.meid)

    def _on_failure(self, message: RmrMessage) -> None:
        self._sender.on_failure(e2ap.decode_control_failure(message.payload), message.meid)

    def links(self) -> list[CellLink]:
        """The cells attached now."""
        with self._lock:
            return list(self._links.values())

    def link_of(self, cell: str) -> CellLink | None:
        """A cell's; None = it is not attached."""
        return self._links.get(cell)

    def cells_beside(self, cell: str) -> dict[str, frozenset[int]]:
        """The other cells that report UEs of this one, and which UEs."""
        owners = self._owners.get(node_of(cell))
        if owners is None:
            return {}
        with self._lock:
            shared = owners.shared()
        beside: dict[str, set[int]] = {}
        for ue, (own, *others) in shared.items():
            for other in others if own == cell else ():
                beside.setdefault(other, set()).add(ue)
        return {other: frozenset(ues) for other, ues in beside.items()}

    def ues_in_several_cells(self) -> dict[str, dict[int, tuple[str, ...]]]:
        """The UEs that several cells report, by node; of the cells of each UE its own comes first."""
        with self._lock:
            found = {node: owners.shared() for node, owners in self._owners.items()}
        return {node: ues for node, ues in found.items() if ues}

    def has_reported(self, instance_id: int) -> bool:
        """Whether the subscription has brought a report since it was attached."""
        with self._lock:
            return instance_id in self._have_reported

    def last_reported_s(self, instance_id: int) -> float:
        """When (time.monotonic) the subscription's newest report came; before the first, when it was attached. 0 stands
        for a subscription that is not attached.
        """
        with self._lock:
            return self._last_reported_s.get(instance_id, 0.0)

    def silent_for_s(self, instance_id: int) -> float:
        """How long ago the subscription's newest report came; before the first, how long ago it was attached. 0 stands
        for a subscription that is not attached.
        """
        with self._lock:
            last_reported_s = self._last_reported_s.get(instance_id)
        return 0.0 if last_reported_s is None else time.monotonic() - last_reported_s

    def reported_s(self, cell: str, kind: str) -> float:
        """When (time.monotonic) the cell's newest report of this kind came, by whichever subscription; 0 = there was
        none.
        """
        with self._lock:
            return self._reported_s.get((cell, kind), 0.0)

    def detach(self, instance_id: int) -> None:
        """Forget a subscription. A cell that has no other is forgotten with it."""
        with self._lock:
            self._observer.detached(instance_id)
            subscription = self._subscriptions_by_instance.pop(instance_id, None)
            self._last_reported_s.pop(instance_id, None)
            self._have_reported.discard(instance_id)
            cells = frozenset(f.cell for f in self._subscriptions_by_instance.values())
            if subscription is not None and subscription.cell not in cells:
                self._links.pop(subscription.cell, None)
                node = node_of(subscription.cell)
                if node in self._owners:
                    self._owners[node].forget_cell(subscription.cell)
            self._mailbox.expect(cells)

    def close(self) -> None:
        """Receive nothing more."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join(timeout=1.0)

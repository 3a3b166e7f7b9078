"""The cells under control: from E2 nodes to their subscriptions, from active subscriptions to the loop's links."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Iterable
from dataclasses import replace

from xapp.config.model import Controls
from xapp.control.cell_link import CellLink, ControlTarget, Feed
from xapp.control.cell_tracker import CellTracker
from xapp.control.receiver import Intake
from xapp.control.sender import ControlSender
from xapp.e2.dialect import Dialect
from xapp.nodes.applied_check import Effect, effect_of
from xapp.nodes.report_check import report_problems
from xapp.nodes.subscription_plan import NodePlan, Wanted, cell_key, plan_node
from xapp.quotas.quota_store import QuotaKeeper
from xapp.quotas.rc_encoder import RcEncoder
from xapp.ric.nodes import E2Node, NodeChange, NodeEvent
from xapp.ric.sdl import SharedStore
from xapp.ric.subscription_body import Action, ClientEndpoint, SubscriptionKey, SubscriptionRequest
from xapp.ric.subscription_state import SubscriptionState, SubscriptionStatus
from xapp.ric.subscriptions import SubscriptionClient

log = logging.getLogger(__name__)

SILENT_PERIODS = 20
"""An active subscription without a report for so many periods (and SILENT_S) is made anew: E2 may break unseen."""
SILENT_S = 5.0


class Cells:
    """Plans each node, keeps its subscriptions and attaches the cells of those that are active to the intake.

    `on_node` may be called by any thread; `run_due` belongs to one (housekeeping), and may block for HTTP and SDL.
    """

    def __init__(
        self,
        controls: Controls,
        intake: Intake,
        endpoint: ClientEndpoint,
        store: SharedStore,
        sender: ControlSender,
        keeper: QuotaKeeper,
        *,
        owner: str = "0",
    ) -> None:
        self._controls = controls
        self._intake = intake
        self._sender = sender
        self._keeper = keeper
        self.subscriptions = SubscriptionClient(
            controls.ric.submgr_url, endpoint, store=store, owner=owner, on_change=self._on_subscription
        )
        self._events: queue.SimpleQueue[NodeEvent] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._plans: dict[str, NodePlan] = {}
        self._wanted: dict[SubscriptionKey, Wanted] = {}
        self._wanted_since_s: dict[SubscriptionKey, float] = {}
        self._attached: dict[SubscriptionKey, int] = {}
        self._links: dict[str, CellLink] = {}
        self._encoders: dict[str, RcEncoder] = {}
        """Of nodes that take quotas."""
        self._nodes: dict[str, E2Node] = {}
        self._told: dict[str, Dialect] = {}
        """How nodes write KPM and RC, as their reports have told."""
        intake.on_dialect = self._on_dialect

    def on_node(self, event: NodeEvent) -> None:
        """A node came, went or changed; taken up by the next `run_due`."""
        self._events.put(event)

    def stand_back(self) -> None:
        """Another instance controls: subscriptions and quotas are its business."""
        self.subscriptions.stand_back()
        self._keeper.stand_back()

    def step_forward(self, nodes: Iterable[E2Node]) -> None:
        """This instance controls again: with each of these nodes it begins anew."""
        for node in nodes:
            self.on_node(NodeEvent(NodeChange.CHANGED, node))
        self.subscriptions.step_forward()

    def run_due(self) -> float:
        """Take up what nodes did, renew what fell silent, send what is due; seconds until the next time."""
        while not self._events.empty():
            self._take(self._events.get())
        self._renew_silent()
        self.subscriptions.run_due()
        return self.subscriptions.next_due_s()

    def problems(self) -> dict[str, list[dict[str, str]]]:
        """What each node lacks: names of faults and lines for a person."""
        with self._lock:
            return {name: [problem._asdict() for problem in plan.problems] for name, plan in self._plans.items()}

    def dialects(self) -> dict[str, str]:
        """How each node writes KPM and RC; "" = no report has told yet."""
        with self._lock:
            return {name: str(plan.dialect or self._told.get(name) or "") for name, plan in self._plans.items()}

    def report_problems(self) -> dict[str, list[dict[str, str]]]:
        """What each cell's reports lack: names of faults and lines for a person."""
        with self._lock:
            links = dict(self._links)
        return {cell: [problem._asdict() for problem in report_problems(link)] for cell, link in links.items()}

    def effects(self, epoch: int) -> dict[str, Effect]:
        """By cell: whether it does what this instance, of that epoch, told it."""
        with self._lock:
            links = dict(self._links)
        return {cell: effect_of(link, epoch) for cell, link in links.items()}

    def silence_s(self) -> dict[str, float]:
        """By cell that should report: how long it has not. From any thread."""
        now_s = time.monotonic()
        with self._lock:
            silent: dict[str, float] = {}
            for key, wanted in self._wanted.items():
                heard_s = max(self._wanted_since_s[key], self._intake.reported_s(wanted.cell_key, wanted.kind))
                seconds = 0.0 if self._has_nothing_to_say(key) else now_s - heard_s
                silent[wanted.cell_key] = max(silent.get(wanted.cell_key, 0.0), seconds)
            return silent

    def _on_dialect(self, node: str, dialect: Dialect) -> None:
        """A node's first readable report has told how it writes; from the receive thread, before anybody decides.

        What the node was asked in the other dialect it has misread, even if it took it: it is asked anew.
        """
        with self._lock:
            known, encoder = self._nodes.get(node), self._encoders.get(node)
            if known is None:
                return
            self._told[node] = dialect
            if encoder is not None:
                encoder.settle(replace(encoder.settings, dialect=dialect))
        log.info("E2 node %s writes E2SM in its %s form, as its first report tells", node, dialect.value)
        if dialect is not Dialect.STANDARD:
            self._events.put(NodeEvent(NodeChange.CHANGED, known))

    def _take(self, event: NodeEvent) -> None:
        node = event.node
        with self._lock:
            asks_anew = self._nodes.get(node.name) is node and event.change is NodeChange.CHANGED
            if not asks_anew:
                self._told.pop(node.name, None)
            self._nodes[node.name] = node
        if event.change is not NodeChange.CONNECTED:
            log.warning("E2 node %s %s", node.name, "is asked anew" if asks_anew else event.change.value)
            self._forget(node.name, lost=event.change is NodeChange.LOST)
        if event.change is NodeChange.LOST:
            return
        plan = plan_node(
            node,
            report_period_ms=self._controls.report_period_ms,
            measurements=self._controls.measurements,
            control=self._controls.control,
            settings=self._controls.node(node.name),
            told=self._told.get(node.name),
            slices=self._controls.a1.slices,
        )
        for problem in plan.problems:
            log.warning("%s", problem.text)
        log.info("E2 node %s: %d cells, %d subscriptions", node.name, len(plan.carriers), len(plan.wanted))
        encoder = None
        if plan.quota_function_id is not None:
            encoder = self._keeper.encoder(node.name, plan.quota_form, plan.dialect)
        with self._lock:
            self._plans[node.name] = plan
            if encoder is not None:
                self._encoders[node.name] = encoder
            for wanted in plan.wanted:
                key = SubscriptionKey(wanted.node, wanted.function_id, wanted.cell)
                self._wanted[key], self._wanted_since_s[key] = wanted, time.monotonic()
        for wanted in plan.wanted:
            key = SubscriptionKey(wanted.node, wanted.function_id, wanted.cell)
            self.subscriptions.want(
                SubscriptionRequest(key, wanted.event_trigger, (Action(0, wanted.action_definition),))
            )

    def _forget(self, node: str, *, lost: bool) -> None:
        """lost: its subscriptions went with it; else they are to be deleted."""
        self._sender.unwatch(node)
        with self._lock:
            keys = [key for key in self._wanted if key.node == node]
            for key in keys:
                del self._wanted[key]
                self._detach(key)
        if lost:
            self.subscriptions.forget_node(node)
            return
        for key in keys:
            self.subscriptions.drop(key)

    def _renew_silent(self) -> None:
        silent_s = max(SILENT_S, SILENT_PERIODS * self._controls.report_period_ms / 1e3)
        with self._lock:
            silent = [
                key
                for key, instance in self._attached.items()
                if self._intake.silent_for_s(instance) > silent_s and not self._has_nothing_to_say(key)
            ]
        for key in silent:
            self.subscriptions.resubscribe(key, f"no report for {silent_s:g} s")

    def _has_nothing_to_say(self, key: SubscriptionKey) -> bool:
        """A KPM report of each UE cannot say that there is none: the node sends nothing. Locked."""
        wanted, link = self._wanted.get(key), self._links.get(cell_key(key.node, key.cell))
        if wanted is None or link is None or wanted.kind != "kpm" or link.newest is None:
            return False
        return link.newest.state.num_ues == 0

    def _on_subscription(self, status: SubscriptionStatus) -> None:
        """Attach a cell's feed when its subscription is active, detach it when it is not."""
        with self._lock:
            active = status.state is SubscriptionState.ACTIVE
            if active and self._attached.get(status.key) == status.e2_instance_id:
                return  # told twice: the notification came before the 201
            self._detach(status.key)
            wanted = self._wanted.get(status.key)
            if not active or wanted is None:
                return
            link = self._link(wanted, status.e2_instance_id)
            link.last_report_s = time.monotonic()
            self._attached[status.key] = status.e2_instance_id
            dialect = wanted.dialect or self._told.get(wanted.node)
            feed = Feed(wanted.cell_key, wanted.kind, wanted.measurements, dialect)
            self._intake.attach(status.e2_instance_id, feed, link)

    def _link(self, wanted: Wanted, instance_id: int) -> CellLink:
        """The cell's link; its controls are answered to the DCM subscription's instance, or the only one. Locked."""
        plan = self._plans[wanted.node]
        carrier = plan.carriers[wanted.cell]
        link = self._links.get(wanted.cell_key)
        if link is None:
            kinds = {other.kind for other in plan.wanted if other.cell == wanted.cell}
            tracker = CellTracker(
                wanted.cell_key,
                num_rbgs=carrier.num_rbgs,
                report_period_ms=self._controls.report_period_ms,
                has_kpm="kpm" in kinds,
                has_dcm="dcm" in kinds,
            )
            link = self._links[wanted.cell_key] = CellLink(tracker, None)
        if wanted.kind == "dcm":
            link.target = ControlTarget(wanted.node, wanted.cell_key, wanted.function_id, instance_id, carrier)
        if plan.quota_function_id is not None:
            encoder = self._encoders[wanted.node]
            target = ControlTarget(wanted.node, wanted.cell_key, plan.quota_function_id, instance_id, carrier, encoder)
            if plan.control == "rc":
                link.target = target
            self._sender.watch(target)  # whatever the node is controlled by: an earlier instance's quotas go first
        return link

    def _detach(self, key: SubscriptionKey) -> None:
        """Locked."""
        instance_id = self._attached.pop(key, None)
        if instance_id is None:
            return
        self._intake.detach(instance_id)
        cell = cell_key(key.node, key.cell)
        if not any(cell_key(other.node, other.cell) == cell for other in self._attached):
            self._links.pop(cell, None)  # a cell that comes back starts with a fresh tracker

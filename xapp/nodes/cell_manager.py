"""The cells under control: from E2 nodes to their subscriptions, from active subscriptions to the loop's links."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Iterable, Mapping

from xapp.config.model import Controls, silent_after_s
from xapp.control.cell_link import CellLink, ControlTarget, ReportSubscription
from xapp.control.encoder import AppliedCheck, ControlEncoder
from xapp.control.receiver import Receiver
from xapp.control.sender import ControlSender
from xapp.control_kinds.control_kind import ControlKind
from xapp.e2.dialect import Dialect
from xapp.nodes.applied_check import check_applied
from xapp.nodes.gnb_parts import HARMLESS
from xapp.nodes.new_link import new_link
from xapp.nodes.node_problems import LATER, UNMATCHED_S, other_parts, problems_of, unmatched_entries
from xapp.nodes.refused_measurements import RefusedMeasurements
from xapp.nodes.report_check import report_problems
from xapp.nodes.silence import Renewals, Silence, UnknownToManager, evidence_of
from xapp.nodes.subscription_plan import NodePlan, Wanted, cell_key, plan_node
from xapp.ric.nodes import E2Node, NodeChange, NodeEvent
from xapp.ric.sdl import SharedStore
from xapp.ric.subscription_body import Action, ClientEndpoint, SubscriptionKey, SubscriptionRequest
from xapp.ric.subscription_state import SubscriptionOptions, SubscriptionState, SubscriptionStatus
from xapp.ric.subscriptions import SubscriptionClient

log = logging.getLogger(__name__)


class Cells:
    """Plans each node, keeps its subscriptions and attaches the cells of those that are active to the receiver.

    `on_node` may be called by any thread; `run_due` belongs to one (the task runner), and may block for HTTP and SDL.
    """

    def __init__(
        self,
        controls: Controls,
        receiver: Receiver,
        endpoint: ClientEndpoint,
        store: SharedStore,
        sender: ControlSender,
        kinds: Mapping[str, ControlKind],
        *,
        owner: str = "0",
        options: SubscriptionOptions | None = None,
    ) -> None:
        self._controls = controls
        self._receiver = receiver
        self._sender = sender
        self._kinds = kinds
        self.subscriptions = SubscriptionClient(
            controls.ric.submgr_url,
            endpoint,
            store=store,
            owner=owner,
            options=options or SubscriptionOptions(report_period_s=controls.report_period_ms / 1e3),
            on_change=self._on_subscription,
        )
        self._events: queue.SimpleQueue[NodeEvent] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._plans: dict[str, NodePlan] = {}
        self._wanted: dict[SubscriptionKey, Wanted] = {}
        self._wanted_since_s: dict[SubscriptionKey, float] = {}
        self._attached: dict[SubscriptionKey, int] = {}
        self._links: dict[str, CellLink] = {}
        self._encoders: dict[str, dict[str, ControlEncoder]] = {}
        """By node, for each kind of control that it offers."""
        self._nodes: dict[str, E2Node] = {}
        """Those that are connected."""
        self._known_dialects: dict[str, Dialect] = {}
        """How nodes write KPM and RC, as their reports show."""
        receiver.on_dialect = self._on_dialect
        self._silence: dict[SubscriptionKey, Silence] = {}
        """Of the subscriptions that are silent."""
        self._renewals: Renewals[SubscriptionKey] = Renewals()
        self._unknown: UnknownToManager[SubscriptionKey] = UnknownToManager(self.subscriptions.unknown_to_manager)
        self._refused = RefusedMeasurements()
        self._answers: queue.SimpleQueue[tuple[SubscriptionKey, tuple[str, ...], bool]] = queue.SimpleQueue()
        """How nodes answered KPM subscriptions: key, measurements, whether they took them."""
        self._seen, self._look_for_unmatched_at_s = set[str](), LATER
        self.about_slices = lambda: False

    def plans(self) -> dict[E2Node, NodePlan]:
        """Of the nodes that are connected. Any thread may ask."""
        with self._lock:
            return {node: self._plans[name] for name, node in self._nodes.items() if name in self._plans}

    def on_node(self, event: NodeEvent) -> None:
        """A node came, went or changed; taken up by the next `run_due`. Another release's business is not ours."""
        if not self._seen:
            self._look_for_unmatched_at_s = time.monotonic() + UNMATCHED_S
        self._seen.add(event.node.name)
        if self._controls.is_ours(event.node.name):
            self._events.put(event)

    def enter_standby(self) -> None:
        """Another instance controls: subscriptions and quotas are its business."""
        self.subscriptions.enter_standby()
        for kind in self._kinds.values():
            kind.enter_standby()

    def take_control(self, nodes: Iterable[E2Node]) -> None:
        """This instance controls again: with each of these nodes it begins anew."""
        for node in nodes:
            self.on_node(NodeEvent(NodeChange.CHANGED, node))
        self.subscriptions.take_control()

    def run_due(self) -> float:
        """Take up what nodes did, renew what fell silent, send what is due; seconds until the next time."""
        while not self._events.empty():
            self._take(self._events.get())
        while not self._answers.empty():
            self._on_answer(*self._answers.get())
        self._look_at_silence()
        self._warn_of_unmatched()
        self.subscriptions.run_due()
        return self.subscriptions.next_due_s()

    def problems(self) -> dict[str, list[dict[str, str]]]:
        """What each node lacks: names of faults and lines for a person."""
        with self._lock:
            others, shared = self._other_parts(), self._receiver.ues_in_several_cells()
            found = {
                name: problems_of(name, plan, name in others, self._refused.of(name), len(shared.get(name, ())))
                for name, plan in self._plans.items()
            }
        return {name: [problem._asdict() for problem in problems] for name, problems in found.items()}

    def roles(self) -> dict[str, str]:
        """Nodes that are not controlled, as they should be: why."""
        with self._lock:
            watched = [name for name in self._nodes if self._controls.control_of(name) == "none"]
            return {
                **dict.fromkeys(watched, "only watched (control: none)"),
                **{name: f"part of a gNB whose {part} is controlled" for name, part in self._other_parts().items()},
            }

    def should_report(self, node: str) -> bool:
        """Its absence is felt: there is something to subscribe to, as far as is known."""
        with self._lock:
            is_known = node in self._plans
            return bool(self._plans[node].wanted) if is_known else self._controls.is_ours(node)

    def unmatched(self) -> list[str]:
        """Entries of controls.nodes that fit no node seen so far, ours or not; none of them before there is a node."""
        return unmatched_entries((entry.name for entry in self._controls.nodes), list(self._seen))

    def dialects(self) -> dict[str, str]:
        """How each node writes KPM and RC; "" = no report has shown it yet."""
        with self._lock:
            return {
                name: str(plan.dialect or self._known_dialects.get(name) or "") for name, plan in self._plans.items()
            }

    def report_problems(self) -> dict[str, list[dict[str, str]]]:
        """What each cell's reports lack: names of faults and lines for a person."""
        with self._lock:
            links = dict(self._links)
        return {cell: [problem._asdict() for problem in report_problems(link)] for cell, link in links.items()}

    def effects(self, epoch: int) -> dict[str, AppliedCheck]:
        """Say whether each cell does what the instance of that epoch asks; a silent one does not show it."""
        with self._lock:
            links = dict(self._links)
            silent = {cell_key(key.node, key.cell) for key in self._silence}
        return {
            cell: AppliedCheck(None) if cell in silent else check_applied(link, epoch) for cell, link in links.items()
        }

    def silences(self) -> dict[str, Silence]:
        """The silence of each cell that reports nothing: the one with evidence, if there is any. Any thread may ask."""
        with self._lock:
            found: dict[str, Silence] = {}
            for key, silence in self._silence.items():
                cell = cell_key(key.node, key.cell)
                if cell not in found or (silence.evidence and not found[cell].evidence):
                    found[cell] = silence
            return found

    def silence_s(self) -> dict[str, float]:
        """How long each cell that should report has not. One in which nobody may be has nothing to report."""
        now_s = time.monotonic()
        with self._lock:
            silent: dict[str, float] = {}
            for key, wanted in self._wanted.items():
                last_reported_s = max(
                    self._wanted_since_s[key], self._receiver.reported_s(wanted.cell_key, wanted.kind)
                )
                is_well = key in self._attached and not self._evidence(key)
                seconds = 0.0 if is_well else now_s - last_reported_s
                silent[wanted.cell_key] = max(silent.get(wanted.cell_key, 0.0), seconds)
            return silent

    def _on_dialect(self, node: str, dialect: Dialect) -> None:
        """A node's first readable report has shown how it writes; from the receive thread, before anybody decides.

        What the node was asked in the other dialect it has misread, even if it took it: it is asked anew.
        """
        with self._lock:
            known = self._nodes.get(node)
            if known is None:
                return
            self._known_dialects[node] = dialect
            for encoder in self._encoders.get(node, {}).values():
                encoder.use_dialect(dialect)
        log.info("E2 node %s writes E2SM in its %s form, as its first report tells", node, dialect.value)
        if dialect is not Dialect.STANDARD:
            self._events.put(NodeEvent(NodeChange.CHANGED, known))

    def _other_parts(self) -> dict[str, str]:
        """See `other_parts`; a node may have no plan yet, while shared data are asked. Locked."""
        return other_parts(self._plans, [name for name in self._nodes if name in self._plans])

    def _take(self, event: NodeEvent) -> None:
        node = event.node
        with self._lock:
            asks_anew = self._nodes.get(node.name) is node and event.change is NodeChange.CHANGED
            if not asks_anew:
                self._known_dialects.pop(node.name, None)
            self._nodes[node.name] = node
        if event.change is not NodeChange.CONNECTED:
            log.warning("E2 node %s %s", node.name, "is asked anew" if asks_anew else event.change.value)
            self._forget(node.name, lost=event.change is NodeChange.LOST)
        if event.change is NodeChange.LOST:
            return
        plan = self._plan(node)
        log.info("E2 node %s: %d cells, %d subscriptions", node.name, len(plan.carriers), len(plan.wanted))
        encoders = {
            kind: self._kinds[kind].encoder(node.name, offer.form, plan.dialect) for kind, offer in plan.offers.items()
        }
        with self._lock:
            self._plans[node.name], self._nodes[node.name] = plan, node
            self._encoders[node.name] = encoders
            others = self._other_parts()
            for wanted in plan.wanted:
                key = SubscriptionKey(wanted.node, wanted.function_id, wanted.cell)
                self._wanted[key], self._wanted_since_s[key] = wanted, time.monotonic()
        for problem in plan.problems:
            is_harmless = problem.fault in HARMLESS and node.name in others
            log.log(logging.INFO if is_harmless else logging.WARNING, "%s", problem.text)
        for wanted in plan.wanted:
            self._subscribe(wanted)

    def _plan(self, node: E2Node, measurements: tuple[str, ...] | None = None) -> NodePlan:
        """measurements: instead of those configured, without those that the node is known to refuse."""
        refused = self._refused.of(node.name)
        return plan_node(
            node,
            report_period_ms=self._controls.report_period_ms,
            measurements=measurements or tuple(name for name in self._controls.measurements if name not in refused),
            control=self._controls.control_of(node.name),
            settings=self._controls.node(node.name),
            known_dialect=self._known_dialects.get(node.name),
            slices=self._controls.a1.slices,
            about_slices=self.about_slices(),
        )

    def _subscribe(self, wanted: Wanted) -> None:
        key = SubscriptionKey(wanted.node, wanted.function_id, wanted.cell)
        self.subscriptions.want(SubscriptionRequest(key, wanted.event_trigger, (Action(0, wanted.action_definition),)))

    def _on_answer(self, key: SubscriptionKey, asked: tuple[str, ...], taken: bool) -> None:
        """A node took or refused a list of measurements: one that it refuses is bisected."""
        node = self._nodes.get(key.node)
        now_asked = self._wanted[key].measurements if key in self._wanted else ()
        if node is None or asked != now_asked:
            return  # of a node that has gone, or of an earlier list
        was_searching, refused = self._refused.is_searching(key.node), self._refused.of(key.node)
        attempt = self._refused.answered(key, asked, taken)
        found = self._refused.of(key.node)
        if found != refused:
            log.warning("%s refuses the measurements %s: subscribed to without", key.node, ", ".join(found))
        if attempt is not None:
            if not was_searching:
                log.warning("%s refuses a list of %d measurements: looking for the culprit", key.node, len(asked))
            self._replace(self._plan(node, attempt), {key})
        if found != refused:
            self._replace(self._plan(node), {k for k in self._wanted if k.node == key.node} - {key})

    def _replace(self, plan: NodePlan, keys: set[SubscriptionKey]) -> None:
        """Subscribe to what the plan says of these keys, in place of what they ask for now."""
        for wanted in plan.wanted:
            key = SubscriptionKey(wanted.node, wanted.function_id, wanted.cell)
            if key in keys and wanted != self._wanted.get(key):
                self._subscribe(wanted)
                with self._lock:
                    self._wanted[key] = wanted

    def _warn_of_unmatched(self) -> None:
        """Warn once of entries that fit no node."""
        if time.monotonic() < self._look_for_unmatched_at_s:
            return
        self._look_for_unmatched_at_s = LATER
        for name in self.unmatched():
            log.warning("controls.nodes: %r fits none of the nodes %s", name, ", ".join(sorted(self._seen)))

    def _forget(self, node: str, *, lost: bool) -> None:
        """lost: its subscriptions went with it; else they are to be deleted."""
        self._sender.unwatch(node)
        self._refused.forget(node)
        with self._lock:
            self._nodes.pop(node, None)
            keys = [key for key in self._wanted if key.node == node]
            for key in keys:
                del self._wanted[key]
                self._silence.pop(key, None)
                self._unknown.forget(key)
                self._renewals.reported(key)
                self._detach(key)
        if lost:
            self.subscriptions.forget_node(node)
        for key in () if lost else keys:
            self.subscriptions.drop(key)

    def _look_at_silence(self) -> None:
        """Note what is silent; make anew what should not be."""
        silent_s, now_s = silent_after_s(self._controls.report_period_ms), time.monotonic()
        with self._lock:
            silent = {}
            for key, instance in self._attached.items():
                seconds = self._receiver.silent_for_s(instance)
                if seconds > silent_s:
                    silent[key] = seconds
                elif self._receiver.has_reported(instance):
                    self._renewals.reported(key)
        self._unknown.update(set(silent), now_s)
        with self._lock:
            self._silence = {key: Silence(seconds, self._evidence(key)) for key, seconds in silent.items()}
            sick = {key: silence.evidence for key, silence in self._silence.items() if silence.evidence}
        for key, evidence in sick.items():
            if self._renewals.is_due(key, now_s):
                self.subscriptions.resubscribe(key, f"no report for {silent_s:g} s, and {evidence}")

    def _evidence(self, key: SubscriptionKey) -> str:
        """Why there should be a report; "" = there may be nobody to report. Locked."""
        wanted, instance = self._wanted.get(key), self._attached.get(key)
        if wanted is None or instance is None:
            return ""
        link = self._links.get(wanted.cell_key)
        newest = link.newest if link is not None and link.tracker.has_dcm else None
        return evidence_of(
            wanted.kind,
            ues_by_dcm=newest.state.num_ues if newest is not None else 0,
            control_unanswered=self._sender.unanswered_s(key.node) > self._receiver.last_reported_s(instance),
            unknown_to_manager=key in self._unknown,
        )

    def _on_subscription(self, status: SubscriptionStatus) -> None:
        """Attach a cell's subscription when its subscription is active, detach it when it is not."""
        with self._lock:
            active = status.state is SubscriptionState.ACTIVE
            if active and self._attached.get(status.key) == status.e2_instance_id:
                return  # told twice: the notification came before the 201
            self._detach(status.key)
            wanted = self._wanted.get(status.key)
            if wanted is not None and wanted.kind == "kpm" and (active or status.refused):
                self._answers.put((status.key, wanted.measurements, active))
            if not active or wanted is None:
                return
            link = self._link(wanted, status.e2_instance_id)
            link.last_report_s = time.monotonic()
            self._attached[status.key] = status.e2_instance_id
            dialect = wanted.dialect or self._known_dialects.get(wanted.node)
            subscription = ReportSubscription(wanted.cell_key, wanted.kind, wanted.measurements, dialect)
            self._receiver.attach(status.e2_instance_id, subscription, link)

    def _link(self, wanted: Wanted, instance_id: int) -> CellLink:
        """The cell's link; a control is answered to the subscription to its own function, or the only one. Locked."""
        plan = self._plans[wanted.node]
        carrier = plan.carriers[wanted.cell]
        link = self._links.get(wanted.cell_key)
        if link is None:
            link = self._links[wanted.cell_key] = new_link(plan, wanted, self._controls.report_period_ms)
        subscribed = {each.function_id for each in plan.wanted}
        for kind, encoder in self._encoders[wanted.node].items():
            function_id = plan.offers[kind].function_id
            if function_id != wanted.function_id and function_id in subscribed:
                continue
            target = ControlTarget(wanted.node, wanted.cell_key, function_id, instance_id, carrier, encoder)
            if kind == plan.control:
                link.target = target
            self._sender.watch(target)  # whatever the node is controlled by: an earlier instance's quotas go first
        return link

    def _detach(self, key: SubscriptionKey) -> None:
        """Locked."""
        instance_id = self._attached.pop(key, None)
        if instance_id is None:
            return
        self._receiver.detach(instance_id)
        cell = cell_key(key.node, key.cell)
        if not any(cell_key(other.node, other.cell) == cell for other in self._attached):
            self._links.pop(cell, None)  # a cell that comes back starts with a fresh tracker

"""The xApp's life cycle: what is started in which order, the housekeeping thread, and a stop that leaves no trace.

Everything that may block (HTTP, SDL, DNS) happens in the housekeeping thread; the decision path never waits for it.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from contextlib import ExitStack
from typing import Any

from policy.leader import Leader
from xapp.cell_tracker import CellTracker
from xapp.config import Controls
from xapp.control_loop import ControlLoop
from xapp.control_sender import ControlSender, ControlTarget
from xapp.http import BackgroundServer, build_app, cannot_listen, listen
from xapp.intake import CellLink, Feed, Intake, Report
from xapp.mailbox import Mailbox
from xapp.metrics import Metrics
from xapp.node_plan import NodePlan, Wanted, plan_node
from xapp.ric.nodes import E2mgrSource, NodeChange, NodeEvent, NodeWatcher, RnibSource
from xapp.ric.sdl import SharedStore
from xapp.ric.subscription_body import Action, ClientEndpoint, SubscriptionKey, SubscriptionRequest
from xapp.ric.subscriptions import SubscriptionClient, SubscriptionState, SubscriptionStatus
from xapp.rmr.si95 import Si95Options, Si95Transport

log = logging.getLogger(__name__)

CONFIG_TYPE = "json"
MAX_LAST_CONTROL_S = 1.0
"""The longest time that a stopping xApp leaves its last control in force."""
RELEASE_ANSWER_S = 1.0
"""How long a stopping xApp waits for the nodes to acknowledge its releases."""
UNSUBSCRIBE_S = 3.0
HOUSEKEEPING_S = 1.0
"""How long a stopping xApp waits for a request of its housekeeping to come back."""
LET_GO_S = 4.0
"""The longest that unsubscribing and shared data may hold up a stop: time-outs of HTTP and Redis do not cover DNS."""
REPORT_PATIENCE = 0.1
"""Share of a period that a cell's decision waits for the second of its two reports, should it not come at once."""
SILENT_PERIODS = 20
"""An active subscription without a report for this many periods (and 5 s) is made anew: E2 may have broken unseen."""
SILENT_S = 5.0


class App:
    """One running xApp. `start` raises OSError for a port that cannot be bound."""

    def __init__(self, controls: Controls, leader: Leader, *, name: str = "stackmac") -> None:
        self.controls = controls
        self.name = name
        self.metrics = Metrics()
        self._leader = leader
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._plans: dict[str, NodePlan] = {}
        self._wanted: dict[SubscriptionKey, Wanted] = {}
        self._attached: dict[SubscriptionKey, int] = {}
        self._links: dict[str, CellLink] = {}

    def start(self) -> None:
        """Open the endpoints and begin; returns once HTTP answers."""
        with ExitStack() as opened:
            self._open(opened)
            opened.pop_all()

    def _open(self, opened: ExitStack) -> None:
        """What was opened before something failed is closed again."""
        controls = self.controls
        listener = listen(controls.http.bind_host, controls.http.port)
        opened.callback(listener.close)
        host = os.environ.get("RMR_SRC_ID") or controls.rmr.host
        try:
            self.transport = Si95Transport(
                controls.rmr.bind_host,
                controls.rmr.port,
                source=f"{host}:{controls.rmr.port}" if controls.rmr.port else "",
                routes=os.environ.get("RMR_SEED_RT"),
                options=Si95Options(max_receive_queue=controls.rmr.receive_queue),
            )
        except (OSError, UnicodeError) as error:
            raise cannot_listen(controls.rmr.bind_host, controls.rmr.port, error) from None
        opened.callback(self.transport.close)
        self.sender = ControlSender(
            self.transport, self.metrics, instance_epoch=time.time_ns(), lease_periods=controls.lease_periods
        )
        mailbox: Mailbox[Report] = Mailbox(
            controls.coalesce_ms / 1e3,
            REPORT_PATIENCE * controls.report_period_ms / 1e3,
            on_superseded=lambda: self.metrics.count("superseded_reports"),
        )
        self.intake = Intake(self.transport, mailbox, self.sender, self.metrics)
        self.loop = ControlLoop(controls, self._leader, mailbox, self.sender, self.metrics, links=self.intake.links)
        opened.callback(self.loop.close)
        self.store = SharedStore()
        opened.callback(self.store.close)
        endpoint = ClientEndpoint(controls.http.host, listener.getsockname()[1], self.transport.port)
        self.subscriptions = SubscriptionClient(
            controls.ric.submgr_url, endpoint, store=self.store, on_change=self._on_subscription
        )
        sources = [E2mgrSource(controls.ric.e2mgr_url, timeout_s=controls.ric.request_timeout_s)]
        rnib = [RnibSource(self.store)] if self.store.is_shared else []
        self.watcher = NodeWatcher([*rnib, *sources])
        http = build_app(
            ready=self.ready,
            config=self._config,
            metrics=self.metrics.prometheus,
            status=self.status,
            on_notification=self._on_notification,
        )
        self.server = BackgroundServer(http, listener=listener)
        opened.callback(self.server.close)
        if not self.server.wait_started():
            raise OSError(f"no HTTP server on {controls.http.bind_host}:{self.server.port}")
        self.intake.start()
        self.loop.start()
        self._housekeeping = threading.Thread(target=self._keep_house, name="housekeeping", daemon=True)
        self._housekeeping.start()

    def stop(self) -> None:
        """Stop deciding, give every cell back, unsubscribe, close. Takes less than 10 s whatever the others do."""
        self._stop.set()
        self.loop.close()
        # The last control takes effect at a period boundary; its own release must not overtake it.
        time.sleep(min(MAX_LAST_CONTROL_S, 2 * self.controls.report_period_ms / 1e3))
        if self.sender.release_all():
            until_s = time.monotonic() + RELEASE_ANSWER_S
            while self.sender.outstanding and time.monotonic() < until_s:
                time.sleep(0.01)
        self._housekeeping.join(timeout=HOUSEKEEPING_S)
        letting_go = threading.Thread(target=self._let_go, name="let-go", daemon=True)
        letting_go.start()
        letting_go.join(timeout=LET_GO_S)
        self.intake.close()
        self.server.close()
        self.transport.close()

    def _let_go(self) -> None:
        self.subscriptions.close(UNSUBSCRIBE_S)
        self.store.close()

    def ready(self) -> tuple[bool, str]:
        """Whether the xApp can do its work, else why not: for GET /ric/v1/health/ready."""
        if not self.transport.ready:
            return False, "no route table"
        if not self.store.healthy:
            return False, "shared data layer does not answer"
        return True, ""

    def status(self) -> dict[str, Any]:
        """Counters, times and the newest decision of each cell."""
        return {
            **self.metrics.summary(),
            "cells": self.loop.last_decisions(),
            "nodes": {name: node.connected for name, node in self.watcher.nodes.items()},
            "subscriptions": {
                "/".join(map(str, status.key)): status.state.value for status in self.subscriptions.statuses()
            },
            "rmr": self.transport.counters,
        }

    # -- housekeeping ----------------------------------------------------------------------------------------------

    def _keep_house(self) -> None:
        look_at_s = 0.0
        while not self._stop.is_set():
            try:
                if time.monotonic() >= look_at_s:
                    look_at_s = time.monotonic() + self.controls.ric.poll_period_s
                    for event in self.watcher.poll():
                        self._on_node(event)
                    self._renew_silent()
                self.subscriptions.run_due()
                self.sender.sweep()
                self._set_gauges()
            except Exception:  # housekeeping must outlive its own bugs: the loop depends on its subscriptions
                if self._stop.is_set():
                    return  # the HTTP client was closed under it
                self.metrics.drop("housekeeping_error")
                log.exception("housekeeping failed")
            wait_s = min(self.subscriptions.next_due_s(), max(0.02, look_at_s - time.monotonic()))
            self._stop.wait(wait_s)

    def _on_node(self, event: NodeEvent) -> None:
        node = event.node
        if event.change is not NodeChange.CONNECTED:
            log.warning("E2 node %s %s", node.name, event.change.value)
            self._forget(node.name, lost=event.change is NodeChange.LOST)
        if event.change is NodeChange.LOST:
            return
        plan = plan_node(node, report_period_ms=self.controls.report_period_ms, measurements=self.controls.measurements)
        for problem in plan.problems:
            log.warning("%s", problem)
        log.info("E2 node %s: %d cells, %d subscriptions", node.name, len(plan.carriers), len(plan.wanted))
        with self._lock:
            self._plans[node.name] = plan
            for wanted in plan.wanted:
                self._wanted[SubscriptionKey(wanted.node, wanted.function_id, wanted.cell)] = wanted
        for wanted in plan.wanted:
            key = SubscriptionKey(wanted.node, wanted.function_id, wanted.cell)
            self.subscriptions.want(
                SubscriptionRequest(key, wanted.event_trigger, (Action(0, wanted.action_definition),))
            )

    def _forget(self, node: str, *, lost: bool) -> None:
        """lost: its subscriptions went with it; else they are to be deleted."""
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
        silent_s = max(SILENT_S, SILENT_PERIODS * self.controls.report_period_ms / 1e3)
        with self._lock:
            silent = [
                key
                for key, instance in self._attached.items()
                if self.intake.silent_for_s(instance) > silent_s and not self._has_nothing_to_say(key)
            ]
        for key in silent:
            self.subscriptions.resubscribe(key, f"no report for {silent_s:g} s")

    def _has_nothing_to_say(self, key: SubscriptionKey) -> bool:
        """A KPM report of each UE cannot say that there is none: the node sends nothing. Locked."""
        wanted, link = self._wanted.get(key), self._links.get(f"{key.node}/{key.cell}")
        if wanted is None or link is None or wanted.kind != "kpm" or link.newest is None:
            return False
        return link.newest.state.num_ues == 0

    def _set_gauges(self) -> None:
        states = [status.state for status in self.subscriptions.statuses()]
        self.metrics.set_state("subscriptions_active", states.count(SubscriptionState.ACTIVE))
        self.metrics.set_state("subscriptions_wanted", len(states))
        self.metrics.set_state("nodes_connected", sum(node.connected for node in self.watcher.nodes.values()))
        self.metrics.set_state("sdl_healthy", float(self.store.healthy))

    # -- called by whichever thread brings the news ----------------------------------------------------------------

    def _on_notification(self, body: bytes) -> int:
        return self.subscriptions.on_notification(body)

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
            self.intake.attach(status.e2_instance_id, Feed(wanted.cell_key, wanted.kind, wanted.measurements), link)

    def _link(self, wanted: Wanted, instance_id: int) -> CellLink:
        """The cell's link; its controls are answered to the DCM subscription's instance. Locked."""
        plan = self._plans[wanted.node]
        carrier = plan.carriers[wanted.cell]
        link = self._links.get(wanted.cell_key)
        if link is None:
            kinds = {other.kind for other in plan.wanted if other.cell == wanted.cell}
            tracker = CellTracker(
                wanted.cell_key,
                num_rbgs=carrier.num_rbgs,
                report_period_ms=self.controls.report_period_ms,
                has_kpm="kpm" in kinds,
                has_dcm="dcm" in kinds,
            )
            link = self._links[wanted.cell_key] = CellLink(tracker, None)
        if wanted.kind == "dcm":
            link.target = ControlTarget(wanted.node, wanted.cell_key, wanted.function_id, instance_id, carrier)
        return link

    def _detach(self, key: SubscriptionKey) -> None:
        """Locked."""
        instance_id = self._attached.pop(key, None)
        if instance_id is None:
            return
        self.intake.detach(instance_id)
        cell = f"{key.node}/{key.cell}"
        if not any(f"{other.node}/{other.cell}" == cell for other in self._attached):
            self._links.pop(cell, None)  # a cell that comes back starts with a fresh tracker

    def _config(self) -> list[dict[str, Any]]:
        return [
            {
                "metadata": {"xappName": self.name, "configType": CONFIG_TYPE},
                "config": self.controls.model_dump_json(),
            }
        ]

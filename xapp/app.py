"""The xApp's life cycle: what is started in which order, how the parts are wired, and a stop that leaves no trace.

Everything that may block (HTTP, SDL, DNS) is a chore of housekeeping; the decision path never waits for it.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from contextlib import ExitStack
from typing import Any

from policy.leader import Leader
from xapp.cells import Cells
from xapp.config import Controls
from xapp.control_loop import ControlLoop
from xapp.control_sender import ControlSender
from xapp.housekeeping import Chore, Housekeeping, every
from xapp.http import BackgroundServer, build_app, listen
from xapp.intake import Intake, Report
from xapp.mailbox import Mailbox
from xapp.metrics import Metrics
from xapp.ric.nodes import E2mgrSource, NodeWatcher, RnibSource
from xapp.ric.sdl import SharedStore
from xapp.ric.subscription_body import ClientEndpoint
from xapp.ric.subscriptions import SubscriptionState
from xapp.rmr.endpoint import Si95Endpoint
from xapp.rmr.settings import resolve_settings
from xapp.rmr.si95 import Si95Options

log = logging.getLogger(__name__)

CONFIG_TYPE = "json"
SUBSCRIPTIONS = "subscriptions"
"""The chore, and the lane, of whatever must stay prompt."""
SWEEP_S = 0.5
GAUGES_S = 1.0
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


class App:
    """One running xApp. `start` raises OSError for a port that cannot be bound, ConfigError for RMR_*."""

    def __init__(self, controls: Controls, leader: Leader, *, name: str = "stackmac") -> None:
        self.controls = controls
        self.name = name
        self.metrics = Metrics()
        self._leader = leader

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
        settings = resolve_settings(controls.rmr, os.environ)
        self.transport = Si95Endpoint(settings, Si95Options(max_receive_queue=controls.rmr.receive_queue))
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
        self.cells = Cells(controls, self.intake, endpoint, self.store)
        self.subscriptions = self.cells.subscriptions
        sources = [E2mgrSource(controls.ric.e2mgr_url, timeout_s=controls.ric.request_timeout_s)]
        rnib = [RnibSource(self.store)] if self.store.is_shared else []
        self.watcher = NodeWatcher([*rnib, *sources])
        http = build_app(
            ready=self.ready,
            config=self._config,
            metrics=self.metrics.prometheus,
            status=self.status,
            on_notification=self.subscriptions.on_notification,
        )
        self.server = BackgroundServer(http, listener=listener)
        opened.callback(self.server.close)
        if not self.server.wait_started():
            raise OSError(f"no HTTP server on {controls.http.bind_host}:{self.server.port}")
        self.intake.start()
        self.loop.start()
        self.housekeeping = self._chores()
        self.housekeeping.start()

    def _chores(self) -> Housekeeping:
        """What is done periodically, or may block. Lanes: subscriptions wait for nobody."""
        house = Housekeeping(self.metrics)
        house.add(Chore(SUBSCRIPTIONS, self.cells.run_due, lane=SUBSCRIPTIONS))
        house.add(Chore("nodes", every(self.controls.ric.poll_period_s, self._look_at_nodes), lane="nodes"))
        house.add(Chore("unanswered_controls", every(SWEEP_S, self.sender.sweep)))
        house.add(Chore("gauges", every(GAUGES_S, self._set_gauges)))
        return house

    def stop(self) -> None:
        """Stop deciding, give every cell back, unsubscribe, close. Takes less than 10 s whatever the others do."""
        self.loop.close()
        # The last control takes effect at a period boundary; its own release must not overtake it.
        time.sleep(min(MAX_LAST_CONTROL_S, 2 * self.controls.report_period_ms / 1e3))
        if self.sender.release_all():
            until_s = time.monotonic() + RELEASE_ANSWER_S
            while self.sender.outstanding and time.monotonic() < until_s:
                time.sleep(0.01)
        self.housekeeping.stop(HOUSEKEEPING_S)
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

    def _look_at_nodes(self) -> None:
        events = self.watcher.poll()
        for event in events:
            self.cells.on_node(event)
        if events:
            self.housekeeping.wake(SUBSCRIPTIONS)

    def _set_gauges(self) -> None:
        states = [status.state for status in self.subscriptions.statuses()]
        self.metrics.set_state("subscriptions_active", states.count(SubscriptionState.ACTIVE))
        self.metrics.set_state("subscriptions_wanted", len(states))
        self.metrics.set_state("nodes_connected", sum(node.connected for node in self.watcher.nodes.values()))
        self.metrics.set_state("sdl_healthy", float(self.store.healthy))

    def _config(self) -> list[dict[str, Any]]:
        return [
            {
                "metadata": {"xappName": self.name, "configType": CONFIG_TYPE},
                "config": self.controls.model_dump_json(),
            }
        ]

"""The xApp's life cycle: what is started in which order, how the parts are wired, and a stop that leaves no trace.

Everything that may block (HTTP, SDL, DNS) is a chore of housekeeping; the decision path never waits for it.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from policy.leader import Leader
from xapp.a1.api import policy_router
from xapp.a1.policies import Policies
from xapp.config.live import Configuration
from xapp.config.model import Controls
from xapp.control.cell_link import Report
from xapp.control.control_loop import ControlLoop
from xapp.control.mailbox import Mailbox
from xapp.control.observer import Tap
from xapp.control.receiver import Intake
from xapp.control.sender import ControlSender
from xapp.explain.api import decision_router
from xapp.http.routes import build_app
from xapp.http.server import BackgroundServer, listen
from xapp.monitoring.metrics import Metrics
from xapp.monitoring.symptom_data import symptom_data
from xapp.nodes.cell_manager import Cells
from xapp.packaging.descriptor import completed
from xapp.quotas.quota_store import QuotaKeeper
from xapp.ric.alarm_conditions import AlarmWatch
from xapp.ric.alarms import Alarms, alarm_line
from xapp.ric.appmgr import Registrar, Registration
from xapp.ric.nodes import E2mgrSource, NodeWatcher, RnibSource
from xapp.ric.sdl import SharedStore
from xapp.ric.subscription_body import ClientEndpoint, http_host_of
from xapp.ric.succession import Role, Succession
from xapp.rmr.endpoint import open_endpoint
from xapp.rmr.settings import resolve_settings
from xapp.rmr.si95 import Si95Options
from xapp.rmr.transport import A1_POLICY_REQUEST
from xapp.run.periodic_tasks import QUOTAS, Chores
from xapp.run.sdl_documents import Documents, model_document
from xapp.run.status import add_sources, status_of, symptom_parts

log = logging.getLogger(__name__)

CONFIG_TYPE = "json"
MAX_LAST_CONTROL_S = 1.0
"""The longest time that a stopping xApp leaves its last control in force."""
RELEASE_ANSWER_S = 1.5
"""How long a stopping xApp waits for the nodes to acknowledge its releases."""
UNSUBSCRIBE_S = 3.0
DEREGISTER_S = 1.0
HOUSEKEEPING_S = 1.0
"""How long a stopping xApp waits for a request of its housekeeping to come back."""
LET_GO_S = 4.0
"""The longest that unsubscribing and shared data may hold up a stop: time-outs of HTTP and Redis do not cover DNS."""
REPORT_PATIENCE = 0.1
"""Share of a period that a cell's decision waits for the second of its two reports, should it not come at once."""


class App:
    """One running xApp. `start` raises OSError for a port that cannot be bound, ConfigError for RMR_*."""

    def __init__(
        self,
        controls: Controls | Configuration,
        leader: Leader,
        *,
        tap: Tap | None = None,
        log_lines: Callable[[], list[str]] = list,
    ) -> None:
        """Controls alone never change; a Configuration follows its file. tap: who records. log_lines: the newest ones,
        for symptom data.
        """
        self._log_lines = log_lines
        self.configuration = controls if isinstance(controls, Configuration) else Configuration(controls)
        self.metrics = Metrics()
        self._leader = leader
        self.tap = tap or Tap()
        self._chores = Chores(self)

    @property
    def controls(self) -> Controls:
        """What is in force now."""
        return self.configuration.controls

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
        self.transport = open_endpoint(
            settings, controls.rmr.transport, Si95Options(max_receive_queue=controls.rmr.receive_queue)
        )
        opened.callback(self.transport.close)
        self.store = SharedStore()
        opened.callback(self.store.close)
        self.succession = Succession(self.store, on_role=self._chores.on_role)
        self.tap.opened(controls, self.succession.epoch)
        self.sender = ControlSender(
            self.transport,
            self.metrics,
            instance_epoch=self.succession.epoch,
            lease_periods=controls.lease_periods,
            tap=self.tap,
        )
        mailbox: Mailbox[Report] = Mailbox(
            controls.coalesce_ms / 1e3,
            REPORT_PATIENCE * controls.report_period_ms / 1e3,
            on_superseded=lambda: self.metrics.count("superseded_reports"),
        )
        self.sender.on_refused = self.succession.refused
        if self.succession.role is not Role.CONTROL:
            self.sender.stand_back()
        self.intake = Intake(self.transport, mailbox, self.sender, self.metrics, tap=self.tap)
        self.policies = Policies(
            controls,
            self.transport,
            self.store,
            self.metrics,
            handler_id=self.configuration.name,
            links=self.intake.links,
        )
        self.intake.register(A1_POLICY_REQUEST, self.policies.a1.on_message)
        self.loop = ControlLoop(
            controls,
            self._leader,
            mailbox,
            self.sender,
            self.metrics,
            links=self.intake.links,
            intent_of=self.policies.in_force.intent_for,
            settle=self.policies.in_force.settle,
            tap=self.tap,
        )
        opened.callback(self.loop.close)
        endpoint = ClientEndpoint(
            controls.http.host or http_host_of(settings.host), listener.getsockname()[1], self.transport.port
        )
        self.endpoint = endpoint
        self.registrar = Registrar(
            controls.ric.appmgr_url, self.registration(), timeout_s=controls.ric.request_timeout_s
        )
        # Nobody is limited before that is kept; until housekeeping begins there is no node to limit.
        self.quotas = QuotaKeeper(controls, self.store, on_change=lambda: self.housekeeping.wake(QUOTAS), tap=self.tap)
        self.cells = Cells(
            controls, self.intake, endpoint, self.store, self.sender, self.quotas, owner=self.succession.id
        )
        self.subscriptions = self.cells.subscriptions
        sources = [E2mgrSource(controls.ric.e2mgr_url, timeout_s=controls.ric.request_timeout_s)]
        rnib = [RnibSource(self.store)] if self.store.is_shared else []
        self.watcher = NodeWatcher([*rnib, *sources])
        self._alarm_line = alarm_line(self.transport.send, controls.ric.alarm_message_type)
        opened.callback(self._alarm_line.close)
        self.alarms = Alarms(
            self._alarm_line.send,
            application=self.configuration.name,
            message_type=controls.ric.alarm_message_type,
        )
        self.alarm_watch = AlarmWatch(
            totals=self.metrics.totals,
            silence_s=self.cells.silence_s,
            nodes=lambda: {name: node.connected for name, node in self.watcher.nodes.items()},
            sdl_healthy=lambda: self.store.healthy,
            report_period_ms=controls.report_period_ms,
        )
        model = model_document(controls.leader, self._leader.name, self.configuration.version, self.succession.epoch)
        self.documents = Documents(
            self.store,
            self.loop.log,
            model=model,
            cells=lambda: [link.tracker.cell for link in self.intake.links()],
        )
        self.documents.on_lost += [
            self.subscriptions.remember_again,
            self.quotas.save_again,
            self.policies.a1.save_again,
        ]
        add_sources(self)
        http = build_app(
            ready=self.ready,
            config=self._config,
            metrics=self.metrics.prometheus,
            status=self.status,
            symptoms=lambda: symptom_data(symptom_parts(self, self._log_lines)),
            on_notification=self.subscriptions.on_notification,
        )
        http.include_router(decision_router(self.loop.log))
        http.include_router(policy_router(self.policies.rows))
        self.server = BackgroundServer(http, listener=listener)
        opened.callback(self.server.close)
        if not self.server.wait_started():
            raise OSError(f"no HTTP server on {controls.http.bind_host}:{self.server.port}")
        self.housekeeping = self._chores.housekeeping()
        self.intake.start()
        self.loop.start()
        self.housekeeping.start()

    def stop(self) -> None:
        """Stop deciding, give every cell back, unsubscribe, close. Takes less than 10 s whatever the others do."""
        self.loop.close()
        # The last control takes effect at a period boundary; its own release must not overtake it.
        time.sleep(min(MAX_LAST_CONTROL_S, 2 * self.controls.report_period_ms / 1e3))
        self.sender.release_all()
        until_s = time.monotonic() + RELEASE_ANSWER_S
        while self.sender.unfinished and time.monotonic() < until_s:
            time.sleep(0.01)
        self.housekeeping.stop(HOUSEKEEPING_S)
        letting_go = threading.Thread(target=self._let_go, name="let-go", daemon=True)
        letting_go.start()
        letting_go.join(timeout=LET_GO_S)
        self.intake.close()
        self.server.close()
        self._alarm_line.close()
        self.transport.close()

    def _let_go(self) -> None:
        self.alarms.clear_all()
        self.registrar.deregister(DEREGISTER_S)
        self.subscriptions.close(UNSUBSCRIBE_S)
        self.quotas.save()
        if self.succession.role is Role.CONTROL:
            self.documents.withdraw()
        self.succession.leave()
        self.store.close()

    def ready(self) -> tuple[bool, str]:
        """Whether the xApp can do its work, else why not: for GET /ric/v1/health/ready."""
        if not self.transport.ready:
            return False, "no route table"
        if not self.store.healthy:
            return False, "shared data layer does not answer"
        if self.succession.role is not Role.CONTROL:
            return False, f"another instance controls ({self.succession.role.value})"
        return True, ""

    def status(self) -> dict[str, Any]:
        """See overview."""
        return status_of(self)

    def registration(self) -> Registration:
        """What appmgr is told."""
        endpoint = self.endpoint
        return Registration(
            appName=os.environ.get("HOSTNAME") or self.configuration.name,
            appInstanceName=self.configuration.name,
            appVersion=self.configuration.version,
            httpEndpoint=f"{endpoint.host}:{endpoint.http_port}",
            rmrEndpoint=f"{endpoint.rmr_host}:{endpoint.rmr_port}",
            config=json.dumps(completed(self.configuration.document())),
        )

    def _config(self) -> list[dict[str, Any]]:
        """The shape that appmgr asks for: the whole descriptor, as text."""
        metadata = {"xappName": self.configuration.name, "configType": CONFIG_TYPE}
        return [{"metadata": metadata, "config": json.dumps(completed(self.configuration.document()))}]

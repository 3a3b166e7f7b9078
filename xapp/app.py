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
from xapp.alarm_watch import AlarmWatch
from xapp.cells import Cells
from xapp.config import Controls
from xapp.configuration import Configuration
from xapp.control_loop import ControlLoop
from xapp.control_sender import ControlSender
from xapp.decision_api import decision_router
from xapp.documents import Documents, model_document
from xapp.housekeeping import Chore, Housekeeping, every
from xapp.http import BackgroundServer, build_app, listen
from xapp.intake import Intake, Report
from xapp.mailbox import Mailbox
from xapp.metrics import Metrics
from xapp.overview import add_sources, set_gauges, status_of, symptom_parts
from xapp.policies import Policies
from xapp.policy_api import policy_router
from xapp.quota_keeper import QuotaKeeper
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
from xapp.symptom_data import symptom_data
from xapp.tap import Tap

log = logging.getLogger(__name__)

CONFIG_TYPE = "json"
POLICIES = "policies"
"""The chore, and the lane, of A1: a policy changes the very next decision."""
SUBSCRIPTIONS = "subscriptions"
"""The chore, and the lane, of whatever must stay prompt."""
QUOTAS = "quotas"
"""The chore, and the lane, that keeps whom quotas limit: no new UE is limited before it has run."""
QUOTAS_S = 1.0
SWEEP_S = 0.5
GAUGES_S = 1.0
ALARMS_S = 1.0
DOCUMENTS_S = 1.0
EVENTS_S = 0.25
"""How often the R-NIB's events are taken."""
CONFIGURATION_S = 2.0
"""How often the descriptor's file is looked at."""
MAX_LAST_CONTROL_S = 1.0
"""The longest time that a stopping xApp leaves its last control in force."""
RELEASE_ANSWER_S = 1.5
"""How long a stopping xApp waits for the nodes to acknowledge its releases."""
UNSUBSCRIBE_S = 3.0
DEREGISTER_S = 1.0
REGISTRATION = "registration"
IDLE_S = 5.0
"""Pause of a chore that has nothing to do until it is woken."""
REGISTER_FIRST_S = 3.0
"""How long subscriptions wait for the registration."""
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
        self._poll_nodes_at_s = 0.0
        self._has_stood_back = False

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
        self.succession = Succession(self.store, on_role=self._on_role)
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
        self.registrar = Registrar(
            controls.ric.appmgr_url, self._registration(endpoint), timeout_s=controls.ric.request_timeout_s
        )
        self.endpoint = endpoint
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
        self._alarm_watch = AlarmWatch(
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
        self._controls_since_s = time.monotonic()
        self.housekeeping = self._chores()
        self.intake.start()
        self.loop.start()
        self.housekeeping.start()

    def _chores(self) -> Housekeeping:
        """What is done periodically, or may block. Lanes: subscriptions wait for nobody."""
        house = Housekeeping(self.metrics)
        house.add(Chore(SUBSCRIPTIONS, self._subscribe, lane=SUBSCRIPTIONS))
        house.add(Chore("nodes", self._look_at_nodes, lane="nodes"))
        house.add(Chore("succession", self.succession.run, lane="succession"))
        house.add(Chore(REGISTRATION, self._register, lane=REGISTRATION))
        house.add(Chore(QUOTAS, every(QUOTAS_S, self.quotas.save), lane=QUOTAS))
        house.add(Chore(POLICIES, self.policies.a1.run_due, lane=POLICIES))
        self.policies.a1.wake = lambda: house.wake(POLICIES)
        house.add(Chore("configuration", every(CONFIGURATION_S, self._follow_configuration)))
        house.add(Chore("unanswered_controls", every(SWEEP_S, self.sender.sweep)))
        house.add(Chore("gauges", every(GAUGES_S, lambda: set_gauges(self))))
        house.add(Chore("documents", every(DOCUMENTS_S, self._write_documents)))
        house.add(Chore("alarms", every(ALARMS_S, self._look_for_alarms)))
        return house

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

    def _on_role(self, role: Role) -> None:
        """Told by the succession's chore: who may send, subscribe and be registered."""
        if role is Role.CONTROL:
            self.sender.step_forward(self.succession.epoch)
            if self._has_stood_back:
                self.cells.step_forward(node for node in self.watcher.nodes.values() if node.connected)
                self.registrar.resume()
                self.policies.a1.look_again()
            self._controls_since_s = time.monotonic()
            for chore in (REGISTRATION, SUBSCRIPTIONS):
                self.housekeeping.wake(chore)
        elif role is Role.SHADOW:
            self._has_stood_back = True
            self.sender.stand_back()
            self.cells.stand_back()
            self.registrar.abandon()
            self.alarms.forget()

    def _register(self) -> float:
        if self.succession.role is not Role.CONTROL or not self.controls.ric.appmgr_url:
            return IDLE_S
        was_registered = self.registrar.registered
        next_s = self.registrar.run()
        if self.registrar.registered and not was_registered:
            self.housekeeping.wake(SUBSCRIPTIONS)
        return next_s

    def _subscribe(self) -> float:
        """The platform routes reports only to an endpoint that it knows: an appmgr that answers is told first."""
        if self.succession.role is not Role.CONTROL:
            return IDLE_S
        first_s = REGISTER_FIRST_S - (time.monotonic() - self._controls_since_s)
        if self.controls.ric.appmgr_url and not self.registrar.registered and first_s > 0:
            return first_s
        return self.cells.run_due()

    def _look_at_nodes(self) -> float:
        """Events at once, and a poll from time to time, as events are not kept for those who were away."""
        events = self.watcher.listen()
        now_s = time.monotonic()
        if self.watcher.news or now_s >= self._poll_nodes_at_s:
            events += self.watcher.poll()
            self._poll_nodes_at_s = now_s + self.controls.ric.poll_period_s
        for event in events:
            self.cells.on_node(event)
        if events:
            self.housekeeping.wake(SUBSCRIPTIONS)
        period_s = self.controls.ric.poll_period_s
        return min(EVENTS_S, period_s) if self.store.is_shared else period_s

    def _follow_configuration(self) -> None:
        """What can change while everything runs; see configuration.LIVE."""
        if not self.configuration.poll():
            return
        controls = self.controls
        self.loop.configure(controls)
        self.sender.lease_periods = controls.lease_periods
        self.policies.configure(controls)
        logging.getLogger().setLevel(controls.log_level.upper())
        self.registrar.update(self._registration(self.endpoint))
        self.housekeeping.wake("nodes")

    def _write_documents(self) -> None:
        if self.succession.role is Role.CONTROL:
            self.documents.run()

    def _look_for_alarms(self) -> None:
        if self.succession.role is Role.CONTROL:
            self.alarms.observe(self._alarm_watch.failing(), healthy=self._alarm_watch.watched())
            self.alarms.run()

    def _registration(self, endpoint: ClientEndpoint) -> Registration:
        return Registration(
            appName=os.environ.get("HOSTNAME") or self.configuration.name,
            appInstanceName=self.configuration.name,
            appVersion=self.configuration.version,
            httpEndpoint=f"{endpoint.host}:{endpoint.http_port}",
            rmrEndpoint=f"{endpoint.rmr_host}:{endpoint.rmr_port}",
            config=json.dumps(self.configuration.document()),
        )

    def _config(self) -> list[dict[str, Any]]:
        """The shape that appmgr asks for: the whole descriptor, as text."""
        metadata = {"xappName": self.configuration.name, "configType": CONFIG_TYPE}
        return [{"metadata": metadata, "config": json.dumps(self.configuration.document())}]

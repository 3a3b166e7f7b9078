"""The parts of a running xApp, wired once: who is made of what, and who tells whom. Nothing here begins to run."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from dataclasses import dataclass

from policy.leader import Leader
from xapp.a1.policies import Policies
from xapp.config.live import Configuration
from xapp.config.model import Controls
from xapp.control.cell_link import Report
from xapp.control.control_loop import ControlLoop
from xapp.control.mailbox import Mailbox
from xapp.control.observer import Tap
from xapp.control.receiver import Intake
from xapp.control.sender import ControlSender
from xapp.monitoring.metrics import Metrics
from xapp.nodes.cell_manager import Cells
from xapp.packaging.descriptor import completed
from xapp.quotas.quota_store import QuotaKeeper
from xapp.ric.alarm_conditions import AlarmWatch
from xapp.ric.alarms import AlarmLine, Alarms, alarm_line
from xapp.ric.appmgr import Registrar, Registration
from xapp.ric.nodes import E2mgrSource, NodeWatcher, RnibSource
from xapp.ric.sdl import SharedStore
from xapp.ric.subscription_body import ClientEndpoint, http_host_of
from xapp.ric.succession import Role, Succession
from xapp.rmr.endpoint import RmrEndpoint, open_endpoint
from xapp.rmr.settings import RmrSettings, resolve_settings
from xapp.rmr.si95 import Si95Options
from xapp.rmr.transport import A1_POLICY_REQUEST, Transport
from xapp.run.sdl_documents import Documents, model_document
from xapp.run.task_runner import Housekeeping

POLICIES = "policies"
"""The chore, and the lane, of A1: a policy changes the very next decision."""
QUOTAS = "quotas"
"""The chore, and the lane, that keeps whom quotas limit: no new UE is limited before it has run."""
REPORT_PATIENCE = 0.1
"""Share of a period that a cell's decision waits for the second of its two reports, should it not come at once."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Of one xApp. Which parts there are never changes while it runs."""

    configuration: Configuration
    metrics: Metrics
    housekeeping: Housekeeping
    """Without chores as yet: xapp.run.periodic_tasks adds them."""
    transport: RmrEndpoint
    endpoint: ClientEndpoint
    """Where the platform reaches this xApp."""
    store: SharedStore
    succession: Succession
    sender: ControlSender
    intake: Intake
    policies: Policies
    loop: ControlLoop
    quotas: QuotaKeeper
    cells: Cells
    watcher: NodeWatcher
    registrar: Registrar
    alarm_line: AlarmLine
    alarms: Alarms
    alarm_watch: AlarmWatch
    documents: Documents

    @property
    def controls(self) -> Controls:
        """What is in force now."""
        return self.configuration.controls


def wire(
    configuration: Configuration, leader: Leader, metrics: Metrics, tap: Tap, *, http_port: int, opened: ExitStack
) -> Parts:
    """http_port: where the xApp's HTTP server will answer. opened: is told how to close what is opened here.

    Raises OSError for a port that cannot be bound, ConfigError for RMR_*.
    """
    controls = configuration.controls
    settings = resolve_settings(controls.rmr, os.environ)
    transport = open_endpoint(
        settings, controls.rmr.transport, Si95Options(max_receive_queue=controls.rmr.receive_queue)
    )
    opened.callback(transport.close)
    store = SharedStore()
    opened.callback(store.close)
    housekeeping = Housekeeping(metrics)
    succession = Succession(store)
    tap.opened(controls, succession.epoch)
    sender = _sender(controls, transport, metrics, tap, succession)
    mailbox = _mailbox(controls, metrics)
    intake = Intake(transport, mailbox, sender, metrics, tap=tap)
    policies = Policies(
        controls,
        transport,
        store,
        metrics,
        handler_id=configuration.name,
        links=intake.links,
        beside=intake.cells_beside,
    )
    policies.a1.wake = lambda: housekeeping.wake(POLICIES)
    intake.register(A1_POLICY_REQUEST, policies.a1.on_message)
    loop = ControlLoop(
        controls,
        leader,
        mailbox,
        sender,
        metrics,
        links=intake.links,
        intent_of=policies.in_force.intent_for,
        settle=policies.in_force.settle,
        tap=tap,
    )
    opened.callback(loop.close)
    endpoint = _endpoint(controls, settings, http_port=http_port, rmr_port=transport.port)
    quotas = QuotaKeeper(controls, store, on_change=lambda: housekeeping.wake(QUOTAS), tap=tap)
    cells = Cells(controls, intake, endpoint, store, sender, quotas, owner=succession.id)
    watcher = _watcher(controls, store)
    line = alarm_line(transport.send, controls.ric.alarm_message_type)
    opened.callback(line.close)
    model = model_document(controls.leader, leader.name, configuration.version, succession.epoch)
    documents = Documents(store, loop.log, model=model, cells=lambda: [link.tracker.cell for link in intake.links()])
    documents.on_lost += [cells.subscriptions.remember_again, quotas.save_again, policies.a1.save_again]
    return Parts(
        configuration=configuration,
        metrics=metrics,
        housekeeping=housekeeping,
        transport=transport,
        endpoint=endpoint,
        store=store,
        succession=succession,
        sender=sender,
        intake=intake,
        policies=policies,
        loop=loop,
        quotas=quotas,
        cells=cells,
        watcher=watcher,
        registrar=Registrar(
            controls.ric.appmgr_url, registration(configuration, endpoint), timeout_s=controls.ric.request_timeout_s
        ),
        alarm_line=line,
        alarms=Alarms(line.send, application=configuration.name, message_type=controls.ric.alarm_message_type),
        alarm_watch=_alarm_watch(controls, metrics, cells, watcher, store),
        documents=documents,
    )


def registration(configuration: Configuration, endpoint: ClientEndpoint) -> Registration:
    """What appmgr is told."""
    return Registration(
        appName=os.environ.get("HOSTNAME") or configuration.name,
        appInstanceName=configuration.name,
        appVersion=configuration.version,
        httpEndpoint=f"{endpoint.host}:{endpoint.http_port}",
        rmrEndpoint=f"{endpoint.rmr_host}:{endpoint.rmr_port}",
        config=json.dumps(completed(configuration.document())),
    )


def _sender(
    controls: Controls, transport: Transport, metrics: Metrics, tap: Tap, succession: Succession
) -> ControlSender:
    """Silent for as long as another instance controls."""
    sender = ControlSender(
        transport, metrics, instance_epoch=succession.epoch, lease_periods=controls.lease_periods, tap=tap
    )
    sender.on_refused = succession.refused
    if succession.role is not Role.CONTROL:
        sender.stand_back()
    return sender


def _mailbox(controls: Controls, metrics: Metrics) -> Mailbox[Report]:
    return Mailbox(
        controls.coalesce_ms / 1e3,
        REPORT_PATIENCE * controls.report_period_ms / 1e3,
        on_superseded=lambda: metrics.count("superseded_reports"),
    )


def _endpoint(controls: Controls, settings: RmrSettings, *, http_port: int, rmr_port: int) -> ClientEndpoint:
    return ClientEndpoint(controls.http.host or http_host_of(settings.host), http_port, rmr_port)


def _watcher(controls: Controls, store: SharedStore) -> NodeWatcher:
    """The R-NIB itself where it can be read, and e2mgr, who writes it."""
    rnib = [RnibSource(store)] if store.is_shared else []
    return NodeWatcher([*rnib, E2mgrSource(controls.ric.e2mgr_url, timeout_s=controls.ric.request_timeout_s)])


def _alarm_watch(
    controls: Controls, metrics: Metrics, cells: Cells, watcher: NodeWatcher, store: SharedStore
) -> AlarmWatch:
    return AlarmWatch(
        totals=metrics.totals,
        silence_s=cells.silence_s,
        nodes=lambda: {name: node.connected for name, node in watcher.nodes.items() if cells.should_report(name)},
        sdl_healthy=lambda: store.healthy,
        report_period_ms=controls.report_period_ms,
    )

"""The parts of a running xApp, wired once: who is made of what, and who tells whom. Nothing here begins to run."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from policy.leader import Leader
from xapp.a1.policies import Policies
from xapp.config.live import Configuration
from xapp.config.model import Controls
from xapp.control.batch_limit import TOO_OLD_SHARE
from xapp.control.cell_link import Report
from xapp.control.control_loop import ControlLoop
from xapp.control.mailbox import REPORT_PATIENCE, Mailbox
from xapp.control.observer import Observer
from xapp.control.receiver import Receiver
from xapp.control.sender import ControlSender
from xapp.control_kinds.control_kind import ControlKind, control_kinds
from xapp.kpi_guard.guards import KpiGuards
from xapp.kpi_guard.leader_id import bundle_hash
from xapp.monitoring.metrics import Metrics
from xapp.nodes.cell_manager import Cells
from xapp.nodes.kind_choice import KindChoice
from xapp.packaging.descriptor import completed
from xapp.ric.alarm_conditions import AlarmWatch
from xapp.ric.alarms import AlarmLine, Alarms, Failing, Problem, alarm_line
from xapp.ric.appmgr import Registrar, Registration
from xapp.ric.leader_election import LeaderElection, Role
from xapp.ric.nodes import E2mgrSource, NodeWatcher, RnibSource
from xapp.ric.sdl import NAMESPACE, SharedStore
from xapp.ric.subscription_body import ClientEndpoint, http_host_of
from xapp.rmr.endpoint import RmrEndpoint, open_endpoint
from xapp.rmr.settings import RmrSettings, resolve_settings
from xapp.rmr.si95_options import Si95Options
from xapp.rmr.transport import A1_POLICY_REQUEST, Transport
from xapp.run.sdl_documents import SdlDocuments, model_document
from xapp.run.task_runner import TaskRunner

POLICIES = "policies"
"""The task, and the thread, of A1: a policy changes the very next decision."""
QUOTAS = "quotas"
"""The task, and the thread, that keeps whom quotas limit: no new UE is limited before it has run."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Of one xApp. Which parts there are never changes while it runs."""

    configuration: Configuration
    metrics: Metrics
    task_runner: TaskRunner
    """Without tasks as yet: xapp.run.periodic_tasks adds them."""
    transport: RmrEndpoint
    endpoint: ClientEndpoint
    """Where the platform reaches this xApp."""
    store: SharedStore
    policy_store: SharedStore
    """Where policies are kept: of several releases that share the nodes out, all in the same place."""
    leader_election: LeaderElection
    sender: ControlSender
    receiver: Receiver
    policies: Policies
    loop: ControlLoop
    kpi_guards: KpiGuards
    kinds: dict[str, ControlKind]
    """Of control, by name."""
    cells: Cells
    kind_choice: KindChoice
    watcher: NodeWatcher
    registrar: Registrar
    alarm_line: AlarmLine
    alarms: Alarms
    alarm_watch: AlarmWatch
    sdl_documents: SdlDocuments

    def save_quotas(self) -> None:
        """Keep in shared data whom encoders limit; may block."""
        for kind in self.kinds.values():
            kind.save()

    @property
    def controls(self) -> Controls:
        """What is in force now."""
        return self.configuration.controls


def wire(
    configuration: Configuration,
    leader: Leader,
    metrics: Metrics,
    observer: Observer,
    *,
    http_port: int,
    opened: ExitStack,
    renew_leader: Callable[[], Leader] | None = None,
) -> Parts:
    """http_port: where the xApp's HTTP server will answer. opened: called with how to close what is opened here.
    renew_leader: makes a leader in the place of one that did not return.

    Raises OSError for a port that cannot be bound, ConfigError for RMR_*.
    """
    controls = configuration.controls
    settings = resolve_settings(controls.rmr, os.environ)
    transport = open_endpoint(
        settings, controls.rmr.transport, Si95Options(max_receive_queue=controls.rmr.receive_queue)
    )
    opened.callback(transport.close)
    store = SharedStore(configuration.name if controls.only_listed_nodes else NAMESPACE)
    opened.callback(store.close)
    policy_store = store if store.namespace == NAMESPACE else SharedStore()
    opened.callback(policy_store.close)
    task_runner = TaskRunner(metrics)
    leader_election = LeaderElection(store)
    observer.opened(controls, leader_election.epoch)
    sender = _sender(controls, transport, metrics, observer, leader_election)
    mailbox = _mailbox(controls, metrics)
    receiver = Receiver(transport, mailbox, sender, metrics, observer=observer)
    receiver.old_after_s = TOO_OLD_SHARE * controls.deadline_ms / 1e3
    policies = Policies(
        controls,
        transport,
        policy_store,
        metrics,
        handler_id=configuration.name,
        links=receiver.links,
        beside=receiver.cells_beside,
        link_of=receiver.link_of,
    )
    policies.a1.wake = lambda: task_runner.wake(POLICIES)
    receiver.register(A1_POLICY_REQUEST, policies.a1.on_message)
    kpi_guards = KpiGuards(
        controls.kpi_guard,
        metrics,
        leader=leader.name,
        report_period_ms=controls.report_period_ms,
        observer=observer,
        bundle_hash=bundle_hash(controls.leader),
    )
    loop = ControlLoop(
        controls,
        leader,
        mailbox,
        sender,
        metrics,
        links=receiver.links,
        intent_of=policies.in_force.intent_for,
        on_decided=policies.in_force.on_decided,
        observer=observer,
        renew_leader=renew_leader and partial(_renewed, renew_leader, controls.leader, kpi_guards),
        discretion=kpi_guards,
    )
    opened.callback(loop.close)
    endpoint = _endpoint(controls, settings, http_port=http_port, rmr_port=transport.port)
    kinds = {
        name: kind(controls, store, on_change=lambda: task_runner.wake(QUOTAS), observer=observer)
        for name, kind in control_kinds().items()
    }
    cells = Cells(controls, receiver, endpoint, store, sender, kinds, owner=leader_election.id)
    kind_choice = KindChoice(controls, cells, sender, policies.about_slices)
    watcher = _watcher(controls, store)
    line = alarm_line(transport.send, controls.ric.alarm_message_type)
    opened.callback(line.close)
    model = model_document(controls.leader, leader.name, configuration.version, leader_election.epoch)
    sdl_documents = SdlDocuments(
        store, loop.log, model=model, cells=lambda: [link.tracker.cell for link in receiver.links()]
    )
    sdl_documents.on_lost += [cells.subscriptions.remember_again, policies.a1.save_again]
    sdl_documents.on_lost += [kind.save_again for kind in kinds.values()]
    return Parts(
        configuration=configuration,
        metrics=metrics,
        task_runner=task_runner,
        transport=transport,
        endpoint=endpoint,
        store=store,
        policy_store=policy_store,
        leader_election=leader_election,
        sender=sender,
        receiver=receiver,
        policies=policies,
        loop=loop,
        kpi_guards=kpi_guards,
        kinds=kinds,
        cells=cells,
        kind_choice=kind_choice,
        watcher=watcher,
        registrar=Registrar(
            controls.ric.appmgr_url, registration(configuration, endpoint), timeout_s=controls.ric.request_timeout_s
        ),
        alarm_line=line,
        alarms=Alarms(line.send, application=configuration.name, message_type=controls.ric.alarm_message_type),
        alarm_watch=_alarm_watch(
            controls,
            metrics,
            cells,
            watcher,
            store,
            task_runner,
            [
                pacer_stands_still(loop),
                leader_not_asked(loop),
                stands_by(leader_election),
                has_second_router(transport),
            ],
            kpi_guards,
        ),
        sdl_documents=sdl_documents,
    )


def registration(configuration: Configuration, endpoint: ClientEndpoint) -> Registration:
    """The registration at appmgr."""
    return Registration(
        appName=os.environ.get("HOSTNAME") or configuration.name,
        appInstanceName=configuration.name,
        appVersion=configuration.version,
        httpEndpoint=f"{endpoint.host}:{endpoint.http_port}",
        rmrEndpoint=f"{endpoint.rmr_host}:{endpoint.rmr_port}",
        config=json.dumps(completed(configuration.document())),
    )


def _renewed(renew_leader: Callable[[], Leader], name: str, kpi_guards: KpiGuards) -> Leader:
    """A leader in the place of one that did not return. What its files hold may have changed since the start."""
    leader = renew_leader()
    kpi_guards.leader_is(bundle_hash(name))
    return leader


def _sender(
    controls: Controls, transport: Transport, metrics: Metrics, observer: Observer, leader_election: LeaderElection
) -> ControlSender:
    """Silent for as long as another instance controls."""
    sender = ControlSender(
        transport,
        metrics,
        instance_epoch=leader_election.epoch,
        lease_periods=controls.lease_periods,
        observer=observer,
    )
    sender.on_refused = leader_election.refused
    if leader_election.role is not Role.CONTROL:
        sender.enter_standby()
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
    controls: Controls,
    metrics: Metrics,
    cells: Cells,
    watcher: NodeWatcher,
    store: SharedStore,
    task_runner: TaskRunner,
    others: Sequence[Callable[[], Failing | None]],
    kpi_guards: KpiGuards,
) -> AlarmWatch:
    return AlarmWatch(
        totals=metrics.totals,
        silence_s=cells.silence_s,
        nodes=lambda: {name: node.connected for name, node in watcher.nodes.items() if cells.should_report(name)},
        sdl_healthy=lambda: store.healthy and store.takes_writes,
        report_period_ms=controls.report_period_ms,
        failing_tasks=lambda: {
            name: failure.error for name, failure in task_runner.failures.items() if failure.is_failing
        },
        others=others,
        by_cell=kpi_guards.failing,
    )


def pacer_stands_still(loop: ControlLoop) -> Callable[[], Failing | None]:
    """The condition of an alarm."""

    def failing() -> Failing | None:
        problem = loop.heartbeat.problem
        return Failing(Problem.PACER_STANDS_STILL, "", problem) if problem else None

    return failing


def leader_not_asked(loop: ControlLoop) -> Callable[[], Failing | None]:
    """The condition of an alarm."""

    def failing() -> Failing | None:
        problem = loop.watched_leader.problem
        return Failing(Problem.LEADER_NOT_ASKED, "", problem) if problem else None

    return failing


def stands_by(leader_election: LeaderElection) -> Callable[[], Failing | None]:
    """The condition of an alarm."""

    def failing() -> Failing | None:
        return Failing(Problem.STANDING_BY, "", "nothing is sent") if leader_election.is_refused else None

    return failing


def has_second_router(transport: RmrEndpoint) -> Callable[[], Failing | None]:
    """The condition of an alarm."""

    def failing() -> Failing | None:
        problem = transport.route_problem
        return Failing(Problem.ROUTES_FROM_ELSEWHERE, "", problem) if problem else None

    return failing

"""The tasks of a running xApp: what is periodic, what may block, and who may do it while two instances are there."""

from __future__ import annotations

import logging
import time

from xapp.ric.leader_election import Role
from xapp.run.parts import POLICIES, QUOTAS, Parts, registration
from xapp.run.status import set_gauges
from xapp.run.task_runner import PeriodicTask, every

SUBSCRIPTIONS = "subscriptions"
"""The task, and the thread, of whatever must stay prompt."""
ANSWERS = "unanswered_controls"
"""The task, and the thread, that gives up answers: until it has run, quotas that wait for them are not sent."""
QUOTAS_S = 1.0
SWEEP_S = 0.5
GAUGES_S = 1.0
ALARMS_S = 1.0
DOCUMENTS_S = 1.0
EVENTS_S = 0.25
"""How often the R-NIB's events are taken."""
CONFIGURATION_S = 2.0
"""How often the descriptor's file is looked at."""
REGISTRATION = "registration"
IDLE_S = 5.0
"""Pause of a task that has nothing to do until it is woken."""
REGISTER_FIRST_S = 3.0
"""How long subscriptions wait for the registration."""


class PeriodicTasks:
    """Of one xApp, whose parts all exist before the first task is done."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._poll_nodes_at_s = 0.0
        self._was_in_standby = False
        self._controls_since_s = time.monotonic()
        parts.leader_election.on_role = self.on_role
        parts.policies.on_changed = lambda: parts.task_runner.wake(SUBSCRIPTIONS)

    def add(self) -> None:
        """Give the task runner what is done periodically, or may block. Threads: subscriptions wait for nobody."""
        add = self._parts.task_runner.add
        add(PeriodicTask(SUBSCRIPTIONS, self.subscribe, task_thread=SUBSCRIPTIONS))
        add(PeriodicTask("nodes", self.look_at_nodes, task_thread="nodes"))
        add(PeriodicTask("leader election", self._parts.leader_election.run, task_thread="leader election"))
        add(PeriodicTask(REGISTRATION, self.register, task_thread=REGISTRATION))
        add(PeriodicTask(QUOTAS, every(QUOTAS_S, self._parts.save_quotas), task_thread=QUOTAS))
        add(PeriodicTask(POLICIES, self._parts.policies.a1.run_due, task_thread=POLICIES))
        add(PeriodicTask("configuration", every(CONFIGURATION_S, self.follow_configuration)))
        add(PeriodicTask(ANSWERS, every(SWEEP_S, self._parts.sender.sweep), task_thread=ANSWERS))
        add(PeriodicTask("gauges", every(GAUGES_S, lambda: set_gauges(self._parts))))
        add(PeriodicTask("documents", every(DOCUMENTS_S, self.write_documents)))
        add(PeriodicTask("alarms", every(ALARMS_S, self.look_for_alarms)))

    def on_role(self, role: Role) -> None:
        """Told by the leader election's task: who may send, subscribe and be registered."""
        if role is Role.CONTROL:
            self._parts.sdl_documents.claimed(self._parts.leader_election.epoch)
            if self._was_in_standby:  # what was known then is forgotten before anything is sent
                self._parts.cells.take_control(node for node in self._parts.watcher.nodes.values() if node.connected)
                self._parts.registrar.resume()
                self._parts.policies.a1.look_again()
            self._parts.sender.take_control(self._parts.leader_election.epoch)
            self._controls_since_s = time.monotonic()
            for task in (REGISTRATION, SUBSCRIPTIONS):
                self._parts.task_runner.wake(task)
        elif role is Role.SHADOW:
            self._was_in_standby = True
            self._parts.sender.enter_standby()
            self._parts.cells.enter_standby()
            self._parts.registrar.abandon()
            if not self._parts.leader_election.is_refused:  # else nobody is there who would speak in its place
                self._parts.alarms.forget()

    def register(self) -> float:
        """Who controls is registered; once it is, subscriptions need not wait any longer."""
        if self._parts.leader_election.role is not Role.CONTROL or not self._parts.controls.ric.appmgr_url:
            return IDLE_S
        was_registered = self._parts.registrar.registered
        next_s = self._parts.registrar.run()
        if self._parts.registrar.registered and not was_registered:
            self._parts.task_runner.wake(SUBSCRIPTIONS)
        return next_s

    def subscribe(self) -> float:
        """The platform routes reports only to an endpoint that it knows: an appmgr that answers is told first."""
        if self._parts.leader_election.role is not Role.CONTROL:
            return IDLE_S
        first_s = REGISTER_FIRST_S - (time.monotonic() - self._controls_since_s)
        if self._parts.controls.ric.appmgr_url and not self._parts.registrar.registered and first_s > 0:
            return first_s
        self._parts.kind_choice.run()
        return self._parts.cells.run_due()

    def look_at_nodes(self) -> float:
        """Events at once, and a poll from time to time, as events are not kept for those who were away."""
        events = self._parts.watcher.listen()
        now_s = time.monotonic()
        if self._parts.watcher.news or now_s >= self._poll_nodes_at_s:
            events += self._parts.watcher.poll()
            self._poll_nodes_at_s = now_s + self._parts.controls.ric.poll_period_s
        for event in events:
            self._parts.cells.on_node(event)
        if events:
            self._parts.task_runner.wake(SUBSCRIPTIONS)
        period_s = self._parts.controls.ric.poll_period_s
        return min(EVENTS_S, period_s) if self._parts.store.is_shared else period_s

    def follow_configuration(self) -> None:
        """What can change while everything runs; see configuration.LIVE."""
        if not self._parts.configuration.poll():
            return
        controls = self._parts.controls
        self._parts.loop.configure(controls)
        self._parts.sender.lease_periods = controls.lease_periods
        self._parts.policies.configure(controls)
        logging.getLogger().setLevel(controls.log_level.upper())
        self._parts.registrar.update(registration(self._parts.configuration, self._parts.endpoint))
        self._parts.task_runner.wake("nodes")

    def write_documents(self) -> None:
        """Shared data are about who controls."""
        if self._parts.leader_election.role is Role.CONTROL:
            self._parts.sdl_documents.run()

    def look_for_alarms(self) -> None:
        """So are alarms, and about an instance that a node refused."""
        election = self._parts.leader_election
        if election.role is Role.CONTROL or election.is_refused:
            self._parts.alarms.observe(self._parts.alarm_watch.failing(), healthy=self._parts.alarm_watch.watched())
            self._parts.alarms.run()

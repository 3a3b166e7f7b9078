"""The chores of a running xApp: what is periodic, what may block, and who may do it while two instances are there."""

from __future__ import annotations

import logging
import time

from xapp.ric.succession import Role
from xapp.run.parts import POLICIES, QUOTAS, Parts, registration
from xapp.run.status import set_gauges
from xapp.run.task_runner import Chore, every

SUBSCRIPTIONS = "subscriptions"
"""The chore, and the lane, of whatever must stay prompt."""
ANSWERS = "unanswered_controls"
"""The chore, and the lane, that gives up answers: until it has run, quotas that wait for them are not sent."""
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
"""Pause of a chore that has nothing to do until it is woken."""
REGISTER_FIRST_S = 3.0
"""How long subscriptions wait for the registration."""


class Chores:
    """Of one xApp, whose parts all exist before the first chore is done."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._poll_nodes_at_s = 0.0
        self._has_stood_back = False
        self._controls_since_s = time.monotonic()
        parts.succession.on_role = self.on_role

    def add(self) -> None:
        """Give housekeeping what is done periodically, or may block. Lanes: subscriptions wait for nobody."""
        add = self._parts.housekeeping.add
        add(Chore(SUBSCRIPTIONS, self.subscribe, lane=SUBSCRIPTIONS))
        add(Chore("nodes", self.look_at_nodes, lane="nodes"))
        add(Chore("succession", self._parts.succession.run, lane="succession"))
        add(Chore(REGISTRATION, self.register, lane=REGISTRATION))
        add(Chore(QUOTAS, every(QUOTAS_S, self._parts.quotas.save), lane=QUOTAS))
        add(Chore(POLICIES, self._parts.policies.a1.run_due, lane=POLICIES))
        add(Chore("configuration", every(CONFIGURATION_S, self.follow_configuration)))
        add(Chore(ANSWERS, every(SWEEP_S, self._parts.sender.sweep), lane=ANSWERS))
        add(Chore("gauges", every(GAUGES_S, lambda: set_gauges(self._parts))))
        add(Chore("documents", every(DOCUMENTS_S, self.write_documents)))
        add(Chore("alarms", every(ALARMS_S, self.look_for_alarms)))

    def on_role(self, role: Role) -> None:
        """Told by the succession's chore: who may send, subscribe and be registered."""
        if role is Role.CONTROL:
            self._parts.documents.claimed(self._parts.succession.epoch)
            if self._has_stood_back:  # what was known then is forgotten before anything is sent
                self._parts.cells.step_forward(node for node in self._parts.watcher.nodes.values() if node.connected)
                self._parts.registrar.resume()
                self._parts.policies.a1.look_again()
            self._parts.sender.step_forward(self._parts.succession.epoch)
            self._controls_since_s = time.monotonic()
            for chore in (REGISTRATION, SUBSCRIPTIONS):
                self._parts.housekeeping.wake(chore)
        elif role is Role.SHADOW:
            self._has_stood_back = True
            self._parts.sender.stand_back()
            self._parts.cells.stand_back()
            self._parts.registrar.abandon()
            self._parts.alarms.forget()

    def register(self) -> float:
        """Who controls is registered; once it is, subscriptions need not wait any longer."""
        if self._parts.succession.role is not Role.CONTROL or not self._parts.controls.ric.appmgr_url:
            return IDLE_S
        was_registered = self._parts.registrar.registered
        next_s = self._parts.registrar.run()
        if self._parts.registrar.registered and not was_registered:
            self._parts.housekeeping.wake(SUBSCRIPTIONS)
        return next_s

    def subscribe(self) -> float:
        """The platform routes reports only to an endpoint that it knows: an appmgr that answers is told first."""
        if self._parts.succession.role is not Role.CONTROL:
            return IDLE_S
        first_s = REGISTER_FIRST_S - (time.monotonic() - self._controls_since_s)
        if self._parts.controls.ric.appmgr_url and not self._parts.registrar.registered and first_s > 0:
            return first_s
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
            self._parts.housekeeping.wake(SUBSCRIPTIONS)
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
        self._parts.housekeeping.wake("nodes")

    def write_documents(self) -> None:
        """Shared data are about who controls."""
        if self._parts.succession.role is Role.CONTROL:
            self._parts.documents.run()

    def look_for_alarms(self) -> None:
        """So are alarms."""
        if self._parts.succession.role is Role.CONTROL:
            self._parts.alarms.observe(self._parts.alarm_watch.failing(), healthy=self._parts.alarm_watch.watched())
            self._parts.alarms.run()

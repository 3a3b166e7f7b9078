"""The chores of a running xApp: what is periodic, what may block, and who may do it while two instances are there."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from xapp.ric.succession import Role
from xapp.run.status import set_gauges
from xapp.run.task_runner import Chore, Housekeeping, every

if TYPE_CHECKING:
    from xapp.run.app import App

POLICIES = "policies"
"""The chore, and the lane, of A1: a policy changes the very next decision."""
SUBSCRIPTIONS = "subscriptions"
"""The chore, and the lane, of whatever must stay prompt."""
ANSWERS = "unanswered_controls"
"""The chore, and the lane, that gives up answers: until it has run, quotas that wait for them are not sent."""
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
REGISTRATION = "registration"
IDLE_S = 5.0
"""Pause of a chore that has nothing to do until it is woken."""
REGISTER_FIRST_S = 3.0
"""How long subscriptions wait for the registration."""


class Chores:
    """Of one xApp, whose parts all exist before the first chore is done."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._poll_nodes_at_s = 0.0
        self._has_stood_back = False
        self._controls_since_s = 0.0

    def housekeeping(self) -> Housekeeping:
        """What is done periodically, or may block. Lanes: subscriptions wait for nobody."""
        self._controls_since_s = time.monotonic()
        house = Housekeeping(self._app.metrics)
        house.add(Chore(SUBSCRIPTIONS, self.subscribe, lane=SUBSCRIPTIONS))
        house.add(Chore("nodes", self.look_at_nodes, lane="nodes"))
        house.add(Chore("succession", self._app.succession.run, lane="succession"))
        house.add(Chore(REGISTRATION, self.register, lane=REGISTRATION))
        house.add(Chore(QUOTAS, every(QUOTAS_S, self._app.quotas.save), lane=QUOTAS))
        house.add(Chore(POLICIES, self._app.policies.a1.run_due, lane=POLICIES))
        self._app.policies.a1.wake = lambda: house.wake(POLICIES)
        house.add(Chore("configuration", every(CONFIGURATION_S, self.follow_configuration)))
        house.add(Chore(ANSWERS, every(SWEEP_S, self._app.sender.sweep), lane=ANSWERS))
        house.add(Chore("gauges", every(GAUGES_S, lambda: set_gauges(self._app))))
        house.add(Chore("documents", every(DOCUMENTS_S, self.write_documents)))
        house.add(Chore("alarms", every(ALARMS_S, self.look_for_alarms)))
        return house

    def on_role(self, role: Role) -> None:
        """Told by the succession's chore: who may send, subscribe and be registered."""
        if role is Role.CONTROL:
            self._app.documents.claimed(self._app.succession.epoch)
            if self._has_stood_back:  # what was known then is forgotten before anything is sent
                self._app.cells.step_forward(node for node in self._app.watcher.nodes.values() if node.connected)
                self._app.registrar.resume()
                self._app.policies.a1.look_again()
            self._app.sender.step_forward(self._app.succession.epoch)
            self._controls_since_s = time.monotonic()
            for chore in (REGISTRATION, SUBSCRIPTIONS):
                self._app.housekeeping.wake(chore)
        elif role is Role.SHADOW:
            self._has_stood_back = True
            self._app.sender.stand_back()
            self._app.cells.stand_back()
            self._app.registrar.abandon()
            self._app.alarms.forget()

    def register(self) -> float:
        """Who controls is registered; once it is, subscriptions need not wait any longer."""
        if self._app.succession.role is not Role.CONTROL or not self._app.controls.ric.appmgr_url:
            return IDLE_S
        was_registered = self._app.registrar.registered
        next_s = self._app.registrar.run()
        if self._app.registrar.registered and not was_registered:
            self._app.housekeeping.wake(SUBSCRIPTIONS)
        return next_s

    def subscribe(self) -> float:
        """The platform routes reports only to an endpoint that it knows: an appmgr that answers is told first."""
        if self._app.succession.role is not Role.CONTROL:
            return IDLE_S
        first_s = REGISTER_FIRST_S - (time.monotonic() - self._controls_since_s)
        if self._app.controls.ric.appmgr_url and not self._app.registrar.registered and first_s > 0:
            return first_s
        return self._app.cells.run_due()

    def look_at_nodes(self) -> float:
        """Events at once, and a poll from time to time, as events are not kept for those who were away."""
        events = self._app.watcher.listen()
        now_s = time.monotonic()
        if self._app.watcher.news or now_s >= self._poll_nodes_at_s:
            events += self._app.watcher.poll()
            self._poll_nodes_at_s = now_s + self._app.controls.ric.poll_period_s
        for event in events:
            self._app.cells.on_node(event)
        if events:
            self._app.housekeeping.wake(SUBSCRIPTIONS)
        period_s = self._app.controls.ric.poll_period_s
        return min(EVENTS_S, period_s) if self._app.store.is_shared else period_s

    def follow_configuration(self) -> None:
        """What can change while everything runs; see configuration.LIVE."""
        if not self._app.configuration.poll():
            return
        controls = self._app.controls
        self._app.loop.configure(controls)
        self._app.sender.lease_periods = controls.lease_periods
        self._app.policies.configure(controls)
        logging.getLogger().setLevel(controls.log_level.upper())
        self._app.registrar.update(self._app.registration())
        self._app.housekeeping.wake("nodes")

    def write_documents(self) -> None:
        """Shared data are about who controls."""
        if self._app.succession.role is Role.CONTROL:
            self._app.documents.run()

    def look_for_alarms(self) -> None:
        """So are alarms."""
        if self._app.succession.role is Role.CONTROL:
            self._app.alarms.observe(self._app.alarm_watch.failing(), healthy=self._app.alarm_watch.watched())
            self._app.alarms.run()

"""`stackmac gnb`: a simulated E2 node. The radio is the simulator's, the E2 interface is real.

One thread owns MAC and E2 agent: it plays slots when they are due, reports at period boundaries, and in between handles
what the association's threads put into its inbox.
"""

from __future__ import annotations

import logging
import queue
import time
from typing import Any, Literal, NamedTuple

import typer

from policy.errors import UserMistake, counted
from policy.observation import PROFILES
from training.command_line.options import command
from training.simulator.scenario import Scenario, make_scenario
from xapp.lab.counters import Counters
from xapp.lab.e2_link.e2_transport import E2Association, E2Client
from xapp.lab.e2_link.e2_wire import choose_wire
from xapp.lab.gnb.behaviour import NodeDied, make_behaviour
from xapp.lab.gnb.e2_agent import E2Agent
from xapp.lab.gnb.mac import Mac
from xapp.lab.gnb.options import CONTROLS, GnbOptions, check_control, make_followers
from xapp.lab.gnb.ran_functions import make_carriers, make_identity
from xapp.lab.gnb.slot_clock import SlotClock
from xapp.lab.gnb.status import CellScreen, figures
from xapp.lab.status_lines import Lines
from xapp.rmr.routes import is_endpoint

logger = logging.getLogger(__name__)

BURST_SLOTS = 5
"""Slots played between two looks into the inbox, and together where nothing comes in: each wake-up costs more than a
slot."""
INBOX_PDUS = 256
"""When full the association's reader waits: back pressure on the RIC."""
INBOX_PATIENCE_S = 1.0
"""A PDU that does not fit by then is dropped and counted; that an association began or ended never is."""
PDUS_A_TURN = 32
"""PDUs handled before the slots that are due get their turn: a flood must not stop the MAC."""
SUBSCRIPTION_GRACE_S = 5.0
"""With start_on_subscription: how long after the first subscription the others are waited for."""
IDLE_S = 0.05
SETUP_PATIENCE_S = 5.0
"""An association that the RIC has not accepted by then is given up, and made anew."""


class _Event(NamedTuple):
    """Something that the association's threads hand to the node's."""

    kind: Literal["open", "pdu", "close"]
    association: E2Association
    pdu: bytes = b""


class Gnb:
    """The node; `run` owns the calling thread until `lines.stop`."""

    def __init__(self, options: GnbOptions) -> None:
        """Raises UserMistake for options that do not fit together; one line each."""
        self.options = options
        if not is_endpoint(options.e2):
            raise UserMistake(f"--e2 is {options.e2!r}, expected host:port")
        if options.observe not in PROFILES:
            raise UserMistake(f"--observe is {options.observe!r}, expected one of {', '.join(PROFILES)}")
        if options.control not in ("", *CONTROLS):
            raise UserMistake(f"--control is {options.control!r}, expected one of {', '.join(CONTROLS)}")
        behaviour = make_behaviour(options.behave)
        check_control(options.behave, options.control)
        self.control: Literal["dcm", "ccc", "rc"] = "dcm"
        if options.control == "ccc":
            self.control = "ccc"
        elif options.control == "rc" or options.behave:
            self.control = "rc"
        self.observe = behaviour.observe if options.behave and options.observe == "full" else options.observe
        k = options.slots_per_dcm()
        self.scenario: Scenario = make_scenario(options.scenario).with_(slots_per_dcm=k)
        self.wire = choose_wire(options.e2_transport)
        self.counters = Counters()
        carriers = make_carriers(options.gnb_id, options.cells, self.scenario.num_rbgs)
        self.mac = Mac(
            self.scenario, carriers, options.ues, options.seed, make_followers(options.followers, options.bundle, k)
        )
        self.agent = E2Agent(
            self.mac,
            make_identity(options.gnb_id, is_du=behaviour.is_du),
            period_ms=options.period_ms,
            profile=PROFILES[self.observe],
            counters=self.counters,
            control=self.control,
            dialect=options.dialect,
            behaviour=behaviour,
        )
        self.clock = SlotClock(k, options.period_ms / 1e3)
        self._screens = [CellScreen(carrier.cell, carrier.num_rbgs) for carrier in carriers]
        host, _, port = options.e2.rpartition(":")
        self._address = (host, int(port))
        self._inbox: queue.Queue[_Event] = queue.Queue(INBOX_PDUS)
        self._association: E2Association | None = None
        self._opened_s = 0.0
        self._reported_slot = -1
        self._first_subscription_s: float | None = None
        self._window: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        """RAN name."""
        return self.agent.identity.ran_name

    def run(self, lines: Lines) -> None:
        """Play, report, answer, until asked to stop."""
        warm_up(self.scenario, self.mac)
        client = E2Client(*self._address, self.wire, self._on_open, self._on_pdu, self._on_close, self.counters)
        try:
            lines.emit("ready", self.description())
            if not self.options.start_on_subscription:
                self.clock.start(time.monotonic())
            while not lines.stop.is_set():
                self._handle_events()
                now_s = time.monotonic()
                if self._association and not self.agent.set_up and now_s - self._opened_s > SETUP_PATIENCE_S:
                    self._association.close("not_accepted")
                self._advance(now_s)
                if lines.status_due():
                    lines.emit("status", self.status())
            lines.emit("final", self.final())
        finally:
            client.close()

    def description(self) -> dict[str, Any]:
        """The `ready` line."""
        rule = "best-response rule" if self.options.followers == "rule" else "learned"
        return {
            "name": self.name,
            "cells": [carrier.cell for carrier in self.mac.carriers],
            "ues": self.options.ues,
            "scenario": self.scenario.name,
            "k": self.scenario.slots_per_dcm,
            "period_ms": self.options.period_ms,
            "followers": rule,
            "control": self.control,
            "observe": self.observe,
            "behave": self.options.behave,
            "e2_transport": self.wire,
        }

    # -- the association's threads -----------------------------------------------------------------------------------

    def _on_open(self, association: E2Association) -> None:
        self._put(_Event("open", association))

    def _on_pdu(self, association: E2Association, pdu: bytes) -> None:
        self._put(_Event("pdu", association, pdu))

    def _on_close(self, association: E2Association, reason: str) -> None:
        logger.info("E2 association ended: %s", reason)
        self._put(_Event("close", association))

    def _put(self, event: _Event) -> None:
        try:
            self._inbox.put(event, timeout=INBOX_PATIENCE_S if event.kind == "pdu" else None)
        except queue.Full:
            self.counters.add("inbox_full")

    # -- the node's thread -------------------------------------------------------------------------------------------

    def _handle_events(self) -> None:
        """Wait until a burst is due or something comes, then take what is there."""
        try:
            event = self._inbox.get(timeout=self._idle_s())
            self._advance(time.monotonic())  # it meets the MAC at its slot
            self._handle(event)
            for _ in range(PDUS_A_TURN - 1):
                self._handle(self._inbox.get_nowait())
        except queue.Empty:
            pass

    def _idle_s(self) -> float:
        if not self.clock.started:
            return IDLE_S
        if self._reported_slot < 0:
            return 1e-6
        slot, k = self.mac.slot, self.scenario.slots_per_dcm
        last = slot + self._up_to_window(min(BURST_SLOTS, k - slot % k)) - 1
        return min(max(self.clock.due_at_s(last) - time.monotonic(), 1e-6), IDLE_S)

    def _handle(self, event: _Event) -> None:
        if event.kind == "open":
            self._association, self._opened_s = event.association, time.monotonic()
            self._send([self.agent.connected()])
        elif event.association is not self._association:
            pass  # of an association that has been replaced
        elif event.kind == "close":
            self._association = None
            self.agent.disconnected()
        else:
            self._send(self.agent.handle(event.pdu))

    def _send(self, pdus: list[bytes]) -> None:
        if self._association is None:
            return
        for pdu in pdus:
            if not self._association.send(pdu):
                self.counters.add("e2_not_sent")

    def _advance(self, now_s: float) -> None:
        """Report if a period begins; play a burst of what is due; report if that ended a period."""
        if not self.clock.started and self._may_start(now_s):
            self.clock.start(now_s)
        if not self.clock.started:
            return
        self._report()
        first = self.mac.slot
        due = self.clock.slots_due(first, now_s, self._up_to_window(BURST_SLOTS))
        if due:
            played = self.mac.play(due)
            self.clock.played(first, played, now_s)
            if self.mac.slot == self.options.slots:
                self._window = self._measured()
            self._report()

    def _may_start(self, now_s: float) -> bool:
        if self.agent.subscriptions and self._first_subscription_s is None:
            self._first_subscription_s = now_s
        waited = self._first_subscription_s is not None and now_s - self._first_subscription_s > SUBSCRIPTION_GRACE_S
        return self.agent.covered or waited

    def _up_to_window(self, slots: int) -> int:
        """The metrics window ends with a slot, not within a burst."""
        left = self.options.slots - self.mac.slot
        return min(slots, left) if left > 0 else slots

    def _report(self) -> None:
        """Send the reports of a boundary, once, before the period's first slot is played."""
        if not self.mac.at_boundary or self._reported_slot == self.mac.slot:
            return
        self._reported_slot = self.mac.slot
        reports = self.mac.observe()
        for screen, report in zip(self._screens, reports):
            screen.on_report(report)
        pdus = self.agent.indications(reports)
        self.counters.add("reports_sent", len(pdus))
        self._send(pdus)

    # -- numbers -----------------------------------------------------------------------------------------------------

    def _measured(self) -> dict[str, Any]:
        metrics = self.mac.metrics()
        return {"slots_run": self.mac.slot, "slots_late": self.clock.slots_late, **figures(metrics)}

    def status(self) -> dict[str, Any]:
        """Everything until now."""
        metrics = self.mac.metrics()
        return {
            **self._measured(),
            "slots_total": self.mac.slot,
            "wall_debt_dropped_s": self.clock.dropped_s,
            "reports_sent": self.counters["reports_sent"],
            "controls_received": self.counters["controls_received"],
            "controls_accepted": self.counters["controls_accepted"],
            "controls_applied": self.mac.counts["applied"],
            "controls_superseded": self.mac.counts["superseded"],
            "controls_late": self.mac.counts["late"],
            "controls_failed": self.counters.starting_with("control_failed_"),
            "releases": self.mac.counts["released"],
            "transmissions_outside_grant": sum(cell.transmissions_outside_grant for cell in metrics),
            "own_scheduler_periods": self.mac.own_scheduler_periods,
            "ues_limited": sum(len(quotas.limited()) for quotas in self.mac.quotas),
            "slices_limited": sum(table.limited for table in self.mac.slices),
            "slice_reports_under_ratio": self.counters["slice_reports_under_ratio"],
            "slice_reports_over_ratio": self.counters["slice_reports_over_ratio"],
            "least_quota_percent": self.mac.least_quota_percent,
            "ue_reports_under_quota": self.counters["ue_reports_under_quota"],
            "ue_reports_over_quota": self.counters["ue_reports_over_quota"],
            "connected": self.agent.set_up,
            "subscriptions": self.agent.subscriptions,
            "counters": self.counters.snapshot(),
            "cells": [
                screen.show(self.mac.batch.ue_table(row), self.mac.quotas[row].limited())
                for row, screen in enumerate(self._screens)
            ],
        }

    def final(self) -> dict[str, Any]:
        """The status, with its metrics over exactly the first `slots` slots when so many were played."""
        return {**self.status(), **(self._window or {})}


def warm_up(scenario: Scenario, mac: Mac) -> None:
    """Have the simulator's core compiled before time begins to count, on a world of its own."""
    from training.simulator.cell import CellBatch

    batch = CellBatch(scenario, 1, 1, 0)
    batch.observe()
    batch.play(None, 1, mac.followers)


def _human(event: str, fields: dict[str, Any]) -> str:
    if event == "ready":
        return (
            f"gNB {fields['name']}: {counted(len(fields['cells']), 'cell')} x {counted(fields['ues'], 'UE')}, "
            f"scenario {fields['scenario']}, K = {counted(fields['k'], 'slot')} per {fields['period_ms']} ms, "
            f"followers: {fields['followers']}, control: {fields['control']}, observed: {fields['observe']}, "
            f"E2 over {fields['e2_transport']}"
        )
    throughput = fields["throughput_mbps"] or 0.0
    return (
        ("" if fields["connected"] else "no E2 association; ")
        + f"slot {fields['slots_run']} ({fields['slots_late']} late), {throughput:.3f} Mbit/s a cell, "
        f"controls {fields['controls_applied']} applied of {fields['controls_received']}, "
        f"outside grants {fields['transmissions_outside_grant']}"
        + "".join(f"\n  {cell['cell']} [{cell['strip']}]" for cell in fields["cells"])
    )


gnb_app = typer.Typer(add_completion=False, rich_markup_mode=None)


@command(gnb_app, "gnb", GnbOptions)
def gnb_command(options: GnbOptions) -> None:
    """A simulated E2 node: cells, UEs and a MAC that obeys DCM controls, CCC ratios of slices, or RC quotas."""
    lines = Lines(options.json_lines, _human)
    lines.own_process()
    gnb = Gnb(options)
    try:
        gnb.run(lines)
    except NodeDied as death:
        raise NodeDied(f"died as {options.behave} would: {death}") from None

"""A control loop around one leader and one fake node, and leaders that are easy to recognise."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from waiting import PATIENCE_S

from policy.allocation import IDLE, Allocation
from policy.cell_state import CellState
from policy.intent import Intent
from policy.leader import Decision
from policy.time_scales import MAX_PERIOD_MS
from xapp.config.model import Controls
from xapp.control.cell_link import CellLink, Report, ReportSubscription
from xapp.control.control_loop import ControlLoop
from xapp.control.mailbox import Mailbox
from xapp.control.receiver import Receiver
from xapp.control.sender import ControlSender
from xapp.monitoring.metrics import Metrics

PERIOD_MS = 100


class AllIdle:
    """A leader whose answer is easy to recognise: every RBG IDLE."""

    name = "all_idle"

    def __init__(self) -> None:
        self.asked: list[int] = []

    def decide(
        self, states: Sequence[CellState], intents: Sequence[Intent], expired: Callable[[], bool]
    ) -> list[Decision]:
        self.asked.append(len(states))
        return [
            Decision(Allocation(state.ue_ids, np.full(state.num_rbgs, IDLE, np.int16)), decided_by="model")
            for state in states
        ]


class Slow(AllIdle):
    def __init__(self) -> None:
        super().__init__()
        self.started, self.go = threading.Event(), threading.Event()

    def decide(self, *args: Any) -> list[Decision]:
        self.started.set()
        self.go.wait(PATIENCE_S)
        return super().decide(*args)


class Deciding:
    """Receiver, mailbox, pacer and sender around one leader; reports are given to the receiver by the test."""

    def __init__(self, node: Any, leader: Any, **controls: Any) -> None:
        self.node = node
        self.metrics = Metrics()
        self.intent = Intent()
        self.intent_of: Callable[[CellState], Intent] = lambda state: self.intent
        self.settled: list[tuple[Intent, Allocation, bool]] = []
        # A busy machine is no silent cell and no slow leader: only tests of silence and deadlines give it less time.
        patient = {"stale_after_periods": 100.0, "decision_deadline_ms": MAX_PERIOD_MS}
        self.controls = Controls(**{"report_period_ms": PERIOD_MS, "coalesce_ms": 0.0, **patient, **controls})
        self.mailbox: Mailbox[Report] = Mailbox(self.controls.coalesce_ms / 1e3)
        self.sender = ControlSender(node.xapp, self.metrics, instance_epoch=1, lease_periods=2)
        self.receiver = Receiver(node.xapp, self.mailbox, self.sender, self.metrics)
        self.links: dict[str, CellLink] = {}
        self.loop = ControlLoop(
            self.controls,
            leader,
            self.mailbox,
            self.sender,
            self.metrics,
            links=self.receiver.links,
            intent_of=lambda state: self.intent_of(state),
            on_decided=lambda state, intent, allocation, sent: self.settled.append((intent, allocation, sent)),
        )
        self.link = node.link()
        self.receiver.attach(node.dcm_instance, ReportSubscription(node.cell, "dcm"), self.link)

    def report(self, sn: int, indication: Any = None, **changes: Any) -> None:
        self.receiver.on_message(self.node.dcm_message(sn, indication, **changes))

    def limit_everybody_to(self, percent: float) -> None:
        """As a policy does that names no UE."""
        self.intent_of = lambda state: Intent(max_share_percent=dict.fromkeys(state.ue_ids, percent))

    def control(self) -> Any:
        return self.node.next_control()[1]

    def decided(self, sn: int, indication: Any = None) -> Any:
        """The control that follows a report."""
        self.report(sn, indication)
        return self.control()

    @property
    def decided_by(self) -> dict[str, int]:
        by: dict[str, int] = self.metrics.summary()["decided_by"]
        return by

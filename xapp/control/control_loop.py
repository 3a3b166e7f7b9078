"""The pacer: a thread that turns the reports that wait into controls that are sent, by the deadline, whatever the model
does.

    mailbox -> intents -> model (in its worker), else fallback -> guard -> sender

Where the model gives no answer in time, the classical schedule for the same fresh state is sent. Where there is no
fresh state, the cell is released: nobody schedules on guesses.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from policy.allocation import Allocation
from policy.cell_state import CellState
from policy.guard import guard
from policy.intent import Intent, Mode
from policy.leader import Decision, Leader
from policy.schedulers.fallback import fallback, left_to_the_node
from xapp.config.model import Controls
from xapp.control.batch_limit import FRESH_SHARE, BatchLimit
from xapp.control.cell_link import CellLink, Report, node_of
from xapp.control.cell_tracker import Service
from xapp.control.decision_record import ControlOutcome, DecisionLog, DecisionRecord
from xapp.control.encoder import DecisionContext
from xapp.control.leader_thread import Answer, Worker
from xapp.control.mailbox import Mailbox
from xapp.control.newest_decisions import NewestDecisions
from xapp.control.observer import Batch, Observer
from xapp.control.sender import ControlSender
from xapp.control.watched_leader import WatchedLeader
from xapp.leader.heartbeat import MIN_LIMIT_S, Heartbeat
from xapp.leader.reasons import CLOSED, WITHHELD
from xapp.monitoring.metrics import Metrics

log = logging.getLogger(__name__)

INTENT = "intent"
"""Reason of a decision by the fallback because operators ask for it."""
CLOSE_TIMEOUT_S = 1.0


class Asked(Protocol):
    """Whoever is asked for decisions: xapp.control.watched_leader.WatchedLeader, or a recording that is replayed."""

    def ask(self, states: Sequence[CellState], intents: Sequence[Intent], deadline_s: float) -> Answer: ...

    def guarded(self, changed: bool) -> None: ...

    def close(self) -> None: ...


class Discretion:
    """Who says whether the leader may decide about a cell: xapp.kpi_guard, or a recording. This one lets it."""

    def withheld(self, report: Report, intent: Intent) -> str:
        """Why not now (a word of xapp.leader.reasons); empty = it may. Asked once for each report that is decided."""
        return ""

    def decided(self, record: DecisionRecord) -> None:
        """What became of it."""


OnDecided = Callable[[CellState, Intent, Allocation, bool, Service | None], None]
"""Called with the state, the intent, the allocation, whether it was sent, and what was served before that state."""


class ControlLoop:
    """The pacer's thread, and the worker in which the model decides."""

    def __init__(
        self,
        controls: Controls,
        leader: Leader,
        mailbox: Mailbox[Report],
        sender: ControlSender,
        metrics: Metrics,
        *,
        links: Callable[[], Sequence[CellLink]],
        intent_of: Callable[[CellState], Intent] = lambda state: Intent(),
        on_decided: OnDecided = lambda state, intent, allocation, sent, service: None,
        observer: Observer | None = None,
        renew_leader: Callable[[], Leader] | None = None,
        worker: Asked | None = None,
        discretion: Discretion | None = None,
    ) -> None:
        """links: the cells that are attached now. intent_of: gives what operators want of a cell now; it is asked
        before a decision is made, and again before it is sent. on_decided: is told what became of a decision.
        renew_leader: see Worker. worker: is asked for decisions in place of a thread around `leader`. discretion: where
        it withholds a cell from the leader the node decides, under the same limits.
        """
        self._controls = controls
        self._mailbox = mailbox
        self._sender = sender
        self._metrics = metrics
        self._links = links
        self._intent_of = intent_of
        self._on_decided = on_decided
        self._leader = leader
        self._worker = worker or self._watched(renew_leader)
        self._discretion = discretion or Discretion()
        self.heartbeat = Heartbeat(max(MIN_LIMIT_S, controls.beat_limit_s), self._let_go)
        self._stood_still = 0
        """Of the heartbeat, when the batch at hand was begun."""
        self._observer = observer or Observer()
        self.log = DecisionLog()
        self._decisions = 0
        self.between_periods: Callable[[], None] = lambda: None
        """Called in the pacer's thread when a batch has been sent, or none has come for a while."""
        self._closed = threading.Event()
        self._stale_after_s = controls.stale_after_periods * controls.report_period_ms / 1e3
        self._newest = NewestDecisions()
        self._batch_limit = BatchLimit()
        self._thread = threading.Thread(target=self._run, name="pacer", daemon=True)

    def _watched(self, renew: Callable[[], Leader] | None) -> Asked:
        """The leader in its thread, behind its circuit breaker."""
        metrics = self._metrics
        worker = Worker(
            self._leader,
            on_late=lambda: metrics.count("late_answers"),
            on_error=self._on_leader_error,
            on_given_up=lambda: metrics.count("leaders_given_up"),
            limits=self._controls.leader_limits,
            renew=renew,
        )
        self.watched_leader = WatchedLeader(self._leader, worker, self._controls.breaker, metrics)
        return self.watched_leader

    def start(self) -> None:
        """Begin to decide."""
        self._thread.start()
        self.heartbeat.start()

    def configure(self, controls: Controls) -> None:
        """Use these deadlines from the next decision on; the report period stays as it is. Any thread may call it."""
        self._controls = controls
        self._stale_after_s = controls.stale_after_periods * controls.report_period_ms / 1e3
        self.heartbeat.limit_s = max(MIN_LIMIT_S, controls.beat_limit_s)

    def _run(self) -> None:
        while not self._closed.is_set():
            self.heartbeat.beat()
            deadline_s = self._controls.deadline_ms / 1e3
            batch = self._mailbox.take(
                self._controls.beat_s, self._batch_limit.most(deadline_s), FRESH_SHARE * deadline_s
            )
            try:
                if batch:
                    begun_s = time.monotonic()
                    self.decide([report for _, report in batch])
                    self._batch_limit.note(len(batch), time.monotonic() - begun_s)
                self._release_stale()
                self._sender.pump()
                self.between_periods()
            except Exception:  # a bug must cost one period, not the loop: leases give the MAC back to the node
                self._metrics.drop("pacer_error")
                log.exception("the pacer failed on a batch of %d cells", len(batch))

    def decide(self, reports: Sequence[Report]) -> None:
        """Decide about a batch of cells and send what was decided. The deadline counts from the arrival of the oldest
        report.
        """
        started_s, self._stood_still = time.monotonic(), self.heartbeat.missed
        for report in reports:
            self._sender.reported(node_of(report.state.cell), report.kpm)
        states = [report.state for report in reports]
        intents = [self._intent_of(state) for state in states]
        withheld = [self._withheld(report, intent) for report, intent in zip(reports, intents, strict=True)]
        asked = [i for i, why in enumerate(withheld) if not why]
        answer = Answer(None)
        if asked:
            waited_s = (time.perf_counter_ns() - min(report.received_ns for report in reports)) / 1e9
            deadline_s = time.monotonic() + self._controls.deadline_ms / 1e3 - waited_s
            answer = self._worker.ask([states[i] for i in asked], [intents[i] for i in asked], deadline_s)
        if answer.reason == CLOSED:
            return
        decision_ms = (time.monotonic() - started_s) * 1e3
        answered = dict(zip(asked, answer.decisions or ()))
        records: list[DecisionRecord] = []
        for i, (report, intent) in enumerate(zip(reports, intents, strict=True)):
            try:
                # The classical schedule costs a third of a model's decision: only who needs it waits for it.
                reason = withheld[i] or answer.reason
                decision = answered[i] if i in answered else _instead(report.state, intent, reason)
                records.append(self._send(report, decision, intent, decision_ms))
            except Exception:  # one cell's trouble is not the others'
                self._metrics.drop("send_error")
                log.exception("no control for %s", report.state.cell)
        self._observer.decided(Batch([report.number for report in reports], intents, answer.reason, records))

    def _withheld(self, report: Report, intent: Intent) -> str:
        """Why the leader is not asked about a cell; empty = it is."""
        try:
            why = self._discretion.withheld(report, intent)
        except Exception:  # whoever watches the leader must not stop it
            self._metrics.drop("kpi_guard_error")
            log.exception("the KPI guard failed on %s", report.state.cell)
            why = ""
        return INTENT if intent.mode is Mode.FALLBACK else why

    def _send(self, report: Report, decision: Decision, intent_then: Intent, decision_ms: float) -> DecisionRecord:
        """Pass one decision through the guard, send it and keep a record of it. Policies may have changed, and UEs
        come, since the leader was given `intent_then`: what holds now counts.
        """
        state, link = report.state, report.link
        newest = link.newest or report
        intent = self._intent_of(newest.state)
        if intent.mode is Mode.FALLBACK and decision.reason != INTENT:
            decision = fallback(state, intent_then, INTENT)
        allocation, changes = guard(decision.allocation, newest.state, intent)
        if changes:
            self._metrics.count("guard_changes", len(changes))
        # Of another state, or under another intent, it was right in its time.
        if not decision.reason and newest.state is state and (intent is intent_then or intent == intent_then):
            self._worker.guarded(bool(changes))
        sent, outcome = False, ControlOutcome()
        if intent.mode is Mode.SHADOW:
            outcome.nothing = "shadow"
            self._sender.release(state.cell, outcome)
        elif link.target is None:
            outcome.nothing = "no_function"
        elif self._stood_still != self.heartbeat.missed:
            outcome.nothing = "stood_still"
        else:
            sent = self._sender.send(
                link.target,
                allocation,
                DecisionContext(
                    newest.state, intent, newest.indication_sn, newest.lead_slots, newest.kpm, newest.measurement
                ),
                outcome=outcome,
            )
        self._on_decided(newest.state, intent, allocation, sent, newest.service)
        loop_ms = (time.perf_counter_ns() - report.received_ns) / 1e6
        self._decisions += 1
        record = DecisionRecord(
            self._decisions,
            time.time(),
            state,
            newest.state,
            report.number,
            newest.number,
            intent_then,
            intent,
            self._leader,
            decision,
            allocation,
            changes,
            outcome,
            decision_ms,
            loop_ms,
        )
        self.log.add(record)
        self._discretion.decided(record)
        self._metrics.decided(record.decided_by, decision_ms, loop_ms)
        self._newest.add(record, sent, link.target)
        return record

    def _on_leader_error(self, error: str) -> None:
        self._metrics.count("leader_errors")
        log.error("the leader failed: %s", error)

    def _let_go(self) -> None:
        """In the heartbeat's thread: what the pacer controls is given back as long as it stands still."""
        released = self._sender.release_controlled()
        if released:
            self._metrics.count("releases_by_heartbeat", released)

    def _release_stale(self) -> None:
        until_s = time.monotonic() - self._stale_after_s
        for link in self._links():
            if link.last_report_s and link.last_report_s < until_s and self._sender.release(link.tracker.cell):
                self._metrics.count("stale_releases")
                log.warning("no report from %s for %.1f s: released", link.tracker.cell, self._stale_after_s)

    def last_decisions(self) -> dict[str, dict[str, Any]]:
        """The newest decision of each cell, for a screen: strip, decision_ms, decided_by, fallbacks and more."""
        return self._newest.by_cell()

    def close(self) -> None:
        """Decide nothing more. Nobody waits for a decision that the model is making."""
        self._closed.set()
        self.heartbeat.close()
        self._mailbox.close()
        self._worker.close()
        if self._thread.is_alive():
            self._thread.join(timeout=CLOSE_TIMEOUT_S)


def _instead(state: CellState, intent: Intent, reason: str) -> Decision:
    """What is sent in the leader's place."""
    return left_to_the_node(state, intent, reason) if reason in WITHHELD else fallback(state, intent, reason)

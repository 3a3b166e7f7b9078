"""Stand-ins of a replay for what time and the network decided then: wire, sender, encoders, mailbox, answers."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from typing import Any

from policy.allocation import Allocation
from policy.cell_state import CellState
from policy.intent import Intent
from policy.leader import Leader, never_expires
from xapp.control.cell_link import Report
from xapp.control.control_loop import Discretion
from xapp.control.encoder import AppliedCheck, ControlEncoder, ControlMessage, DecisionContext, SendContext
from xapp.control.leader_thread import Answer
from xapp.control.mailbox import Mailbox
from xapp.control.sender import ControlSender
from xapp.control_kinds.control_kind import RecordedCalls
from xapp.e2.dcm.messages import AppliedControl, Carrier
from xapp.leader.reasons import WITHHELD
from xapp.record.file_format import Event, message_entry, read_decision
from xapp.rmr.transport import RmrMessage

MAX_WAITING_REPORTS = 10_000
"""Reports kept for a decision that has not come yet; most are never decided, because newer ones replaced them."""


class ReplayedWire:
    """The sending half of a transport: `send` does as it did then."""

    ready = True

    def __init__(self) -> None:
        self.sent: deque[bool] = deque()
        self.pdus: list[bytes] = []
        self.counters: dict[str, int] = {}

    def send(self, message: RmrMessage) -> bool:
        self.pdus[:] = [message.payload]
        return self.sent.popleft() if self.sent else True

    def receive(self, timeout_s: float) -> RmrMessage | None:
        return None

    def reply(self, request: RmrMessage, mtype: int, payload: bytes) -> bool:
        return False

    def close(self) -> None:
        """Nothing is open."""


class ReplayedSender(ControlSender):
    """Numbers its controls as they were numbered."""

    ids: deque[int]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.ids = deque()

    def _next_id(self) -> int:
        if self.ids:
            self._decision_id = self.ids.popleft()
            return self._decision_id
        return super()._next_id()


class ReplayedEncoder(ControlEncoder):
    """An encoder with a state that is called when, and in the order in which, it was called then.

    Its sender is not listened to, the recorded calls are made. Only decisions come from the loop: a `control` call
    waits for its decision, and so does what was called after it.
    """

    def __init__(self, calls: RecordedCalls, new: Event, instance_epoch: int, lease_periods: int) -> None:
        self.calls, self._encoder = calls, calls.read_new(new)
        self.service_model = self._encoder.service_model
        self._epoch, self._lease_periods = instance_epoch, lease_periods
        self._waiting: deque[Event] = deque()
        self.difference = ""
        self.compared = 0

    def on_call(self, event: Event) -> None:
        self._waiting.append(event)
        self._catch_up()

    def encode(
        self, cell: str, carrier: Carrier, allocation: Allocation, context: DecisionContext, send_context: SendContext
    ) -> Sequence[ControlMessage]:
        if not self._waiting or self._waiting[0]["cell"] != cell:
            self.difference = self.difference or f"nothing was decided about {cell} then, now there is"
            return ()
        self._encoder.take(cell, allocation, context, float(self._waiting.popleft()["now_s"]))
        self._catch_up()
        return ()

    def release(self, cell: str, carrier: Carrier, send_context: SendContext) -> Sequence[ControlMessage]:
        return ()

    def explain(self, cell: str) -> dict[str, Any]:
        return self._encoder.explain(cell)

    def is_applied(self, state: CellState, applied: AppliedControl | None, epoch: int) -> AppliedCheck:
        return self._encoder.is_applied(state, applied, epoch)

    def _catch_up(self) -> None:
        while self._waiting and self._waiting[0]["call"] != "control":
            event = self._waiting.popleft()
            if event["call"] == "due":
                self._compare(event)
            else:
                self.calls.repeat[event["call"]](self._encoder, event)

    def _compare(self, event: Event) -> None:
        then = event["messages"]
        ids = deque(int(message["decision_id"]) for message in then)
        send_context = SendContext(
            self._epoch, lambda: ids.popleft() if ids else 0, float(event["now_s"]), self._lease_periods
        )
        now = [message_entry(message) for message in self._encoder.due(send_context, closing=bool(event["closing"]))]
        for before, after in zip(then, now):
            self.compared += 1
            if before != after and not self.difference:
                self.difference = f"was {before}, now {after}"
        if len(then) != len(now) and not self.difference:
            self.difference = f"{len(then)} were sent, now {len(now)}"


class ReplayedReports(Mailbox[Report]):
    """Keeps every report by its number; nobody takes them but a recorded decision."""

    def __init__(self) -> None:
        super().__init__(0.0)
        self._reports: OrderedDict[int, Report] = OrderedDict()

    def offer(self, cell: str, value: Report, *, complete: bool, news: bool = True, age_s: float = 0.0) -> None:
        self._reports[value.number] = value
        if len(self._reports) > MAX_WAITING_REPORTS:
            self._reports.popitem(last=False)

    def report(self, number: int) -> Report:
        found = self._reports.get(number)
        if found is None:
            raise ValueError(f"report {number} is not in the recording")
        return found


class ReplayedAnswers(Discretion):
    """Who is asked in the worker's place, and what the KPI guard withheld from it then."""

    def __init__(self, leader: Leader | None) -> None:
        """None: what was proposed then is proposed again."""
        self._leader = leader
        self._reason = ""
        self._cells: Mapping[str, Mapping[str, Any]] = {}

    def prepare(self, reason: str, cells: Mapping[str, Mapping[str, Any]]) -> None:
        self._reason, self._cells = reason, cells

    def ask(self, states: Sequence[CellState], intents: Sequence[Intent], deadline_s: float) -> Answer:
        if self._reason:
            return Answer(None, self._reason)
        if self._leader is not None:
            return Answer(self._leader.decide(states, intents, never_expires))
        return Answer([read_decision(self._cells[state.cell]["decision"]) for state in states])

    def withheld(self, report: Report, intent: Intent) -> str:
        decision = self._cells.get(report.state.cell, {}).get("decision") or {}
        return str(decision["reason"]) if decision.get("reason") in WITHHELD else ""

    def guarded(self, changed: bool) -> None:
        """Nobody is judged."""

    def close(self) -> None:
        """Do nothing, as nothing runs."""

"""A recording played again: its inputs through the same receiver, trackers, leader, guard and encoder.

What time decided then is taken from the recording (which cells were decided together, whether the leader was in time,
which report was the newest by then); all else is computed anew, and the controls are compared byte for byte.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from policy.cell_state import CellState
from policy.errors import StackmacError, counted
from policy.intent import Intent
from policy.leader import Decision, Leader
from policy.leader_models.token_probabilities import TokenProbabilities
from policy.registry import LeaderError, make_leader
from xapp.config.model import Controls
from xapp.control.cell_link import CellLink, Report
from xapp.control.control_loop import ControlLoop
from xapp.control.decision_record import DecisionRecord
from xapp.control.receiver import Receiver
from xapp.control_kinds.control_kind import RecordedCalls, control_kinds
from xapp.monitoring.metrics import Metrics
from xapp.record.file_format import (
    Event,
    Recording,
    RecordingError,
    read_bytes,
    read_control,
    read_intent,
    read_link,
    read_message,
    read_subscription,
    read_target,
)
from xapp.record.replay_fakes import ReplayedAnswers, ReplayedEncoder, ReplayedReports, ReplayedSender, ReplayedWire
from xapp.rmr.transport import RIC_CONTROL_ACK, RIC_CONTROL_FAILURE, RmrMessage

NOT_COMPARED = ("yielded", "closing")
"""Nothing was sent, for what this replay does not know."""
CONTEXT_BYTES = 8


@dataclass(slots=True)
class ReplayResult:
    """What a replay came to."""

    messages: int = 0
    decisions: int = 0
    controls: int = 0
    """Compared, releases too."""
    difference: str = ""
    """The first one, empty = none."""
    ended_early: str = ""
    """Why nothing was replayed beyond some line."""


class AbsentLeader:
    """Stands in place of a leader that cannot be had here: what it decided is in the recording, its odds are not."""

    def __init__(self, name: str, reason: str) -> None:
        self.name, self._reason = name, reason

    def decide(self, states: Sequence[CellState], intents: Sequence[Intent], expired: object) -> list[Decision]:
        raise LeaderError(self._reason)

    def token_probabilities(self, state: CellState, intent: Intent, tokens: Sequence[int]) -> TokenProbabilities:
        raise LeaderError(self._reason)


class Replay:
    """One pass over a recording."""

    def __init__(
        self,
        recording: Recording,
        leader: Leader,
        *,
        ask_leader: bool = True,
        on_record: Callable[[DecisionRecord], None] = lambda record: None,
    ) -> None:
        """ask_leader=False: the recorded proposals stand for the leader's. on_record: called with every decision, with
        the recorded times. Raises RecordingError for a header that this version cannot use.
        """
        self._recording = recording
        self._on_record = on_record
        self._metrics = Metrics()
        self.result = ReplayResult()
        try:
            controls = Controls.model_validate(recording.header["controls"])
            epoch = int(recording.header["instance_epoch"])
        except (ValueError, KeyError, TypeError) as error:
            raise RecordingError(f"{recording.path}, line 1: {' '.join(str(error).split())}") from None
        self._wire = ReplayedWire()
        self._sender = ReplayedSender(
            self._wire, self._metrics, instance_epoch=epoch, lease_periods=controls.lease_periods
        )
        self._mailbox = ReplayedReports()
        self._receiver = Receiver(self._wire, self._mailbox, self._sender, self._metrics)
        self._answers = ReplayedAnswers(leader if ask_leader else None)
        self._intents: dict[str, deque[Intent]] = {}
        """By cell: what the leader was given, and what held when the decision was sent."""
        self._loop = ControlLoop(
            controls,
            leader,
            self._mailbox,
            self._sender,
            self._metrics,
            links=self._receiver.links,
            intent_of=lambda state: self._intents[state.cell].popleft(),
            worker=self._answers,
            discretion=self._answers,
        )
        self._epoch, self._lease_periods = epoch, controls.lease_periods
        self._encoders: dict[tuple[str, str], ReplayedEncoder] = {}
        """By kind of control and node: those with a state."""
        self._links: dict[int, CellLink] = {}
        self._early: list[RmrMessage] = []
        """Answers that the recorder saw before the control that they answer."""

    def run(self) -> ReplayResult:
        """Up to the first difference, or the end. Raises RecordingError for a line that says what cannot be."""
        handlers: dict[str, Callable[[Event], None]] = {
            "attach": self._attach,
            "detach": lambda event: self._receiver.detach(int(event["instance"])),
            "message": self._message,
            "decided": self._decided,
            "released": self._released,
            **{k.calls.event: partial(self._called, name, k.calls) for name, k in control_kinds().items() if k.calls},
            "stood_back": lambda event: self._sender.enter_standby(),
        }
        for event in self._recording.events():
            kind, line = event["event"], self._recording.lines
            if kind == "gap":
                self.result.ended_early = f"line {line}: {event.get('lost')} events were lost here"
                break
            if kind == "full":
                self.result.ended_early = f"line {line}: the recording was full here"
                break
            if kind == "rotated":
                self.result.ended_early = f"{self._recording.path} is not the last part: name the newest, to play all"
                break
            try:
                if kind in handlers:
                    handlers[kind](event)
            except (StackmacError, ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError) as error:
                text = " ".join(f"{type(error).__name__}: {error}".split())
                raise RecordingError(f"{self._recording.path}, line {line} ({kind}): {text}") from None
            if self.result.difference:
                break
        if not self.result.ended_early:
            self.result.ended_early = self._recording.broken
        return self.result

    def _attach(self, event: Event) -> None:
        number = int(event["link"])
        link = self._links.setdefault(number, read_link(event))
        subscription = read_subscription(event["feed"])
        link.target = read_target(event["target"], subscription.cell, self._encoders)
        self._receiver.attach(int(event["instance"]), subscription, link)

    def _message(self, event: Event) -> None:
        message = read_message(event)
        self.result.messages += 1
        self._handle(message)

    def _handle(self, message: RmrMessage) -> None:
        unmatched = self._metrics["answers_unmatched"]
        self._receiver.handle(message)
        if message.mtype in (RIC_CONTROL_ACK, RIC_CONTROL_FAILURE) and self._metrics["answers_unmatched"] > unmatched:
            self._early.append(message)

    def _decided(self, event: Event) -> None:
        cells: dict[str, Mapping[str, Any]] = {str(cell["cell"]): cell for cell in event["cells"]}
        reports = [self._mailbox.report(int(number)) for number in event["reports"]]
        self._intents = {}
        for report, value in zip(reports, event["intents"], strict=True):
            intent_then = read_intent(value)
            newer = cells.get(report.state.cell, {}).get("intent")
            self._intents[report.state.cell] = deque(
                (intent_then, intent_then if newer is None else read_intent(newer))
            )
        self._answers.prepare(str(event["reason"]), cells)
        self._sender.ids.clear()
        self._wire.sent.clear()
        before: list[tuple[CellLink, Report | None, Any]] = []
        for report in reports:
            link, cell = report.link, cells.get(report.state.cell)
            before.append((link, link.newest, link.target))
            if cell is None:
                continue
            link.newest = self._mailbox.report(int(cell["newest"]))
            if cell["nothing"] in NOT_COMPARED:
                link.target = None
            for control in cell["controls"]:
                self._sender.take_control(int(control["epoch"]))
                self._sender.lease_periods = int(control["lease"])
            for control in cell["controls"] if not _has_state(link) else ():
                self._sender.ids.append(int(control["decision_id"]))
                self._wire.sent.append(bool(control["sent"]))
        self._loop.decide(reports)
        for link, newest, target in before:
            link.newest, link.target = newest, target
        for report in reports:
            if (cell := cells.get(report.state.cell)) is not None:
                self._compare_cell(report.state.cell, cell)
        self._look_at_encoders()
        early, self._early = self._early, []
        for message in early:
            self._handle(message)
        self._early.clear()  # what is still unmatched answered somebody else

    def _compare_cell(self, name: str, cell: Mapping[str, Any]) -> None:
        made = self._loop.log.newest(name)
        if not made:
            raise ValueError(f"no decision about {name} could be made")
        record = replace(
            made[0],
            id=int(cell["id"]),
            time_s=float(cell["time_s"]),
            decision_ms=float(cell["decision_ms"]),
            loop_ms=float(cell["loop_ms"]),
        )
        has_state = any(_has_state(link) for link in self._receiver.links() if link.tracker.cell == name)
        if cell["nothing"] in NOT_COMPARED or has_state:
            record.outcome.nothing = str(cell["nothing"])
        if has_state:
            record.outcome.controls += [read_control(control) for control in cell["controls"]]
        self.result.decisions += 1
        self._on_record(record)
        if self.result.difference:
            return
        what = f"decision {record.id} about {name}"
        if has_state or cell["nothing"] in NOT_COMPARED:  # compared by events of its own
            self.result.difference = f"{what}: {decoded}" if (decoded := _decoded_otherwise(cell, record)) else ""
            return
        recorded = [read_bytes(control["pdu"]) for control in cell["controls"]]
        replayed = [control.pdu for control in record.outcome.controls]
        for then, now in zip(recorded, replayed):
            self.result.controls += 1
            if then != now:
                self.result.difference = f"{what}: {_decoded_otherwise(cell, record)}{_first_difference(then, now)}"
                return
        if len(recorded) != len(replayed):
            self.result.difference = (
                f"{what}: {counted(len(recorded), 'control was', 'controls were')} sent, now {len(replayed)}"
            )

    def _called(self, kind: str, calls: RecordedCalls, event: Event) -> None:
        node, call = str(event["node"]), str(event["call"])
        if call == "new":
            self._encoders[kind, node] = ReplayedEncoder(calls, event, self._epoch, self._lease_periods)
            return
        self._encoders[kind, node].on_call(event)
        self._look_at_encoders()

    def _look_at_encoders(self) -> None:
        for (_, node), encoder in self._encoders.items():
            self.result.controls += encoder.compared
            encoder.compared = 0
            if encoder.difference and not self.result.difference:
                self.result.difference = f"{encoder.calls.event}s of {node}: {encoder.difference}"

    def _released(self, event: Event) -> None:
        if event["subject"] is not None:
            return  # a quota's: compared by its own event
        self._sender.ids.clear()
        self._wire.sent.clear()
        self._sender.ids.append(int(event["decision_id"]))
        self._sender.take_control(int(event["epoch"]))
        self._wire.sent.append(bool(event["sent"]))
        then, cell = read_bytes(event["pdu"]), str(event["cell"])
        self._wire.pdus.clear()
        self._sender.release(cell)
        if not self._wire.pdus:
            self.result.difference = f"the release of {cell}: was sent, now there is nothing to release"
            return
        self.result.controls += 1
        if self._wire.pdus[0] != then:
            self.result.difference = f"the release of {cell}: {_first_difference(then, self._wire.pdus[0])}"


def load_leader(recording: Recording, name: str = "") -> Leader:
    """The one called `name` (LeaderError), or that of the recording: an AbsentLeader if it cannot be had."""
    if name:
        return make_leader(name)
    name = str(recording.header.get("leader", ""))
    try:
        return make_leader(name)
    except LeaderError as error:
        return AbsentLeader(name, str(error))


def _decoded_otherwise(cell: Mapping[str, Any], record: DecisionRecord) -> str:
    """Whether the leader said something else, and where."""
    decision = cell["decision"] or {}
    then, now = tuple(decision.get("tokens", ())), record.decision.tokens
    if then != now:
        step = next((i for i, (a, b) in enumerate(zip(then, now)) if a != b), min(len(then), len(now)))
        return f"the leader said {then[step : step + 1]} as token {step}, now {now[step : step + 1]}; "
    if decision.get("owners") != record.decision.allocation.owner_M.tolist():
        return f"owners were {decision.get('owners')}, now {record.decision.allocation.owner_M.tolist()}; "
    return ""


def _has_state(link: CellLink) -> bool:
    """Its controls depend on more than the newest decision."""
    return link.target is not None and isinstance(link.target.encoder, ReplayedEncoder)


def _first_difference(then: bytes, now: bytes) -> str:
    at = next((i for i, (a, b) in enumerate(zip(then, now)) if a != b), min(len(then), len(now)))
    around = slice(max(0, at - CONTEXT_BYTES), at + CONTEXT_BYTES)
    return (
        f"bytes differ from {at} on (of {len(then)}, now {len(now)}): ..{then[around].hex()}.., now"
        f" ..{now[around].hex()}.."
    )

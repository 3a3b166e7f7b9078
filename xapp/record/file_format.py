"""A recording of the loop: one JSON object a line, from which every control can be made anew, byte for byte.

The first line says who recorded; then, in the order in which they happened: subscriptions attached and detached,
messages received, batches decided, releases. Bytes are base64. What could not be written in time is a `gap`: beyond it
nothing can be replayed, because a cell's history is part of what a decision sees.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from pydantic import TypeAdapter

from policy.allocation import Allocation, LeftoverRule, PeriodicGrant
from policy.errors import UserMistake
from policy.intent import Intent
from policy.leader import Decision
from xapp.control.cell_link import CellLink, ControlTarget, ReportSubscription
from xapp.control.cell_tracker import CellTracker
from xapp.control.decision_record import ControlStatus, DecisionRecord, SentControl
from xapp.control.encoder import ControlEncoder, ControlMessage
from xapp.control.observer import Batch
from xapp.control_kinds.control_kind import control_kinds
from xapp.e2.dcm import messages as dcm
from xapp.record.part_files import older
from xapp.rmr.transport import RmrMessage

VERSION = 1
MAX_LINE_BYTES = 16 << 20
"""A longer line is none of ours: the largest message is 128 KiB."""

_INTENT: TypeAdapter[Intent] = TypeAdapter(Intent)
_CARRIER: TypeAdapter[dcm.Carrier] = TypeAdapter(dcm.Carrier)
_SUBSCRIPTION: TypeAdapter[ReportSubscription] = TypeAdapter(ReportSubscription)

Event = dict[str, Any]


class RecordingError(UserMistake):
    """A file that is no recording, or that cannot be replayed: one line."""


# -- writing ----------------------------------------------------------------------------------------------------------


def header(*, leader: str, controls: Mapping[str, Any], instance_epoch: int, version: str, time_s: float) -> Event:
    return {
        "event": "recording",
        "format": VERSION,
        "stackmac": version,
        "time_s": time_s,
        "leader": leader,
        "instance_epoch": instance_epoch,
        "controls": dict(controls),
    }


def attach_event(instance_id: int, subscription: ReportSubscription, link_number: int, link: CellLink) -> Event:
    """link_number: equal for the subscriptions of one link, so that its history goes on or starts anew as it did."""
    tracker = link.tracker
    return {
        "event": "attach",
        "instance": instance_id,
        "feed": _SUBSCRIPTION.dump_python(subscription, mode="json"),
        "link": link_number,
        "tracker": {
            "num_rbgs": tracker.num_rbgs,
            "report_period_ms": tracker.report_period_ms,
            "has_kpm": tracker.has_kpm,
            "has_dcm": tracker.has_dcm,
        },
        "target": _target(link.target),
    }


def _target(target: ControlTarget | None) -> dict[str, Any] | None:
    if target is None:
        return None
    return {
        "node": target.node,
        "function_id": target.function_id,
        "instance_id": target.instance_id,
        "carrier": _CARRIER.dump_python(target.carrier, mode="json"),
        "control": target.encoder.service_model,
    }


def message_event(message: RmrMessage) -> Event:
    return {
        "event": "message",
        "mtype": message.mtype,
        "sub_id": message.sub_id,
        "meid": message.meid,
        "received_ns": message.received_ns,
        "payload": _text(message.payload),
    }


def decided_event(batch: Batch) -> Event:
    return {
        "event": "decided",
        "reports": list(batch.reports),
        "intents": [_INTENT.dump_python(intent, mode="json") for intent in batch.intents],
        "reason": batch.reason,
        "cells": [_cell(record) for record in batch.records],
    }


def _cell(record: DecisionRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "cell": record.cell,
        "report": record.report_number,
        "newest": record.newest_number,
        "intent": None if record.intent == record.intent_then else _INTENT.dump_python(record.intent, mode="json"),
        "time_s": record.time_s,
        "decision_ms": record.decision_ms,
        "loop_ms": record.loop_ms,
        "decision": _decision(record.decision),
        "nothing": record.outcome.nothing,
        "controls": [control_entry(control) for control in record.outcome.controls],
    }


def call_event(kind: str, node: str, call: str, arguments: Mapping[str, Any]) -> Event:
    """One call of a node's encoder that has a state."""
    calls = control_kinds()[kind].calls
    assert calls is not None
    if call == "due":
        written = {**arguments, "messages": [message_entry(message) for message in arguments["messages"]]}
    else:
        written = calls.write(call, arguments)
    return {"event": calls.event, "node": node, "call": call, **written}


def message_entry(message: ControlMessage) -> dict[str, Any]:
    return {
        "what": message.what,
        "ue": message.subject,
        "decision_id": message.decision_id,
        "header": _text(message.header),
        "message": _text(message.message),
    }


def control_entry(control: SentControl) -> dict[str, Any]:
    return {
        "what": control.what,
        "node": control.node,
        "cell": control.cell,
        "decision_id": control.decision_id,
        "subject": control.subject,
        "epoch": control.instance_epoch,
        "lease": control.lease_periods,
        "sent": control.status is not ControlStatus.NOT_SENT,
        "pdu": _text(control.pdu),
    }


def _decision(decision: Decision) -> dict[str, Any] | None:
    """What the leader proposed; None if that cannot be written down (a plug-in's answer may be anything)."""
    allocation, log_probs = decision.allocation, decision.log_probs
    try:
        return {
            "decided_by": decision.decided_by,
            "reason": decision.reason,
            "tokens": [int(token) for token in decision.tokens],
            "log_probs": None if log_probs is None else [None if math.isnan(x) else float(x) for x in log_probs],
            "ue_ids": [int(ue) for ue in allocation.ue_ids],
            "owners": np.asarray(allocation.owner_M, np.int64).tolist(),
            "leftover": [int(allocation.leftover[0]), float(allocation.leftover[1])],
            "grants": [[int(number) for number in grant] for grant in allocation.periodic_grants],
            "open_allowed": np.asarray(allocation.open_allowed_U, bool).tolist(),
            "max_rbgs": np.asarray(allocation.max_rbgs_U, np.int64).tolist(),
        }
    except (TypeError, ValueError, AttributeError, OverflowError):
        return None


def line_of(event: Event) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode() + b"\n"


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


# -- reading ----------------------------------------------------------------------------------------------------------


class Recording:
    """A recording that is open for reading. Raises RecordingError for a file that is none; a context manager.

    One that was rotated is read from its first part on, wherever those before the one that is named lie beside it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        """Of the part that is being read."""
        self.broken = ""
        """Once all was read: where and why the file breaks off, empty for one that is whole."""
        self.lines = 0
        """Of the part."""
        self.header = self._open(path)
        self._newer: list[Path] = []
        """Parts that are to be read after this one, the last first."""
        while (part := part_of(self.header)) > 0:
            self._file.close()
            self._newer.append(self.path)
            before = older(self.path)
            missing = f"{path} begins with part {part + 1}, and plays from part 1 only: part {part}, {before}, is"
            try:
                header = self._open(before)
            except RecordingError as error:
                raise RecordingError(f"{missing} missing ({error})") from None
            if _set_of(header) != _set_of(self.header) or part_of(header) != part - 1:
                self._file.close()
                raise RecordingError(f"{missing} of another recording")
            self.header = header

    def _open(self, path: Path) -> Event:
        """Open one part; its first line."""
        self.path, self.lines = path, 0
        try:
            self._file: BinaryIO = path.open("rb")
        except OSError as error:
            raise RecordingError(f"cannot read {path}: {error.strerror or error}") from None
        first = self._next()
        if first is None or first.get("event") != "recording":
            self._file.close()
            raise RecordingError(f"{path} is no recording: {self.broken or 'its first line says something else'}")
        if first.get("format") != VERSION:
            self._file.close()
            raise RecordingError(f"{path} has format {first.get('format')!r}, expected {VERSION}")
        return first

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def events(self) -> Iterator[Event]:
        """Yield the events in order; stop before the first line that is damaged or incomplete."""
        while (event := self._next()) is not None:
            if event["event"] != "rotated" or not self._newer:
                yield event
                continue
            self._file.close()
            self._open(self._newer.pop())

    def _next(self) -> Event | None:
        line = self._file.readline(MAX_LINE_BYTES)
        if not line:
            return None
        self.lines += 1
        try:
            if not line.endswith(b"\n"):
                raise ValueError("it is not complete")
            event = json.loads(line)
            if not isinstance(event, dict) or not isinstance(event.get("event"), str):
                raise ValueError("it is no event")
        except (ValueError, RecursionError) as error:
            self.broken = f"line {self.lines}: {error}"
            return None
        return event


def part_of(header: Event) -> int:
    """The number of a part, 0 = the first."""
    part = header.get("part", 0)
    return part if isinstance(part, int) else 0


def _set_of(header: Event) -> tuple[object, object]:
    """Equal for the parts of one recording."""
    return header.get("instance_epoch"), header.get("time_s")


def read_intent(value: object) -> Intent:
    return _INTENT.validate_python(value)


def read_subscription(value: object) -> ReportSubscription:
    return _SUBSCRIPTION.validate_python(value)


def read_target(
    value: Mapping[str, Any] | None, cell: str, replayed: Mapping[tuple[str, str], ControlEncoder]
) -> ControlTarget | None:
    """replayed: by kind of control and node, the encoders that have a state."""
    if value is None:
        return None
    node, name = str(value["node"]), value["control"]
    kind = control_kinds()[name]
    return ControlTarget(
        node,
        cell,
        int(value["function_id"]),
        int(value["instance_id"]),
        _CARRIER.validate_python(value["carrier"]),
        kind.shared if kind.calls is None else replayed[name, node],
    )


def read_link(event: Event) -> CellLink:
    """A fresh link of an `attach` event, without its target."""
    tracker = event["tracker"]
    return CellLink(
        CellTracker(
            str(event["feed"]["cell"]),
            num_rbgs=int(tracker["num_rbgs"]),
            report_period_ms=int(tracker["report_period_ms"]),
            has_kpm=bool(tracker["has_kpm"]),
            has_dcm=bool(tracker["has_dcm"]),
        ),
        None,
    )


def read_message(event: Event) -> RmrMessage:
    return RmrMessage(
        int(event["mtype"]),
        read_bytes(event["payload"]),
        sub_id=int(event["sub_id"]),
        meid=str(event["meid"]),
        received_ns=int(event["received_ns"]),
    )


def read_control(entry: Mapping[str, Any]) -> SentControl:
    """Read a control as it left: what was answered is not part of it."""
    return SentControl(
        str(entry["node"]),
        str(entry["cell"]),
        str(entry["what"]),
        int(entry["decision_id"]),
        read_bytes(entry["pdu"]),
        0.0,
        entry["subject"],
        int(entry["epoch"]),
        int(entry["lease"]),
        ControlStatus.SENT if entry["sent"] else ControlStatus.NOT_SENT,
    )


def read_bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def read_decision(value: Mapping[str, Any] | None) -> Decision:
    """Raises ValueError where the recorder could not write it down."""
    if value is None:
        raise ValueError("the leader's proposal could not be recorded")
    log_probs = value["log_probs"]
    allocation = Allocation(
        tuple(int(ue) for ue in value["ue_ids"]),
        np.array(value["owners"], np.int16),
        LeftoverRule(int(value["leftover"][0]), float(value["leftover"][1])),
        tuple(PeriodicGrant(*(int(number) for number in grant)) for grant in value["grants"]),
        np.array(value["open_allowed"], bool),
        np.array(value["max_rbgs"], np.uint8),
    )
    return Decision(
        allocation,
        tuple(int(token) for token in value["tokens"]),
        None if log_probs is None else np.array([math.nan if x is None else x for x in log_probs], np.float64),
        str(value["decided_by"]),
        str(value["reason"]),
    )

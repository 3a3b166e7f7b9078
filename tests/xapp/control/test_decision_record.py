"""What is kept of decisions: the newest ones of each cell, within bounds, with what came of their controls."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pytest

from policy.cell_state import make_cell_state
from policy.intent import Intent, Mode
from policy.schedulers.schedulers import SCHEDULERS
from xapp.control.cell_link import CellLink, ReportSubscription
from xapp.control.decision_record import ControlOutcome, ControlStatus, DecisionLog, DecisionRecord
from xapp.control.observer import Batch, Observer
from xapp.control.sender import ANSWER_TIMEOUT_S
from xapp.e2.dcm import messages as dcm

LEADER = SCHEDULERS["proportional_fair"]


def record(number: int, cell: str = "node/a", *, ues: int = 2) -> DecisionRecord:
    state = make_cell_state(cell, num_rbgs=6, slots_per_dcm=1, slot=number, ue_ids=tuple(range(ues)))
    intent_then = Intent()
    decision = LEADER.decide([state], [intent_then], lambda: False)[0]
    decided = (LEADER, decision, decision.allocation)
    return DecisionRecord(
        number, 0.0, state, state, 1, 1, intent_then, intent_then, *decided, (), ControlOutcome(), 1.0, 2.0
    )


def ids(records: Sequence[DecisionRecord]) -> list[int]:
    return [each.id for each in records]


def test_a_cell_keeps_its_newest_decisions() -> None:
    log = DecisionLog(max_kept=3)
    for number in range(1, 8):
        log.add(record(number, "node/a" if number != 2 else "node/b"))
    assert ids(log.newest("node/a", 10)) == [7, 6, 5]
    assert ids(log.newest("node/a")) == [7]
    assert ids(log.newest("node/b", 10)) == [2]
    assert log.newest("node/c") == []
    assert log.get("node/a", 6) is not None and log.get("node/a", 4) is None and log.get("node/b", 6) is None
    assert [tuple(kept) for kept in log.cells()] == [("node/a", 3, 5, 7), ("node/b", 1, 2, 2)]


def test_memory_is_shared_between_the_cells_and_none_takes_more_than_its_part() -> None:
    each = record(1, ues=100).kept_bytes
    log = DecisionLog(max_bytes=10 * each)
    for number in range(50):
        log.add(record(number, "node/a", ues=100))
    assert len(log.newest("node/a", 99)) == 10
    log.add(record(50, "node/b", ues=100))
    assert ids(log.newest("node/a", 99)) == [49, 48, 47, 46, 45], "also of a cell that is not decided any more"
    log.add(record(51, "node/c", ues=5000))
    assert ids(log.newest("node/c", 99)) == [51], "the newest decision is always there"


def test_cells_that_come_and_go_do_not_add_up() -> None:
    log = DecisionLog(max_cells=3)
    for number in range(10):
        log.add(record(number, f"node/{number}"))
        log.add(record(100 + number, "node/0"))
    assert [kept.cell for kept in log.cells()] == ["node/0", "node/8", "node/9"]


class Heard(Observer):
    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.messages: list[Any] = []
        self.feeds: list[tuple[int, str | None]] = []
        self.releases: list[Any] = []

    def attached(self, instance_id: int, subscription: ReportSubscription, link: CellLink) -> None:
        self.feeds.append((instance_id, subscription.cell))

    def detached(self, instance_id: int) -> None:
        self.feeds.append((instance_id, None))

    def received(self, message: Any) -> None:
        self.messages.append(message)

    def decided(self, batch: Batch) -> None:
        self.batches.append(batch)

    def released(self, sent: Any) -> None:
        self.releases.append(sent)


@pytest.fixture
def cell(make_cell: Any) -> Any:
    return make_cell(LEADER, Heard())


def test_a_record_follows_its_control_until_it_is_answered(cell: Any, node: Any) -> None:
    made = cell.decide(1)
    assert (made.decided_by, made.guard_changes, made.intent, made.id) == ("proportional_fair", (), cell.intent, 1)
    assert made.state is made.newest is cell.link.newest.state
    (sent,) = made.outcome.controls
    assert (sent.status, sent.what, sent.node, made.outcome.nothing) == (ControlStatus.SENT, "controls", node.name, "")
    request, _ = node.next_control()
    cell.receiver.on_message(node.acknowledgement(request))
    assert sent.status is ControlStatus.ACKNOWLEDGED and sent.answered_ms is not None and sent.answered_ms > 0

    (refused,) = cell.decide(2).outcome.controls
    cell.receiver.on_message(node.refusal(node.next_control()[0], dcm.OutcomeCode.UNKNOWN_UE))
    assert (refused.status, refused.detail) == (ControlStatus.REFUSED, "UNKNOWN_UE: because")


def test_a_control_that_nobody_answers_says_so_in_the_end(cell: Any) -> None:
    (sent,) = cell.decide(1).outcome.controls
    sent.sent_s = time.monotonic() - 2 * ANSWER_TIMEOUT_S
    cell.sender.sweep()
    assert (sent.status, cell.metrics["controls_unanswered"]) == (ControlStatus.UNANSWERED, 1)


def test_a_record_says_why_nothing_was_sent(cell: Any, node: Any) -> None:
    cell.intent = Intent(mode=Mode.SHADOW)
    assert (cell.decide(1).outcome.nothing, cell.decide(2).outcome.controls) == ("shadow", [])
    cell.intent, cell.link.target = Intent(), None
    assert cell.decide(3).outcome.nothing == "no_function"
    cell.link.target = node.target()
    cell.decide(4)
    cell.receiver.on_message(node.refusal(node.next_control()[0], dcm.OutcomeCode.STALE_EPOCH))
    assert cell.decide(5).outcome.nothing == "yielded"


def test_a_control_without_a_route_is_not_sent(cell: Any) -> None:
    cell.node.xapp.routes.update("newrt|start\nrte|1|192.0.2.1:9\nnewrt|end\n")
    (sent,) = cell.decide(1).outcome.controls
    assert sent.status is ControlStatus.NOT_SENT


def test_a_tap_hears_everything_that_decisions_depend_on(make_cell: Any, node: Any) -> None:
    observer = Heard()
    cell = make_cell(LEADER, observer)
    cell.decide(1)
    cell.decide(2)
    cell.receiver.on_message(node.acknowledgement(node.next_control()[0]))
    cell.sender.release_all()
    cell.receiver.detach(node.dcm_instance)
    assert observer.feeds == [(node.dcm_instance, node.cell), (node.dcm_instance, None)]
    assert [batch.reports for batch in observer.batches] == [[1], [2]]
    assert [batch.records[0].newest_number for batch in observer.batches] == [1, 2]
    assert [message.mtype for message in observer.messages] == [12050, 12050, 12041]
    assert [sent.what for sent in observer.releases] == ["releases"]

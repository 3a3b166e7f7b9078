"""More cells than there is time for: no queue grows, every cell has its turn, and it ends with the load."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from deciding import AllIdle
from waiting import wait_for

from policy.cell_state import CellState
from policy.leader import Decision
from policy.time_scales import LEASE_PERIODS
from xapp.bench.decision_path import Sent, carrier
from xapp.bench.many_cells import NUM_RBGS, BenchCell, based_on
from xapp.config.model import Controls
from xapp.control.batch_limit import SHARE, BatchLimit
from xapp.control.cell_link import CellLink, ControlTarget, Report, ReportSubscription
from xapp.control.cell_tracker import CellTracker
from xapp.control.control_loop import ControlLoop
from xapp.control.mailbox import Mailbox
from xapp.control.receiver import Receiver
from xapp.control.sender import ControlSender
from xapp.control_kinds.dcm import DcmEncoder
from xapp.e2.dcm import messages as dcm
from xapp.e2.e2ap import hot_messages as e2ap
from xapp.monitoring.metrics import Metrics
from xapp.rmr.transport import RIC_CONTROL_ACK, RmrMessage

PERIOD_S, CELL_S = 0.1, 0.006
DEADLINE_S = 0.8 * PERIOD_S
CELLS, FEW_CELLS = 40, 3
ROUNDS, ROUNDS_AFTER = 10, 3


class Busy(AllIdle):
    """A leader that takes its time for each cell."""

    def decide(self, states: Sequence[CellState], *args: Any) -> list[Decision]:
        threading.Event().wait(CELL_S * len(states))
        return super().decide(states, *args)


class Nodes(Sent):
    """Keeps which report each node's newest control is based on; brings what a test has put there."""

    def __init__(self) -> None:
        super().__init__()
        self.answered: dict[str, int] = {}
        self.inbox: deque[RmrMessage] = deque()

    @property
    def waiting(self) -> int:
        return len(self.inbox)

    def send(self, message: RmrMessage) -> bool:
        self.answered[message.meid] = based_on(e2ap.decode_control_request(message.payload).message)
        return True

    def receive(self, timeout_s: float) -> RmrMessage | None:
        return self.inbox.popleft() if self.inbox else None


class ManyCells:
    """A loop with more cells than its leader has time for."""

    def __init__(self) -> None:
        self.nodes, self.metrics, self.leader = Nodes(), Metrics(), Busy()
        self.mailbox: Mailbox[Report] = Mailbox(0.0, on_superseded=lambda: self.metrics.count("superseded_reports"))
        sender = ControlSender(self.nodes, self.metrics, instance_epoch=1, lease_periods=LEASE_PERIODS)
        self.receiver = Receiver(self.nodes, self.mailbox, sender, self.metrics)
        # A busy machine is no silent cell.
        controls = Controls(report_period_ms=round(PERIOD_S * 1e3), coalesce_ms=0.0, stale_after_periods=100.0)
        self.loop = ControlLoop(controls, self.leader, self.mailbox, sender, self.metrics, links=self.receiver.links)
        self.cells = [BenchCell(number) for number in range(CELLS)]
        self.reports = {cell: list(cell.reports(ROUNDS + ROUNDS_AFTER, 2)) for cell in self.cells}
        self.most_waiting = 0
        for cell in self.cells:
            tracker = CellTracker(cell.key, num_rbgs=NUM_RBGS, report_period_ms=100, has_kpm=False, has_dcm=True)
            target = ControlTarget(
                cell.node, cell.key, dcm.DCM_FUNCTION_ID, cell.dcm_instance, carrier(NUM_RBGS), DcmEncoder()
            )
            self.receiver.attach(cell.dcm_instance, ReportSubscription(cell.key, "dcm"), CellLink(tracker, target))
        self.loop.start()

    def report(self, cell: BenchCell, sn: int) -> None:
        self.receiver.on_message(self.reports[cell][sn - 1][0])
        self.most_waiting = max(self.most_waiting, len(self.mailbox))

    @property
    def superseded(self) -> int:
        return self.metrics["superseded_reports"]


@pytest.fixture
def many() -> Iterator[ManyCells]:
    cells = ManyCells()
    yield cells
    cells.loop.close()


def test_beyond_capacity_periods_become_longer_and_all_is_well_again_when_the_load_is_gone(many: ManyCells) -> None:
    begun_s = time.monotonic()
    for number in range(ROUNDS * CELLS):
        due_s = begun_s + number * PERIOD_S / CELLS
        threading.Event().wait(max(0.0, due_s - time.monotonic()))
        many.report(many.cells[number % CELLS], number // CELLS + 1)
    assert many.superseded > CELLS, "the load was none"
    assert many.most_waiting <= CELLS
    assert max(many.leader.asked[5:]) * CELL_S <= SHARE * DEADLINE_S, "batches are as large as there is time"
    wait_for(lambda: len(many.nodes.answered) == CELLS)
    for sn in range(ROUNDS + 1, ROUNDS + ROUNDS_AFTER + 1):
        superseded = many.superseded
        for cell in many.cells[:FEW_CELLS]:
            many.report(cell, sn)
        wait_for(lambda sn=sn: all(many.nodes.answered[cell.node] == sn for cell in many.cells[:FEW_CELLS]))
        assert many.superseded <= superseded + (FEW_CELLS if sn == ROUNDS + 1 else 0)


def test_a_batch_is_as_large_as_there_is_time_and_never_empty() -> None:
    limit = BatchLimit()
    assert limit.most(0.08) is None
    limit.note(10, 0.02)
    assert limit.most(0.1) == round(SHARE * 0.1 / 0.002)
    for _ in range(100):
        limit.note(1, 1.0)
    assert limit.most(0.1) == 1
    for _ in range(100):
        limit.note(1, 0.001)
    assert limit.most(0.1) == pytest.approx(SHARE * 0.1 / 0.001, abs=2)


def test_a_report_that_is_too_old_gives_way_unread_where_messages_wait_behind_it(many: ManyCells) -> None:
    many.receiver.old_after_s = PERIOD_S
    now_ns = time.perf_counter_ns()
    for cell, age_s in zip(many.cells, (30 * PERIOD_S, 20 * PERIOD_S, 10 * PERIOD_S)):
        report = many.reports[cell][0][0]
        many.nodes.inbox.append(
            RmrMessage(report.mtype, report.payload, report.sub_id, report.meid, received_ns=now_ns - int(age_s * 1e9))
        )
    many.receiver.start()
    wait_for(lambda: many.nodes.answered == {many.cells[2].node: 1})
    many.receiver.close()
    assert many.metrics.summary()["dropped"] == {"report_too_old": 2}
    assert many.metrics["indications_received"] == 1


def test_of_a_subscription_only_the_newest_report_is_read_of_those_that_wait(many: ManyCells) -> None:
    """They may have waited in the kernel, where no clock of ours runs; an answer in between is read, too."""
    one, other = many.cells[:2]
    unknown_answer = e2ap.encode_control_acknowledge(e2ap.ControlAcknowledge(e2ap.RicRequestId(123, 1), 1, b"x", None))
    for sn in (1, 2, 3):
        many.nodes.inbox.append(many.reports[one][sn - 1][0])
        many.nodes.inbox.append(RmrMessage(RIC_CONTROL_ACK, unknown_answer, one.dcm_instance, one.node))
    many.nodes.inbox.append(many.reports[other][0][0])
    many.receiver.start()
    wait_for(lambda: many.nodes.answered == {one.node: 3, other.node: 1})
    many.receiver.close()
    assert many.metrics.summary()["dropped"] == {"report_too_old": 2}
    assert many.metrics["answers_unmatched"] == 3
    assert many.metrics["indications_received"] == 2

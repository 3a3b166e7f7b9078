"""An xApp's loop as a process of `stackmac bench capacity`: `python -m xapp.bench.loop_process`.

RMR, receiver, mailbox, pacer, leader and sender with their threads, as in `stackmac run`; without what stands beside
the loop (subscriptions, HTTP, shared data). Reads a LoopSetting as one JSON line, says its port, and when its standard
input ends, what became of it.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from typing import Any, NamedTuple

from policy.leader import Leader
from policy.registry import load_by_torch, make_leader
from policy.time_scales import LEASE_PERIODS
from xapp.bench.decision_path import MEASUREMENTS, carrier
from xapp.bench.many_cells import NUM_RBGS, BenchCell
from xapp.config.model import Controls
from xapp.control.batch_limit import TOO_OLD_SHARE
from xapp.control.cell_link import CellLink, ControlTarget, Report, ReportSubscription
from xapp.control.cell_tracker import CellTracker
from xapp.control.control_loop import ControlLoop
from xapp.control.mailbox import REPORT_PATIENCE, Mailbox
from xapp.control.receiver import Receiver
from xapp.control.sender import ControlSender
from xapp.control_kinds.dcm import DcmEncoder
from xapp.e2.dcm import messages as dcm
from xapp.monitoring.garbage import Garbage
from xapp.monitoring.metrics import Metrics
from xapp.monitoring.process import nothing_collected, rss_mb
from xapp.rmr.routes import RouteTable
from xapp.rmr.si95 import Si95Transport
from xapp.rmr.transport import RIC_CONTROL_REQUEST
from xapp.run.report_code import read_reports_by_machine_code

BY_TORCH = "torch:"
LOOK_S = 0.05
"""How often it is seen how much waits."""


class LoopSetting(NamedTuple):
    """What the process is told."""

    leader: str
    cells: list[int]
    """Numbers of BenchCells."""
    peer: int
    """The port that controls go to."""
    period_ms: int


def leader_of(name: str) -> Leader:
    """A leader by its name; the same by torch, of a bundle that the engine would run."""
    if name.startswith(BY_TORCH):
        return load_by_torch(name.removeprefix(BY_TORCH), "the bench asks for it")
    return make_leader(name)


class LoopProcess:
    """The loop, and what is seen of its queues while it runs."""

    def __init__(self, setting: LoopSetting) -> None:
        controls = Controls(report_period_ms=setting.period_ms)
        routes = f"newrt|start\nrte|{RIC_CONTROL_REQUEST}|127.0.0.1:{setting.peer}\nnewrt|end|1\n"
        self.transport = Si95Transport("127.0.0.1", 0, routes=RouteTable(routes))
        self.metrics = Metrics()
        self.mailbox: Mailbox[Report] = Mailbox(
            controls.coalesce_ms / 1e3,
            REPORT_PATIENCE * controls.report_period_ms / 1e3,
            on_superseded=lambda: self.metrics.count("superseded_reports"),
        )
        self.sender = ControlSender(self.transport, self.metrics, instance_epoch=1, lease_periods=LEASE_PERIODS)
        self.receiver = Receiver(self.transport, self.mailbox, self.sender, self.metrics)
        self.receiver.old_after_s = TOO_OLD_SHARE * controls.deadline_ms / 1e3
        self.loop = ControlLoop(
            controls,
            leader_of(setting.leader),
            self.mailbox,
            self.sender,
            self.metrics,
            links=self.receiver.links,
        )
        for number in setting.cells:
            self._attach(BenchCell(number), setting.period_ms)
        self.most_waiting = 0
        """Cells, at once."""
        self.most_received = 0
        """Messages in RMR's queue, at once."""

    def _attach(self, cell: BenchCell, period_ms: int) -> None:
        tracker = CellTracker(cell.key, num_rbgs=NUM_RBGS, report_period_ms=period_ms, has_kpm=True, has_dcm=True)
        target = ControlTarget(
            cell.node, cell.key, dcm.DCM_FUNCTION_ID, cell.dcm_instance, carrier(NUM_RBGS), DcmEncoder()
        )
        link = CellLink(tracker, target)
        self.receiver.attach(cell.dcm_instance, ReportSubscription(cell.key, "dcm"), link)
        self.receiver.attach(cell.kpm_instance, ReportSubscription(cell.key, "kpm", MEASUREMENTS), link)

    def start(self) -> None:
        garbage = Garbage()
        garbage.keep_out_of_decisions()
        self.loop.between_periods = garbage.between_periods
        self.receiver.start()
        self.loop.start()

    def look(self) -> None:
        """What a task would do, and how much waits."""
        self.sender.sweep()
        self.most_waiting = max(self.most_waiting, len(self.mailbox))
        self.most_received = max(self.most_received, self.transport.waiting)

    def close(self) -> dict[str, Any]:
        """What became of it."""
        self.receiver.close()
        self.loop.close()
        self.transport.close()
        counts, decided_by = self.metrics.totals()
        return {
            "decided_by": decided_by,
            "superseded": counts.get("superseded_reports", 0),
            "unanswered": counts.get("controls_unanswered", 0),
            "receive_overflow": self.transport.counters.get("receive_overflow", 0),
            "most_waiting": self.most_waiting,
            "most_received": self.most_received,
            "cpu_s": time.process_time(),
            "rss_mb": rss_mb(),
            "loop_ms": self.metrics.summary()["loop_ms"],
        }


def main() -> None:
    logging.disable(logging.ERROR)  # cells that fall silent at the end, and one too many to decide about
    setting = LoopSetting(**json.loads(sys.stdin.readline()))
    with nothing_collected(all_stays=True):
        process = LoopProcess(setting)
        read_reports_by_machine_code()
    process.start()
    begun_s = time.process_time()
    print(json.dumps({"port": process.transport.port}), flush=True)
    ended = threading.Event()

    def wait_for_the_end() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    while not ended.wait(LOOK_S):
        process.look()
    came_of_it = process.close()
    print(json.dumps({**came_of_it, "cpu_s": came_of_it["cpu_s"] - begun_s}), flush=True)


if __name__ == "__main__":
    main()

"""What stands for the nodes in `stackmac bench capacity`: `python -m xapp.bench.report_generator`, a process.

Every report is encoded beforehand, and sent when it is due; the cells' are spread over the period. Controls are
acknowledged, and tell how long the report that they are based on has been on its way. Reads a GeneratorSetting as one
JSON line, says its port, reads the ports of the loops, sends, and says what it has seen.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any, NamedTuple

import numpy as np

from xapp.bench.many_cells import BenchCell, based_on
from xapp.e2.e2ap import hot_messages as e2ap
from xapp.rmr.si95 import Si95Transport
from xapp.rmr.transport import RIC_CONTROL_ACK, RIC_INDICATION, RmrMessage

AHEAD_S = 0.2
"""From the start of the clock to the first report."""
PATIENCE_S = 0.2


class GeneratorSetting(NamedTuple):
    """What the process is told."""

    cells: list[list[int]]
    """Numbers of BenchCells, by the loop that they belong to."""
    ues: int
    period_ms: int
    periods: int
    more_cells: int = 0
    """Of each loop's, the last so many report only ..."""
    more_periods: int = 0
    """... so many periods long: a load that passes."""
    warm_periods: int = 10
    """The first ones do not count."""


class Generator:
    """Sends and measures."""

    def __init__(self, setting: GeneratorSetting) -> None:
        self.setting = setting
        self.transport = Si95Transport("127.0.0.1", 0)
        self._lock = threading.Lock()
        self._sent_s: dict[tuple[str, int], float] = {}
        self._answered_s: dict[tuple[str, int], float] = {}
        self._due: list[tuple[float, BenchCell, int, tuple[RmrMessage, RmrMessage]]] = []
        cells = [(BenchCell(n), place) for each in setting.cells for place, n in enumerate(each)]
        period_s = setting.period_ms / 1e3
        for order, (cell, place) in enumerate(cells):
            is_more = place >= len(setting.cells[0]) - setting.more_cells
            periods = setting.more_periods if is_more else setting.periods
            for sn, reports in enumerate(cell.reports(periods, setting.ues), start=1):
                self._due.append(((sn - 1 + order / len(cells)) * period_s, cell, sn, reports))
        self._due.sort(key=lambda due: due[0])
        self.late_ms: list[float] = []

    def connect(self, ports: list[int]) -> None:
        lines = [
            f"mse|{RIC_INDICATION}|{instance}|127.0.0.1:{port}"
            for port, numbers in zip(ports, self.setting.cells, strict=True)
            for number in numbers
            for instance in BenchCell(number).instances
        ]
        self.transport.routes.update("\n".join(["newrt|start", *lines, f"newrt|end|{len(lines)}", ""]))

    def run(self) -> dict[str, Any]:
        """Send everything when it is due; what was seen."""
        threading.Thread(target=self._receive, daemon=True).start()
        begun_s, cpu_s = time.monotonic() + AHEAD_S, time.process_time()
        for due_s, cell, sn, reports in self._due:
            pause_s = begun_s + due_s - time.monotonic()
            if pause_s > 0:
                time.sleep(pause_s)
            now_s = time.monotonic()
            self.late_ms.append((now_s - begun_s - due_s) * 1e3)
            with self._lock:
                self._sent_s[cell.node, sn] = now_s
            for report in reports:
                self.transport.send(report)
        time.sleep(2 * self.setting.period_ms / 1e3)
        taken_s, cpu_s = time.monotonic() - begun_s, time.process_time() - cpu_s
        self.transport.close()
        return {**self._seen(begun_s), "cpu_share": cpu_s / taken_s, "sent_late_ms_p99": _p99(self.late_ms)}

    def _receive(self) -> None:
        while True:
            message = self.transport.receive(PATIENCE_S)
            if message is None:
                continue
            now_s = time.monotonic()
            control = e2ap.decode_control_request(message.payload)
            acknowledge = e2ap.ControlAcknowledge(
                control.request_id, control.function_id, control.call_process_id, None
            )
            self.transport.reply(message, RIC_CONTROL_ACK, e2ap.encode_control_acknowledge(acknowledge))
            with self._lock:
                self._answered_s.setdefault((message.meid, based_on(control.message)), now_s)

    def _seen(self, begun_s: float) -> dict[str, Any]:
        setting = self.setting
        more = {
            BenchCell(number).node
            for each in setting.cells
            for number in each[len(each) - setting.more_cells :]
            if setting.more_cells
        }
        with self._lock:
            sent_s, answered_s = dict(self._sent_s), dict(self._answered_s)
        counted = {key: at for key, at in sent_s.items() if key[1] > setting.warm_periods}
        taken_ms = [(answered_s[key] - at) * 1e3 for key, at in counted.items() if key in answered_s]
        over_s = begun_s + setting.more_periods * setting.period_ms / 1e3
        missed_after = [
            at - over_s
            for (node, sn), at in counted.items()
            if node not in more and at >= over_s and (node, sn) not in answered_s and sn < setting.periods
        ]
        return {
            "more_cells": setting.more_cells,
            "sent": len(counted),
            "answered": len(taken_ms),
            "p50_ms": float(np.percentile(taken_ms, 50)) if taken_ms else None,
            "p99_ms": _p99(taken_ms),
            "recovered_after_s": max(missed_after, default=0.0) if setting.more_cells else None,
        }


def _p99(values: list[float]) -> float | None:
    return float(np.percentile(values, 99)) if values else None


def main() -> None:
    generator = Generator(GeneratorSetting(**json.loads(sys.stdin.readline())))
    print(json.dumps({"port": generator.transport.port}), flush=True)
    generator.connect(json.loads(sys.stdin.readline()))
    print(json.dumps(generator.run()), flush=True)


if __name__ == "__main__":
    main()

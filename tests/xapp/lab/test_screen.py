"""The end of a run on the screen."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from xapp.lab.screen import print_summary

COUNTS = (
    "indications_received", "decode_errors", "decisions", "controls_sent", "controls_acked", "controls_failed",
    "controls_applied", "controls_late", "slots_run", "slots_late", "transmissions_outside_grant",
)  # fmt: skip
SPREAD = {"p50": 1.0, "p95": 2.0, "p99": 3.0}


@pytest.mark.parametrize(
    ("guard", "line"),
    [
        (
            {"reverted_cells": 0, "first_revert_s": None, "rule": ""},
            "KPI guard   0 cells reverted; hold-outs 7.3 % of the reports\n",
        ),
        (
            {"reverted_cells": 1, "first_revert_s": 1.87, "rule": "starvation"},
            "KPI guard   1 cell reverted, the first after 1.87 s by starvation;"
            " hold-outs 7.3 % of the reports until then\n",
        ),
    ],
)
def test_hold_outs_are_of_the_reports_until_a_revert_only_where_there_was_one(
    guard: dict[str, Any], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = dict.fromkeys(COUNTS, 0) | {
        "decided_by": {"model": 1},
        "followers": "rule",
        "decision_ms": SPREAD,
        "loop_ms": SPREAD,
        "options": {"control": "dcm", "observe": "full"},
        "kpi_guard": guard | {"hold_out_share": 0.073},
    }
    print_summary(Console(), summary)
    assert line in capsys.readouterr().out

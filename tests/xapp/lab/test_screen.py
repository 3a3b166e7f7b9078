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


def summary(**values: Any) -> dict[str, Any]:
    """Of a run, with these values."""
    return dict.fromkeys(COUNTS, 0) | {
        "leader": "bundled",
        "decided_by": {"model": 1},
        "followers": "rule",
        "decision_ms": SPREAD,
        "loop_ms": SPREAD,
        "options": {"control": "dcm", "observe": "full"},
        **values,
    }


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
    print_summary(Console(), summary(kpi_guard=guard | {"hold_out_share": 0.073}))
    assert line in capsys.readouterr().out


@pytest.mark.parametrize(
    ("leader", "command"),
    [("bundled", "python -m policy.engine"), ("/models/leader 7", "python -m policy.engine '/models/leader 7'")],
)
def test_a_leader_that_was_compiled_for_much_of_the_run_is_said_with_what_to_run(
    leader: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    print_summary(Console(), summary(leader=leader, decisions=20, decided_by={"fallback:compiling": 2, "model": 18}))
    line = f"compiling   the leader was not compiled yet for 2 of 20 decisions; once and for all: {command}"
    assert capsys.readouterr().out.splitlines()[2] == line


@pytest.mark.parametrize("decided_by", [{"fallback:compiling": 1, "model": 19}, {"model": 20}, {}])
def test_nothing_is_said_where_it_hardly_mattered(
    decided_by: dict[str, int], capsys: pytest.CaptureFixture[str]
) -> None:
    print_summary(Console(), summary(decisions=sum(decided_by.values()), decided_by=decided_by))
    assert "policy.engine" not in capsys.readouterr().out

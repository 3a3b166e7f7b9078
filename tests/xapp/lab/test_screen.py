"""The end of a run on the screen."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from xapp.lab.screen import print_summary

COUNTS = (
    "indications_received", "decode_errors", "decisions", "controls_sent", "controls_acked", "controls_failed",
    "controls_unanswered", "releases_sent", "releases_acked", "releases_failed", "controls_applied", "controls_late",
    "controls_superseded", "slots_run", "slots_late", "transmissions_outside_grant", "least_quota_percent",
    "ues_limited", "ue_reports_over_quota", "ue_reports_under_quota", "slices_limited", "slice_reports_over_ratio",
    "slice_reports_under_ratio",
)  # fmt: skip
SPREAD = {"p50": 1.0, "p95": 2.0, "p99": 3.0}


def summary_of(control: str = "dcm", **parts: Any) -> dict[str, Any]:
    """Of a run, with these values."""
    return dict.fromkeys(COUNTS, 0) | {
        "leader": "bundled",
        "decided_by": {"model": 1},
        "followers": "rule",
        "decision_ms": SPREAD,
        "loop_ms": SPREAD,
        "options": {"control": control, "observe": "full"},
        **parts,
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
    print_summary(Console(), summary_of(kpi_guard=guard | {"hold_out_share": 0.073}))
    assert line in capsys.readouterr().out


@pytest.mark.parametrize(
    ("control", "counts", "line"),
    [
        ("dcm", {"controls_acked": 9, "controls_applied": 9}, "9 sent, 9 acknowledged, 0 failed, 9 applied by the MAC"),
        # A release of DCM ends what was applied, and is counted by nobody here.
        (
            "dcm",
            {
                "controls_acked": 9,
                "controls_applied": 7,
                "controls_superseded": 2,
                "releases_sent": 1,
                "controls_late": 1,
            },
            "9 sent, 9 acknowledged, 0 failed, 7 applied by the MAC"
            " (2 replaced by a newer one before they began, 1 came after their period had begun)",
        ),
        (
            "rc",
            {"controls_acked": 8, "controls_failed": 1, "releases_sent": 6, "releases_acked": 3, "releases_failed": 2}
            | {"controls_unanswered": 1, "controls_applied": 11},
            "9 sent and 6 releases, 11 acknowledged, 3 failed, 1 unanswered, 11 applied by the MAC",
        ),
        (
            "ccc",
            {"controls_acked": 9, "releases_sent": 1, "releases_acked": 1, "controls_applied": 10},
            "9 sent and 1 release, 10 acknowledged, 0 failed, 10 applied by the MAC",
        ),
        (
            "auto",
            {"controls_acked": 9, "controls_applied": 9},
            "9 sent, 9 acknowledged, 0 failed, 9 applied by the MAC",
        ),
    ],
)
def test_what_was_sent_and_what_was_applied_add_up(
    control: str, counts: dict[str, int], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    print_summary(Console(), summary_of(control, controls_sent=9, **counts))
    assert f"controls    {line}\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("leader", "command"),
    [("bundled", "python -m policy.engine"), ("/models/leader 7", "python -m policy.engine '/models/leader 7'")],
)
def test_a_leader_that_was_compiled_for_much_of_the_run_is_said_with_what_to_run(
    leader: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    print_summary(Console(), summary_of(leader=leader, decisions=20, decided_by={"fallback:compiling": 2, "model": 18}))
    line = f"compiling   the leader was not compiled yet for 2 of 20 decisions; once and for all: {command}"
    assert capsys.readouterr().out.splitlines()[2] == line


@pytest.mark.parametrize("decided_by", [{"fallback:compiling": 1, "model": 19}, {"model": 20}, {}])
def test_nothing_is_said_where_it_hardly_mattered(
    decided_by: dict[str, int], capsys: pytest.CaptureFixture[str]
) -> None:
    print_summary(Console(), summary_of(decisions=sum(decided_by.values()), decided_by=decided_by))
    assert "policy.engine" not in capsys.readouterr().out

"""The ways of real gNBs, as three processes: an empty cell is left in peace, a DU's UEs count once, their cap holds."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from rich.console import Console

from xapp.cli import main
from xapp.lab.lab import Lab, LabOptions, run_lab

PATIENCE_S = 60.0
LONGER_THAN_SILENCE_S = 8.0


def test_an_empty_cell_has_one_subscription_no_deletion_and_no_alarm() -> None:
    options = LabOptions(seconds=LONGER_THAN_SILENCE_S, control="rc", ues=0)
    summary = run_lab(options, Console(file=io.StringIO(), width=120))
    figures = ("subscriptions_requested", "subscriptions_deleted", "alarms_raised", "indications_received")
    assert [summary[name] for name in figures] == [1, 0, 0, 0]
    assert (summary["ues_limited"], summary["xapp_exit_status"]) == (0, 0)


def test_a_du_that_ignores_cells_keeps_a_cap_of_one_of_them(tmp_path: Path) -> None:
    """A leader that limits nobody, so that every control is the operator's; doctor and status say what is seen."""
    options = LabOptions(seconds=600, behave="ocudu", control="rc", cells=2, ues=3, leader="dynamic", scenario="ric100")
    with Lab(options) as lab:
        lab.wait_first_indication()
        assert lab.gnb is not None and lab.xapp is not None
        assert lab.xapp.wait_status(lambda status: status.get("ue_reports_elsewhere", 0) > 0, PATIENCE_S)
        (node,) = lab.xapp.status["nodes"]
        cells = sorted(lab.xapp.status["cells"])
        cap = tmp_path / "cap.json"
        cap.write_text(json.dumps({"scope": {"cells": [cells[1]]}, "limits": {"per_ue": MOST}}))
        assert main(["intent", "put", str(cap), "--url", lab.a1_url, "--wait", str(PATIENCE_S)]) == 0
        assert lab.gnb.wait_status(lambda status: status["ues_limited"] == 6, PATIENCE_S), percents(lab.gnb.status)
        periods = lab.gnb.status["own_scheduler_periods"]
        assert lab.gnb.wait_status(lambda status: status["own_scheduler_periods"] >= periods + 60, PATIENCE_S)
        status = lab.gnb.status
        assert percents(status) == {40}
        assert status["controls_failed"] == {}
        again = lab.xapp.status["controls_unanswered"]
        assert 12 <= status["controls_received"] <= 12 + again, (
            "each released once at the start, or until it is answered"
        )
        problems = [problem["fault"] for problem in lab.xapp.status["node_problems"][node]]
        assert problems == ["ues_in_several_cells"]
        assert lab.xapp.status["controls_failed"] == 0
        summary = lab.finish()
    assert (summary["ues_limited"], summary["releases_acked"]) == (0, 12)


MOST = {"max_share_percent": 40}


def percents(status: dict[str, Any]) -> set[int | None]:
    return {ue["quota_percent"] for cell in status.get("cells", ()) for ue in cell["ues"]}


def test_openairinterface_is_asked_in_the_one_way_that_it_survives() -> None:
    """Any other condition of report style 4 kills the lab's imitation, as it does the real one."""
    summary = run_lab(LabOptions(seconds=4, behave="oai"), Console(file=io.StringIO(), width=120))
    assert (summary["options"]["observe"], summary["decode_errors"]) == ("kpm_oai", 0)
    assert summary["decisions"] >= 30
    assert summary["controls_sent"] == summary["controls_acked"] > 0
    assert (summary["controls_failed"], summary["controls_unanswered"], summary["ue_reports_over_quota"]) == (0, 0, 0)
    assert (summary["ues_limited"], summary["alarms_raised"], summary["xapp_exit_status"]) == (0, 0, 0)

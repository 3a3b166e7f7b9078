"""The whole loop at a gNB of slices (E2SM-CCC): an operator's target acts, its deletion restores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from xapp.cli import main
from xapp.lab.lab import Lab
from xapp.lab.options import LabOptions
from xapp.lab.policy_files import put_files

SLA = {
    "scope": {"sliceId": {"sst": 2, "plmnId": {"mcc": "001", "mnc": "01"}}},
    "sliceSlaObjectives": {"guaUlThptPerSlice": 11000},
}
TIMEOUT_S = 60.0


def met_windows(status: dict[str, Any]) -> int:
    return sum(row["windows_by_state"].get("met", 0) for row in status.get("targets", ()))


def test_a_slices_target_is_met_and_its_deletion_restores(tmp_path: Path) -> None:
    file = tmp_path / "sla.json"
    file.write_text(json.dumps(SLA))
    with Lab(LabOptions(seconds=600, control="ccc", ues=30, scenario="full")) as lab:
        lab.wait_first_indication()
        assert lab.gnb is not None and lab.xapp is not None
        assert lab.gnb.status.get("slices_limited", 0) == 0
        put_files([file], lab.a1_url)
        assert lab.gnb.wait_status(lambda status: status["slices_limited"] == 1, TIMEOUT_S)
        assert lab.xapp.wait_status(lambda status: met_windows(status) >= 2, TIMEOUT_S)
        assert main(["intent", "put", str(file), "--delete", "--url", lab.a1_url]) == 0
        assert lab.gnb.wait_status(lambda status: status["slices_limited"] == 0, TIMEOUT_S)
        put_files([file], lab.a1_url)
        assert lab.gnb.wait_status(lambda status: status["slices_limited"] == 1, TIMEOUT_S)
        summary = lab.finish()
    assert (summary["slices_limited"], summary["slice_reports_over_ratio"]) == (0, 0)
    assert summary["controls_failed"] == 0 and summary["releases_acked"] >= 2
    assert summary["xapp_exit_status"] == 0


def limited(status: dict[str, Any]) -> tuple[bool, int]:
    """UEs under quotas, if any, and slices under ratios."""
    return status["ues_limited"] > 0, status["slices_limited"]


def test_a_node_of_both_kinds_changes_over_with_its_policies_and_ends_unlimited(tmp_path: Path) -> None:
    """OCUDU's ways: quotas of UEs until a policy is about slices, then their ratios, and back; what is left behind of
    either is seen at the gNB. fair_caps limits UEs, so that quotas are on their way whenever the node is planned anew.
    """
    file = tmp_path / "ceiling.json"
    file.write_text(json.dumps({**SLA, "sliceSlaObjectives": {"maxUlThptPerSlice": 5000}}))
    with Lab(LabOptions(seconds=600, behave="ocudu", ues=8, scenario="full")) as lab:
        lab.wait_first_indication()
        gnb = lab.gnb
        assert gnb is not None
        assert gnb.wait_status(lambda status: limited(status) == (True, 0), TIMEOUT_S)
        put_files([file], lab.a1_url)
        assert gnb.wait_status(lambda status: limited(status) == (False, 1), TIMEOUT_S)
        periods = gnb.status["own_scheduler_periods"]
        assert gnb.wait_status(lambda status: status["own_scheduler_periods"] >= periods + 10, TIMEOUT_S)
        assert limited(gnb.status) == (False, 1), "no quota comes back"
        assert main(["intent", "put", str(file), "--delete", "--url", lab.a1_url]) == 0
        assert gnb.wait_status(lambda status: limited(status) == (True, 0), TIMEOUT_S)
        summary = lab.finish()
    assert (summary["ues_limited"], summary["slices_limited"], summary["xapp_exit_status"]) == (0, 0, 0)
    assert (summary["slice_reports_over_ratio"], summary["ue_reports_over_quota"]) == (0, 0)
    assert summary["controls_failed"] == 0

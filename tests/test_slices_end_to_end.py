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

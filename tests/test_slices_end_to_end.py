"""The whole loop under an operator's target for a slice: at gNBs of all kinds of control it acts, its end restores."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from policy.allocation import NO_CAP
from xapp.cli import main
from xapp.lab.lab import Lab
from xapp.lab.options import LabOptions

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
        assert main(["intent", "put", str(file), "--url", lab.a1_url]) == 0
        assert lab.gnb.wait_status(lambda status: status["slices_limited"] == 1, TIMEOUT_S)
        assert lab.xapp.wait_status(lambda status: met_windows(status) >= 2, TIMEOUT_S)
        assert main(["intent", "put", str(file), "--delete", "--url", lab.a1_url]) == 0
        assert lab.gnb.wait_status(lambda status: status["slices_limited"] == 0, TIMEOUT_S)
        assert main(["intent", "put", str(file), "--url", lab.a1_url]) == 0
        assert lab.gnb.wait_status(lambda status: status["slices_limited"] == 1, TIMEOUT_S)
        summary = lab.finish()
    assert (summary["slices_limited"], summary["slice_reports_over_ratio"]) == (0, 0)
    assert summary["controls_failed"] == 0 and summary["releases_acked"] >= 2
    assert summary["xapp_exit_status"] == 0


IN_SLICE_2 = {3, 4, 7, 8}


def held_by_control(status: dict[str, Any]) -> set[int]:
    """UEs that the newest control gives RBGs of their own, and caps."""
    newest = next((cell["controls"][-1] for cell in status.get("cells", ()) if cell["controls"]), None)
    if newest is None:
        return set()
    own = {int(ue) for ue, rbgs in newest["rbgs"].items() if rbgs}
    capped = {int(ue) for ue, most in newest["max_rbgs"].items() if most < NO_CAP}
    assert own <= capped
    return capped


def held_by_quota(status: dict[str, Any]) -> set[int]:
    """UEs whose quota is below what the slice may have; the others' leave room for its floor."""
    quotas = {ue["id"]: ue["quota_percent"] for cell in status.get("cells", ()) for ue in cell["ues"]}
    return {ue for ue, percent in quotas.items() if percent is not None and percent <= 25}


@pytest.mark.parametrize(("control", "held"), [("dcm", held_by_control), ("rc", held_by_quota)])
def test_a_slices_target_changes_what_is_sent_and_its_deletion_restores_it(
    control: str, held: Callable[[dict[str, Any]], set[int]], tmp_path: Path
) -> None:
    """Under a leader that leaves everything to the node: whatever is held comes of the target."""
    file = tmp_path / "sla.json"
    file.write_text(json.dumps({**SLA, "sliceSlaObjectives": {"guaUlThptPerSlice": 3000, "maxUlThptPerSlice": 5000}}))
    options = LabOptions(seconds=600, control=control, leader="dynamic", ues=8, scenario="full", policy=(file,))
    with Lab(options) as lab:
        lab.wait_first_indication()
        assert lab.gnb is not None and lab.xapp is not None
        before = held(lab.gnb.status), lab.gnb.status.get("ues_limited", 0)
        assert before == (set(), 0)
        assert main(["intent", "put", str(file), "--url", lab.a1_url]) == 0
        assert lab.gnb.wait_status(lambda status: held(status) == IN_SLICE_2, TIMEOUT_S)
        assert lab.xapp.wait_status(lambda status: met_windows(status) >= 1, TIMEOUT_S)
        assert lab.xapp.status["policies"] == {"sla": "ENFORCED"}
        assert set(map(len, lab.xapp.status["node_problems"].values())) == {0}, "the UEs of both slices are asked for"
        assert main(["intent", "put", str(file), "--delete", "--url", lab.a1_url]) == 0
        assert lab.gnb.wait_status(lambda status: (held(status), status["ues_limited"]) == before, TIMEOUT_S)
        assert lab.xapp.wait_status(lambda status: status["targets"] == [], TIMEOUT_S)
        summary = lab.finish()
    assert (summary["controls_failed"], summary["transmissions_outside_grant"]) == (0, 0)
    assert summary["ue_reports_over_quota"] == 0


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
        assert main(["intent", "put", str(file), "--url", lab.a1_url]) == 0
        assert gnb.wait_status(lambda status: limited(status) == (False, 1), TIMEOUT_S)
        periods = gnb.status["own_scheduler_periods"]
        assert gnb.wait_status(lambda status: status["own_scheduler_periods"] >= periods + 10, TIMEOUT_S)
        assert limited(gnb.status) == (False, 1), "no quota comes back"
        assert lab.xapp is not None
        problems = [problem for each in lab.xapp.status["node_problems"].values() for problem in each]
        assert [problem["fault"] for problem in problems] == ["slices_both_directions"], "both slices are asked for"
        assert main(["intent", "put", str(file), "--delete", "--url", lab.a1_url]) == 0
        assert gnb.wait_status(lambda status: limited(status) == (True, 0), TIMEOUT_S)
        summary = lab.finish()
    assert (summary["ues_limited"], summary["slices_limited"], summary["xapp_exit_status"]) == (0, 0, 0)
    assert (summary["slice_reports_over_ratio"], summary["ue_reports_over_quota"]) == (0, 0)
    assert summary["controls_failed"] == 0

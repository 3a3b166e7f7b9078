"""What the doctor concludes from what it heard: one planted fault at a time in a deployment that is otherwise well."""

from __future__ import annotations

import copy
import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from xapp.config.model import Controls
from xapp.doctor.checks import examine
from xapp.doctor.command import findings_table
from xapp.doctor.facts import Answer, Facts
from xapp.doctor.faults import FAULTS
from xapp.doctor.finding import Finding, State

NODE, CELL = "gnb_001_001_00000001", "00f110000000011"
STATUS: dict[str, Any] = {
    "name": "stackmac",
    "leader": "bundled",
    "deadline_ms": 80.0,
    "instance": {"role": "control", "epoch": 1, "others": 0},
    "sdl_healthy": True,
    "rmr_endpoint": "service-ricxapp-stackmac-rmr.ricxapp:4560",
    "routes_loaded": True,
    "nodes": {NODE: True},
    "node_problems": {NODE: []},
    "node_dialects": {NODE: "standard"},
    "report_problems": {f"{NODE}/{CELL}": []},
    "subscriptions": {f"{NODE}/200/{CELL}": "active", f"{NODE}/2/{CELL}": "active"},
    "subscription_errors": {},
    "indications_received": 100,
    "decode_errors": 0,
    "decisions": 50,
    "decided_by": {"model": 50},
    "decision_ms": {"p50": 4.0, "p95": 6.0, "p99": 9.0},
    "kpi_guard": {"reverted_cells": 0, "first_revert_s": None, "hold_out_share": 0.02, "rule": ""},
    "controls_sent": 50,
    "controls_acked": 50,
    "controls_failed": 0,
    "controls_unanswered": 0,
    "dropped": {},
    "effects": {f"{NODE}/{CELL}": [True, "it follows decision 50"]},
}
OTHERS = [False, "it follows decision 17 of another instance"]
GROWN = {
    "indications_received": 160,
    "decisions": 80,
    "decided_by": {"model": 80},
    "controls_sent": 80,
    "controls_acked": 80,
}


def facts(changes: dict[str, Any] | None = None, **others: Any) -> Facts:
    """A deployment in order, but for `changes` of the later status and `others` of the facts."""
    after = {**copy.deepcopy(STATUS), **GROWN, **(changes or {})}
    held = [
        {"SubscriptionId": k, "Meid": NODE, "ClientEndpoint": ["service-ricxapp-stackmac-rmr.ricxapp:4560"]}
        for k in (1, 2)
    ]
    well = Facts(
        controls=Answer(Controls()),
        url="http://127.0.0.1:8080",
        ready=Answer(""),
        before=Answer(copy.deepcopy(STATUS)),
        after=Answer(after),
        seconds=3.0,
        submgr=Answer(held),
        e2mgr=Answer([NODE]),
        policies=Answer([{"policy_instance_id": "floor", "enforcement": "ENFORCED", "reasons": []}]),
        appmgr=Answer(["stackmac"]),
        shared=Answer(True),
    )
    return replace(well, **others)


def named(examined: Facts) -> list[str]:
    return [finding.fault for finding in examine(examined) if finding.fault]


def test_a_policy_of_which_all_holds_that_is_ours_is_no_warning() -> None:
    row = {"policy_instance_id": "sla", "enforcement": "NOT_ENFORCED", "reasons": ["guaDl: the downlink"]}
    holds = "guaUl: met; NOT_ENFORCED is for what is not ours alone (guaDl)"
    for said, state in (({"holds": holds}, State.OK), ({"holds": ""}, State.WARNING), ({}, State.WARNING)):
        (found,) = (each for each in examine(facts(policies=Answer([row | said]))) if each.check == "policies")
        assert (found.state, found.found) == (state, f"sla: {said.get('holds') or 'guaDl: the downlink'}")


PLANTED: dict[str, Facts] = {
    "config_unusable": facts(controls=Answer(error="controls.report_period_ms is 3")),
    "config_missing": facts(controls=Answer(error="no configuration"), has_descriptor=False),
    "xapp_unreachable": facts(after=Answer(error="the xApp: Connection refused")),
    "yielded": facts({"instance": {"role": "shadow", "epoch": 1, "others": 1}}),
    "no_route_table": facts({"routes_loaded": False}),
    "no_control_route": facts({"dropped": {"control_not_sent": 30}, "controls_sent": 50, "controls_acked": 50}),
    "sdl_down": facts(shared=Answer(error="SDL: a value written does not come back")),
    "sdl_in_memory": facts(shared=Answer(False)),
    "submgr_unreachable": facts(submgr=Answer(error="submgr: Connection refused")),
    "e2mgr_unreachable": facts(e2mgr=Answer(error="e2mgr: Connection refused")),
    "appmgr_unreachable": facts(appmgr=Answer(error="appmgr: Connection refused")),
    "not_registered": facts(appmgr=Answer(["another"])),
    "no_nodes": facts({"nodes": {}, "node_problems": {}}),
    "node_disconnected": facts({"nodes": {NODE: False}}),
    "no_control_function": facts({"node_problems": {NODE: [{"fault": "no_control_function", "text": "none"}]}}),
    "no_kpm_function": facts({"node_problems": {NODE: [{"fault": "no_kpm_function", "text": "none"}]}}),
    "function_unreadable": facts({"node_problems": {NODE: [{"fault": "function_unreadable", "text": "bad"}]}}),
    "quotas_not_offered": facts({"node_problems": {NODE: [{"fault": "quotas_not_offered", "text": "none"}]}}),
    "quota_layout_unknown": facts({"node_problems": {NODE: [{"fault": "quota_layout_unknown", "text": "1-12"}]}}),
    "slices_not_reported": facts({"node_problems": {NODE: [{"fault": "slices_not_reported", "text": "SST 2"}]}}),
    "slice_ratios_not_offered": facts({"node_problems": {NODE: [{"fault": "slice_ratios_not_offered", "text": "no"}]}}),
    "slice_baseline_unknown": facts({"node_problems": {NODE: [{"fault": "slice_baseline_unknown", "text": "SST 2"}]}}),
    "slices_both_directions": facts({"node_problems": {NODE: [{"fault": "slices_both_directions", "text": "both"}]}}),
    "measurements_repeat": facts({"report_problems": {CELL: [{"fault": "measurements_repeat", "text": "ten"}]}}),
    "ue_twins": facts({"report_problems": {CELL: [{"fault": "ue_twins", "text": "three"}]}}),
    "measurements_missing": facts({"node_problems": {NODE: [{"fault": "measurements_missing", "text": "none"}]}}),
    "node_entry_unmatched": facts({"node_entries_unmatched": ["gnb_001_*"]}),
    "measurements_refused": facts({"node_problems": {NODE: [{"fault": "measurements_refused", "text": "CQI"}]}}),
    "ues_in_several_cells": facts({"node_problems": {NODE: [{"fault": "ues_in_several_cells", "text": "6 UEs"}]}}),
    "subscription_failed": facts(
        {"subscriptions": {f"{NODE}/2/{CELL}": "wanted"}, "subscription_errors": {f"{NODE}/2/{CELL}": "refused"}},
        submgr=Answer([]),
    ),
    "subscription_pending": facts({"subscriptions": {f"{NODE}/2/{CELL}": "accepted"}}, submgr=Answer([])),
    "subscription_double": facts({"subscriptions": {f"{NODE}/2/{CELL}": "active"}}),
    "no_indications": facts({"indications_received": 100}),
    "undecodable_indications": facts({"decode_errors": 60}),
    "controls_unanswered": facts({"controls_acked": 50, "controls_unanswered": 20}),
    "controls_refused": facts({"controls_failed": 30, "dropped": {"control_failed_unknown_ue": 30}}),
    "controls_ineffective": facts(
        {"effects": {f"{NODE}/{CELL}": OTHERS}}, before=Answer({**STATUS, "effects": {f"{NODE}/{CELL}": OTHERS}})
    ),
    "model_missing": facts(leader_error="controls.leader: no such bundle"),
    "leader_reverted": facts(
        {"kpi_guard": {"reverted_cells": 1, "first_revert_s": 1.9, "hold_out_share": 0.5, "rule": "starvation"}}
    ),
    "model_failing": facts({"decided_by": {"model": 70, "fallback:error": 10}}),
    "model_slow": facts({"decided_by": {"model": 70, "fallback:late": 10}}),
    "policy_not_enforced": facts(
        policies=Answer([{"policy_instance_id": "p", "enforcement": "NOT_ENFORCED", "reasons": ["floors exceed"]}])
    ),
}


def test_one_cell_is_not_cells() -> None:
    (found,) = (finding for finding in examine(PLANTED["leader_reverted"]) if finding.fault == "leader_reverted")
    assert found.found.startswith("1 cell reverted: by starvation")


@pytest.mark.parametrize(
    ("guarded", "text"),
    [
        (0, "cells not judged as the leader does not act there: 1"),
        (2, "no cell reverted, 2.0 % of the time in hold-outs; cells not judged as the leader does not act there: 1"),
    ],
)
def test_cells_in_which_the_leader_does_not_act_are_said_not_to_be_judged(guarded: int, text: str) -> None:
    of_guard = {**STATUS["kpi_guard"], "guarded_cells": guarded, "not_judged_cells": 1}
    (finding,) = [each for each in examine(facts({"kpi_guard": of_guard})) if each.check == "kpi guard"]
    assert (finding.state, finding.found) == (State.OK, text)


def test_a_deployment_in_order_has_no_fault_and_every_check_was_made() -> None:
    findings = examine(facts())
    assert [finding for finding in findings if finding.state is not State.OK] == []
    assert {finding.check for finding in findings} >= {"routes", "sdl", "nodes", "controls", "model", "policies"}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_named_with_advice(fault: str) -> None:
    (finding,) = [finding for finding in examine(PLANTED[fault]) if finding.fault == fault]
    assert finding.state in (State.FAULT, State.WARNING)
    assert finding.found
    assert finding.advice == FAULTS[fault]


@pytest.mark.parametrize("fault", PLANTED)
def test_what_depends_on_a_fault_is_unknown_and_not_another_fault(fault: str) -> None:
    assert named(PLANTED[fault]) == [fault]


def test_a_cell_that_does_not_follow_yet_at_the_second_look_is_no_fault() -> None:
    assert named(facts({"effects": {f"{NODE}/{CELL}": OTHERS}})) == []


@pytest.mark.parametrize("nonsense", [[], "text", 7, {"a": []}], ids=str)
@pytest.mark.parametrize("field", STATUS)
def test_an_answer_of_another_shape_leaves_the_other_checks_alone(field: str, nonsense: object) -> None:
    findings = examine(facts({field: nonsense}))
    assert {finding.check for finding in findings} >= {"configuration", "sdl", "submgr", "e2mgr", "policies"}
    assert all(finding.state is not State.UNKNOWN or finding.found for finding in findings)


QUOTAS_ONLY = {"subscriptions": {f"{NODE}/2/": "active"}, "indications_received": 100}
NOBODY = {"silent_s": 60.0, "evidence": "", "text": "no UE reported: nobody may be there"}


def test_a_cell_in_which_nobody_is_has_no_fault_and_is_named() -> None:
    examined = facts({**QUOTAS_ONLY, "silent_cells": {f"{NODE}/node": NOBODY}}, submgr=Answer([]))
    assert named(examined) == []
    said = [finding.found for finding in examine(examined) if finding.check == "indications"]
    assert said == ["none within 3.0 s", f"{NODE}/node: {NOBODY['text']}"]


def test_a_cell_that_should_report_is_a_fault_beside_others_that_do() -> None:
    sick = {"silent_s": 60.0, "evidence": "the node did not answer a control", "text": ""}
    assert named(facts({"silent_cells": {f"{NODE}/{CELL}": sick}})) == ["no_indications"]
    assert named(facts({**QUOTAS_ONLY, "silent_cells": {f"{NODE}/node": sick}}, submgr=Answer([]))) == [
        "no_indications"
    ]


def test_a_part_of_a_gnb_that_is_controlled_elsewhere_is_in_order() -> None:
    cu = {
        "node_problems": {NODE: [], "gnb_x": []},
        "node_roles": {"gnb_x": f"part of a gNB whose {NODE} is controlled"},
    }
    found = [finding.found for finding in examine(facts(cu)) if finding.check == "functions"]
    assert found[-1] == f"gnb_x is part of a gNB whose {NODE} is controlled"


def test_every_fault_that_can_be_named_is_planted_here() -> None:
    assert set(PLANTED) == set(FAULTS)


@pytest.mark.parametrize(("problems", "state"), [({NODE: []}, State.WARNING), ({}, State.FAULT)])
def test_an_entry_that_fits_nobody_is_a_fault_where_no_node_is_ours(problems: dict[str, Any], state: State) -> None:
    found = examine(facts({"node_entries_unmatched": ["gnb_001_*"], "node_problems": problems}))
    (entry,) = [finding for finding in found if finding.fault == "node_entry_unmatched"]
    assert (entry.state, entry.found) == (state, f"controls.nodes: 'gnb_001_*' fits none of {NODE}")


def test_a_restart_between_the_two_looks_counts_from_nothing() -> None:
    restarted = facts({"indications_received": 3, "decisions": 1, "decided_by": {"model": 1}, "controls_sent": 1})
    assert named(restarted) == []


def test_the_page_for_operators_names_every_fault() -> None:
    page = (Path(__file__).parents[3] / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`([a-z2]+_[a-z_]+|yielded)`", page)) & (set(FAULTS) | {"yielded"}) == set(FAULTS)


@pytest.mark.parametrize("columns", [30, 60, 200])
def test_no_name_is_cut_however_narrow_the_terminal(columns: int) -> None:
    cell = "gnbd_001_001_00000001_12/00f110000000011"
    findings = [Finding("controls", State.OK, f"{cell}: follows")]
    console = Console(width=columns, force_terminal=True, no_color=True, highlight=False, file=io.StringIO())
    console.print(findings_table(findings))
    assert isinstance(console.file, io.StringIO)
    shown = re.sub(r"\x1b\[[\d;]*m", "", console.file.getvalue())
    assert cell in "".join(shown.split())

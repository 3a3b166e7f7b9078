"""From a node's RAN functions to the subscriptions wanted."""

from __future__ import annotations

import pytest

from policy.observation import PROFILES
from xapp.e2 import dcm, kpm
from xapp.e2.kpm import KPM_OIDS
from xapp.lab.node_functions import make_carriers
from xapp.node_plan import NodePlan, plan_node
from xapp.ric.nodes import E2Node, RanFunction

NODE = "gnb_001_001_00000001"
CARRIERS = make_carriers(1, 2, 6)
CELLS = tuple(carrier.cell for carrier in CARRIERS)
ASKED = ("DRB.UEThpUl", "RRU.PrbTotUl", "CQI")


def dcm_function(carriers: tuple[dcm.Carrier, ...] = CARRIERS, *, id: int = 5) -> RanFunction:
    return RanFunction(id, dcm.DCM_OID, dcm.encode_ran_function(dcm.RanFunction(carriers)))


def kpm_function(
    measurements: tuple[str, ...] = PROFILES["full"].measurements, *, oid: str = KPM_OIDS[0], style: int = 4
) -> RanFunction:
    described = kpm.RanFunction(
        short_name="ORAN-E2SM-KPM",
        oid=oid,
        description="KPM monitor",
        trigger_styles=(kpm.TriggerStyle(1, "Periodic report", 1),),
        report_styles=(kpm.ReportStyle(style, "per UE", 4, measurements, 1, 3),),
    )
    return RanFunction(2, oid, kpm.encode_ran_function(described))


def plan(*functions: RanFunction, period_ms: int = 100, measurements: tuple[str, ...] = ASKED) -> NodePlan:
    return plan_node(E2Node(NODE, True, functions), report_period_ms=period_ms, measurements=measurements)


def test_each_cell_gets_one_subscription_of_each_kind() -> None:
    wanted = plan(dcm_function(), kpm_function(), period_ms=40)
    assert wanted.problems == ()
    assert wanted.carriers == dict(zip(CELLS, CARRIERS))
    assert wanted.control_function_id == 5
    assert {(w.kind, w.cell, w.function_id) for w in wanted.wanted} == {
        *(("dcm", cell, 5) for cell in CELLS),
        *(("kpm", cell, 2) for cell in CELLS),
    }
    assert wanted.wanted[0].cell_key == f"{NODE}/{CELLS[0]}"


def test_what_is_asked_for_reads_as_it_was_meant() -> None:
    for wanted in plan(dcm_function(), kpm_function(), period_ms=40).wanted:
        if wanted.kind == "dcm":
            assert dcm.decode_event_trigger(wanted.event_trigger).report_period_ms == 40
            assert dcm.decode_action_definition(wanted.action_definition).cell == wanted.cell
        else:
            assert kpm.decode_event_trigger(wanted.event_trigger).period_ms == 40
            action = kpm.decode_action_definition(wanted.action_definition)
            assert (action.style, action.cell, action.granularity_ms) == (4, wanted.cell, 40)
            assert action.measurements == wanted.measurements == ASKED
            assert action.conditions


def test_only_measurements_that_the_node_lists_are_asked_for() -> None:
    wanted = plan(dcm_function(), kpm_function(("CQI", "DRB.UEThpUl")))
    assert [w.measurements for w in wanted.wanted if w.kind == "kpm"] == [("DRB.UEThpUl", "CQI")] * 2
    none = plan(dcm_function(), kpm_function(("DRB.RlcDelayUl",)))
    assert [w.kind for w in none.wanted] == ["dcm", "dcm"]
    assert none.problems == (f"{NODE} lists none of the measurements DRB.UEThpUl, RRU.PrbTotUl, CQI",)


def test_measurements_of_another_report_style_do_not_count() -> None:
    assert [w.kind for w in plan(dcm_function(), kpm_function(style=1)).wanted] == ["dcm", "dcm"]


@pytest.mark.parametrize("oid", KPM_OIDS)
def test_any_version_of_kpm_will_do(oid: str) -> None:
    assert sum(w.kind == "kpm" for w in plan(dcm_function(), kpm_function(oid=oid)).wanted) == 2


def test_functions_are_known_by_their_oid_not_their_id() -> None:
    wanted = plan(kpm_function(), dcm_function(id=77))
    assert wanted.control_function_id == 77
    assert {w.function_id for w in wanted.wanted if w.kind == "dcm"} == {77}


def test_a_node_without_our_functions_is_a_problem_not_an_exception() -> None:
    empty = plan()
    assert (empty.wanted, empty.control_function_id) == ((), None)
    assert len(empty.problems) == 2
    no_kpm = plan(dcm_function())
    assert [w.kind for w in no_kpm.wanted] == ["dcm", "dcm"]
    assert no_kpm.problems == (f"{NODE} has no KPM function",)
    assert plan(kpm_function()).wanted == ()


@pytest.mark.parametrize("definition", [b"", b"\xff\xff", b"\x00" * 40])
def test_a_function_that_cannot_be_read_is_a_problem_not_an_exception(definition: bytes) -> None:
    broken_dcm = plan(RanFunction(5, dcm.DCM_OID, definition), kpm_function())
    assert broken_dcm.wanted == ()
    assert broken_dcm.problems[0].startswith(f"{NODE}: ")
    broken_kpm = plan(dcm_function(), RanFunction(2, KPM_OIDS[0], definition))
    assert [w.kind for w in broken_kpm.wanted] == ["dcm", "dcm"]
    assert broken_kpm.problems[0].startswith(f"{NODE}: ")

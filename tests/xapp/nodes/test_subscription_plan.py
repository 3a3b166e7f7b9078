"""From a node's RAN functions to the subscriptions wanted."""

from __future__ import annotations

from typing import Any

import pytest

from policy.observation import PROFILES
from xapp.config.model import NodeConfig
from xapp.config.slices import SliceId, SliceMembers
from xapp.e2.ccc import messages as ccc
from xapp.e2.dcm import messages as dcm
from xapp.e2.dialect import Dialect
from xapp.e2.kpm import messages as kpm
from xapp.e2.kpm.messages import KPM_OIDS
from xapp.e2.rc import messages as rc
from xapp.e2.rc.prb_quota import PARAMETER_NAMES
from xapp.lab.gnb.ran_functions import make_carriers
from xapp.nodes.subscription_plan import NodePlan, Problem, plan_node, preferred
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


WRAPPED = tuple(rc.Parameter(number, name) for number, name in PARAMETER_NAMES.items())
UNWRAPPED = tuple(each for each in WRAPPED if each.id not in (2, 6))


def rc_function(
    style: int = 2, action: int = 6, *, id: int = 3, parameters: tuple[rc.Parameter, ...] = WRAPPED, **formats: Any
) -> RanFunction:
    styles = (rc.ControlStyle(style, "control", (rc.ControlAction(action, "an action", parameters),), **formats),)
    described = rc.RanFunction("ORAN-E2SM-RC", rc.RC_OIDS[0], "RAN control", control_styles=styles)
    return RanFunction(id, rc.RC_OIDS[0], rc.encode_ran_function(described))


def plan(
    *functions: RanFunction, period_ms: int = 100, measurements: tuple[str, ...] = ASKED, **settings: Any
) -> NodePlan:
    node = E2Node(NODE, True, functions)
    return plan_node(node, report_period_ms=period_ms, measurements=measurements, **settings)


def controlled_by(planned: NodePlan) -> tuple[str, int]:
    """The kind of control, and the id of the RAN function."""
    return planned.control, planned.offers[planned.control].function_id


def test_each_cell_gets_one_subscription_of_each_kind() -> None:
    wanted = plan(dcm_function(), kpm_function(), period_ms=40)
    assert wanted.problems == ()
    assert wanted.carriers == dict(zip(CELLS, CARRIERS))
    assert controlled_by(wanted) == ("dcm", 5)
    assert {(w.kind, w.cell, w.function_id) for w in wanted.wanted} == {
        *(("dcm", cell, 5) for cell in CELLS),
        *(("kpm", cell, 2) for cell in CELLS),
    }
    assert wanted.wanted[0].cell_key == f"{NODE}/{CELLS[0]}"


def test_a_node_is_asked_in_its_dialect() -> None:
    flexric = Dialect.FLEXRIC
    asked = {dialect: plan(kpm_function(), rc_function(), settings=NodeConfig(dialect=dialect)) for dialect in Dialect}
    (wanted,) = asked[flexric].wanted
    assert wanted.dialect is flexric
    (standard,) = asked[Dialect.STANDARD].wanted
    assert wanted.action_definition != standard.action_definition
    read = kpm.decode_action_definition(wanted.action_definition, flexric)
    assert read == kpm.decode_action_definition(standard.action_definition)


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
    assert none.problems == (
        Problem("measurements_missing", f"{NODE} lists none of the measurements DRB.UEThpUl, RRU.PrbTotUl, CQI"),
    )


def test_measurements_of_another_report_style_do_not_count() -> None:
    assert [w.kind for w in plan(dcm_function(), kpm_function(style=1)).wanted] == ["dcm", "dcm"]


@pytest.mark.parametrize("oid", KPM_OIDS)
def test_any_version_of_kpm_will_do(oid: str) -> None:
    assert sum(w.kind == "kpm" for w in plan(dcm_function(), kpm_function(oid=oid)).wanted) == 2


def test_functions_are_known_by_their_oid_not_their_id() -> None:
    wanted = plan(kpm_function(), dcm_function(id=77))
    assert controlled_by(wanted) == ("dcm", 77)
    assert {w.function_id for w in wanted.wanted if w.kind == "dcm"} == {77}


def test_a_node_without_our_functions_is_a_problem_not_an_exception() -> None:
    empty = plan()
    assert (empty.wanted, empty.offers) == ((), {})
    assert len(empty.problems) == 2
    no_kpm = plan(dcm_function())
    assert [w.kind for w in no_kpm.wanted] == ["dcm", "dcm"]
    assert no_kpm.problems == (Problem("no_kpm_function", f"{NODE} has no KPM function"),)
    assert plan(kpm_function()).wanted == ()


@pytest.mark.parametrize("definition", [b"", b"\xff\xff", b"\x00" * 40])
def test_a_function_that_cannot_be_read_is_a_problem_not_an_exception(definition: bytes) -> None:
    broken_dcm = plan(RanFunction(5, dcm.DCM_OID, definition), kpm_function())
    assert broken_dcm.wanted == ()
    assert broken_dcm.problems[0].text.startswith(f"{NODE}: ")
    broken_kpm = plan(dcm_function(), RanFunction(2, KPM_OIDS[0], definition))
    assert [w.kind for w in broken_kpm.wanted] == ["dcm", "dcm"]
    assert broken_kpm.problems[0].text.startswith(f"{NODE}: ")


def test_a_node_whose_form_nobody_knows_is_asked_by_the_standard_until_its_reports_tell() -> None:
    (asked,) = plan(kpm_function(), rc_function()).wanted
    assert asked.dialect is None
    assert kpm.decode_action_definition(asked.action_definition).measurements == asked.measurements
    (again,) = plan(kpm_function(), rc_function(), known_dialect=Dialect.FLEXRIC).wanted
    assert again.dialect is Dialect.FLEXRIC
    assert kpm.decode_action_definition(again.action_definition, Dialect.FLEXRIC).cell == (asked.cell or None)
    (set_by_hand,) = plan(
        kpm_function(), rc_function(), settings=NodeConfig(dialect="standard"), known_dialect=Dialect.FLEXRIC
    ).wanted
    assert set_by_hand.dialect is Dialect.STANDARD


# -- whose UEs are reported -------------------------------------------------------------------------------------------

ALL_STYLES = tuple(kpm.ReportStyle(n, f"style {n}", n, ASKED, 1, 1 if n < 3 else 3) for n in range(1, 6))
STYLE_4 = (kpm.ReportStyle(4, "Common Condition-based, UE-level Measurement", 4, ASKED, 1, 3),)
EMULATOR = (kpm.ReportStyle(4, "Dummy style name", 4, ASKED, 1, 3),)
TWO = (SliceId(sst=1), SliceId(sst=2, sd="0000ab"))


def conditions_asked(styles: tuple[kpm.ReportStyle, ...], **settings: Any) -> tuple[list[Any], tuple[Problem, ...]]:
    described = kpm.RanFunction("ORAN-E2SM-KPM", KPM_OIDS[0], "KPM", None, (), styles)
    reporter = RanFunction(2, KPM_OIDS[0], kpm.encode_ran_function(described))
    planned = plan(reporter, rc_function(), settings=NodeConfig(**settings))
    (wanted,) = planned.wanted
    action = kpm.decode_action_definition(wanted.action_definition)
    return [(c.test, c.expression, c.value, c.or_next) for c in action.conditions], planned.problems


@pytest.mark.parametrize(
    ("styles", "settings", "values"),
    [
        (STYLE_4, {}, [{"valueOctS": "01"}]),
        (STYLE_4, {"sst": 3, "sd": "0000AB"}, [{"valueOctS": "030000ab"}]),
        (STYLE_4, {"kpm_condition": "integer"}, [{"valueInt": 1}]),
        (EMULATOR, {"sst": 3, "sd": "0000ab"}, [{"valueInt": 3}]),
        (EMULATOR, {"kpm_condition": "octets"}, [{"valueOctS": "01"}]),
        (ALL_STYLES, {}, [{"valueOctS": "01"}]),
        (ALL_STYLES, {"slices": TWO}, [{"valueOctS": "01"}, {"valueOctS": "020000ab"}]),
    ],
)
def test_ues_are_asked_for_by_their_slice_as_the_node_can_bear_it(
    styles: tuple[kpm.ReportStyle, ...], settings: dict[str, Any], values: list[dict[str, Any]]
) -> None:
    asked, problems = conditions_asked(styles, **settings)
    assert asked == [("sNSSAI", "equal", value, value is not values[-1]) for value in values]
    assert problems == ()


@pytest.mark.parametrize("styles", [STYLE_4, EMULATOR])
def test_a_node_that_takes_one_condition_gets_one_and_the_slices_left_out_are_named(
    styles: tuple[kpm.ReportStyle, ...],
) -> None:
    asked, problems = conditions_asked(styles, slices=TWO)
    assert len(asked) == 1
    text = f"{NODE}: UEs of SST 2 SD 0000ab are not asked for: the node takes one condition"
    assert problems == (Problem("slices_not_reported", text),)


def test_slices_that_policies_speak_of_and_nobody_asks_for_are_named() -> None:
    members = (
        SliceMembers(sst=1),
        SliceMembers(sst=7, sd="00000C"),
        SliceMembers(sst=8, cells=("gnb_elsewhere/00f110000000011",)),
    )
    planned = plan(kpm_function(), rc_function(), slices=members)
    assert planned.problems == (Problem("slices_not_reported", f"{NODE}: UEs of SST 7 SD 00000c are not asked for"),)
    assert plan(kpm_function(), slices=members).problems[0].fault == "no_control_function", "of a node left alone: none"


# -- nodes of today ---------------------------------------------------------------------------------------------------


def test_a_node_with_rc_quotas_and_no_dcm_is_controlled_by_them() -> None:
    settings = NodeConfig(num_prb=106, cells=CELLS)
    planned = plan(rc_function(id=9), kpm_function(PROFILES["kpm_srsran"].measurements), settings=settings)
    assert controlled_by(planned) == ("rc", 9)
    assert planned.problems == ()
    assert [(w.kind, w.cell, w.measurements) for w in planned.wanted] == [
        ("kpm", cell, ("DRB.UEThpUl", "RRU.PrbTotUl")) for cell in CELLS
    ]
    assert {c.num_rbgs for c in planned.carriers.values()} == {14}


def test_a_node_whose_cells_nobody_has_named_is_one_cell() -> None:
    planned = plan(rc_function(), kpm_function(), settings=NodeConfig(num_prb=68, rbg_size_prb=4))
    (wanted,) = planned.wanted
    assert (wanted.cell, wanted.cell_key) == ("", f"{NODE}/node")
    assert kpm.decode_action_definition(wanted.action_definition).cell is None
    assert planned.carriers[""].num_rbgs == 17


@pytest.mark.parametrize(("control", "used", "id"), [("auto", "dcm", 5), ("dcm", "dcm", 5), ("rc", "rc", 3)])
def test_dcm_wins_where_a_node_has_both_unless_told_otherwise(control: str, used: str, id: int) -> None:
    planned = plan(rc_function(), kpm_function(), dcm_function(), control=control)
    assert (*controlled_by(planned), planned.offers["rc"].function_id) == (used, id, 3)


@pytest.mark.parametrize(
    ("functions", "control", "problem"),
    [
        ((rc_function(),), "dcm", "has no DCM function: nothing to control"),
        ((dcm_function(),), "rc", "has no RC function for PRB quotas: nothing to control"),
        (
            (),
            "auto",
            "has neither a DCM function nor a CCC function for shares of slices nor an RC function",
        ),
        (
            (rc_function(parameters=()),),
            "auto",
            "its PRB quotas list no parameters, expected 1-3, 5-13 (wrapped) or 1, 3, 5, 7-13 (unwrapped): never",
        ),
        ((rc_function(message_format=2),), "auto", "its RC function lists no PRB quotas (control style 2, action 6)"),
        ((rc_function(2, 5),), "auto", "its RC function lists no PRB quotas (control style 2, action 6)"),
        ((rc_function(1, 6),), "auto", "its RC function lists no PRB quotas (control style 2, action 6)"),
        ((RanFunction(3, rc.RC_OIDS[0], b"\xff"),), "auto", "rc-ran-function"),
    ],
)
def test_a_node_that_cannot_be_controlled_is_left_alone(
    functions: tuple[RanFunction, ...], control: str, problem: str
) -> None:
    planned = plan(*functions, kpm_function(), control=control)
    assert (planned.control, planned.wanted) == ("", ())
    assert problem in planned.problems[0].text


@pytest.mark.parametrize("formats", [{}, {"header_format": 0, "message_format": 0, "outcome_format": 0}])
@pytest.mark.parametrize(
    ("parameters", "call_process_id_format", "form"),
    [
        (WRAPPED, 1, rc.QuotaForm(rc.Layout.WRAPPED, True)),
        (WRAPPED, None, rc.QuotaForm(rc.Layout.WRAPPED, False)),
        (UNWRAPPED, None, rc.QuotaForm(rc.Layout.UNWRAPPED, False)),
        (UNWRAPPED, 0, rc.QuotaForm(rc.Layout.UNWRAPPED, True)),
    ],
)
def test_a_control_is_laid_out_as_the_node_lists_it(
    parameters: tuple[rc.Parameter, ...],
    call_process_id_format: int | None,
    form: rc.QuotaForm,
    formats: dict[str, int],
) -> None:
    offered = rc_function(parameters=parameters, call_process_id_format=call_process_id_format, **formats)
    planned = plan(offered, kpm_function())
    assert (planned.control, planned.offers["rc"].form, planned.problems) == ("rc", form, ())


def test_slices_are_controlled_where_policies_are_about_them() -> None:
    """DCM comes first; else CCC where policies are about slices, else quotas of UEs; what is set is what counts."""
    assert preferred(("dcm", "ccc", "rc"), "auto", True) == "dcm"
    assert preferred(("ccc", "rc"), "auto", True) == "ccc"
    assert preferred(("ccc", "rc"), "auto", False) == "rc"
    assert preferred(("ccc",), "auto", False) == "ccc"
    assert preferred(("ccc", "rc"), "ccc", False) == "ccc"
    assert preferred(("rc",), "ccc", True) == ""


def test_a_node_of_slices_is_known_by_what_it_lists_and_its_cells_by_its_function() -> None:
    function = ccc.RanFunction(ccc.CCC_NAME, ccc.CCC_OIDS[0], "", CELLS)
    described = RanFunction(4, ccc.CCC_OIDS[0], ccc.encode_ran_function(function))
    settings = NodeConfig(slices=(SliceId(sst=1, min_ratio=0, max_ratio=100),))
    planned = plan(described, rc_function(), kpm_function(), settings=settings, control="ccc")
    assert (planned.control, tuple(planned.carriers)) == ("ccc", CELLS)
    assert [problem.fault for problem in planned.problems] == ["slices_both_directions"]
    unknown = plan(described, kpm_function(), settings=NodeConfig(slices=(SliceId(sst=1),)))
    assert [problem.fault for problem in unknown.problems] == ["slice_baseline_unknown"]
    nothing = RanFunction(4, ccc.CCC_OIDS[0], ccc.encode_ran_function(function._replace(cells=())))
    refused = plan(nothing, kpm_function())
    assert (refused.control, refused.problems[0].fault) == ("", "slice_ratios_not_offered")

"""What real agents wrote can be read, and planned for: their bytes, and RAN functions of more of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kpm_readers import agree
from mutating import mutations
from replaying_node import Captured

from xapp.config.model import KPM_MEASUREMENTS, NodeConfig
from xapp.control.cell_tracker import CellTracker
from xapp.e2.asn1.errors import E2DecodeError
from xapp.e2.dialect import Dialect
from xapp.e2.e2ap import hot_messages as e2ap
from xapp.e2.e2ap import procedures
from xapp.e2.kpm import messages as kpm
from xapp.e2.kpm.report_reader import NO_UE, decode_report, decode_report_of_any_form
from xapp.e2.kpm.report_table import decode_report_generic
from xapp.e2.rc import messages as rc
from xapp.e2.ue_id.ue_id import GnbDuUeId, GnbUeId, ue_name
from xapp.nodes.subscription_plan import NodePlan, plan_node
from xapp.ric.nodes import E2Node, RanFunction

AGENTS = ("srsran", "flexric", "osc_e2sim")


def plan(name: str, functions: tuple[RanFunction, ...], **settings: Any) -> NodePlan:
    node = E2Node(name, True, functions)
    return plan_node(node, report_period_ms=100, measurements=KPM_MEASUREMENTS, settings=NodeConfig(**settings))


def plan_captured(captured: Captured, **settings: Any) -> NodePlan:
    functions = (RanFunction(f.function_id, f.oid, f.definition, f.revision) for f in captured.setup().functions)
    return plan(captured.agent, tuple(functions), **settings)


def plan_announced(announced: dict[str, Any], **settings: Any) -> NodePlan:
    functions = (RanFunction(f["id"], f["oid"], bytes.fromhex(f["definition"])) for f in announced["functions"])
    return plan(announced["name"], tuple(functions), **settings)


def faults(planned: NodePlan) -> set[str]:
    return {problem.fault for problem in planned.problems}


# -- bytes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("agent", AGENTS)
def test_every_captured_pdu_is_read(captured: Callable[[str], Captured], agent: str) -> None:
    pdus = captured(agent)
    assert pdus.all("indication")
    for kind in ("setup-request", "subscription-response", "subscription-delete-response"):
        for pdu in pdus.all(kind):
            assert procedures.decode(pdu)
    for pdu in pdus.all("indication"):
        assert e2ap.encode_indication(e2ap.decode_indication(pdu)) == pdu
    for pdu in pdus.all("control-acknowledge"):
        assert e2ap.decode_control_acknowledge(pdu).function_id == 3


@pytest.mark.parametrize("agent", AGENTS)
def test_reports_of_all_three_are_in_the_standards_form_and_in_no_other(
    captured: Callable[[str], Captured], agent: str
) -> None:
    indications = captured(agent).indications()
    assert indications
    for indication in indications:
        assert kpm.decode_indication_header(indication.header).start_time
        report, dialect = decode_report_of_any_form(indication.message)
        assert dialect is Dialect.STANDARD
        again = decode_report_generic(indication.message)
        assert (report.ue_keys, report.names) == (again.ue_keys, again.names)
        np.testing.assert_array_equal(report.values, again.values)
        with pytest.raises(E2DecodeError):
            decode_report(indication.message, (), Dialect.FLEXRIC)


def test_every_reader_reads_them_alike_however_they_are_damaged(captured: Callable[[str], Captured]) -> None:
    messages = [indication.message for agent in AGENTS for indication in captured(agent).indications()]

    @given(st.sampled_from(messages), st.data())
    @settings(max_examples=100)
    def check(message: bytes, data: st.DataObject) -> None:
        assert agree(message, KPM_MEASUREMENTS) != "refused"
        agree(data.draw(mutations(message)), KPM_MEASUREMENTS)

    check()


def test_the_ues_of_each_are_who_they_say(captured: Callable[[str], Captured]) -> None:
    def ues(agent: str) -> list[tuple[int, Any]]:
        report = decode_report(captured(agent).indications()[0].message)
        return [(key, report.ue_id(row)) for row, key in enumerate(report.ue_keys)]

    assert ues("srsran") == [(n, GnbDuUeId(n)) for n in range(4)]
    assert ues("osc_e2sim") == [(NO_UE, None)]
    of_flexric = ues("flexric")
    assert all(isinstance(ue_id, GnbUeId) for _, ue_id in of_flexric)
    numbers = {ue_id.amf_ue_ngap_id for _, ue_id in of_flexric}
    assert len(numbers) < len(of_flexric), "its emulator gives several UEs one AMF id"
    assert len({key for key, _ in of_flexric}) == len({ue_id for _, ue_id in of_flexric}) > len(numbers)


# -- plans ------------------------------------------------------------------------------------------------------------


def test_srsrans_du_is_controlled_in_the_layout_with_groups_and_with_call_process_ids(
    captured: Callable[[str], Captured],
) -> None:
    planned = plan_captured(captured("srsran"))
    assert (planned.control, planned.offers["rc"].form) == ("rc", rc.QuotaForm(rc.Layout.WRAPPED, True))
    assert planned.problems == ()
    (wanted,) = planned.wanted
    assert wanted.measurements == tuple(name for name in KPM_MEASUREMENTS if name != "CQI")


def test_flexrics_emulator_lists_another_actions_parameters_and_is_never_controlled(
    captured: Callable[[str], Captured],
) -> None:
    planned = plan_captured(captured("flexric"))
    assert (planned.control, planned.offers) == ("", {})
    assert "parameters 1-2 (DRB ID, ...)" in planned.problems[0].text


def test_oscs_simulator_has_nothing_to_be_controlled_with(captured: Callable[[str], Captured]) -> None:
    planned = plan_captured(captured("osc_e2sim"))
    assert (planned.control, planned.offers) == ("", {})
    assert "no_control_function" in faults(planned)


@pytest.mark.parametrize(
    ("node", "control", "fault"),
    [
        ("oai-main", "", "quotas_not_offered"),
        ("oai-slice-fork", "", "quota_layout_unknown"),
        ("ocudu-du", "rc", None),
        ("ocudu-cu-cp", "", "quotas_not_offered"),
        ("ocudu-cu-up", "", "no_control_function"),
    ],
)
def test_nodes_are_planned_for_by_what_they_announce(
    ran_functions: dict[str, Any], node: str, control: str, fault: str | None
) -> None:
    planned = plan_announced(ran_functions[node])
    assert planned.control == control
    assert fault is None or fault in faults(planned)
    assert control or planned.offers == {}


def test_the_forks_shifted_ids_are_named(ran_functions: dict[str, Any]) -> None:
    planned = plan_announced(ran_functions["oai-slice-fork"])
    (text,) = (problem.text for problem in planned.problems if problem.fault == "quota_layout_unknown")
    assert "parameters 1-12 with RRM Policy Member List as 4 instead of 5" in text
    assert text.endswith("never controlled")


def test_ocudus_du_gets_no_call_process_ids(ran_functions: dict[str, Any]) -> None:
    planned = plan_announced(ran_functions["ocudu-du"])
    assert planned.offers["rc"].form == rc.QuotaForm(rc.Layout.WRAPPED, False)
    assert planned.problems == ()


@pytest.mark.parametrize("node", ["srsran", "ocudu-du"])
def test_no_node_is_ever_asked_with_lessthan(
    captured: Callable[[str], Captured], ran_functions: dict[str, Any], node: str
) -> None:
    slices = [{"sst": 1}, {"sst": 1, "sd": "000001"}]
    planned = (
        plan_captured(captured(node), slices=slices)
        if node == "srsran"
        else plan_announced(ran_functions[node], slices=slices)
    )
    assert planned.wanted
    for wanted in planned.wanted:
        asked = kpm.decode_action_definition(wanted.action_definition).conditions
        assert [(c.test, c.expression, c.value) for c in asked] == [
            ("sNSSAI", "equal", {"valueOctS": "01"}),
            ("sNSSAI", "equal", {"valueOctS": "01000001"}),
        ]


# -- single messages --------------------------------------------------------------------------------------------------


def test_an_indication_without_sequence_number_and_call_process_id_is_read(case: Callable[[str], bytes]) -> None:
    indication = e2ap.decode_indication(case("ocudu-indication-no-sn"))
    assert (indication.sn, indication.call_process_id, indication.function_id) == (None, None, 147)
    report = decode_report(indication.message)
    tracker = CellTracker("cell", num_rbgs=6, report_period_ms=100, has_kpm=True, has_dcm=False)
    assert tracker.on_kpm(indication.sn, report) and tracker.on_kpm(indication.sn, report)
    assert tracker.state() is not None


@pytest.mark.parametrize(
    ("name", "apart", "twins"),
    [
        ("ueid-two-amfs-same-id", 2, 0),
        ("ueid-all-zero-amf", 0, 3),
        ("ueid-mixed-kinds-same-number", 3, 0),
        ("ueid-oai-mono", 2, 0),
    ],
)
def test_ues_are_told_apart_or_counted_as_twins(
    case: Callable[[str], bytes], name: str, apart: int, twins: int
) -> None:
    report = decode_report(case(name))
    tracker = CellTracker("cell", num_rbgs=6, report_period_ms=100, has_kpm=True, has_dcm=False)
    tracker.on_kpm(1, report)
    state = tracker.state()
    assert state is not None
    assert (state.num_ues, sum(tracker.twins.values())) == (apart, twins)
    names = {ue_name(ue_id) for row in range(len(report.ue_keys)) if (ue_id := report.ue_id(row)) is not None}
    assert len(names) == apart + bool(twins)

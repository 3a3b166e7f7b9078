"""The whole loop opposite real agents' bytes: setup, subscription, indications, control, acknowledgement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from replaying_node import Captured, ReplayingNode

from xapp.e2.asn1.errors import E2DecodeError
from xapp.e2.dialect import Dialect
from xapp.e2.e2ap import hot_messages as e2ap
from xapp.e2.e2ap import procedures
from xapp.e2.kpm import messages as kpm
from xapp.e2.kpm.report_reader import decode_report
from xapp.e2.kpm.report_writer import encode_report
from xapp.e2.rc import messages as rc
from xapp.e2.rc.prb_quota import PARAMETER_NAMES
from xapp.e2.ue_id.ue_id import GnbDuUeId, GnbUeId

PATIENCE_S = 60.0
RC_OID = rc.RC_OIDS[0]


def listing(ids: tuple[int, ...], *, number_from: int = 1) -> procedures.RanFunctionItem:
    """An RC function that lists the PRB quotas with these parameters; number_from: the first of format types."""
    parameters = tuple(rc.Parameter(number, PARAMETER_NAMES[number]) for number in ids)
    action = rc.ControlAction(6, "Slice-level PRB quota", parameters)
    style = rc.ControlStyle(2, "Radio resource allocation", (action,), *[number_from] * 3)
    function = rc.RanFunction("ORAN-E2SM-RC", RC_OID, "RAN Control", control_styles=(style,))
    return procedures.RanFunctionItem(3, rc.encode_ran_function(function), 1, RC_OID)


def with_rc(captured: Captured, item: procedures.RanFunctionItem) -> procedures.E2SetupRequest:
    setup = captured.setup()
    return replace(setup, functions=(*(f for f in setup.functions if f.oid != RC_OID), item))


def controls_of(node: ReplayingNode, count: int) -> list[e2ap.ControlRequest]:
    return [node.controls.get(timeout=PATIENCE_S) for _ in range(count)]


def asked_of(node: ReplayingNode) -> tuple[procedures.SubscriptionRequest, bytes]:
    request = node.subscriptions.get(timeout=PATIENCE_S)
    (action,) = request.actions
    assert action.definition is not None
    return request, action.definition


def test_srsrans_du_is_subscribed_to_controlled_and_given_back(opposite: Callable[..., Any]) -> None:
    loop = opposite("srsran")
    request, definition = asked_of(loop.node)
    assert request.function_id == 2
    assert kpm.decode_action_definition(definition).style == 4
    percents: dict[object, list[int]] = {GnbDuUeId(number): [] for number in range(4)}
    while any(len(of_ue) < 2 for of_ue in percents.values()):
        (each,) = controls_of(loop.node, 1)
        (quota,) = rc.decode_prb_quotas(each.message)
        assert each.message == rc.encode_prb_quotas((quota,)), "with the groups 2 and 6"
        percents[rc.decode_control_header(each.header).ue_id].append(quota.max_percent)
        if quota.max_percent < 100:
            assert each.call_process_id is not None
            assert rc.decode_call_process_id(each.call_process_id) > 0
    # Of each UE, which may be left limited by another; a busy machine sends one UE's quota between others' releases.
    assert all(first == 100 > second for first, second, *_ in percents.values()), percents
    status = loop.wait(lambda status: status.get("controls_acked", 0) >= 4)
    assert (status.get("controls_failed", 0), status["decode_errors"], status.get("answers_unmatched", 0)) == (0, 0, 0)
    assert [*status["node_dialects"].values()] == ["standard"]
    assert loop.node.deleted.empty()
    loop.app.stop()
    released = controls_of(loop.node, 4)
    assert {rc.decode_prb_quotas(each.message)[0].max_percent for each in released} == {100}
    loop.node.deleted.get(timeout=PATIENCE_S)


def test_flexrics_emulator_with_its_slice_branchs_listing_takes_unwrapped_controls(
    opposite: Callable[..., Any], captured: Callable[[str], Captured]
) -> None:
    unwrapped = listing((1, 3, 5, 7, 8, 9, 10, 11, 12, 13), number_from=0)
    loop = opposite("flexric", setup=with_rc(captured("flexric"), unwrapped))
    _, definition = asked_of(loop.node)
    # More than one condition, a comparison that it does not know, octets: its process would end.
    (condition,) = kpm.decode_action_definition(definition).conditions
    assert (condition.test, condition.expression, condition.value) == ("sNSSAI", "equal", {"valueInt": 1})
    reported = {
        report.ue_id(row)
        for indication in captured("flexric").indications()
        for report in (decode_report(indication.message),)
        for row in range(len(report.ue_keys))
    }
    for each in controls_of(loop.node, 3):
        ue_id = rc.decode_control_header(each.header).ue_id
        assert isinstance(ue_id, GnbUeId) and ue_id in reported
        (quota,) = rc.decode_prb_quotas(each.message)
        assert each.message == rc.encode_prb_quotas((quota,), wrapped=False), "without 2 and 6: it asserts on them"
        assert each.call_process_id is None
    status = loop.wait(lambda status: status.get("controls_acked", 0) + status.get("releases_acked", 0) >= 3)
    assert (status["decode_errors"], status.get("answers_unmatched", 0)) == (0, 0)


def test_flexrics_emulator_as_it_was_captured_is_refused_by_name_and_never_controlled(
    opposite: Callable[..., Any],
) -> None:
    loop = opposite("flexric")
    status = loop.wait(lambda status: any(status["node_problems"].values()))
    (problems,) = status["node_problems"].values()
    assert {"quota_layout_unknown"} <= {each["fault"] for each in problems}
    assert loop.node.controls.empty()


def test_oscs_simulator_is_watched_and_never_controlled(opposite: Callable[..., Any]) -> None:
    loop = opposite("osc_e2sim", nodes=[{"control": "none"}])
    request, definition = asked_of(loop.node)
    assert request.function_id == 2, "KPM by its short name: its OID is OID123"
    assert kpm.decode_action_definition(definition).measurements == ("DRB.RlcSduTransmittedVolumeUL",)
    status = loop.wait(lambda status: status["indications_received"] >= 3)
    assert (status["decode_errors"], status.get("controls_sent", 0)) == (0, 0)
    assert loop.node.controls.empty()


def moved(report: e2ap.Indication) -> e2ap.Indication:
    """The same report as FlexRIC up to v2.0.0 would have written it."""
    read = decode_report(report.message)
    ue_ids = [ue_id for row in range(len(read.ue_keys)) if (ue_id := read.ue_id(row)) is not None]
    values = np.nan_to_num(read.values)
    return report._replace(message=encode_report(ue_ids, read.names, values, 100, dialect=Dialect.FLEXRIC))


def test_a_node_of_the_moved_form_is_found_by_its_reports_asked_anew_and_told_in_its_form(
    opposite: Callable[..., Any], captured: Callable[[str], Captured]
) -> None:
    agent = captured("srsran")
    setup = with_rc(agent, listing(tuple(PARAMETER_NAMES)))
    loop = opposite("srsran", setup=setup, reports=[moved(each) for each in agent.indications()])
    _, first = asked_of(loop.node)
    kpm.decode_action_definition(first)
    _, second = asked_of(loop.node)
    with pytest.raises(E2DecodeError):
        kpm.decode_action_definition(second)
    assert kpm.decode_action_definition(second, Dialect.FLEXRIC) == kpm.decode_action_definition(first)
    for each in controls_of(loop.node, 3):
        assert isinstance(rc.decode_control_header(each.header, Dialect.FLEXRIC).ue_id, GnbDuUeId)
    status = loop.wait(lambda status: status.get("controls_acked", 0) >= 3)
    assert [*status["node_dialects"].values()] == ["flexric"]
    assert status["decode_errors"] == 0
    assert loop.node.subscriptions.empty(), "asked anew once, not for ever"

"""Quotas on their way to a node, and what comes back, over real sockets."""

from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from controlling import ECHOES, FUNCTION_ID, INSTANCE, PLMN, RBGS, Controlling, controls, shares

import xapp.control.sender
from policy.allocation import DYNAMIC, Allocation
from policy.cell_state import make_cell_state
from policy.intent import Intent
from xapp.a1.enforcement import PoliciesInForce
from xapp.a1.policy_model import parse_policy
from xapp.a1.policy_set import PolicySet
from xapp.control.cell_link import CellLink, Report
from xapp.control.cell_tracker import CellTracker
from xapp.control.decision_record import ControlOutcome, ControlStatus
from xapp.control.encoder import DecisionContext
from xapp.e2.e2ap import hot_messages as e2ap
from xapp.e2.rc import messages as rc
from xapp.e2.ue_id.ue_id import GnbDuUeId, GnbUeId, Guami
from xapp.quotas.allocation_to_quota import RELEASED, QuotaRules
from xapp.quotas.ccc_encoder import CccEncoder, CccSettings, SliceShare
from xapp.quotas.quota_store import KEY
from xapp.ric.sdl import SharedStore
from xapp.rmr.transport import RIC_CONTROL_REQUEST


def test_a_quota_arrives_as_it_was_meant(rig: Controlling) -> None:
    outcome = ControlOutcome()
    assert not rig.decide(shares(4), outcome=outcome)  # its id had to be kept first
    request, header, quota = rig.next_quota()
    assert request.request_id == e2ap.RicRequestId(123, INSTANCE)
    assert (request.function_id, request.ack_request) == (FUNCTION_ID, e2ap.AckRequest.ACK)
    assert header == rc.ControlHeader(GnbDuUeId(1), 2, 6)
    assert quota == rc.PrbQuota(PLMN, 7, 0xFF, 0, 40, 100)
    (sent,) = outcome.controls
    assert (sent.what, sent.status, outcome.nothing) == ("controls", ControlStatus.SENT, "")
    rig.acknowledge(request)
    assert sent.status is ControlStatus.ACKNOWLEDGED
    assert (rig.metrics["controls_sent"], rig.metrics["controls_acked"]) == (1, 1)
    assert rig.encoder.explain(rig.node.cell) == {"quotas": {1: 40}}
    again = ControlOutcome()
    assert not rig.decide(shares(4), outcome=again)
    assert again.nothing == "unchanged"
    assert rig.silence()


def test_a_ue_is_named_as_the_node_reported_it(rig: Controlling) -> None:
    name = GnbUeId(1234, Guami(PLMN, 1, 2, 3), ran_ueid=bytes(7) + b"\x2a")
    rig.decide(shares(4), ue_ids=(name,))
    assert rig.next_quota()[1].ue_id == name


def test_a_node_that_does_not_say_what_it_answers_gets_one_control_at_a_time(rig: Controlling) -> None:
    rig.decide(shares(4, 3, 2))
    for percent in (40, 30, 20):
        request, _, quota = rig.next_quota()
        assert quota.max_percent == percent
        assert rig.silence()
        rig.acknowledge(request, echo=False)
    assert rig.metrics["controls_acked"] == 3
    assert rig.metrics["answers_unmatched"] == 0
    rig.sender.on_acknowledge(e2ap.ControlAcknowledge(request.request_id, FUNCTION_ID, None), rig.node.name)
    assert rig.metrics["answers_unmatched"] == 1


def test_a_node_that_says_it_gets_several_at_a_time(rig: Controlling) -> None:
    rig.decide(shares(4, 3, 2))
    rig.acknowledge(rig.next_quota()[0])
    second, third = rig.next_quota(), rig.next_quota()
    rig.refuse(third[0])
    rig.acknowledge(second[0])
    assert (rig.metrics["controls_acked"], rig.metrics["controls_failed"]) == (2, 1)
    assert rig.metrics.summary()["dropped"] == {"quota_refused_control_failed_to_execute": 1}
    assert rig.encoder.explain(rig.node.cell) == {"quotas": {1: 40, 2: 30}}
    rig.decide(shares(1, 1, 2))
    assert rig.play() == {1: 10, 2: 10}  # the refused one waits


def test_a_control_that_nobody_answers_is_swept_and_sent_again(
    rig: Controlling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(xapp.control.sender, "ANSWER_TIMEOUT_S", 0.0)
    monkeypatch.setattr("xapp.quotas.quota_book.FIRST_RETRY_S", 0.0)
    rig.decide(shares(4))
    rig.next_quota()
    time.sleep(0.001)
    rig.sender.sweep()
    assert rig.metrics["controls_unanswered"] == 1
    assert rig.encoder.explain(rig.node.cell) == {"quotas": {}}
    rig.sender.pump()
    assert rig.play() == {1: 40}


def test_without_a_route_nothing_changes_and_it_is_tried_again(rig: Controlling) -> None:
    routes = f"newrt|start\nrte|{RIC_CONTROL_REQUEST}|{rig.node.rmr.source}\nnewrt|end\n"
    rig.node.xapp.routes.update("newrt|start\nrte|1|192.0.2.1:9\nnewrt|end\n")
    rig.decide(shares(4))
    assert rig.metrics.summary()["dropped"]["control_not_sent"] >= 1
    assert rig.sender.outstanding == 0
    rig.node.xapp.routes.update(routes)
    rig.sender.pump()
    assert rig.play() == {1: 40}


def test_a_cell_that_is_released_has_no_limited_ue(rig: Controlling) -> None:
    rig.decide(shares(4, 3))
    rig.play()
    assert rig.sender.release(rig.node.cell)
    assert rig.play() == {1: 100, 2: 100}
    assert (rig.metrics["releases_sent"], rig.metrics["releases_acked"]) == (2, 2)
    rig.keeper.save()
    assert rig.store.get(KEY + rig.node.name) is None
    assert not rig.sender.release(rig.node.cell)
    rig.decide(shares(4, 3))
    assert rig.play() == {1: 40, 2: 30}


@pytest.mark.parametrize("echo", [True, False])
def test_an_xapp_that_stops_releases_everybody_whatever_the_rate(node: Any, store: SharedStore, echo: bool) -> None:
    rig = Controlling(node, store, controls(max_controls_per_s=3))
    rig.decide(shares(2, 3, 1))
    assert rig.play(echo=echo) == {1: 20, 2: 30, 3: 10}
    rig.sender.release_all()
    assert rig.sender.unfinished
    assert rig.play(echo=echo) == {1: 100, 2: 100, 3: 100}
    assert not rig.sender.unfinished
    assert not rig.decide(shares(2, 3, 1))
    assert rig.silence()


def test_an_instance_that_stands_back_leaves_its_quotas_to_the_one_that_controls(rig: Controlling) -> None:
    rig.decide(shares(4, 3))
    rig.play()
    rig.sender.enter_standby()
    rig.keeper.enter_standby()
    rig.sender.release_all()
    assert not rig.sender.unfinished
    rig.keeper.save()
    assert rig.silence()
    assert len(rig.store.get(KEY + rig.node.name)["ues"]) == 2  # for the other one to read
    rig.sender.take_control(2)
    rig.sender.pump()
    assert rig.silence(), "who was limited is written in shared data, not in the book of before"


def test_a_cap_is_enforced_once_the_node_has_acknowledged_it(rig: Controlling) -> None:
    everybody = parse_policy('{"limits": {"per_ue": {"max_share_percent": 40}}}')
    in_class = parse_policy(
        '{"scope": {"slices": [{"traffic_class": "embb"}]}, "limits": {"per_slice": {"max_share_percent": 50}}}'
    )
    in_force = PoliciesInForce(PolicySet({"everybody": everybody, "in_class": in_class}))
    tracker = CellTracker(rig.node.cell, num_rbgs=RBGS, report_period_ms=100, has_kpm=True, has_dcm=False)
    link = CellLink(tracker, rig.target)
    classes = [0.0, 0.0, 2.0]
    state = make_cell_state(
        rig.node.cell, num_rbgs=RBGS, slots_per_dcm=100, slot=0, ue_ids=(1, 2, 3), traffic_class_U=classes
    )
    link.newest = Report(link, state, 1, 0)

    def reasons() -> dict[str, list[str]]:
        return {name: [r.split(": ")[1] for r in held.reasons] for name, held in in_force.statuses([link]).items()}

    intent = in_force.intent_for(state)
    assert reasons() == {"everybody": ["UEs 1, 2, 3"], "in_class": ["UEs 1, 2"]}
    rig.decide(shares(4, 3, 3), intent=intent)
    assert rig.play() == {1: 25, 2: 25, 3: 30}
    assert reasons() == {"everybody": [], "in_class": []}
    rig.sender.release(rig.node.cell)
    assert rig.play() == {1: 100, 2: 100, 3: 100}
    assert reasons() == {"everybody": ["UEs 1, 2, 3"], "in_class": ["UEs 1, 2"]}
    in_force.change(lambda known: PolicySet({**known.policies, "silent": parse_policy('{"mode": "shadow"}')}))
    assert not [r for found in reasons().values() for r in found if r.startswith("UE")], "nothing is to be sent"


def test_quotas_beyond_the_rate_wait(node: Any, store: SharedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = time.monotonic()
    monkeypatch.setattr(xapp.control.sender, "time", SimpleNamespace(monotonic=lambda: now_s))
    rig = Controlling(node, store, controls(max_controls_per_s=2))
    rig.decide(shares(2, 3, 1))
    assert len(rig.play()) == 2
    assert rig.encoder.waiting == 1
    now_s += 1.5
    rig.sender.pump()
    assert len(rig.play()) == 1
    assert rig.encoder.waiting == 0


def test_a_node_that_was_away_is_told_again(rig: Controlling) -> None:
    rig.decide(shares(4))
    rig.play()
    rig.sender.unwatch(rig.node.name)
    assert rig.keeper.encoder(rig.node.name, ECHOES) is rig.encoder
    rig.sender.pump()
    assert rig.silence()
    rig.sender.watch(rig.target)
    assert rig.play() == {1: 40}


def test_a_ue_without_a_name_is_left_alone(rig: Controlling) -> None:
    state = make_cell_state(rig.node.cell, num_rbgs=RBGS, slots_per_dcm=100, slot=0, ue_ids=(1,))
    assert not rig.sender.send(rig.target, shares(4), DecisionContext(state))
    rig.keeper.save()
    rig.sender.pump()
    assert rig.silence()


def test_an_operators_cap_reaches_the_node(rig: Controlling) -> None:
    free = Allocation((1, 2), np.full(RBGS, DYNAMIC, np.int16))
    rig.decide(free, intent=Intent(max_share_percent={1: 3.0}))
    assert rig.play() == {1: 3}
    rig.decide(free)
    assert rig.play() == {1: 100}


def test_a_decision_in_flight_while_its_node_is_planned_anew_leaves_no_quota_behind(rig: Controlling) -> None:
    """The node is controlled by shares of slices from now on: what came after the release is taken back, too, under the
    subscription of now."""
    rig.decide(shares(4, 3))
    assert rig.play() == {1: 40, 2: 30}
    assert rig.sender.release(rig.node.cell)
    assert rig.play() == {1: 100, 2: 100}
    rig.decide(shares(2, 3))  # in flight: its target is the old one
    assert rig.play() == {1: 20, 2: 30}
    rig.sender.unwatch(rig.node.name)
    rig.encoder.doubt()
    rig.sender.watch(replace(rig.target, instance_id=INSTANCE + 1))
    rig.play()
    slices = CccEncoder(CccSettings("00101", (SliceShare("1", 1, "", RELEASED),), ()), QuotaRules())
    now = replace(rig.target, function_id=4, instance_id=INSTANCE + 1, encoder=slices)
    state = make_cell_state(rig.node.cell, num_rbgs=RBGS, slots_per_dcm=100, slot=0, ue_ids=(1, 2))
    rig.sender.send(now, shares(4, 3), DecisionContext(state))
    request, _, quota = rig.next_quota()
    assert (request.request_id.instance, quota.max_percent) == (INSTANCE + 1, 100)
    rig.acknowledge(request)
    rig.play()
    assert rig.encoder.limited == 0

"""From the mediator's message to the very next control: no decision between a policy's answer and its effect."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from limit_checker import Share, violations

from policy.schedulers.schedulers import SCHEDULERS
from xapp.a1.policies import Policies
from xapp.a1.policy_model import POLICY_TYPE_ID
from xapp.config.model import A1Config, parse_controls
from xapp.control.cell_link import Report, ReportSubscription
from xapp.control.control_loop import ControlLoop
from xapp.control.mailbox import Mailbox
from xapp.control.receiver import Receiver
from xapp.control.sender import ControlSender
from xapp.explain.document import explain
from xapp.monitoring.metrics import Metrics
from xapp.ric.sdl import SharedStore
from xapp.rmr.transport import A1_POLICY_REQUEST, RmrMessage

UES = (1, 2, 3)
HELD = r"ulThroughput: (in force|unknown); NOT_ENFORCED is for what is not ours alone \(dlThroughput\)"


class Loop:
    """Receiver, policies and pacer of an xApp; the test brings the messages and runs the periodic tasks."""

    def __init__(self, node: Any, **controls: Any) -> None:
        self.node, self.sn = node, 0
        self.controls = parse_controls({"coalesce_ms": 0.0, "stale_after_periods": 100.0, **controls})
        metrics, self.store = Metrics(), SharedStore(environ={})
        mailbox: Mailbox[Report] = Mailbox(0.0)
        sender = ControlSender(node.xapp, metrics, instance_epoch=1, lease_periods=2)
        self.receiver = Receiver(node.xapp, mailbox, sender, metrics)
        self.policies = Policies(
            self.controls, node.xapp, self.store, metrics, handler_id="stackmac", links=self.receiver.links
        )
        self.receiver.register(A1_POLICY_REQUEST, self.policies.a1.on_message)
        self.loop = ControlLoop(
            self.controls,
            SCHEDULERS["proportional_fair"],
            mailbox,
            sender,
            metrics,
            links=self.receiver.links,
            intent_of=self.policies.in_force.intent_for,
            on_decided=self.policies.in_force.on_decided,
        )
        self.receiver.attach(node.dcm_instance, ReportSubscription(node.cell, "dcm"), node.link())
        self.loop.start()

    def close(self) -> None:
        self.loop.close()
        self.store.close()

    def say(
        self, operation: str, name: str, policy: dict[str, Any] | None = None, type_id: int = POLICY_TYPE_ID
    ) -> None:
        """A request of the mediator, worked on."""
        payload = "" if policy is None else json.dumps(policy)
        fields = {"policy_type_id": str(type_id), "policy_instance_id": name, "payload": payload}
        self.receiver.on_message(RmrMessage(A1_POLICY_REQUEST, json.dumps({"operation": operation, **fields}).encode()))
        self.policies.a1.run_due()

    def next_allocation(self, **columns: Any) -> Any:
        """What follows the next report."""
        self.sn += 1
        self.receiver.on_message(self.node.dcm_message(self.sn, self.node.indication(UES, slot=self.sn, **columns)))
        return self.node.next_control()[1].allocation

    @property
    def rows(self) -> dict[str, Any]:
        return {row["policy_instance_id"]: row for row in self.policies.rows()}


@pytest.fixture
def loop(node: Any) -> Iterator[Loop]:
    running = Loop(node, a1={"slices": [{"sst": 1, "ue_ids": [3]}]})
    yield running
    running.close()


def per_ue(**limit: float) -> dict[str, Any]:
    return {"limits": {"per_ue": limit}}


def test_a_policy_changes_the_very_next_allocation_and_so_does_its_end(loop: Loop) -> None:
    capped = [Share(frozenset({ue}), 0.0, 20.0) for ue in UES]
    assert violations(capped, loop.next_allocation())
    loop.say("CREATE", "cap", per_ue(max_share_percent=20.0))
    for _ in range(5):
        assert violations(capped, loop.next_allocation()) == []
    loop.say("UPDATE", "cap", per_ue(max_share_percent=50.0))
    assert violations(capped, loop.next_allocation())
    loop.say("DELETE", "cap")
    allocation = loop.next_allocation()
    assert violations(capped, allocation) and allocation.open_allowed_U.all()


def test_a_refused_update_leaves_the_limits_in_force(loop: Loop) -> None:
    capped = [Share(frozenset({ue}), 0.0, 20.0) for ue in UES]
    loop.say("CREATE", "cap", per_ue(max_share_percent=20.0))
    loop.say("UPDATE", "cap", {"limits": {"per_ue": {"max_share_percent": 200.0}}})
    assert violations(capped, loop.next_allocation()) == []


def test_slices_of_the_configuration_and_of_classes_hold(loop: Loop) -> None:
    shares = [Share(frozenset({3}), 50.0), Share(frozenset({1, 2}), 0.0, 34.0)]
    assert violations(shares, loop.next_allocation())
    loop.say("CREATE", "gold", {"scope": {"slices": [{"sst": 1}]}, "limits": {"per_slice": {"min_share_percent": 50}}})
    embb = {"scope": {"slices": [{"traffic_class": "embb"}]}, "limits": {"per_slice": {"max_share_percent": 34}}}
    loop.say("CREATE", "rest", embb)
    for _ in range(5):
        assert violations(shares, loop.next_allocation(traffic_class=np.array([0.0, 0.0, 1.0]))) == []
    assert {name: row["enforcement"] for name, row in loop.rows.items()} == {"gold": "ENFORCED", "rest": "ENFORCED"}
    assert loop.rows["rest"]["cells"] == [loop.node.cell]
    assert loop.rows["rest"]["policy"] == embb | {"limits": {"per_slice": {"max_share_percent": 34.0}}}


def test_the_configuration_may_name_a_slices_members_later(loop: Loop) -> None:
    loop.next_allocation()
    loop.say("CREATE", "p", {"scope": {"slices": [{"sst": 7}]}, "limits": {"per_slice": {"min_share_percent": 50}}})
    assert loop.rows["p"]["enforcement"] == "NOT_ENFORCED"
    loop.policies.configure(parse_controls({"a1": {"slices": [{"sst": 7, "ue_ids": [2]}]}}))
    assert violations([Share(frozenset({2}), 50.0)], loop.next_allocation()) == []
    assert loop.rows["p"]["enforcement"] == "ENFORCED"
    assert not loop.policies.main_reasons(loop.policies.statuses(), loop.policies.targets())


def test_the_reason_that_is_told_first_is_about_what_is_ours(loop: Loop) -> None:
    objectives = {"ulThroughput": 500, "dlThroughput": 500}
    loop.next_allocation()
    for name, ue in (("gone", 99), ("here", 1)):
        document = {"scope": {"ueId": f"{ue:016x}"}, "ueLevelObjectives": objectives}
        loop.say("CREATE", name, document, type_id=A1Config().ue_level_type_id)
    loop.next_allocation()
    downlink = "ueLevelObjectives.dlThroughput: the downlink is not controlled here"
    rows = loop.rows
    assert {name: row["reasons"][0] for name, row in rows.items()} == {"gone": downlink, "here": downlink}
    assert rows["gone"]["holds"] == ""
    # In between: whether a window has been measured yet.
    assert re.fullmatch(HELD, rows["here"]["holds"])
    told = loop.policies.main_reasons(loop.policies.statuses(), loop.policies.targets())
    assert told["gone"] == "UE 99: not there, and so nobody has the floor"
    assert re.fullmatch(HELD, told["here"])


def lose(loop: Loop, seconds: int, lost: float) -> None:
    """Each UE delivers 99 packets a period and loses `lost`."""
    for _ in range(10 * seconds):
        loop.sn += 1
        columns = {"lost_packets": np.full(3, lost), "delivered_packets": np.full(3, 99.0)}
        indication = loop.node.indication(UES, k=100, slot=100 * loop.sn, **columns)
        loop.receiver.on_message(loop.node.dcm_message(loop.sn, indication, slot=100 * loop.sn))
        loop.node.next_control()


def test_a_loss_target_is_judged_by_the_packets_of_the_dcm_indication_and_explained(loop: Loop) -> None:
    loop.next_allocation()
    loop.say("CREATE", "loss", {"scope": {"slices": [{"sst": 1}]}, "targets": {"per_slice": {"max_loss_rate": 0.02}}})
    lose(loop, 2, 1.0)
    assert loop.rows["loss"]["enforcement"] == "ENFORCED"
    (row,) = loop.rows["loss"]["targets"]
    assert (row["state"], row["loss_rate"]) == ("met", pytest.approx(0.01))
    lose(loop, 2, 11.0)
    assert loop.rows["loss"]["enforcement"] == "NOT_ENFORCED"
    assert "slice 1: 10 % lost, 2 % at most" in loop.rows["loss"]["reasons"][0]
    lose(loop, 1, 11.0)  # the decision after the window's end
    (explained,) = explain(loop.loop.log.newest(loop.node.cell)[0])["targets"]
    assert (explained["state"], explained["max_loss_rate"]) == ("missed", 0.02)
    assert explained["text"] == "10 % lost, 2 % at most"


def test_targets_of_a_cell_that_left_do_not_count_until_it_is_back(loop: Loop) -> None:
    loop.next_allocation()
    loop.say("CREATE", "loss", {"scope": {"slices": [{"sst": 1}]}, "targets": {"per_slice": {"max_loss_rate": 0.02}}})
    lose(loop, 2, 11.0)
    assert "lost, 2 % at most" in "".join(loop.rows["loss"]["reasons"])
    loop.receiver.detach(loop.node.dcm_instance)
    assert loop.rows["loss"]["targets"] == [] and loop.policies.targets() == []
    assert loop.rows["loss"]["reasons"] == ["no cell reports"]
    loop.receiver.attach(loop.node.dcm_instance, ReportSubscription(loop.node.cell, "dcm"), loop.node.link())
    lose(loop, 2, 11.0)
    (row,) = loop.rows["loss"]["targets"]
    assert row["windows_by_state"] == {"missed": row["windows"]} and row["windows"] >= 1
    assert "lost, 2 % at most" in "".join(loop.rows["loss"]["reasons"])

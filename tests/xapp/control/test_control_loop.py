"""The pacer: by the deadline a control is sent that may be sent, whatever the leader does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from deciding import AllIdle, Deciding, Slow
from waiting import PATIENCE_S, wait_for

from policy.allocation import DYNAMIC, IDLE, Allocation, LeftoverRule
from policy.intent import Intent, Mode
from policy.leader import Decision
from policy.schedulers.schedulers import SCHEDULERS
from policy.time_scales import MAX_PERIOD_MS
from xapp.control.cell_link import Report, ReportSubscription
from xapp.rmr.transport import RmrMessage

SECOND_NCI = "00f110000000012"
SECOND_INSTANCE = 41


Make = Callable[..., Deciding]


# -- who decides ------------------------------------------------------------------------------------------------------


def test_the_leaders_answer_is_sent_and_counted_as_its_own(make: Make) -> None:
    deciding = make(AllIdle())
    control = deciding.decided(3)
    assert control.allocation.owner_M.tolist() == [IDLE] * 6
    assert control.based_on_indication_sn == 3
    wait_for(lambda: deciding.metrics["decisions"] == 1)
    summary = deciding.metrics.summary()
    assert summary["decided_by"] == {"model": 1}
    assert (summary["guard_changes"], summary["dropped"]) == (0, {})
    assert 0 < summary["decision_ms"]["p50"] < summary["loop_ms"]["p50"]
    last = deciding.loop.last_decisions()[deciding.node.cell]
    assert (last["strip"], last["decided_by"], last["sent"], last["fallbacks"]) == ("......", "model", True, 0)


def test_at_the_deadline_the_classical_schedule_goes_out_and_the_late_answer_is_dropped(make: Make) -> None:
    slow = Slow()
    deciding = make(slow, decision_deadline_ms=500.0)
    started_s = time.monotonic()
    control = deciding.decided(1)
    assert slow.started.is_set(), "it was asked in time"
    assert 0.5 <= time.monotonic() - started_s < PATIENCE_S / 2
    owners = control.allocation.owner_M.tolist()
    assert all(owner >= 0 for owner in owners), "proportional fair grants every RBG of two busy UEs"
    assert deciding.decided(2).allocation.owner_M.tolist() == owners
    slow.go.set()
    wait_for(lambda: deciding.metrics["late_answers"] == 1)
    # However busy the machine is, the leader is in time again.
    deciding.loop.configure(deciding.controls.model_copy(update={"decision_deadline_ms": MAX_PERIOD_MS}))
    assert deciding.decided(3).allocation.owner_M.tolist() == [IDLE] * 6
    wait_for(lambda: deciding.metrics["decisions"] == 3)
    assert deciding.decided_by == {"fallback:late": 1, "fallback:busy": 1, "model": 1}
    assert deciding.loop.last_decisions()[deciding.node.cell]["fallbacks"] == 2


def test_the_deadline_counts_from_the_reports_arrival(make: Make) -> None:
    leader = AllIdle()
    deciding = make(leader, decision_deadline_ms=50.0)
    message = deciding.node.dcm_message(1)
    arrived_ns = time.perf_counter_ns() - 60_000_000
    deciding.receiver.on_message(RmrMessage(message.mtype, message.payload, meid=message.meid, received_ns=arrived_ns))
    assert all(owner >= 0 for owner in deciding.control().allocation.owner_M.tolist())
    wait_for(lambda: deciding.metrics["decisions"] == 1)
    assert (leader.asked, deciding.decided_by) == ([], {"fallback:late": 1})


class Broken(AllIdle):
    def decide(self, *args: Any) -> list[Decision]:
        raise RuntimeError("no idea")


class Forgetful(AllIdle):
    def decide(self, *args: Any) -> list[Decision]:
        return []


@pytest.mark.parametrize(("leader", "reason"), [(Broken(), "error"), (Forgetful(), "wrong_count")])
def test_a_leader_that_fails_costs_the_schedule_nothing_but_its_wits(make: Make, leader: Any, reason: str) -> None:
    deciding = make(leader)
    expected = SCHEDULERS["proportional_fair"]
    for sn in (1, 2):
        control = deciding.decided(sn)
        state = deciding.link.newest.state  # type: ignore[union-attr]
        assert control.allocation.owner_M.tolist() == expected.schedule(state, Intent()).owner_M.tolist()
    wait_for(lambda: deciding.metrics["decisions"] == 2)
    assert deciding.decided_by == {f"fallback:{reason}": 2}
    assert deciding.metrics["leader_errors"] == (2 if reason == "error" else 0)


def test_at_a_rics_pace_the_fallback_leaves_the_cell_to_the_nodes_own_scheduler(make: Make) -> None:
    deciding = make(Broken())
    control = deciding.decided(1, deciding.node.indication(k=100, slot=1))
    assert control.allocation.owner_M.tolist() == [DYNAMIC] * 6
    assert control.valid_for_slots == 100  # the second of two periods: in the first it is still on its way


# -- what is sent -----------------------------------------------------------------------------------------------------


class Reckless(AllIdle):
    """Gives RBGs to a UE that does not exist, and contradicts itself."""

    def decide(self, states: Any, *_: Any) -> list[Decision]:
        return [
            Decision(Allocation((77, *state.ue_ids), np.zeros(state.num_rbgs, np.int16), LeftoverRule(99, -1.0)))
            for state in states
        ]


def test_the_guard_stands_between_any_leader_and_the_radio(make: Make) -> None:
    deciding = make(Reckless())
    control = deciding.decided(1)
    assert control.allocation.ue_ids == (1, 2)
    assert all(owner < 0 for owner in control.allocation.owner_M.tolist())
    wait_for(lambda: deciding.metrics["decisions"] == 1)
    assert deciding.metrics["guard_changes"] >= 2
    assert deciding.loop.last_decisions()[deciding.node.cell]["guard_changes"]


def test_what_was_decided_is_checked_against_the_report_that_came_meanwhile(make: Make) -> None:
    slow = Slow()
    deciding = make(slow)
    deciding.report(1, deciding.node.indication((1, 2, 3)))
    assert slow.started.wait(PATIENCE_S)
    deciding.report(2, deciding.node.indication((1, 3, 4), slot=2))
    slow.go.set()
    control = deciding.control()
    assert (control.allocation.ue_ids, control.based_on_indication_sn) == ((1, 3, 4), 2)


class Generous(Slow):
    """Everything to the first UE."""

    def decide(self, states: Any, *args: Any) -> list[Decision]:
        super().decide(states, *args)
        return [
            Decision(Allocation(state.ue_ids, np.zeros(state.num_rbgs, np.int16)), decided_by="model")
            for state in states
        ]


@pytest.mark.parametrize("mode", list(Mode))
def test_a_policy_that_comes_while_the_leader_thinks_holds_for_what_it_is_about_to_say(make: Make, mode: Mode) -> None:
    slow = Generous()
    deciding = make(slow)
    slow.go.set()
    assert deciding.decided(1).allocation.owner_M.tolist() == [0] * 6
    slow.started.clear()
    slow.go.clear()
    deciding.report(2)
    assert slow.started.wait(PATIENCE_S)
    deciding.intent = Intent(mode=mode, max_share_percent={1: 50.0})
    slow.go.set()
    control = deciding.control()
    wait_for(lambda: len(deciding.settled) == 2)
    intent, allocation, was_sent = deciding.settled[1]
    assert (intent, was_sent) == (deciding.intent, mode is not Mode.SHADOW)
    assert control.release == (mode is Mode.SHADOW)
    assert allocation.rbgs_per_ue()[0] <= 3 and not allocation.open_allowed_U[0]
    assert deciding.decided_by == ({"model": 1, "fallback:intent": 1} if mode is Mode.FALLBACK else {"model": 2})


def test_a_ue_that_came_while_the_leader_thought_is_limited_like_the_others(make: Make) -> None:
    slow = Slow()
    deciding = make(slow)
    deciding.limit_everybody_to(20.0)
    deciding.report(1, deciding.node.indication((1, 2)))
    assert slow.started.wait(PATIENCE_S)
    deciding.report(2, deciding.node.indication((1, 2, 9), slot=2))
    slow.go.set()
    allocation = deciding.control().allocation
    assert allocation.ue_ids == (1, 2, 9)
    assert (allocation.max_rbgs_U.tolist(), allocation.open_allowed_U.tolist()) == ([1] * 3, [False] * 3)


def test_cells_that_report_together_are_decided_together(make: Make, node: Any) -> None:
    leader = AllIdle()
    deciding = make(leader)
    second = node.link()
    second.tracker.cell = f"{node.name}/{SECOND_NCI}"
    second.target = node.target(SECOND_NCI)
    deciding.receiver.attach(SECOND_INSTANCE, ReportSubscription(second.tracker.cell, "dcm"), second)
    reports = []
    for cell, link, sn in ((node.cell, deciding.link, 1), (second.tracker.cell, second, 9)):
        link.tracker.on_dcm(sn, *_decoded(node, sn))
        state = link.tracker.state()
        assert state is not None
        reports.append(Report(link, state, sn, time.perf_counter_ns()))
        assert state.cell == cell
    deciding.loop.decide(reports)
    assert leader.asked == [2]
    assert sorted(deciding.control().carrier.cell for _ in range(2)) == [node.nci, SECOND_NCI]


def test_one_cells_trouble_is_not_the_others(make: Make, node: Any) -> None:
    deciding = make(AllIdle())
    reports = []
    for nci, num_rbgs in ((SECOND_NCI, 7), (node.nci, 6)):  # the first does not fit its carrier
        link = node.link()
        link.target = node.target(nci)
        link.tracker.num_rbgs = num_rbgs
        link.tracker.on_dcm(1, *_decoded(node, 1))
        state = link.tracker.state()
        assert state is not None
        reports.append(Report(link, state, 1, time.perf_counter_ns()))
    deciding.loop.decide(reports)
    assert deciding.control().carrier.cell == node.nci
    assert deciding.metrics.summary()["dropped"] == {"send_error": 1}


def _decoded(node: Any, sn: int) -> Any:
    from xapp.e2.dcm import messages as dcm
    from xapp.e2.e2ap import hot_messages as e2ap

    arrived = e2ap.decode_indication(node.dcm_message(sn).payload)
    return dcm.decode_indication_header(arrived.header), dcm.decode_indication(arrived.message)

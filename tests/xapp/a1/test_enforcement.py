"""Policies in force: floors that hold over a window, and a status that says what does not hold and why."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from policy.allocation import Allocation, PeriodicGrant, all_dynamic
from policy.cell_state import CellState, make_cell_state
from policy.grammar import PAPER, compile_grammar
from policy.intent import Intent, SliceLimit
from xapp.a1.enforcement import NO_RESERVATION, Enforcement, PoliciesInForce, counted_rbgs
from xapp.a1.policy_model import Policy, parse_policy
from xapp.a1.policy_set import PolicySet
from xapp.control.cell_link import CellLink, ControlTarget, Report
from xapp.control.cell_tracker import CellTracker
from xapp.control.encoder import ControlEncoder
from xapp.control_kinds.dcm import DcmEncoder
from xapp.e2.dcm import messages as dcm
from xapp.quotas.allocation_to_quota import Quota, QuotaRules
from xapp.quotas.ccc_encoder import CccEncoder, CccSettings, SliceShare
from xapp.quotas.rc_encoder import RcEncoder, RcSettings

NCI = "00f110000000011"
CELL = f"gnb_1/{NCI}"
OTHER = f"gnb_2/{NCI}"


def policy(**parts: Any) -> Policy:
    return parse_policy(json.dumps(parts))


def limit(least: float = 0.0, most: float = 100.0) -> dict[str, float]:
    return {"min_share_percent": least, "max_share_percent": most}


def cell(num_ues: int = 3, num_rbgs: int = 5, slot: int = 0) -> CellState:
    ue_ids = tuple(range(1, num_ues + 1))
    return make_cell_state(
        CELL, num_rbgs=num_rbgs, slots_per_dcm=1, slot=slot, ue_ids=ue_ids, traffic_class_U=np.zeros(num_ues)
    )


def link(state: CellState, *, has_function: bool = True) -> CellLink:
    tracker = CellTracker(state.cell, num_rbgs=state.num_rbgs, report_period_ms=100, has_kpm=False, has_dcm=True)
    carrier = dcm.Carrier.of(NCI, bwp_size_prb=4 * state.num_rbgs, rbg_size_prb=4)
    found = CellLink(tracker, ControlTarget("gnb_1", state.cell, 5, 1, carrier, DcmEncoder()) if has_function else None)
    found.newest = Report(found, state, 1, 0)
    return found


def at_node(encoder: ControlEncoder | None) -> CellLink:
    """The cell, under an encoder or watched only."""
    found = link(cell())
    assert found.target is not None
    return replace(found, target=encoder and replace(found.target, encoder=encoder))


def judged_at(attached: CellLink, kbps: float, share: float) -> PoliciesInForce:
    """Two seconds in which every UE was served so much, UE 1 under a target of 500 kbit/s."""
    floor = policy(scope={"cells": [CELL], "ue_ids": [1]}, targets={"per_ue": {"min_throughput_kbps": 500}})
    in_force = PoliciesInForce(PolicySet({"floor": floor}), link_of=lambda cell: attached)
    for period in range(21):
        measured = {"served_bits_per_slot_U": np.full(3, kbps), "prb_share_U": np.full(3, share)}
        state = replace(cell(slot=100 * period), slots_per_dcm=100, **measured)
        in_force.on_decided(state, in_force.intent_for(state), all_dynamic(state.ue_ids, 5), True)
    return in_force


QUOTAS = RcEncoder(RcSettings(bytes.fromhex("00f110"), 1, None), QuotaRules())
SLICES = CccEncoder(CccSettings("00101", (SliceShare("1", 1, "", Quota(20, 100, 0)),), (NCI,)), QuotaRules())


@pytest.mark.parametrize("share", [0.38, 0.1])
def test_a_floor_that_quotas_of_ues_cannot_keep_is_said_within_two_windows(share: float) -> None:
    """Also where the UE is on much less than the floor: nothing was kept free for it that it could have left unused."""
    at_rc = at_node(QUOTAS)
    in_force = judged_at(at_rc, 300.0, share)
    (row,) = in_force.targets([at_rc])
    assert row["windows_by_state"] == {"missed": 2} and row["share_percent"] >= min(70.0, 180.0 * share)
    status = in_force.statuses([at_rc])["floor"]
    assert status.enforcement is Enforcement.NOT_ENFORCED
    reason = "UE 1: 300 kbit/s in the newest second, 500 wanted"
    assert any(reason in text and text.endswith(NO_RESERVATION) for text in status.reasons)
    at_dcm = at_node(DcmEncoder())
    assert not any(NO_RESERVATION in text for text in in_force.statuses([at_dcm])["floor"].reasons)


@pytest.mark.parametrize(
    ("encoder", "kbps", "state"),
    [
        (DcmEncoder(), 100.0, "idle"),
        (QUOTAS, 100.0, "missed"),
        (SLICES, 100.0, "missed"),
        (None, 100.0, "missed"),
        (DcmEncoder(), 0.0, "idle"),
        (QUOTAS, 0.0, "idle"),
        (None, 0.0, "idle"),
    ],
)
def test_a_ue_has_less_to_send_where_its_floor_is_kept_free_or_where_it_sends_nothing_at_all(
    encoder: ControlEncoder | None, kbps: float, state: str
) -> None:
    attached = at_node(encoder)
    in_force = judged_at(attached, 600.0, 0.3)
    for period in range(21, 60):
        measured = {"served_bits_per_slot_U": np.full(3, kbps), "prb_share_U": np.full(3, 0.05 * (kbps > 0.0))}
        now = replace(cell(slot=100 * period), slots_per_dcm=100, **measured)
        in_force.on_decided(now, in_force.intent_for(now), all_dynamic(now.ue_ids, 5), True)
    (row,) = in_force.targets([attached])
    assert row["state"] == state
    enforced = in_force.statuses([attached])["floor"].enforcement is Enforcement.ENFORCED
    assert enforced == (state == "idle" and encoder is not None)


# -- windows ----------------------------------------------------------------------------------------------------------


def speak_at_random(rng: np.random.Generator, state: CellState, intent: Intent) -> Allocation:
    cursor = compile_grammar(state, intent, PAPER).start()
    while not cursor.done:
        cursor.advance(int(rng.choice(np.flatnonzero(cursor.mask()))))
    return cursor.allocation()


def test_floors_hold_over_the_window_where_rounding_forbids_it_in_each_period() -> None:
    """30 % of 5 RBGs is 1.5, three times: 6 RBGs rounded up, of 5. Over 10 periods each UE owns 15 at least."""
    window, rng = 10, np.random.default_rng(1)
    floor = {"per_ue": limit(30)}
    shares = {f"u{ue}": policy(scope={"cells": [CELL], "ue_ids": [ue]}, limits=floor) for ue in (1, 2, 3)}
    in_force = PoliciesInForce(PolicySet(shares, floor_window_periods=window))
    owned = []
    for period in range(60):
        state = cell(slot=period)
        intent = in_force.intent_for(state)
        allocation = speak_at_random(rng, state, intent)
        in_force.on_decided(state, intent, allocation, True)
        owned.append(allocation.rbgs_per_ue())
    per_window = np.array([np.sum(owned[k : k + window], axis=0) for k in range(60 - window + 1)])
    assert per_window.min() >= 0.3 * 5 * window - 1  # within the RBG that a window's edge may cut off
    assert np.sum(owned, axis=0).min() >= 0.3 * 5 * 60 - 1
    assert in_force.statuses([link(cell())])["u1"].enforcement is Enforcement.ENFORCED


def test_slices_floors_hold_over_the_window_too() -> None:
    rng = np.random.default_rng(2)
    embb = policy(scope={"slices": [{"traffic_class": "embb"}]}, limits={"per_slice": limit(33)})
    in_force = PoliciesInForce(PolicySet({"p": embb}, floor_window_periods=20))
    total = 0
    for period in range(60):
        state = cell(num_ues=2, slot=period)
        intent = in_force.intent_for(state)
        allocation = speak_at_random(rng, state, intent)
        in_force.on_decided(state, intent, allocation, True)
        got = int(counted_rbgs(allocation).sum())
        assert got >= 1  # 1.65 RBGs: at least one in every period, at least 99 in all
        total += got
    assert total >= 99


def test_what_was_not_sent_is_made_up_as_far_as_the_window_goes() -> None:
    one = policy(scope={"cells": [CELL], "ue_ids": [1]}, limits={"per_ue": limit(20)})
    in_force = PoliciesInForce(PolicySet({"p": one}, floor_window_periods=3))
    state = cell(num_rbgs=10)
    everything = Allocation(state.ue_ids, np.zeros(10, np.int16))
    for owed in (0.0, 2.0, 4.0, 6.0, 6.0):  # never more than three periods' worth
        intent = in_force.intent_for(state)
        assert intent.owed_rbgs.get(1, 0.0) == pytest.approx(owed)
        in_force.on_decided(state, intent, everything, False)
    in_force.on_decided(state, in_force.intent_for(state), everything, True)
    assert in_force.intent_for(state).owed_rbgs[1] == pytest.approx(0.0)  # 10 RBGs are no credit for later


def test_a_cell_that_promises_nothing_any_more_owes_nothing() -> None:
    one = policy(scope={"cells": [CELL], "ue_ids": [1]}, limits={"per_ue": limit(20)})
    in_force = PoliciesInForce(PolicySet({"p": one}, floor_window_periods=3))
    state = cell()
    nothing = all_dynamic(state.ue_ids, 5)
    in_force.on_decided(state, in_force.intent_for(state), nothing, False)
    assert in_force.intent_for(state).owed_rbgs == {1: 1.0}
    in_force.change(lambda known: PolicySet())
    in_force.on_decided(state, in_force.intent_for(state), nothing, True)
    in_force.change(lambda known: PolicySet({"p": one}, floor_window_periods=3))
    assert in_force.intent_for(state).owed_rbgs == {}


def test_rbgs_with_a_periodic_grant_count_for_no_floor() -> None:
    allocation = Allocation((1, 2), np.array([0, 0, 1, -1], np.int16), periodic_grants=(PeriodicGrant(1, 1, 4, 0),))
    assert counted_rbgs(allocation).tolist() == [1, 1]


def test_a_slice_keeps_its_debt_by_name() -> None:
    state = cell(num_ues=2, num_rbgs=10)
    in_force = PoliciesInForce()
    intent = Intent(slice_limits=(SliceLimit("s", frozenset({1, 2}), 25.0),), floor_window_periods=5)
    in_force.on_decided(state, intent, all_dynamic(state.ue_ids, 10), True)
    scope = {"cells": [CELL], "slices": [{"sst": 1, "ue_ids": [1]}]}
    named = policy(scope=scope, limits={"per_slice": limit(25)})
    in_force.change(lambda known: PolicySet({"p": named}, floor_window_periods=5))
    assert [s.owed_rbgs for s in in_force.intent_for(state).slice_limits] == [0.0]  # another slice


# -- statuses ---------------------------------------------------------------------------------------------------------


def statuses(policies: dict[str, Policy], *links: CellLink, **options: Any) -> dict[str, tuple[str, tuple[str, ...]]]:
    found = PoliciesInForce(PolicySet(policies, **options)).statuses(links)
    return {name: (status.enforcement.value, status.reasons) for name, status in found.items()}


def test_a_policy_that_holds_is_enforced() -> None:
    held = {"p": policy(limits={"per_ue": limit(0, 50)})}
    assert statuses(held, link(cell())) == {"p": ("ENFORCED", ())}


def test_floors_beyond_the_cell_are_not_enforced_for_whoever_asks_for_them() -> None:
    policies = {
        "big": policy(scope={"cells": [CELL], "ue_ids": [1]}, limits={"per_ue": limit(80)}),
        "cap": policy(scope={"cells": [CELL], "ue_ids": [3]}, limits={"per_ue": limit(0, 50)}),
        "too": policy(scope={"cells": [CELL], "ue_ids": [2]}, limits={"per_ue": limit(60)}),
    }
    reason = f"{CELL}: floors ask for 7 of 5 RBGs: scaled down in proportion"
    assert statuses(policies, link(cell())) == {
        "big": ("NOT_ENFORCED", (reason,)),
        "cap": ("ENFORCED", ()),
        "too": ("NOT_ENFORCED", (reason,)),
    }


def test_what_another_policy_overrules_is_said() -> None:
    policies = {
        "a": policy(mode="shadow", objective={"alpha": 1.0}),
        "b": policy(mode="control", objective={"alpha": 2.0}),
        "c": policy(limits={"per_ue": limit(0, 50)}),
    }
    found = statuses(policies, link(cell()))
    assert found["a"] == ("ENFORCED", ())
    assert found["b"][1] == (
        f"{CELL}: alpha 2: a policy that comes first asks for 1",
        f"{CELL}: mode control: another policy asks for shadow, which is more careful",
    )
    assert found["c"][1] == (f"{CELL}: another policy's mode is shadow: nothing is sent",)


def test_a_cell_that_is_not_there_or_cannot_be_controlled_is_said() -> None:
    other = "gnb_9/00f110000000091"
    policies = {
        "all": policy(objective={"alpha": 1.0}),
        "one": policy(scope={"cells": [other]}, objective={"alpha": 1.0}),
    }
    found = statuses(policies, link(cell(), has_function=False))
    assert found["all"][1] == (f"{CELL}: its node is not controlled",)
    assert found["one"][1] == (f"{other}: nothing is reported of this cell",)
    assert statuses(policies)["all"][1] == ("no cell reports",)


def test_a_floor_for_a_ue_that_does_not_exist_is_not_enforced() -> None:
    floor, cap = {"per_ue": limit(20)}, {"per_ue": limit(0, 50)}
    policies = {
        "cap": policy(scope={"cells": [CELL], "ue_ids": [77]}, limits=cap),
        "floor": policy(scope={"cells": [CELL], "ue_ids": [1, 77, 78]}, limits=floor),
        "members": policy(
            scope={"cells": [CELL], "slices": [{"sst": 1, "ue_ids": [77]}]}, limits={"per_slice": limit(20)}
        ),
        "two": policy(scope={"cells": [CELL, OTHER], "ue_ids": [5]}, limits=floor),
    }
    other = replace(cell(num_ues=5), cell=OTHER)
    assert statuses(policies, link(cell(num_ues=3)), link(other)) == {
        "cap": ("ENFORCED", ()),
        "floor": ("NOT_ENFORCED", ("UEs 77, 78: not there, and so nobody has the floor",)),
        "members": ("NOT_ENFORCED", ("slice 1: no UE of it is there, and so nobody has the floor",)),
        "two": ("ENFORCED", ()),
    }


def test_an_intent_follows_policies_ues_and_classes() -> None:
    embb = policy(scope={"slices": [{"traffic_class": "embb"}]}, limits={"per_slice": limit(0, 50)})
    in_force = PoliciesInForce(PolicySet({"p": embb}))

    def members(state: CellState) -> list[list[int]]:
        return [sorted(s.ue_ids) for s in in_force.intent_for(state).slice_limits]

    one, other = cell(num_ues=2), cell(num_ues=3)
    assert members(one) == members(one) == [[1, 2]]
    assert members(other) == [[1, 2, 3]]
    other.traffic_class_U[0] = 1.0
    assert members(other) == [[2, 3]]
    in_force.change(lambda known: PolicySet())
    assert members(other) == []


BESIDE = "gnb_1/00f110000000012"


def test_of_the_limits_of_all_cells_that_report_a_ue_the_strictest_holds() -> None:
    policies = {
        "a": parse_policy(json.dumps({"scope": {"cells": [CELL]}, "limits": {"per_ue": {"max_share_percent": 50}}})),
        "b": parse_policy(json.dumps({"scope": {"cells": [BESIDE]}, "limits": {"per_ue": {"max_share_percent": 30}}})),
    }
    in_force = PoliciesInForce(
        PolicySet(policies), beside=lambda cell: {BESIDE: frozenset({1})} if cell == CELL else {}
    )
    state = make_cell_state(CELL, num_rbgs=10, slots_per_dcm=100, slot=0, ue_ids=(1, 2))
    assert in_force.intent_for(state).max_share_percent == {1: 30.0, 2: 50.0}
    assert in_force.intent_for(replace(state, cell=BESIDE)).max_share_percent == {1: 30.0, 2: 30.0}

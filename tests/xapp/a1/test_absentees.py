"""Floors for UEs that are not there, by limits and by targets: not enforced, until somebody comes who has them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from policy.cell_state import CellState, make_cell_state
from xapp.a1.enforcement import Enforcement, EnforceReason, PoliciesInForce
from xapp.a1.policy_model import Policy, parse_policy
from xapp.a1.policy_set import PolicySet
from xapp.a1.standard_types import parse_standard
from xapp.config.model import NodeConfig
from xapp.config.slices import SliceId, SliceMembers
from xapp.control.cell_link import CellLink, ControlTarget, Report
from xapp.control.cell_tracker import CellTracker
from xapp.control_kinds.dcm import DcmEncoder
from xapp.e2.dcm import messages as dcm
from xapp.e2.ue_id.ue_key import UeIdKind, key_of

NCI = "00f110000000011"
CELL = f"gnb_1/{NCI}"
OTHER = f"gnb_2/{NCI}"
NUM_RBGS = 10
PLMN = {"mcc": "001", "mnc": "01"}
SST_2 = {"sliceId": {"sst": 2, "plmnId": PLMN}}


def policy(**parts: Any) -> Policy:
    return parse_policy(json.dumps(parts))


def limit(least: float = 0.0, most: float = 100.0) -> dict[str, float]:
    return {"min_share_percent": least, "max_share_percent": most}


def oran(name: str, **document: Any) -> Policy:
    return parse_standard(f"ORAN_{name}", json.dumps(document))


def for_ue(number: int, **scope: Any) -> dict[str, Any]:
    return {"ueId": f"{number:016x}", **scope}


def cell(*ue_ids: int, name: str = CELL) -> CellState:
    """eMBB UEs, all of them."""
    classes = np.zeros(len(ue_ids))
    return make_cell_state(name, num_rbgs=NUM_RBGS, slots_per_dcm=1, slot=0, ue_ids=ue_ids, traffic_class_U=classes)


def link(state: CellState) -> CellLink:
    tracker = CellTracker(state.cell, num_rbgs=NUM_RBGS, report_period_ms=100, has_kpm=False, has_dcm=True)
    carrier = dcm.Carrier.of(NCI, bwp_size_prb=4 * NUM_RBGS, rbg_size_prb=4)
    found = CellLink(tracker, ControlTarget("gnb_1", state.cell, 5, 1, carrier, DcmEncoder()))
    found.newest = Report(found, state, 1, 0)
    return found


def reasons(policies: dict[str, Policy], *states: CellState, **configured: Any) -> dict[str, tuple[str, ...]]:
    """Why not, by policy; () where it is enforced."""
    found = PoliciesInForce(PolicySet(policies, **configured)).statuses(list(map(link, states)))
    for status in found.values():
        assert (status.enforcement is Enforcement.ENFORCED) == (not status.reasons)
    return {name: status.reasons for name, status in found.items()}


@pytest.mark.parametrize(
    "floor",
    [
        policy(scope={"cells": [CELL], "ue_ids": [9]}, limits={"per_ue": limit(20)}),
        policy(scope={"cells": [CELL], "ue_ids": [9]}, targets={"per_ue": {"min_throughput_kbps": 500}}),
        policy(
            scope={"cells": [CELL], "slices": [{"sst": 1, "ue_ids": [1, 9]}]},
            targets={"per_ue": {"min_throughput_kbps": 500, "max_throughput_kbps": 900}},
        ),
        oran("UELevelTarget", scope=for_ue(9), ueLevelObjectives={"ulThroughput": 500, "ulPacketDelay": 50}),
        oran("QoSTarget", scope=for_ue(9, qosId={"5qI": 2}), qosObjectives={"gfbr": 400, "mfbr": 1500}),
    ],
)
def test_a_floor_of_either_kind_is_enforced_from_when_its_ue_comes_until_it_leaves(floor: Policy) -> None:
    in_force = PoliciesInForce(PolicySet({"p": floor}))
    for state, is_there in ((cell(1, 2), False), (cell(1, 9), True), (cell(1, 8), False)):
        status = in_force.statuses([link(state)])["p"]
        assert status.reasons == (() if is_there else ("UE 9: not there, and so nobody has the floor",))
        assert status.enforcement is (Enforcement.ENFORCED if is_there else Enforcement.NOT_ENFORCED)
        assert status.code is (None if is_there else EnforceReason.SCOPE_NOT_APPLICABLE)


@pytest.mark.parametrize(
    "ceiling",
    [
        policy(scope={"cells": [CELL], "ue_ids": [9]}, limits={"per_ue": limit(0, 50)}),
        policy(scope={"cells": [CELL], "ue_ids": [9]}, targets={"per_ue": {"max_throughput_kbps": 500}}),
        oran("QoSTarget", scope=for_ue(9, qosId={"5qI": 2}), qosObjectives={"mfbr": 1500, "pdb": 150}),
        oran("UELevelTarget", scope=for_ue(9), ueLevelObjectives={"ulPacketDelay": 50}),
        oran("SliceSLATarget", scope=SST_2, sliceSlaObjectives={"maxUlThptPerSlice": 7000, "maxUlThptPerUe": 700}),
    ],
)
def test_whoever_is_not_there_breaks_no_ceiling(ceiling: Policy) -> None:
    assert reasons({"p": ceiling}, cell(1), slices=(SliceMembers(sst=2, ue_ids=(9,)),)) == {"p": ()}


def test_a_slice_whose_members_are_named_has_its_floor_while_one_of_them_is_there() -> None:
    policies = {
        "listed": policy(
            scope={"cells": [CELL], "slices": [{"sst": 2, "ue_ids": [9]}]},
            targets={"per_slice": {"min_throughput_kbps": 500}},
        ),
        "qos": oran("QoSTarget", scope={**SST_2, "qosId": {"5qI": 2}}, qosObjectives={"gfbr": 400}),
        "share": policy(scope={"slices": [{"sst": 2}]}, limits={"per_slice": limit(20)}),
        "sla": oran("SliceSLATarget", scope=SST_2, sliceSlaObjectives={"guaUlThptPerSlice": 500}),
    }
    members = (SliceMembers(sst=2, ue_ids=(4, 9)),)
    flows = "scope.qosId: flows are not seen here: it holds for the slice's UEs"
    empty = "slice 2: no UE of it is there, and so nobody has the floor"
    assert reasons(policies, cell(1), slices=members) == {
        "listed": (empty,),
        "qos": (flows, empty),
        "share": (empty,),
        "sla": (empty,),
    }
    held = {"listed": (), "qos": (flows,), "share": (), "sla": ()}
    assert reasons(policies, cell(1, 4), slices=members) == held
    assert reasons(policies, cell(1), cell(1, 4, name=OTHER), slices=members) == {**held, "listed": (empty,)}


def test_a_floor_of_whoever_comes_holds_while_nobody_does() -> None:
    floors = {"limits": {"per_slice": limit(20)}, "targets": {"per_slice": {"min_throughput_kbps": 500}}}
    policies = {
        "class": policy(scope={"slices": [{"traffic_class": "sporadic"}]}, **floors),
        "each": policy(targets={"per_ue": {"min_throughput_kbps": 500}}),
        "of-class": oran("SliceSLATarget", scope=SST_2, sliceSlaObjectives={"guaUlThptPerSlice": 500}),
    }
    members = (SliceMembers(sst=2, ue_ids=(9,), traffic_classes=("periodic",)),)
    assert reasons(policies, cell(1), slices=members) == dict.fromkeys(policies, ())
    of_node = {"of-node": policies["of-class"]}
    assert reasons(of_node, cell(), nodes=(NodeConfig(name="gnb_1", slices=(SliceId(sst=2),)),)) == {"of-node": ()}


def test_a_member_of_a_slice_that_shares_its_number_has_no_floor() -> None:
    listed = policy(
        scope={"cells": [CELL], "slices": [{"sst": 1, "ue_ids": [1, 2]}]},
        targets={"per_ue": {"min_throughput_kbps": 500}},
    )
    state = cell(1, 2, key_of(UeIdKind.GNB_AMF, 1))
    assert reasons({"p": listed}, state) == {"p": (f"{CELL}: UE 1: 2 UEs of the node have this number",)}

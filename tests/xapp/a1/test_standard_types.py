"""O-RAN's own policy types: the published schemas' shapes are accepted, everything else is refused with its path."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from policy.cell_state import make_cell_state
from policy.intent import Target
from xapp.a1.enforcement import EnforceReason, PoliciesInForce
from xapp.a1.policy_model import PolicyError
from xapp.a1.policy_set import PolicySet
from xapp.a1.standard_types import StandardPolicy, make_standard_type, parse_standard, parse_stored, type_of
from xapp.cli import main
from xapp.config.model import ConfigError, NodeConfig, parse_controls
from xapp.config.slices import SliceId, SliceMembers

PLMN = {"mcc": "001", "mnc": "01"}
SLICE = {"sst": 2, "sd": "0000FF", "plmnId": PLMN}
RELIABILITY = {"packetSize": 32, "userPlaneLatency": 10, "successProbability": 0.999}
OLD_RELIABILITY = {"packetSize": 32.5, "userPlaneLatency": 10, "successProbility": 0.999}
"""As the type's first version spells it."""
GNB = {"plmnId": PLMN, "gnbId": {"gnbIdLength": 32, "gnbIdValue": 1}}
WIDE_GNB = {"plmnId": PLMN, "gnbId": {"gnbIdLength": 22, "gnbIdValue": 2**22}}
F1AP_ID = {"globalGnbId": GNB, "gnbCuUeF1apId": 3}
CELL = "gnb_001_001_00000001/00f110000000011"
OTHER = "gnb_001_001_00000002/00f110000000021"
AMF = {"plmnId": PLMN, "amfRegionId": "01", "amfSetId": "001", "amfPointer": "01"}
CELL_ID = {"plmnId": PLMN, "cId": {"ncI": 17}}
SLA_1 = {
    "maxNumberOfUes": 10,
    "maxNumberOfPduSessions": 5,
    "guaDlThptPerSlice": 1000,
    "maxDlThptPerSlice": 2000,
    "maxDlThptPerUe": 900,
    "guaUlThptPerSlice": 500,
    "maxUlThptPerSlice": 800,
    "maxUlThptPerUe": 300,
}
SLA_3 = SLA_1 | {
    "maxDlPacketDelayPerUe": 20,
    "maxUlPacketDelayPerUe": 30,
    "maxDlPdcpSduPacketLossRatePerUe": 0.01,
    "maxUlRlcSduPacketLossRatePerUe": 0.02,
    "minDlReliabilityPerUe": RELIABILITY,
    "minUlReliabilityPerUe": RELIABILITY,
    "maxDlJitterPerUe": 3,
    "maxUlJitterPerUe": 3,
    "dlSlicePriority": 1,
    "ulSlicePriority": 1,
}
SLA_4 = SLA_3 | {"maxDlPktSize": 1500, "maxUlPktSize": 1500}
UE = {
    "ulThroughput": 500,
    "dlThroughput": 500,
    "ulPacketDelay": 10,
    "dlPacketDelay": 10,
    "ulPdcpSduPacketLossRate": 0.1,
    "dlRlcSduPacketLossRate": 0.1,
    "ulReliability": RELIABILITY,
    "dlReliability": RELIABILITY,
}
UE_SCOPE = {"ueId": "0000000000000003", "qosId": {"5qI": 9}, "sliceId": SLICE, "cellId": CELL_ID}
QOS = {"gfbr": 100, "mfbr": 500, "priorityLevel": 5, "pdb": 50}


def sla(objectives: Any, **more: Any) -> dict[str, Any]:
    return {"scope": {"sliceId": SLICE}, "sliceSlaObjectives": objectives, **more}


ACCEPTED = [
    sla(SLA_1),
    sla(SLA_3),
    sla(SLA_4),
    sla({"guaUlThptPerSlice": 500}, sliceSlaResources={"cellIdList": [CELL_ID]}),
    sla({"guaUlThptPerSlice": 500}, sliceSlaResources={"taIList": [{"plmnId": PLMN, "tac": "000001"}]}),
    {"scope": UE_SCOPE, "ueLevelObjectives": UE},
    {"scope": UE_SCOPE | {"groupId": {"rfspIndex": 4}}, "ueLevelObjectives": {"dlRlcSduPacketLossRate ": 0.1}},
    {"scope": {"ueId": {"guGnbCuUeF1apId": F1AP_ID}}, "ueLevelObjectives": {"ulReliability": OLD_RELIABILITY}},
    {"scope": {"groupId": {"spId": 4}, "qosId": {"5qI": 256}}, "qosObjectives": {"priorityLevel": 2.5}},
    {"scope": {"qosId": {"5qI": 2}}, "qosObjectives": {"gfbr": 100}},
    {"scope": {"qosId": {"qcI": 2}, "sliceId": SLICE}, "qosObjectives": QOS},
]


@pytest.mark.parametrize("document", ACCEPTED)
def test_the_standards_shapes_are_accepted_and_survive_shared_data(document: dict[str, Any]) -> None:
    text = json.dumps(document)
    policy = parse_standard(type_of(text), text)
    assert parse_stored(json.loads(json.dumps(policy.stored))) == policy
    assert json.loads(json.dumps(policy.document)) == document


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (sla({}), "sliceSlaObjectives: expected one objective at least"),
        (sla(SLA_1 | {"guaUl": 3}), "sliceSlaObjectives.guaUl is 3: Extra inputs are not permitted"),
        (sla({"guaUlThptPerSlice": "much"}), "sliceSlaObjectives.guaUlThptPerSlice is 'much'"),
        (sla({"guaUlThptPerSlice": -1}), "sliceSlaObjectives.guaUlThptPerSlice is -1"),
        (sla(SLA_1) | {"scope": {}}, "scope.sliceId is {}: Field required"),
        (sla(SLA_1) | {"scope": {"sliceId": {"sst": 1}}}, "scope.sliceId.plmnId is"),
        (sla(SLA_1) | {"scope": {"sliceId": SLICE | {"sd": "xyz"}}}, "scope.sliceId.sd is 'xyz'"),
        (sla(SLA_1, sliceSlaResources={}), "sliceSlaResources: expected either cellIdList or taIList"),
        (
            sla(SLA_1, sliceSlaResources={"cellIdList": [{"plmnId": PLMN, "cId": {}}]}),
            "sliceSlaResources.cellIdList.0.cId: expected either ncI or ecI",
        ),
        ({"scope": {}, "ueLevelObjectives": UE}, "scope.ueId is {}: Field required"),
        ({"scope": {"groupId": {"spId": 4}}, "ueLevelObjectives": UE}, "scope.ueId is {'groupId': {'spId': 4}}: Field"),
        ({"scope": UE_SCOPE | {"groupId": 4}, "ueLevelObjectives": UE}, "scope.groupId is 4"),
        ({"scope": UE_SCOPE | {"groupId": {"spId": 257}}, "ueLevelObjectives": UE}, "scope.groupId.spId is 257"),
        ({"scope": {"ueId": {}}, "ueLevelObjectives": UE}, "scope.ueId: expected either guRanUeId or"),
        ({"scope": {"ueId": 3}, "ueLevelObjectives": UE}, "scope.ueId is 3"),
        (
            {"scope": {"ueId": {"guGnbCuUeF1apId": {}}}, "ueLevelObjectives": UE},
            "scope.ueId.guGnbCuUeF1apId.globalGnbId is {}: Field required",
        ),
        (
            {"scope": {"qosId": {"5qI": 1}, "sliceId": SLICE, "groupId": {"spId": 1}}, "qosObjectives": QOS},
            "scope: expected groupId or sliceId, not both",
        ),
        (
            sla(SLA_1, sliceSlaResources={"taIList": [{"plmnId": PLMN, "tac": "1"}]}),
            "sliceSlaResources.taIList.0.tac is '1'",
        ),
        ({"scope": {"ueId": "3"}, "ueLevelObjectives": UE}, "scope.ueId is '3'"),
        ({"scope": UE_SCOPE, "ueLevelObjectives": {"ulReliability": {}}}, "ueLevelObjectives.ulReliability.packetSize"),
        (
            {"scope": UE_SCOPE, "ueLevelObjectives": {"ulReliability": RELIABILITY | OLD_RELIABILITY}},
            "ueLevelObjectives.ulReliability: expected successProbability, or the older successProbility",
        ),
        ({"scope": {"ueId": UE_SCOPE["ueId"]}, "qosObjectives": QOS}, "scope.qosId is"),
        ({"scope": {"qosId": {"5qI": 1}}, "qosObjectives": {"gfbr": 9, "mfbr": 5}}, "qosObjectives: gfbr 9 is above"),
        (sla(SLA_1 | {"guaUlThptPerSlice": 801}), "sliceSlaObjectives: guaUlThptPerSlice 801 is above maxUlThptPer"),
        (sla({"guaUlThptPerSlice": 5, "maxUlThptPerUe": None}), "sliceSlaObjectives: maxUlThptPerUe is null"),
        ({"scope": UE_SCOPE | {"cellId": None}, "ueLevelObjectives": UE}, "scope: cellId is null"),
        (
            {"scope": {"ueId": {"guGnbCuUeF1apId": F1AP_ID | {"globalGnbId": WIDE_GNB}}}, "ueLevelObjectives": UE},
            "scope.ueId.guGnbCuUeF1apId.globalGnbId.gnbId: gnbIdValue is 4194304, expected 0 to 4194303 in 22 bits",
        ),
        ({"scope": {"qosId": {}}, "qosObjectives": QOS}, "scope.qosId: expected either 5qI or qcI"),
        ({"scope": {"qosId": {"5qI": 1}}, "qosObjectives": {}}, "qosObjectives: expected one objective at least"),
    ],
)
def test_wrong_ones_are_refused_with_the_fields_path(document: dict[str, Any], reason: str) -> None:
    text = json.dumps(document)
    with pytest.raises(PolicyError) as raised:
        parse_standard(type_of(text), text)
    assert str(raised.value).startswith(reason)


def policy_of(document: dict[str, Any]) -> StandardPolicy:
    return parse_standard(type_of(json.dumps(document)), json.dumps(document))


def targets_of(document: dict[str, Any], cell: str = CELL) -> list[Target]:
    members = SliceMembers(sst=2, sd="0000ff", ue_ids=(3, 4))
    policies = PolicySet({"p": policy_of(document)}, (members,))
    state = make_cell_state(cell, num_rbgs=17, slots_per_dcm=100, slot=0, ue_ids=(1, 3, 4))
    return list(policies.intent(state).targets)


def test_uplink_fields_become_targets() -> None:
    assert targets_of(sla(SLA_3)) == [
        Target("p", "slice 2-0000ff", frozenset((3, 4)), "2-0000ff", 500, 800),
        Target("p", "UE 3", frozenset((3,)), "", None, 300, 10, pytest.approx(0.001)),
        Target("p", "UE 4", frozenset((4,)), "", None, 300, 10, pytest.approx(0.001)),
    ]
    assert targets_of({"scope": UE_SCOPE, "ueLevelObjectives": {"ulThroughput": 5}}) == [
        Target("p", "UE 3", frozenset((3,)), "", 5)
    ]
    assert targets_of({"scope": UE_SCOPE, "ueLevelObjectives": {"ulThroughput": 5}}, "gnb_1/00f110000000012") == []
    assert targets_of({"scope": {"qosId": {"5qI": 2}, "sliceId": SLICE}, "qosObjectives": QOS})[0].max_kbps == 500
    old = {"scope": UE_SCOPE, "ueLevelObjectives": {"ulReliability": OLD_RELIABILITY}}
    assert targets_of(old)[0].max_loss_rate == pytest.approx(0.001)
    assert targets_of({"scope": {"qosId": {"5qI": 2}}, "qosObjectives": QOS}) == []


@pytest.mark.parametrize(
    ("ue_id", "cells"),
    [
        ("0000000000000003", {CELL, OTHER}),
        ({"guRanUeId": {"globalGnbId": GNB, "ranUeId": "0000000000000003"}}, {CELL}),
        ({"guGnbCuUeF1apId": F1AP_ID}, {CELL}),
        ({"guGnbCuUeF1apId": F1AP_ID | {"globalGnbId": GNB | {"plmnId": {"mcc": "001", "mnc": "02"}}}}, set()),
        ({"guAmfUeNgapId": {"guAmI": AMF, "amfUeNgapId": 3}}, {CELL, OTHER}),
    ],
)
def test_a_ue_may_be_named_by_a_number_of_its_gnbs(ue_id: Any, cells: set[str]) -> None:
    """CELL is cell 1 of gNB 1, OTHER of gNB 2; a cell without NR-CGI is nobody's."""
    document = {"scope": {"ueId": ue_id}, "ueLevelObjectives": {"ulThroughput": 5}}
    assert {cell for cell in (CELL, OTHER) if targets_of(document, cell)} == cells
    assert bool(targets_of(document, "gnb_1/node")) == (len(cells) == 2)


def test_a_node_that_reports_one_slice_has_its_members() -> None:
    """No list of UEs is needed: it was asked for the UEs of that S-NSSAI alone."""
    nodes = (NodeConfig(name="gnb_*", slices=(SliceId(sst=2, sd="0000ff"),)),)
    policies = PolicySet({"p": policy_of(sla({"guaUlThptPerSlice": 500}))}, nodes=nodes)
    state = make_cell_state(CELL, num_rbgs=17, slots_per_dcm=100, slot=0, ue_ids=(1, 3))
    (target,) = policies.intent(state).targets
    assert target.ue_ids == {1, 3}


@pytest.mark.parametrize(
    ("document", "code", "text"),
    [
        (sla({"guaDlThptPerSlice": 9}), EnforceReason.STATEMENT_NOT_APPLICABLE, "sliceSlaObjectives.guaDlThptPerSlice"),
        (sla({"maxNumberOfUes": 9}), EnforceReason.STATEMENT_NOT_APPLICABLE, "sliceSlaObjectives.maxNumberOfUes"),
        ({"scope": UE_SCOPE, "ueLevelObjectives": UE}, EnforceReason.STATEMENT_NOT_APPLICABLE, "dlReliability: the"),
        (sla({"maxUlPktSize": 9}), EnforceReason.STATEMENT_NOT_APPLICABLE, "maxUlPktSize: it is not controlled"),
        (
            {"scope": {"groupId": {"spId": 1}, "qosId": {"5qI": 1}}, "qosObjectives": {"gfbr": 9}},
            EnforceReason.SCOPE_NOT_APPLICABLE,
            "scope.groupId",
        ),
        (
            {"scope": {"ueId": {"guEnbUeX2apId": {"enbUeX2apId": 1}}}, "ueLevelObjectives": {"ulThroughput": 9}},
            EnforceReason.SCOPE_NOT_APPLICABLE,
            "scope.ueId: no node's UEs are known by such an identity",
        ),
        ({"scope": {"qosId": {"5qI": 1}}, "qosObjectives": {"pdb": 5}}, EnforceReason.SCOPE_NOT_APPLICABLE, "flows"),
        (sla({"guaUlThptPerSlice": 9}), EnforceReason.SCOPE_NOT_APPLICABLE, "no cell reports"),
    ],
)
def test_what_is_not_ours_is_named_in_the_answer(document: dict[str, Any], code: EnforceReason, text: str) -> None:
    in_force = PoliciesInForce(PolicySet({"p": policy_of(document)}))
    status = in_force.statuses(())["p"]
    assert (status.enforcement, status.code) == ("NOT_ENFORCED", code)
    assert any(text in reason for reason in status.reasons)


def test_the_types_can_be_given_to_a_ric() -> None:
    made = make_standard_type("ORAN_SliceSLATarget", 20008)
    schema = made["create_schema"]
    assert (made["policy_type_id"], schema["additionalProperties"]) == (20008, False)
    assert schema["required"] == ["scope", "sliceSlaObjectives"]
    assert set(schema["properties"]["sliceSlaObjectives"]["properties"]) == set(SLA_4)
    assert "$ref" not in json.dumps(made)


def test_type_ids_differ() -> None:
    assert parse_controls({"a1": {"qos_type_id": 7}}).a1.qos_type_id == 7
    with pytest.raises(ConfigError, match="20100"):
        parse_controls({"a1": {"qos_type_id": 20100}})


def test_intent_validate_and_show_tell_the_types_by_content(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(json.dumps(sla({"guaUlThptPerSlice": 500, "guaDlThptPerSlice": 9})))
    bad.write_text(json.dumps(sla({"guaUlThptPerSlice": 0})))
    assert main(["intent", "validate", str(good)]) == 0
    out = capsys.readouterr().out
    assert "valid (ORAN_SliceSLATarget)" in out and "not applicable: sliceSlaObjectives.guaDlThptPerSlice" in out
    assert main(["intent", "validate", str(bad)]) == 2
    assert "sliceSlaObjectives.guaUlThptPerSlice is 0" in capsys.readouterr().err
    at_gnb = {"scope": {"ueId": {"guGnbCuUeF1apId": F1AP_ID}}, "ueLevelObjectives": {"ulThroughput": 5}}
    good.write_text(json.dumps(at_gnb))
    assert main(["intent", "show", str(good)]) == 0
    out = capsys.readouterr().out
    assert "cell any/00f110000000011" in out and "UE 3: at least 5 kbit/s, by good" in out
    good.write_text(json.dumps(sla({"guaUlThptPerSlice": 500})))
    config = tmp_path / "config-file.json"
    slices = [{"sst": 2, "sd": "0000ff", "ue_ids": [3]}]
    config.write_text(json.dumps({"controls": {"a1": {"slices": slices}}}))
    assert main(["intent", "show", str(good), "--ue", "3", "--config", str(config)]) == 0
    assert "slice 2-0000ff: at least 500 kbit/s, by good" in capsys.readouterr().out

"""O-RAN's schemas of the A1 policy types that are taken (A1TD, clause 7.2), restated: what fields there are, which of
them go together, which values are theirs. Shares no code with the models that read them.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]
NUMBER: Schema = {"type": "number"}
RATE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
PRIORITY: Schema = {"type": "number", "minimum": 1}


def whole(least: int, most: int) -> Schema:
    return {"type": "integer", "minimum": least, "maximum": most}


def text(pattern: str) -> Schema:
    return {"type": "string", "pattern": f"^{pattern}$"}


def hexadecimal(digits: int) -> Schema:
    return text(f"[A-Fa-f0-9]{{{digits}}}")


def parts(needed: dict[str, Schema], **optional: Schema) -> Schema:
    """All of `needed`, any of the others, nothing else."""
    return {
        "type": "object",
        "properties": needed | optional,
        "required": list(needed),
        "additionalProperties": False,
    }


def one_of(**choices: Schema) -> Schema:
    """Exactly one."""
    return {"oneOf": [parts({name: schema}) for name, schema in choices.items()]}


def some_of(choices: dict[str, Schema]) -> Schema:
    """At least one."""
    return {"type": "object", "properties": choices, "minProperties": 1, "additionalProperties": False}


PLMN = parts({"mcc": text("[0-9]{3}"), "mnc": text("[0-9]{2,3}")})
SLICE = parts({"sst": whole(0, 255), "plmnId": PLMN}, sd=hexadecimal(6))
GROUP = one_of(spId=whole(1, 256), rfspIndex=whole(1, 256))
QOS_ID = one_of(**{"5qI": whole(1, 256), "qcI": whole(1, 256)})
CELL = parts({"plmnId": PLMN, "cId": one_of(ncI=whole(0, 2**36 - 1), ecI=whole(0, 2**28 - 1))})
TRACKING_AREA = parts({"plmnId": PLMN, "tac": hexadecimal(6)})
GNB = parts({"plmnId": PLMN, "gnbId": parts({"gnbIdLength": whole(22, 32), "gnbIdValue": whole(0, 2**32 - 1)})})
AMF = parts({
    "plmnId": PLMN,
    "amfRegionId": hexadecimal(2),
    "amfSetId": text("[0-3][A-Fa-f0-9]{2}"),
    "amfPointer": text("[0-3][A-Fa-f0-9]"),
})  # fmt: skip
OLD_UE = hexadecimal(16)
UE = one_of(
    guRanUeId=parts({"globalGnbId": GNB, "ranUeId": hexadecimal(16)}),
    guAmfUeNgapId=parts({"guAmI": AMF, "amfUeNgapId": whole(0, 2**40 - 1)}),
    guGnbCuUeF1apId=parts({"globalGnbId": GNB, "gnbCuUeF1apId": whole(0, 2**32 - 1)}),
)
"""Without the identities of eNBs, of other parts of a gNB, and of neighbours."""

SLA_1 = dict.fromkeys(
    (
        *("maxNumberOfUes", "maxNumberOfPduSessions", "guaDlThptPerSlice", "maxDlThptPerSlice", "maxDlThptPerUe"),
        *("guaUlThptPerSlice", "maxUlThptPerSlice", "maxUlThptPerUe"),
    ),
    NUMBER,
)


def reliability(probability: str, value: Schema) -> Schema:
    return parts({"packetSize": NUMBER, "userPlaneLatency": NUMBER, probability: value})


SLA_3 = SLA_1 | {
    "maxDlPacketDelayPerUe": NUMBER,
    "maxUlPacketDelayPerUe": NUMBER,
    "maxDlPdcpSduPacketLossRatePerUe": RATE,
    "maxUlRlcSduPacketLossRatePerUe": RATE,
    "minDlReliabilityPerUe": reliability("successProbability", RATE),
    "minUlReliabilityPerUe": reliability("successProbability", RATE),
    "maxDlJitterPerUe": NUMBER,
    "maxUlJitterPerUe": NUMBER,
    "dlSlicePriority": PRIORITY,
    "ulSlicePriority": PRIORITY,
}
SLA_4 = SLA_3 | {"maxDlPktSize": NUMBER, "maxUlPktSize": NUMBER}
UE_LEVEL = {
    "ulThroughput": NUMBER,
    "dlThroughput": NUMBER,
    "ulPacketDelay": NUMBER,
    "dlPacketDelay": NUMBER,
    "ulPdcpSduPacketLossRate": NUMBER,
    "dlRlcSduPacketLossRate ": NUMBER,
    "dlReliability": reliability("successProbility", NUMBER),
    "ulReliability": reliability("successProbility", NUMBER),
}
"""Published with these spellings."""
QOS = dict.fromkeys(("gfbr", "mfbr", "priorityLevel", "pdb"), NUMBER)


def slice_sla(objectives: dict[str, Schema]) -> Schema:
    areas = one_of(
        cellIdList={"type": "array", "items": CELL, "minItems": 1},
        taIList={"type": "array", "items": TRACKING_AREA, "minItems": 1},
    )
    return parts(
        {"scope": parts({"sliceId": SLICE}), "sliceSlaObjectives": some_of(objectives)}, sliceSlaResources=areas
    )


def ue_level(ue: Schema) -> Schema:
    scopes = [
        parts({"ueId": ue}, groupId=GROUP, sliceId=SLICE, cellId=CELL),
        parts({"ueId": ue, "qosId": QOS_ID}, groupId=GROUP, sliceId=SLICE, cellId=CELL),
        parts({"ueId": ue, "sliceId": SLICE}, qosId=QOS_ID, cellId=CELL),
    ]
    return parts({"scope": {"anyOf": scopes}, "ueLevelObjectives": some_of(UE_LEVEL)})


def qos(ue: Schema) -> Schema:
    scopes = [
        parts({"ueId": ue, "qosId": QOS_ID}, groupId=GROUP, cellId=CELL),
        parts({"ueId": ue, "qosId": QOS_ID}, sliceId=SLICE, cellId=CELL),
        parts({"groupId": GROUP, "qosId": QOS_ID}, cellId=CELL),
        parts({"sliceId": SLICE, "qosId": QOS_ID}, cellId=CELL),
        parts({"qosId": QOS_ID}, cellId=CELL),
    ]
    return parts({"scope": {"anyOf": scopes}, "qosObjectives": some_of(QOS)})


PUBLISHED = {
    "ORAN_SliceSLATarget_1.0.0": slice_sla(SLA_1),
    "ORAN_SliceSLATarget_3.0.0": slice_sla(SLA_3),
    "ORAN_SliceSLATarget_4.0.1": slice_sla(SLA_4),
    "ORAN_UELevelTarget_1.0.0": ue_level(OLD_UE),
    "ORAN_UELevelTarget, UEs as objects": ue_level(UE),
    "ORAN_QoSTarget_2.0.0": qos(OLD_UE),
    "ORAN_QoSTarget_6.0.0": qos(UE),
}
"""By policy type."""

"""What to subscribe to on a node: one KPM and one DCM subscription per cell, from its own RAN functions. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from xapp.e2 import dcm
from xapp.e2.kpm_json import KPM_TYPES
from xapp.ric.nodes import E2Node

KPM_OIDS = tuple(f"1.3.6.1.4.1.53148.1.{version}.2.2" for version in (3, 2, 1))
"""E2SM-KPM v3, v2 and v1 as nodes name them; what this xApp reads is the same in all three."""
KPM_STYLE = 4
"""Measurements of each UE that meets a common condition: action definition format 4, message format 3."""
_EVERY_UE = {"testType": {"ul-rSRP": "true"}, "testExpr": "lessthan", "testValue": {"valueInt": 1000}}
"""A condition that every UE meets: style 4 wants one."""
NCI_BITS = 36


@dataclass(frozen=True, slots=True)
class Wanted:
    """One subscription to have: per (node, RAN function, cell)."""

    node: str
    function_id: int
    cell: str
    """NR-CGI, 15 hex digits."""
    kind: str
    """`kpm` or `dcm`."""
    event_trigger: bytes
    action_definition: bytes
    measurements: tuple[str, ...] = ()

    @property
    def cell_key(self) -> str:
        """The cell's name in the xApp."""
        return f"{self.node}/{self.cell}"


@dataclass(frozen=True, slots=True)
class NodePlan:
    """Everything the xApp wants of one node. Raised problems are kept as lines, not exceptions."""

    carriers: dict[str, dcm.Carrier]
    """By NR-CGI: the cells that can be controlled."""
    control_function_id: int | None
    wanted: tuple[Wanted, ...]
    problems: tuple[str, ...] = ()


def plan_node(node: E2Node, *, report_period_ms: int, measurements: tuple[str, ...]) -> NodePlan:
    """Cells and subscriptions of a node. A function that cannot be read becomes a problem, not an exception."""
    problems: list[str] = []
    carriers: dict[str, dcm.Carrier] = {}
    wanted: list[Wanted] = []
    control = node.function(dcm.DCM_OID)
    if control is None:
        problems.append(f"{node.name} has no DCM function: nothing to control")
    else:
        try:
            carriers = {carrier.cell: carrier for carrier in dcm.decode_ran_function(control.definition).cells}
        except ValueError as error:
            problems.append(f"{node.name}: {error}")
        wanted += [
            Wanted(
                node.name,
                control.id,
                cell,
                "dcm",
                dcm.encode_event_trigger(dcm.EventTrigger(report_period_ms)),
                dcm.encode_action_definition(dcm.ActionDefinition(cell)),
            )
            for cell in carriers
        ]
    kpm = next((function for oid in KPM_OIDS if (function := node.function(oid)) is not None), None)
    if kpm is None:
        problems.append(f"{node.name} has no KPM function")
        return NodePlan(carriers, control.id if control else None, tuple(wanted), tuple(problems))
    try:
        listed = listed_measurements(KPM_TYPES["kpm-ran-function"].decode(kpm.definition))
    except ValueError as error:
        problems.append(f"{node.name}: {error}")
        listed = frozenset()
    asked = tuple(name for name in measurements if name in listed)
    if not asked:
        problems.append(f"{node.name} lists none of the measurements {', '.join(measurements)}")
    else:
        trigger = KPM_TYPES["kpm-event-trigger"].encode(
            {"eventDefinition-formats": {"eventDefinition-Format1": {"reportingPeriod": report_period_ms}}}
        )
        wanted += [
            Wanted(node.name, kpm.id, cell, "kpm", trigger, kpm_action(cell, asked, report_period_ms), asked)
            for cell in carriers
        ]
    return NodePlan(carriers, control.id if control else None, tuple(wanted), tuple(problems))


def listed_measurements(function: dict[str, Any]) -> frozenset[str]:
    """Names that the node's RAN function lists for report style 4."""
    return frozenset(
        measurement["measName"]
        for style in function.get("ric-ReportStyle-List", ())
        if style["ric-ReportStyle-Type"] == KPM_STYLE
        for measurement in style["measInfo-Action-List"]
    )


@lru_cache(maxsize=256)
def kpm_action(cell: str, names: tuple[str, ...], granularity_ms: int) -> bytes:
    """An action definition of format 4 for one cell: these measurements of every UE."""
    plmn, nci = cell[:6], int(cell[6:], 16)
    subscription = {
        "measInfoList": [
            {"measType": {"measName": name}, "labelInfoList": [{"measLabel": {"noLabel": "true"}}]} for name in names
        ],
        "granulPeriod": granularity_ms,
        "cellGlobalID": {"nR-CGI": {"pLMNIdentity": plmn, "nRCellIdentity": f"{nci:0{NCI_BITS}b}"}},
    }
    definition = {
        "ric-Style-Type": KPM_STYLE,
        "actionDefinition-formats": {
            "actionDefinition-Format4": {
                "matchingUeCondList": [{"testCondInfo": _EVERY_UE}],
                "subscriptionInfo": subscription,
            }
        },
    }
    return KPM_TYPES["kpm-action-definition"].encode(definition)

"""What a KPM subscription asks a node to measure: E2SM-KPM action definitions, formats 1 to 5."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from xapp.e2.asn1 import schema
from xapp.e2.asn1.errors import E2EncodeError
from xapp.e2.dialect import Dialect
from xapp.e2.kpm import schema as kpm_schema
from xapp.e2.kpm.report_table import conditional_name, measurement_names
from xapp.e2.kpm.report_writer import measurement_list
from xapp.e2.ue_id.ue_id import UeId, ue_id_from_value, ue_id_to_value

PATH = "kpm-action-definition"


class Condition(NamedTuple):
    """What a UE must meet to be reported: `test` of the specification's list, compared by `expression`."""

    test: str
    expression: str | None = None
    value: dict[str, Any] | None = None
    """One key, say {"valueInt": 1000}."""
    or_next: bool = False
    """This condition or the next one, instead of both."""


class ActionDefinition(NamedTuple):
    """What to report. At most one of the last three fields is given; it makes the format."""

    style: int
    measurements: tuple[str, ...]
    """As `KpmReport.names`; written only without labels."""
    granularity_ms: int
    cell: str | None = None
    """NR-CGI as 15 hexadecimal digits (eUTRA-CGI: 13): 3 octets of PLMN, then the cell identity."""
    conditions: tuple[Condition, ...] = ()
    """The UEs to report, by what they meet (format 4)."""
    ue_ids: tuple[UeId, ...] = ()
    """The UEs to report, by id (format 2 for one, format 5 for several)."""
    measurement_conditions: tuple[tuple[Condition, ...], ...] = ()
    """For each measurement, which UEs it is to be reported of (format 3)."""

    @property
    def format(self) -> int:
        """1 where no UEs are chosen."""
        if self.measurement_conditions:
            return 3
        if self.conditions:
            return 4
        return {0: 1, 1: 2}.get(len(self.ue_ids), 5)


def encode_action_definition(action: ActionDefinition, dialect: Dialect = Dialect.STANDARD) -> bytes:
    """Encode an action definition. Raises E2EncodeError."""
    if sum(map(bool, (action.conditions, action.ue_ids, action.measurement_conditions))) > 1:
        raise E2EncodeError(f"{PATH}: only one of conditions, ue_ids and measurement_conditions can be asked for")
    what: dict[str, Any] = {"granulPeriod": action.granularity_ms}
    if action.cell is not None:
        what["cellGlobalID"] = _cell_to_value(action.cell)
    if action.format == 3:
        chosen = {"measCondList": _measurements_under_conditions(action), **what}
    else:
        what["measInfoList"] = measurement_list(action.measurements)
        chosen = what
    if action.format == 2:
        chosen = {"ueID": ue_id_to_value(action.ue_ids[0]), "subscriptInfo": what}
    elif action.format == 4:
        conditions = [
            {"testCondInfo": _condition_to_value(each), **({"logicalOR": "true"} if each.or_next else {})}
            for each in action.conditions
        ]
        chosen = {"matchingUeCondList": conditions, "subscriptionInfo": what}
    elif action.format == 5:
        ue_ids = [{"ueID": ue_id_to_value(each)} for each in action.ue_ids]
        chosen = {"matchingUEidList": ue_ids, "subscriptionInfo": what}
    value = {
        "ric-Style-Type": action.style,
        "actionDefinition-formats": {f"actionDefinition-Format{action.format}": chosen},
    }
    return schema.encode(kpm_schema.ACTION_DEFINITION[dialect], value, PATH)


def decode_action_definition(data: bytes, dialect: Dialect = Dialect.STANDARD) -> ActionDefinition:
    """Decode an action definition. Raises E2DecodeError."""
    value = schema.decode(kpm_schema.ACTION_DEFINITION[dialect], data, PATH)
    ((name, chosen),) = value["actionDefinition-formats"].items()
    what = chosen.get("subscriptInfo") or chosen.get("subscriptionInfo") or chosen
    action = ActionDefinition(
        value["ric-Style-Type"],
        measurement_names(what["measInfoList"]) if "measInfoList" in what else (),
        what["granulPeriod"],
        _cell_from_value(what["cellGlobalID"]) if "cellGlobalID" in what else None,
    )
    match name:
        case "actionDefinition-Format2":
            return action._replace(ue_ids=(ue_id_from_value(chosen["ueID"]),))
        case "actionDefinition-Format3":
            items = chosen["measCondList"]
            return action._replace(
                measurements=tuple(map(conditional_name, items)),
                measurement_conditions=tuple(_tests(item) for item in items),
            )
        case "actionDefinition-Format4":
            return action._replace(
                conditions=tuple(
                    _condition_from_value(each["testCondInfo"], "logicalOR" in each)
                    for each in chosen["matchingUeCondList"]
                )
            )
        case "actionDefinition-Format5":
            return action._replace(ue_ids=tuple(ue_id_from_value(each["ueID"]) for each in chosen["matchingUEidList"]))
    return action


# -- conditions -------------------------------------------------------------------------------------------------------


def _measurements_under_conditions(action: ActionDefinition) -> list[dict[str, Any]]:
    if len(action.measurement_conditions) != len(action.measurements):
        raise E2EncodeError(
            f"{PATH}: conditions for {len(action.measurement_conditions)} of {len(action.measurements)} measurements"
        )
    return [
        {
            "measType": item["measType"],
            # No test: the label that says "no label" stands where a condition must.
            "matchingCond": [_matching_condition(each) for each in conditions]
            or [{"matchingCondChoice": {"measLabel": {"noLabel": "true"}}}],
        }
        for item, conditions in zip(measurement_list(action.measurements), action.measurement_conditions, strict=True)
    ]


def _matching_condition(condition: Condition) -> dict[str, Any]:
    value: dict[str, Any] = {"matchingCondChoice": {"testCondInfo": _condition_to_value(condition)}}
    if condition.or_next:
        value["logicalOR"] = "true"
    return value


def _tests(item: Mapping[str, Any]) -> tuple[Condition, ...]:
    return tuple(
        _condition_from_value(each["matchingCondChoice"]["testCondInfo"], "logicalOR" in each)
        for each in item["matchingCond"]
        if "testCondInfo" in each["matchingCondChoice"]
    )


def _condition_to_value(condition: Condition) -> dict[str, Any]:
    value: dict[str, Any] = {"testType": {condition.test: "true"}}
    if condition.expression is not None:
        value["testExpr"] = condition.expression
    if condition.value is not None:
        value["testValue"] = condition.value
    return value


def _condition_from_value(value: Mapping[str, Any], or_next: bool) -> Condition:
    return Condition(next(iter(value["testType"])), value.get("testExpr"), value.get("testValue"), or_next)


# -- cells ------------------------------------------------------------------------------------------------------------

_CELL_KINDS = {15: ("nR-CGI", "nRCellIdentity", 36), 13: ("eUTRA-CGI", "eUTRACellIdentity", 28)}


def _cell_to_value(cell: str) -> dict[str, Any]:
    try:
        kind, field, bits = _CELL_KINDS[len(cell)]
        identity = f"{int(cell[6:], 16):0{bits}b}"
    except (KeyError, TypeError, ValueError):
        raise E2EncodeError(f"cell {cell!r}: 15 hexadecimal digits expected (PLMN, NR cell identity)") from None
    return {kind: {"pLMNIdentity": cell[:6], field: identity}}


def _cell_from_value(value: Mapping[str, Any]) -> str:
    ((kind, fields),) = value.items()
    _, field, bits = next(each for each in _CELL_KINDS.values() if each[0] == kind)
    return f"{fields['pLMNIdentity']}{int(fields[field], 2):0{bits // 4}x}"

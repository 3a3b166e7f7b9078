"""E2SM-KPM, the performance service model, as the loop uses it: what to subscribe to, and the reports as tables.

Standard dialect. Subscriptions are event triggers and action definitions of formats 1 and 4, reports are indication
messages of formats 1 and 3; every other format is refused by name. For messages in full detail see kpm_json.py.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from xapp.e2 import kpm_schema, schema
from xapp.e2.errors import E2EncodeError
from xapp.e2.kpm_report import NO_UE, KpmReport, decode_report, decode_report_generic, measurement_names
from xapp.e2.kpm_report_writer import encode_report, measurement_list

__all__ = [
    "ANY_UE",
    "KPM_OIDS",
    "NO_UE",
    "ActionDefinition",
    "Condition",
    "EventTrigger",
    "IndicationHeader",
    "KpmReport",
    "RanFunction",
    "ReportStyle",
    "TriggerStyle",
    "decode_action_definition",
    "decode_event_trigger",
    "decode_indication_header",
    "decode_ran_function",
    "decode_report",
    "decode_report_generic",
    "encode_action_definition",
    "encode_event_trigger",
    "encode_indication_header",
    "encode_ran_function",
    "encode_report",
    "ntp_time",
]

KPM_OIDS = tuple(f"1.3.6.1.4.1.53148.1.{version}.2.2" for version in (3, 2, 1))
"""Versions 3, 2 and 1, alike in what is read here: a RAN function with one of these is KPM, whatever its id."""
NTP_EPOCH_S = 2_208_988_800
"""Seconds from 1900, where NTP time starts, to 1970."""


class EventTrigger(NamedTuple):
    period_ms: int


class Condition(NamedTuple):
    """What a UE must meet to be reported (style 4): `test` of the specification's list, compared by `expression`."""

    test: str
    expression: str | None = None
    value: dict[str, Any] | None = None
    """One key, say {"valueInt": 1000}."""


ANY_UE = Condition("ul-rSRP", "lessthan", {"valueInt": 1000})
"""RSRP is reported as 0..127: true of every UE. The usual way to say "all"; deployed nodes ignore conditions anyway."""


class ActionDefinition(NamedTuple):
    """What to report: with conditions format 4 (per UE), else format 1."""

    style: int
    measurements: tuple[str, ...]
    """As `KpmReport.names`; written only without labels."""
    granularity_ms: int
    cell: str | None = None
    """NR-CGI as 15 hexadecimal digits (eUTRA-CGI: 13): 3 octets of PLMN, then the cell identity."""
    conditions: tuple[Condition, ...] = ()


class IndicationHeader(NamedTuple):
    start_time: bytes
    """8 octets of NTP time, when the measurements began; see `ntp_time`."""
    file_format_version: str | None = None
    sender_name: str | None = None
    sender_type: str | None = None
    vendor_name: str | None = None


class TriggerStyle(NamedTuple):
    style: int
    name: str
    trigger_format: int


class ReportStyle(NamedTuple):
    style: int
    name: str
    action_format: int
    measurements: tuple[str, ...]
    header_format: int
    message_format: int


class RanFunction(NamedTuple):
    """What a node says of its KPM function."""

    short_name: str
    oid: str
    description: str
    instance: int | None = None
    trigger_styles: tuple[TriggerStyle, ...] = ()
    report_styles: tuple[ReportStyle, ...] = ()


def ntp_time(unix_s: float) -> bytes:
    """8 octets: seconds since 1900 (modulo 2^32) and fractions of 2^-32 s."""
    return (round((unix_s + NTP_EPOCH_S) * 2**32) % 2**64).to_bytes(8, "big")


def encode_event_trigger(trigger: EventTrigger) -> bytes:
    value = {"eventDefinition-formats": {"eventDefinition-Format1": {"reportingPeriod": trigger.period_ms}}}
    return schema.encode(kpm_schema.EVENT_TRIGGER, value, "kpm-event-trigger")


def decode_event_trigger(data: bytes) -> EventTrigger:
    value = schema.decode(kpm_schema.EVENT_TRIGGER, data, "kpm-event-trigger")
    return EventTrigger(value["eventDefinition-formats"]["eventDefinition-Format1"]["reportingPeriod"])


def encode_action_definition(action: ActionDefinition) -> bytes:
    what: dict[str, Any] = {
        "measInfoList": measurement_list(action.measurements),
        "granulPeriod": action.granularity_ms,
    }
    if action.cell is not None:
        what["cellGlobalID"] = _cell_to_value(action.cell)
    if action.conditions:
        conditions = [{"testCondInfo": _condition_to_value(each)} for each in action.conditions]
        chosen = {"actionDefinition-Format4": {"matchingUeCondList": conditions, "subscriptionInfo": what}}
    else:
        chosen = {"actionDefinition-Format1": what}
    value = {"ric-Style-Type": action.style, "actionDefinition-formats": chosen}
    return schema.encode(kpm_schema.ACTION_DEFINITION, value, "kpm-action-definition")


def decode_action_definition(data: bytes) -> ActionDefinition:
    value = schema.decode(kpm_schema.ACTION_DEFINITION, data, "kpm-action-definition")
    ((name, chosen),) = value["actionDefinition-formats"].items()
    conditions: tuple[Condition, ...] = ()
    if name == "actionDefinition-Format4":
        conditions = tuple(_condition_from_value(each["testCondInfo"]) for each in chosen["matchingUeCondList"])
        chosen = chosen["subscriptionInfo"]
    return ActionDefinition(
        value["ric-Style-Type"],
        measurement_names(chosen["measInfoList"]),
        chosen["granulPeriod"],
        _cell_from_value(chosen["cellGlobalID"]) if "cellGlobalID" in chosen else None,
        conditions,
    )


def _condition_to_value(condition: Condition) -> dict[str, Any]:
    value: dict[str, Any] = {"testType": {condition.test: "true"}}
    if condition.expression is not None:
        value["testExpr"] = condition.expression
    if condition.value is not None:
        value["testValue"] = condition.value
    return value


def _condition_from_value(value: dict[str, Any]) -> Condition:
    return Condition(next(iter(value["testType"])), value.get("testExpr"), value.get("testValue"))


_CELL_KINDS = {15: ("nR-CGI", "nRCellIdentity", 36), 13: ("eUTRA-CGI", "eUTRACellIdentity", 28)}


def _cell_to_value(cell: str) -> dict[str, Any]:
    try:
        kind, field, bits = _CELL_KINDS[len(cell)]
        identity = f"{int(cell[6:], 16):0{bits}b}"
    except (KeyError, TypeError, ValueError):
        raise E2EncodeError(f"cell {cell!r}: 15 hexadecimal digits expected (PLMN, NR cell identity)") from None
    return {kind: {"pLMNIdentity": cell[:6], field: identity}}


def _cell_from_value(value: dict[str, Any]) -> str:
    ((kind, fields),) = value.items()
    _, field, bits = next(each for each in _CELL_KINDS.values() if each[0] == kind)
    return f"{fields['pLMNIdentity']}{int(fields[field], 2):0{bits // 4}x}"


_HEADER_FIELDS = ("fileFormatversion", "senderName", "senderType", "vendorName")


def encode_indication_header(header: IndicationHeader) -> bytes:
    fields = {"colletStartTime": header.start_time.hex()}
    fields |= {name: text for name, text in zip(_HEADER_FIELDS, header[1:], strict=True) if text is not None}
    value = {"indicationHeader-formats": {"indicationHeader-Format1": fields}}
    return schema.encode(kpm_schema.INDICATION_HEADER, value, "kpm-indication-header")


def decode_indication_header(data: bytes) -> IndicationHeader:
    value = schema.decode(kpm_schema.INDICATION_HEADER, data, "kpm-indication-header")
    fields = value["indicationHeader-formats"]["indicationHeader-Format1"]
    return IndicationHeader(bytes.fromhex(fields["colletStartTime"]), *map(fields.get, _HEADER_FIELDS))


def encode_ran_function(function: RanFunction) -> bytes:
    name: dict[str, Any] = {
        "ranFunction-ShortName": function.short_name,
        "ranFunction-E2SM-OID": function.oid,
        "ranFunction-Description": function.description,
    }
    if function.instance is not None:
        name["ranFunction-Instance"] = function.instance
    value: dict[str, Any] = {"ranFunction-Name": name}
    if function.trigger_styles:
        value["ric-EventTriggerStyle-List"] = [
            {
                "ric-EventTriggerStyle-Type": each.style,
                "ric-EventTriggerStyle-Name": each.name,
                "ric-EventTriggerFormat-Type": each.trigger_format,
            }
            for each in function.trigger_styles
        ]
    if function.report_styles:
        value["ric-ReportStyle-List"] = [
            {
                "ric-ReportStyle-Type": each.style,
                "ric-ReportStyle-Name": each.name,
                "ric-ActionFormat-Type": each.action_format,
                "measInfo-Action-List": [{"measName": measurement} for measurement in each.measurements],
                "ric-IndicationHeaderFormat-Type": each.header_format,
                "ric-IndicationMessageFormat-Type": each.message_format,
            }
            for each in function.report_styles
        ]
    return schema.encode(kpm_schema.RAN_FUNCTION, value, "kpm-ran-function")


def decode_ran_function(data: bytes) -> RanFunction:
    """Measurement ids beside the names are dropped: measurements are asked for by name."""
    value = schema.decode(kpm_schema.RAN_FUNCTION, data, "kpm-ran-function")
    name = value["ranFunction-Name"]
    triggers = value.get("ric-EventTriggerStyle-List", ())
    reports = value.get("ric-ReportStyle-List", ())
    return RanFunction(
        name["ranFunction-ShortName"],
        name["ranFunction-E2SM-OID"],
        name["ranFunction-Description"],
        name.get("ranFunction-Instance"),
        tuple(
            TriggerStyle(
                each["ric-EventTriggerStyle-Type"],
                each["ric-EventTriggerStyle-Name"],
                each["ric-EventTriggerFormat-Type"],
            )
            for each in triggers
        ),
        tuple(
            ReportStyle(
                each["ric-ReportStyle-Type"],
                each["ric-ReportStyle-Name"],
                each["ric-ActionFormat-Type"],
                tuple(item["measName"] for item in each["measInfo-Action-List"]),
                each["ric-IndicationHeaderFormat-Type"],
                each["ric-IndicationMessageFormat-Type"],
            )
            for each in reports
        ),
    )

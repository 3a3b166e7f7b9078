"""E2SM-KPM, the performance service model, as the loop uses it: what to subscribe to, and the reports as tables.

Subscriptions are event triggers and action definitions (action_definition.py), reports are indication messages
(report_reader.py), in every format of the specification and in both dialects. json_types.py has all their detail.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from xapp.e2.asn1 import schema
from xapp.e2.kpm import schema as kpm_schema
from xapp.e2.kpm.action_definition import (
    ActionDefinition,
    Condition,
    decode_action_definition,
    encode_action_definition,
)
from xapp.e2.kpm.report_reader import decode_report
from xapp.e2.kpm.report_table import NO_UE, KpmReport, decode_report_generic
from xapp.e2.kpm.report_writer import encode_report
from xapp.e2.ran_function_name import RanFunctionName, name_from_value, name_to_value

__all__ = [
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


class IndicationHeader(NamedTuple):
    start_time: bytes
    """8 octets of NTP time, when the measurements began; see `ntp_time`. Of nodes that speak version 2.00: 4 octets."""
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
    value: dict[str, Any] = {"ranFunction-Name": name_to_value(RanFunctionName(*function[:4]))}
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
    triggers = value.get("ric-EventTriggerStyle-List", ())
    reports = value.get("ric-ReportStyle-List", ())
    return RanFunction(
        *name_from_value(value["ranFunction-Name"]),
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

"""E2SM-RC, the control service model: a node's RC function, and the header of a control.

Header and message are of format 1. What the message says is prb_quota.py's business. For messages in full detail,
outcomes of controls among them, see json_types.py.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from xapp.e2.asn1 import schema
from xapp.e2.dialect import Dialect
from xapp.e2.ran_function_name import RanFunctionName, name_from_value, name_to_value
from xapp.e2.rc import schema as rc_schema
from xapp.e2.rc.layout import Layout, ListedLayout, listed_layout
from xapp.e2.rc.prb_quota import PrbQuota, decode_prb_quotas, encode_prb_quotas
from xapp.e2.ue_id.ue_id import UeId, ue_id_from_value, ue_id_to_value

__all__ = [
    "RC_OIDS",
    "SLICE_PRB_QUOTA",
    "Action",
    "ControlAction",
    "ControlHeader",
    "ControlStyle",
    "Layout",
    "Parameter",
    "PrbQuota",
    "QuotaForm",
    "RanFunction",
    "RcControl",
    "decode_call_process_id",
    "decode_control_header",
    "decode_prb_quotas",
    "decode_ran_function",
    "encode_call_process_id",
    "encode_control_header",
    "encode_prb_quota_control",
    "encode_prb_quotas",
    "encode_ran_function",
]

MAX_CALL_PROCESS_ID = rc_schema.MAX_CALL_PROCESS_ID
RC_OIDS = ("1.3.6.1.4.1.53148.1.1.2.3",)
"""A RAN function with one of these is RC, whatever its id."""
FIRST_FORMATS = ((1, 1), (0, 0))
"""Header and message of format 1: FlexRIC and OpenAirInterface number format types from zero."""
RADIO_RESOURCE_ALLOCATION = 2
"""The control style."""


class Action(NamedTuple):
    """Which control: style and action of the specification."""

    style: int
    action: int


SLICE_PRB_QUOTA = Action(RADIO_RESOURCE_ALLOCATION, 6)
"""What share of the PRBs a slice gets; sent for one UE, the limit of that UE's grants."""


class ControlHeader(NamedTuple):
    """Whom a control is for, and which control it is."""

    ue_id: UeId
    style: int
    action: int
    accept: bool | None = None
    """The decision on a call process that waits for one; None where nothing waits."""


class QuotaForm(NamedTuple):
    """How a node wants the control of PRB quotas, as its RAN function says."""

    layout: Layout = Layout.WRAPPED
    call_process_ids: bool = False
    """Whether it lists a format for RICcallProcessID; else none is sent."""


class RcControl(NamedTuple):
    """What goes into a RICcontrolRequest."""

    header: bytes
    message: bytes


class Parameter(NamedTuple):
    """A RAN parameter as a node announces it."""

    id: int
    name: str


class ControlAction(NamedTuple):
    action: int
    name: str
    parameters: tuple[Parameter, ...] = ()


class ControlStyle(NamedTuple):
    style: int
    name: str
    actions: tuple[ControlAction, ...] = ()
    header_format: int = 1
    message_format: int = 1
    outcome_format: int = 1
    call_process_id_format: int | None = None
    outcome_parameters: tuple[Parameter, ...] = ()


class RanFunction(NamedTuple):
    """What a node says of its RC function, as far as it concerns control."""

    short_name: str
    oid: str
    description: str
    instance: int | None = None
    control_styles: tuple[ControlStyle, ...] = ()

    def offers(self, control: Action) -> bool:
        """Whether the node announces this control, in the formats that are written here."""
        return self._found(control) is not None

    def quota_form(self) -> tuple[QuotaForm | None, ListedLayout]:
        """How the node wants PRB quotas, None = in no way that is written here; and what it lists of them."""
        found = self._found(SLICE_PRB_QUOTA)
        if found is None:
            return None, ListedLayout(None, "no PRB quotas (control style 2, action 6)")
        style, action = found
        listed = listed_layout(action.parameters)
        if listed.layout is None:
            return None, listed
        return QuotaForm(listed.layout, style.call_process_id_format is not None), listed

    def _found(self, control: Action) -> tuple[ControlStyle, ControlAction] | None:
        for style in self.control_styles:
            if style.style == control.style and (style.header_format, style.message_format) in FIRST_FORMATS:
                for action in style.actions:
                    if action.action == control.action:
                        return style, action
        return None


# -- control ----------------------------------------------------------------------------------------------------------


def encode_prb_quota_control(
    ue_id: UeId, quota: PrbQuota, dialect: Dialect = Dialect.STANDARD, layout: Layout = Layout.WRAPPED
) -> RcControl:
    """The control that limits one UE. Raises E2EncodeError."""
    message = encode_prb_quotas((quota,), wrapped=layout is Layout.WRAPPED)
    return RcControl(_quota_header(ue_id, dialect), message)


def encode_call_process_id(number: int) -> bytes:
    """What goes into RICcallProcessID: E2SM-RC-CallProcessID of format 1, the same octets in both dialects.

    number: 1 to MAX_CALL_PROCESS_ID. Raises E2EncodeError.
    """
    value = {"ric-callProcessID-formats": {"callProcessID-Format1": {"ric-callProcess-ID": number}}}
    return schema.encode(rc_schema.CALL_PROCESS_ID, value, "rc-call-process-id")


def decode_call_process_id(data: bytes) -> int:
    """Decode a call process id. Raises E2DecodeError."""
    value = schema.decode(rc_schema.CALL_PROCESS_ID, data, "rc-call-process-id")
    number: int = value["ric-callProcessID-formats"]["callProcessID-Format1"]["ric-callProcess-ID"]
    return number


@lru_cache(maxsize=4096, typed=True)  # ids of two kinds with the same numbers are equal as tuples
def _quota_header(ue_id: UeId, dialect: Dialect) -> bytes:
    return encode_control_header(ControlHeader(ue_id, *SLICE_PRB_QUOTA), dialect)


def encode_control_header(header: ControlHeader, dialect: Dialect = Dialect.STANDARD) -> bytes:
    """Encode a control header. Raises E2EncodeError."""
    fields: dict[str, Any] = {
        "ueID": ue_id_to_value(header.ue_id),
        "ric-Style-Type": header.style,
        "ric-ControlAction-ID": header.action,
    }
    if header.accept is not None:
        fields["ric-ControlDecision"] = "accept" if header.accept else "reject"
    value = {"ric-controlHeader-formats": {"controlHeader-Format1": fields}}
    return schema.encode(rc_schema.CONTROL_HEADER[dialect], value, "rc-control-header")


def decode_control_header(data: bytes, dialect: Dialect = Dialect.STANDARD) -> ControlHeader:
    """Decode a control header. Raises E2DecodeError, for formats other than 1 too."""
    value = schema.decode(rc_schema.CONTROL_HEADER[dialect], data, "rc-control-header")
    fields = value["ric-controlHeader-formats"]["controlHeader-Format1"]
    decision = fields.get("ric-ControlDecision")
    return ControlHeader(
        ue_id_from_value(fields["ueID"]),
        fields["ric-Style-Type"],
        fields["ric-ControlAction-ID"],
        None if decision is None else decision == "accept",
    )


# -- RAN function -----------------------------------------------------------------------------------------------------


def encode_ran_function(function: RanFunction) -> bytes:
    """Encode a RAN function's definition. Raises E2EncodeError."""
    value: dict[str, Any] = {"ranFunction-Name": name_to_value(RanFunctionName(*function[:4]))}
    if function.control_styles:
        styles = [_style_to_value(each) for each in function.control_styles]
        value["ranFunctionDefinition-Control"] = {"ric-ControlStyle-List": styles}
    return schema.encode(rc_schema.RAN_FUNCTION, value, "rc-ran-function")


def decode_ran_function(data: bytes) -> RanFunction:
    """What it says of triggers, reports, inserts and policies is read and dropped. Raises E2DecodeError."""
    value = schema.decode(rc_schema.RAN_FUNCTION, data, "rc-ran-function")
    styles = value.get("ranFunctionDefinition-Control", {}).get("ric-ControlStyle-List", ())
    return RanFunction(
        *name_from_value(value["ranFunction-Name"]),
        tuple(map(_style_from_value, styles)),
    )


def _style_to_value(style: ControlStyle) -> dict[str, Any]:
    value: dict[str, Any] = {
        "ric-ControlStyle-Type": style.style,
        "ric-ControlStyle-Name": style.name,
        "ric-ControlHeaderFormat-Type": style.header_format,
        "ric-ControlMessageFormat-Type": style.message_format,
        "ric-ControlOutcomeFormat-Type": style.outcome_format,
    }
    if style.actions:
        value["ric-ControlAction-List"] = [_action_to_value(each) for each in style.actions]
    if style.call_process_id_format is not None:
        value["ric-CallProcessIDFormat-Type"] = style.call_process_id_format
    if style.outcome_parameters:
        value["ran-ControlOutcomeParameters-List"] = _parameters_to_value(style.outcome_parameters)
    return value


def _style_from_value(value: dict[str, Any]) -> ControlStyle:
    return ControlStyle(
        value["ric-ControlStyle-Type"],
        value["ric-ControlStyle-Name"],
        tuple(
            ControlAction(
                each["ric-ControlAction-ID"],
                each["ric-ControlAction-Name"],
                _parameters_from_value(each.get("ran-ControlActionParameters-List", ())),
            )
            for each in value.get("ric-ControlAction-List", ())
        ),
        value["ric-ControlHeaderFormat-Type"],
        value["ric-ControlMessageFormat-Type"],
        value["ric-ControlOutcomeFormat-Type"],
        value.get("ric-CallProcessIDFormat-Type"),
        _parameters_from_value(value.get("ran-ControlOutcomeParameters-List", ())),
    )


def _action_to_value(action: ControlAction) -> dict[str, Any]:
    value: dict[str, Any] = {"ric-ControlAction-ID": action.action, "ric-ControlAction-Name": action.name}
    if action.parameters:
        value["ran-ControlActionParameters-List"] = _parameters_to_value(action.parameters)
    return value


def _parameters_to_value(parameters: tuple[Parameter, ...]) -> list[dict[str, Any]]:
    return [{"ranParameter-ID": each.id, "ranParameter-name": each.name} for each in parameters]


def _parameters_from_value(value: Any) -> tuple[Parameter, ...]:
    return tuple(Parameter(each["ranParameter-ID"], each["ranParameter-name"]) for each in value)

"""E2SM-RC as composed types, under the specification's own names: what control needs, and the RAN function.

Control header, message and outcome are read and written in format 1, the others are refused by name. RAN parameters
nest in each other; the types are unrolled to MAX_DEPTH levels, so that no octets can drive a reader deeper.
"""

from __future__ import annotations

from collections.abc import Mapping

from xapp.e2.asn1.schema import (
    Bits,
    Boolean,
    Choice,
    Enumerated,
    Integer,
    ListOf,
    Octets,
    Optional,
    Printable,
    Real,
    Sequence,
    Type,
    Unsupported,
)
from xapp.e2.dialect import Dialect, choice
from xapp.e2.ran_function_name import NAME, RAN_FUNCTION_NAME
from xapp.e2.ue_id.schema import UEID

MAX_DEPTH = 12
"""Levels of RAN parameters in each other; the deepest control of the specification that is written here has 7."""

STYLE = Integer()
FORMAT = Integer()
ID_16 = Integer(1, 65535, extensible=True)
PARAMETER_ID = Integer(1, 2**32 - 1, extensible=True)
PARAMETER_VALUE = Choice(
    {
        "valueBoolean": Boolean(),
        "valueInt": Integer(),
        "valueReal": Real(),
        "valueBitS": Bits(),
        "valueOctS": Octets(),
        "valuePrintableString": Printable(),
    }
)


def _parameter(value_type: Type) -> Sequence:
    return Sequence({"ranParameter-ID": PARAMETER_ID, "ranParameter-valueType": value_type})


def _value_type(depth: int) -> Type:
    """RANParameter-ValueType that may hold `depth` more levels, itself included."""
    if depth == 0:
        return Unsupported(f"a RAN parameter nested deeper than {MAX_DEPTH}")
    structure = Sequence(
        {
            "sequence-of-ranParameters": Optional(
                ListOf(_parameter(_value_type(depth - 1)), 1, 65535, item_bits=16),
            )
        }
    )
    return Choice(
        {
            "ranP-Choice-ElementTrue": Sequence({"ranParameter-value": PARAMETER_VALUE}),
            "ranP-Choice-ElementFalse": Sequence({"ranParameter-value": Optional(PARAMETER_VALUE)}),
            "ranP-Choice-Structure": Sequence({"ranParameter-Structure": structure}),
            "ranP-Choice-List": Sequence(
                {
                    "ranParameter-List": Sequence({"list-of-ranParameter": ListOf(structure, 1, 65535, item_bits=2)}),
                }
            ),
        }
    )


# -- control ----------------------------------------------------------------------------------------------------------

CONTROL_HEADER_1 = Sequence(
    {
        "ueID": UEID,
        "ric-Style-Type": STYLE,
        "ric-ControlAction-ID": ID_16,
        "ric-ControlDecision": Optional(Enumerated("accept", "reject")),
    }
)
CONTROL_MESSAGE_1 = Sequence({"ranP-List": ListOf(_parameter(_value_type(MAX_DEPTH)), 0, 65535, item_bits=16)})
CONTROL_OUTCOME_1 = Sequence(
    {
        "ranP-List": ListOf(
            Sequence({"ranParameter-ID": PARAMETER_ID, "ranParameter-value": PARAMETER_VALUE}), 0, 255, item_bits=16
        )
    }
)


def _control(dialect: Dialect, kind: str, first: Type, last_root: int, last: int) -> Sequence:
    """`last_root`, `last`: the last format that FlexRIC has in the root, and the last there is."""

    def refused(numbers: range) -> Mapping[str, Type]:
        return {f"control{kind}-Format{n}": Unsupported(f"control {kind.lower()} format {n}") for n in numbers}

    formats = choice(
        dialect,
        {f"control{kind}-Format1": first},
        refused(range(2, last_root + 1)),
        refused(range(last_root + 1, last + 1)),
    )
    return Sequence({f"ric-control{kind}-formats": formats})


CONTROL_HEADER = {each: _control(each, "Header", CONTROL_HEADER_1, 2, 4) for each in Dialect}
CONTROL_MESSAGE = {each: _control(each, "Message", CONTROL_MESSAGE_1, 2, 4) for each in Dialect}
CONTROL_OUTCOME = {each: _control(each, "Outcome", CONTROL_OUTCOME_1, 3, 4) for each in Dialect}

MAX_CALL_PROCESS_ID = 2**32 - 1
CALL_PROCESS_ID = Sequence(
    {
        "ric-callProcessID-formats": Choice(
            {"callProcessID-Format1": Sequence({"ric-callProcess-ID": Integer(1, MAX_CALL_PROCESS_ID)})}
        )
    }
)

# -- RAN function -----------------------------------------------------------------------------------------------------

_STYLES, _PARAMETERS, _IDS = 63, 65535, 65535


def _parameters(largest: int = _PARAMETERS) -> Optional:
    """A list of (id, name), as every part has them."""
    return Optional(ListOf(Sequence({"ranParameter-ID": PARAMETER_ID, "ranParameter-name": NAME}), 1, largest))


EVENT_TRIGGER_PART = Sequence(
    {
        "ric-EventTriggerStyle-List": ListOf(
            Sequence(
                {
                    "ric-EventTriggerStyle-Type": STYLE,
                    "ric-EventTriggerStyle-Name": NAME,
                    "ric-EventTriggerFormat-Type": FORMAT,
                }
            ),
            1,
            _STYLES,
        ),
        "ran-L2Parameters-List": _parameters(),
        "ran-CallProcessTypes-List": Optional(
            ListOf(
                Sequence(
                    {
                        "callProcessType-ID": ID_16,
                        "callProcessType-Name": NAME,
                        "callProcessBreakpoints-List": ListOf(
                            Sequence(
                                {
                                    "callProcessBreakpoint-ID": ID_16,
                                    "callProcessBreakpoint-Name": NAME,
                                    "ran-CallProcessBreakpointParameters-List": _parameters(),
                                }
                            ),
                            1,
                            _IDS,
                            item_bits=24,
                        ),
                    }
                ),
                1,
                _IDS,
                item_bits=24,
            )
        ),
        "ran-UEIdentificationParameters-List": _parameters(),
        "ran-CellIdentificationParameters-List": _parameters(),
    }
)
REPORT_PART = Sequence(
    {
        "ric-ReportStyle-List": ListOf(
            Sequence(
                {
                    "ric-ReportStyle-Type": STYLE,
                    "ric-ReportStyle-Name": NAME,
                    "ric-SupportedEventTriggerStyle-Type": STYLE,
                    "ric-ReportActionFormat-Type": FORMAT,
                    "ric-IndicationHeaderFormat-Type": FORMAT,
                    "ric-IndicationMessageFormat-Type": FORMAT,
                    "ran-ReportParameters-List": _parameters(),
                }
            ),
            1,
            _STYLES,
        )
    }
)
INSERT_PART = Sequence(
    {
        "ric-InsertStyle-List": ListOf(
            Sequence(
                {
                    "ric-InsertStyle-Type": STYLE,
                    "ric-InsertStyle-Name": NAME,
                    "ric-SupportedEventTriggerStyle-Type": STYLE,
                    "ric-ActionDefinitionFormat-Type": FORMAT,
                    "ric-InsertIndication-List": Optional(
                        ListOf(
                            Sequence(
                                {
                                    "ric-InsertIndication-ID": ID_16,
                                    "ric-InsertIndication-Name": NAME,
                                    "ran-InsertIndicationParameters-List": _parameters(),
                                }
                            ),
                            1,
                            _IDS,
                            item_bits=24,
                        )
                    ),
                    "ric-IndicationHeaderFormat-Type": FORMAT,
                    "ric-IndicationMessageFormat-Type": FORMAT,
                    "ric-CallProcessIDFormat-Type": FORMAT,
                }
            ),
            1,
            _STYLES,
        )
    }
)
CONTROL_PART = Sequence(
    {
        "ric-ControlStyle-List": ListOf(
            Sequence(
                {
                    "ric-ControlStyle-Type": STYLE,
                    "ric-ControlStyle-Name": NAME,
                    "ric-ControlAction-List": Optional(
                        ListOf(
                            Sequence(
                                {
                                    "ric-ControlAction-ID": ID_16,
                                    "ric-ControlAction-Name": NAME,
                                    "ran-ControlActionParameters-List": _parameters(),
                                }
                            ),
                            1,
                            _IDS,
                            item_bits=24,
                        )
                    ),
                    "ric-ControlHeaderFormat-Type": FORMAT,
                    "ric-ControlMessageFormat-Type": FORMAT,
                    "ric-CallProcessIDFormat-Type": Optional(FORMAT),
                    "ric-ControlOutcomeFormat-Type": FORMAT,
                    "ran-ControlOutcomeParameters-List": _parameters(255),
                }
            ),
            1,
            _STYLES,
        )
    }
)
POLICY_PART = Sequence(
    {
        "ric-PolicyStyle-List": ListOf(
            Sequence(
                {
                    "ric-PolicyStyle-Type": STYLE,
                    "ric-PolicyStyle-Name": NAME,
                    "ric-SupportedEventTriggerStyle-Type": STYLE,
                    "ric-PolicyAction-List": Optional(
                        ListOf(
                            Sequence(
                                {
                                    "ric-PolicyAction-ID": ID_16,
                                    "ric-PolicyAction-Name": NAME,
                                    "ric-ActionDefinitionFormat-Type": FORMAT,
                                    "ran-PolicyActionParameters-List": _parameters(),
                                    "ran-PolicyConditionParameters-List": _parameters(),
                                }
                            ),
                            1,
                            _IDS,
                            item_bits=24,
                        )
                    ),
                }
            ),
            1,
            _STYLES,
        )
    }
)
RAN_FUNCTION = Sequence(
    {
        "ranFunction-Name": RAN_FUNCTION_NAME,
        "ranFunctionDefinition-EventTrigger": Optional(EVENT_TRIGGER_PART),
        "ranFunctionDefinition-Report": Optional(REPORT_PART),
        "ranFunctionDefinition-Insert": Optional(INSERT_PART),
        "ranFunctionDefinition-Control": Optional(CONTROL_PART),
        "ranFunctionDefinition-Policy": Optional(POLICY_PART),
    }
)

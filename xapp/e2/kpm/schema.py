"""E2SM-KPM as composed types: what its messages consist of, under the specification's own names.

What the dialects write differently is a mapping from Dialect. Bin ranges of distributions are not spoken: skipped where
an extension carries them, refused by name where FlexRIC has them in the root.
"""

from __future__ import annotations

from collections.abc import Mapping

from xapp.e2.asn1.aper_reader import BitReader
from xapp.e2.asn1.aper_writer import BitWriter
from xapp.e2.asn1.errors import E2DecodeError, E2EncodeError
from xapp.e2.asn1.schema import (
    Bits,
    Boolean,
    Choice,
    Enumerated,
    Integer,
    ListOf,
    Null,
    Octets,
    Optional,
    Printable,
    Real,
    Sequence,
    Type,
    Unsupported,
    Value,
)
from xapp.e2.dialect import Dialect, choice, sequence
from xapp.e2.ran_function_name import NAME, RAN_FUNCTION_NAME
from xapp.e2.ue_id.schema import PLMN, UEID

TRUE = Enumerated("true")
PERIOD = Integer(1, 2**32 - 1)
INDEX = Integer(1, 65535, extensible=True)
QCI = Integer(0, 255)
FIVE_QI = Integer(0, 255, extensible=True)
MEASUREMENT_ID = Integer(1, 65536, extensible=True)
S_NSSAI = Sequence({"sST": Octets(1, 1), "sD": Optional(Octets(3, 3))})
CGI = Choice(
    {
        "nR-CGI": Sequence({"pLMNIdentity": PLMN, "nRCellIdentity": Bits(36, 36)}),
        "eUTRA-CGI": Sequence({"pLMNIdentity": PLMN, "eUTRACellIdentity": Bits(28, 28)}),
    }
)

# -- what is measured -------------------------------------------------------------------------------------------------

MEASUREMENT_TYPE = Choice({"measName": NAME, "measID": MEASUREMENT_ID})
MEASUREMENT_LABEL = Sequence(
    {
        "noLabel": Optional(TRUE),
        "plmnID": Optional(PLMN),
        "sliceID": Optional(S_NSSAI),
        "fiveQI": Optional(FIVE_QI),
        "qFI": Optional(Integer(0, 63, extensible=True)),
        "qCI": Optional(QCI),
        "qCImax": Optional(QCI),
        "qCImin": Optional(QCI),
        "aRPmax": Optional(Integer(1, 15, extensible=True)),
        "aRPmin": Optional(Integer(1, 15, extensible=True)),
        "bitrateRange": Optional(INDEX),
        "layerMU-MIMO": Optional(INDEX),
        "sUM": Optional(TRUE),
        "distBinX": Optional(INDEX),
        "distBinY": Optional(INDEX),
        "distBinZ": Optional(INDEX),
        "preLabelOverride": Optional(TRUE),
        "startEndInd": Optional(Enumerated("start", "end")),
        "min": Optional(TRUE),
        "max": Optional(TRUE),
        "avg": Optional(TRUE),
    }
)
MEASUREMENT_INFO_LIST = ListOf(
    Sequence(
        {
            "measType": MEASUREMENT_TYPE,
            "labelInfoList": ListOf(Sequence({"measLabel": MEASUREMENT_LABEL}), 1, 2**31 - 1, item_bits=23),
        }
    ),
    1,
    65535,
    item_bits=32,
)

# -- the conditions a UE must meet to be in a report ------------------------------------------------------------------

BINS = Unsupported("a list of bin ranges")


def _test_condition(dialect: Dialect) -> Sequence:
    return Sequence(
        {
            "testType": choice(
                dialect,
                {"gBR": TRUE, "aMBR": TRUE, "isStat": TRUE, "isCatM": TRUE, "rSRP": TRUE, "rSRQ": TRUE},
                flexric_roots={"ul-rSRP": TRUE, "cQI": TRUE, "fiveQI": TRUE, "qCI": TRUE, "sNSSAI": TRUE},
            ),
            "testExpr": Optional(Enumerated("equal", "greaterthan", "lessthan", "contains", "present")),
            "testValue": Optional(
                choice(
                    dialect,
                    {
                        "valueInt": Integer(),
                        "valueEnum": Integer(),
                        "valueBool": Boolean(),
                        "valueBitS": Bits(),
                        "valueOctS": Octets(),
                        "valuePrtS": Printable(),
                    },
                    flexric_roots={"valueReal": Real()},
                )
            ),
        }
    )


def _measurement_under_conditions(
    dialect: Dialect, optional: Mapping[str, Optional], flexric_roots: Mapping[str, Type]
) -> Type:
    """A measurement, the conditions on the UEs that it counts, and what else the item has."""
    condition = Sequence(
        {
            "matchingCondChoice": Choice({"measLabel": MEASUREMENT_LABEL, "testCondInfo": _test_condition(dialect)}),
            "logicalOR": Optional(TRUE),
        }
    )
    fields: dict[str, Type | Optional] = {
        "measType": MEASUREMENT_TYPE,
        "matchingCond": ListOf(condition, 1, 32768, item_bits=8),
        **optional,
    }
    return sequence(dialect, fields, flexric_roots)


# -- subscription -----------------------------------------------------------------------------------------------------

EVENT_TRIGGER = Sequence(
    {"eventDefinition-formats": Choice({"eventDefinition-Format1": Sequence({"reportingPeriod": PERIOD})})}
)


def _action_definition(dialect: Dialect) -> Sequence:
    format_1 = sequence(
        dialect,
        {"measInfoList": MEASUREMENT_INFO_LIST, "granulPeriod": PERIOD, "cellGlobalID": Optional(CGI)},
        flexric_roots={"distMeasBinRangeInfo": BINS},
    )
    format_2 = Sequence({"ueID": UEID, "subscriptInfo": format_1})
    format_3 = Sequence(
        {
            "measCondList": ListOf(
                _measurement_under_conditions(dialect, {}, {"binRangeDef": BINS}), 1, 65535, item_bits=24
            ),
            "granulPeriod": PERIOD,
            "cellGlobalID": Optional(CGI),
        }
    )
    condition = Sequence({"testCondInfo": _test_condition(dialect)}, {"logicalOR": TRUE})
    format_4 = Sequence({"matchingUeCondList": ListOf(condition, 1, 32768, item_bits=8), "subscriptionInfo": format_1})
    format_5 = Sequence(
        {
            "matchingUEidList": ListOf(Sequence({"ueID": UEID}), 2, 65535, item_bits=16),
            "subscriptionInfo": format_1,
        }
    )
    return Sequence(
        {
            "ric-Style-Type": Integer(),
            "actionDefinition-formats": choice(
                dialect,
                {
                    "actionDefinition-Format1": format_1,
                    "actionDefinition-Format2": format_2,
                    "actionDefinition-Format3": format_3,
                },
                flexric_roots={"actionDefinition-Format4": format_4, "actionDefinition-Format5": format_5},
            ),
        }
    )


ACTION_DEFINITION = {each: _action_definition(each) for each in Dialect}


# -- indication -------------------------------------------------------------------------------------------------------


class TimeStamp(Octets):
    """`octets` of NTP time as read; written as long as it is, which must be as in one of the versions."""

    __slots__ = ()

    def __init__(self, octets: int) -> None:
        super().__init__(octets, octets)

    def write(self, writer: BitWriter, value: Value, what: str) -> None:
        try:
            octets = bytes.fromhex(value)
        except (TypeError, ValueError):
            octets = b""
        if len(octets) not in (OLD_TIME_STAMP_OCTETS, TIME_STAMP_OCTETS):
            raise E2EncodeError(f"{what}: 8 octets as hexadecimal text expected (old nodes: 4), not {value!r:.60}")
        writer.octets(octets)


TIME_STAMP_OCTETS = 8
OLD_TIME_STAMP_OCTETS = 4
"""In version 2.00, and in nodes that have not left it."""


def _indication_header(time_stamp_octets: int) -> Sequence:
    format_1 = Sequence(
        {
            "colletStartTime": TimeStamp(time_stamp_octets),  # (sic)
            "fileFormatversion": Optional(Printable(0, 15, extensible=True)),
            "senderName": Optional(Printable(0, 400, extensible=True)),
            "senderType": Optional(Printable(0, 8, extensible=True)),
            "vendorName": Optional(Printable(0, 32, extensible=True)),
        }
    )
    return Sequence({"indicationHeader-formats": Choice({"indicationHeader-Format1": format_1})})


class HeaderOfEitherAge:
    """A header with a time stamp of 8 octets, or of 4 where that is the only way to read the whole of it."""

    __slots__ = ()
    today = _indication_header(TIME_STAMP_OCTETS)
    old = _indication_header(OLD_TIME_STAMP_OCTETS)

    def read(self, reader: BitReader, what: str) -> Value:
        start = reader.position
        try:
            return self._read_all(self.today, reader, what)
        except E2DecodeError as error:
            reader.position = start
            try:
                return self._read_all(self.old, reader, what)
            except E2DecodeError:
                raise error from None

    def _read_all(self, kind: Type, reader: BitReader, what: str) -> Value:
        value = kind.read(reader, what)
        reader.finish()
        return value

    def write(self, writer: BitWriter, value: Value, what: str) -> None:
        self.today.write(writer, value, what)


INDICATION_HEADER = HeaderOfEitherAge()
RECORD_ITEM = Choice(
    {"integer": Integer(0, 2**32 - 1), "real": Real(), "noValue": Null()},
    {"notSatisfied": Null()},
)
MEASUREMENT_DATA = ListOf(
    Sequence({"measRecord": ListOf(RECORD_ITEM, 1, 2**31 - 1, item_bits=3), "incompleteFlag": Optional(TRUE)}),
    1,
    65535,
    item_bits=13,
)
MEASUREMENT_REPORT = Sequence(
    {
        "measData": MEASUREMENT_DATA,
        "measInfoList": Optional(MEASUREMENT_INFO_LIST),
        "granulPeriod": Optional(PERIOD),
    }
)
UE_REPORT = Sequence({"ueID": UEID, "measReport": MEASUREMENT_REPORT})
UE_ID_LIST = ListOf(Sequence({"ueID": UEID}), 1, 65535, item_bits=16)
MATCHED_PER_PERIOD = ListOf(
    Sequence({"matchedPerGP": Choice({"noUEmatched": TRUE, "oneOrMoreUEmatched": UE_ID_LIST})}), 1, 65535, item_bits=3
)


def _indication_message(dialect: Dialect) -> Sequence:
    measurement = _measurement_under_conditions(
        dialect, {"matchingUEidList": Optional(UE_ID_LIST)}, {"matchingUEidPerGP": MATCHED_PER_PERIOD}
    )
    format_2 = Sequence(
        {
            "measData": MEASUREMENT_DATA,
            "measCondUEidList": ListOf(measurement, 1, 65535, item_bits=24),
            "granulPeriod": Optional(PERIOD),
        }
    )
    format_3 = Sequence({"ueMeasReportList": ListOf(UE_REPORT, 1, 65535, item_bits=40)})
    return Sequence(
        {
            "indicationMessage-formats": choice(
                dialect,
                {"indicationMessage-Format1": MEASUREMENT_REPORT, "indicationMessage-Format2": format_2},
                flexric_roots={"indicationMessage-Format3": format_3},
            )
        }
    )


INDICATION_MESSAGE = {each: _indication_message(each) for each in Dialect}

# -- RAN function -----------------------------------------------------------------------------------------------------

RAN_FUNCTION = Sequence(
    {
        "ranFunction-Name": RAN_FUNCTION_NAME,
        "ric-EventTriggerStyle-List": Optional(
            ListOf(
                Sequence(
                    {
                        "ric-EventTriggerStyle-Type": Integer(),
                        "ric-EventTriggerStyle-Name": NAME,
                        "ric-EventTriggerFormat-Type": Integer(),
                    }
                ),
                1,
                63,
            )
        ),
        "ric-ReportStyle-List": Optional(
            ListOf(
                Sequence(
                    {
                        "ric-ReportStyle-Type": Integer(),
                        "ric-ReportStyle-Name": NAME,
                        "ric-ActionFormat-Type": Integer(),
                        "measInfo-Action-List": ListOf(
                            Sequence({"measName": NAME, "measID": Optional(MEASUREMENT_ID)}), 1, 65535, item_bits=11
                        ),
                        "ric-IndicationHeaderFormat-Type": Integer(),
                        "ric-IndicationMessageFormat-Type": Integer(),
                    }
                ),
                1,
                63,
            )
        ),
    }
)

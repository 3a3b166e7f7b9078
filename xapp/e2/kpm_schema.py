"""E2SM-KPM, standard dialect, as composed types: what its messages consist of, under the specification's own names."""

from __future__ import annotations

from xapp.e2.aper import BitReader
from xapp.e2.schema import (
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
    Unsupported,
)
from xapp.e2.ue_id import PLMN, UEID

TRUE = Enumerated("true")
PERIOD = Integer(1, 2**32 - 1)
INDEX = Integer(1, 65535, extensible=True)
QCI = Integer(0, 255)
FIVE_QI = Integer(0, 255, extensible=True)
NAME = Printable(1, 150, extensible=True)
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

TEST_CONDITION = Sequence(
    {
        "testType": Choice(
            {"gBR": TRUE, "aMBR": TRUE, "isStat": TRUE, "isCatM": TRUE, "rSRP": TRUE, "rSRQ": TRUE},
            {"ul-rSRP": TRUE, "cQI": TRUE, "fiveQI": TRUE, "qCI": TRUE, "sNSSAI": TRUE},
        ),
        "testExpr": Optional(Enumerated("equal", "greaterthan", "lessthan", "contains", "present")),
        "testValue": Optional(
            Choice(
                {
                    "valueInt": Integer(),
                    "valueEnum": Integer(),
                    "valueBool": Boolean(),
                    "valueBitS": Bits(),
                    "valueOctS": Octets(),
                    "valuePrtS": Printable(),
                },
                {"valueReal": Real()},
            )
        ),
    }
)

# -- subscription -----------------------------------------------------------------------------------------------------

EVENT_TRIGGER = Sequence(
    {"eventDefinition-formats": Choice({"eventDefinition-Format1": Sequence({"reportingPeriod": PERIOD})})}
)
ACTION_FORMAT_1 = Sequence(
    {"measInfoList": MEASUREMENT_INFO_LIST, "granulPeriod": PERIOD, "cellGlobalID": Optional(CGI)}
)
ACTION_FORMAT_4 = Sequence(
    {
        "matchingUeCondList": ListOf(
            Sequence({"testCondInfo": TEST_CONDITION}, {"logicalOR": TRUE}), 1, 32768, item_bits=8
        ),
        "subscriptionInfo": ACTION_FORMAT_1,
    }
)
ACTION_DEFINITION = Sequence(
    {
        "ric-Style-Type": Integer(),
        "actionDefinition-formats": Choice(
            {
                "actionDefinition-Format1": ACTION_FORMAT_1,
                "actionDefinition-Format2": Unsupported("action definition format 2"),
                "actionDefinition-Format3": Unsupported("action definition format 3"),
            },
            {
                "actionDefinition-Format4": ACTION_FORMAT_4,
                "actionDefinition-Format5": Unsupported("action definition format 5"),
            },
        ),
    }
)


class TimeStamp(Octets):
    """The 8 octets of NTP time. Nodes of version 2.00 send 4: refused by name, since what follows would be misread."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(8, 8)

    def read(self, reader: BitReader, what: str) -> str:
        if 32 <= reader.remaining_bits < 64:
            reader.fail("a time stamp of 4 octets (version 2.00) where version 3 has 8", what)
        return super().read(reader, what)


# -- indication -------------------------------------------------------------------------------------------------------

INDICATION_HEADER = Sequence(
    {
        "indicationHeader-formats": Choice(
            {
                "indicationHeader-Format1": Sequence(
                    {
                        "colletStartTime": TimeStamp(),  # (sic)
                        "fileFormatversion": Optional(Printable(0, 15, extensible=True)),
                        "senderName": Optional(Printable(0, 400, extensible=True)),
                        "senderType": Optional(Printable(0, 8, extensible=True)),
                        "vendorName": Optional(Printable(0, 32, extensible=True)),
                    }
                )
            }
        )
    }
)
RECORD_ITEM = Choice(
    {"integer": Integer(0, 2**32 - 1), "real": Real(), "noValue": Null()},
    {"notSatisfied": Null()},
)
MEASUREMENT_REPORT = Sequence(
    {
        "measData": ListOf(
            Sequence(
                {
                    "measRecord": ListOf(RECORD_ITEM, 1, 2**31 - 1, item_bits=3),
                    "incompleteFlag": Optional(TRUE),
                }
            ),
            1,
            65535,
            item_bits=13,
        ),
        "measInfoList": Optional(MEASUREMENT_INFO_LIST),
        "granulPeriod": Optional(PERIOD),
    }
)
UE_REPORT = Sequence({"ueID": UEID, "measReport": MEASUREMENT_REPORT})
INDICATION_MESSAGE = Sequence(
    {
        "indicationMessage-formats": Choice(
            {
                "indicationMessage-Format1": MEASUREMENT_REPORT,
                "indicationMessage-Format2": Unsupported("indication message format 2"),
            },
            {
                "indicationMessage-Format3": Sequence(
                    {"ueMeasReportList": ListOf(UE_REPORT, 1, 65535, item_bits=40)},
                )
            },
        )
    }
)

# -- RAN function -----------------------------------------------------------------------------------------------------

RAN_FUNCTION_NAME = Sequence(
    {
        "ranFunction-ShortName": NAME,
        "ranFunction-E2SM-OID": Printable(1, 1000, extensible=True),
        "ranFunction-Description": NAME,
        "ranFunction-Instance": Optional(Integer()),
    }
)
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

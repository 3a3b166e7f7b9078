"""UEID of E2SM as composed types: how nodes of 5G and LTE name a UE.

Extension additions (cell-RNTI of a DU's id, globalNG-RANNode-ID of a gNB's) are skipped when read and never sent:
deployed decoders misread the first.
"""

from __future__ import annotations

from xapp.e2.asn1.schema import Bits, Choice, Integer, ListOf, Octets, Optional, Sequence, Type

PLMN = Octets(3, 3)
UINT32 = Integer(0, 2**32 - 1)
AMF_UE_NGAP_ID = Integer(0, 2**40 - 1)
X2AP_ID = Integer(0, 4095)
X2AP_ID_EXTENSION = Integer(0, 4095, extensible=True)
RAN_UEID = Octets(8, 8)
GUAMI = Sequence({"pLMNIdentity": PLMN, "aMFRegionID": Bits(8, 8), "aMFSetID": Bits(10, 10), "aMFPointer": Bits(6, 6)})
GUMMEI = Sequence({"pLMN-Identity": PLMN, "mME-Group-ID": Octets(2, 2), "mME-Code": Octets(1, 1)})
GLOBAL_GNB_ID = Sequence({"pLMNIdentity": PLMN, "gNB-ID": Choice({"gNB-ID": Bits(22, 32)})})
GLOBAL_NG_ENB_ID = Sequence(
    {
        "pLMNIdentity": PLMN,
        "ngENB-ID": Choice(
            {"macroNgENB-ID": Bits(20, 20), "shortMacroNgENB-ID": Bits(18, 18), "longMacroNgENB-ID": Bits(21, 21)}
        ),
    }
)
GLOBAL_ENB_ID = Sequence(
    {
        "pLMNIdentity": PLMN,
        "eNB-ID": Choice(
            {"macro-eNB-ID": Bits(20, 20), "home-eNB-ID": Bits(28, 28)},
            {"short-Macro-eNB-ID": Bits(18, 18), "long-Macro-eNB-ID": Bits(21, 21)},
        ),
    }
)
E1AP_ID_LIST = ListOf(Sequence({"gNB-CU-CP-UE-E1AP-ID": UINT32}), 1, 65535, item_bits=16)

UEID_KINDS: dict[str, Type] = {
    "gNB-UEID": Sequence(
        {
            "amf-UE-NGAP-ID": AMF_UE_NGAP_ID,
            "guami": GUAMI,
            "gNB-CU-UE-F1AP-ID-List": Optional(ListOf(Sequence({"gNB-CU-UE-F1AP-ID": UINT32}), 1, 4)),
            "gNB-CU-CP-UE-E1AP-ID-List": Optional(E1AP_ID_LIST),
            "ran-UEID": Optional(RAN_UEID),
            "m-NG-RAN-UE-XnAP-ID": Optional(UINT32),
            "globalGNB-ID": Optional(GLOBAL_GNB_ID),
        }
    ),
    "gNB-DU-UEID": Sequence({"gNB-CU-UE-F1AP-ID": UINT32, "ran-UEID": Optional(RAN_UEID)}),
    "gNB-CU-UP-UEID": Sequence({"gNB-CU-CP-UE-E1AP-ID": UINT32, "ran-UEID": Optional(RAN_UEID)}),
    "ng-eNB-UEID": Sequence(
        {
            "amf-UE-NGAP-ID": AMF_UE_NGAP_ID,
            "guami": GUAMI,
            "ng-eNB-CU-UE-W1AP-ID": Optional(UINT32),
            "m-NG-RAN-UE-XnAP-ID": Optional(UINT32),
            "globalNgENB-ID": Optional(GLOBAL_NG_ENB_ID),
        }
    ),
    "ng-eNB-DU-UEID": Sequence({"ng-eNB-CU-UE-W1AP-ID": UINT32}),
    "en-gNB-UEID": Sequence(
        {
            "m-eNB-UE-X2AP-ID": X2AP_ID,
            "m-eNB-UE-X2AP-ID-Extension": Optional(X2AP_ID_EXTENSION),
            "globalENB-ID": GLOBAL_ENB_ID,
            "gNB-CU-UE-F1AP-ID": Optional(UINT32),
            "gNB-CU-CP-UE-E1AP-ID-List": Optional(E1AP_ID_LIST),
            "ran-UEID": Optional(RAN_UEID),
        }
    ),
    "eNB-UEID": Sequence(
        {
            "mME-UE-S1AP-ID": UINT32,
            "gUMMEI": GUMMEI,
            "m-eNB-UE-X2AP-ID": Optional(X2AP_ID),
            "m-eNB-UE-X2AP-ID-Extension": Optional(X2AP_ID_EXTENSION),
            "globalENB-ID": Optional(GLOBAL_ENB_ID),
        }
    ),
}
UEID = Choice(UEID_KINDS)

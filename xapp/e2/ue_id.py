"""How E2 names a UE: UEIDs of gNB, gNB-DU and gNB-CU-UP, and the one integer the project keeps of them."""

from __future__ import annotations

from typing import Any, NamedTuple

from xapp.e2.aper import BitReader, BitString, BitWriter
from xapp.e2.errors import E2EncodeError
from xapp.e2.schema import (
    Bits,
    Choice,
    Integer,
    ListOf,
    Octets,
    Optional,
    Sequence,
    Unsupported,
    bits_from_text,
    bits_to_text,
)

PLMN = Octets(3, 3)
UINT32 = Integer(0, 2**32 - 1)
RAN_UEID = Octets(8, 8)
GLOBAL_GNB_ID = Sequence({"pLMNIdentity": PLMN, "gNB-ID": Choice({"gNB-ID": Bits(22, 32)})})
GUAMI = Sequence({"pLMNIdentity": PLMN, "aMFRegionID": Bits(8, 8), "aMFSetID": Bits(10, 10), "aMFPointer": Bits(6, 6)})
UEID = Choice(
    {
        "gNB-UEID": Sequence(
            {
                "amf-UE-NGAP-ID": Integer(0, 2**40 - 1),
                "guami": GUAMI,
                "gNB-CU-UE-F1AP-ID-List": Optional(ListOf(Sequence({"gNB-CU-UE-F1AP-ID": UINT32}), 1, 4)),
                "gNB-CU-CP-UE-E1AP-ID-List": Optional(ListOf(Sequence({"gNB-CU-CP-UE-E1AP-ID": UINT32}), 1, 65535)),
                "ran-UEID": Optional(RAN_UEID),
                "m-NG-RAN-UE-XnAP-ID": Optional(UINT32),
                "globalGNB-ID": Optional(GLOBAL_GNB_ID),
            }
        ),
        # A cell-RNTI extension exists: not sent, since deployed decoders misread it; skipped when received.
        "gNB-DU-UEID": Sequence({"gNB-CU-UE-F1AP-ID": UINT32, "ran-UEID": Optional(RAN_UEID)}),
        "gNB-CU-UP-UEID": Sequence({"gNB-CU-CP-UE-E1AP-ID": UINT32, "ran-UEID": Optional(RAN_UEID)}),
        "ng-eNB-UEID": Unsupported("a UE id of kind ng-eNB-UEID"),
        "ng-eNB-DU-UEID": Unsupported("a UE id of kind ng-eNB-DU-UEID"),
        "en-gNB-UEID": Unsupported("a UE id of kind en-gNB-UEID"),
        "eNB-UEID": Unsupported("a UE id of kind eNB-UEID"),
    }
)


class Guami(NamedTuple):
    """Globally unique AMF identifier."""

    plmn: bytes
    region: int
    set_id: int
    pointer: int


class GlobalGnbId(NamedTuple):
    plmn: bytes
    gnb_id: BitString


class GnbUeId(NamedTuple):
    """gNB-UEID: what a CU-CP or a monolithic gNB says."""

    amf_ue_ngap_id: int
    guami: Guami
    f1ap_ids: tuple[int, ...] = ()
    e1ap_ids: tuple[int, ...] = ()
    ran_ueid: bytes | None = None
    xnap_id: int | None = None
    global_gnb_id: GlobalGnbId | None = None


class GnbDuUeId(NamedTuple):
    """gNB-DU-UEID."""

    f1ap_id: int
    ran_ueid: bytes | None = None


class GnbCuUpUeId(NamedTuple):
    """gNB-CU-UP-UEID."""

    e1ap_id: int
    ran_ueid: bytes | None = None


UeId = GnbUeId | GnbDuUeId | GnbCuUpUeId


def ue_key(ue_id: UeId) -> int:
    """The integer a UE goes by everywhere else: the F1AP id where there is one, so that reports of DU and CU agree.

    gNB without F1AP ids: the ran-UEID, else the AMF's id. CU-UP: the E1AP id.
    """
    if isinstance(ue_id, GnbDuUeId):
        return ue_id.f1ap_id
    if isinstance(ue_id, GnbCuUpUeId):
        return ue_id.e1ap_id
    if ue_id.f1ap_ids:
        return ue_id.f1ap_ids[0]
    return int.from_bytes(ue_id.ran_ueid, "big") if ue_id.ran_ueid is not None else ue_id.amf_ue_ngap_id


def read_ue_id(reader: BitReader) -> UeId:
    """Read a UEID where `reader` stands. Raises E2DecodeError, for the kinds of LTE too."""
    return ue_id_from_value(UEID.read(reader, "ueID"))


def write_ue_id(writer: BitWriter, ue_id: UeId) -> None:
    UEID.write(writer, ue_id_to_value(ue_id), "ueID")


def ue_id_from_value(value: dict[str, Any]) -> UeId:
    """A decoded UEID choice (see schema.py) as a typed id."""
    kind, fields = next(iter(value.items()))
    ran_ueid = bytes.fromhex(fields["ran-UEID"]) if "ran-UEID" in fields else None
    if kind == "gNB-DU-UEID":
        return GnbDuUeId(fields["gNB-CU-UE-F1AP-ID"], ran_ueid)
    if kind == "gNB-CU-UP-UEID":
        return GnbCuUpUeId(fields["gNB-CU-CP-UE-E1AP-ID"], ran_ueid)
    guami, gnb = fields["guami"], fields.get("globalGNB-ID")
    return GnbUeId(
        fields["amf-UE-NGAP-ID"],
        Guami(
            bytes.fromhex(guami["pLMNIdentity"]),
            int(guami["aMFRegionID"], 2),
            int(guami["aMFSetID"], 2),
            int(guami["aMFPointer"], 2),
        ),
        tuple(item["gNB-CU-UE-F1AP-ID"] for item in fields.get("gNB-CU-UE-F1AP-ID-List", ())),
        tuple(item["gNB-CU-CP-UE-E1AP-ID"] for item in fields.get("gNB-CU-CP-UE-E1AP-ID-List", ())),
        ran_ueid,
        fields.get("m-NG-RAN-UE-XnAP-ID"),
        None
        if gnb is None
        else GlobalGnbId(bytes.fromhex(gnb["pLMNIdentity"]), bits_from_text(gnb["gNB-ID"]["gNB-ID"])),
    )


def ue_id_to_value(ue_id: UeId) -> dict[str, Any]:
    """The inverse of `ue_id_from_value`."""
    fields: dict[str, Any]
    if isinstance(ue_id, GnbDuUeId):
        kind, fields = "gNB-DU-UEID", {"gNB-CU-UE-F1AP-ID": ue_id.f1ap_id}
    elif isinstance(ue_id, GnbCuUpUeId):
        kind, fields = "gNB-CU-UP-UEID", {"gNB-CU-CP-UE-E1AP-ID": ue_id.e1ap_id}
    elif isinstance(ue_id, GnbUeId):
        guami = ue_id.guami
        kind = "gNB-UEID"
        fields = {
            "amf-UE-NGAP-ID": ue_id.amf_ue_ngap_id,
            "guami": {
                "pLMNIdentity": guami.plmn.hex(),
                "aMFRegionID": f"{guami.region:08b}",
                "aMFSetID": f"{guami.set_id:010b}",
                "aMFPointer": f"{guami.pointer:06b}",
            },
        }
        if ue_id.f1ap_ids:
            fields["gNB-CU-UE-F1AP-ID-List"] = [{"gNB-CU-UE-F1AP-ID": each} for each in ue_id.f1ap_ids]
        if ue_id.e1ap_ids:
            fields["gNB-CU-CP-UE-E1AP-ID-List"] = [{"gNB-CU-CP-UE-E1AP-ID": each} for each in ue_id.e1ap_ids]
        if ue_id.xnap_id is not None:
            fields["m-NG-RAN-UE-XnAP-ID"] = ue_id.xnap_id
        if ue_id.global_gnb_id is not None:
            plmn, gnb_id = ue_id.global_gnb_id
            fields["globalGNB-ID"] = {
                "pLMNIdentity": plmn.hex(),
                "gNB-ID": {"gNB-ID": bits_to_text(gnb_id)},
            }
    else:
        raise E2EncodeError(f"a UE id of gNB, gNB-DU or gNB-CU-UP expected, not {ue_id!r}")
    if ue_id.ran_ueid is not None:
        fields["ran-UEID"] = ue_id.ran_ueid.hex()
    return {kind: fields}

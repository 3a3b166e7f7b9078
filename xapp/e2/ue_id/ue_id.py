"""How E2 names a UE: the seven kinds of UEID, typed, and the one integer that the project keeps of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from xapp.e2.asn1.aper import BitString
from xapp.e2.asn1.aper_reader import BitReader
from xapp.e2.asn1.aper_writer import BitWriter
from xapp.e2.asn1.errors import E2EncodeError
from xapp.e2.asn1.schema import bits_from_text, bits_to_text
from xapp.e2.ue_id.schema import UEID
from xapp.e2.ue_id.ue_key import UeIdKind, key_of


class Guami(NamedTuple):
    """Globally unique AMF identifier."""

    plmn: bytes
    region: int
    set_id: int
    pointer: int


class Gummei(NamedTuple):
    """Globally unique MME identifier."""

    plmn: bytes
    group: bytes
    """2 octets."""
    code: int


class GlobalGnbId(NamedTuple):
    plmn: bytes
    gnb_id: BitString


class GlobalEnbId(NamedTuple):
    """The number of an eNB or ng-eNB: 20 bits for a macro, 18 a short macro, 21 a long macro, 28 a home eNB."""

    plmn: bytes
    enb_id: BitString


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
    """A UE as a gNB-DU names it (gNB-DU-UEID)."""

    f1ap_id: int
    ran_ueid: bytes | None = None


class GnbCuUpUeId(NamedTuple):
    """A UE as a gNB-CU-UP names it (gNB-CU-UP-UEID)."""

    e1ap_id: int
    ran_ueid: bytes | None = None


class NgEnbUeId(NamedTuple):
    """ng-eNB-UEID: an LTE base station at a 5G core."""

    amf_ue_ngap_id: int
    guami: Guami
    w1ap_id: int | None = None
    xnap_id: int | None = None
    global_ng_enb_id: GlobalEnbId | None = None


class NgEnbDuUeId(NamedTuple):
    """A UE as an ng-eNB-DU names it (ng-eNB-DU-UEID)."""

    w1ap_id: int


class EnGnbUeId(NamedTuple):
    """en-gNB-UEID: an NR base station beside an eNB that leads."""

    x2ap_id: int
    global_enb_id: GlobalEnbId
    x2ap_extension: int | None = None
    f1ap_id: int | None = None
    e1ap_ids: tuple[int, ...] = ()
    ran_ueid: bytes | None = None


class EnbUeId(NamedTuple):
    """A UE as an eNB names it (eNB-UEID)."""

    s1ap_id: int
    gummei: Gummei
    x2ap_id: int | None = None
    x2ap_extension: int | None = None
    global_enb_id: GlobalEnbId | None = None


UeId = GnbUeId | GnbDuUeId | GnbCuUpUeId | NgEnbUeId | NgEnbDuUeId | EnGnbUeId | EnbUeId


def ue_key(ue_id: UeId) -> int:
    """The integer a UE goes by everywhere else, see ue_key.py: of its kind, its GUAMI and the number that comes first.

    gNB: F1AP id, else ran-UEID, else the AMF's id. DU: F1AP id. CU-UP: E1AP id. en-gNB: F1AP id, else
    ran-UEID, else the X2AP id with its extension above it. ng-eNB: W1AP id, else the AMF's; its DU: W1AP id. eNB: the
    MME's id.
    """
    return key_of(*_identity(ue_id))


def ue_name(ue_id: UeId) -> str:
    """Kind, number and AMF, for a person: `gNB AMF id 5 of GUAMI 00f110-1-1-1`."""
    kind, number, _ = _identity(ue_id)
    of = ""
    if isinstance(ue_id, GnbUeId | NgEnbUeId):
        plmn, *rest = ue_id.guami
        of = f" of GUAMI {plmn.hex()}-{'-'.join(map(str, rest))}"
    return f"{kind.words} {number}{of}"


def _identity(ue_id: UeId) -> tuple[UeIdKind, int, bytes]:
    """The arguments of `key_of`."""
    match ue_id:
        case GnbDuUeId():
            return UeIdKind.GNB_DU_F1AP, ue_id.f1ap_id, b""
        case GnbCuUpUeId():
            return UeIdKind.CU_UP_E1AP, ue_id.e1ap_id, b""
        case GnbUeId():
            guami = guami_octets(ue_id.guami)
            if ue_id.f1ap_ids:
                return UeIdKind.GNB_F1AP, ue_id.f1ap_ids[0], guami
            if ue_id.ran_ueid is not None:
                return UeIdKind.GNB_RAN, int.from_bytes(ue_id.ran_ueid, "big"), guami
            return UeIdKind.GNB_AMF, ue_id.amf_ue_ngap_id, guami
        case EnGnbUeId():
            if ue_id.f1ap_id is not None:
                return UeIdKind.EN_GNB_F1AP, ue_id.f1ap_id, b""
            if ue_id.ran_ueid is not None:
                return UeIdKind.EN_GNB_RAN, int.from_bytes(ue_id.ran_ueid, "big"), b""
            plmn, enb = ue_id.global_enb_id
            number = (ue_id.x2ap_extension or 0) << 12 | ue_id.x2ap_id
            return UeIdKind.EN_GNB_X2AP, number, plmn + bytes((enb.size,)) + enb.value.to_bytes(4, "big")
        case NgEnbUeId():
            guami = guami_octets(ue_id.guami)
            if ue_id.w1ap_id is not None:
                return UeIdKind.NG_ENB_W1AP, ue_id.w1ap_id, guami
            return UeIdKind.NG_ENB_AMF, ue_id.amf_ue_ngap_id, guami
        case NgEnbDuUeId():
            return UeIdKind.NG_ENB_DU_W1AP, ue_id.w1ap_id, b""
        case EnbUeId():
            plmn, group, code = ue_id.gummei
            return UeIdKind.ENB_MME, ue_id.s1ap_id, plmn + group + bytes((code,))


def guami_octets(guami: Guami) -> bytes:
    """PLMN, then region, set and pointer in 24 bits, as APER writes them."""
    return guami.plmn + (guami.region << 16 | guami.set_id << 6 | guami.pointer).to_bytes(3, "big")


def read_ue_id(reader: BitReader) -> UeId:
    """Read a UEID where `reader` stands. Raises E2DecodeError."""
    return ue_id_from_value(UEID.read(reader, "ueID"))


def write_ue_id(writer: BitWriter, ue_id: UeId) -> None:
    UEID.write(writer, ue_id_to_value(ue_id), "ueID")


# -- as values of composed types --------------------------------------------------------------------------------------

Fields = Mapping[str, Any]


def ue_id_from_value(value: dict[str, Any]) -> UeId:
    """A decoded UEID choice (see schema.py) as a typed id."""
    ((kind, fields),) = value.items()
    return _FROM_FIELDS[kind](fields)


def _gnb_from(fields: Fields) -> UeId:
    gnb = fields.get("globalGNB-ID")
    return GnbUeId(
        fields["amf-UE-NGAP-ID"],
        _guami_from(fields["guami"]),
        tuple(item["gNB-CU-UE-F1AP-ID"] for item in fields.get("gNB-CU-UE-F1AP-ID-List", ())),
        _e1ap_ids_from(fields),
        _ran_ueid_from(fields),
        fields.get("m-NG-RAN-UE-XnAP-ID"),
        GlobalGnbId(bytes.fromhex(gnb["pLMNIdentity"]), bits_from_text(gnb["gNB-ID"]["gNB-ID"])) if gnb else None,
    )


def _ng_enb_from(fields: Fields) -> UeId:
    return NgEnbUeId(
        fields["amf-UE-NGAP-ID"],
        _guami_from(fields["guami"]),
        fields.get("ng-eNB-CU-UE-W1AP-ID"),
        fields.get("m-NG-RAN-UE-XnAP-ID"),
        _enb_id_from(fields["globalNgENB-ID"], "ngENB-ID") if "globalNgENB-ID" in fields else None,
    )


def _en_gnb_from(fields: Fields) -> UeId:
    return EnGnbUeId(
        fields["m-eNB-UE-X2AP-ID"],
        _enb_id_from(fields["globalENB-ID"], "eNB-ID"),
        fields.get("m-eNB-UE-X2AP-ID-Extension"),
        fields.get("gNB-CU-UE-F1AP-ID"),
        _e1ap_ids_from(fields),
        _ran_ueid_from(fields),
    )


def _enb_from(fields: Fields) -> UeId:
    gummei = fields["gUMMEI"]
    return EnbUeId(
        fields["mME-UE-S1AP-ID"],
        Gummei(
            bytes.fromhex(gummei["pLMN-Identity"]), bytes.fromhex(gummei["mME-Group-ID"]), int(gummei["mME-Code"], 16)
        ),
        fields.get("m-eNB-UE-X2AP-ID"),
        fields.get("m-eNB-UE-X2AP-ID-Extension"),
        _enb_id_from(fields["globalENB-ID"], "eNB-ID") if "globalENB-ID" in fields else None,
    )


_FROM_FIELDS: dict[str, Callable[[Fields], UeId]] = {
    "gNB-UEID": _gnb_from,
    "gNB-DU-UEID": lambda fields: GnbDuUeId(fields["gNB-CU-UE-F1AP-ID"], _ran_ueid_from(fields)),
    "gNB-CU-UP-UEID": lambda fields: GnbCuUpUeId(fields["gNB-CU-CP-UE-E1AP-ID"], _ran_ueid_from(fields)),
    "ng-eNB-UEID": _ng_enb_from,
    "ng-eNB-DU-UEID": lambda fields: NgEnbDuUeId(fields["ng-eNB-CU-UE-W1AP-ID"]),
    "en-gNB-UEID": _en_gnb_from,
    "eNB-UEID": _enb_from,
}


def _guami_from(value: Fields) -> Guami:
    return Guami(
        bytes.fromhex(value["pLMNIdentity"]),
        int(value["aMFRegionID"], 2),
        int(value["aMFSetID"], 2),
        int(value["aMFPointer"], 2),
    )


def _e1ap_ids_from(fields: Fields) -> tuple[int, ...]:
    return tuple(item["gNB-CU-CP-UE-E1AP-ID"] for item in fields.get("gNB-CU-CP-UE-E1AP-ID-List", ()))


def _ran_ueid_from(fields: Fields) -> bytes | None:
    return bytes.fromhex(fields["ran-UEID"]) if "ran-UEID" in fields else None


def _enb_id_from(value: Fields, key: str) -> GlobalEnbId:
    (bits,) = value[key].values()
    return GlobalEnbId(bytes.fromhex(value["pLMNIdentity"]), bits_from_text(bits))


def ue_id_to_value(ue_id: UeId) -> dict[str, Any]:
    """The inverse of `ue_id_from_value`. Raises E2EncodeError for what is no UE id."""
    for kind, (typed, to_fields) in _TO_FIELDS.items():
        if isinstance(ue_id, typed):
            return {kind: {name: value for name, value in to_fields(ue_id).items() if value is not None}}
    raise E2EncodeError(f"a UE id expected, not {ue_id!r}")


def _gnb_to(ue_id: GnbUeId) -> dict[str, Any]:
    gnb = ue_id.global_gnb_id
    return {
        "amf-UE-NGAP-ID": ue_id.amf_ue_ngap_id,
        "guami": _guami_to(ue_id.guami),
        "gNB-CU-UE-F1AP-ID-List": [{"gNB-CU-UE-F1AP-ID": each} for each in ue_id.f1ap_ids] or None,
        "gNB-CU-CP-UE-E1AP-ID-List": _e1ap_ids_to(ue_id.e1ap_ids),
        "ran-UEID": _hex(ue_id.ran_ueid),
        "m-NG-RAN-UE-XnAP-ID": ue_id.xnap_id,
        "globalGNB-ID": {"pLMNIdentity": gnb.plmn.hex(), "gNB-ID": {"gNB-ID": bits_to_text(gnb.gnb_id)}}
        if gnb
        else None,
    }


def _gnb_du_to(ue_id: GnbDuUeId) -> dict[str, Any]:
    return {"gNB-CU-UE-F1AP-ID": ue_id.f1ap_id, "ran-UEID": _hex(ue_id.ran_ueid)}


def _gnb_cu_up_to(ue_id: GnbCuUpUeId) -> dict[str, Any]:
    return {"gNB-CU-CP-UE-E1AP-ID": ue_id.e1ap_id, "ran-UEID": _hex(ue_id.ran_ueid)}


def _ng_enb_to(ue_id: NgEnbUeId) -> dict[str, Any]:
    return {
        "amf-UE-NGAP-ID": ue_id.amf_ue_ngap_id,
        "guami": _guami_to(ue_id.guami),
        "ng-eNB-CU-UE-W1AP-ID": ue_id.w1ap_id,
        "m-NG-RAN-UE-XnAP-ID": ue_id.xnap_id,
        "globalNgENB-ID": _enb_id_to(ue_id.global_ng_enb_id, "ngENB-ID", _NG_ENB_KINDS),
    }


def _ng_enb_du_to(ue_id: NgEnbDuUeId) -> dict[str, Any]:
    return {"ng-eNB-CU-UE-W1AP-ID": ue_id.w1ap_id}


def _en_gnb_to(ue_id: EnGnbUeId) -> dict[str, Any]:
    return {
        "m-eNB-UE-X2AP-ID": ue_id.x2ap_id,
        "m-eNB-UE-X2AP-ID-Extension": ue_id.x2ap_extension,
        "globalENB-ID": _enb_id_to(ue_id.global_enb_id, "eNB-ID", _ENB_KINDS),
        "gNB-CU-UE-F1AP-ID": ue_id.f1ap_id,
        "gNB-CU-CP-UE-E1AP-ID-List": _e1ap_ids_to(ue_id.e1ap_ids),
        "ran-UEID": _hex(ue_id.ran_ueid),
    }


def _enb_to(ue_id: EnbUeId) -> dict[str, Any]:
    plmn, group, code = ue_id.gummei
    return {
        "mME-UE-S1AP-ID": ue_id.s1ap_id,
        "gUMMEI": {"pLMN-Identity": plmn.hex(), "mME-Group-ID": group.hex(), "mME-Code": f"{code:02x}"},
        "m-eNB-UE-X2AP-ID": ue_id.x2ap_id,
        "m-eNB-UE-X2AP-ID-Extension": ue_id.x2ap_extension,
        "globalENB-ID": _enb_id_to(ue_id.global_enb_id, "eNB-ID", _ENB_KINDS),
    }


_TO_FIELDS: dict[str, tuple[type, Callable[[Any], dict[str, Any]]]] = {
    "gNB-DU-UEID": (GnbDuUeId, _gnb_du_to),
    "gNB-UEID": (GnbUeId, _gnb_to),
    "gNB-CU-UP-UEID": (GnbCuUpUeId, _gnb_cu_up_to),
    "ng-eNB-UEID": (NgEnbUeId, _ng_enb_to),
    "ng-eNB-DU-UEID": (NgEnbDuUeId, _ng_enb_du_to),
    "en-gNB-UEID": (EnGnbUeId, _en_gnb_to),
    "eNB-UEID": (EnbUeId, _enb_to),
}
"""The commonest first."""


def _hex(octets: bytes | None) -> str | None:
    return None if octets is None else octets.hex()


def _guami_to(guami: Guami) -> dict[str, str]:
    return {
        "pLMNIdentity": guami.plmn.hex(),
        "aMFRegionID": f"{guami.region:08b}",
        "aMFSetID": f"{guami.set_id:010b}",
        "aMFPointer": f"{guami.pointer:06b}",
    }


def _e1ap_ids_to(e1ap_ids: tuple[int, ...]) -> list[dict[str, int]] | None:
    return [{"gNB-CU-CP-UE-E1AP-ID": each} for each in e1ap_ids] or None


_ENB_KINDS = {20: "macro-eNB-ID", 28: "home-eNB-ID", 18: "short-Macro-eNB-ID", 21: "long-Macro-eNB-ID"}
_NG_ENB_KINDS = {20: "macroNgENB-ID", 18: "shortMacroNgENB-ID", 21: "longMacroNgENB-ID"}


def _enb_id_to(enb: GlobalEnbId | None, key: str, kinds: Mapping[int, str]) -> dict[str, Any] | None:
    if enb is None:
        return None
    kind = kinds.get(enb.enb_id.size)
    if kind is None:
        sizes = ", ".join(map(str, sorted(kinds)))
        raise E2EncodeError(f"{key}: {enb.enb_id.size} bits, one of {sizes} expected")
    return {"pLMNIdentity": enb.plmn.hex(), key: {kind: bits_to_text(enb.enb_id)}}

"""E2 setup: what a node says of itself, and the RIC's answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from xapp.e2.asn1.errors import E2DecodeError, E2EncodeError
from xapp.e2.e2ap.cause import Cause
from xapp.e2.e2ap.elements import PduKind, Procedure
from xapp.e2.e2ap.pycrate_codec import Value
from xapp.e2.e2ap.tree import (
    Codec,
    Element,
    Elements,
    cause,
    cause_element,
    cause_value,
    list_element,
    transaction_element,
)

ComponentId = tuple[str, Any]
"""E2nodeComponentID in pycrate's notation: ("e2nodeComponentInterfaceTypeF1", {"gNB-DU-ID": 1})."""


@dataclass(frozen=True, slots=True)
class GnbId:
    """GlobalE2node-ID of a gNB."""

    plmn: bytes
    """Three octets, BCD: 00f110 = 001-01."""
    gnb_id: int
    gnb_id_bits: int = 32
    """22 to 32."""
    du_id: int | None = None
    cu_up_id: int | None = None

    @property
    def ran_name(self) -> str:
        """The node's name in the RIC (RMR's meid), as OSC's e2term makes it: `gnb_001_001_00000001`, a DU's
        `gnbd_001_001_00000001_0`, a CU-UP's `gnbc_001_001_00000001_0`.

        The MNC's digits stand in the order of their octets, so that 410 is `041`; the gNB id in whole octets.
        """
        digits = self.plmn.hex()
        mcc = digits[1] + digits[0] + digits[3]
        mnc = digits[2].replace("f", "0") + digits[5] + digits[4]
        gnb = f"{mcc}_{mnc}_{self.gnb_id:0{2 * -(-self.gnb_id_bits // 8)}x}"
        if self.du_id is not None:
            return f"gnbd_{gnb}_{self.du_id:x}"
        return f"gnb_{gnb}" if self.cu_up_id is None else f"gnbc_{gnb}_{self.cu_up_id:x}"


@dataclass(frozen=True, slots=True)
class RicId:
    """A RIC as it names itself (GlobalRIC-ID)."""

    plmn: bytes
    ric_id: int
    """20 bits."""


class RanFunctionItem(NamedTuple):
    """One RAN function of a node."""

    function_id: int
    definition: bytes
    """The service model's own description."""
    revision: int
    oid: str


class AcceptedFunction(NamedTuple):
    function_id: int
    revision: int


class RejectedFunction(NamedTuple):
    function_id: int
    cause: Cause


class ComponentConfig(NamedTuple):
    """What a node says of one of its interfaces; mandatory in setup since E2AP v2."""

    interface: str
    """ng, xn, e1, f1, w1, s1 or x2."""
    component_id: ComponentId
    request_part: bytes
    response_part: bytes


class ComponentAck(NamedTuple):
    interface: str
    component_id: ComponentId
    failure: Cause | None = None
    """None = success."""


@dataclass(frozen=True, slots=True)
class E2SetupRequest:
    transaction_id: int
    node: GnbId
    functions: tuple[RanFunctionItem, ...]
    components: tuple[ComponentConfig, ...]


@dataclass(frozen=True, slots=True)
class E2SetupResponse:
    transaction_id: int
    ric: RicId
    components: tuple[ComponentAck, ...]
    accepted: tuple[AcceptedFunction, ...] = ()
    rejected: tuple[RejectedFunction, ...] = ()


@dataclass(frozen=True, slots=True)
class E2SetupFailure:
    transaction_id: int
    cause: Cause
    time_to_wait: str | None = None
    """Before the next attempt: v1s, v2s, v5s, v10s, v20s or v60s."""


# -- parts ------------------------------------------------------------------------------------------------------------


def _gnb_id(value: Value) -> GnbId:
    kind, node = value
    if kind != "gNB":
        raise E2DecodeError(f"the node is of kind {kind}, only gNB is read", path="E2setupRequest.GlobalE2node-ID")
    identity = node["global-gNB-ID"]
    form, gnb_bits = identity["gnb-id"]
    if form != "gnb-ID":
        raise E2DecodeError("a gNB id in the form of a later version", path="E2setupRequest.GlobalE2node-ID")
    gnb_id, bits = gnb_bits
    return GnbId(identity["plmn-id"], gnb_id, bits, node.get("gNB-DU-ID"), node.get("gNB-CU-UP-ID"))


def _gnb_id_value(node: GnbId) -> Value:
    most = 2**node.gnb_id_bits - 1
    if not 0 <= node.gnb_id <= most:  # pycrate would leave out the bits that are too many
        raise E2EncodeError(f"GlobalE2node-ID: gNB id {node.gnb_id}, expected 0 to {most} in {node.gnb_id_bits} bits")
    value: dict[str, Any] = {
        "global-gNB-ID": {"plmn-id": node.plmn, "gnb-id": ("gnb-ID", (node.gnb_id, node.gnb_id_bits))}
    }
    if node.cu_up_id is not None:
        value["gNB-CU-UP-ID"] = node.cu_up_id
    if node.du_id is not None:
        value["gNB-DU-ID"] = node.du_id
    return "gNB", value


def _component_config(value: Value) -> ComponentConfig:
    parts = value["e2nodeComponentConfiguration"]
    return ComponentConfig(
        value["e2nodeComponentInterfaceType"],
        value["e2nodeComponentID"],
        parts["e2nodeComponentRequestPart"],
        parts["e2nodeComponentResponsePart"],
    )


def _component_ack(value: Value) -> ComponentAck:
    ack = value["e2nodeComponentConfigurationAck"]
    failure = ack.get("failureCause")
    if ack["updateOutcome"] != "success" and failure is None:
        failure = ("misc", "unspecified")
    interface, component = value["e2nodeComponentInterfaceType"], value["e2nodeComponentID"]
    return ComponentAck(interface, component, None if failure is None else cause(failure))


def _component_ack_value(ack: ComponentAck) -> Value:
    outcome: dict[str, Any] = {"updateOutcome": "success" if ack.failure is None else "failure"}
    if ack.failure is not None:
        outcome["failureCause"] = cause_value(ack.failure)
    return {
        "e2nodeComponentInterfaceType": ack.interface,
        "e2nodeComponentID": ack.component_id,
        "e2nodeComponentConfigurationAck": outcome,
    }


# -- messages ---------------------------------------------------------------------------------------------------------


def _read_setup_request(elements: Elements) -> E2SetupRequest:
    functions = elements.items(10, "RANfunctionsAdded")
    components = elements.items(50, "E2nodeComponentConfigAddition")
    return E2SetupRequest(
        elements.transaction_id(),
        _gnb_id(elements.get(3, "GlobalE2node-ID")),
        tuple(
            RanFunctionItem(
                f["ranFunctionID"], f["ranFunctionDefinition"], f["ranFunctionRevision"], f["ranFunctionOID"]
            )
            for f in functions
        ),
        tuple(_component_config(c) for c in components),
    )


def _write_setup_request(message: E2SetupRequest) -> list[Element]:
    functions = [
        {
            "ranFunctionID": f.function_id,
            "ranFunctionDefinition": f.definition,
            "ranFunctionRevision": f.revision,
            "ranFunctionOID": f.oid,
        }
        for f in message.functions
    ]
    components = [
        {
            "e2nodeComponentInterfaceType": c.interface,
            "e2nodeComponentID": c.component_id,
            "e2nodeComponentConfiguration": {
                "e2nodeComponentRequestPart": c.request_part,
                "e2nodeComponentResponsePart": c.response_part,
            },
        }
        for c in message.components
    ]
    return [
        transaction_element(message.transaction_id),
        Element(3, "reject", "GlobalE2node-ID", _gnb_id_value(message.node)),
        list_element(10, "RANfunctions-List", (Element(8, "ignore", "RANfunction-Item", f) for f in functions)),
        list_element(
            50,
            "E2nodeComponentConfigAddition-List",
            (Element(51, "reject", "E2nodeComponentConfigAddition-Item", c) for c in components),
        ),
    ]


def _read_setup_response(elements: Elements) -> E2SetupResponse:
    ric = elements.get(4, "GlobalRIC-ID")
    components = elements.items(52, "E2nodeComponentConfigAdditionAck")
    return E2SetupResponse(
        elements.transaction_id(),
        RicId(ric["pLMN-Identity"], ric["ric-ID"][0]),
        tuple(_component_ack(c) for c in components),
        tuple(AcceptedFunction(f["ranFunctionID"], f["ranFunctionRevision"]) for f in elements.items(9)),
        tuple(RejectedFunction(f["ranFunctionID"], cause(f["cause"])) for f in elements.items(13)),
    )


def _write_setup_response(message: E2SetupResponse) -> list[Element]:
    ric = {"pLMN-Identity": message.ric.plmn, "ric-ID": (message.ric.ric_id, 20)}
    written = [transaction_element(message.transaction_id), Element(4, "reject", "GlobalRIC-ID", ric)]
    if message.accepted:
        accepted = [{"ranFunctionID": f.function_id, "ranFunctionRevision": f.revision} for f in message.accepted]
        items = (Element(6, "ignore", "RANfunctionID-Item", f) for f in accepted)
        written.append(list_element(9, "RANfunctionsID-List", items))
    if message.rejected:
        rejected = [{"ranFunctionID": f.function_id, "cause": cause_value(f.cause)} for f in message.rejected]
        items = (Element(7, "ignore", "RANfunctionIDcause-Item", f) for f in rejected)
        written.append(list_element(13, "RANfunctionsIDcause-List", items))
    acks = (
        Element(53, "reject", "E2nodeComponentConfigAdditionAck-Item", _component_ack_value(c))
        for c in message.components
    )
    written.append(list_element(52, "E2nodeComponentConfigAdditionAck-List", acks))
    return written


def _read_setup_failure(elements: Elements) -> E2SetupFailure:
    wait = elements.get(31, "TimeToWait") if 31 in elements else None
    return E2SetupFailure(elements.transaction_id(), elements.cause(), wait)


def _write_setup_failure(message: E2SetupFailure) -> list[Element]:
    written = [transaction_element(message.transaction_id), cause_element(message.cause, "ignore")]
    if message.time_to_wait is not None:
        written.append(Element(31, "ignore", "TimeToWait", message.time_to_wait))
    return written


SETUP_CODECS: dict[type, Codec] = {
    E2SetupRequest: Codec(
        "E2setupRequest", PduKind.INITIATING, Procedure.E2_SETUP, _read_setup_request, _write_setup_request
    ),
    E2SetupResponse: Codec(
        "E2setupResponse", PduKind.SUCCESSFUL, Procedure.E2_SETUP, _read_setup_response, _write_setup_response
    ),
    E2SetupFailure: Codec(
        "E2setupFailure", PduKind.UNSUCCESSFUL, Procedure.E2_SETUP, _read_setup_failure, _write_setup_failure
    ),
}

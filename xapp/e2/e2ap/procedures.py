"""E2AP's rarer procedures: setup, subscription, subscription delete, error indication. Import everything from here.

`decode` turns bytes into one of the values below, `encode` back. Through pycrate (see e2ap_asn1: a lock, 0.2 ms a PDU).
Unknown elements are skipped unless their sender says "reject".
"""

from __future__ import annotations

from xapp.e2.asn1.errors import E2DecodeError, E2EncodeError
from xapp.e2.e2ap.cause import Cause
from xapp.e2.e2ap.elements import PduKind, RicRequestId
from xapp.e2.e2ap.pycrate_codec import decode_value, encode_value
from xapp.e2.e2ap.setup import (
    SETUP_CODECS,
    AcceptedFunction,
    ComponentAck,
    ComponentConfig,
    E2SetupFailure,
    E2SetupRequest,
    E2SetupResponse,
    GnbId,
    RanFunctionItem,
    RejectedFunction,
    RicId,
)
from xapp.e2.e2ap.subscription import (
    SUBSCRIPTION_CODECS,
    Action,
    ErrorIndication,
    RefusedAction,
    SubscriptionDeleteFailure,
    SubscriptionDeleteRequest,
    SubscriptionDeleteResponse,
    SubscriptionFailure,
    SubscriptionRequest,
    SubscriptionResponse,
    SubsequentAction,
)
from xapp.e2.e2ap.tree import Elements

__all__ = [
    "AcceptedFunction",
    "Action",
    "Cause",
    "ComponentAck",
    "ComponentConfig",
    "E2SetupFailure",
    "E2SetupRequest",
    "E2SetupResponse",
    "ErrorIndication",
    "GnbId",
    "Message",
    "RanFunctionItem",
    "RefusedAction",
    "RejectedFunction",
    "RicId",
    "RicRequestId",
    "SubscriptionDeleteFailure",
    "SubscriptionDeleteRequest",
    "SubscriptionDeleteResponse",
    "SubscriptionFailure",
    "SubscriptionRequest",
    "SubscriptionResponse",
    "SubsequentAction",
    "decode",
    "encode",
]

Message = (
    E2SetupRequest
    | E2SetupResponse
    | E2SetupFailure
    | SubscriptionRequest
    | SubscriptionResponse
    | SubscriptionFailure
    | SubscriptionDeleteRequest
    | SubscriptionDeleteResponse
    | SubscriptionDeleteFailure
    | ErrorIndication
)

_CODECS = SETUP_CODECS | SUBSCRIPTION_CODECS
_BY_TYPE = {(codec.kind, codec.procedure): codec for codec in _CODECS.values()}
_KINDS = {
    "initiatingMessage": PduKind.INITIATING,
    "successfulOutcome": PduKind.SUCCESSFUL,
    "unsuccessfulOutcome": PduKind.UNSUCCESSFUL,
}
_ALTERNATIVES = {kind: alternative for alternative, kind in _KINDS.items()}


def decode(pdu: bytes) -> Message:
    """Decode a message. Raises E2DecodeError, also for a procedure that is not one of `Message`."""
    alternative, outcome = decode_value(pdu)
    name, message = outcome["value"]
    codec = _BY_TYPE.get((_KINDS[alternative], outcome["procedureCode"]))
    if codec is None or name != codec.name:
        reason = f"{alternative} of procedure {outcome['procedureCode']} is not one of this module's messages"
        raise E2DecodeError(reason, path="E2AP-PDU")
    try:
        decoded: Message = codec.read(Elements(message["protocolIEs"], codec.name))
    except (KeyError, TypeError, ValueError) as error:
        # Choices and extensions that pycrate lets through and no reader here expects.
        raise E2DecodeError(f"unexpected content: {error}", path=codec.name) from None
    return decoded


def encode(message: Message) -> bytes:
    """Encode a message. Raises E2EncodeError."""
    codec = _CODECS.get(type(message))
    if codec is None:
        raise E2EncodeError(f"{type(message).__name__} is no E2AP message, expected one of Message")
    elements = [element.tree() for element in codec.write(message)]
    outcome = {
        "procedureCode": int(codec.procedure),
        "criticality": codec.criticality,
        "value": (codec.name, {"protocolIEs": elements}),
    }
    return encode_value((_ALTERNATIVES[codec.kind], outcome))

"""Subscriptions: what a RIC asks a node to report, the node's answers, and error indications."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from xapp.e2.e2ap.cause import Cause
from xapp.e2.e2ap.elements import PduKind, Procedure, RicRequestId
from xapp.e2.e2ap.pycrate_codec import Value
from xapp.e2.e2ap.tree import (
    Codec,
    Element,
    Elements,
    cause,
    cause_element,
    cause_value,
    function_id_element,
    known_items,
    list_element,
    request_id_element,
    transaction_element,
)


class SubsequentAction(NamedTuple):
    action_type: str
    """continue or wait."""
    time_to_wait: str
    """w1ms ... w60s, or zero where the version has it."""


class Action(NamedTuple):
    """One action of a subscription."""

    action_id: int
    action_type: str = "report"
    """report, insert or policy."""
    definition: bytes | None = None
    subsequent: SubsequentAction | None = None


class RefusedAction(NamedTuple):
    action_id: int
    cause: Cause


@dataclass(frozen=True, slots=True)
class SubscriptionRequest:
    request_id: RicRequestId
    function_id: int
    event_trigger: bytes
    actions: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class SubscriptionResponse:
    request_id: RicRequestId
    function_id: int
    admitted: tuple[int, ...]
    refused: tuple[RefusedAction, ...] = ()


@dataclass(frozen=True, slots=True)
class SubscriptionFailure:
    request_id: RicRequestId
    function_id: int
    cause: Cause


@dataclass(frozen=True, slots=True)
class SubscriptionDeleteRequest:
    request_id: RicRequestId
    function_id: int


@dataclass(frozen=True, slots=True)
class SubscriptionDeleteResponse:
    request_id: RicRequestId
    function_id: int


@dataclass(frozen=True, slots=True)
class SubscriptionDeleteFailure:
    request_id: RicRequestId
    function_id: int
    cause: Cause


@dataclass(frozen=True, slots=True)
class ErrorIndication:
    """Something was wrong with a message; all that its sender could say of it."""

    request_id: RicRequestId | None = None
    function_id: int | None = None
    cause: Cause | None = None
    transaction_id: int | None = None


def _request_elements(message: Any) -> list[Element]:
    return [request_id_element(message.request_id), function_id_element(message.function_id)]


def _action(value: Value) -> Action:
    then = value.get("ricSubsequentAction")
    return Action(
        value["ricActionID"],
        value["ricActionType"],
        value.get("ricActionDefinition"),
        SubsequentAction(then["ricSubsequentActionType"], then["ricTimeToWait"]) if then else None,
    )


def _action_value(action: Action) -> Value:
    value: dict[str, Any] = {"ricActionID": action.action_id, "ricActionType": action.action_type}
    if action.definition is not None:
        value["ricActionDefinition"] = action.definition
    if action.subsequent is not None:
        kind, wait = action.subsequent
        value["ricSubsequentAction"] = {"ricSubsequentActionType": kind, "ricTimeToWait": wait}
    return value


def _read_subscription_request(elements: Elements) -> SubscriptionRequest:
    details = elements.get(30, "RICsubscriptionDetails")
    return SubscriptionRequest(
        elements.request_id(),
        elements.function_id(),
        details["ricEventTriggerDefinition"],
        tuple(_action(value) for value in known_items(details["ricAction-ToBeSetup-List"])),
    )


def _write_subscription_request(message: SubscriptionRequest) -> list[Element]:
    actions = [
        Element(19, "ignore", "RICaction-ToBeSetup-Item", _action_value(action)).tree() for action in message.actions
    ]
    details = {"ricEventTriggerDefinition": message.event_trigger, "ricAction-ToBeSetup-List": actions}
    return [*_request_elements(message), Element(30, "reject", "RICsubscriptionDetails", details)]


def _read_subscription_response(elements: Elements) -> SubscriptionResponse:
    admitted = elements.items(17, "RICaction-Admitted-List")
    return SubscriptionResponse(
        elements.request_id(),
        elements.function_id(),
        tuple(item["ricActionID"] for item in admitted),
        tuple(RefusedAction(item["ricActionID"], cause(item["cause"])) for item in elements.items(18)),
    )


def _write_subscription_response(message: SubscriptionResponse) -> list[Element]:
    admitted = (Element(14, "ignore", "RICaction-Admitted-Item", {"ricActionID": i}) for i in message.admitted)
    written = [*_request_elements(message), list_element(17, "RICaction-Admitted-List", admitted)]
    if message.refused:
        values = [{"ricActionID": r.action_id, "cause": cause_value(r.cause)} for r in message.refused]
        refused = (Element(16, "ignore", "RICaction-NotAdmitted-Item", value) for value in values)
        written.append(list_element(18, "RICaction-NotAdmitted-List", refused))
    return written


def _read_failure(elements: Elements) -> SubscriptionFailure:
    return SubscriptionFailure(elements.request_id(), elements.function_id(), elements.cause())


def _write_failure(message: SubscriptionFailure) -> list[Element]:
    return [*_request_elements(message), cause_element(message.cause)]


def _read_delete_request(elements: Elements) -> SubscriptionDeleteRequest:
    return SubscriptionDeleteRequest(elements.request_id(), elements.function_id())


def _read_delete_response(elements: Elements) -> SubscriptionDeleteResponse:
    return SubscriptionDeleteResponse(elements.request_id(), elements.function_id())


def _read_delete_failure(elements: Elements) -> SubscriptionDeleteFailure:
    return SubscriptionDeleteFailure(elements.request_id(), elements.function_id(), elements.cause())


def _write_delete_failure(message: SubscriptionDeleteFailure) -> list[Element]:
    return [*_request_elements(message), cause_element(message.cause, "ignore")]


def _read_error_indication(elements: Elements) -> ErrorIndication:
    return ErrorIndication(
        elements.request_id() if 29 in elements else None,
        elements.function_id() if 5 in elements else None,
        elements.cause() if 1 in elements else None,
        elements.transaction_id() if 49 in elements else None,
    )


def _write_error_indication(message: ErrorIndication) -> list[Element]:
    written = []
    if message.transaction_id is not None:
        written.append(transaction_element(message.transaction_id))
    if message.request_id is not None:
        written.append(request_id_element(message.request_id))
    if message.function_id is not None:
        written.append(function_id_element(message.function_id))
    if message.cause is not None:
        written.append(cause_element(message.cause, "ignore"))
    return written


SUBSCRIPTION_CODECS: dict[type, Codec] = {
    SubscriptionRequest: Codec(
        "RICsubscriptionRequest",
        PduKind.INITIATING,
        Procedure.RIC_SUBSCRIPTION,
        _read_subscription_request,
        _write_subscription_request,
    ),
    SubscriptionResponse: Codec(
        "RICsubscriptionResponse",
        PduKind.SUCCESSFUL,
        Procedure.RIC_SUBSCRIPTION,
        _read_subscription_response,
        _write_subscription_response,
    ),
    SubscriptionFailure: Codec(
        "RICsubscriptionFailure", PduKind.UNSUCCESSFUL, Procedure.RIC_SUBSCRIPTION, _read_failure, _write_failure
    ),
    SubscriptionDeleteRequest: Codec(
        "RICsubscriptionDeleteRequest",
        PduKind.INITIATING,
        Procedure.RIC_SUBSCRIPTION_DELETE,
        _read_delete_request,
        _request_elements,
    ),
    SubscriptionDeleteResponse: Codec(
        "RICsubscriptionDeleteResponse",
        PduKind.SUCCESSFUL,
        Procedure.RIC_SUBSCRIPTION_DELETE,
        _read_delete_response,
        _request_elements,
    ),
    SubscriptionDeleteFailure: Codec(
        "RICsubscriptionDeleteFailure",
        PduKind.UNSUCCESSFUL,
        Procedure.RIC_SUBSCRIPTION_DELETE,
        _read_delete_failure,
        _write_delete_failure,
    ),
    ErrorIndication: Codec(
        "ErrorIndication",
        PduKind.INITIATING,
        Procedure.ERROR_INDICATION,
        _read_error_indication,
        _write_error_indication,
        criticality="ignore",
    ),
}

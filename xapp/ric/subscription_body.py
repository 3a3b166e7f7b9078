"""The JSON that the subscription manager takes and sends, and what it stands for here."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, NamedTuple

from policy.errors import DecodeError
from xapp.http.rest_client import Answer, RestError

MAX_EVENT_INSTANCE_ID = 65535
SOURCE_NODE = "E2Node"
"""ErrorSource of what the node itself said."""


class SubscriptionKey(NamedTuple):
    """One subscription per node, RAN function and cell: a report belongs to its subscription's cell."""

    node: str
    function_id: int
    cell: str
    """NR-CGI, or "" for a subscription of the whole node."""


@dataclass(frozen=True, slots=True)
class Action:
    """A report action of a RIC subscription."""

    id: int
    definition: bytes
    """As the service model encodes it."""


@dataclass(frozen=True, slots=True)
class SubscriptionRequest:
    key: SubscriptionKey
    event_trigger: bytes
    """As the service model encodes it."""
    actions: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class ClientEndpoint:
    """Where this xApp is reached. The platform derives the RMR endpoint from `host` with "http" replaced by "rmr"."""

    host: str
    http_port: int
    rmr_port: int

    @property
    def rmr_host(self) -> str:
        """Return the host of this RMR endpoint as the platform derives it."""
        return self.host.replace("http", "rmr")


def http_host_of(rmr_host: str) -> str:
    """The `ClientEndpoint.host` that leads the platform to this RMR host."""
    return rmr_host.replace("rmr", "http")


@dataclass(frozen=True, slots=True)
class Directives:
    """How the subscription manager asks the node."""

    timeout_s: int = 2
    """1-10, for one attempt."""
    retries: int = 2

    @property
    def patience_s(self) -> float:
        """When the node must have answered or the manager have given up."""
        return self.timeout_s * (self.retries + 1)


def request_body(
    request: SubscriptionRequest, event_instance_id: int, endpoint: ClientEndpoint, directives: Directives
) -> dict[str, Any]:
    """The body of the POST."""
    return {
        "ClientEndpoint": {"Host": endpoint.host, "HTTPPort": endpoint.http_port, "RMRPort": endpoint.rmr_port},
        "Meid": request.key.node,
        "RANFunctionID": request.key.function_id,
        # Directives that leave RMRRoutingNeeded out mean that no report is ever routed here.
        "E2SubscriptionDirectives": {
            "E2TimeoutTimerValue": directives.timeout_s,
            "E2RetryCount": directives.retries,
            "RMRRoutingNeeded": True,
        },
        "SubscriptionDetails": [
            {
                "XappEventInstanceId": event_instance_id,
                "EventTriggers": list(request.event_trigger),
                "ActionToBeSetupList": [
                    {
                        "ActionID": action.id,
                        "ActionType": "report",
                        "ActionDefinition": list(action.definition),
                        "SubsequentAction": {"SubsequentActionType": "continue", "TimeToWait": "zero"},
                    }
                    for action in request.actions
                ],
            }
        ],
    }


def body_digest(body: dict[str, Any]) -> str:
    """Equal for equal bodies: the manager gives an equal body its old subscription back."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


class Outcome(NamedTuple):
    """How one E2 subscription ended, from a notification."""

    event_instance_id: int
    """Ours, from the request."""
    e2_instance_id: int
    """The node's ricInstanceID, which reports carry as their RMR subscription id; 0 = it failed."""
    cause: str
    by_node: bool = False
    """It failed because the node refused it: neither a time-out nor the manager's own trouble."""


class Notification(NamedTuple):
    subscription_id: str
    outcomes: tuple[Outcome, ...]


class MalformedNotification(DecodeError):
    """A notification that is not one: names the field."""


def parse_notification(body: bytes | str) -> Notification:
    """Read a subscription's notification. Raises MalformedNotification."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise MalformedNotification("not JSON") from None
    if not isinstance(document, dict):
        raise MalformedNotification("not an object")
    subscription_id = document.get("SubscriptionId")
    instances = document.get("SubscriptionInstances")
    if not isinstance(subscription_id, str) or not subscription_id:
        raise MalformedNotification(f"SubscriptionId is {subscription_id!r:.60}, expected text")
    if not isinstance(instances, list) or not instances:
        raise MalformedNotification("SubscriptionInstances is missing or empty")
    return Notification(subscription_id, tuple(_outcome(instance) for instance in instances))


def _outcome(instance: object) -> Outcome:
    if not isinstance(instance, dict):
        raise MalformedNotification("an entry of SubscriptionInstances is not an object")
    ours, theirs = instance.get("XappEventInstanceId"), instance.get("E2EventInstanceId", 0)
    for name, value in (("XappEventInstanceId", ours), ("E2EventInstanceId", theirs)):
        if type(value) is not int or not 0 <= value <= MAX_EVENT_INSTANCE_ID:
            raise MalformedNotification(f"{name} is {value!r:.60}, expected 0 to {MAX_EVENT_INSTANCE_ID}")
    parts = [str(instance.get(field) or "") for field in ("ErrorCause", "ErrorSource", "TimeoutType")]
    by_node = theirs == 0 and parts[1] == SOURCE_NODE and not parts[2]
    return Outcome(ours, theirs, ", ".join(part[:200] for part in parts if part), by_node)  # type: ignore[arg-type]


def accepted_id(answer: Answer) -> str:
    """The SubscriptionId in the answer to a request. Raises RestError for an answer that is no acceptance."""
    if answer.status != 201:
        raise RestError(f"the subscription manager answers {answer.status}: {answer.body[:200]!r}")
    document = answer.json()
    value = document.get("SubscriptionId") if isinstance(document, dict) else None
    if not isinstance(value, str) or not value:
        raise RestError("201 without a SubscriptionId")
    return value


def held_ids(answer: Answer) -> frozenset[str]:
    """The ids in the manager's list, of E2 subscriptions. Raises RestError for an answer that is no such list."""
    entries = answer.json() if answer.status == 200 else None
    entries = [] if entries is None and answer.status == 200 else entries  # Go writes an empty list as null
    if not isinstance(entries, list) or not all(isinstance(e, dict) and "SubscriptionId" in e for e in entries):
        raise RestError(f"the subscription manager answers {answer.status}: {answer.body[:200]!r}")
    return frozenset(str(entry["SubscriptionId"]) for entry in entries)

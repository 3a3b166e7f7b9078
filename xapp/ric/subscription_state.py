"""The states of a subscription, and what is kept of it in SDL for the next start."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from xapp.ric.sdl import SharedStore
from xapp.ric.subscription_body import (
    MAX_EVENT_INSTANCE_ID,
    Directives,
    SubscriptionKey,
    SubscriptionRequest,
    body_digest,
)

STORE_PREFIX = "subscription/"


class SubscriptionState(Enum):
    WANTED = "wanted"
    """To be requested, at once or after a backoff."""
    PENDING = "pending"
    """The request is on its way."""
    ACCEPTED = "accepted"
    """201: the manager is asking the node."""
    ACTIVE = "active"


@dataclass(frozen=True, slots=True)
class SubscriptionStatus:
    """A snapshot of one subscription."""

    key: SubscriptionKey
    state: SubscriptionState
    subscription_id: str
    """The manager's id; "" = none."""
    e2_instance_id: int
    """The RMR subscription id of its reports; 0 = none."""
    attempts: int
    """Requests since it was last active."""
    last_error: str
    refused: bool = False
    """The newest attempt failed because the node said no."""


@dataclass(frozen=True, slots=True)
class SubscriptionOptions:
    directives: Directives = Directives()
    request_timeout_s: float = 3.0
    first_backoff_s: float = 0.25
    max_backoff_s: float = 30.0
    notification_margin_s: float = 5.0
    """Added to what the manager may need; then the subscription is deleted and requested again."""
    orphan_grace_s: float = 30.0
    """After a restart, a stored subscription that nobody wants again within this is deleted."""
    second_look_s: float = 15.0
    """After the first look at what others left behind: an older instance may have been about to subscribe."""
    report_period_s: float = 0.0
    """Over which the requests of different cells are spread (xapp.ric.subscription_phase); 0 = they are not."""


class Entry:
    """The mutable side of a SubscriptionStatus."""

    def __init__(self, request: SubscriptionRequest, event_instance_id: int, body: dict[str, Any]) -> None:
        self.request = request
        self.event_instance_id = event_instance_id
        self.body = body
        self.state = SubscriptionState.WANTED
        self.subscription_id = ""
        self.e2_instance_id = 0
        self.attempts = 0
        self.last_error = ""
        self.refused = False
        self.adopted: list[Orphan] = []
        """The same subscription under others' names; their records go once ours is written."""
        self.due_at = 0.0
        """WANTED: when to request; ACCEPTED: when to stop waiting for the notification."""

    def status(self) -> SubscriptionStatus:
        return SubscriptionStatus(
            self.request.key,
            self.state,
            self.subscription_id,
            self.e2_instance_id,
            self.attempts,
            self.last_error,
            self.refused,
        )


@dataclass(slots=True, eq=False)
class Removal:
    """A subscription to be deleted at the manager."""

    subscription_id: str
    event_instance_id: int
    due_at: float
    owner: str = ""
    """Whose record it is under in SDL; empty = ours."""
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Orphan:
    """What an earlier run of this xApp, or an older instance of it, left behind."""

    owner: str
    event_instance_id: int
    subscription_id: str
    digest: str
    key: SubscriptionKey | None
    delete_at: float


class SubscriptionMemory:
    """Which subscriptions the manager holds for this xApp: `subscription/<owner>/<XappEventInstanceId>` in SDL.

    The owner is one instance of the xApp, so that two of them never overwrite each other's records. Without a store it
    knows nothing.
    """

    def __init__(self, store: SharedStore | None, owner: str = "0") -> None:
        self._store = store
        self._owner = owner

    def remember(self, entry: Entry, subscription_id: str) -> None:
        if self._store is not None:
            value = {"subscription_id": subscription_id, "key": entry.request.key, "digest": body_digest(entry.body)}
            self._store.set(self._name(entry.event_instance_id), value)

    def forget(self, event_instance_id: int, owner: str = "") -> None:
        if self._store is not None:
            self._store.delete(self._name(event_instance_id, owner))

    def recall(self, delete_at: float) -> list[Orphan] | None:
        """Every record but those of this instance; entries that make no sense are passed over. None: no answer."""
        if self._store is None:
            return []
        found = self._store.find(STORE_PREFIX)
        if not self._store.answered:
            return None
        orphans = []
        for name, value in found.items():
            owner, _, number = name.removeprefix(STORE_PREFIX).rpartition("/")
            if owner == self._owner or not _is_event_id(number) or not isinstance(value, dict):
                continue
            if isinstance(value.get("subscription_id"), str):
                key, digest = _read_key(value.get("key")), str(value.get("digest"))
                orphans.append(Orphan(owner, int(number), value["subscription_id"], digest, key, delete_at))
        return orphans

    def _name(self, event_instance_id: int, owner: str = "") -> str:
        return f"{STORE_PREFIX}{owner or self._owner}/{event_instance_id}"


def _is_event_id(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= len(str(MAX_EVENT_INSTANCE_ID))


def _read_key(value: object) -> SubscriptionKey | None:
    """None: whoever wrote it meant something else."""
    match value:
        case [str(node), int(function_id), str(cell)]:
            return SubscriptionKey(node, function_id, cell)
    return None

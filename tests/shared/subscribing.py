"""A subscription manager that a test scripts, a clock that it turns, and what both sides say."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from xapp.ric.subscription_body import (
    Action,
    ClientEndpoint,
    Directives,
    SubscriptionKey,
    SubscriptionRequest,
)
from xapp.ric.subscriptions import SubscriptionClient, SubscriptionOptions, SubscriptionStatus

ENDPOINT = ClientEndpoint("service-ricxapp-stackmac-http.ricxapp", 8080, 4560)
KEY = SubscriptionKey("gnb_001_001_00000001", 2, "00f110000000001")
REQUEST = SubscriptionRequest(KEY, b"\x08\x00\x63", (Action(1, b"\x00\x40\xff"),))
OPTIONS = SubscriptionOptions(
    directives=Directives(timeout_s=2, retries=2), request_timeout_s=5.0, first_backoff_s=1.0, max_backoff_s=8.0
)


def other(number: int) -> SubscriptionRequest:
    return SubscriptionRequest(KEY._replace(cell=f"00f11000000000{number}"), b"\x01", (Action(1, b"\x02"),))


def notification(subscription_id: str, ours: int, theirs: int, **more: str) -> bytes:
    instance = {"XappEventInstanceId": ours, "E2EventInstanceId": theirs, **more}
    return json.dumps({"SubscriptionId": subscription_id, "SubscriptionInstances": [instance]}).encode()


class FakeSubmgr:
    """Accepts with ids "s1", "s2", ...; `script` holds answers to give before that; hooks run before the answer."""

    def __init__(self, serve: Callable[..., Any]) -> None:
        self.script: list[tuple[int, object]] = []
        self.before_answer: Callable[[str, dict[str, Any]], None] = lambda subscription_id, body: None
        self.by_body: dict[str, str] = {}
        self.deletes: list[tuple[int, object]] = []
        self.service = serve(self.respond)

    def respond(self, request: Any) -> tuple[int, object]:
        if request.method == "DELETE":
            return self.deletes.pop(0) if self.deletes else (204, None)
        if self.script:
            return self.script.pop(0)
        text = json.dumps(request.body, sort_keys=True)
        subscription_id = self.by_body.setdefault(text, f"s{len(self.by_body) + 1}")
        self.before_answer(subscription_id, request.body)
        return 201, {"SubscriptionId": subscription_id}

    @property
    def posted(self) -> list[dict[str, Any]]:
        return [request.body for request in self.service.of("POST")]

    @property
    def deleted(self) -> list[str]:
        return [request.path.rsplit("/", 1)[1] for request in self.service.of("DELETE")]


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def status_of(client: SubscriptionClient, key: SubscriptionKey = KEY) -> SubscriptionStatus:
    status = client.status(key)
    assert status is not None
    return status


def activate(client: SubscriptionClient, subscription_id: str = "s1", ours: int = 1, theirs: int = 17) -> None:
    assert client.on_notification(notification(subscription_id, ours, theirs)) == 200


Maker = Callable[..., SubscriptionClient]

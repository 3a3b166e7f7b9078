"""The subscription manager's stand-in: REST towards xApps, RICsubscription procedures towards nodes.

A POST is accepted with 201 and worked on afterwards; the result arrives as a notification, which is retried until it is
answered 200. When a node is lost its subscriptions are dropped without a word, as the real one does.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, Protocol

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response
from pydantic import ValidationError

from xapp.http.rest_client import RestClient, RestError
from xapp.lab.counters import Counters
from xapp.lab.ric.submgr_models import Detail, SubscriptionParams, notification

logger = logging.getLogger(__name__)

NOTIFICATION_TRIES = 10
NOTIFICATION_RETRY_S = 5.0
NOTIFICATION_TIMEOUT_S = 2.0
WORKERS = 16
LAST_INSTANCE_ID = 65535


class E2Answer(NamedTuple):
    """How a subscription procedure with a node ended."""

    ok: bool
    cause: str = ""
    timed_out: bool = False


class E2Side(Protocol):
    """What the manager needs from the E2 termination. Both calls block until answered or timed out."""

    def connected(self, meid: str) -> bool: ...

    def subscribe(
        self, meid: str, function_id: int, instance_id: int, detail: Detail, timeout_s: float
    ) -> E2Answer: ...

    def unsubscribe(self, meid: str, function_id: int, instance_id: int, timeout_s: float) -> E2Answer: ...


class Routes(Protocol):
    """What the manager needs from the route manager."""

    def add(self, instance_id: int, endpoint: str) -> None: ...

    def remove(self, instance_id: int) -> None: ...


@dataclass(slots=True)
class Subscription:
    """One accepted POST."""

    id: str
    params: SubscriptionParams
    instances: dict[int, int] = field(default_factory=dict)
    """Active E2 subscriptions: XappEventInstanceId -> E2EventInstanceId."""
    processing: bool = False


class Refused(Exception):
    """A request that gets `status` for an answer."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class SubscriptionManager:
    """State behind the REST interface. Thread safe."""

    def __init__(
        self,
        e2: E2Side,
        routes: Routes,
        counters: Counters,
        *,
        notify_first: bool = False,
        retry_s: float = NOTIFICATION_RETRY_S,
    ) -> None:
        """notify_first: the notification is sent before the 201, which the real one's clients must expect too."""
        self._e2, self._routes, self._counters = e2, routes, counters
        self._notify_first, self._retry_s = notify_first, retry_s
        self._lock = threading.Lock()
        self._subscriptions: dict[str, Subscription] = {}
        self._used_ids: set[int] = set()
        self._last_id = 0
        self._losses: Counter[str] = Counter()
        """How often each node was lost: what was set up before a loss is gone after it."""
        self._closed = threading.Event()
        self._workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="submgr")

    def subscribe(self, body: bytes) -> str:
        """Accept a POST; returns its SubscriptionId. Raises Refused."""
        try:
            params = SubscriptionParams.model_validate_json(body)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise Refused(400, f"{where}: {first['msg']}") from None
        if not self._e2.connected(params.Meid):
            raise Refused(503, f"E2 node {params.Meid} is not connected")
        with self._lock:
            subscription = self._accept(params)
        if self._notify_first:
            self._process(subscription, params)
        else:
            self._submit(partial(self._process, subscription, params))
        return subscription.id

    def unsubscribe(self, subscription_id: str) -> None:
        """Accept a DELETE; an unknown id is as good as deleted. Raises Refused while the subscription is processed."""
        with self._lock:
            subscription = self._subscriptions.get(subscription_id)
            if subscription is None:
                return
            if subscription.processing:
                raise Refused(400, f"subscription {subscription_id} is being processed")
            del self._subscriptions[subscription_id]
        for instance_id in subscription.instances.values():
            self._submit(partial(self._release, subscription.params, instance_id))

    def listing(self) -> list[dict[str, Any]]:
        """One entry per E2 subscription, as GET shows them."""
        with self._lock:
            return [
                {
                    "SubscriptionId": instance_id,
                    "Meid": subscription.params.Meid,
                    "ClientEndpoint": [subscription.params.ClientEndpoint.rmr],
                }
                for subscription in self._subscriptions.values()
                for instance_id in subscription.instances.values()
            ]

    def node_lost(self, meid: str) -> None:
        """Drop the node's subscriptions and routes; nobody is told."""
        with self._lock:
            self._losses[meid] += 1
            lost = [s for s in self._subscriptions.values() if s.params.Meid == meid and not s.processing]
        for subscription in lost:
            self._drop(subscription)

    def close(self) -> None:
        """Give up what is under way and wait for the workers."""
        self._closed.set()
        self._workers.shutdown(wait=True, cancel_futures=True)

    def _accept(self, params: SubscriptionParams) -> Subscription:
        """The subscription that a body stands for: an old one (by id, else by equal content), or a new one."""
        if params.SubscriptionId:
            subscription = self._subscriptions.get(params.SubscriptionId)
            if subscription is None:
                raise Refused(404, f"no subscription {params.SubscriptionId}")
        else:
            key = params.key()
            same = (s for s in self._subscriptions.values() if s.params.key() == key)
            subscription = next(same, None) or Subscription(uuid.uuid4().hex, params)
        if subscription.processing:
            raise Refused(400, f"subscription {subscription.id} is being processed")
        subscription.params, subscription.processing = params, True
        self._subscriptions[subscription.id] = subscription
        return subscription

    def _submit(self, work: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                work()
            except Exception:
                logger.exception("subscription manager")
                self._counters.add("submgr_error")

        try:
            self._workers.submit(guarded)
        except RuntimeError:
            pass  # closed meanwhile

    def _process(self, subscription: Subscription, params: SubscriptionParams) -> None:
        """Set up what is not yet, one E2 subscription after the other, and say how each went."""
        losses = self._losses[params.Meid]
        results = [self._establish(subscription, params, detail) for detail in params.SubscriptionDetails]
        with self._lock:
            subscription.processing = False
            if not subscription.instances:
                self._subscriptions.pop(subscription.id, None)
        for body in results:
            if not self._closed.is_set() and not self._notified(params, body):
                self._submit(partial(self._notify_again, params, body))
        if self._losses[params.Meid] != losses:
            self._drop(subscription)

    def _establish(self, subscription: Subscription, params: SubscriptionParams, detail: Detail) -> dict[str, Any]:
        """One E2 subscription procedure; returns the body of its notification."""
        xapp_instance = detail.XappEventInstanceId
        known = subscription.instances.get(xapp_instance)
        if known is not None:
            return notification(subscription.id, xapp_instance, known)
        with self._lock:
            instance_id = self._next_id()
        if params.routed:
            self._routes.add(instance_id, params.ClientEndpoint.rmr)
        answer = E2Answer(False, "not sent")
        for _ in range(params.tries):
            answer = self._e2.subscribe(params.Meid, params.RANFunctionID, instance_id, detail, params.timeout_s)
            if answer.ok or not answer.timed_out or self._closed.is_set():
                break
        if answer.ok:
            with self._lock:
                subscription.instances[xapp_instance] = instance_id
            return notification(subscription.id, xapp_instance, instance_id)
        self._counters.add("subscriptions_failed")
        if answer.timed_out:  # the node may have set it up all the same
            self._release(params, instance_id)
            return notification(subscription.id, xapp_instance, 0, answer.cause, "SUBMGR", "E2-Timeout")
        self._forget(instance_id)
        return notification(subscription.id, xapp_instance, 0, answer.cause, "E2Node")

    def _next_id(self) -> int:
        for _ in range(LAST_INSTANCE_ID):
            self._last_id = self._last_id % LAST_INSTANCE_ID + 1  # never 0: that means failed
            if self._last_id not in self._used_ids:
                self._used_ids.add(self._last_id)
                return self._last_id
        raise RuntimeError("all instance ids are in use")

    def _release(self, params: SubscriptionParams, instance_id: int) -> None:
        """Delete an E2 subscription at the node; its id is free again whatever the node says."""
        for _ in range(params.tries):
            answer = self._e2.unsubscribe(params.Meid, params.RANFunctionID, instance_id, params.timeout_s)
            if not answer.timed_out or self._closed.is_set():
                break
        self._forget(instance_id)

    def _forget(self, instance_id: int) -> None:
        self._routes.remove(instance_id)
        with self._lock:
            self._used_ids.discard(instance_id)

    def _drop(self, subscription: Subscription) -> None:
        with self._lock:
            self._subscriptions.pop(subscription.id, None)
        for instance_id in subscription.instances.values():
            self._forget(instance_id)
        self._counters.add("subscriptions_dropped_with_node")

    def _notified(self, params: SubscriptionParams, body: dict[str, Any]) -> bool:
        url = params.ClientEndpoint.notification_url
        try:
            answer = RestClient("xApp", url, timeout_s=NOTIFICATION_TIMEOUT_S).request("POST", body=body)
        except RestError as error:
            logger.info("notification: %s", error)
            self._counters.add("notifications_failed")
            return False
        if answer.status != 200:
            self._counters.add("notifications_failed")
            return False
        self._counters.add("notifications_sent")
        return True

    def _notify_again(self, params: SubscriptionParams, body: dict[str, Any]) -> None:
        for _ in range(NOTIFICATION_TRIES - 1):
            if self._closed.wait(self._retry_s) or self._notified(params, body):
                return


def make_submgr_app(manager: SubscriptionManager) -> FastAPI:
    """The REST interface: POST, GET and DELETE under /ric/v1/subscriptions."""
    app = FastAPI(title="submgr stand-in", openapi_url=None)

    def refusal(error: Refused) -> JSONResponse:
        return JSONResponse({"error": str(error)}, status_code=error.status)

    @app.post("/ric/v1/subscriptions")
    async def subscribe(request: Request) -> JSONResponse:
        try:
            subscription_id = await run_in_threadpool(manager.subscribe, await request.body())
        except Refused as error:
            return refusal(error)
        return JSONResponse({"SubscriptionId": subscription_id}, status_code=201)

    @app.get("/ric/v1/subscriptions")
    def listing() -> JSONResponse:
        return JSONResponse(manager.listing())

    @app.delete("/ric/v1/subscriptions/{subscription_id}")
    def unsubscribe(subscription_id: str) -> Response:
        try:
            manager.unsubscribe(subscription_id)
        except Refused as error:
            return refusal(error)
        return Response(status_code=204)

    return app

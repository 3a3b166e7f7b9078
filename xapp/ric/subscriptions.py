"""Subscriptions at the platform's subscription manager, one state machine per (node, RAN function, cell).

    WANTED --POST--> PENDING --201--> ACCEPTED --notification--> ACTIVE
      ^                 |                 |            |
      +----- backoff ---+-----------------+--failed----+

The notification may come before the 201, so the entry is PENDING (and found by its XappEventInstanceId) before the
request leaves. Ids are kept in SDL: after a restart an unchanged subscription is taken over by sending the same body
again, any other is deleted; the same goes for those of an older instance that is in standby. An instance that is
in standby itself (`enter_standby`) asks for nothing and deletes nothing: what it had is the younger one's to take over
or to delete.

`run_due` and `forget_node` belong to the task runner's thread, `close` to whichever thread stops it; they may block for
HTTP and SDL time-outs. The rest never blocks and may be called from any thread.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable

from xapp.http.rest_client import RestClient, RestError
from xapp.ric.sdl import SharedStore
from xapp.ric.subscription_body import (
    ClientEndpoint,
    MalformedNotification,
    Outcome,
    SubscriptionKey,
    SubscriptionRequest,
    accepted_id,
    held_ids,
    parse_notification,
)
from xapp.ric.subscription_state import (
    Entry,
    Orphan,
    Removal,
    SubscriptionMemory,
    SubscriptionOptions,
    SubscriptionState,
    SubscriptionStatus,
)
from xapp.ric.subscription_table import SubscriptionTable

log = logging.getLogger(__name__)

PATH = ("ric", "v1", "subscriptions")
MAX_DELETE_ATTEMPTS = 10
MIN_PAUSE_S = 0.02


class SubscriptionClient:
    """Keeps the wanted subscriptions active. `owner` names this instance in SDL. `on_change` is called with every new
    state from whichever thread brought it about, one call at a time: the last call is how things are.
    """

    def __init__(
        self,
        submgr_url: str,
        endpoint: ClientEndpoint,
        *,
        store: SharedStore | None = None,
        owner: str = "0",
        options: SubscriptionOptions | None = None,
        on_change: Callable[[SubscriptionStatus], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self._memory = SubscriptionMemory(store, owner)
        self.options = options or SubscriptionOptions()
        self._on_change = on_change or (lambda status: None)
        self._rest = RestClient("subscription manager", submgr_url, timeout_s=self.options.request_timeout_s)
        self._clock = clock
        self._lock = threading.Lock()
        self._telling = threading.RLock()
        """Held around `on_change`, never while waiting for anything else; taken before `_lock`."""
        self._table = SubscriptionTable(endpoint, self.options, clock, rng or random.Random())
        self._look_back_at = 0.0
        self._looks_back = 2
        """How often it still looks for what others left behind."""
        self._in_standby = self._stops = False
        self.requested = 0
        """Requests sent to the manager ..."""
        self.deleted = 0
        """... and deletions that it agreed to before this xApp stopped."""

    # -- any thread ------------------------------------------------------------------------------------------------

    def on_notification(self, body: bytes | str) -> int:
        """Take a POST to /ric/v1/subscriptions/response; the HTTP status to answer with.

        Whatever is well formed gets 200, even if nobody knows it: anything else is sent again ten times.
        """
        try:
            notification = parse_notification(body)
        except MalformedNotification as error:
            self._count("notification_malformed")
            log.warning("malformed subscription notification: %s", error)
            return 400
        for outcome in notification.outcomes:
            self._take(notification.subscription_id, outcome)
        return 200

    def status(self, key: SubscriptionKey) -> SubscriptionStatus | None:
        with self._lock:
            entry = self._table.entries.get(key)
            return entry.status() if entry else None

    def statuses(self) -> list[SubscriptionStatus]:
        with self._lock:
            return [entry.status() for entry in self._table.entries.values()]

    @property
    def counters(self) -> dict[str, int]:
        with self._lock:
            return dict(self._table.counts)

    # -- periodic tasks -------------------------------------------------------------------------------------------

    def want(self, request: SubscriptionRequest) -> None:
        """Subscribe (at the next `run_due`) and stay subscribed. The same request again changes nothing; another one
        for the same key replaces it.
        """
        self._look_back()
        with self._lock:
            old = self._table.entries.get(request.key)
            if old is not None and old.request == request:
                return
        if old is not None:
            self.drop(request.key)
        with self._lock:
            self._table.add(request)

    def drop(self, key: SubscriptionKey) -> None:
        """Unsubscribe (at the next `run_due`)."""
        with self._lock:
            entry = self._table.remove(key)
            if entry is not None and entry.subscription_id:
                self._table.delete_later(entry.subscription_id, entry.event_instance_id)

    def forget_node(self, node: str) -> None:
        """The node is gone, and with it its subscriptions: the manager drops them without a word."""
        with self._lock:
            keys = [key for key in self._table.entries if key.node == node]
            gone = [entry for key in keys if (entry := self._table.remove(key))]
        for entry in gone:
            self._memory.forget(entry.event_instance_id)

    def resubscribe(self, key: SubscriptionKey, reason: str) -> None:
        """Reports stopped although the node is there (it came back between two looks): start over."""
        with self._lock:
            entry = self._table.entries.get(key)
            if entry is None or entry.state is not SubscriptionState.ACTIVE:
                return
            self._table.counts["resubscribed"] += 1
            self._table.start_over(entry, reason, delete=True)
        log.warning("subscription %s: %s; subscribing again", key, reason)
        self._notify(entry)

    def run_due(self) -> None:
        """Send the requests and deletions that are due. Never raises. Once the manager does not answer, what is left
        waits for the next call: this one blocks for about one time-out.
        """
        if self._in_standby:
            return
        self._look_back()
        now = self._clock()
        with self._lock:
            self._table.abandon_overdue()
            overdue = [
                entry
                for entry in self._table.entries.values()
                if entry.state is SubscriptionState.ACCEPTED and now >= entry.due_at
            ]
            for entry in overdue:
                self._table.counts["notification_overdue"] += 1
                self._table.start_over(entry, "no notification came", delete=True)
            removals = [removal for removal in self._table.removals if now >= removal.due_at]
        for entry in overdue:
            self._notify(entry)
        for removal in removals:
            if not self._delete(removal):
                return
        with self._lock:
            due = [
                entry
                for entry in self._table.entries.values()
                if self._table.is_to_be_posted(entry) and now >= entry.due_at
            ]
        for entry in sorted(due, key=lambda entry: entry.due_at):
            if not self._post(entry):
                return

    def unknown_to_manager(self) -> set[SubscriptionKey]:
        """Active subscriptions that the manager does not hold; none of them if it does not say. May block."""
        with self._lock:
            active = [e.status() for e in self._table.entries.values() if e.state is SubscriptionState.ACTIVE]
        try:
            held = held_ids(self._rest.request("GET", *PATH))
        except RestError as error:
            log.info("subscriptions are not listed: %s", error)
            return set()
        return {s.key for s in active if held.isdisjoint((s.subscription_id, str(s.e2_instance_id)))}

    def remember_again(self) -> None:
        """Shared data were lost: write down once more what the manager holds for this xApp. May block."""
        with self._lock:
            held = [(entry, entry.subscription_id) for entry in self._table.entries.values() if entry.subscription_id]
        for entry, subscription_id in held:
            self._memory.remember(entry, subscription_id)

    def enter_standby(self) -> None:
        """A younger instance takes over: ask for nothing and delete nothing any more."""
        self._in_standby = True

    def take_control(self) -> None:
        """Nobody younger is there any more: everything that is wanted is requested anew."""
        with self._lock:
            self._table.removals.clear()  # still recorded in SDL, unless somebody has seen to them
            self._table.orphans.clear()
            self._look_back_at, self._looks_back = 0.0, 2
            entries = list(self._table.entries.values())
            for entry in entries:
                entry.attempts = 0
                self._table.start_over(entry, "the younger instance has gone", delete=True)
        self._in_standby = False
        for entry in entries:
            self._notify(entry)

    def next_due_s(self) -> float:
        """Seconds until `run_due` may have something to do, 1 at most; MIN_PAUSE_S where something is due already."""
        with self._lock:
            due_at = self._table.next_due_at()
        left_s = due_at - self._clock()
        return min(1.0, left_s if left_s > 0 else MIN_PAUSE_S)

    def close(self, timeout_s: float = 3.0) -> None:
        """Unsubscribe from everything, as far as that works in time. What is left stays in SDL for the next start; SDL
        is told last, so that one that does not answer keeps nothing from the manager.
        """
        give_up_at = self._clock() + timeout_s
        with self._lock:
            if self._in_standby:
                self._table.removals.clear()
            held = list(self._table.removals)
            self._stops = True  # from here on it is told below of what `held` has
        if not self._in_standby:
            for key in list(self._table.entries):
                self.drop(key)
        held += [removal for removal in self._table.removals if removal not in held]
        while self._table.removals and self._clock() < give_up_at:
            for removal in list(self._table.removals):
                left_s = give_up_at - self._clock()
                if left_s > 0:
                    self._delete(removal, min(left_s, self.options.request_timeout_s))
            if self._table.removals:
                time.sleep(min(0.1, max(0.0, give_up_at - self._clock())))
        for removal in held:
            given_up = removal in self._table.removals or removal.attempts >= MAX_DELETE_ATTEMPTS
            if not given_up and self._clock() < give_up_at:
                self._memory.forget(removal.event_instance_id, removal.owner)
        if self._table.removals:
            log.warning("%d subscriptions could not be deleted in time", len(self._table.removals))

    # -- inside; methods that say `locked` are called with the lock held -------------------------------------------

    def _look_back(self) -> None:
        """Recall what an earlier run or an older instance left behind: at first, and once more some time later. Without
        an answer from SDL it is tried again.
        """
        now = self._clock()
        if not self._looks_back or now < self._look_back_at:
            return
        found = self._memory.recall(now + self.options.orphan_grace_s)
        if found is None:
            self._look_back_at = now + 1.0
            return
        with self._lock:
            self._looks_back -= 1
            self._look_back_at = now + self.options.second_look_s
            settled = self._table.take_over(found)
        self._forget(settled)

    def _forget(self, orphans: list[Orphan]) -> None:
        for orphan in orphans:
            self._memory.forget(orphan.event_instance_id, orphan.owner)

    def _count(self, name: str) -> None:
        with self._lock:
            self._table.counts[name] += 1

    def _notify(self, entry: Entry) -> None:
        with self._telling:
            with self._lock:
                if not self._table.holds(entry):
                    return
                status = entry.status()
            self._on_change(status)

    def _post(self, entry: Entry) -> bool:
        """One POST; False if the manager did not answer."""
        with self._lock:
            if not self._table.holds(entry):
                return True
            entry.state = SubscriptionState.PENDING
            entry.attempts += 1
            entry.refused = False
            self.requested += 1
        answer, subscription_id, error = None, "", ""
        try:
            answer = self._rest.request("POST", *PATH, body=entry.body)
            subscription_id = accepted_id(answer)
        except RestError as failure:
            error = str(failure)
        with self._lock:
            self._after_post(entry, subscription_id, error)
            to_remember = subscription_id or entry.subscription_id
            adopted, entry.adopted = (entry.adopted, []) if to_remember else ([], entry.adopted)
        if to_remember:
            self._memory.remember(entry, to_remember)
        self._forget(adopted)
        if error:
            log.warning("subscription %s: %s", entry.request.key, error)
        self._notify(entry)
        return answer is not None

    def _after_post(self, entry: Entry, subscription_id: str, error: str) -> None:
        """Locked."""
        if not self._table.holds(entry):
            # Dropped while the request was under way.
            if subscription_id:
                self._table.delete_later(subscription_id, entry.event_instance_id)
        elif error:
            self._table.counts["request_failed"] += 1
            # A notification that was here already counts for more than an answer that got lost.
            if entry.state is SubscriptionState.PENDING:
                self._table.start_over(entry, error, delete=False)
        else:
            self._table.counts["accepted"] += 1
            if entry.state is SubscriptionState.PENDING:
                entry.state = SubscriptionState.ACCEPTED
                wait_s = self.options.directives.patience_s + self.options.notification_margin_s
                entry.due_at = self._clock() + wait_s
            if entry.state is not SubscriptionState.WANTED:
                entry.subscription_id = subscription_id

    def _take(self, subscription_id: str, outcome: Outcome) -> None:
        """One outcome from a notification."""
        with self._lock:
            entry = self._table.entry_of(outcome.event_instance_id)
            if entry is None or (entry.subscription_id and entry.subscription_id != subscription_id):
                self._table.counts["notification_unknown"] += 1
                return
            if entry.state is SubscriptionState.WANTED:
                self._table.counts["notification_late"] += 1  # given up already: it will be requested again
                return
            if outcome.e2_instance_id == 0:
                self._table.counts["subscription_failed"] += 1
                entry.subscription_id = subscription_id
                self._table.start_over(entry, outcome.cause or "the subscription failed", delete=True)
                entry.refused = outcome.by_node
            else:
                self._table.counts["activated"] += entry.state is not SubscriptionState.ACTIVE
                entry.state = SubscriptionState.ACTIVE
                entry.subscription_id, entry.e2_instance_id = subscription_id, outcome.e2_instance_id
                entry.attempts, entry.last_error = 0, ""
            error = entry.last_error
        if error:
            log.warning("subscription %s: %s", entry.request.key, error)
        self._notify(entry)

    def _delete(self, removal: Removal, timeout_s: float | None = None) -> bool:
        """One DELETE; False if the manager did not answer."""
        status = 0
        try:
            status = self._rest.request("DELETE", *PATH, removal.subscription_id, timeout_s=timeout_s).status
        except RestError as error:
            log.warning("subscription %s not deleted: %s", removal.subscription_id, error)
        # 404 is not what the manager documents for an unknown id, but it would mean the same.
        done = status in (200, 204, 404)
        with self._lock:
            if done:
                self._table.counts["deleted"] += 1
                self.deleted += not self._stops
            else:
                self._table.counts["delete_failed"] += 1
                removal.attempts += 1
                removal.due_at = self._clock() + self._table.backoff_s(removal.attempts)
            given_up = not done and removal.attempts >= MAX_DELETE_ATTEMPTS
            if (done or given_up) and removal in self._table.removals:  # `close` may have been faster
                self._table.removals.remove(removal)
                if given_up:
                    self._table.counts["delete_given_up"] += 1
        if done and not self._stops:
            self._memory.forget(removal.event_instance_id, removal.owner)
        return bool(status)

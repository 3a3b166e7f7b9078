"""What is wanted, what is to be deleted, and what others left behind: the books of the subscription client.

No HTTP, no SDL, no lock: the client (xapp.ric.subscriptions) holds its lock around every call.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from xapp.ric.subscription_body import (
    MAX_EVENT_INSTANCE_ID,
    ClientEndpoint,
    SubscriptionKey,
    SubscriptionRequest,
    body_digest,
    request_body,
)
from xapp.ric.subscription_phase import SubscriptionPhases
from xapp.ric.subscription_state import Entry, Orphan, Removal, SubscriptionOptions, SubscriptionState


class SubscriptionTable:
    """Not thread safe."""

    def __init__(
        self, endpoint: ClientEndpoint, options: SubscriptionOptions, clock: Callable[[], float], rng: random.Random
    ) -> None:
        self._endpoint, self._options, self._clock, self._rng = endpoint, options, clock, rng
        self.entries: dict[SubscriptionKey, Entry] = {}
        self._by_event_id: dict[int, Entry] = {}
        self.removals: list[Removal] = []
        self.orphans: list[Orphan] = []
        self.counts: Counter[str] = Counter()
        self._phases = SubscriptionPhases(options.report_period_s)

    # -- what is wanted ----------------------------------------------------------------------------------------------

    def add(self, request: SubscriptionRequest) -> None:
        """An entry for a key that has none."""
        event_id, body, adopted = self._claim(request)
        entry = Entry(request, event_id, body)
        entry.adopted = adopted
        # What is taken over reports already, whenever it was asked for.
        entry.due_at = self._clock() if adopted else self._phases.due_at(_cell(request.key), self._clock())
        self.entries[request.key] = entry
        self._by_event_id[event_id] = entry

    def remove(self, key: SubscriptionKey) -> Entry | None:
        """The entry is wanted no longer; what becomes of it at the manager is the caller's business."""
        entry = self.entries.pop(key, None)
        if entry is not None:
            self._by_event_id.pop(entry.event_instance_id, None)
            if all(_cell(other) != _cell(key) for other in self.entries):
                self._phases.forget(_cell(key))
        return entry

    def entry_of(self, event_instance_id: int) -> Entry | None:
        """Whose notification that is."""
        return self._by_event_id.get(event_instance_id)

    def holds(self, entry: Entry) -> bool:
        """The entry has not been dropped or replaced meanwhile."""
        return self._by_event_id.get(entry.event_instance_id) is entry

    def start_over(self, entry: Entry, reason: str, *, delete: bool) -> None:
        """Back to WANTED, after a backoff."""
        if delete and entry.subscription_id:
            self.delete_later(entry.subscription_id, entry.event_instance_id)
        entry.state = SubscriptionState.WANTED
        entry.subscription_id, entry.e2_instance_id = "", 0
        entry.last_error, entry.refused = reason, False
        entry.due_at = self._phases.due_at(_cell(entry.request.key), self._clock() + self.backoff_s(entry.attempts))

    def backoff_s(self, attempts: int) -> float:
        longest = min(self._options.max_backoff_s, self._options.first_backoff_s * 2 ** min(attempts, 16))
        return longest * self._rng.uniform(0.5, 1.0)

    def is_to_be_posted(self, entry: Entry) -> bool:
        """Wanted, and not being deleted: the manager may still answer the equal body with the old id."""
        return entry.state is SubscriptionState.WANTED and all(
            removal.event_instance_id != entry.event_instance_id for removal in self.removals
        )

    def next_due_at(self) -> float:
        """When something may have to be done; infinity = nothing."""
        entries = self.entries.values()
        times = [
            *(removal.due_at for removal in self.removals),
            *(e.due_at for e in entries if e.state is SubscriptionState.ACCEPTED or self.is_to_be_posted(e)),
        ]
        return min(times, default=float("inf"))

    # -- what is to be deleted ---------------------------------------------------------------------------------------

    def delete_later(self, subscription_id: str, event_instance_id: int) -> None:
        self.removals.append(Removal(subscription_id, event_instance_id, self._clock()))

    def abandon(self, orphan: Orphan) -> None:
        """Nobody wants what was left behind."""
        self.orphans.remove(orphan)
        self.removals.append(
            Removal(orphan.subscription_id, orphan.event_instance_id, self._clock(), owner=orphan.owner)
        )

    def abandon_overdue(self) -> None:
        """Nor what nobody has asked for in all this time."""
        for orphan in [orphan for orphan in self.orphans if self._clock() >= orphan.delete_at]:
            self.abandon(orphan)

    # -- what others left behind -------------------------------------------------------------------------------------

    def take_over(self, found: list[Orphan]) -> list[Orphan]:
        """Enter what was found in shared data; returns those whose records are superfluous: ours says the same."""
        known = {(orphan.owner, orphan.event_instance_id) for orphan in self.orphans}
        known |= {(removal.owner, removal.event_instance_id) for removal in self.removals}
        ours = {body_digest(entry.body): entry for entry in self.entries.values()}
        settled = []
        for orphan in found:
            entry = ours.get(orphan.digest)
            if entry is None:
                if (orphan.owner, orphan.event_instance_id) not in known:
                    self.orphans.append(orphan)
                    if orphan.key in self.entries:  # wanted, but not like this
                        self.abandon(orphan)
            elif entry.subscription_id:
                settled.append(orphan)
            else:
                entry.adopted.append(orphan)
        return settled

    def _claim(self, request: SubscriptionRequest) -> tuple[int, dict[str, Any], list[Orphan]]:
        """An XappEventInstanceId and the body with it: an orphan's if the body is the same; then also the orphan, and
        whatever other record there is of it.
        """
        orphans = [orphan for orphan in self.orphans if orphan.key == request.key]
        for orphan in orphans:
            event_id = orphan.event_instance_id
            body = request_body(request, event_id, self._endpoint, self._options.directives)
            if body_digest(body) == orphan.digest and event_id not in self._by_event_id:
                self.counts["adopted"] += 1
                adopted = [each for each in orphans if each.digest == orphan.digest]
                break
        else:
            adopted = []
        for orphan in orphans:
            if orphan in adopted:
                self.orphans.remove(orphan)
            else:
                self.abandon(orphan)
        if adopted:
            return event_id, body, adopted
        used = {*self._by_event_id, *(orphan.event_instance_id for orphan in self.orphans)}
        used |= {removal.event_instance_id for removal in self.removals}
        free = next((i for i in range(1, MAX_EVENT_INSTANCE_ID + 1) if i not in used), None)
        if free is None:
            raise RuntimeError("more than 65535 subscriptions")
        return free, request_body(request, free, self._endpoint, self._options.directives), []


def _cell(key: SubscriptionKey) -> tuple[str, str]:
    """Whose subscriptions go together: both kinds of reports make one period."""
    return key.node, key.cell

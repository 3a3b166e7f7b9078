"""Operators' policies over A1: the mediator's requests (20010) in, answers (20011) and the query at start (20012) out.

Policies are kept in SDL and there again after a restart. What comes from the mediator replaces them; until it does, a
policy is in force as `restored`: the mediator may have deleted it while nobody was there to notice it.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from types import MappingProxyType
from typing import Any, NamedTuple

from xapp.a1.mediator_messages import Answer, BadRequest, PolicyRequest, decode_request, encode_answer
from xapp.a1.policy_model import POLICY_TYPE_ID, Policy, PolicyError, parse_policy
from xapp.a1.standard_types import StandardPolicy, parse_standard, parse_stored
from xapp.monitoring.metrics import Metrics
from xapp.ric.sdl import SharedStore
from xapp.rmr.transport import A1_POLICY_QUERY, A1_POLICY_RESPONSE, RmrMessage, Transport

log = logging.getLogger(__name__)

MAX_POLICIES = 256
MAX_WAITING = 256
"""Requests not yet worked on; more are dropped, and the mediator sends a policy again when it is asked."""
MAX_REFUSED = 20
"""Refused policies that are remembered, with their reasons."""
MAX_QUERY_PERIOD_S = 60.0
"""Queries without an answer become as rare as this: a mediator that has no policy of ours never answers."""
RETRY_STORE_S = 2.0
SAVE_BEFORE_ANSWERS_S = 1.0
"""So long policies that have come are written to SDL before the mediator is answered, a call that hangs not counted."""
IDLE_S = 3600.0
KEY = "policy/"
"""Prefix of the policies' keys in SDL."""
MARK = "policies"
"""A key that stands as long as the policies there are all, see `_take_over`."""


@dataclass(frozen=True, slots=True)
class HeldPolicy:
    """A policy in force."""

    policy: Policy
    restored: bool
    """It comes from SDL, and the mediator has not spoken of it since this xApp started."""


class _Answered(NamedTuple):
    """A request, and what came of it."""

    message: RmrMessage
    request: PolicyRequest
    answer: Answer


class A1Policies:
    """The policies in force. `on_message` is for the receive thread, `run_due` for the task runner, others for any."""

    def __init__(
        self,
        transport: Transport,
        store: SharedStore,
        metrics: Metrics,
        *,
        handler_id: str,
        on_change: Callable[[Mapping[str, Policy]], None],
        query_period_s: float,
        standard_types: Mapping[int, str] = MappingProxyType({}),
        wake: Callable[[], None] = lambda: None,
        shared: bool = False,
    ) -> None:
        """on_change: called with every new set of policies, before the mediator is answered. wake: makes `run_due` due.

        query_period_s: how soon the mediator is asked again, at first; 0 = it is never asked. standard_types: names of
        the policy types beside our own, by id. shared: other releases keep policies in the same place, of which the
        mediator's messages reach only one: what one has, all take over.
        """
        self._standard_types = standard_types
        self.wake = wake
        self._is_shared = shared
        self._transport, self._store, self._metrics = transport, store, metrics
        self._handler_id, self._on_change = handler_id, on_change
        self._query_period_s = query_period_s
        self._requests: deque[RmrMessage] = deque()
        self._lock = threading.Lock()
        self._held: dict[str, HeldPolicy] = {}
        self._received: set[str] = set()
        """Instances that the mediator has spoken of before SDL did: it knows better."""
        self._unsaved: dict[str, Policy | None] = {}
        """What has yet to be written to SDL; None = deleted."""
        self._refused: dict[str, str] = {}
        self._is_changed = False
        """What is held has changed since it was published."""
        self._is_restored = False
        self._all_unsaved = False
        self._is_answered = False
        self._is_stale = False
        self._query_at_s = 0.0

    def on_message(self, message: RmrMessage) -> None:
        """Take a 20010; it is worked on by `run_due`."""
        if len(self._requests) >= MAX_WAITING:
            self._metrics.drop("a1_queue_full")
            return
        self._requests.append(message)
        self.wake()

    @property
    def held(self) -> dict[str, HeldPolicy]:
        """By instance id."""
        with self._lock:
            return dict(self._held)

    @property
    def refused(self) -> dict[str, str]:
        """The newest policies that were refused and have not been put right, by instance id: why."""
        with self._lock:
            return dict(self._refused)

    @property
    def answered(self) -> bool:
        """Whether the mediator has sent anything since the start."""
        return self._is_answered

    def look_again(self) -> None:
        """Another instance was in charge meanwhile: take what it left in SDL, and ask the mediator. From any thread."""
        self._is_stale = True
        self.wake()

    def run_due(self) -> float:
        """Work on requests, restore, ask, save; seconds until the next time. May block for SDL."""
        if self._is_stale:  # before the requests: what they say is no older
            self._is_stale = self._is_restored = self._is_answered = False
            self._received.clear()
            self._unsaved.clear()
            self._query_at_s = 0.0
        answers = [self._take(self._requests.popleft()) for _ in range(len(self._requests))]
        if self._is_changed:
            self._publish()  # once for all of them: a change of many policies takes its time
        if self._store.healthy:
            # What is answered is kept, whatever happens next; a store that is away or slow delays no answer for long.
            self._save(give_up_at_s=time.monotonic() + SAVE_BEFORE_ANSWERS_S)
        for answer in answers:
            self._answer(answer)
        next_s = self._ask()
        if not self._is_restored:
            self._restore()
        self._save()
        if self._is_shared and self._is_restored and not self._unsaved:
            self._take_over()
        is_idle = self._is_restored and not self._unsaved and not self._is_shared
        return min(next_s, IDLE_S if is_idle else RETRY_STORE_S)

    # -- requests --------------------------------------------------------------------------------------------------

    def _take(self, message: RmrMessage) -> _Answered | None:
        try:
            request = decode_request(message.payload)
        except BadRequest as error:
            self._metrics.drop("a1_undecodable")
            log.warning("A1 request: %s", error)
            return None
        return _Answered(message, request, self._carry_out(request))

    def _answer(self, answered: _Answered | None) -> None:
        if answered is None:
            return
        message, request, answer = answered
        self._metrics.count(f"a1_{answer.lower()}")
        encoded = encode_answer(request, self._handler_id, answer)
        to_mediator = RmrMessage(A1_POLICY_RESPONSE, encoded)
        if not self._transport.reply(message, A1_POLICY_RESPONSE, encoded) and not self._transport.send(to_mediator):
            self._metrics.drop("a1_answer_not_sent")

    def _carry_out(self, request: PolicyRequest) -> Answer:
        name = request.instance_id
        standard = self._standard_types.get(request.type_id, "")
        if request.type_id != POLICY_TYPE_ID and not standard:
            expected = ", ".join(map(str, (POLICY_TYPE_ID, *self._standard_types)))
            return self._refuse(name, f"it is of type {request.type_id}, expected {expected}")
        self._is_answered = True
        if not self._is_restored:
            self._received.add(name)
        if request.operation == "DELETE":
            self._change(name, None)
            return Answer.DELETED
        try:
            if request.repeated:
                raise PolicyError(*request.repeated)
            policy = parse_standard(standard, request.payload) if standard else parse_policy(request.payload)
        except PolicyError as error:
            return self._refuse(name, f"{error}; what was in force stays")
        if name not in self._held and len(self._held) >= MAX_POLICIES:
            return self._refuse(name, f"there are {MAX_POLICIES} policies, expected at most so many")
        self._change(name, policy)
        return Answer.OK

    def _refuse(self, name: str, reason: str) -> Answer:
        log.warning("policy %s is refused: %s", name, reason)
        with self._lock:
            self._refused.pop(name, None)
            self._refused[name] = reason
            if len(self._refused) > MAX_REFUSED:
                del self._refused[next(iter(self._refused))]
        return Answer.ERROR

    def _change(self, name: str, policy: Policy | None) -> None:
        before = self._held.get(name)
        with self._lock:
            self._refused.pop(name, None)
            if policy is None:
                self._held.pop(name, None)
            else:
                self._held[name] = HeldPolicy(policy, restored=False)
        if policy == (before.policy if before else None):
            return  # said again
        log.info("policy %s: %s", name, "deleted" if policy is None else "in force")
        self._unsaved[name] = policy
        self._is_changed = True

    def _publish(self) -> None:
        self._is_changed = False
        self._on_change({name: held.policy for name, held in self._held.items()})

    # -- the mediator's memory, and SDL's ----------------------------------------------------------------------------

    def _ask(self) -> float:
        """Ask for all policies until one comes; seconds until the next time."""
        if self._is_answered or not self._query_period_s:
            return IDLE_S
        now_s = time.monotonic()
        if now_s >= self._query_at_s:
            sent = [self._query(type_id) for type_id in (POLICY_TYPE_ID, *self._standard_types)]
            if sent[0]:
                self._query_at_s = now_s + self._query_period_s
                self._query_period_s = min(2 * self._query_period_s, max(MAX_QUERY_PERIOD_S, self._query_period_s))
            else:
                self._query_at_s = now_s + min(1.0, self._query_period_s)  # no route yet
        return max(0.01, self._query_at_s - now_s)

    def _query(self, type_id: int) -> bool:
        """Ask for the policies of one type; the mediator that Python is written in routes by the type."""
        query = json.dumps({"policy_type_id": type_id}).encode()
        is_sent = self._transport.send(RmrMessage(A1_POLICY_QUERY, query))
        self._metrics.count("a1_queries_sent", int(is_sent))
        return is_sent

    def _restore(self) -> None:
        """Bring back what SDL holds, once it answers."""
        found = self._store.find(KEY)
        if not self._store.answered:
            return
        self._is_restored = True
        held = {name: held for name, held in self._held.items() if name in self._received}
        for key, value in sorted(found.items()):
            name = key.removeprefix(KEY)
            policy = _stored_policy(name, value)
            if policy is None:
                self._metrics.drop("a1_stored_policy_unreadable")
            elif name in self._received:
                if name not in held:
                    self._unsaved.setdefault(name, None)  # deleted before anybody knew that it was there
            elif len(held) < MAX_POLICIES:
                held[name] = HeldPolicy(policy, restored=True)
            else:
                self._refuse(name, f"there are {MAX_POLICIES} policies, expected at most so many")
        if held != self._held:
            log.info("policies restored: %s", ", ".join(name for name in held if name not in self._received) or "none")
            with self._lock:
                self._held = held
            self._publish()
        self._received.clear()

    def _take_over(self) -> None:
        """What other releases have put into SDL, and deleted there. Lost data are no deletion: they lack the mark."""
        found, answered = self._store.find(KEY), self._store.answered
        mark = self._store.get(MARK)
        if not answered or not self._store.answered:
            return
        if mark is None:
            self.save_again()
            return
        stored = {key.removeprefix(KEY): value for key, value in sorted(found.items())[:MAX_POLICIES]}
        held = {name: each for name, each in self._held.items() if name in stored}
        for name, value in stored.items():
            policy = _stored_policy(name, value)
            if policy is not None and (name not in held or held[name].policy != policy):
                held[name] = HeldPolicy(policy, restored=True)
        if held != self._held:
            log.info("policies of all releases: %s", ", ".join(held) or "none")
            with self._lock:
                self._held = held
            self._publish()

    def save_again(self) -> None:
        """Shared data were lost: save every policy once more. From any thread."""
        self._all_unsaved = True
        self.wake()

    def _save(self, give_up_at_s: float = inf) -> None:
        """Write what has yet to be written, until `give_up_at_s` (time.monotonic)."""
        is_all = self._all_unsaved and self._is_restored  # before, what is held may be older than what is stored
        if is_all:
            self._all_unsaved = False
            self._unsaved = {**{name: held.policy for name, held in self._held.items()}, **self._unsaved}
        for name, policy in list(self._unsaved.items()):
            if time.monotonic() >= give_up_at_s:
                return
            key = KEY + name
            done = self._store.delete(key) if policy is None else self._store.set(key, policy.stored)
            if not done:
                self._unsaved[name] = self._unsaved.pop(name)  # one that cannot be kept holds up no other for good
                return
            del self._unsaved[name]
        if is_all and self._is_shared:
            self._store.set(MARK, True)


def _stored_policy(name: str, value: Any) -> Policy | None:
    try:
        stored = parse_stored(value)
        return stored if isinstance(stored, StandardPolicy) else parse_policy(json.dumps(stored))
    except (PolicyError, ValueError, RecursionError) as error:
        # ValueError: what SDL's JSON could hold and ours cannot; RecursionError: nested without end.
        log.warning("stored policy %s is passed over: %s", name, error)
        return None

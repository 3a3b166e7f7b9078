"""What encoders of quotas (RC) and of slices' shares (CCC) have in common: the book of what each UE or slice, its
subjects, was sent, under a lock, and how many controls are under way. What their controls say is their own.
"""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Generic, TypeVar

from policy.allocation import Allocation
from xapp.control.encoder import ControlEncoder, ControlMessage, DecisionContext, SendContext
from xapp.e2.dcm.messages import Carrier
from xapp.quotas.allocation_to_quota import RELEASED, Quota, QuotaRules
from xapp.quotas.quota_book import Order, QuotaBook

Settings = TypeVar("Settings")
Kept = TypeVar("Kept")
"""What is kept of a subject, so that the next instance finds it."""


class BookEncoder(ControlEncoder, Generic[Settings, Kept]):
    """One node's. Thread safe."""

    kept_as: ClassVar[str]
    """What recordings call the ids that `kept` is told."""

    def __init__(
        self,
        settings: Settings,
        rules: QuotaRules,
        *,
        on_change: Callable[[], None] = lambda: None,
        on_call: Callable[[str, dict[str, Any]], None] = lambda call, in_force: None,
    ) -> None:
        """on_change: called whenever `to_keep` has changed; it must not block.

        on_call: called for every call that changes anything, in the order in which they do: from these, and the
        decisions, all that this encoder ever wrote can be made again. Neither may block.
        """
        self._settings = settings
        self._rules = rules
        self._on_change = on_change
        self._on_call = on_call
        self._lock = threading.Lock()
        self._book = QuotaBook(rules, self._released)
        self._in_flight = 0
        self._kept: frozenset[int] = frozenset()

    # -- what differs ------------------------------------------------------------------------------------------------

    @abstractmethod
    def take(self, cell: str, allocation: Allocation, context: DecisionContext, now_s: float) -> None:
        """The first half of `encode`."""

    @abstractmethod
    def restore(self, left_behind: Iterable[Kept]) -> None:
        """What an earlier instance left limited: it is given back before anything else."""

    @abstractmethod
    def to_keep(self) -> dict[int, Kept]:
        """What must be found again after a crash, by subject."""

    @abstractmethod
    def _message(self, order: Order, send_context: SendContext) -> ControlMessage:
        """Locked, as are all of these."""

    def _released(self, subject: int) -> Quota:
        """What a subject has that nobody limits."""
        return RELEASED

    def _room(self) -> int:
        """Controls that may be under way beside those that are."""
        return 1 - self._in_flight

    def _settings_changed(self) -> None: ...

    def _given_back(self, cell: str) -> None: ...

    def _taken(self, subject: int, accepted: bool | None, *, echoed: bool) -> None:
        """An answer has come, or is late."""

    # -- what does not -----------------------------------------------------------------------------------------------

    def use_settings(self, settings: Settings) -> None:
        """What the node takes, from now on: as its reports show, as it is configured, or listed anew by a node that
        came back.
        """
        with self._lock:
            if settings != self._settings:
                self._on_call("settings", {"settings": settings})
                self._settings = settings
                self._settings_changed()

    def encode(
        self, cell: str, carrier: Carrier, allocation: Allocation, context: DecisionContext, send_context: SendContext
    ) -> Sequence[ControlMessage]:
        """Take over what one more decision asks; what is due now."""
        self.take(cell, allocation, context, send_context.now_s)
        return self.due(send_context)

    def release(self, cell: str, carrier: Carrier, send_context: SendContext) -> Sequence[ControlMessage]:
        """Give back to everybody in the cell what they had before."""
        self.give_back(cell)
        return self.due(send_context)

    def give_back(self, cell: str) -> None:
        """The first half of `release`."""
        with self._lock:
            self._on_call("release", {"cell": cell})
            self._book.release(cell)
            self._given_back(cell)

    def due(self, send_context: SendContext, *, closing: bool = False) -> Sequence[ControlMessage]:
        """What may be sent now: as many as the rate and the answers that are still due allow."""
        with self._lock:
            if closing:
                self._book.release()
            orders = self._book.due(send_context.now_s, self._room(), unhurried=not closing)
            self._in_flight += len(orders)
            messages = [self._message(order, send_context) for order in orders]
            if messages or closing:
                self._on_call("due", {"now_s": send_context.now_s, "closing": closing, "messages": messages})
            return messages

    def answered(self, subject: int, accepted: bool | None, *, echoed: bool, now_s: float) -> None:
        """The node took what it was sent, refused it, or did not say."""
        with self._lock:
            in_force = {"subject": subject, "accepted": accepted, "echoed": echoed, "now_s": now_s}
            self._on_call("answered", in_force)
            self._in_flight = max(0, self._in_flight - 1)
            self._book.on_answer(subject, accepted, now_s)
            self._taken(subject, accepted, echoed=echoed)
            changed = self._keeps_other
        if changed:
            self._on_change()

    def not_sent(self, subject: int) -> None:
        """It is due again at once, and nothing has changed."""
        with self._lock:
            self._on_call("not_sent", {"subject": subject})
            self._in_flight = max(0, self._in_flight - 1)
            self._book.not_sent(subject)

    def doubt(self) -> None:
        """The node was away, and may have started over: what holds there is not known any more."""
        with self._lock:
            self._on_call("doubt", {})
            self._book.doubt()

    def kept(self, subjects: frozenset[int]) -> None:
        """Exactly these are kept now: they may be limited."""
        with self._lock:
            self._on_call("kept", {self.kept_as: subjects})
            self._kept = subjects
            self._book.kept(subjects)

    @property
    def _keeps_other(self) -> bool:
        """What is to be kept is not what is. Locked."""
        return self._book.to_keep() != self._kept

    @property
    def limited(self) -> int:
        """Subjects that may be limited."""
        with self._lock:
            return len(self._book.limited)

    @property
    def waiting(self) -> int:
        """Controls that are to be sent later."""
        with self._lock:
            return self._book.waiting

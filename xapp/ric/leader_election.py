"""Which of several instances of this xApp controls (a rolling update): the youngest, by epoch; the others stand by.

Each instance writes `instance/<id>` into SDL, with its epoch, its role and a beat that goes on for as long as it lives.
A new one claims an epoch above all others, waits until every older one is in standby (it says so, or its beat has
stopped), and then begins; so at no time two of them send. An older one that finds a younger one enters standby for
good, unless every younger one is gone: then it claims a new epoch.

Clocks are compared nowhere: epochs grow because each is claimed above what SDL holds, beats count. Without SDL there is
nobody to agree with: an instance controls, until a node refuses it for a younger one's sake. Whom a node refuses while
nobody younger can be seen comes back, with a higher epoch, after a while: see xapp.ric.comeback.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from enum import Enum
from typing import Any, NamedTuple

from xapp.ric.comeback import Comeback
from xapp.ric.sdl import SharedStore

log = logging.getLogger(__name__)

EPOCH_KEY = "epoch"
INSTANCE_PREFIX = "instance/"
BEAT_S = 0.5
GONE_S = 3.0
"""An instance whose beat has stood still for this long is gone."""
MAX_EPOCH = 2**63 - 1
"""A larger number in shared data is no epoch: controls have eight octets for it."""
FORGET_S = 60.0
"""The record of an instance that is gone is deleted after this."""


class Role(Enum):
    WAITING = "waiting"
    """An older instance has this long to enter standby."""
    CONTROL = "control"
    SHADOW = "shadow"
    """A younger instance is there: decide, but send nothing."""


class _Other(NamedTuple):
    """Another instance as last seen."""

    epoch: int
    role: str
    beat: int
    seen_s: float
    """When the beat was last found to have gone on."""


class LeaderElection:
    """`run` is a task; it and the constructor may block for SDL's time-out. `on_role` is called with each new role by
    the thread that calls `run`, before the other instances can read of it.
    """

    def __init__(
        self,
        store: SharedStore,
        *,
        on_role: Callable[[Role], None] = lambda role: None,
        clock: Callable[[], float] = time.monotonic,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._store = store
        self.on_role = on_role
        self._clock = clock
        self._now_ns = now_ns
        self._others: dict[str, _Other] = {}
        self._beat = 0
        self._refused = False
        self._comeback = Comeback(clock)
        self._silent_since_s: float | None = None
        self.epoch = self._claim()
        self.id = str(self.epoch)
        """Names this instance for its whole life, whatever epochs it claims later."""
        self.role = Role.WAITING if store.is_shared else Role.CONTROL

    def refused(self) -> None:
        """A node refused this epoch for a younger one. From any thread; takes effect at the next `run`."""
        self._refused = True

    def run(self) -> float:
        """Look around, change the role if it is time, say so. Seconds until the next time."""
        if not self._store.is_shared:
            self._come_back_alone()
            return BEAT_S
        # Of two that start at once, one at least reads of the other: nobody looks before it has written its own entry.
        if not self._beat and not self._report():
            self._without_sdl()
            return BEAT_S
        found = self._store.find(INSTANCE_PREFIX)
        if not self._store.answered:
            self._without_sdl()
            return BEAT_S
        self._silent_since_s = None
        self._look(found)
        self._decide()
        if f"{INSTANCE_PREFIX}{self.id}" not in found:
            self._store.set(EPOCH_KEY, self.epoch)  # Redis started over, empty
        self._report()
        return BEAT_S

    def leave(self) -> None:
        """This instance ends: the next one need not wait. Blocks for a time-out."""
        if self._store.is_shared:
            self._store.delete(f"{INSTANCE_PREFIX}{self.id}")

    def status(self) -> dict[str, Any]:
        """`role`, `epoch`, how many others were seen alive, and whether it stands by because a node refused it."""
        return {
            "role": self.role.value,
            "epoch": self.epoch,
            "others": len(self._alive()),
            "refused": self.is_refused,
        }

    @property
    def is_refused(self) -> bool:
        """It stands by because a node refused its epoch, and not because a younger instance was seen."""
        return self.role is Role.SHADOW and self._comeback.pending

    def _claim(self, least: int = 0) -> int:
        """An epoch above every one that SDL knows of."""
        stored = self._store.get(EPOCH_KEY)
        highest = stored if isinstance(stored, int) and stored < MAX_EPOCH else 0
        epoch = min(MAX_EPOCH, max(self._now_ns(), highest + 1, least))
        self._store.set(EPOCH_KEY, epoch)
        return epoch

    def _report(self) -> bool:
        """One beat more, for the others to read."""
        self._beat += 1
        host = os.environ.get("HOSTNAME", "")
        record = {"epoch": self.epoch, "role": self.role.value, "beat": self._beat, "host": host, "pid": os.getpid()}
        if self._store.set(f"{INSTANCE_PREFIX}{self.id}", record):
            return True
        self._beat -= 1
        return False

    def _look(self, found: dict[str, Any]) -> None:
        now_s = self._clock()
        others = {}
        for key, record in found.items():
            name = key.removeprefix(INSTANCE_PREFIX)
            if name == self.id or not isinstance(record, dict):
                continue
            epoch, beat = record.get("epoch"), record.get("beat")
            if not isinstance(epoch, int) or not isinstance(beat, int) or epoch > MAX_EPOCH:
                continue
            before = self._others.get(name)
            seen_s = before.seen_s if before is not None and before.beat == beat else now_s
            others[name] = _Other(epoch, str(record.get("role")), beat, seen_s)
            if now_s - seen_s > FORGET_S:
                self._store.delete(key)
        self._others = others

    def _alive(self) -> list[_Other]:
        now_s = self._clock()
        return [other for other in self._others.values() if now_s - other.seen_s <= GONE_S]

    def _decide(self) -> None:
        alive = self._alive()
        if self._refused:
            self._stand_by_refused(was_asked=True)
        if any(other.epoch > self.epoch for other in alive):
            was_refused = self.is_refused
            self._comeback.explained()
            self._become(Role.SHADOW)
            if was_refused:
                self.on_role(Role.SHADOW)  # once more: now there is somebody who speaks in its place
        elif self.role is Role.SHADOW:
            # Nobody younger is left, or a node knows of one that SDL does not: begin again, above everybody.
            if self._comeback.is_due:
                self.epoch = self._claim(self.epoch + self._comeback.begin())
                self._become(Role.WAITING)
        elif self.role is Role.WAITING and all(other.role == Role.SHADOW.value for other in alive):
            self._become(Role.CONTROL)

    def _without_sdl(self) -> None:
        """Nobody can be asked. Who controls goes on, who waits begins after a while; a node's refusal is believed."""
        now_s = self._clock()
        if self._silent_since_s is None:
            self._silent_since_s = now_s
        self._come_back_alone()
        if self.role is Role.WAITING and now_s - self._silent_since_s > GONE_S:
            self._become(Role.CONTROL)

    def _come_back_alone(self) -> None:
        """Nobody can be asked whether a refusal is right."""
        if self._refused:
            self._stand_by_refused(was_asked=False)
        elif self.is_refused and self._comeback.is_due:
            self.epoch = self._claim(self.epoch + self._comeback.begin())
            self._become(Role.CONTROL)

    def _stand_by_refused(self, *, was_asked: bool) -> None:
        self._refused = False
        self._comeback.refused(was_asked=was_asked)
        self._become(Role.SHADOW)

    def _become(self, role: Role) -> None:
        if role is self.role:
            return
        log.warning("this instance (epoch %d): %s, was %s", self.epoch, role.value, self.role.value)
        self.role = role
        self.on_role(role)

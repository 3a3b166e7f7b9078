"""Shared data that outlives this process: a small JSON store over the platform's SDL.

Redis when DBAAS_SERVICE_HOST is set, else in memory. SDL sets no time-outs, so calls run in a thread of their own and
are given up after `timeout_s`. Nothing raises: what went wrong is counted and makes `healthy` false until a call
succeeds. Never call it in the decision path.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from xapp.platform.redis_sdl import is_refusal, open_sdl

log = logging.getLogger(__name__)

NAMESPACE = "stackmac"
VALUE_VERSION = 1
"""Values of another version are ignored: they belong to another release of this xApp."""
MAX_WAITING = 64
"""Calls waiting for a Redis that does not answer; more are refused."""

Value = TypeVar("Value")


class _Job(Generic[Value]):
    """One call on its way through the worker."""

    def __init__(self, call: Callable[[Any], Value]) -> None:
        self.call = call
        self.done = threading.Event()
        self.abandoned = False
        self.result: Value | None = None
        self.error: Exception | None = None


class SharedStore:
    """Thread safe. `environ` decides between Redis and memory, as ricsdl reads it at the first use."""

    def __init__(
        self, namespace: str = NAMESPACE, *, timeout_s: float = 2.0, environ: Mapping[str, str] | None = None
    ) -> None:
        self.namespace = namespace
        self.timeout_s = timeout_s
        environ = os.environ if environ is None else environ
        self.is_shared = bool(environ.get("DBAAS_SERVICE_HOST"))
        """Whether Redis is behind it; False = in memory, for this process only."""
        self.healthy = True
        """Whether the newest call of any thread got an answer; that a write is refused is one."""
        self.takes_writes = True
        """Whether the newest write was taken: a replica, or a Redis that is full, reads and refuses to write."""
        self._own = threading.local()
        self._databases = len(environ.get("DBAAS_CLUSTER_ADDR_LIST", "").split(","))
        self._received: dict[tuple[str, str], list[str]] = {}
        self._lock = threading.Lock()
        """Around the counts and `healthy`, which every caller's thread changes."""
        self._counts: Counter[str] = Counter()
        self._jobs: queue.Queue[_Job[Any] | None] = queue.Queue(MAX_WAITING)
        self._thread = threading.Thread(target=self._run, name="sdl", daemon=True)
        self._thread.start()

    @property
    def answered(self) -> bool:
        """Whether this thread's newest call got an answer: "nothing is there" and "nobody answers" look alike."""
        return bool(getattr(self._own, "answered", True))

    @property
    def counters(self) -> dict[str, int]:
        """Calls that worked (`ok`), were refused (`refused`), failed (`error`), took too long (`timeout`), found
        nonsense (`unreadable`).
        """
        with self._lock:
            return dict(self._counts)

    def set(self, key: str, value: object) -> bool:
        """Store a JSON value; False if that failed."""
        data = json.dumps({"version": VALUE_VERSION, "value": value}, separators=(",", ":")).encode()
        return self._write(lambda sdl: sdl.set(self.namespace, key, data, usemsgpack=False))

    def get(self, key: str) -> Any:
        """The JSON value, or None: not there, not readable, or no answer."""
        return self._parse(key, self._call(lambda sdl: sdl.get(self.namespace, key, usemsgpack=False)))

    def find(self, prefix: str) -> dict[str, Any]:
        """All values whose keys start with `prefix`."""
        found = self._call(lambda sdl: sdl.find_and_get(self.namespace, prefix, usemsgpack=False)) or {}
        values = {key: self._parse(key, data) for key, data in found.items()}
        return {key: value for key, value in values.items() if value is not None}

    def delete(self, key: str) -> bool:
        """Remove a key (or nothing); False if that failed."""
        return self._write(lambda sdl: sdl.delete(self.namespace, key))

    def raw(self, namespace: str, key: str) -> bytes | None:
        """Another component's value; None: not there, or no answer."""
        data = self._call(lambda sdl: sdl.get(namespace, key, usemsgpack=False))
        return data if isinstance(data, bytes) else None

    def members(self, namespace: str, group: str) -> frozenset[bytes] | None:
        """Another component's set; None: no answer."""
        return self._call(lambda sdl: frozenset(sdl.get_members(namespace, group, usemsgpack=False)))

    def events(self, namespace: str, channel: str) -> list[str]:
        """What another component has published on its channel since the last call; the first call subscribes.

        Nothing if there is no answer: a channel is news, not memory.
        """
        return self._call(lambda sdl: self._channel(sdl, namespace, channel)) or []

    def close(self, timeout_s: float | None = None) -> None:
        """End the thread once its work is done; not waiting longer than a time-out, of a call where none is given."""
        limit_s = self.timeout_s if timeout_s is None else timeout_s
        give_up_at = time.monotonic() + limit_s
        try:
            self._jobs.put(None, timeout=limit_s)
        except queue.Full:
            return  # it hangs in Redis; a daemon thread does not hold up the exit
        self._thread.join(max(0.0, give_up_at - time.monotonic()))

    def _channel(self, sdl: Any, namespace: str, channel: str) -> list[str]:
        """In the store's own thread."""
        received = self._received.get((namespace, channel))
        if received is None:
            received = []
            sdl.subscribe_channel(namespace, lambda _, events: received.extend(events), channel)
            self._received[namespace, channel] = received
        # One call hears one of the databases of a cluster: all of them in turn, until none has anything left.
        silent = 0
        while silent < self._databases:
            silent = 0 if sdl.handle_events() else silent + 1
        events, received[:] = list(received), []
        return events

    def _parse(self, key: str, data: object) -> Any:
        if data is None:
            return None
        try:
            document = json.loads(data)  # type: ignore[arg-type]
            if document["version"] != VALUE_VERSION:
                raise ValueError(f"version {document['version']!r}")
            return document["value"]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            with self._lock:
                self._counts["unreadable"] += 1
            log.warning("shared data %s/%s ignored: %s", self.namespace, key, error)
            return None

    def _write(self, write: Callable[[Any], object]) -> bool:
        if self._call(lambda sdl: (write(sdl), True)[1], is_write=True):
            with self._lock:
                was_taking, self.takes_writes = self.takes_writes, True
            if not was_taking:
                log.info("shared data layer: takes writes again")
            return True
        return False

    def _call(self, call: Callable[[Any], Value], *, is_write: bool = False) -> Value | None:
        job = _Job(call)
        self._own.answered = False
        give_up_at = time.monotonic() + self.timeout_s
        try:
            self._jobs.put(job, timeout=self.timeout_s)
            answered = job.done.wait(max(0.0, give_up_at - time.monotonic()))
        except queue.Full:
            answered = False
        if not answered:
            job.abandoned = True
            self._failed("timeout", f"no answer within {self.timeout_s} s")
            return None
        if job.error is not None:
            if is_write and is_refusal(job.error):
                self._refused(str(job.error))
            else:
                self._failed("error", str(job.error))
            return None
        self._own.answered = True
        if not self._count("ok", healthy=True):
            log.info("shared data layer: back")
        return job.result

    def _failed(self, kind: str, reason: str) -> None:
        if self._count(kind, healthy=False):
            log.warning("shared data layer: %s", reason)

    def _refused(self, reason: str) -> None:
        """There was an answer, and it is no."""
        self._count("refused", healthy=True)
        with self._lock:
            was_taking, self.takes_writes = self.takes_writes, False
        if was_taking:
            log.warning("shared data layer refuses: %s", reason)

    def _count(self, kind: str, *, healthy: bool) -> bool:
        """Count one call; whether the store was healthy before it."""
        with self._lock:
            self._counts[kind] += 1
            was_healthy, self.healthy = self.healthy, healthy
            return was_healthy

    def _run(self) -> None:
        sdl = None
        while (job := self._jobs.get()) is not None:
            if job.abandoned:
                continue
            try:
                if sdl is None:
                    sdl = open_sdl(is_shared=self.is_shared)
                job.result = job.call(sdl)
            except Exception as error:  # ricsdl lets Redis', sockets' and its own errors through
                job.error = error
            job.done.set()

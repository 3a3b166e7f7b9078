"""The alarm manager's stand-in: takes alarms over RMR and keeps those that are raised.

Unlike the real one it asks for no definitions.
"""

from __future__ import annotations

import json
import logging
import threading
from typing import Any

from xapp.lab.counters import Counters
from xapp.rmr.si95 import Si95Transport

logger = logging.getLogger(__name__)

IDENTITY = ("managedObjectId", "applicationId", "specificProblem", "identifyingInfo")
"""Two alarms that agree in these are one."""


class AlarmManager:
    """Listens from when it is made until it is closed."""

    def __init__(self, counters: Counters, host: str, port: int) -> None:
        self._counters = counters
        self._transport = Si95Transport(host, port)
        self.port = self._transport.port
        self._lock = threading.Lock()
        self._active: dict[tuple[Any, ...], dict[str, Any]] = {}
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alarms", daemon=True)
        self._thread.start()

    def active(self) -> list[dict[str, Any]]:
        """The raised alarms, as they were sent."""
        with self._lock:
            return list(self._active.values())

    def close(self) -> None:
        self._closed.set()
        self._thread.join(2.0)
        self._transport.close()

    def _run(self) -> None:
        while not self._closed.is_set():
            message = self._transport.receive(0.2)
            if message is None:
                continue
            try:
                self._take(json.loads(message.payload))
            except (ValueError, TypeError, KeyError) as error:
                self._counters.add("alarm_malformed")
                logger.warning("alarm: %r: %s", message.payload[:100], error)

    def _take(self, alarm: dict[str, Any]) -> None:
        key, action = tuple(alarm[name] for name in IDENTITY), alarm["AlarmAction"]
        with self._lock:
            if action == "RAISE":
                self._active[key] = alarm
            elif action == "CLEAR":
                self._active.pop(key, None)
            else:
                raise ValueError(f"AlarmAction {action!r}")
        self._counters.add(f"alarm_{action.lower()}")

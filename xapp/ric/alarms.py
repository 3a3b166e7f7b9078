"""Alarms: conditions that last become RMR messages to the platform's alarm manager, raised once and cleared once.

`Alarms.run` is a task: it takes what fails (`observe`) and sends what is due. A condition must last `raise_after_s`
to be raised and be gone for `clear_after_s` to be cleared. What is raised is sent again every REMIND_S, as the manager
may have restarted: it drops duplicates itself.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from xapp.rmr.routes import RouteTable, is_endpoint
from xapp.rmr.si95 import Si95Transport
from xapp.rmr.transport import RmrMessage

log = logging.getLogger(__name__)

MANAGED_OBJECT = "RIC"
"""managedObjectId of everything that an xApp says."""
REMIND_S = 300.0
NO_DESTINATION = "alarm_without_destination"
"""The counter of alarms that nobody takes: a platform may do without an alarm manager, so they are no lost messages."""


class Problem(Enum):
    """What can fail: number (specificProblem), severity, how long before it is raised and cleared, text, what to do."""

    NO_REPORTS = (
        83001,
        "MAJOR",
        10.0,
        5.0,
        "STACKMAC GETS NO REPORTS OF A CELL",
        "See E2 node, subscription and routes: stackmac doctor",
    )
    CONTROL_FAILING = (
        83002,
        "MAJOR",
        10.0,
        10.0,
        "STACKMAC'S CONTROLS ARE REFUSED OR NOT ANSWERED",
        "See the causes in stackmac_dropped_total; the cells are left to the node's own scheduler",
    )
    MODEL_FAILING = (
        83003,
        "MINOR",
        10.0,
        10.0,
        "STACKMAC'S MODEL DECIDES LESS THAN HALF OF THE TIME",
        "See the reasons in stackmac_decisions_total and the CPU limit; a classical schedule takes the model's place",
    )
    SDL_DOWN = (
        83004,
        "MINOR",
        10.0,
        5.0,
        "STACKMAC CANNOT REACH THE SHARED DATA LAYER",
        "See the database service; control goes on, what is known is not kept",
    )
    OVERLOADED = (
        83005,
        "MINOR",
        5.0,
        5.0,
        "STACKMAC HAS MORE CELLS THAN IT CAN DECIDE ABOUT IN A PERIOD",
        "Give it more CPU, a longer period, or fewer cells: nodes can be shared out among several releases",
    )
    PACER_STANDS_STILL = (
        83010,
        "CRITICAL",
        0.0,
        5.0,
        "STACKMAC DECIDES NOTHING ANY MORE",
        "Restart the xApp, and keep its log; its cells were released to the node's own scheduler",
    )
    LEADER_NOT_ASKED = (
        83011,
        "MINOR",
        0.0,
        5.0,
        "STACKMAC'S LEADER IS NOT ASKED ANY MORE, OR NOT FOR A WHILE",
        "See the reasons in stackmac_decisions_total and the log; a classical schedule takes the leader's place",
    )
    STANDING_BY = (
        83012,
        "MAJOR",
        1.0,
        5.0,
        "STACKMAC STANDS BY: A NODE REFUSED ITS EPOCH AND NO YOUNGER INSTANCE IS SEEN",
        "See who else controls the node, whose clock was set back, who may send to the RMR port; it comes back itself",
    )
    ROUTES_FROM_ELSEWHERE = (
        83013,
        "MAJOR",
        0.0,
        0.0,
        "STACKMAC WAS SENT ROUTE TABLES BY A SECOND SOURCE",
        "See whether the route manager has moved; if not, set controls.rmr.route_sources or the chart's networkPolicy",
    )
    LEADER_HARMFUL = (
        83015,
        "MAJOR",
        0.0,
        5.0,
        "STACKMAC'S LEADER MADE A CELL WORSE",
        "See GET /ric/v1/guard; the node's own scheduler decides there: another leader, then stackmac guard reset CELL",
    )
    TASK_FAILING = (
        83021,
        "MINOR",
        0.0,
        10.0,
        "A PERIODIC TASK OF STACKMAC FAILS",
        "See task_failures in its status, and its log: it is a bug, and costs nothing but what that task does",
    )

    @property
    def number(self) -> int:
        return self.value[0]

    @property
    def severity(self) -> str:
        return self.value[1]

    @property
    def raise_after_s(self) -> float:
        return self.value[2]

    @property
    def clear_after_s(self) -> float:
        return self.value[3]

    @property
    def text(self) -> str:
        return self.value[4]

    @property
    def what_to_do(self) -> str:
        return self.value[5]


class Failing(NamedTuple):
    """A condition that holds now."""

    problem: Problem
    what: str
    """identifyingInfo: which cell, node, ... Two alarms with another `what` are two alarms."""
    more: str = ""
    """additionalInfo."""


class Active(NamedTuple):
    """A raised alarm."""

    problem: Problem
    what: str
    more: str
    since_ms: int
    """Unix time."""


@dataclass(slots=True)
class _State:
    """Of one (problem, what). Unknown at first: an earlier run may have raised it."""

    more: str = ""
    failing: bool = False
    since_s: float = 0.0
    """Since when `failing` is what it is."""
    raised: bool | None = None
    """What was sent to the manager; None = nothing yet by this run."""
    raised_ms: int = 0
    reported_s: float = 0.0


class Alarms:
    """Thread safe. `send` hands a message to RMR without blocking; False is tried again at the next `run`."""

    def __init__(
        self,
        send: Callable[[RmrMessage], bool],
        *,
        application: str,
        message_type: int,
        clock: Callable[[], float] = time.monotonic,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._send = send
        self._application = application
        self._message_type = message_type
        self._clock = clock
        self._now_ms = now_ms
        self._lock = threading.Lock()
        self._states: dict[tuple[Problem, str], _State] = {}
        self.raised = 0
        """Alarms raised so far, each once however often it was sent."""

    def observe(self, failing: Iterable[Failing], *, healthy: Iterable[tuple[Problem, str]] = ()) -> None:
        """What fails now; everything else does not. `healthy`: what is known not to, so that an alarm of an earlier run
        is cleared.
        """
        now_s = self._clock()
        with self._lock:
            holds = {(each.problem, each.what): each.more for each in failing}
            for key in (*holds, *healthy):
                self._states.setdefault(key, _State(since_s=now_s))
            for key, state in self._states.items():
                if (key in holds) is not state.failing:
                    state.failing, state.since_s = key in holds, now_s
                state.more = holds.get(key, state.more)

    def run(self) -> None:
        """Raise, clear and repeat what is due. Never raises."""
        now_s = self._clock()
        with self._lock:
            for (problem, what), state in list(self._states.items()):
                lasted_s = now_s - state.since_s
                if state.failing and lasted_s >= problem.raise_after_s:
                    if not state.raised or now_s - state.reported_s >= REMIND_S:
                        self._report("RAISE", problem, what, state, now_s)
                elif not state.failing and lasted_s >= problem.clear_after_s and state.raised is not False:
                    self._report("CLEAR", problem, what, state, now_s)

    def active(self) -> list[Active]:
        """What is raised and not cleared."""
        with self._lock:
            return [
                Active(problem, what, state.more, state.raised_ms)
                for (problem, what), state in self._states.items()
                if state.raised
            ]

    def lasting(self) -> dict[str, int]:
        """By problem, in lower case: conditions that have lasted long enough to be raised, whether or not there is a
        manager who takes alarms.
        """
        now_s = self._clock()
        counts = {problem.name.lower(): 0 for problem in Problem}
        with self._lock:
            for (problem, _), state in self._states.items():
                is_due = state.failing and now_s - state.since_s >= problem.raise_after_s
                counts[problem.name.lower()] += is_due or bool(state.raised)
        return counts

    def clear_all(self) -> None:
        """This xApp stops: what it has raised is over."""
        with self._lock:
            for (problem, what), state in self._states.items():
                if state.raised:
                    self._report("CLEAR", problem, what, state, self._clock())
            self._states.clear()

    def forget(self) -> None:
        """Another instance of this xApp speaks for it now: say nothing more."""
        with self._lock:
            self._states.clear()

    def _report(self, action: str, problem: Problem, what: str, state: _State, now_s: float) -> None:
        """Locked."""
        now_ms = self._now_ms()
        message = alarm_message(self._application, problem, what, state.more, action, now_ms)
        payload = json.dumps(message).encode()
        if not self._send(RmrMessage(self._message_type, payload, without_route=NO_DESTINATION)):
            return
        raises = action == "RAISE"
        if raises and not state.raised:
            log.error("alarm: %s (%s) %s", problem.text, what, state.more)
            state.raised_ms = now_ms
            self.raised += 1
        elif not raises and state.raised:
            log.warning("alarm cleared: %s (%s)", problem.text, what)
        state.raised, state.reported_s = raises, now_s


def alarm_message(
    application: str, problem: Problem, what: str, more: str, action: str, time_ms: int
) -> dict[str, Any]:
    """What the alarm manager takes; `action`: RAISE or CLEAR."""
    return {
        "managedObjectId": MANAGED_OBJECT,
        "applicationId": application,
        "specificProblem": problem.number,
        "perceivedSeverity": problem.severity if action == "RAISE" else "CLEARED",
        "identifyingInfo": what,
        "additionalInfo": more,
        "AlarmAction": action,
        "AlarmTime": time_ms,
    }


def alarm_definitions() -> dict[str, Any]:
    """What POST /ric/v1/alarms/define wants: the manager suppresses alarms that nobody has defined."""
    return {
        "alarmdefinitions": [
            {
                "alarmId": problem.number,
                "alarmText": problem.text,
                "eventType": "Processing error",
                "operationInstructions": problem.what_to_do,
                "raiseDelay": 0,
                "clearDelay": 0,
                "timeToLive": 0,
            }
            for problem in Problem
        ]
    }


class AlarmLine:
    """Where alarms go: straight to the manager that ALARM_MGR_SERVICE_NAME and _PORT name, else by the route table.

    A connection of its own, as no route table need know of the manager.
    """

    def __init__(self, by_route: Callable[[RmrMessage], bool], message_type: int, environ: Mapping[str, str]) -> None:
        name, port = environ.get("ALARM_MGR_SERVICE_NAME", ""), environ.get("ALARM_MGR_SERVICE_PORT", "")
        self.manager = f"{name}:{port}" if name and is_endpoint(f"{name}:{port}") else ""
        if name and not self.manager:
            log.warning("no alarm manager: ALARM_MGR_SERVICE_NAME:PORT is %r, expected host:port", f"{name}:{port}")
        self._by_route = by_route
        self._own: Si95Transport | None = None
        if self.manager:
            host = environ.get("RMR_SRC_ID") or "127.0.0.1"
            routes = RouteTable(f"newrt|start\nrte|{message_type}|{self.manager}\nnewrt|end\n")
            self._own = Si95Transport("127.0.0.1", 0, host=host, routes=routes)

    def send(self, message: RmrMessage) -> bool:
        """Hand it to RMR."""
        return self._own.send(message) if self._own is not None else self._by_route(message)

    def close(self) -> None:
        if self._own is not None:
            self._own.close()


def alarm_line(by_route: Callable[[RmrMessage], bool], message_type: int) -> AlarmLine:
    """As this process's environment says."""
    return AlarmLine(by_route, message_type, os.environ)

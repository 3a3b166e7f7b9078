"""Alarms: what lasts is raised once, cleared once, and said in the alarm manager's words over real sockets."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from xapp.config.model import SILENT_S
from xapp.monitoring.metrics import Metrics
from xapp.ric.alarm_conditions import FEWEST, WINDOW_S, AlarmWatch
from xapp.ric.alarms import (
    REMIND_S,
    AlarmLine,
    Alarms,
    Failing,
    Problem,
    alarm_definitions,
)
from xapp.rmr.si95 import Si95Transport
from xapp.rmr.transport import RmrMessage

ALARM = 110
CELL = "gnb_1/00f110000000011"
SILENT = Failing(Problem.NO_REPORTS, CELL, "silent")
PATIENCE_S = 30.0


class Manager:
    """Takes what is sent, unless it is away."""

    def __init__(self) -> None:
        self.away = False
        self.now_s = 1000.0
        self.messages: list[dict[str, Any]] = []
        self.alarms = Alarms(
            self._take,
            application="stackmac",
            message_type=ALARM,
            clock=lambda: self.now_s,
            now_ms=lambda: int(self.now_s * 1000),
        )

    def _take(self, message: RmrMessage) -> bool:
        if not self.away:
            assert message.mtype == ALARM
            self.messages.append(json.loads(message.payload))
        return not self.away

    def later(self, seconds: float, *failing: Failing, healthy: Any = ()) -> list[str]:
        """What is said when this fails `seconds` later."""
        self.now_s += seconds
        before = len(self.messages)
        self.alarms.observe(failing, healthy=healthy)
        self.alarms.run()
        return [f"{each['AlarmAction']} {each['specificProblem']}" for each in self.messages[before:]]


@pytest.fixture
def manager() -> Manager:
    return Manager()


def test_what_lasts_is_raised_once_and_cleared_once(manager: Manager) -> None:
    assert manager.later(0, SILENT) == []
    assert manager.later(9, SILENT) == []
    assert manager.later(1, SILENT) == ["RAISE 83001"]
    assert manager.later(1, SILENT) == []
    assert [alarm.what for alarm in manager.alarms.active()] == [CELL]
    assert manager.later(1) == []
    assert manager.later(5) == ["CLEAR 83001"]
    assert manager.later(100) == []
    assert manager.alarms.active() == []


def test_what_lasts_counts_as_an_alarm_without_a_manager_too(manager: Manager) -> None:
    manager.away = True
    none = dict.fromkeys(manager.alarms.lasting(), 0)
    assert set(none) == {problem.name.lower() for problem in Problem}
    manager.later(0, SILENT, SILENT._replace(what="another"))
    manager.later(9, SILENT, SILENT._replace(what="another"))
    assert manager.alarms.lasting() == none
    manager.later(1, SILENT, SILENT._replace(what="another"))
    assert manager.alarms.lasting() == {**none, "no_reports": 2}
    manager.later(1)
    assert manager.alarms.lasting() == none


def test_the_message_has_the_managers_fields(manager: Manager) -> None:
    manager.later(0, SILENT)
    manager.later(10, SILENT)
    manager.later(1)
    manager.later(5)
    raised, cleared = manager.messages
    assert raised == {
        "managedObjectId": "RIC",
        "applicationId": "stackmac",
        "specificProblem": 83001,
        "perceivedSeverity": "MAJOR",
        "identifyingInfo": CELL,
        "additionalInfo": "silent",
        "AlarmAction": "RAISE",
        "AlarmTime": 1_010_000,
    }
    assert cleared == {**raised, "AlarmAction": "CLEAR", "perceivedSeverity": "CLEARED", "AlarmTime": 1_016_000}


def test_what_comes_and_goes_is_no_alarm_and_clears_none(manager: Manager) -> None:
    for _ in range(20):
        assert manager.later(3, SILENT) == []
        assert manager.later(3) == []
    manager.later(1, SILENT)
    assert manager.later(10, SILENT) == ["RAISE 83001"]
    for _ in range(20):
        assert manager.later(3) == []
        assert manager.later(3, SILENT) == []


def test_each_cell_is_an_alarm_of_its_own(manager: Manager) -> None:
    other = Failing(Problem.NO_REPORTS, "another cell")
    manager.later(0, SILENT, other)
    assert manager.later(10, SILENT, other) == ["RAISE 83001", "RAISE 83001"]
    manager.later(1, other)
    assert manager.later(5, other) == ["CLEAR 83001"]
    assert [alarm.what for alarm in manager.alarms.active()] == ["another cell"]


def test_what_lasts_long_is_said_again(manager: Manager) -> None:
    manager.later(0, SILENT)
    manager.later(10, SILENT)
    assert manager.later(REMIND_S - 1, SILENT) == []
    assert manager.later(1, SILENT) == ["RAISE 83001"]
    assert len(manager.alarms.active()) == 1


def test_a_manager_that_is_away_is_told_when_it_is_back(manager: Manager) -> None:
    manager.away = True
    manager.later(0, SILENT)
    assert manager.later(10, SILENT) == []
    assert manager.alarms.active() == []
    manager.away = False
    assert manager.later(1, SILENT) == ["RAISE 83001"]
    manager.away = True
    manager.later(1)
    assert manager.later(5) == []
    assert len(manager.alarms.active()) == 1
    manager.away = False
    assert manager.later(1) == ["CLEAR 83001"]


def test_an_alarm_of_an_earlier_run_is_cleared_once_all_is_well(manager: Manager) -> None:
    well = [(Problem.SDL_DOWN, "")]
    assert manager.later(0, healthy=well) == []
    assert manager.later(5, healthy=well) == ["CLEAR 83004"]
    assert manager.later(100, healthy=well) == []


@pytest.mark.parametrize("stops", [True, False])
def test_who_stops_clears_what_it_raised_and_who_stands_back_says_nothing(manager: Manager, stops: bool) -> None:
    manager.later(0, SILENT)
    manager.later(10, SILENT)
    before = len(manager.messages)
    if stops:
        manager.alarms.clear_all()
    else:
        manager.alarms.forget()
    assert [each["AlarmAction"] for each in manager.messages[before:]] == (["CLEAR"] if stops else [])
    assert manager.alarms.active() == []


def test_every_problem_is_defined_for_the_manager_under_a_number_of_its_own() -> None:
    definitions = alarm_definitions()["alarmdefinitions"]
    assert len({definition["alarmId"] for definition in definitions}) == len(Problem) == len(definitions)
    assert all(definition["alarmText"] and definition["operationInstructions"] for definition in definitions)


def test_the_operators_page_lists_every_alarm_with_its_delays() -> None:
    text = (Path(__file__).parents[3] / "docs" / "operations.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d{5}) \| .*? \| (\d+) s \| (\d+) s \| .+ \|$", text, re.MULTILINE)
    assert rows == [(str(p.number), f"{p.raise_after_s:g}", f"{p.clear_after_s:g}") for p in Problem]


# -- where they go ----------------------------------------------------------------------------------------------------


@pytest.fixture
def there() -> Iterator[Si95Transport]:
    transport = Si95Transport("127.0.0.1", 0)
    yield transport
    transport.close()


def test_the_named_manager_is_told_over_rmr_without_any_route(there: Si95Transport) -> None:
    environ = {"ALARM_MGR_SERVICE_NAME": "127.0.0.1", "ALARM_MGR_SERVICE_PORT": str(there.port)}
    line = AlarmLine(lambda message: pytest.fail("by route"), ALARM, environ)
    assert line.send(RmrMessage(ALARM, b"{}"))
    message = there.receive(PATIENCE_S)
    assert message is not None
    assert (message.mtype, message.payload, message.sub_id) == (ALARM, b"{}", -1)
    line.close()


@pytest.mark.parametrize("environ", [{}, {"ALARM_MGR_SERVICE_NAME": "no port"}])
def test_without_a_named_manager_the_route_table_decides(environ: dict[str, str]) -> None:
    sent: list[RmrMessage] = []
    line = AlarmLine(lambda message: bool(sent.append(message)), ALARM, environ)
    assert not line.send(RmrMessage(ALARM, b"{}"))
    assert len(sent) == 1
    line.close()


def test_alarms_without_a_destination_have_a_counter_of_their_own(there: Si95Transport) -> None:
    """A platform may do without an alarm manager: `no_route` is about messages that somebody waits for."""
    line = AlarmLine(there.send, ALARM, {})
    times_s = iter((0.0, 1000.0))
    alarms = Alarms(line.send, application="stackmac", message_type=ALARM, clock=lambda: next(times_s))
    alarms.observe([Failing(Problem.SDL_DOWN, "")])
    alarms.run()
    assert there.counters == {"alarm_without_destination": 1}
    assert not there.send(RmrMessage(12040, b""))
    assert there.counters == {"alarm_without_destination": 1, "no_route": 1}
    line.close()


# -- what fails -------------------------------------------------------------------------------------------------------


class Watched:
    """What the watch looks at, as the test wants it."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.silence_s: dict[str, float] = {}
        self.sdl = True
        self.nodes: dict[str, bool] = {}
        self.now_s = 0.0
        self.others: list[Failing] = []
        self.watch = AlarmWatch(
            totals=self.metrics.totals,
            silence_s=lambda: self.silence_s,
            nodes=lambda: self.nodes,
            sdl_healthy=lambda: self.sdl,
            report_period_ms=100,
            others=[lambda: None, lambda: self.others[0] if self.others else None],
            clock=lambda: self.now_s,
        )
        self.failing()

    def failing(self, later_s: float = 1.0) -> list[tuple[Problem, str]]:
        self.now_s += later_s
        return [(each.problem, each.what) for each in self.watch.failing()]


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_a_silent_cell_is_named(watched: Watched) -> None:
    watched.silence_s = {"a": SILENT_S - 1, "b": SILENT_S + 1}
    assert watched.failing() == [(Problem.NO_REPORTS, "b")]
    assert (Problem.NO_REPORTS, "a") in watched.watch.watched()


def test_a_node_that_is_away_is_named(watched: Watched) -> None:
    watched.nodes = {"a": True, "b": False}
    assert watched.failing() == [(Problem.NO_REPORTS, "b")]
    assert (Problem.NO_REPORTS, "a") in watched.watch.watched()


def test_sdl_that_is_down_is_named(watched: Watched) -> None:
    watched.sdl = False
    assert watched.failing() == [(Problem.SDL_DOWN, "")]


@pytest.mark.parametrize("failure", ["controls_failed", "controls_unanswered"])
def test_controls_fail_when_most_of_the_newest_do(watched: Watched, failure: str) -> None:
    watched.metrics.count("controls_acked", 1000)
    assert watched.failing() == []
    watched.failing(2 * WINDOW_S)
    watched.metrics.count(failure, FEWEST - 1)
    assert watched.failing() == []
    watched.metrics.count(failure)
    assert watched.failing() == [(Problem.CONTROL_FAILING, "")]
    watched.metrics.count("controls_acked", FEWEST)
    assert watched.failing() == []
    watched.metrics.count(failure, 10)
    assert watched.failing() == [(Problem.CONTROL_FAILING, "")]
    watched.failing(2 * WINDOW_S)
    assert watched.failing(2 * WINDOW_S) == []


def test_what_parts_know_of_themselves_is_named_with_why(watched: Watched) -> None:
    watched.others = [Failing(Problem.PACER_STANDS_STILL, "", "the pacer stands still for 3 s")]
    assert watched.watch.failing() == watched.others
    watched.others = []
    assert watched.failing() == []


@pytest.mark.parametrize("reason", ["late", "busy", "error", "wrong_count", "malformed", "given_up", "breaker_open"])
def test_the_model_fails_when_most_decisions_are_made_without_it(watched: Watched, reason: str) -> None:
    for _ in range(FEWEST):
        watched.metrics.decided("model", 1.0, 1.0)
    assert watched.failing() == []
    for _ in range(FEWEST + 1):
        watched.metrics.decided(f"fallback:{reason}", 1.0, 1.0)
    assert watched.failing() == [(Problem.MODEL_FAILING, "")]


def test_a_fallback_that_was_asked_for_is_no_failure(watched: Watched) -> None:
    for _ in range(10 * FEWEST):
        watched.metrics.decided("fallback:intent", 1.0, 1.0)
    assert watched.failing() == []


def test_reports_that_nobody_had_time_for_are_an_overload_once_they_are_many(watched: Watched) -> None:
    for _ in range(100):
        watched.metrics.decided("model", 1.0, 1.0)
    watched.metrics.count("superseded_reports", 10)
    assert watched.failing() == []
    watched.metrics.count("superseded_reports", 2)
    assert watched.failing() == [(Problem.OVERLOADED, "")]
    watched.failing(2 * WINDOW_S)
    assert watched.failing(2 * WINDOW_S) == []

"""The pacer has a heartbeat: where it stands still, another thread gives its cells back, and everybody is told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from deciding import AllIdle, Deciding
from ric_services import RicServices
from waiting import PATIENCE_S, wait_for

from policy.allocation import IDLE
from policy.cell_state import CellState
from policy.intent import Intent
from policy.registry import make_leader
from xapp.config.model import Controls
from xapp.control import control_loop
from xapp.ric.alarms import Problem
from xapp.run.app import App


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_loop, "MIN_LIMIT_S", 0.3)


class Hanging:
    """What operators want of a cell, which nobody can be told from the second question on, until it is let go."""

    def __init__(self) -> None:
        self.hangs, self.go = threading.Event(), threading.Event()
        self.from_now_on = False

    def __call__(self, state: CellState) -> Intent:
        if self.from_now_on and not self.go.is_set():
            self.hangs.set()
            self.go.wait(6 * PATIENCE_S)
        return Intent()


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    made = Hanging()
    yield made
    made.go.set()


def test_a_pacer_that_stands_still_loses_its_cells_on_the_wire_and_what_it_was_about_to_send(
    make: Callable[..., Deciding], hanging: Hanging
) -> None:
    deciding = make(AllIdle(), decision_deadline_ms=50.0, missed_beats=1)
    deciding.intent_of = hanging
    assert not deciding.decided(1).release
    hanging.from_now_on = True
    deciding.report(2)
    assert hanging.hangs.wait(PATIENCE_S)
    control = deciding.control()
    assert control.release, "another thread gave the cell back"
    assert "the pacer stands still" in deciding.loop.heartbeat.problem
    wait_for(lambda: deciding.metrics["releases_by_heartbeat"] == 1)
    hanging.go.set()
    wait_for(lambda: deciding.metrics["decisions"] == 2)
    assert deciding.loop.log.newest(deciding.node.cell)[0].outcome.nothing == "stood_still"
    wait_for(lambda: not deciding.loop.heartbeat.problem)
    control = deciding.decided(3)
    assert (control.release, control.based_on_indication_sn) == (False, 3), "and nothing of what was decided before"
    assert control.allocation.owner_M.tolist() == [IDLE] * 6


def test_a_pacer_with_nothing_to_do_beats(make: Callable[..., Deciding], monkeypatch: pytest.MonkeyPatch) -> None:
    deciding = make(AllIdle())
    heartbeat, beats = deciding.loop.heartbeat, []
    beat = heartbeat.beat

    def counted() -> None:
        beats.append(None)
        beat()

    monkeypatch.setattr(heartbeat, "beat", counted)
    wait_for(lambda: len(beats) > 8)
    assert heartbeat.problem == ""


class Platform(RicServices):
    """submgr and e2mgr, one fake node, and one xApp between them."""

    def __init__(self, node: Any, serve: Any, routes: Path) -> None:
        super().__init__(node, serve)
        self.write_routes(routes)
        controls = {**self.controls(), "missed_beats": 1, "decision_deadline_ms": 50.0}
        self.app = App(Controls.model_validate(controls), make_leader("proportional_fair"))
        self.app.start()
        self.http = httpx.Client(
            base_url=f"http://127.0.0.1:{self.app.server.port}/ric/v1", trust_env=False, timeout=PATIENCE_S
        )
        self.connect(self.app.parts.transport.source)


def test_ready_alive_and_an_alarm_say_that_nothing_is_decided(
    node: Any, serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hanging: Hanging
) -> None:
    routes = tmp_path / "routes.rt"
    monkeypatch.setenv("RMR_SEED_RT", str(routes))
    monkeypatch.setattr("xapp.run.periodic_tasks.ALARMS_S", 0.05)
    platform = Platform(node, serve, routes)
    try:
        wait_for(lambda: list(platform.app.status()["subscriptions"].values()) == ["active"] * 2)
        for health in ("alive", "ready"):
            assert platform.http.get(f"/health/{health}").status_code == 200
        platform.report(1)
        assert not node.next_control()[1].release
        monkeypatch.setattr(platform.app.parts.loop, "_intent_of", hanging)
        hanging.from_now_on = True
        platform.report(2)
        assert node.next_control()[1].release
        for health in ("alive", "ready"):
            answer = platform.http.get(f"/health/{health}")
            assert answer.status_code == 503 and "the pacer stands still" in answer.json()["status"]
        alarms = platform.app.parts.alarm_watch
        assert [each.problem for each in alarms.failing()] == [Problem.PACER_STANDS_STILL]
        assert "the pacer stands still" in platform.app.status()["pacer"]
        hanging.go.set()
        wait_for(lambda: platform.http.get("/health/alive").status_code == 200)
        assert alarms.failing() == []
    finally:
        hanging.go.set()
        platform.app.stop()
        platform.http.close()

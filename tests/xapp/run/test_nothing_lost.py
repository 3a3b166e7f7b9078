"""Nothing that was accepted is lost, whatever else fails: judged from outside, by processes on a real Redis."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from ric_services import RicServices
from waiting import wait_for
from xapp_process import PATIENCE_S, Running, write

import xapp.run.periodic_tasks
from policy.registry import make_leader
from xapp.a1.mediator_client import MAX_POLICIES
from xapp.a1.policy_model import POLICY_TYPE_ID
from xapp.config.model import Controls
from xapp.lab.counters import Counters
from xapp.lab.ric.alarm_manager import AlarmManager
from xapp.ric.alarms import Problem
from xapp.rmr.si95 import Si95Transport
from xapp.rmr.transport import A1_POLICY_REQUEST, A1_POLICY_RESPONSE, RmrMessage
from xapp.run.app import App
from xapp.run.stop_budget import STOP_S

NOBODY = "http://127.0.0.1:9"
ALONE = {"submgr_url": NOBODY, "e2mgr_url": NOBODY, "appmgr_url": "", "request_timeout_s": 0.5}
CALM = {"objective": {"alpha": 2.0}}
DEEP = b'{"version": 1, "value": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"


class Mediator:
    """The A1 mediator's RMR endpoint; `routes` is a file with the xApp's way to it."""

    def __init__(self, folder: Path) -> None:
        self.rmr = Si95Transport("127.0.0.1", 0)
        self.routes = folder / "routes.rt"
        self.routes.write_text(f"newrt|start\nmse|{A1_POLICY_RESPONSE}|-1|{self.rmr.source}\nnewrt|end|1\n")

    def put(self, rmr_port: int, name: str, policy: Any) -> str:
        """The xApp's answer."""
        self.rmr.routes.update(f"newrt|start\nmse|{A1_POLICY_REQUEST}|-1|127.0.0.1:{rmr_port}\nnewrt|end|1\n")
        request = {
            "operation": "CREATE",
            "policy_type_id": POLICY_TYPE_ID,
            "policy_instance_id": name,
            "payload": json.dumps(policy),
        }
        message = RmrMessage(A1_POLICY_REQUEST, json.dumps(request).encode(), sub_id=POLICY_TYPE_ID)
        assert self.rmr.send(message)
        while (answer := self.rmr.receive(PATIENCE_S)) is not None:
            if answer.mtype == A1_POLICY_RESPONSE:
                return str(json.loads(answer.payload)["status"])
        raise AssertionError("no answer came")


@pytest.fixture
def mediator(tmp_path: Path) -> Iterator[Mediator]:
    made = Mediator(tmp_path)
    yield made
    made.rmr.close()


@pytest.fixture
def shared(own_redis: Any) -> Iterator[redis.Redis]:
    with redis.Redis(own_redis.address.host, own_redis.address.port) as client:
        yield client


def status_of(running: Running) -> dict[str, Any]:
    found: dict[str, Any] = asked(running, "status").json()
    return found


def asked(running: Running, what: str) -> httpx.Response:
    url = f"http://127.0.0.1:{running.ready['http_port']}/ric/v1/{what}"
    return httpx.get(url, trust_env=False, timeout=PATIENCE_S)


def kept(shared: redis.Redis) -> set[str]:
    return {key.decode(errors="replace") for key in shared.keys("{stackmac},policy/*")}


def test_what_is_nested_without_end_in_sdl_is_skipped_and_named_and_the_rest_is_restored_and_kept(
    tmp_path: Path, start: Any, own_redis: Any, shared: redis.Redis, mediator: Mediator
) -> None:
    shared.set("{stackmac},policy/deep", DEEP)
    shared.lpush("{stackmac},policy/list", "of another kind")
    shared.set("{stackmac},policy/good", json.dumps({"version": 1, "value": CALM}))
    environment = {**own_redis.environ, "RMR_SEED_RT": str(mediator.routes)}
    running = start(write(tmp_path, ric=ALONE), environment=environment)
    wait_for(lambda: "good" in status_of(running)["policies"])
    assert mediator.put(running.ready["rmr_port"], "new", CALM) == "OK"
    wait_for(lambda: "{stackmac},policy/new" in kept(shared))
    status = status_of(running)
    assert set(status["policies"]) == {"good", "new"}
    assert status["task_failures"] == {}
    _, _, log = running.stop(signal.SIGTERM)
    assert "policy/deep ignored" in log
    assert "Traceback" not in log


def test_a_policy_beyond_the_stated_maximum_is_refused_with_a_reason_and_the_next_is_taken(
    tmp_path: Path, start: Any, mediator: Mediator
) -> None:
    running = start(write(tmp_path, ric=ALONE), environment={"RMR_SEED_RT": str(mediator.routes)})
    scope = {"cells": ["gnb_1/00f110000000011"], "slices": [{"sst": 1, "ue_ids": [1] * 600}], "ue_ids": [1] * 401}
    huge = {"scope": scope, "limits": {"per_ue": {"max_share_percent": 50}}}
    assert mediator.put(running.ready["rmr_port"], "huge", huge) == "ERROR"
    refused = status_of(running)["policies_refused"]
    assert list(refused) == ["huge"]
    assert "names 1001 UEs, in scope.ue_ids and its slices, expected at most 1000" in refused["huge"]
    for number in range(MAX_POLICIES):
        assert mediator.put(running.ready["rmr_port"], f"p{number}", CALM) == "OK"
    assert mediator.put(running.ready["rmr_port"], "one too many", CALM) == "ERROR"
    status = status_of(running)
    assert status["policies_refused"]["one too many"] == "there are 256 policies, expected at most so many"
    assert len(status["policies"]) == MAX_POLICIES


class Platform(RicServices):
    """An xApp of this process, among services and an alarm manager."""

    def __init__(self, node: Any, serve: Any, manager: AlarmManager) -> None:
        super().__init__(node, serve)
        self.manager = manager
        self.app = App(Controls.model_validate(self.controls()), make_leader("proportional_fair"))

    def alarms(self) -> dict[int, str]:
        """additionalInfo, by number."""
        return {alarm["specificProblem"]: alarm["additionalInfo"] for alarm in self.manager.active()}


@pytest.fixture
def platform(node: Any, serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    manager = AlarmManager(Counters(), "127.0.0.1", 0)
    monkeypatch.setenv("ALARM_MGR_SERVICE_NAME", "127.0.0.1")
    monkeypatch.setenv("ALARM_MGR_SERVICE_PORT", str(manager.port))
    monkeypatch.setattr(Problem, "raise_after_s", 0.0)
    monkeypatch.setattr(xapp.run.periodic_tasks, "ALARMS_S", 0.05)
    monkeypatch.setattr(xapp.run.periodic_tasks, "GAUGES_S", 0.05)
    made = Platform(node, serve, manager)
    yield made
    manager.close()


def test_an_exception_in_a_periodic_task_is_named_in_status_and_alarm_and_ends_nothing_else(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(parts: Any) -> None:
        raise KeyError("gnb_1")

    monkeypatch.setattr(xapp.run.periodic_tasks, "set_gauges", fail)
    platform.app.start()
    try:
        wait_for(lambda: Problem.TASK_FAILING.number in platform.alarms())
        assert platform.alarms()[Problem.TASK_FAILING.number] == "gauges: KeyError: 'gnb_1'"
        failure = platform.app.status()["task_failures"]["gauges"]
        assert failure["failures"] >= 1
        assert (failure["error"], failure["is_failing"]) == ("KeyError: 'gnb_1'", True)
        wait_for(lambda: len(platform.instances) == 2)  # nodes are found and subscribed to all the same
    finally:
        platform.app.stop()


def test_a_condition_that_cannot_be_told_keeps_no_other_alarm_from_being_raised(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> Any:
        raise KeyError("a cell")

    platform.app.start()
    try:
        monkeypatch.setattr(platform.app.parts.alarm_watch, "_silence_s", fail)
        monkeypatch.setattr(platform.app.parts.alarm_watch, "_sdl_healthy", lambda: False)
        wait_for(lambda: {Problem.TASK_FAILING.number, Problem.SDL_DOWN.number} <= platform.alarms().keys())
        assert platform.alarms()[Problem.TASK_FAILING.number] == "alarms (silent_cells): KeyError: 'a cell'"
    finally:
        platform.app.stop()


STATUS_FAILS = """
import sys
from xapp import cli
from xapp.nodes.cell_manager import Cells

calls, roles = [], Cells.roles

def sometimes(self):
    calls.append(1)
    if len(calls) in (2, 3):
        raise KeyError("gnb_1")
    return roles(self)

Cells.roles = sometimes
sys.exit(cli.main(sys.argv[1:]))
"""


def test_a_status_that_fails_is_named_in_the_next_and_does_not_end_the_xapp(tmp_path: Path) -> None:
    config = write(tmp_path, ric=ALONE)
    process = subprocess.Popen(
        [sys.executable, "-c", STATUS_FAILS, "run", "--config", str(config), "--json-lines"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        lines = [json.loads(process.stdout.readline()) for _ in range(3)]
        assert [line["event"] for line in lines] == ["ready", "status", "status"]
        assert lines[2]["task_failures"]["status line"]["failures"] == 2
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0
        assert json.loads(out.splitlines()[-1])["event"] == "final"
    finally:
        process.kill()


def readiness(running: Running) -> int:
    return asked(running, "health/ready").status_code


REFUSALS: dict[str, Callable[[redis.Redis], object]] = {
    "full": lambda client: client.config_set("maxmemory", "1"),
    "replica": lambda client: client.replicaof("127.0.0.1", 9),
}
LOOK_S = 3.0
LOOK_EVERY_S = 0.02


@pytest.mark.parametrize("refusal", REFUSALS)
def test_readiness_does_not_flap_when_redis_reads_and_refuses_writes(
    tmp_path: Path, start: Any, own_redis: Any, shared: redis.Redis, mediator: Mediator, refusal: str
) -> None:
    environment = {**own_redis.environ, "RMR_SEED_RT": str(mediator.routes)}
    running = start(write(tmp_path, ric=ALONE), environment=environment)
    wait_for(lambda: readiness(running) == 200, look_every_s=LOOK_EVERY_S)
    REFUSALS[refusal](shared)
    wait_for(lambda: not status_of(running)["sdl_takes_writes"], look_every_s=LOOK_EVERY_S)
    until_s, seen = time.monotonic() + LOOK_S, set()
    while time.monotonic() < until_s:
        status = status_of(running)
        seen.add((readiness(running), status["sdl_healthy"], status["sdl_takes_writes"]))
        time.sleep(LOOK_EVERY_S)
    assert seen == {(200, True, False)}
    took_s, _, log = running.stop(signal.SIGTERM)
    assert (took_s < STOP_S, running.process.returncode) == (True, 0)
    assert log.count("shared data layer refuses") == 1


def test_an_xapp_that_starts_beside_a_redis_that_refuses_writes_becomes_ready_once(
    tmp_path: Path, start: Any, own_redis: Any, shared: redis.Redis, mediator: Mediator
) -> None:
    REFUSALS["full"](shared)
    running = start(write(tmp_path, ric=ALONE), environment={**own_redis.environ, "RMR_SEED_RT": str(mediator.routes)})
    wait_for(lambda: readiness(running) == 200, look_every_s=LOOK_EVERY_S)
    until_s = time.monotonic() + LOOK_S
    while time.monotonic() < until_s:
        assert readiness(running) == 200
        time.sleep(LOOK_EVERY_S)

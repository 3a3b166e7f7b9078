"""A running xApp among those who would silence it or read it out: over real sockets, with a node of the test's."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from ric_services import RicServices
from typer.testing import CliRunner
from waiting import PATIENCE_S, wait_for

import xapp.ric.comeback
import xapp.run.periodic_tasks
from policy.errors import RunFailed, UserMistake
from policy.registry import make_leader
from xapp.config.model import Controls
from xapp.doctor.command import doctor_app
from xapp.e2.dcm import messages as dcm
from xapp.explain.command import explain_app
from xapp.lab.counters import Counters
from xapp.lab.ric.alarm_manager import AlarmManager
from xapp.monitoring.symptom_data import KEPT_S
from xapp.ric.alarms import Problem
from xapp.run.app import App
from xapp.run.status import open_status

TOKEN = "a-token-of-this-test-0123456789"


class Platform(RicServices):
    """One node, and one xApp beside it that shares its data with nobody."""

    def __init__(self, node: Any, serve: Any, routes: Path, **http: Any) -> None:
        super().__init__(node, serve)
        self.write_routes(routes)
        self.log_lines_read = 0
        controls = self.controls()
        controls["http"] = {**controls["http"], **http}
        self.app = App(Controls.model_validate(controls), make_leader("proportional_fair"), log_lines=self._log_lines)
        self.app.start()
        self.connect(self.app.parts.transport.source)
        self.url = f"http://127.0.0.1:{self.app.server.port}/ric/v1"

    def _log_lines(self) -> list[str]:
        self.log_lines_read += 1
        return ["a line"]

    def get(self, path: str, **headers: str) -> httpx.Response:
        return httpx.get(self.url + path, headers=headers, trust_env=False, timeout=PATIENCE_S)

    def wait_active(self) -> None:
        wait_for(lambda: list(self.app.status()["subscriptions"].values()) == ["active"] * 2)


@pytest.fixture
def start(node: Any, serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Platform]]:
    routes = tmp_path / "routes.rt"
    monkeypatch.setenv("RMR_SEED_RT", str(routes))
    with ExitStack() as stack:

        def start_one(**http: Any) -> Platform:
            platform = Platform(node, serve, routes, **http)
            stack.callback(platform.app.stop)
            return platform

        yield start_one


@pytest.fixture
def alarm_manager(monkeypatch: pytest.MonkeyPatch) -> Iterator[AlarmManager]:
    manager = AlarmManager(Counters(), "127.0.0.1", 0)
    monkeypatch.setenv("ALARM_MGR_SERVICE_NAME", "127.0.0.1")
    monkeypatch.setenv("ALARM_MGR_SERVICE_PORT", str(manager.port))
    monkeypatch.setattr(Problem, "raise_after_s", 0.0)
    monkeypatch.setattr(Problem, "clear_after_s", 0.0)
    monkeypatch.setattr(xapp.run.periodic_tasks, "ALARMS_S", 0.05)
    yield manager
    manager.close()


def test_a_believable_refusal_silences_the_xapp_for_a_while_with_an_alarm_and_not_for_good(
    alarm_manager: AlarmManager, start: Callable[..., Platform], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(xapp.ric.comeback, "ALONE_S", 1.0)
    platform = start()
    platform.wait_active()
    platform.report(1)
    request, before = platform.node.next_control()
    platform.node.send(platform.node.refusal(request, dcm.OutcomeCode.STALE_EPOCH))
    wait_for(lambda: platform.app.status()["instance"]["refused"] is True)
    assert "a node refused" in platform.get("/health/ready").json()["status"]
    wait_for(lambda: Problem.STANDING_BY.number in [alarm["specificProblem"] for alarm in alarm_manager.active()])
    wait_for(lambda: platform.app.status()["instance"]["role"] == "control")
    platform.wait_active()
    platform.report(2)
    after = platform.node.next_control()[1]
    assert after.instance_epoch > before.instance_epoch
    wait_for(lambda: alarm_manager.active() == [])


def test_what_everybody_may_see_of_a_status_has_no_epoch(start: Callable[..., Platform]) -> None:
    platform = start()
    platform.wait_active()
    platform.report(1)
    epoch = platform.node.next_control()[1].instance_epoch
    status = platform.app.status()
    assert str(epoch) in json.dumps(status)
    shown = open_status(status)
    assert str(epoch) not in json.dumps(shown)
    assert shown["instance"]["role"] == "control"


def test_six_clients_of_symptom_data_cost_no_decision(start: Callable[..., Platform]) -> None:
    platform = start()
    platform.wait_active()
    enough, sizes = threading.Event(), []

    def ask() -> None:
        while not enough.is_set():
            answer = platform.get("/symptomdata")
            assert answer.status_code == 200
            sizes.append(len(answer.content))

    clients = [threading.Thread(target=ask) for _ in range(6)]
    for client in clients:
        client.start()
    for sn in range(1, 101):
        platform.report(sn)
        control = platform.node.next_control()[1]
        assert control.based_on_indication_sn == sn
    wait_for(lambda: len(sizes) >= 6)
    enough.set()
    for client in clients:
        client.join()
    assert platform.app.status()["decisions"] == 100
    # Made once, and again where this took longer than what was made is good for.
    assert 1 <= platform.log_lines_read <= 1 + 60 / KEPT_S


def test_a_token_guards_a_running_xapp_and_its_clients_can_show_it(
    start: Callable[..., Platform], tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    platform = start(token_file=str(file))
    platform.wait_active()  # submgr's notifications need none
    platform.report(1)
    platform.node.next_control()
    shown = {"Authorization": f"Bearer {TOKEN}"}
    for path in ("/status", "/policies", "/decisions", "/symptomdata", f"/decisions/{platform.node.cell}"):
        assert platform.get(path).status_code == 401, path
        assert platform.get(path, **shown).status_code == 200, path
    for path in ("/health/alive", "/metrics", "/config"):
        assert platform.get(path).status_code == 200, path
    assert platform.get("/status", **shown).json()["instance"]["epoch"] == platform.app.parts.sender.epoch

    url, show = ["--url", platform.url.removesuffix("/ric/v1")], ["--token-file", str(file)]
    assert CliRunner().invoke(explain_app, [*url, *show]).exit_code == 0
    refused = CliRunner().invoke(explain_app, url)
    assert isinstance(refused.exception, RunFailed) and "asks for a token" in str(refused.exception)
    for http, flags, is_told in (({}, [], True), ({}, show, False), ({"token_file": str(file)}, [], False)):
        config = tmp_path / "config-file.json"
        config.write_text(json.dumps({"controls": {**platform.controls(), "http": http}}))
        asked = CliRunner().invoke(doctor_app, ["--config", str(config), *url, *flags, "--seconds", "0.1", "--json"])
        findings = {each["check"]: each for each in json.loads(asked.stdout)["findings"]}
        assert ("no token, or another one" in findings["xapp"]["found"]) is is_told
        assert findings["xapp"]["fault"] == ("xapp_unreachable" if is_told else "")


def test_an_xapp_without_the_token_that_it_is_to_ask_for_does_not_start(
    start: Callable[..., Platform], tmp_path: Path
) -> None:
    with pytest.raises(UserMistake, match=r"controls\.http\.token_file is '.*': No such file or directory"):
        start(token_file=str(tmp_path / "nowhere"))

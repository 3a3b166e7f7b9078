"""`stackmac doctor` against the lab: faults planted in a RIC, a gNB and an xApp on real sockets, each found by name."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from waiting import PATIENCE_S

from policy.cell_state import CellState
from policy.intent import Intent
from policy.leader import Decision
from policy.registry import make_leader
from policy.schedulers.schedulers import SCHEDULERS
from xapp.cli import main
from xapp.config.live import PATH_VARIABLES
from xapp.config.model import Controls
from xapp.packaging.descriptor import make_descriptor
from xapp.rmr.si95 import Si95Transport
from xapp.run.app import App

PERIOD_MS = 150
PATIENT_MS = 10_000.0
"""A deadline that every leader keeps on a busy machine, except one that waits for it."""
LOOK_S = "1.0"
"""Between the doctor's two looks: half a dozen periods."""


class SlowLeader:
    """Never in time."""

    name = "slow"

    def decide(
        self, states: Sequence[CellState], intents: Sequence[Intent], expired: Callable[[], bool]
    ) -> list[Decision]:
        while not expired():
            time.sleep(0.001)
        return SCHEDULERS["proportional_fair"].decide(states, intents, expired)


class FailingLeader:
    """Raises."""

    name = "failing"

    def decide(
        self, states: Sequence[CellState], intents: Sequence[Intent], expired: Callable[[], bool]
    ) -> list[Decision]:
        raise RuntimeError("planted")


class Deployment:
    """An xApp on the lab's RIC, and the descriptor that the doctor reads."""

    def __init__(self, rig: Any, folder: Path, **controls: Any) -> None:
        self.rig = rig
        self.folder = folder
        self.app: App | None = None
        ric = rig.ric
        loopback = {"bind_host": "127.0.0.1", "host": "127.0.0.1", "port": 0}
        self.settings: dict[str, Any] = {
            "leader": "proportional_fair",
            "report_period_ms": PERIOD_MS,
            "decision_deadline_ms": PATIENT_MS,
            "rmr": {**loopback, "route_manager": f"127.0.0.1:{ric.routes.rmr.port}"},
            "http": loopback,
            "ric": {
                "submgr_url": f"http://127.0.0.1:{ric.submgr_http.port}",
                "e2mgr_url": f"http://127.0.0.1:{ric.e2mgr_http.port}",
                "appmgr_url": f"http://127.0.0.1:{ric.appmgr_http.port}",
                "poll_period_s": 0.1,
                "request_timeout_s": 1.0,
            },
            **controls,
        }

    def start(self, leader: Any = None) -> Deployment:
        controls = Controls.model_validate(self.settings)
        app = App(controls, leader or make_leader(controls.leader))
        app.start()
        self.app = app
        return self

    def decides(self) -> Deployment:
        """Wait until controls are sent and answered (or are sent and cannot be)."""
        self.rig.wait_until(lambda: self.status()["decisions"] >= 3)
        return self

    def status(self) -> dict[str, Any]:
        assert self.app is not None
        return self.app.status()

    def without(self, service: str) -> Deployment:
        """Point one of the platform's URLs where nobody listens."""
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            self.settings["ric"][f"{service}_url"] = f"http://127.0.0.1:{unused.getsockname()[1]}"
        return self

    def examined(self, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
        """Exit status and JSON of the command."""
        config = self.folder / "config-file.json"
        config.write_text(json.dumps({**make_descriptor(), "controls": self.settings}), encoding="utf-8")
        arguments = ["doctor", "--config", str(config), "--seconds", LOOK_S, "--json"]
        if self.app is not None:
            arguments += ["--url", f"http://127.0.0.1:{self.app.server.port}"]
        capsys.readouterr()
        status = main(arguments)
        return status, json.loads(capsys.readouterr().out)

    def faults(self, capsys: pytest.CaptureFixture[str]) -> list[str]:
        status, report = self.examined(capsys)
        assert status == (1 if report["faults"] else 0)
        return [str(name) for name in report["faults"]]

    def close(self) -> None:
        if self.app is not None:
            self.app.stop()


@pytest.fixture
def lab(make_lab: Callable[..., Any]) -> Any:
    """A RIC of its own: what one test breaks is no other's, and no node of another is remembered."""
    return make_lab()


@pytest.fixture
def deploy(lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Deployment]]:
    monkeypatch.setenv("RMR_CTL_PORT", "0")
    made: list[Deployment] = []

    def make(**controls: Any) -> Deployment:
        made.append(Deployment(lab, tmp_path, **controls))
        return made[-1]

    yield make
    for deployment in made:
        deployment.close()


def test_a_deployment_in_order_has_no_fault(
    lab: Any, deploy: Callable[..., Deployment], capsys: pytest.CaptureFixture[str]
) -> None:
    lab.gnb(period_ms=PERIOD_MS)
    status, report = deploy().start().decides().examined(capsys)
    assert (status, report["faults"]) == (0, [])
    states = {finding["check"]: finding["state"] for finding in report["findings"]}
    in_order = ("routes", "submgr", "e2mgr", "appmgr", "nodes", "functions", "indications", "controls", "model")
    assert {name: states[name] for name in in_order} == dict.fromkeys(in_order, "ok")
    assert "it follows decision" in json.dumps(report)
    assert states["sdl"] == "warning"  # in memory


def test_without_nodes_a_person_reads_what_to_do(
    deploy: Callable[..., Deployment], capsys: pytest.CaptureFixture[str]
) -> None:
    deployment = deploy().start()
    assert deployment.faults(capsys) == ["no_nodes"]
    config = deployment.folder / "config-file.json"
    assert deployment.app is not None
    url = f"http://127.0.0.1:{deployment.app.server.port}"
    assert main(["doctor", "--config", str(config), "--url", url, "--seconds", "0.1"]) == 1
    shown = capsys.readouterr().out
    assert "no_nodes" in shown
    assert "check the gNB's E2 agent" in shown


@pytest.mark.parametrize("service", ["submgr", "e2mgr", "appmgr"])
def test_a_service_that_does_not_answer(
    service: str, deploy: Callable[..., Deployment], capsys: pytest.CaptureFixture[str]
) -> None:
    assert f"{service}_unreachable" in deploy().without(service).start().faults(capsys)


def test_no_route_table(
    lab: Any, deploy: Callable[..., Deployment], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.gnb(period_ms=PERIOD_MS)
    monkeypatch.setenv("RMR_RTG_SVC", "-1")
    assert deploy().start().faults(capsys)[0] == "no_route_table"


def test_shared_data_that_do_not_answer(
    deploy: Callable[..., Deployment], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("DBAAS_SERVICE_PORT", str(unused.getsockname()[1]))
    monkeypatch.setenv("DBAAS_SERVICE_HOST", "127.0.0.1")
    assert "sdl_down" in deploy().start().faults(capsys)


def test_no_measurement_that_the_node_lists(
    lab: Any, deploy: Callable[..., Deployment], capsys: pytest.CaptureFixture[str]
) -> None:
    lab.gnb(period_ms=PERIOD_MS)
    deployment = deploy(measurements=["DRB.Nonsense"]).start().decides()
    assert deployment.faults(capsys) == ["measurements_missing"]


def test_a_period_that_the_node_does_not_support(
    lab: Any, deploy: Callable[..., Deployment], capsys: pytest.CaptureFixture[str]
) -> None:
    lab.gnb(period_ms=PERIOD_MS)
    deployment = deploy(report_period_ms=PERIOD_MS + 1).start()

    def all_have_failed() -> bool:
        status = deployment.status()
        return bool(status["subscriptions"]) and status["subscription_errors"].keys() == status["subscriptions"].keys()

    lab.wait_until(all_have_failed)
    # One that is asked for again at this very moment is pending as well.
    assert set(deployment.faults(capsys)) - {"subscription_pending"} == {"subscription_failed"}


def test_reports_that_are_routed_elsewhere(
    lab: Any, deploy: Callable[..., Deployment], capsys: pytest.CaptureFixture[str]
) -> None:
    lab.gnb(period_ms=PERIOD_MS)
    deployment = deploy().start().decides()
    lab.ric.transport.routes.update("newrt|start\nnewrt|end\n")
    assert deployment.faults(capsys) == ["no_indications"]


def only_route(record: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The xApp's whole route table, from a file."""
    routes = folder / "routes.rt"
    routes.write_text(f"newrt|start\n{record}\nnewrt|end\n")
    monkeypatch.setenv("RMR_SEED_RT", str(routes))
    monkeypatch.setenv("RMR_RTG_SVC", "-1")


def test_controls_that_nobody_answers(
    lab: Any,
    deploy: Callable[..., Deployment],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    black_hole = Si95Transport("127.0.0.1", 0)
    try:
        only_route(f"rte|12040|{black_hole.source}", tmp_path, monkeypatch)
        lab.gnb(period_ms=PERIOD_MS)
        assert "controls_unanswered" in deploy().start().decides().faults(capsys)
    finally:
        black_hole.close()


def test_a_route_table_without_a_way_for_controls(
    lab: Any,
    deploy: Callable[..., Deployment],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    only_route("rte|110|127.0.0.1:1", tmp_path, monkeypatch)
    lab.gnb(period_ms=PERIOD_MS)
    assert "no_control_route" in deploy().start().decides().faults(capsys)


@pytest.mark.parametrize(("leader", "fault"), [(SlowLeader, "model_slow"), (FailingLeader, "model_failing")])
def test_a_model_that_is_no_help(
    leader: Any, fault: str, lab: Any, deploy: Callable[..., Deployment], capsys: pytest.CaptureFixture[str]
) -> None:
    lab.gnb(period_ms=PERIOD_MS)
    assert deploy(decision_deadline_ms=PERIOD_MS / 2).start(leader()).decides().faults(capsys) == [fault]


def test_a_leader_that_cannot_be_loaded_keeps_the_xapp_from_starting(
    deploy: Callable[..., Deployment], capsys: pytest.CaptureFixture[str]
) -> None:
    assert deploy(leader="/models/nobody").faults(capsys) == ["xapp_unreachable", "model_missing"]


def test_what_was_heard_is_shown_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "config-file.json"
    config.write_text(json.dumps({"controls": {"leader": ["[/red]"]}}))
    assert main(["doctor", "--config", str(config)]) == 1
    assert "[/red]" in capsys.readouterr().out


def test_a_configuration_that_cannot_be_used(
    deploy: Callable[..., Deployment], capsys: pytest.CaptureFixture[str]
) -> None:
    _, report = deploy(report_period_ms=3).examined(capsys)
    assert report["faults"] == ["config_unusable"]
    assert "controls.report_period_ms is 3" in json.dumps(report)


@pytest.mark.parametrize("name", ["XAPP_DESCRIPTOR_PATH", "CONFIG_FILE"])
def test_the_configuration_is_where_the_xapps_environment_says(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for variable in PATH_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / "config-file.json").write_text(json.dumps({"controls": {"report_period_ms": 3}}))
    monkeypatch.setenv(name, str(tmp_path))
    assert main(["doctor", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["faults"] == ["config_unusable"]
    assert "controls.report_period_ms is 3" in report["findings"][0]["found"]


@pytest.mark.parametrize(
    ("content", "found"),
    [(None, "cannot read the configuration"), (b"{", "is not JSON"), (b"[]", "has no `controls` section")],
)
def test_where_there_is_no_descriptor_the_advice_is_to_name_one(
    content: bytes | None, found: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.json"
    if content is not None:
        path.write_bytes(content)
    assert main(["doctor", "--json", "--config", str(path)]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["faults"] == ["config_missing"]
    assert found in report["findings"][0]["found"] and str(path) in report["findings"][0]["found"]
    assert "--config FILE" in report["findings"][0]["advice"]


def test_nobody_said_where_the_descriptor_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for variable in PATH_VARIABLES:
        monkeypatch.setenv(variable, str(tmp_path / variable))
    assert main(["doctor", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["faults"] == ["config_missing"]
    for variable in PATH_VARIABLES:
        assert f"{variable} names {str(tmp_path / variable)!r}" in report["findings"][0]["found"]
    assert main(["run"]) == 2
    assert report["findings"][0]["found"] in capsys.readouterr().err


def test_an_xapp_that_appmgr_forgot(
    lab: Any, deploy: Callable[..., Deployment], capsys: pytest.CaptureFixture[str]
) -> None:
    deployment = deploy().start()
    lab.wait_until(lambda: bool(deployment.status()["registered"]))
    (known,) = httpx.get(
        f"{deployment.settings['ric']['appmgr_url']}/ric/v1/xapps", trust_env=False, timeout=PATIENCE_S
    ).json()
    forget = {"appName": known["name"], "appInstanceName": known["instances"][0]["name"]}
    httpx.post(
        f"{deployment.settings['ric']['appmgr_url']}/ric/v1/deregister",
        json=forget,
        trust_env=False,
        timeout=PATIENCE_S,
    )
    assert "not_registered" in deployment.faults(capsys)

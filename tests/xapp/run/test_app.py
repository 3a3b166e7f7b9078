"""The xApp's life cycle against stand-ins: nodes found, subscriptions made, cells decided, everything given back."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from ric_services import RicServices

import xapp.config.model
import xapp.run.periodic_tasks
from policy.registry import make_leader
from xapp.config.model import ConfigError, Controls
from xapp.e2.dcm import messages as dcm
from xapp.lab.counters import Counters
from xapp.lab.ric.alarm_manager import AlarmManager
from xapp.packaging.grafana import make_dashboard
from xapp.ric.alarms import Problem
from xapp.run.app import App

PATIENCE_S = 30.0


def wait_for(condition: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up_at, "it never became true"
        time.sleep(0.005)


class Platform(RicServices):
    """submgr and e2mgr as the test wants them, one fake node, and one xApp between them."""

    def __init__(self, node: Any, serve: Any, routes: Path) -> None:
        super().__init__(node, serve)
        self.write_routes(routes)
        self.app = App(Controls.model_validate(self.controls()), make_leader("proportional_fair"))
        self.app.start()
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.app.server.port}/ric/v1", trust_env=False)
        self.connect(self.app.parts.transport.source)

    def close(self) -> None:
        self.app.stop()
        self.http.close()

    def wait_active(self, count: int = 2) -> None:
        def active() -> bool:
            states = list(self.app.status()["subscriptions"].values())
            return states.count("active") == count == len(states)

        wait_for(active)


@pytest.fixture
def platform(node: Any, serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    routes = tmp_path / "routes.rt"
    monkeypatch.setenv("RMR_SEED_RT", str(routes))
    made = Platform(node, serve, routes)
    yield made
    made.close()


def test_from_a_node_to_its_control_and_back_to_its_own_scheduler(platform: Platform) -> None:
    platform.wait_active()
    for request in platform.submgr.of("POST"):
        assert request.body["Meid"] == platform.node.name
        assert request.body["E2SubscriptionDirectives"]["RMRRoutingNeeded"] is True
    platform.report(1)
    request, control = platform.node.next_control()
    assert request.request_id.instance == platform.instances[str(dcm.DCM_FUNCTION_ID)]
    assert control.allocation.ue_ids == (1, 2)
    platform.node.send(platform.node.acknowledgement(request))
    wait_for(lambda: platform.app.metrics["controls_acked"] == 1)
    status = platform.http.get("/status").json()
    assert status["nodes"] == {platform.node.name: True}
    assert list(status["cells"]) == [platform.node.cell]
    assert platform.http.get("/health/ready").status_code == 200
    started_s = time.monotonic()
    platform.app.stop()
    assert time.monotonic() - started_s < PATIENCE_S
    _, control = platform.node.next_control()
    assert control.release
    assert len(platform.submgr.of("DELETE")) == 2
    assert platform.app.status()["releases_sent"] == 1


def test_a_step_of_the_stop_that_fails_keeps_no_other_from_being_made(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("told to")

    platform.wait_active()
    platform.report(1)
    platform.node.next_control()
    parts = platform.app.parts
    for what, step in (
        (parts.loop, "close"), (parts.task_runner, "stop"), (parts.alarms, "clear_all"), (parts.kinds["rc"], "save")
    ):  # fmt: skip
        monkeypatch.setattr(what, step, fail)
    platform.app.stop()
    assert platform.node.next_control()[1].release
    assert len(platform.submgr.of("DELETE")) == 2
    assert platform.app.metrics.summary()["dropped"]["stop_error"] == 4
    assert not parts.transport.ready
    monkeypatch.undo()


def test_the_dashboard_asks_for_what_is_exported(platform: Platform) -> None:
    platform.wait_active()
    platform.report(1)
    request, _ = platform.node.next_control()
    platform.node.send(platform.node.acknowledgement(request))
    wait_for(lambda: platform.app.metrics["controls_acked"] == 1)
    asked = asked_of_prometheus(make_dashboard())
    assert len(asked) > 10

    def exported() -> bool:
        gauges, samples = scrape(platform.http.get("/metrics").text)
        unknown = [name for name, _ in asked if name not in samples]
        assert not unknown, f"no such metrics: {unknown}"
        return all(samples[name] for name, _ in asked if name in gauges)

    wait_for(exported)  # gauges are set from time to time
    _, samples = scrape(platform.http.get("/metrics").text)
    for name, matchers in asked:
        for label, operator, value in matchers:
            values = {labels.get(label) for labels in samples[name]}
            assert None not in values, f"{name} has no label {label}"
            assert operator != "=" or value in values, f"{name} has no {label} {value}"


def scrape(text: str) -> tuple[set[str], dict[str, list[dict[str, str]]]]:
    """Names of gauges, and the labels of all samples by name; what has none yet has the names that it will have."""
    gauges: set[str] = set()
    found: dict[str, list[dict[str, str]]] = {}
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
    for family in text_string_to_metric_families(text):
        if family.type == "gauge":
            gauges.add(family.name)
        for suffix in suffixes.get(family.type, ("",)):
            found.setdefault(family.name + suffix, [])
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return gauges, found


def asked_of_prometheus(dashboard: dict[str, Any]) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """Metric name and (label, operator, value) of every selector, the dashboard's own variables left out."""
    queries = [variable["definition"] for variable in dashboard["templating"]["list"] if "definition" in variable]
    queries += [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked = []
    for query in queries:
        for name, matchers in re.findall(r"\b(stackmac_\w+)(?:\{([^}]*)\})?", query):
            triples = re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', matchers)
            asked.append((name, [triple for triple in triples if not triple[2].startswith("$")]))
    return asked


def test_a_node_that_is_lost_and_comes_back_starts_afresh(platform: Platform) -> None:
    platform.wait_active()
    platform.report(500, slot=500)
    platform.node.next_control()
    before = dict(platform.instances)
    platform.connected = False
    wait_for(lambda: platform.app.status()["subscriptions"] == {})
    assert platform.app.parts.receiver.links() == []
    assert platform.submgr.of("DELETE") == []  # they went with the node
    platform.connected = True
    platform.wait_active()
    assert all(platform.instances[function] > instance for function, instance in before.items())
    platform.report(0, slot=0)
    _, control = platform.node.next_control()
    assert control.based_on_indication_sn == 0
    assert platform.app.metrics.summary()["dropped"] == {}


def test_a_node_with_other_cells_than_before_is_planned_anew(platform: Platform) -> None:
    platform.wait_active()
    platform.report(1)
    platform.node.next_control()
    wider = dcm.Carrier.of(platform.node.nci, bwp_size_prb=40, rbg_size_prb=4)
    second = dcm.Carrier.of("00f110000000012", bwp_size_prb=24, rbg_size_prb=4)
    platform.carriers = (wider, second)
    platform.app.parts.watcher._refresh_s = 0.0  # do not wait ten seconds for the next look
    platform.wait_active(4)
    assert len(platform.submgr.of("DELETE")) == 2
    (link,) = [link for link in platform.app.parts.receiver.links() if link.tracker.cell == platform.node.cell]
    assert link.tracker.num_rbgs == 10


def test_a_subscription_that_falls_silent_beside_a_lively_one_is_made_anew(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(xapp.config.model, "SILENT_S", 1.0)
    monkeypatch.setattr(xapp.config.model, "SILENT_PERIODS", 1)
    platform.wait_active()
    silent = platform.instances["2"]
    sn = 0

    def kpm_is_new() -> bool:
        nonlocal sn
        sn += 1
        platform.report(sn % 65536)
        return platform.instances["2"] > silent

    lively = platform.instances[str(dcm.DCM_FUNCTION_ID)]
    wait_for(kpm_is_new)
    assert platform.instances[str(dcm.DCM_FUNCTION_ID)] == lively
    assert len(platform.submgr.of("DELETE")) == 1


@pytest.fixture
def alarm_manager(monkeypatch: pytest.MonkeyPatch) -> Iterator[AlarmManager]:
    """The lab's, which the xApp's environment names; alarms are raised and cleared without delay."""
    manager = AlarmManager(Counters(), "127.0.0.1", 0)
    monkeypatch.setenv("ALARM_MGR_SERVICE_NAME", "127.0.0.1")
    monkeypatch.setenv("ALARM_MGR_SERVICE_PORT", str(manager.port))
    monkeypatch.setattr(Problem, "raise_after_s", 0.0)
    monkeypatch.setattr(Problem, "clear_after_s", 0.0)
    monkeypatch.setattr(xapp.run.periodic_tasks, "ALARMS_S", 0.05)
    yield manager
    manager.close()


def test_a_node_that_is_away_is_an_alarm_until_it_is_back(alarm_manager: AlarmManager, platform: Platform) -> None:
    platform.wait_active()
    platform.connected = False
    wait_for(lambda: [alarm["identifyingInfo"] for alarm in alarm_manager.active()] == [platform.node.name])
    (alarm,) = platform.app.status()["alarms"]
    assert (alarm["problem"], alarm["what"]) == ("no_reports", platform.node.name)
    platform.connected = True
    wait_for(lambda: alarm_manager.active() == [])
    platform.connected = False
    wait_for(lambda: len(alarm_manager.active()) == 1)
    platform.app.stop()
    wait_for(lambda: alarm_manager.active() == [])


@pytest.mark.parametrize("section", ["rmr", "http"])
def test_an_address_that_cannot_be_had_is_named_and_nothing_stays_open(section: str) -> None:
    loopback = {"bind_host": "127.0.0.1", "port": 0}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        cannot = "cannot listen on {}: ".format
        # What is no address at all is a mistake of the configuration where RMR takes names of interfaces, too.
        no_host = "controls.rmr.bind_host is 'no..host': " if section == "rmr" else cannot("no..host:0")
        for wrong, line in (({"port": port}, cannot(f"127.0.0.1:{port}")), ({"bind_host": "no..host"}, no_host)):
            controls = Controls.model_validate({"rmr": loopback, "http": loopback, section: {**loopback, **wrong}})
            before = {thread.name for thread in threading.enumerate()}
            with pytest.raises((OSError, ConfigError), match=re.escape(line)):
                App(controls, make_leader("proportional_fair")).start()
            assert {thread.name for thread in threading.enumerate()} <= before

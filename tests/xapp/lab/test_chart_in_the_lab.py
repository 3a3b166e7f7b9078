"""The chart's pod against the lab's RIC: it registers, is routed, controls a cell, and leaves without a trace."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import chart
import pod as pods
import pytest
from ports import free_port

START_S = 200.0
"""Torch is loaded on a busy machine."""
CONTROL_S = 30.0


@pytest.fixture
def start_pod(tmp_path: Path) -> Iterator[Callable[..., pods.Pod]]:
    started: list[pods.Pod] = []

    def start(rendered: chart.Rendered, **options: bool) -> pods.Pod:
        started.append(pods.Pod(rendered, tmp_path, **options))
        return started[-1]

    yield start
    for pod in started:
        pod.close()


@pytest.mark.timeout(400)
def test_the_rendered_pod_registers_is_routed_controls_and_leaves(
    make_lab: Callable[..., Any], start_pod: Callable[..., pods.Pod], redis_server: Any
) -> None:
    http_port, rmr_port, route_port = (free_port() for _ in range(3))
    lab = make_lab(xapp_route_port=route_port)
    ric = lab.ric

    def url(server: Any) -> str:
        return f"http://127.0.0.1:{server.port}"

    values = {
        "controls": {
            "http": {"bind_host": "127.0.0.1", "port": http_port},
            "rmr": {"bind_host": "127.0.0.1", "port": rmr_port},
            "ric": {
                "submgr_url": url(ric.submgr_http),
                "e2mgr_url": url(ric.e2mgr_http),
                "appmgr_url": url(ric.appmgr_http),
            },
        },
        # Nobody resolves a service's name here; every other name follows from this one.
        "env": {"RMR_SRC_ID": "127.0.0.1"},
        "rmr": {"routePort": route_port},
        "dbaas": {"host": redis_server.host, "port": redis_server.port},
        "serviceMonitor": {"enabled": True},
    }
    # As in a cluster, wherever this process is allowed to make one.
    pod = start_pod(chart.render(values), read_only_root=pods.can_make_root_read_only())
    try:
        pod.wait_for("startupProbe", START_S)
        assert pod.probe("livenessProbe") == 200
        # Routes come from the route manager alone, to the route port, once the application manager knows the xApp.
        pod.wait_for("readinessProbe", CONTROL_S)
        assert ric.status()["xapps"] == ["stackmac"]
        gnb = lab.gnb(period_ms=100)
        gnb.lines.wait_for(lambda status: status["controls_applied"] >= 3, CONTROL_S)
        lab.wait_until(lambda: pod.status()["decided_by"].get("model", 0) >= 1)
        assert pod.status()["decode_errors"] == 0
        assert "stackmac_" in pod.metrics()
        doctor = pod.execute("stackmac", "doctor", "--config", "/opt/ric/config/config-file.json", "--json")
        # Nothing of this is a matter of how busy the machine is.
        assert set(json.loads(doctor.stdout)["faults"]) <= {"model_slow"}, doctor
        assert pod.stop() == 0
    except AssertionError as error:
        raise AssertionError(f"{error}\nthe pod's log:\n{pod.log()}") from error
    lab.wait_until(lambda: ric.status()["xapps"] == [] and ric.status()["subscriptions"] == 0)
    assert pod.written() == []
    assert "Traceback" not in pod.log()

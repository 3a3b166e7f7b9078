"""A RIC and an xApp in this process, and nodes that say what real agents said."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from replaying_node import Captured, ReplayingNode

from policy.registry import make_leader
from xapp.config.model import Controls
from xapp.lab.ric.command import Ric
from xapp.lab.ric.options import RIC_PORTS, RicOptions
from xapp.run.app import App

PATIENCE_S = 60.0
PERIOD_MS = 20


def wait_for(condition: Callable[[], bool]) -> None:
    """For what no event announces."""
    give_up_at = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up_at, "it never became true"
        time.sleep(0.01)


class Opposite:
    """An xApp opposite one node."""

    def __init__(self, app: App, node: ReplayingNode) -> None:
        self.app, self.node = app, node

    def status(self) -> dict[str, Any]:
        return self.app.status()

    def wait(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        wait_for(lambda: condition(self.status()))
        return self.status()


@pytest.fixture
def ran_functions() -> dict[str, Any]:
    """RAN functions as nodes announce them, by node."""
    functions: dict[str, Any] = json.loads((Path(__file__).parent / "cases" / "ran-functions.json").read_text())
    return functions


@pytest.fixture
def captured() -> Callable[[str], Captured]:
    """`captured("srsran")`: an agent's PDUs."""
    return Captured


@pytest.fixture
def opposite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Opposite]]:
    """`opposite("srsran", setup=..., reports=..., nodes=[...])`: the xApp and that node at one RIC."""
    opened: list[Any] = []

    def start(agent: str, nodes: list[dict[str, Any]] | None = None, **changes: Any) -> Opposite:
        routes = tmp_path / "routes.rt"
        ric = Ric(RicOptions(**dict.fromkeys(RIC_PORTS, 0), xapp_route_port=0, write_routes=str(routes)))
        opened.append(ric.close)
        monkeypatch.setenv("RMR_SEED_RT", str(routes))
        monkeypatch.setenv("RMR_RTG_SVC", "-1")
        loopback = {"bind_host": "127.0.0.1", "host": "127.0.0.1", "port": 0}
        ports = ric.ports()
        controls = Controls.model_validate(
            {
                "leader": "fair_caps",
                "report_period_ms": PERIOD_MS,
                "rmr": {**loopback, "transport": "si95"},
                "http": loopback,
                "nodes": nodes or [],
                "ric": {
                    "submgr_url": f"http://127.0.0.1:{ports['submgr_port']}",
                    "e2mgr_url": f"http://127.0.0.1:{ports['e2mgr_port']}",
                    "appmgr_url": "",
                    "poll_period_s": 0.1,
                },
            }
        )
        app = App(controls, make_leader("fair_caps"))
        app.start()
        opened.append(app.stop)
        node = ReplayingNode(Captured(agent), ports["e2_port"], ric.wire, **changes)
        opened.append(node.close)
        assert node.accepted.wait(PATIENCE_S)
        return Opposite(app, node)

    yield start
    # The xApp first: it gives back what it holds while the node is still there to answer.
    for close in sorted(opened, key=lambda close: not isinstance(getattr(close, "__self__", None), App)):
        close()

"""Two releases share the nodes out: each takes its own, no node is controlled twice, and policies reach both."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from training.command_line.options import words_of
from xapp.cli import main
from xapp.lab.gnb.options import GnbOptions
from xapp.lab.lab import START_TIMEOUT_S, Lab, free_port
from xapp.lab.options import LabOptions
from xapp.lab.processes import Child
from xapp.run.options import RunOptions

PATIENCE_S = 60.0
OTHER_GNB = 2


class SharingLab(Lab):
    """Whose xApp takes the nodes whose names end like the first one's."""

    def descriptor(self) -> dict[str, Any]:
        return self.descriptor_of("stackmac", "*1")

    def descriptor_of(self, name: str, nodes: str) -> dict[str, Any]:
        descriptor = super().descriptor()
        descriptor["name"] = name
        descriptor["controls"] |= {"only_listed_nodes": True, "nodes": [{"name": nodes}]}
        return descriptor

    def start_other_gnb(self) -> Child:
        o = self.options
        e2 = f"127.0.0.1:{self._ric_ports['e2_port']}"
        options = GnbOptions(
            e2=e2, ues=o.ues, scenario=o.scenario, period_ms=o.period_ms, gnb_id=OTHER_GNB, start_on_subscription=True
        )
        return Child("gnb", ["gnb", *words_of(options)])

    def start_other_xapp(self, folder: Path) -> Child:
        config = folder / "other.json"
        config.write_text(json.dumps(self.descriptor_of("stackmac-b", f"*{OTHER_GNB}")))
        return Child("run", ["run", *words_of(RunOptions(config=config))], env=self._xapp_env(free_port()))


@pytest.fixture
def lab(own_redis: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[SharingLab]:
    for name, value in own_redis.environ.items():
        monkeypatch.setenv(name, value)
    with SharingLab(LabOptions(seconds=600, ues=3, leader="dynamic")) as lab:
        lab.wait_first_indication()
        yield lab


def test_two_releases_share_the_nodes_out_and_have_the_policies_in_common(lab: SharingLab, tmp_path: Path) -> None:
    assert lab.xapp is not None and lab.gnb is not None
    gnb, xapp = lab.start_other_gnb(), lab.start_other_xapp(tmp_path)
    try:
        xapp.wait_ready(START_TIMEOUT_S)
        both = (lab.xapp, xapp)
        for child in both:
            assert child.wait_status(lambda status: status.get("controls_acked", 0) >= 10, PATIENCE_S), child.status
            assert child.wait_status(lambda status: len(status["nodes"]) == 2, PATIENCE_S)
        cells = [set(child.status["cells"]) for child in both]
        assert [len(of_one) for of_one in cells] == [1, 1] and not cells[0] & cells[1]
        for node in (lab.gnb, gnb):
            assert node.status["controls_applied"] > 0
            assert node.status["controls_failed"] == {}, "another instance's control would be refused, or this one's"
        policy = tmp_path / "alpha.json"
        policy.write_text(json.dumps({"objective": {"alpha": 0.5}}))
        assert main(["intent", "put", str(policy), "--url", lab.a1_url]) == 0
        for child in both:
            assert child.wait_status(lambda status: status["policies"] == {"alpha": "ENFORCED"}, PATIENCE_S), (
                child.status["policies"]
            )
        assert main(["intent", "put", str(policy), "--url", lab.a1_url, "--delete"]) == 0
        for child in both:
            assert child.wait_status(lambda status: status["policies"] == {}, PATIENCE_S)
        port = lab._ric_ports["submgr_port"]
        listed = httpx.get(f"http://127.0.0.1:{port}/ric/v1/subscriptions", trust_env=False, timeout=PATIENCE_S).json()
        assert len(listed) == 4, "each node's two reports once"
        assert [child.status["alarms"] for child in both] == [[], []]
    finally:
        final = xapp.stop()
        gnb.stop()
    assert (final["controls_failed"], xapp.exit_code) == (0, 0)

"""Operators' policies over real processes: from the A1 mediator's REST to the controls that the gNB's MAC applies.

What holds is read from the gNB, which knows nothing of policies.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from rich.console import Console

from xapp.a1.policy_model import POLICY_TYPE_ID
from xapp.cli import main
from xapp.lab.lab import Lab, run_lab
from xapp.lab.options import LabOptions

CAP = {"limits": {"per_ue": {"max_share_percent": 20.0}}}
"""Of 6 RBGs: one."""
FLOOR = {"scope": {"slices": [{"traffic_class": "embb"}]}, "limits": {"per_slice": {"min_share_percent": 50.0}}}
EMBB = 0
IN_FLIGHT = 2
"""Decisions that may have been made, and not yet applied, when a policy came into force."""
PATIENCE_S = 60.0


class Watched:
    """A lab, and every control that its gNB was seen to apply."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.controls: dict[int, dict[str, Any]] = {}
        self._http = httpx.Client(trust_env=False, timeout=10.0)

    def close(self) -> None:
        self._http.close()
        self.lab.__exit__()

    def policies(self) -> dict[str, dict[str, Any]]:
        rows = self._http.get(f"{self.lab.xapp_url}/ric/v1/policies").json()
        return {row["policy_instance_id"]: row for row in rows}

    def put(self, name: str, policy: dict[str, Any], folder: Path) -> None:
        """As an operator does; back once it is in effect."""
        file = folder / f"{name}.json"
        file.write_text(json.dumps(policy))
        assert main(["intent", "put", str(file), "--url", self.lab.a1_url, "--wait", str(PATIENCE_S)]) == 0

    def delete(self, name: str, folder: Path) -> None:
        assert main(["intent", "put", str(folder / f"{name}.json"), "--url", self.lab.a1_url, "--delete"]) == 0
        self.until(lambda: name not in self.policies())

    def look(self) -> dict[int, int]:
        """Remember the controls applied since the last look; the traffic class of each UE."""
        assert self.lab.gnb is not None
        (cell,) = self.lab.gnb.status["cells"]
        self.controls |= {control["slot"]: control for control in cell["controls"]}
        return {ue["id"]: ue["traffic_class"] for ue in cell["ues"]}

    def until(self, condition: Callable[[], bool]) -> None:
        give_up_at = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < give_up_at, f"never: {self._seen()}"
            self.look()
            time.sleep(0.05)

    def _seen(self) -> dict[str, Any]:
        """What a failure shows."""
        xapp, gnb = self.lab.xapp, self.lab.gnb
        return {"xapp": xapp and xapp.status, "gnb": gnb and gnb.status, "newest": sorted(self.controls.items())[-3:]}

    def later_controls(self, count: int) -> list[dict[str, Any]]:
        """The next controls that the gNB applies, without those that may be on their way now."""
        assert self.lab.gnb is not None
        seen = self.lab.gnb.status
        self.until(
            lambda: self.lab.gnb is not None and self.lab.gnb.status is not seen
        )  # fresh, not what was printed before
        self.look()
        # Another instance counts from 1 again, however far the one before it had come.
        epoch, newest = max(map(decision, self.controls.values()), default=(0, 0))

        def later() -> list[dict[str, Any]]:
            return [
                control
                for _, control in sorted(self.controls.items())
                if decision(control) > (epoch, newest + IN_FLIGHT)
            ]

        self.until(lambda: len(later()) >= count)
        return later()


def decision(control: dict[str, Any]) -> tuple[int, int]:
    return control["instance_epoch"], control["decision_id"]


def started(**options: Any) -> Watched:
    lab = Lab(LabOptions(seconds=600, k=1, ues=5, scenario="mix", **options))
    lab.__enter__()
    watched = Watched(lab)
    try:
        lab.wait_first_indication()
    except BaseException:
        watched.close()
        raise
    return watched


@pytest.fixture(scope="module")
def shared() -> Iterator[Watched]:
    """One lab for many tests, in which the model decides."""
    running = started()
    yield running
    running.close()


@pytest.fixture
def watched(shared: Watched, tmp_path: Path) -> Iterator[Watched]:
    """The shared lab; policies of the test end with it."""
    yield shared
    for name in shared.policies():
        shared.delete(name, tmp_path)


def most(control: dict[str, Any]) -> int:
    return max(control["rbgs"].values())


def owned_by(control: dict[str, Any], ues: set[int]) -> int:
    return sum(rbgs for ue, rbgs in control["rbgs"].items() if int(ue) in ues)


def test_a_policy_holds_in_every_control_that_the_gnb_applies_and_its_end_restores(
    watched: Watched, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = watched.later_controls(10)
    assert max(map(most, before)) > 1  # it is no accident that the cap holds below
    assert any(control["may_contend"] for control in before)

    watched.put("cap", CAP, tmp_path)
    assert "cap: in effect" in capsys.readouterr().out
    capped = watched.later_controls(15)
    assert [control for control in capped if most(control) > 1 or control["may_contend"]] == []
    assert {rbgs for control in capped for rbgs in control["max_rbgs"].values()} == {1}
    watched.until(lambda: watched.lab.xapp is not None and watched.lab.xapp.status["policies"] == {"cap": "ENFORCED"})

    watched.delete("cap", tmp_path)
    after = watched.later_controls(10)
    assert max(map(most, after)) > 1
    assert any(control["may_contend"] for control in after)

    watched.put("floor", FLOOR, tmp_path)
    embb = {ue for ue, traffic_class in watched.look().items() if traffic_class == EMBB}
    assert embb
    assert [control for control in watched.later_controls(15) if owned_by(control, embb) < 3] == []
    assert watched.policies()["floor"]["enforcement"] == "ENFORCED"


def test_what_cannot_hold_is_not_enforced_with_its_reason_and_nonsense_changes_nothing(
    watched: Watched, tmp_path: Path
) -> None:
    watched.put("cap", CAP, tmp_path)
    watched.put("who", {**FLOOR, "scope": {"slices": [{"sst": 1, "sd": "0000ff"}]}}, tmp_path)
    watched.until(lambda: bool(watched.policies()["who"]["cells"]))
    status = watched.policies()["who"]
    assert status["enforcement"] == "NOT_ENFORCED"
    assert "slice 1-0000ff: its members are not known" in status["reasons"][0]

    url = f"{watched.lab.a1_url}/A1-P/v2/policytypes/{POLICY_TYPE_ID}/policies/cap"
    assert httpx.put(url, json={"mode": "whatever"}, trust_env=False, timeout=PATIENCE_S).status_code == 202
    assert watched.lab.ric is not None
    watched.until(
        lambda: watched.lab.ric is not None and watched.lab.ric.status["counters"].get("a1_answer_error") == 1
    )
    assert httpx.get(f"{url}/status", trust_env=False, timeout=PATIENCE_S).json()["instance_status"] == "NOT IN EFFECT"
    assert [control for control in watched.later_controls(10) if most(control) > 1] == []
    assert watched.policies()["cap"]["policy"] == CAP


def test_shadow_sends_nothing_and_releases_what_was_controlled(watched: Watched, tmp_path: Path) -> None:
    watched.later_controls(3)
    gnb, xapp = watched.lab.gnb, watched.lab.xapp
    assert gnb is not None and xapp is not None
    released, sent_before = gnb.status["releases"], xapp.status["releases_sent"]
    watched.put("shadow", {"mode": "shadow"}, tmp_path)
    assert gnb.wait_status(lambda status: status["releases"] == released + 1, PATIENCE_S)
    assert xapp.wait_status(lambda status: status["releases_sent"] == sent_before + 1, PATIENCE_S)  # no older line
    sent, decided = xapp.status["controls_sent"], xapp.status["decisions"]
    assert xapp.wait_status(lambda status: status["decisions"] >= decided + 10, PATIENCE_S)
    assert xapp.status["controls_sent"] <= sent + 1
    watched.delete("shadow", tmp_path)
    assert watched.later_controls(3)


def test_an_xapp_that_starts_again_asks_the_mediator(watched: Watched, tmp_path: Path) -> None:
    watched.put("cap", CAP, tmp_path)
    assert watched.lab.xapp is not None
    watched.lab.xapp.stop()
    watched.controls.clear()
    watched.lab.start_xapp()
    watched.until(lambda: "cap" in watched.policies())
    assert not watched.policies()["cap"]["restored"]
    assert [control for control in watched.later_controls(10) if most(control) > 1] == []


def test_policies_outlive_xapp_and_mediator_in_shared_data(
    tmp_path: Path, redis_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared_data = redis.Redis(redis_server.host, redis_server.port)
    shared_data.flushall()
    monkeypatch.setenv("DBAAS_SERVICE_HOST", redis_server.host)
    monkeypatch.setenv("DBAAS_SERVICE_PORT", str(redis_server.port))
    watched = started(leader="proportional_fair")
    try:
        outlives_its_processes(watched, tmp_path)
    finally:
        watched.close()
        shared_data.flushall()  # the policy would hold in whatever else is tried beside this Redis


def outlives_its_processes(watched: Watched, tmp_path: Path) -> None:
    watched.put("cap", CAP, tmp_path)
    lab = watched.lab
    assert lab.xapp is not None and lab.ric is not None
    lab.xapp.kill()
    lab.ric.stop()
    watched.controls.clear()
    lab.start_ric()
    lab.start_xapp()
    watched.until(lambda: "cap" in watched.policies())
    assert watched.policies()["cap"]["restored"]
    assert [control for control in watched.later_controls(10) if most(control) > 1] == []


def test_a_labs_summary_says_which_policies_did_not_hold_at_its_end(tmp_path: Path) -> None:
    def for_ue(number: int, **objectives: int) -> dict[str, Any]:
        return {"scope": {"ueId": f"{number:016x}"}, "ueLevelObjectives": objectives}

    policies = {
        "absent": for_ue(99, ulThroughput=500, dlThroughput=500),
        "down": for_ue(1, ulPacketDelay=100_000, dlThroughput=500),
        "even": {"objective": {"alpha": 1.0}},
    }
    for name, policy in policies.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(policy))
    files = tuple(tmp_path / f"{name}.json" for name in policies)
    output = io.StringIO()
    summary = run_lab(LabOptions(seconds=3, k=100, ues=5, policy=files), Console(file=output, width=200))
    assert summary["policies"] == {"absent": "NOT_ENFORCED", "down": "NOT_ENFORCED", "even": "ENFORCED"}
    assert summary["policy_reasons"]["absent"] == "UE 99: not there, and so nobody has the floor"
    assert "NOT_ENFORCED is for what is not ours alone (dlThroughput)" in summary["policy_reasons"]["down"]
    lines = [line for line in output.getvalue().splitlines() if line.startswith("policy ")]
    assert lines == [f"policy      {name}: NOT_ENFORCED: {why}" for name, why in summary["policy_reasons"].items()]
    assert list(summary["policy_reasons"]) == ["absent", "down"]

"""The KPI guard around a control loop on real sockets: the node serves as its newest control says, reports show it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from deciding import AllIdle
from fastapi import FastAPI

from policy.intent import Intent, Mode
from xapp.cli import main
from xapp.config.kpi_guard import KpiGuardConfig
from xapp.config.model import Controls
from xapp.e2.dcm import messages as dcm
from xapp.explain.document import explain
from xapp.http.access import Access
from xapp.http.server import BackgroundServer
from xapp.kpi_guard.api import guard_router
from xapp.kpi_guard.guards import KpiGuards
from xapp.kpi_guard.leader_id import bundle_hash
from xapp.monitoring.metrics import Metrics
from xapp.quotas.allocation_to_quota import QuotaRules
from xapp.quotas.ccc_encoder import CccEncoder, CccSettings
from xapp.quotas.rc_encoder import RcEncoder, RcSettings
from xapp.record.file_format import Recording
from xapp.record.recorder import Recorder
from xapp.record.replay import Replay
from xapp.ric.alarms import Problem

K = 100
UES = (1, 2, 3)
CONFIG = KpiGuardConfig(learning_windows=2)


class Clock:
    """A tenth of a second for each report."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Played:
    """A loop with a guard, and a node that serves everybody under DYNAMIC, and nobody under anything else."""

    def __init__(self, make_cell: Any, config: KpiGuardConfig = CONFIG, observer: Any = None) -> None:
        self.metrics, self.clock = Metrics(), Clock()
        self.leader = AllIdle()
        self.guards = KpiGuards(
            config,
            self.metrics,
            leader="all_idle",
            report_period_ms=K,
            observer=observer,
            seed=3,
            clock=self.clock,
        )
        self.cell = make_cell(self.leader, observer, self.guards)
        self.node = self.cell.node
        self.sn = 0
        self.in_force: list[Any] = []
        """Controls that were received, the newest last; the one before it governs."""
        self.good_leader = False
        self.k = K

    def control_by(self, kind: str) -> None:
        """As where a policy about slices comes or goes, or the node comes back with other functions."""
        target, rules = self.node.target(), QuotaRules()
        if kind == "rc":
            target = replace(target, encoder=RcEncoder(RcSettings(b"\x00\xf1\x10"), rules))
        elif kind == "ccc":
            target = replace(target, encoder=CccEncoder(CccSettings("00101", (), (self.node.nci,)), rules))
        self.cell.link.target = target

    def shown(self) -> dict[str, Any]:
        found: dict[str, Any] = self.guards.document()["cells"][self.node.cell]
        return found

    def play(self, reports: int) -> list[Any]:
        """Records of so many decisions."""
        return [self._step() for _ in range(reports)]

    def _step(self) -> Any:
        self.sn += 1
        self.clock.now_s += 0.1
        governs = self.in_force[-2] if len(self.in_force) > 1 else None
        serves = self.good_leader or governs is None or bool(np.any(governs.allocation.owner_M == -2))
        applied = None
        if governs is not None:
            applied = dcm.AppliedControl(governs.instance_epoch, governs.decision_id)
        indication = self.node.indication(
            UES, k=self.k, slot=self.sn * K, served_bits=np.full(len(UES), 20_000.0 if serves else 0.0), applied=applied
        )
        self.cell.receiver.on_message(self.node.dcm_message(self.sn, indication, slot=self.sn * K))
        record = self.cell.decide_what_waits()
        if record.outcome.controls:
            self.in_force.append(self.node.next_control()[1])
        return record


def reasons(records: list[Any]) -> Counter[str]:
    return Counter(record.decision.reason for record in records)


def test_a_leader_that_serves_nobody_is_reverted_within_seconds(make_cell: Any) -> None:
    played = Played(make_cell)
    records = played.play(60)
    by = reasons(records)
    assert by["hold_out"] == 10
    assert by["reverted"] > 25
    assert set(by) == {"", "hold_out", "reverted"}
    assert records[-1].allocation.strip() == "******"
    assert played.guards.summary()["reverted_cells"] == 1
    assert played.guards.summary()["rule"] == "starvation"
    assert played.guards.summary()["first_revert_s"] < 4.0
    assert played.metrics["leaders_reverted"] == 1
    assert played.guards.counts() == {"cells_reverted": 1, "cells_held_out": 0}


def test_a_good_leader_is_left_alone_but_for_hold_outs(make_cell: Any) -> None:
    played = Played(make_cell)
    played.good_leader = True
    by = reasons(played.play(300))
    assert by["reverted"] == 0
    assert 0 < by["hold_out"] < 100
    assert played.metrics["hold_outs"] == by["hold_out"] / 10


def test_limits_hold_in_hold_outs_and_after_a_revert(make_cell: Any) -> None:
    played = Played(make_cell)
    played.cell.intent = Intent(max_share_percent={2: 40.0}, min_share_percent={1: 20.0})
    for record in played.play(60):
        if record.decision.reason:
            assert record.allocation.max_rbgs_U.tolist() == [255, 2, 255]
            assert record.allocation.rbgs_per_ue()[0] >= 2
            assert not record.guard_changes


def test_ues_that_an_operator_allows_nothing_starve_by_order(make_cell: Any) -> None:
    played = Played(make_cell, KpiGuardConfig(learning_windows=1000))
    played.cell.intent = Intent(max_share_percent=dict.fromkeys(UES, 0.0))
    assert not set(reasons(played.play(60))) & {"hold_out", "reverted"}


@pytest.mark.parametrize("mode", [Mode.SHADOW, Mode.FALLBACK])
def test_a_cell_that_the_leader_does_not_decide_about_is_not_judged(make_cell: Any, mode: Mode) -> None:
    played = Played(make_cell)
    played.cell.intent = Intent(mode=mode)
    played.play(60)
    assert played.guards.summary()["reverted_cells"] == 0


def test_off_means_off_and_alarm_means_an_alarm_alone(make_cell: Any) -> None:
    off = Played(make_cell, KpiGuardConfig(dcm="off"))
    assert set(reasons(off.play(40))) == {""}
    assert off.guards.failing() == []


def test_alarm_means_an_alarm_alone(make_cell: Any) -> None:
    played = Played(make_cell, KpiGuardConfig(dcm="alarm"))
    assert set(reasons(played.play(40))) == {""}
    (failing,) = played.guards.failing()
    assert (failing.problem, failing.what) == (Problem.LEADER_HARMFUL, played.node.cell)
    assert "UEs 1, 2, 3 starve" in failing.more
    played.good_leader = True
    played.play(3)
    assert played.guards.failing() == []


def test_a_revert_is_an_alarm_until_an_operator_says_otherwise(make_cell: Any) -> None:
    played = Played(make_cell)
    played.play(60)
    (failing,) = played.guards.failing()
    assert failing.problem is Problem.LEADER_HARMFUL
    assert "leader all_idle: starvation: UEs 1, 2, 3" in failing.more
    played.good_leader = True
    assert played.guards.reset(played.node.cell)
    assert played.guards.failing() == []
    assert set(reasons(played.play(10))) == {""}
    assert not played.guards.reset("nobody")


def test_after_probation_the_leader_is_tried_again(make_cell: Any) -> None:
    played = Played(make_cell, KpiGuardConfig(probation_s=5.0))
    played.play(60)
    played.good_leader = True
    assert reasons(played.play(80)[-10:]) == {"": 10}
    assert played.guards.document()["cells"][played.node.cell]["reverts"] == 1


@pytest.mark.parametrize("kinds", [("rc", "dcm"), ("ccc", "dcm"), ("ccc", "rc", "dcm")])
@pytest.mark.parametrize("config", [CONFIG, KpiGuardConfig(learning_windows=2, rc="off")])
def test_a_reverted_cell_stays_reverted_whatever_controls_it(
    make_cell: Any, kinds: tuple[str, ...], config: KpiGuardConfig
) -> None:
    played = Played(make_cell, config)
    played.play(60)
    for kind in kinds:
        played.control_by(kind)
        assert reasons(played.play(10)) == {"reverted": 10}, kind
        (failing,) = played.guards.failing()
        assert "starvation: UEs 1, 2, 3" in failing.more
        assert (played.shown()["state"], played.shown()["reverts"]) == ("reverted", 1)
        assert played.shown()["reverted_for_s"] > 0.0
    assert played.guards.summary()["reverted_cells"] == 1
    assert played.guards.reset(played.node.cell)
    played.good_leader = True
    assert set(reasons(played.play(10))) == {""}


def test_a_reverted_cell_stays_reverted_when_decisions_are_about_other_slots(make_cell: Any) -> None:
    played = Played(make_cell)
    played.play(60)
    played.k = 50
    assert reasons(played.play(10)) == {"reverted": 10}


def test_probation_goes_on_under_another_kind_and_reverts_are_counted_on(make_cell: Any) -> None:
    played = Played(make_cell, KpiGuardConfig(probation_s=5.0, learning_windows=2, max_reverts=2))
    played.play(60)
    played.k = 50
    played.play(110)
    assert (played.shown()["state"], played.shown()["reverts"]) == ("latched", 2)


def test_a_leader_that_is_loaded_again_stays_reverted_unless_it_is_another(make_cell: Any) -> None:
    played = Played(make_cell)
    played.guards.leader_is("one")
    played.play(60)
    played.guards.leader_is("one")
    assert reasons(played.play(5)) == {"reverted": 5}
    played.guards.leader_is("two")
    played.good_leader = True
    assert reasons(played.play(5)) == {"": 5}
    assert played.guards.document()["bundle_hash"] == "two"
    assert (played.shown()["reverts"], played.shown()["verdict"]) == (0, None)


def test_where_the_leader_does_not_act_it_is_not_judged(make_cell: Any) -> None:
    played = Played(make_cell)
    played.control_by("ccc")
    assert set(reasons(played.play(60))) == {""}, "UEs starve all the while"
    assert played.guards.failing() == []
    assert (played.shown()["state"], played.shown()["control"]) == ("not_judged", "ccc")
    assert (played.shown()["hold_outs"], played.shown()["starving"]) == (0, [])
    assert played.guards.summary()["not_judged_cells"] == 1
    played.control_by("dcm")
    played.play(60)
    assert played.guards.summary()["not_judged_cells"] == 0
    assert played.shown()["state"] == "reverted"


def test_reports_that_somebody_elses_control_governed_say_nothing(make_cell: Any) -> None:
    played = Played(make_cell)
    for _ in range(60):
        played._step()
        played.in_force = played.in_force[-2:]
        for control in played.in_force:
            object.__setattr__(control, "instance_epoch", 77)
    assert played.guards.summary()["reverted_cells"] == 0


def test_a_failing_guard_does_not_stop_the_leader(make_cell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    played = Played(make_cell)
    monkeypatch.setattr(played.guards, "_plan", lambda *_: 1 / 0)
    assert set(reasons(played.play(5))) == {""}
    assert played.cell.metrics.summary()["dropped"] == {"kpi_guard_error": 5}


def test_a_recording_names_the_revert_and_comes_out_again_byte_for_byte(make_cell: Any, tmp_path: Path) -> None:
    path = tmp_path / "recording.jsonl"
    recorder = Recorder(path, Metrics())
    recorder.opened(Controls(leader="proportional_fair"), 1)
    played = Played(make_cell, observer=recorder)
    records = played.play(60)
    recorder.close()
    events = [json.loads(line) for line in path.read_text().splitlines()]
    (revert,) = [event for event in events if event["event"] == "revert"]
    assert (revert["cell"], revert["verdict"]["rule"]) == (played.node.cell, "starvation")
    assert revert["verdict"]["leader"] == "all_idle"
    again: list[Any] = []
    with Recording(path) as recording:
        result = Replay(recording, AllIdle(), on_record=again.append).run()
    assert (result.difference, result.ended_early) == ("", "")
    assert result.controls == 60
    assert [each.decided_by for each in again] == [each.decided_by for each in records]


def test_explain_names_a_hold_out(make_cell: Any) -> None:
    records = Played(make_cell).play(60)
    for reason in ("hold_out", "reverted"):
        record = next(each for each in records if each.decision.reason == reason)
        (entry,) = explain(record, ues=(1,))["ues"]
        assert any("KPI guard" in finding["text"] for finding in entry["why"]), entry
    assert not any("KPI guard" in str(explain(each)) for each in records if not each.decision.reason)


def test_the_bundle_that_did_harm_is_named_by_its_content(tmp_path: Path) -> None:
    assert bundle_hash("proportional_fair") == ""
    assert len(bundle_hash("bundled")) == 12
    (tmp_path / "bundle.json").write_text("{}")
    first = bundle_hash(str(tmp_path))
    (tmp_path / "bundle.json").write_text("{ }")
    assert first != bundle_hash(str(tmp_path)) != ""


@pytest.fixture
def url(make_cell: Any) -> Iterator[tuple[str, Played]]:
    played = Played(make_cell)
    played.play(60)
    app = FastAPI()
    app.add_middleware(Access, token=None)
    app.include_router(guard_router(played.guards))
    server = BackgroundServer(app, host="127.0.0.1")
    assert server.wait_started()
    yield f"http://127.0.0.1:{server.port}", played
    server.close()


def test_the_command_shows_and_resets(url: tuple[str, Played], capsys: pytest.CaptureFixture[str]) -> None:
    where, played = url
    assert httpx.get(f"{where}/ric/v1/guard").json() == json.loads(json.dumps(played.guards.document()))
    assert main(["guard", "show", "--url", where]) == 0
    shown = capsys.readouterr().out
    assert "reverted" in shown
    assert "starvation: UEs 1, 2, 3" in shown
    assert main(["guard", "reset", "nobody", "--url", where]) == 2
    assert played.node.cell in capsys.readouterr().err
    assert main(["guard", "reset", played.node.nci, "--url", where]) == 0
    assert played.guards.summary()["reverted_cells"] == 0
    assert main(["guard", "show", "--url", "http://127.0.0.1:1"]) == 1


@pytest.mark.parametrize("columns", ["40", "80", "200"])
@pytest.mark.parametrize("is_terminal", ["0", "1"])
def test_a_cells_name_is_whole_at_any_width(
    url: tuple[str, Played],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    columns: str,
    is_terminal: str,
) -> None:
    """`guard reset` is given it."""
    where, played = url
    for name, value in (("COLUMNS", columns), ("TTY_COMPATIBLE", is_terminal), ("NO_COLOR", "1")):
        monkeypatch.setenv(name, value)
    assert main(["guard", "show", "--url", where]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith(played.node.cell))
    assert row.split()[0] == played.node.cell


@pytest.mark.parametrize(
    ("field", "value"), [("ignored_ms", 1000), ("rc_ignored_ms", 10_000), ("margin_percent", 0), ("dcm", "perhaps")]
)
def test_what_cannot_be_is_refused(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=field):
        KpiGuardConfig(**{field: value})

"""The whole loop over real sockets: RIC stand-ins, gNB and xApp as three processes on loopback."""

from __future__ import annotations

import io
import json
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from xapp.cli import main
from xapp.lab.lab import Lab, run_lab
from xapp.lab.options import LabOptions
from xapp.rmr.osc import librmr_problem

SUMMARY_KEYS = [
    "indications_received",
    "decode_errors",
    "decisions",
    "decided_by",
    "controls_sent",
    "controls_acked",
    "controls_failed",
    "controls_applied",
    "transmissions_outside_grant",
    "slots_run",
    "slots_late",
    "decision_ms",
    "loop_ms",
    "xapp_rss_mb",
    "start_to_first_decision_s",
    "throughput_mbps",
    "jain",
    "mean_delay_ms",
    "compare",
]


def quiet() -> Console:
    return Console(file=io.StringIO(), width=120)


@pytest.fixture
def lab() -> Iterator[Any]:
    """A lab to interfere with; stopped at the end whatever happened."""
    running: list[Lab] = []

    def start(**options: Any) -> Lab:
        running.append(Lab(LabOptions(**options)))
        running[-1].__enter__()
        running[-1].wait_first_indication()
        return running[-1]

    yield start
    for one in running:
        one.__exit__()


def run(options: LabOptions) -> dict[str, Any]:
    return run_lab(options, quiet())


def assert_loop_is_sound(summary: dict[str, Any]) -> None:
    """What holds however busy the machine is; `stackmac bench` says how fast the loop is."""
    assert not [key for key in SUMMARY_KEYS if key not in summary]
    assert summary["decode_errors"] == 0
    assert summary["transmissions_outside_grant"] == 0
    assert summary["controls_failed"] == 0
    assert summary["controls_sent"] == summary["controls_acked"] == summary["decisions"]
    # An answer may come after its period has begun; then the next one overtakes it.
    assert summary["controls_applied"] + summary["controls_superseded"] == summary["controls_sent"]
    # Nor is every report decided about: of two that wait the newer takes the place of the older.
    assert summary["decisions"] >= 1
    assert sum(summary["decided_by"].values()) == summary["decisions"]
    assert summary["xapp_exit_status"] == 0


def assert_decided_by(who: str, summary: dict[str, Any]) -> None:
    """But for what a busy machine made late."""
    decided_by = summary["decided_by"]
    assert set(decided_by) <= {who, "fallback:late", "fallback:busy"}
    assert decided_by.get(who, 0) > 0


@pytest.mark.parametrize("k", [1, 100])
def test_the_model_decides_and_the_radio_obeys(k: int, tmp_path: Path) -> None:
    recording = tmp_path / "recording"
    summary = run(LabOptions(seconds=2, k=k, compare="node_scheduler", record=recording))
    assert main(["replay", str(recording)]) == 0, "the recorded inputs make the same control bytes"

    assert_loop_is_sound(summary)
    assert summary["slots_run"] == 20 * k
    assert_decided_by("model", summary)
    # Bytes, sockets and processes change nothing: the live run is its replay in the simulator. Only a machine so busy
    # that the model or a control came too late makes a difference.
    by_model = summary["decided_by"].get("model") == summary["decisions"]
    # A node's first report may be there before the news that it is subscribed to.
    in_time = by_model and not summary["controls_late"] and not summary["dropped"]
    for figure in ("throughput_mbps", "jain", "utility", "mean_delay_ms"):
        replayed = summary["compare"]["bundled"][figure]
        if in_time:
            assert summary[figure] == pytest.approx(replayed, rel=1e-9), figure
    assert summary["compare"]["node_scheduler"]["throughput_mbps"] != summary["throughput_mbps"]


def test_three_cells_of_twenty_ues_under_a_classical_leader(tmp_path: Path) -> None:
    options = LabOptions(seconds=2, cells=3, ues=20, leader="proportional_fair", routes="file")
    recording = tmp_path / "recording"
    summary = run(replace(options, record=recording))
    assert main(["replay", str(recording)]) == 0

    assert_loop_is_sound(summary)
    assert_decided_by("proportional_fair", summary)


@pytest.mark.skipif(bool(librmr_problem()), reason=librmr_problem() or "librmr is there")
def test_an_xapp_on_librmr_among_python_peers() -> None:
    assert_loop_is_sound(run(LabOptions(seconds=2, leader="proportional_fair", rmr="librmr")))


def test_a_fast_period_reports_the_models_share_honestly() -> None:
    summary = run(LabOptions(seconds=2, period_ms=20))

    assert_loop_is_sound(summary)
    fallbacks = sum(count for who, count in summary["decided_by"].items() if who.startswith("fallback:"))
    assert summary["decided_by"].get("model", 0) + fallbacks == summary["decisions"]


def test_anyones_leader_plugs_in_and_its_failures_cost_one_decision_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "shared"))

    summary = run(LabOptions(seconds=2, leader="hesitant_leader:Hesitant"))

    assert_loop_is_sound(summary)
    assert summary["decided_by"]["fallback:error"] > 0
    assert summary["decided_by"]["hesitant"] > 0


def test_a_killed_xapp_leaves_the_mac_to_the_nodes_scheduler_within_two_periods(lab: Any) -> None:
    """A period of one slot; the next test's are of many."""
    a_killed_xapp_leaves_the_mac_to_the_nodes_scheduler(lab(seconds=60, k=1, leader="dynamic"), k=1)


def a_killed_xapp_leaves_the_mac_to_the_nodes_scheduler(running: Lab, k: int) -> None:
    assert running.gnb is not None and running.xapp is not None
    assert running.gnb.wait_status(lambda status: status.get("controls_applied", 0) >= 3, 20)
    running.xapp.kill()
    own = running.gnb.status["own_scheduler_periods"]

    assert running.gnb.wait_status(lambda status: status["own_scheduler_periods"] >= own + 5, 20)
    status = running.gnb.status
    governed = -(-status["slots_total"] // k) - status["own_scheduler_periods"]
    # Each control but the last governed one period, until the next one began; so the last one governed two at most.
    assert governed <= status["controls_applied"] + 1


def test_acknowledgements_stop_with_the_gnb_and_come_back_with_it_and_a_killed_xapp_leaves_the_mac(lab: Any) -> None:
    k = 100
    running = lab(seconds=60, k=k, leader="dynamic", rmr="si95")  # which counts route tables
    assert running.xapp.wait_status(lambda status: status["controls_acked"] >= 3, 20)

    running.gnb.stop()
    (node,) = running.xapp.status["nodes"]
    assert running.xapp.wait_status(lambda status: not status["nodes"][node], 20)
    acked = running.xapp.status["controls_acked"]
    tables = running.xapp.status["rmr"]["route_tables"]
    for _ in range(3):
        newest = running.xapp.status
        assert running.xapp.wait_status(lambda status, newest=newest: status is not newest, 20)
        assert running.xapp.status["controls_acked"] == acked

    running.start_gnb()
    assert running.xapp.wait_status(lambda status: status["controls_acked"] >= acked + 3, 30)
    assert running.xapp.status["rmr"]["route_tables"] > tables  # the node's route went and came back with it
    assert running.xapp.status["rmr"]["route_requests"] == 1
    assert "route_table_refused" not in running.xapp.status["rmr"]

    a_killed_xapp_leaves_the_mac_to_the_nodes_scheduler(running, k)


def test_sigterm_ends_the_lab_with_a_summary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """As Ctrl-C does (test_without_torch.py)."""

    def view(gnb: dict[str, Any], xapp: dict[str, Any], **_: Any) -> str:
        if xapp.get("decisions", 0) >= 3:
            signal.raise_signal(signal.SIGTERM)
        return ""

    monkeypatch.setattr("xapp.lab.lab.live_view", view)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    result, handler = tmp_path / "lab.json", signal.getsignal(signal.SIGTERM)
    try:
        assert main(["lab", "--seconds", "60", "--leader", "dynamic", "--json", str(result)]) == 130
    finally:
        signal.signal(signal.SIGTERM, handler)

    out, err = capfd.readouterr()
    assert "Traceback" not in err
    assert "decisions" in out
    summary = json.loads(result.read_text())
    assert summary["interrupted"] and summary["decisions"] >= 3
    assert summary["xapp_exit_status"] == 0
    assert list(tmp_path.iterdir()) == [result]

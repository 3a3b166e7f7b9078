"""A gNB of today under PRB quotas, as three processes: the loop closes, quotas hold, and everybody is released."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from rich.console import Console

from xapp.cli import main
from xapp.config.model import QuotaConfig
from xapp.lab.lab import Lab, run_lab
from xapp.lab.options import LabOptions

PATIENCE_S = 60.0


@pytest.fixture
def lab() -> Iterator[Callable[..., Lab]]:
    """`lab(leader=...)` starts one under RC; stopped at the end whatever happened."""
    running: list[Lab] = []

    def start(**options: Any) -> Lab:
        running.append(Lab(LabOptions(seconds=600, control="rc", **options)))
        running[-1].__enter__()
        running[-1].wait_first_indication()
        return running[-1]

    yield start
    for one in running:
        one.__exit__()


@pytest.fixture
def shared_data(redis_server: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A Redis for processes that a test starts; empty before and afterwards: a policy left there would limit UEs."""
    monkeypatch.setenv("DBAAS_SERVICE_HOST", redis_server.host)
    monkeypatch.setenv("DBAAS_SERVICE_PORT", str(redis_server.port))
    with redis.Redis(redis_server.host, redis_server.port) as client:
        client.flushall()
        yield
        client.flushall()


def test_quotas_close_the_loop_hold_in_every_report_and_end_with_the_xapp(tmp_path: Path) -> None:
    recording = tmp_path / "recording"
    options = LabOptions(seconds=5, control="rc", compare="node_scheduler,dynamic", record=recording)
    output = io.StringIO()
    summary = run_lab(options, Console(file=output, width=120))
    assert main(["replay", str(recording)]) == 0, "the recorded inputs make the same quotas"

    assert (summary["options"]["observe"], summary["decode_errors"]) == ("kpm_srsran", 0)
    assert summary["decisions"] >= 50
    assert summary["controls_sent"] == summary["controls_acked"] + summary["controls_failed"] >= 8
    assert summary["controls_unanswered"] == 0
    # Releases are quotas, too: all that was sent was applied or refused, and the summary's line says so.
    applied, failed = summary["controls_applied"], summary["controls_failed"] + summary["releases_failed"]
    assert summary["controls_sent"] + summary["releases_sent"] == applied + failed
    words = f"{summary['controls_sent']} sent and {summary['releases_sent']} releases, {applied} acknowledged,"
    assert f"controls    {words} {failed} failed, {applied} applied by the MAC\n" in output.getvalue()
    # Refused is only what is for a UE that has just left.
    assert summary["controls_failed"] <= 2
    assert {reason for reason in summary["dropped"] if "refused" in reason} <= {
        "quota_refused_control_failed_to_execute",
        "release_refused_control_failed_to_execute",
    }
    assert QuotaConfig().min_share_percent <= summary["least_quota_percent"] < 100
    # PrbUsedUl of every UE in every report that began under its quota; and the MAC's own count, slot by slot.
    assert summary["ue_reports_under_quota"] >= 100
    assert summary["ue_reports_over_quota"] == 0
    assert summary["transmissions_outside_grant"] == 0
    # The xApp was stopped by SIGTERM, the gNB after it.
    assert summary["releases_acked"] >= 3
    assert summary["ues_limited"] == 0
    assert summary["xapp_exit_status"] == 0
    # The simulator's quotas are the live ones, but for the slots that a control takes to arrive.
    replayed = summary["compare"]
    for figure in ("throughput_mbps", "utility", "jain"):
        assert summary[figure] == pytest.approx(replayed["fair_caps"][figure], rel=0.1), figure
    # All DYNAMIC means no quota at all.
    assert replayed["dynamic"] == replayed["node_scheduler"] != replayed["fair_caps"]


def test_after_kill_9_and_an_empty_redis_no_ue_stays_limited(
    lab: Callable[..., Lab], shared_data: None, redis_server: Any
) -> None:
    running = lab()
    assert running.gnb is not None and running.xapp is not None
    assert running.gnb.wait_status(lambda status: status.get("ues_limited", 0) >= 3, PATIENCE_S)
    running.xapp.kill()
    with redis.Redis(redis_server.host, redis_server.port) as client:
        client.flushall()
    running.start_xapp(leader="dynamic")
    assert running.gnb.wait_status(lambda status: status["ues_limited"] == 0, PATIENCE_S)
    assert running.xapp.wait_status(lambda status: status.get("releases_acked", 0) >= 3, PATIENCE_S)
    assert running.xapp.wait_status(lambda status: status["ues_limited"] == 0, PATIENCE_S)
    assert running.xapp.status["controls_sent"] == 0


@pytest.mark.usefixtures("shared_data")
def test_quotas_of_a_killed_xapp_and_of_an_operator_end(lab: Callable[..., Lab], tmp_path: Path) -> None:
    """One lab for both: the second xApp limits nobody by itself."""
    running = lab()
    whom_a_killed_xapp_left_limited_the_next_one_releases(running)
    a_cap_is_a_quota_and_ends_with_shadow_mode_and_with_its_policy(running, tmp_path)


def whom_a_killed_xapp_left_limited_the_next_one_releases(running: Lab) -> None:
    assert running.gnb is not None and running.xapp is not None
    assert running.gnb.wait_status(lambda status: status.get("ues_limited", 0) >= 3, PATIENCE_S)
    running.xapp.kill()
    # A quota has no lease: periods later they are still limited.
    periods = running.gnb.status["own_scheduler_periods"]
    assert running.gnb.wait_status(lambda status: status["own_scheduler_periods"] >= periods + 10, PATIENCE_S)
    assert running.gnb.status["ues_limited"] >= 3

    running.start_xapp(leader="dynamic")
    assert running.gnb.wait_status(lambda status: status["ues_limited"] == 0, PATIENCE_S)
    assert running.xapp.wait_status(lambda status: status.get("releases_acked", 0) >= 3, PATIENCE_S)
    status = running.xapp.status
    assert (status["controls_sent"], status["controls_failed"]) == (0, 0)


def a_cap_is_a_quota_and_ends_with_shadow_mode_and_with_its_policy(running: Lab, tmp_path: Path) -> None:
    gnb = running.gnb
    assert gnb is not None

    def percents(status: dict[str, Any]) -> list[int | None]:
        return [ue["quota_percent"] for cell in status.get("cells", ()) for ue in cell["ues"]]

    def put(policy: dict[str, Any]) -> None:
        file = tmp_path / "cap.json"
        file.write_text(json.dumps(policy))
        assert main(["intent", "put", str(file), "--url", running.a1_url, "--wait", str(PATIENCE_S)]) == 0

    limits = {"limits": {"per_ue": {"max_share_percent": 3.9}}}
    put(limits)
    # Below min_share_percent, because the operator says so; rounded down.
    assert gnb.wait_status(lambda status: bool(percents(status)) and set(percents(status)) == {3}, PATIENCE_S)
    assert running.xapp is not None
    assert running.xapp.wait_status(lambda status: status["policies"] == {"cap": "ENFORCED"}, PATIENCE_S)
    put({**limits, "mode": "shadow"})
    assert gnb.wait_status(lambda status: status["ues_limited"] == 0, PATIENCE_S)
    put(limits)
    assert gnb.wait_status(lambda status: set(percents(status)) == {3}, PATIENCE_S)
    assert main(["intent", "put", str(tmp_path / "cap.json"), "--url", running.a1_url, "--delete"]) == 0
    assert gnb.wait_status(lambda status: status["ues_limited"] == 0, PATIENCE_S)
    assert gnb.status["ue_reports_over_quota"] == 0

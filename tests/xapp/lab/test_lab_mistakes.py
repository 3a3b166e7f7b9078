"""`stackmac lab` before and after the run: mistakes are one line, and cost no run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from training.command_line.result_file import ResultFileError, write_json
from xapp.cli import main
from xapp.lab.options import LabOptions
from xapp.lab.processes import Child, LabError


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--cells", "16"], "range 1 to 15"),
        (["--leader", "nobody"], "unknown leader 'nobody'"),
        (["--compare", "node_idle,nobody"], "unknown leader 'nobody'"),
        (["--compare", "nobody"], "bundled, node_idle, node_scheduler, a bundle's directory"),
        (["--scenario", "utopia"], "unknown scenario 'utopia'"),
        (["--followers", "sheep"], "'sheep', expected one of rule, learned"),
        (["--observe", "all"], "'all', expected one of full, kpm_srsran, kpm_oai"),
        (["--control", "a1"], "'a1', expected one of dcm, ccc, rc"),
        (["--control", "rc", "--k", "10"], "--k 10 with --control rc: it acts at a RIC's pace"),
        (["--seed", str(2**63)], "--seed"),
        (["--json", "/nowhere/lab.json"], "--json /nowhere/lab.json: No such file or directory"),
        (["--json", "/tmp"], "--json /tmp: Is a directory"),
        (["--record", "/tmp"], "'/tmp' is a directory"),
        (["--record", "/nowhere/lab.rec"], "--record /nowhere/lab.rec: No such file or directory"),
        (["--record", "/dev/null"], "--record /dev/null: there is something else than a regular file"),
        (["--behave", "oai", "--control", "ccc"], "--behave oai with --control ccc, expected rc:"),
        (["--behave", "ocudu", "--control", "dcm"], "--behave ocudu with --control dcm, expected ccc or rc:"),
        (["--worlds", "3"], "--worlds 3 without --compare"),
        (["--compare", ","], "--compare is ',', expected names"),
    ],
)
def test_a_mistake_is_one_line_and_costs_no_run(
    arguments: list[str], complaint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("xapp.lab.command.stop_on_sigterm", lambda: None)
    monkeypatch.setattr("xapp.lab.command.run_lab", lambda *_: pytest.fail("it ran"))
    assert main(["lab", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("stackmac lab: ") and complaint in err


def test_results_replace_the_file_at_once_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "lab.json"
    target.write_text("old")
    write_json(str(target), {"a": 1})
    assert json.loads(target.read_text()) == {"a": 1}
    with pytest.raises(ResultFileError, match="No such file"):
        write_json(str(tmp_path / "gone" / "lab.json"), {})
    assert list(tmp_path.iterdir()) == [target]


def test_a_recording_that_is_there_already_is_moved_out_of_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("xapp.lab.command.stop_on_sigterm", lambda: None)
    path = tmp_path / "lab.rec"
    path.write_bytes(b"an earlier one")
    arguments = ["--leader", "proportional_fair", "--ues", "2", "--k", "1", "--seconds", "1"]
    assert main(["lab", *arguments, "--record", str(path)]) == 0
    assert (tmp_path / "lab.rec.1").read_bytes() == b"an earlier one"
    assert main(["replay", str(path)]) == 0
    assert "the same: " in capsys.readouterr().out


def test_a_child_that_gives_up_is_noticed_at_once_with_its_reason() -> None:
    child = Child("gnb", ["gnb", "--scenario", "utopia"])
    with pytest.raises(LabError, match=r"^gnb stopped: stackmac gnb: unknown scenario 'utopia'"):
        child.wait_ready(60.0)
    child.stop()
    assert child.exit_code == 2


@pytest.mark.parametrize(
    ("options", "control"),
    [
        ({}, "dcm"),
        ({"control": "dcm"}, "dcm"),
        ({"control": "rc"}, "rc"),
        ({"behave": "oai"}, "rc"),
        ({"behave": "ocudu"}, "auto"),
        ({"behave": "ocudu", "control": "rc"}, "rc"),
    ],
)
def test_the_results_name_the_control_that_was_used(options: dict[str, str], control: str) -> None:
    assert LabOptions(**options).resolved().to_json()["control"] == control


def test_a_run_takes_at_least_one_period() -> None:
    assert (LabOptions(seconds=1, period_ms=5000).periods, LabOptions(seconds=1, period_ms=5000).length_s) == (1, 5.0)
    assert (LabOptions(seconds=2, period_ms=300).periods, LabOptions(seconds=2, period_ms=300).length_s) == (6, 2)

"""Scenarios as files: what is written is what is read, and a mistake is one line."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path

import pytest

from training.simulator.scenario import MIX, SCENARIOS, Scenario, ScenarioError, make_scenario
from training.simulator.scenario_file import as_toml, scenario_from
from xapp.cli import main


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=str)
def test_what_is_shown_is_the_same_scenario_again(scenario: Scenario, tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(as_toml(scenario))
    again = make_scenario(str(path))
    assert again.name == "own" and again.with_(name=scenario.name) == scenario
    assert again.with_(name=scenario.name).hash == scenario.hash
    assert scenario_from(json.loads(json.dumps(asdict(scenario)))) == scenario


def test_a_file_is_a_base_and_what_is_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "busy.toml"
    path.write_text('base = "mix"\nload = 1\nue_counts = [7]\n')
    assert make_scenario(str(path)) == MIX.with_(name="busy", load=1.0, ue_counts=(7,))
    assert main(["scenarios", "--show", str(path)]) == 0
    path.write_text(capsys.readouterr().out)
    assert make_scenario(str(path)) == MIX.with_(name="busy", load=1.0, ue_counts=(7,))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('base = "x"', "base is 'x', expected one of mix, "),
        ("base = [1]", "base is [1], expected one of mix, "),
        ("load = 1", "num_rbgs, slots_per_dcm, report_delay_slots, traffic: missing"),
        ('base = "mix"\nload = "a"', "load is 'a', expected a number"),
        ('base = "mix"\nload = nan', "load is nan, expected a number"),
        ('base = "mix"\nload = -1', "load is -1.0, out of range"),
        ('base = "mix"\nnum_rbgs = 6.0', "num_rbgs is 6.0, expected a whole number"),
        ('base = "mix"\nlod = 1', "lod is no field; known: name, num_rbgs"),
        ('base = "mix"\nregime_load = [1.0]', "regime_load is [1.0], expected a list of the field's length"),
        ('base = "mix"\nue_counts = [1.5]', "ue_counts is 1.5, expected a whole number"),
        ('base = "mix"\nnode_rule = "z"', "node_rule is 'z', expected proportional_fair, max_weight, max_rate"),
        ('base = "mix"\ntraffic = 3', "traffic is 3, expected a list"),
        ('base = "mix"\ntraffic = ["a"]', "traffic is 'a', expected a table"),
        ('base = "mix"\n[[traffic]]\ntraffic_class = "X"', "traffic.traffic_class is 'X', expected one of EMBB"),
        ('base = "mix"\n[[traffic]]\ntraffic_class = "EMBB"', "traffic.ue_share, traffic.deadline_slots: missing"),
        ('name = "mix"', "name is 'mix', which is taken"),
        ("name = [1]", "name is [1], expected text"),
        ("x =", "Invalid value"),
    ],
)
def test_a_mistake_names_the_file_and_the_field(text: str, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(text)
    with pytest.raises(ScenarioError) as refused:
        make_scenario(str(path))
    said = str(refused.value)
    assert said.startswith(f"scenario {path}: ") and complaint in said and "\n" not in said


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(ScenarioError, match=r"scenario /no/such\.toml: No such file"):
        make_scenario("/no/such.toml")


def test_the_list_fits_a_terminal_of_a_hundred_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A class is a line there; a pipe gets a scenario a line (tests/xapp/test_cli.py)."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    assert main(["scenarios"]) == 0
    lines = re.sub(r"\x1b\[\d*m", "", capsys.readouterr().out).splitlines()
    assert max(map(len, lines)) <= 100 and len(lines) > len(SCENARIOS) + 1
    assert lines[1].rstrip().endswith("EMBB 100% <= 6 slots")
    assert all(any(line.startswith(name + " ") for line in lines) for name in SCENARIOS)

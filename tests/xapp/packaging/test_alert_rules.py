"""The alert rules' file: what the code says, in PromQL, about metrics that there are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import promql_parser
import pytest

import xapp.packaging.alert_rules
from xapp.packaging.alert_rules import FILE, SELECTOR, main, render
from xapp.ric.alarms import Problem


@pytest.fixture(scope="module")
def rules() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))
    return found


def test_the_file_is_what_the_code_says() -> None:
    assert FILE.read_text(encoding="utf-8") == render(), "run python -m xapp.packaging.alert_rules --write"
    assert main([]) == 0


def test_a_file_that_is_not_is_said_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(xapp.packaging.alert_rules, "FILE", tmp_path / "files" / "alert-rules.json")
    assert main([]) == 1
    assert "--write" in capsys.readouterr().out
    assert (main(["--write"]), main([])) == (0, 0)


def test_every_alarm_has_a_rule_with_its_number(rules: list[dict[str, Any]]) -> None:
    numbers = [rule["labels"]["alarm"] for rule in rules if "alarm" in rule["labels"]]
    assert numbers == [str(problem.number) for problem in Problem]
    assert len({rule["alert"] for rule in rules}) == len(rules) == len(Problem) + 1


def test_rules_are_promql_about_this_release(rules: list[dict[str, Any]]) -> None:
    for rule in rules:
        assert rule["expr"].count(SELECTOR) == 1
        promql_parser.parse(rule["expr"].replace(SELECTOR, 'service="x"'))
        assert rule["annotations"]["summary"] and rule["annotations"]["description"]
        assert rule["labels"]["severity"] in ("critical", "warning")

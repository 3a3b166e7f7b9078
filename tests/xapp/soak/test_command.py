"""`stackmac soak` over real processes, as short as it can be: `./dev soak` plays all faults."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from xapp.cli import main
from xapp.soak.options import PARTS
from xapp.soak.sabotage import SABOTAGES


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--faults", "e2_*,nothing"], "'nothing' fits none of e2_delay, "),
        (["--sabotage", "wheels"], "'wheels', expected one of guard, grammar"),
        (["--control", "ccc"], "'ccc', expected one of dcm, rc"),
        (["--minutes", "0"], "0.05"),
    ],
)
def test_a_mistake_is_one_line(words: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["soak", *words]) == 2
    assert expected in capsys.readouterr().err


def test_every_part_that_is_named_can_be_sabotaged() -> None:
    assert tuple(SABOTAGES) == PARTS


def test_a_soak_that_finds_nothing_says_so_and_one_of_a_broken_xapp_does_not(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    assert main(["soak", "--minutes", "0.05", "--faults", "e2_duplicate", "--json", str(result)]) == 0
    clean = json.loads(result.read_text())
    assert clean["faults"]["e2_duplicate"] >= 1 and clean["pdus_tampered_with"] > 0 and clean["controls_judged"] > 10
    assert (clean["violations"], clean["lost_policies"], clean["duplicate_subscriptions"]) == (0, 0, 0)

    broken = ["soak", "--minutes", "0.05", "--faults", "leader_greedy", "--sabotage", "guard", "--json", str(result)]
    assert main(broken) == 1
    assert json.loads(result.read_text())["violations_by_kind"]["over_cap"] > 0

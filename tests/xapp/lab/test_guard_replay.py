"""The KPI guard in the simulator: harmful leaders of the lab are found, the rule that they are made of is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from policy.kpi_guard.rules import GuardRules
from policy.registry import LeaderError, make_leader
from training.replay import replay
from training.simulator.scenario import make_scenario
from xapp.cli import main
from xapp.lab.guard_replay import GuardedRun, run_guarded
from xapp.lab.harmful_leaders import HARMFUL_LEADERS, plug_in_of

LAB = make_scenario("lab")
RULES = GuardRules()


def run(leader: str, *, seconds: float, rules: GuardRules | None = RULES, cells: int = 3, **options: Any) -> GuardedRun:
    return run_guarded(
        LAB, make_leader(plug_in_of(leader)), ues=8, cells=cells, seed=21, seconds=seconds, rules=rules, **options
    )


@pytest.mark.parametrize(
    ("leader", "within_s"), [("harmful_starve", 6.0), ("harmful_idle", 6.0), ("harmful_victim", 10.0)]
)
def test_who_starves_ues_is_found_in_seconds(leader: str, within_s: float) -> None:
    for seen in run(leader, seconds=within_s + 0.1).seen:
        assert seen.verdict is not None
        assert seen.verdict.rule == "starvation"
        assert seen.reverted_s is not None
        assert seen.reverted_s <= within_s


def test_a_good_rule_is_left_alone() -> None:
    """Beyond the time in which the guard only learns."""
    for seen in run("static_config", seconds=26.0).seen:
        assert (seen.reverted_s, seen.verdict) == (None, None)
        assert 0.0 < seen.hold_out_share < 0.15


def test_without_guard_the_worlds_are_those_of_a_replay() -> None:
    metrics = run("static_config", seconds=2.0, rules=None).metrics
    assert metrics == replay(LAB, make_leader("static_config"), ues=8, cells=3, seed=21, periods=20)


def test_while_it_learns_the_guard_changes_nothing() -> None:
    assert run("static_config", seconds=5.0).metrics == run("static_config", seconds=5.0, rules=None).metrics


def test_some_of_the_worlds_are_what_they_are_among_all(tmp_path: Path) -> None:
    """So that several processes may share them."""
    path = tmp_path / "found.json"
    arguments = ["guard-lab", "--ues", "8", "--worlds", "3", "--seconds", "5", "--leader", "harmful_victim"]
    found = []
    for jobs in ("1", "2"):
        assert main([*arguments, "--jobs", jobs, "--json", str(path)]) == 0
        found.append(path.read_text())
    assert found[0] == found[1]
    assert main([*arguments, "--jobs", "2", "--pool"]) == 2


def test_how_far_it_is_is_told() -> None:
    told: list[float] = []
    run("static_config", seconds=1.0, cells=1, report=told.append)
    assert told == pytest.approx([period * 0.1 for period in range(10)])


def test_they_are_leaders_of_the_lab_only() -> None:
    assert set(HARMFUL_LEADERS) == {"harmful_starve", "harmful_idle", "harmful_collide", "harmful_victim"}
    for name, place in HARMFUL_LEADERS.items():
        assert make_leader(place).name == name
        with pytest.raises(LeaderError, match="unknown leader"):
            make_leader(name)
    assert plug_in_of("bundled") == "bundled"

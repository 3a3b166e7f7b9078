"""The KPI guard in the simulator: harmful leaders of the lab are found, the rule that they are made of is not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from policy.kpi_guard.rules import GuardRules
from policy.registry import LeaderError, make_leader
from training.evaluation.result_document import made_by
from training.replay import replay
from training.simulator.scenario import make_scenario
from xapp.cli import main
from xapp.lab.guard_command import GuardLabOptions, measure
from xapp.lab.guard_replay import GuardedRun, run_guarded
from xapp.lab.guard_runs import Part, PlayedParts, World
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
        path.unlink()
    assert found[0] == found[1]
    assert main([*arguments, "--jobs", "2", "--pool"]) == 2


SHORT = ["guard-lab", "--ues", "4", "--worlds", "2", "--seconds", "2", "--leader", "static_config", "--seeds", "2"]


def found_in(path: Path, *more: str) -> dict[str, Any]:
    assert main([*SHORT, *more, "--json", str(path)]) == 0
    found: dict[str, Any] = json.loads(path.read_text())
    path.unlink()
    return found


def test_batches_are_what_each_is_by_itself_whoever_plays_them(tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    both = found_in(path, "--seed", "7", "--cost")
    assert found_in(path, "--seed", "7", "--cost", "--jobs", "2") == both
    for sort in ("guarded", "free"):
        each = [found_in(path, "--seed", seed, "--seeds", "1", "--cost")["values"][sort] for seed in ("7", "8")]
        assert each[0] + each[1] == both["values"][sort]


def test_an_interruption_keeps_the_batches_that_ended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "found.json"
    whole = found_in(path)
    options = GuardLabOptions(**{**whole["options"], "json_file": str(path)})
    kept = PlayedParts(str(path), {"made_by": made_by(), "options": whole["options"]})
    kept.begin(resume=False)

    def keep_one(part: Part, worlds: Sequence[World]) -> None:
        kept.keep(part, [world._replace(hold_out_share=0.25) for world in worlds])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(options, {}, keep_one)
    assert kept.kept == f"{path}.played keeps 1 part, --resume goes on"
    with Path(f"{path}.played").open("a") as lines:
        lines.write('[[8, 0, 1, true], [[null, "", 0.0')  # the machine was switched off

    assert main([*SHORT, "--json", str(path)]) == 2
    assert "found.json.played keeps 1 part: --resume goes on; or delete it" in capsys.readouterr().err
    assert main([*SHORT, "--json", str(path), "--resume", "--packets"]) == 2
    assert "packets" in capsys.readouterr().err
    resumed = found_in(path, "--resume")
    assert [world["hold_out_share"] for world in resumed["values"]["guarded"]] == [0.25, 0.25, 0.0, 0.0]
    assert resumed["values"]["guarded"][2:] == whole["values"]["guarded"][2:]
    assert not list(tmp_path.iterdir())


def test_a_result_that_is_there_is_not_measured_again_unasked_nor_for_another_measurement(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "found.json"
    assert main([*SHORT, "--json", str(path)]) == 0
    before, text = path.read_bytes(), json.loads(path.read_text())["text"]
    capsys.readouterr()
    assert main([*SHORT, "--json", str(path)]) == 2
    told = f"{path} is there already: --resume takes it as it is; or delete it, or choose another file"
    assert capsys.readouterr().err.strip() == f"stackmac guard-lab: {told}"
    monkeypatch.setattr("xapp.lab.guard_command.run_guarded", None)  # nothing is played
    assert main([*SHORT, "--json", str(path), "--resume"]) == 0
    assert capsys.readouterr().out.strip() == text
    assert main([*SHORT, "--json", str(path), "--resume", "--packets"]) == 2
    assert f"{path} is of another measurement: options.packets was False, is now True" in capsys.readouterr().err
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_what_comes_later_is_measured_by_itself() -> None:
    whole, first, later = (
        run("static_config", seconds=seconds, measured_from_s=since_s).metrics
        for seconds, since_s in ((3.0, 0.0), (1.0, 0.0), (3.0, 1.0))
    )
    for all_of_it, before, after in zip(whole, first, later, strict=True):
        assert (before.slots, after.slots) == (1000, 2000)
        served = [each.throughput_bits_per_slot * each.slots for each in (before, after, all_of_it)]
        assert served[0] + served[1] == pytest.approx(served[2])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--cost", "--cost-from", "2", "--json", "found.json"], "at most 1.9"),
        (["--cost-from", "1", "--json", "found.json"], "expected --cost"),
        (["--announced"], "--swap-for"),
        (["--resume"], "--resume without"),
        (["--scenario", "moon", "--json", "found.json"], "'moon'"),
        (["--swap-for", "nobody", "--settled", "1", "--json", "found.json"], "nobody"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    arguments: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*SHORT, *arguments]) == 2
    assert not list(tmp_path.iterdir())
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("kept", ["broken", "[1]\n", "{}\n[1]\n", '{"options": {"ues": 1}}\n'])
def test_what_is_no_file_of_kept_parts_is_refused_in_one_line(
    kept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "found.json.played").write_text(kept)
    assert main([*SHORT, "--json", "found.json", "--resume"]) == 2
    assert (tmp_path / "found.json.played").read_text() == kept
    error = capsys.readouterr().err
    assert "found.json.played" in error
    assert error.count("\n") == 1


def test_how_far_it_is_is_told() -> None:
    told: list[float] = []
    run("static_config", seconds=1.0, cells=1, report=told.append)
    assert told == pytest.approx([period * 0.1 for period in range(10)])


def test_they_are_leaders_of_the_lab_only() -> None:
    named = {"starve", "idle", "collide", "victim", "waste"}
    assert set(HARMFUL_LEADERS) == {f"harmful_{name}" for name in named}
    for name, place in HARMFUL_LEADERS.items():
        assert make_leader(place).name == name
        with pytest.raises(LeaderError, match="unknown leader"):
            make_leader(name)
    assert plug_in_of("bundled") == "bundled"

"""Result files: every value is in them, shards add up to the whole, and what does not belong together is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from policy.errors import UserMistake
from training.baselines.players import BASELINES, Player, World
from training.evaluation.evaluate import Evaluation, Key, evaluate
from training.evaluation.journal import Journal
from training.evaluation.merge import merge
from training.evaluation.result_document import ResultError, document_of, read_document
from training.evaluation.rows import Setup
from training.simulator.metrics import CellMetrics
from training.simulator.scenario import MIX
from xapp.cli import main

SMALL = ["evaluate", "--scenario", "sporadic", "--cells", "2", "--slots", "10", "--jobs", "1"]
RULES = ["--against", "node_scheduler,inflight_pf_smart"]


def run(target: Path, *more: str) -> dict[str, Any]:
    assert main([*SMALL, *more, "--json", str(target)]) == 0
    return json.loads(target.read_text())  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("whole")
    return run(folder / "all.json", *RULES, "--ues", "3,4", "--seeds", "6")


def test_three_shards_merged_are_the_whole_to_the_digit(whole: dict[str, Any], tmp_path: Path) -> None:
    files = []
    for shard in range(3):
        files.append(tmp_path / f"{shard}.json")
        run(files[-1], *RULES, "--ues", "3,4", "--seeds", "2", "--first-seed", str(700_001 + 2 * shard))
    target = tmp_path / "merged.json"
    assert main(["results", "merge", *map(str, reversed(files)), "--json", str(target)]) == 0
    assert json.loads(target.read_text()) == whole
    # The intervals of the whole are narrower than a shard's: they are worked out anew.
    assert json.loads(files[0].read_text())["rows"] != whole["rows"]
    assert main(["results", "merge", str(files[0]), str(files[2])]) == 2


def test_shards_by_ues_and_by_players_add_up_too(whole: dict[str, Any], tmp_path: Path) -> None:
    parts = []
    for ues in ("3", "4"):
        for player in RULES[1].split(","):
            name = f"{ues}-{player}.json"
            parts.append((name, run(tmp_path / name, "--against", player, "--ues", ues, "--seeds", "6")))
    assert json.loads(json.dumps(merge(parts))) == whole


def test_every_value_is_there_and_gives_the_rows_again(whole: dict[str, Any]) -> None:
    assert len(whole["values"]) == 3 * 2 * 6
    for entry in whole["values"]:
        assert set(entry["cells"]) == set(CellMetrics._fields) and len(entry["cells"]["utility"]) == 2
    again = read_document(whole, "it")
    assert json.loads(json.dumps(document_of(again, whole["bundles"], whole["missing"]))) == whole
    (row,) = (r for r in whole["rows"] if (r["player"], r["ues"]) == ("node_scheduler", 3))
    mine = [v["cells"]["utility"] for v in whole["values"] if (v["label"], v["ues"]) == ("node_scheduler", 3)]
    assert row["utility"] == pytest.approx(sum(map(sum, mine)) / 12, abs=1e-12)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda d: d.update(slots=11), "slots is 11, not 10"),
        (lambda d: d.update(scenario_hash="x"), "scenario_hash is x, not "),
        (lambda d: d["made_by"].update(simulator="y"), "made_by is "),
        (lambda d: d["setup"].update(cells=3), "cells is 3, not 2"),
        (lambda d: d["bundles"][0].update(digest="z"), "digest of bundle is z, not "),
        (lambda d: d["players"][1].update(followers="obey"), "followers of node_scheduler is obey, not rule"),
        (lambda d: d["contenders"]["node_scheduler"].update({"3": 0.5}), "node_scheduler contends at 0.5 with 3 UEs"),
        (lambda d: d["values"][0]["cells"].update(utility=[0.0, 1.0]), "both played bundle (greedy)"),
        (lambda d: d.pop("values"), "with its values ('values' is missing)"),
    ],
)
def test_what_does_not_belong_together_is_refused_by_name(whole: dict[str, Any], change: Any, complaint: str) -> None:
    other = json.loads(json.dumps(whole))
    change(other)
    with pytest.raises(ResultError) as refused:
        merge([("a.json", whole), ("b.json", other)])
    assert complaint in str(refused.value) and "\n" not in str(refused.value)


def test_a_hole_that_nobody_fills_is_named(whole: dict[str, Any]) -> None:
    other = json.loads(json.dumps(whole))
    del other["values"][0]
    with pytest.raises(
        ResultError, match=r"nobody played bundle \(greedy\) \(training 0\) with 3 UEs in world seed 700001"
    ):
        merge([("a.json", other)])
    assert json.loads(json.dumps(merge([("a.json", other), ("b.json", whole)])))["rows"] == whole["rows"]


def test_files_that_are_no_results_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.json"
    for text, complaint in (("{", "no JSON"), ("[]", "expected an object"), ("{}", "'contenders' is missing")):
        path.write_text(text)
        assert main(["results", "merge", str(path)]) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1 and complaint in err
    assert main(["results", "merge", "/no/file.json"]) == 2


def test_a_run_that_was_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    setup = Setup(MIX, (3,), seeds=4, cells=2, periods=5)
    calls: list[int] = []
    stop_at = 6

    def play(world: World) -> list[CellMetrics]:
        if len(calls) == stop_at:
            raise KeyboardInterrupt
        calls.append(world.seed)
        return BASELINES["node_idle"].plays[0](world)

    players = [Player("one", (play,)), Player("two", (play,))]

    def attempt(resume: bool) -> Evaluation:
        journal = Journal(str(tmp_path / "r.json"), players, [], setup)
        return evaluate(players, setup, known=journal.begin(resume=resume), keep=journal.keep)

    stopped = attempt(resume=False)
    assert stopped.seeds_done == 3 and "keeps 6 plays" in Journal(str(tmp_path / "r.json"), players, [], setup).kept
    lines = tmp_path / "r.json.played"
    kept = lines.read_bytes()
    with pytest.raises(UserMistake, match="keeps 6 plays: --resume goes on; or delete it, or choose another"):
        attempt(resume=False)
    assert lines.read_bytes() == kept
    # What was being written as the machine went off is played again.
    lines.write_text(lines.read_text()[:-20])
    stop_at = 99
    whole = attempt(resume=True)
    assert len(calls) == 6 + 3 and whole.complete
    plain = evaluate([player._replace(plays=BASELINES["node_idle"].plays) for player in players], setup)
    assert json.dumps(document_of(whole, [], [])) == json.dumps(document_of(plain, [], []))
    assert Key("one", 0, 3, 700_001) in whole.cells
    other = Journal(str(tmp_path / "r.json"), players, [], setup._replace(cells=3))
    with pytest.raises(Exception, match=r"is of another evaluation: setup\.cells was 2, is now 3"):
        other.begin(resume=True)


def test_resume_needs_a_file_and_a_whole_result_leaves_no_journal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*SMALL, "--resume"]) == 2
    assert "--resume without --json FILE" in capsys.readouterr().err
    run(tmp_path / "a.json", "--against", "node_idle", "--ues", "3", "--seeds", "1")
    assert not (tmp_path / "a.json.played").exists()


def test_a_result_that_is_there_is_not_played_again_unasked_nor_for_another_evaluation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, words = tmp_path / "a.json", ["--against", "node_idle", "--ues", "3", "--seeds", "2"]
    run(file, *words)
    shown, before = capsys.readouterr().out, file.read_bytes()
    assert main([*SMALL, *words, "--json", str(file)]) == 2
    told = f"{file} is there already: --resume takes it as it is; or delete it, or choose another file"
    assert capsys.readouterr().err.strip() == f"stackmac evaluate: {told}"
    assert main([*SMALL, *words, "--json", str(file), "--resume", "--seeds", "3"]) == 2
    assert f"{file} is of another evaluation: setup.seeds was 2, is now 3" in capsys.readouterr().err

    def play(*arguments: Any) -> None:
        raise AssertionError("it is played again")

    with monkeypatch.context() as patched:
        patched.setattr("training.replay.CellBatch", play)
        assert main([*SMALL, *words, "--json", str(file), "--resume"]) == 0
    rows = [line for line in shown.splitlines() if "cell-slots" not in line]
    assert [line for line in capsys.readouterr().out.splitlines() if "cell-slots" not in line] == rows
    assert file.read_bytes() == before and [path.name for path in tmp_path.iterdir()] == ["a.json"]
    file.write_text("{}")
    assert main([*SMALL, *words, "--json", str(file), "--resume"]) == 2
    assert "is no result of this evaluation: delete it, or choose another file" in capsys.readouterr().err


def test_half_a_result_whose_plays_were_deleted_goes_on_from_its_own_values(tmp_path: Path) -> None:
    setup = Setup(MIX, (3,), seeds=2, cells=2, periods=5)
    idle = BASELINES["node_idle"].plays[0]
    seeds: list[int] = []

    def once(world: World) -> list[CellMetrics]:
        if len(seeds) == 1:
            raise KeyboardInterrupt
        seeds.append(world.seed)
        return idle(world)

    def again(world: World) -> list[CellMetrics]:
        seeds.append(world.seed)
        return idle(world)

    file = tmp_path / "r.json"
    half = evaluate([Player("one", (once,))], setup)
    file.write_text(json.dumps(document_of(half, [], [])))
    journal = Journal(str(file), [Player("one", (again,))], [], setup)
    known = journal.begin(resume=True)
    whole = evaluate([Player("one", (again,))], setup, known=known, keep=journal.keep)
    assert whole.complete and seeds == [700_001, 700_002]
    assert "keeps 2 plays" in journal.kept  # should it be stopped now

"""A study is parts: kept one by one, resumed, shared out in shards, put together again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from policy.bundle_files import BUNDLES
from training.experiments.budget import BUDGETS
from training.experiments.kept import KeptStudy, remake
from training.experiments.shards import gather, shard_of
from training.experiments.study import Asked, Options, Part, Study, StudyError
from training.simulator.scenario import MIX


def test_a_study_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    first = Study(tmp_path, BUDGETS["smoke"])
    parts = [Part("a", dict, {"x": 1}), Part("b", dict, {"x": 2}), Part("the same again", dict, {"x": 1})]
    assert first.run(parts) == [{"x": 1}, {"x": 2}, {"x": 1}]
    assert first.parts_done == 2
    told: list[str] = []
    again = Study(tmp_path, BUDGETS["smoke"], show=lambda done, total, what: told.append(what))
    assert again.run([*parts, Part("c", dict, {"x": 3})])[-1] == {"x": 3}
    assert [what for what in told if what] == ["c"]


def test_shards_put_together_leave_nothing_to_play(tmp_path: Path) -> None:
    budget = replace(BUDGETS["smoke"], train_seeds=3)

    def parts(study: Study) -> list[Part]:
        return [Part(f"seed {seed}", dict, {"seed": seed}) for seed in study.train_seeds]

    for k in range(2):
        shard = Study(tmp_path / str(k), budget, shard=shard_of(f"{k + 1}/2", 3))
        shard.run(parts(shard))
    assert [len(list((tmp_path / str(k) / "parts").iterdir())) for k in range(2)] == [2, 1]
    gather([tmp_path / "0", tmp_path / "1"], tmp_path / "whole")
    told: list[str] = []
    whole = Study(tmp_path / "whole", budget, show=lambda done, total, what: told.append(what))
    assert whole.run(parts(whole)) == [{"seed": 1}, {"seed": 2}, {"seed": 3}]
    assert not any(told)


@pytest.mark.parametrize("text", ["0/2", "3/2", "1/4", "1", "a/b"])
def test_a_shard_that_there_is_not_is_refused(text: str) -> None:
    with pytest.raises(StudyError, match=r"expected K/N with 1 <= K <= N <= 3"):
        shard_of(text, 3)


def test_what_is_no_shard_is_not_put_together(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="it has no parts"):
        gather([tmp_path], tmp_path / "whole")


def test_results_of_another_version_are_refused(tmp_path: Path) -> None:
    study = KeptStudy(tmp_path, BUDGETS["smoke"], Options(), [Asked("1", "a", {"x": 1})])
    assert study.run([Part("a", dict, {"x": 1})]) == [{"x": 1}]
    with pytest.raises(StudyError, match="nothing more where 'b' is asked for"):
        study.run([Part("b", dict, {"x": 2})])


def test_a_file_without_results_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    for text in ("{", "{}", '{"experiment": "nothing", "command": "", "budget": {}}'):
        file.write_text(text)
        with pytest.raises(StudyError, match=r"a\.json: no results of `stackmac experiment`"):
            remake(file, tmp_path)


def interrupted(x: int) -> dict[str, int]:
    raise KeyboardInterrupt


def test_what_was_finished_before_ctrl_c_is_kept(tmp_path: Path) -> None:
    study = Study(tmp_path, BUDGETS["smoke"])
    parts = [Part("a", dict, {"x": 1}), Part("b", interrupted, {"x": 2})]
    with pytest.raises(KeyboardInterrupt):
        study.run(parts)
    assert study.parts_done == 1
    assert len(list((tmp_path / "parts").glob("*.json"))) == 1


def test_a_training_that_is_stopped_ends_the_study_and_goes_on_where_it_was(tmp_path: Path) -> None:
    from policy.leader_models.language_model import ModelConfig
    from training.experiments.trainings import warm_start_part

    steps: list[str] = []

    def stop_at_first(step: str) -> None:
        steps.append(step)
        if len(steps) == 1:
            raise KeyboardInterrupt  # as Ctrl-C does while a step is shown

    arguments = {
        "scenarios": [MIX], "teacher": "proportional_fair", "steps": 3, "batch": 4, "seed": 0,
        "model": ModelConfig(16, 1, 2, 24), "model_kind": "pointer", "ues": (2,),
    }  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        warm_start_part(**arguments, folder=tmp_path, resume=False, notify=stop_at_first)
    warm_start_part(**arguments, folder=tmp_path, resume=True, notify=stop_at_first)
    assert steps == ["step 1/3", "step 2/3", "step 3/3"]


def test_several_processes_give_the_same(tmp_path: Path) -> None:
    parts = [Part(str(k), dict, {"x": k}) for k in range(5)]
    assert Study(tmp_path, BUDGETS["smoke"], jobs=2).run(parts) == [{"x": k} for k in range(5)]


def test_a_part_is_known_by_all_that_it_depends_on() -> None:
    part = Part("a", dict, {"scenario": MIX, "bundle": BUNDLES / "paper"})
    assert part.key == part._replace(label="b").key
    for change in ({"scenario": MIX.with_(load=0.5)}, {"bundle": BUNDLES / "lab"}):
        assert part.key != part._replace(arguments={**part.arguments, **change}).key


def test_a_part_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    part = Part("a", dict, {"x": 1})
    Study(tmp_path, BUDGETS["smoke"]).run([part])
    (tmp_path / "parts" / f"{part.key}.json").write_text("{")
    with pytest.raises(StudyError, match=part.key):
        Study(tmp_path, BUDGETS["smoke"]).run([part])

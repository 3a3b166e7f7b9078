"""What a run's folder says to another that would resume it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from training.errors import TrainingError
from training.run_folder import RunFolder

NOW = {"config": {"objective": "regression", "leader": {"hidden_size": 64, "block_positions": 0}}, "ues": [4]}
OLDER = {"config": {"credit": "regression", "leader": {"hidden_size": 64}}, "ues": [4]}
"""As another version wrote it: one setting has another name since, one is new."""


@pytest.mark.parametrize(
    ("before", "now", "words"),
    [
        (OLDER, NOW, "config.objective was not set, is now regression"),
        (NOW, OLDER, "config.credit was not set, is now regression"),
        ({**NOW, "gone": 1}, NOW, "gone was 1, is now not set"),
        ({**NOW, "config": {**NOW["config"], "leader": {"hidden_size": 64}}}, NOW,
         "config.leader.block_positions was not set, is now 0"),
        (NOW, {**NOW, "ues": [4, 5]}, "ues was [4], is now [4, 5]"),
    ],
)  # fmt: skip
def test_a_run_of_other_settings_or_of_another_version_is_refused_by_the_name_of_the_first(
    tmp_path: Path, before: dict[str, Any], now: dict[str, Any], words: str
) -> None:
    RunFolder(tmp_path, before).save({}, {}, 1, {"played": 3})
    (tmp_path / "log.jsonl").write_text('{"update": 0}\n{"update": 1}\n')
    with pytest.raises(TrainingError) as refused:
        RunFolder(tmp_path, now).restore({}, {})
    assert str(refused.value) == f"{tmp_path / 'checkpoint.safetensors'}: {words}"
    restored = RunFolder(tmp_path, before).restore({}, {})
    assert (restored.step, restored.counts, restored.log) == (1, {"played": 3}, [{"update": 0}])


@pytest.mark.parametrize(("rounds", "version"), [((), "1"), ((b"half",), "2")])
def test_a_checkpoint_says_by_its_version_whether_it_holds_an_unfinished_round(
    tmp_path: Path, rounds: tuple[bytes, ...], version: str
) -> None:
    """What reads version 1 alone would go on with the round left out."""
    folder = RunFolder(tmp_path, NOW)
    folder.save({}, {}, 0, {}, rounds)
    (tmp_path / "log.jsonl").touch()
    with safe_open(folder.checkpoint, "numpy") as file:
        assert file.metadata()["version"] == version
    assert folder.restore({}, {}).round == (rounds[0] if rounds else None)
    save_file({"x": np.zeros(1)}, folder.checkpoint, {"version": "3"})
    with pytest.raises(TrainingError, match="version is 3, expected 1 or 2"):
        folder.restore({}, {})


def test_a_save_that_is_interrupted_leaves_the_checkpoint_before_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(tmp_path, NOW)
    folder.save({}, {}, 1, {})
    before = folder.checkpoint.read_bytes()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("training.checkpoint.os.replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        folder.save({}, {}, 2, {})
    assert folder.checkpoint.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [folder.checkpoint.name]

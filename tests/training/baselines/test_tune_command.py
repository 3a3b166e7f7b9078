"""What `stackmac tune` says that it keeps where it is stopped."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from policy.errors import INTERRUPTED
from training.baselines import contention_tuning
from xapp.cli import main

ROWS = "round_robin_smart,proportional_fair_smart"
Attempt = Callable[..., str]


@pytest.fixture
def attempt(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Attempt:
    """Ctrl-C comes after so many tuned c; what is said of it."""
    monkeypatch.chdir(tmp_path)
    original: Callable[..., Any] = contention_tuning.tune_table

    def stopped_after(count: int, *arguments: str, scenario: str = "mix") -> str:
        left = [count]

        def tune_table(*args: Any, progress: Callable[..., None], **others: Any) -> Any:
            def one_more(*found: Any) -> None:
                progress(*found)
                left[0] -= 1
                if not left[0]:
                    raise KeyboardInterrupt

            return original(*args, progress=one_more, **others)

        monkeypatch.setattr(contention_tuning, "tune_table", tune_table)
        words = ["--scenarios", scenario, "--players", ROWS, "--ues", "2,3", "--cells", "8"]
        assert main(["tune", *words, *arguments]) == INTERRUPTED
        (line,) = [line for line in capsys.readouterr().err.splitlines() if "stopped" in line]
        return line.partition("stopped, ")[2]

    return stopped_after


def test_a_file_that_was_not_written_is_not_said_to_hold_anything(attempt: Attempt) -> None:
    assert attempt(1, "--json", "new.json") == "no row was finished; new.json is not there yet"
    assert not Path("new.json").exists()


def test_a_file_that_was_there_is_as_it_was(attempt: Attempt) -> None:
    Path("old.json").write_text("{}\n")
    assert attempt(1, "--json", "old.json") == "no row was finished; old.json is as it was"
    assert Path("old.json").read_text() == "{}\n"


def test_rows_that_are_finished_are_counted_and_are_there(attempt: Attempt) -> None:
    assert attempt(3, "--json", "new.json") == "kept: 1 finished row in new.json"
    assert list(json.loads(Path("new.json").read_text())["mix"]) == ["round_robin_smart"]


def test_nothing_is_kept_of_what_would_have_been_printed(attempt: Attempt) -> None:
    assert attempt(3) == "nothing is kept"


def test_what_is_kept_beside_a_scenarios_file_is_said(attempt: Attempt) -> None:
    Path("mine.toml").write_text('base = "mix"\n')
    assert attempt(1, scenario="mine.toml") == "kept: 1 c of mine.toml beside it"

"""The examples, from a folder that is not the project's: anyone's leader, scenario, reward and prompt field."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from policy.leader_models import recorded_answers
from training.learning.config import PRESETS
from training.rewards import pay
from xapp.cli import main

ROOT = Path(__file__).parents[2]
TINY = ("--ues", "3", "--seeds", "1", "--cells", "2", "--slots", "10")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The examples where somebody has copied them to."""
    there = tmp_path_factory.mktemp("somewhere") / "mine"
    shutil.copytree(ROOT / "examples", there, ignore=shutil.ignore_patterns("__pycache__"))
    return there


Stackmac = Callable[..., str]


@pytest.fixture
def stackmac(folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Stackmac]:
    """Runs a command in that folder; what it prints."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if Path(entry or ".").resolve() != folder])

    def run(*words: str, status: int = 0) -> str:
        capfd.readouterr()
        got = main(list(words))
        said = "".join(capfd.readouterr())
        assert got == status, said
        return said

    yield run
    pay("")


def in_a_process_of_its_own(folder: Path, *commands: tuple[str, ...], **environment: str) -> None:
    """The same, as the console script calls it: the current folder is not on the path by itself."""
    code = "import sys; sys.path[:1] = []; from xapp.cli import main; sys.exit(any(map(main, eval(sys.argv[1]))))"
    done = subprocess.run(
        [sys.executable, "-c", code, repr(commands)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr


def result(folder: Path, name: str) -> dict[str, Any]:
    return json.loads((folder / name).read_text())  # type: ignore[no-any-return]


MINE = "my_leader:LongestQueue"
FIELDS = {"STACKMAC_PROMPT_FIELDS": "my_field"}


@pytest.fixture(scope="module")
def measured(folder: Path) -> dict[str, Any]:
    """A model made with a prompt field and a leader, played by processes that other processes start."""
    made = ("warm-start", "--scenario", "mix", "--ues", "3", "--steps", "2", "--out", "fields")
    against = ("--bundle", "fields/bundle", "--against", f"node_idle,{MINE}", "--jobs", "2", "--json", "against.json")
    in_a_process_of_its_own(folder, made, ("evaluate", "--scenario", "mix", *TINY, *against), **FIELDS)
    return {row["player"]: row for row in result(folder, "against.json")["rows"]}


def test_a_leader_is_measured_beside_others_and_by_itself(
    folder: Path, measured: dict[str, Any], stackmac: Stackmac
) -> None:
    assert list(measured) == ["bundle", "node_idle", MINE]
    alone = ("evaluate", "--scenario", "mix", *TINY, "--bundle", MINE, "--jobs", "1", "--against")
    stackmac(*alone, "node_idle", "--json", "b.json")
    subject = result(folder, "b.json")["rows"][0]
    assert subject["player"] == MINE and subject["utility"] == measured[MINE]["utility"]
    assert stackmac("results", "merge", "b.json").count(MINE) > 0
    said = stackmac(*alone, MINE, status=2)
    assert "would take part twice" in said
    said = stackmac("evaluate", "--scenario", "mix", "--against", "my_leader:Nobody", status=2)
    assert said.count("\n") == 1 and "has no attribute 'Nobody'" in said


def test_a_prompt_field_is_read_by_a_model_that_was_made_with_it(
    folder: Path, measured: dict[str, Any], stackmac: Stackmac
) -> None:
    layout = result(folder, "fields/bundle/bundle.json")["prompt_layout"]
    assert layout["ue_fields"][-1] == ["tries_left", [0.5, 1.5, 2.5, 4.5, 8.5]]
    assert layout["cell_fields"][-1][0] == "tries_left_ues"
    assert measured["bundle"]["cells"] > 0
    # Here the field is not known.
    said = stackmac("evaluate", "--scenario", "mix", *TINY, "--bundle", "fields/bundle", "--jobs", "1", status=2)
    assert "unknown prompt fields ['tries_left']" in said and "STACKMAC_PROMPT_FIELDS" in said and said.count("\n") == 1


def test_a_leader_is_tuned_exploited_and_put_into_an_experiment(folder: Path, stackmac: Stackmac) -> None:
    tuned = stackmac("tune", "--scenarios", "mix", "--players", MINE, "--ues", "3", "--cells", "8")
    assert f'"{MINE}"' in tuned
    one = (
        "exploit",
        "--scenario",
        "mix",
        "--bundle",
        MINE,
        "--ues",
        "3",
        "--cells",
        "4",
        "--seeds",
        "1",
        "--slots",
        "10",
    )
    assert "own served bits a slot" in stackmac(*one, "--deviator", "searched", "--deviator-budget", "100")
    assert "has none of its own" in stackmac(*one, "--followers", "learned", status=2)
    smoke = ("--budget", "smoke", "--bundle", MINE, "--out")
    stackmac("experiment", "period", *smoke, "periods")
    assert (folder / "periods" / "period.csv").exists()
    assert "looks into a network" in stackmac("experiment", "scale", *smoke, "scale", status=2)


def test_a_leader_leads_the_lab(folder: Path, stackmac: Stackmac) -> None:
    lab = ("lab", "--leader", "my_leader:LongestQueue", "--k", "1", "--ues", "3", "--seconds", "1")
    stackmac(*lab, "--compare", "node_idle", "--json", "lab.json")
    assert result(folder, "lab.json")["options"]["leader"] == "my_leader:LongestQueue"


def test_a_scenario_is_a_file_whose_rows_are_tuned_once(folder: Path, stackmac: Stackmac) -> None:
    words = ("evaluate", "--scenario", "busy.toml", *TINY, "--against", "inflight_pf_smart", "--jobs", "1")
    first = stackmac(*words, "--json", "busy.json")
    assert "tuning inflight_pf_smart for 3 UEs; kept beside busy.toml" in first
    (by_player,) = json.loads((folder / "busy.tuned.json").read_text()).values()
    found = result(folder, "busy.json")
    assert found["contenders"]["inflight_pf_smart"]["3"] == by_player["inflight_pf_smart"]["3"]
    assert (found["scenario"]["name"], found["scenario"]["load"]) == ("busy", 0.9)
    assert "tuning" not in stackmac(*words)


def test_a_reward_is_what_a_run_is_paid(folder: Path, stackmac: Stackmac, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "tiny", {"worlds": 2, "cells": 4})
    monkeypatch.setattr(recorded_answers, "TRIED", 1)  # of the states that each bundle is asked about
    tiny = ("--scenario", "mix", "--ues", "3", "--warm-start-steps", "2", "--updates", "1", "--choose-rounds", "0")
    stackmac("train", *tiny, "--reward", "my_reward:throughput", "--out", "paid", "--json", "paid.json")
    stackmac("train", *tiny, "--out", "usual", "--json", "usual.json")
    paid, usual = result(folder, "paid.json"), result(folder, "usual.json")
    assert paid["config"]["reward"] == "my_reward:throughput" and usual["config"]["reward"] == ""
    assert paid["last"]["reward"] != usual["last"]["reward"]
    said = stackmac("train", *tiny, "--out", "paid", "--resume", status=2)
    assert "reward was my_reward:throughput, is now" in said
    said = stackmac("train", *tiny, "--reward", "my_reward:BITS", "--out", "never", status=2)
    assert "reward 'my_reward:BITS': TypeError" in said

"""Recordings that version 0.1.0 made are played by all later ones, to the control bytes of then.

Each is `stackmac lab --cells 1 --ues 8 --seconds 4 --record FILE`: the bundled leader at K = 1 (`--scenario lab_paper
--k 1`) and at K = 100 (`--scenario lab --k 100`), and the scheduler fair_caps with E2SM-RC quotas (`--control rc`).
That one is newer: since then a control names its call process as E2SM-RC does. The bundles that were shipped then are
kept beside them: a recording plays to the same bytes with the model that made it.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from xapp.cli import main

FOLDER = Path(__file__).parent / "recordings"
SAME = {
    "dcm-k1": "140 messages, 45 decisions, 46 controls and releases",
    "dcm-k100": "140 messages, 45 decisions, 46 controls and releases",
    "rc": "120 messages, 45 decisions, 73 controls and releases",
}
BUNDLES = Path(__file__).parent / "bundles"
LED_BY = {"dcm-k1": ["--leader", str(BUNDLES / "paper")], "dcm-k100": ["--leader", str(BUNDLES / "lab")], "rc": []}


def test_each_of_them_is_played() -> None:
    assert sorted(path.stem for path in FOLDER.iterdir()) == sorted(SAME)


@pytest.mark.parametrize("name", SAME)
def test_it_plays_to_the_same_control_bytes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(FOLDER / f"{name}.jsonl"), *LED_BY[name]]) == 0
    chosen = capsys.readouterr()
    assert chosen.out == f"the same: {SAME[name]} equal byte for byte\n"
    assert chosen.err == ""


def test_another_model_is_told_from_the_one_that_made_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(FOLDER / "dcm-k1.jsonl"), "--leader", "round_robin"]) == 1
    assert "DIFFERENT" in capsys.readouterr().out


@pytest.mark.parametrize("name", SAME)
def test_one_of_an_unknown_format_is_refused_in_one_line(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header, *events = (FOLDER / f"{name}.jsonl").read_text().splitlines()
    document = json.loads(header)
    assert document["format"] == 1
    path = tmp_path / "recording"
    path.write_text("\n".join([json.dumps(document | {"format": 2}), *events, ""]))
    assert main(["replay", str(path)]) == 2
    assert capsys.readouterr().err == f"stackmac replay: {path} has format 2, expected 1\n"

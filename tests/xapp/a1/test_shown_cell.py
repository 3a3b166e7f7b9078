"""The cell that `stackmac intent show` works out, and what it says of policies that are not about it."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from xapp.cli import main
from xapp.packaging.descriptor import FOLDER

EXAMPLES = FOLDER / "examples"
CELL = "gnb_001_001_00000001/00f110000000011"
OTHER = "gnb_001_001_00000002/00f110000000021"
PLMN = {"mcc": "001", "mnc": "01"}


def show(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    assert main(["intent", "show", *map(str, words)]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def written(folder: Path, **policies: Any) -> list[Path]:
    for name, policy in policies.items():
        (folder / f"{name}.json").write_text(json.dumps(policy))
    return [folder / f"{name}.json" for name in policies]


def oran_ue(number: int, **scope: Any) -> dict[str, Any]:
    return {"scope": {"ueId": f"{number:016x}", **scope}, "ueLevelObjectives": {"ulThroughput": 500}}


def cell_of(nci: int) -> dict[str, Any]:
    return {"cellId": {"plmnId": PLMN, "cId": {"ncI": nci}}}


@pytest.mark.parametrize("files", list(permutations(("ue-level", "one-ue", "qos"))))
def test_a_cell_has_its_node_wherever_a_file_says_it(
    capsys: pytest.CaptureFixture[str], files: tuple[str, ...]
) -> None:
    out = show(capsys, *(EXAMPLES / f"{name}.json" for name in files))
    assert out.startswith(f"cell {CELL}, 17 RBGs\nprecedence: one-ue > ue-level > qos\n")
    assert all(f"{name}: ENFORCED\n" in out for name in ("one-ue", "ue-level"))


def test_a_gnb_that_is_named_is_found_by_a_full_cell_of_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    gnb = {"plmnId": PLMN, "gnbId": {"gnbIdLength": 32, "gnbIdValue": 1}}
    identity = {"guRanUeId": {"globalGnbId": gnb, "ranUeId": f"{3:016x}"}}
    document = {"scope": {"ueId": identity}, "ueLevelObjectives": {"ulThroughput": 500}}
    files = written(tmp_path, of_gnb=document, elsewhere={"scope": {"cells": [OTHER, CELL]}, "mode": "shadow"})
    assert show(capsys, *files).startswith(f"cell {CELL}, ")
    out = show(capsys, *files, "--cell", OTHER)
    assert "of_gnb: not about this cell, but about the cells of gNB 1 (32 bits)\n" in out


def test_without_a_full_name_any_node_is_shown(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert show(capsys, EXAMPLES / "ue-level.json").startswith("cell any/00f110000000011, ")
    assert show(capsys, EXAMPLES / "qos.json").startswith("cell any/000000000000000, ")
    files = written(tmp_path, there=oran_ue(3, **cell_of(17)), other={"scope": {"cells": [OTHER]}, "mode": "shadow"})
    assert show(capsys, *files).startswith("cell any/00f110000000011, ")


def test_every_file_that_is_not_about_the_cell_is_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    cells = [f"gnb_{n}/{n:015x}" for n in range(5)]
    files = written(
        tmp_path,
        here={"scope": {"cells": [CELL]}, "objective": {"alpha": 2.0}},
        there=oran_ue(3, **cell_of(33)),
        many={"scope": {"cells": cells}, "mode": "shadow"},
        lte=oran_ue(3, cellId={"plmnId": PLMN, "cId": {"ecI": 5}}),
    )
    out = show(capsys, *files)
    assert out.splitlines()[-5:] == [
        "here: ENFORCED",
        "there: not about this cell, but about NR-CGI 00f110000000021",
        f"many: not about this cell, but about {', '.join(cells[:3])} and 2 more",
        "lte: not about this cell, but about none that can be controlled here",
        "  lte: cId.ecI: cells of LTE are not controlled here",
    ]
    shown = json.loads(show(capsys, *files, "--json"))
    assert shown["policies"] == {"here": "ENFORCED"} and set(shown["elsewhere"]) == {"there", "many", "lte"}


def test_a_floor_for_a_ue_that_is_not_asked_for_is_not_enforced(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    files = [EXAMPLES / f"{name}.json" for name in ("one-ue", "ue-level")]
    assert json.loads(show(capsys, *files, "--json"))["not_enforced"] == []
    why = "UE 3: not there, and so nobody has the floor"
    found = json.loads(show(capsys, *files, "--ue", "4", "--json"))
    assert found["not_enforced"] == [{"policy": name, "reason": why} for name in ("one-ue", "ue-level")]
    # The configuration says who is in the slice, and so one of them is shown.
    rows = [{"sst": 2, "ue_ids": [41, 40]}, {"sst": 2, "ue_ids": [50], "cells": [OTHER]}]
    (config,) = written(tmp_path, config={"controls": {"a1": {"slices": rows}}})
    words = (EXAMPLES / "slice-sla.json", "--config", config, "--cell", CELL)
    assert "\nslice 2 (UEs 40, 41): " in show(capsys, *words)
    assert "slice 2: no UE of it is there, and so nobody has the floor" in show(capsys, *words, "--ue", "1")

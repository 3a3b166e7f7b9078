"""Bundles of every kind that version 0.1.0 wrote are loaded by all later ones, and decide as they did then.

They are small, their weights are random, and what was decided then was far from a tie (0.007 nats at least), so that it
holds on every processor.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from policy.bundle import DESCRIPTION, BundleError, load_bundle
from policy.cell_state import CellState, make_cell_state
from policy.intent import Intent
from policy.leader import never_expires
from policy.model_kinds import KINDS
from policy.model_leader import load_leader

FOLDER = Path(__file__).parent / "kept_bundles"
KEPT: dict[str, Any] = json.loads((FOLDER / "decided.json").read_text())
"""The cells, and by kind what was decided about them."""


def cell(document: dict[str, Any]) -> tuple[CellState, Intent]:
    state = make_cell_state(
        "node/cell",
        num_rbgs=document["num_rbgs"],
        slots_per_dcm=document["slots_per_dcm"],
        slot=0,
        ue_ids=tuple(document["ue_ids"]),
        **{name: np.array(values, float) for name, values in document["columns"].items()},
    )
    return state, Intent(max_share_percent={int(ue): share for ue, share in document["max_share_percent"].items()})


def test_there_is_one_of_every_kind() -> None:
    assert (
        sorted(path.parent.name for path in FOLDER.glob(f"*/{DESCRIPTION}")) == sorted(KINDS) == sorted(KEPT["decided"])
    )


@pytest.mark.parametrize("kind", KEPT["decided"])
def test_it_decides_as_it_did_then(kind: str) -> None:
    torch.set_num_threads(1)
    decided = KEPT["decided"][kind]
    cells = [cell(KEPT["states"][then["state"]]) for then in decided]
    now = load_leader(FOLDER / kind).decide(
        [state for state, _ in cells], [intent for _, intent in cells], never_expires
    )
    assert [list(decision.tokens) for decision in now] == [then["tokens"] for then in decided]
    assert [decision.allocation.owner_M.tolist() for decision in now] == [then["owners"] for then in decided]


@pytest.mark.parametrize("kind", KEPT["decided"])
def test_one_of_an_unknown_format_is_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    folder = shutil.copytree(FOLDER / kind, tmp_path / kind)
    document = json.loads((folder / DESCRIPTION).read_text())
    assert document["format_version"] == 1
    (folder / DESCRIPTION).write_text(json.dumps(document | {"format_version": 2}))
    with pytest.raises(BundleError) as refused:
        load_bundle(folder)
    assert str(refused.value) == f"{folder / DESCRIPTION}: format_version is 2, expected 1"

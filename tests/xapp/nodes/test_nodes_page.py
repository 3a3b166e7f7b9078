"""docs/nodes.md against the code: names, settings, faults, and what the lab can imitate."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from xapp.a1.policy_model import parse_policy
from xapp.config.model import parse_controls
from xapp.doctor.faults import FAULTS
from xapp.e2.e2ap.procedures import GnbId
from xapp.lab.gnb.behaviour import BEHAVIOURS
from xapp.monitoring.metrics import COUNTERS

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "nodes.md").read_text(encoding="utf-8")
DU, CU = GnbId(bytes.fromhex("00f110"), 0x19B, 22, du_id=0), GnbId(bytes.fromhex("00f110"), 0x19B, 22)


def test_the_names_of_the_page_are_those_that_nodes_have() -> None:
    named = set(re.findall(r"`(gnb[a-z]?_\d+_\d+_[0-9a-f]+(?:_[0-9a-f]+)?)`", PAGE))
    assert named == {
        DU.ran_name,
        GnbId(bytes.fromhex("00f110"), 0x19B, 22, cu_up_id=0).ran_name,
        GnbId(bytes.fromhex("05f510"), 1).ran_name,
        GnbId(bytes.fromhex("05f510"), 2, du_id=22).ran_name,
        GnbId(bytes.fromhex("130014"), 1).ran_name,
    }


def test_the_settings_of_the_page_are_valid_and_fit_their_nodes() -> None:
    entries = [json.loads(text.replace("[...]", "[]")) for text in re.findall(r"`(\{\"name\".*?\})`", PAGE)]
    assert len(entries) == 2
    for entry, node in zip(entries, (DU, CU)):
        controls = parse_controls({"nodes": [entry]})
        assert controls.node(node.ran_name) is controls.nodes[0]
        assert controls.control_of(node.ran_name) == entry.get("control", "auto")


@pytest.mark.parametrize("node", [DU, CU], ids=lambda node: node.ran_name)
def test_the_only_cell_of_a_node_that_names_none_can_be_named_in_a_policy(node: GnbId) -> None:
    cell = f"{node.ran_name}/node"
    policy = parse_policy(json.dumps({"scope": {"cells": [cell]}, "limits": {"per_ue": {"max_share_percent": 40}}}))
    assert policy.scope.cells == (cell,)


def test_whatever_the_page_points_at_is_there() -> None:
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", PAGE):
        assert (DOCS / link).exists(), link
    anchors = {
        re.sub(r"[^a-z -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^## (.*)$", PAGE, re.M)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= anchors
    assert {name for name in FAULTS if f"`{name}`" in PAGE} >= {"node_entry_unmatched", "measurements_refused"}
    assert set(re.findall(r"stackmac_([a-z_]+)_total", PAGE)) <= set(COUNTERS)
    assert set(re.findall(r"--behave (\w+)", PAGE)) <= set(BEHAVIOURS)

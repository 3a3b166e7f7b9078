"""An A1 field and a lab fault: each is one place in xapp/."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def test_an_a1_field_is_a_field_of_the_model(changed: Callable[..., Any], tmp_path: Path) -> None:
    """It is checked where policies arrive, and stands in the policy type that RICs are given."""
    tree = changed(
        "xapp/a1/policy_model.py",
        (
            "    period_ms: int | None = Field(",
            '    priority: int | None = Field(default=None, ge=0, le=9, description="0 first.")\n'
            "    period_ms: int | None = Field(",
        ),
    )
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(json.dumps({"mode": "shadow", "priority": 3}))
    bad.write_text(json.dumps({"mode": "shadow", "priority": 10}))
    done = tree.stackmac("intent", "validate", str(good))
    assert (done.returncode, done.stdout) == (0, f"{good}: valid\n"), done.stderr
    refused = tree.stackmac("intent", "validate", str(bad))
    assert refused.returncode == 2 and "priority is 10" in refused.stderr
    printed = tree.python(
        """
import json
from xapp.a1.policy_model import parse_policy
from xapp.packaging.descriptor import POLICY_TYPE_FILE, files
(written,) = (text for path, text in files().items() if path.name == POLICY_TYPE_FILE)
print(json.dumps(json.loads(written)["create_schema"]["properties"]["priority"]))
print(parse_policy('{"mode": "shadow", "priority": 3}').priority)
"""
    ).splitlines()
    field = json.loads(printed[0])
    assert (field["minimum"], field["maximum"], field["description"]) == (0, 9, "0 first.")
    assert printed[1] == "3"


def test_a_lab_fault_is_an_entry_of_the_registry(changed: Callable[..., Any]) -> None:
    """`stackmac lab --behave NAME` takes it: the gNB repeats measurements, and its answers name no control."""
    tree = changed(
        "xapp/lab/gnb/behaviour.py",
        (
            '    "ocudu": Behaviour(',
            '    "sluggish": Behaviour("kpm_srsran", refresh_ms=300, echoes_calls=False),\n    "ocudu": Behaviour(',
        ),
    )
    refused = tree.stackmac("lab", "--behave", "nobody")
    assert refused.returncode == 2 and "sluggish" in refused.stderr
    done = tree.stackmac("lab", "--behave", "sluggish", "--ues", "2", "--seconds", "1", "--json", "-")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["controls_acked"] > 0 and result["controls_failed"] == 0
    assert result["ue_reports_under_quota"] > 0

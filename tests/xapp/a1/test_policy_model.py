"""What a policy may say, and how a mistake in it is told; the policy type is what the model says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from xapp.a1.policy_model import POLICY_TYPE_ID, Policy, PolicyError, parse_policy
from xapp.a1.standard_types import make_standard_type, parse_standard, type_of
from xapp.packaging.descriptor import FOLDER, POLICY_TYPE_FILE

EXAMPLES = sorted((FOLDER / "examples").glob("*.json"))
CELL = "gnb_001_001_00000001/00f110000000011"


def policy_type() -> dict[str, object]:
    document: dict[str, object] = json.loads((FOLDER / POLICY_TYPE_FILE).read_text(encoding="utf-8"))
    return document


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 5


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_valid_for_us_and_for_the_mediator(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if standard := type_of(text):
        parse_standard(standard, text)
        Draft7Validator(make_standard_type(standard, 1)["create_schema"]).validate(json.loads(text))
        return
    policy = parse_policy(text)
    Draft7Validator(policy_type()["create_schema"]).validate(json.loads(text))
    again = parse_policy(json.dumps(policy.model_dump(mode="json", exclude_defaults=True)))
    assert again == policy


def test_the_policy_type_is_a_schema_of_its_own_without_references() -> None:
    document = policy_type()
    assert document["policy_type_id"] == POLICY_TYPE_ID == 20100
    Draft7Validator.check_schema(document["create_schema"])
    text = json.dumps(document)
    assert "$ref" not in text and "null" not in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "not JSON: EOF while parsing a list"),
        ("5", "policy is 5: Input should be an object"),
        ("{}", "policy: the policy says nothing"),
        ('{"mode": "auto"}', "mode is 'auto': Input should be 'control', 'shadow' or 'fallback'"),
        ('{"objective": {"alpha": 11}}', "objective.alpha is 11: Input should be less than or equal to 10"),
        ('{"objective": {"alpha": "1"}}', "objective.alpha is '1'"),
        ('{"objective": {"alpha": NaN}}', "objective.alpha is nan"),
        ('{"mode": "control", "remark": "be nice"}', "remark is 'be nice': Extra inputs are not permitted"),
        ('{"scope": {"cells": ["7"]}, "mode": "shadow"}', "scope.cells.0 is '7'"),
        ('{"limits": {"per_slice": {}}}', "limits.per_slice needs scope.slices"),
        (
            '{"limits": {"per_ue": {"min_share_percent": 9, "max_share_percent": 8}}}',
            "limits.per_ue: min_share_percent 9",
        ),
        ('{"scope": {"ue_ids": [1]}, "limits": {"per_ue": {}}}', "scope.cells must say of which cells"),
        ('{"scope": {"slices": [{"sst": 1}]}, "mode": "control"}', "there are no limits"),
        ('{"scope": {"slices": [{}]}, "limits": {"per_slice": {}}}', "scope.slices.0: expected either sst or"),
        (
            '{"scope": {"slices": [{"traffic_class": "embb", "sd": "000001"}]}, "limits": {"per_slice": {}}}',
            "go with sst, not with traffic_class",
        ),
        ('{"scope": {"slices": [{"sst": 1}, {"sst": 1}]}, "limits": {"per_slice": {}}}', "scope.slices names 1 twice"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(text: str, message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse_policy(text)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@given(st.text() | st.binary())
def test_anything_is_a_policy_or_a_policy_error(text: str | bytes) -> None:
    try:
        assert isinstance(parse_policy(text), Policy)
    except PolicyError:
        pass


def test_nothing_in_a_policy_is_free_text() -> None:
    """What an operator writes cannot reach a prompt as words: strings are of a fixed pattern or a fixed choice."""
    schema = policy_type()["create_schema"]

    def strings(node: object) -> list[dict[str, object]]:
        if isinstance(node, dict):
            mine = [node] if node.get("type") == "string" else []
            return mine + [found for value in node.values() for found in strings(value)]
        return [found for value in node for found in strings(value)] if isinstance(node, list) else []

    found = strings(schema)
    assert found
    assert all("pattern" in node or "enum" in node for node in found)

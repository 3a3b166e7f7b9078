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
from xapp.config import mistakes
from xapp.packaging.descriptor import FOLDER, POLICY_TYPE_FILE

EXAMPLES = sorted((FOLDER / "examples").glob("*.json"))


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


def test_all_mistakes_are_named_in_one_go_with_paths_and_ranges() -> None:
    cells, slices = ["7"], [{"sst": 256}, {"sst": 1, "sd": "12"}]
    document = {
        "scope": {"cells": cells, "slices": slices, "ue_ids": [2**32]},
        "objective": {"alpha": "1"},
        "limits": {"per_ue": {"max_share_percnt": 5}},
        "targets": {"per_ue": {"max_delay_ms": 0}},
        "mode": "auto",
        "colour": 1,
    }
    with pytest.raises(PolicyError) as caught:
        parse_policy(json.dumps(document))
    assert str(caught.value) == "; ".join(caught.value.mistakes)
    for told, expected in zip(
        caught.value.mistakes,
        [
            "scope.cells.0 is '7': String should match pattern",
            "scope.slices.0.sst is 256: Input should be less than or equal to 255 (range 0 to 255)",
            "scope.slices.1.sd is '12': String should match pattern",
            "scope.ue_ids.0 is 4294967296: Input should be less than 4294967296 (range 0 to 4294967295)",
            "objective.alpha is '1': Input should be a valid number (range 0 to 10)",
            "limits.per_ue.max_share_percnt is 5: Extra inputs are not permitted (is it max_share_percent?)",
            "targets.per_ue.max_delay_ms is 0: Input should be greater than 0 (range above 0 to 1e+06)",
            "mode is 'auto': Input should be 'control', 'shadow' or 'fallback'",
            "colour is 1: Extra inputs are not permitted (fields are scope, objective, limits, targets, mode, ",
        ],
        strict=True,
    ):
        assert told.startswith(expected)


def test_what_does_not_go_together_is_named_in_one_go() -> None:
    slices = [{"sst": 1}, {"sst": 1}]
    with pytest.raises(PolicyError) as caught:
        parse_policy(json.dumps({"scope": {"ue_ids": [1], "slices": slices}, "limits": {"per_slice": {}}}))
    assert caught.value.mistakes == (
        "policy: ue_ids are a node's own numbers: scope.cells must say of which cells",
        "policy: scope.ue_ids needs limits.per_ue",
        "policy: scope.slices names 1 twice",
    )


def test_a_policy_full_of_mistakes_is_told_in_a_dozen_short_lines() -> None:
    document = {"scope": {"ue_ids": ["x" * 500] * 900}, "mode": "control"} | {"\n" + "k" * 500: "v" * 500}
    with pytest.raises(PolicyError) as caught:
        parse_policy(json.dumps(document))
    *named, rest = caught.value.mistakes
    assert (len(named), rest) == (12, "and 889 more mistakes")
    assert max(map(len, named)) < 200
    document["scope"] = {}
    with pytest.raises(PolicyError) as caught:
        parse_policy(json.dumps(document))
    (told,) = caught.value.mistakes
    assert len(told) < 250 and told.isprintable()


def test_only_mistakes_that_are_named_are_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy may have thousands, and the process that reads it has decisions to make."""
    looked_at: list[str] = []

    def look(name: str, *_: object, **__: object) -> list[str]:
        looked_at.append(name)
        return []

    monkeypatch.setattr(mistakes, "get_close_matches", look)
    with pytest.raises(PolicyError) as caught:
        parse_policy(json.dumps({f"name{k}": 1 for k in range(5000)}))
    assert caught.value.mistakes[-1] == "and 4988 more mistakes"
    assert len(looked_at) == 12


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

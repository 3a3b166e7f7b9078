"""Documents by the published schemas, made at random, are taken; what those schemas refuse is refused with its path."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from a1_schemas import NUMBER, PRIORITY, PUBLISHED, RATE, Schema
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from xapp.a1.policy_model import PolicyError
from xapp.a1.standard_types import STANDARD_TYPES, make_standard_type, parse_standard, type_of

GIVEN_TO_A_RIC = {name: Draft7Validator(make_standard_type(name, 1)["create_schema"]) for name in STANDARD_TYPES}
"""As the A1 mediator judges before us."""
Path = tuple[str | int, ...]


def made_by(schema: Schema) -> st.SearchStrategy[Any]:
    """Documents that a schema of a1_schemas allows, with values that make sense: rates up to one, nothing negative."""
    for choice in ("oneOf", "anyOf"):
        if choice in schema:
            return st.one_of([made_by(each) for each in schema[choice]])
    if schema in (NUMBER, RATE):
        return st.floats(0.001, 1.0)
    if schema == PRIORITY:
        return st.integers(1, 300)
    if schema["type"] == "integer":
        return st.integers(schema["minimum"], schema["maximum"])
    if schema["type"] == "string":
        return st.from_regex(schema["pattern"], fullmatch=True, alphabet=st.characters(max_codepoint=127))
    if schema["type"] == "array":
        return st.lists(made_by(schema["items"]), min_size=1, max_size=2)
    needed = schema.get("required", [])
    fields = {name: made_by(each) for name, each in schema["properties"].items()}
    documents = st.fixed_dictionaries(
        {name: fields[name] for name in needed}, optional={n: f for n, f in fields.items() if n not in needed}
    )
    return documents.filter(bool) if "minProperties" in schema else documents


def with_floors_below_ceilings(document: dict[str, Any]) -> dict[str, Any]:
    for objectives in document.values():
        for least, most in (("guaUlThptPerSlice", "maxUlThptPerSlice"), ("gfbr", "mfbr")):
            if least in objectives and most in objectives:
                objectives[least], objectives[most] = sorted((objectives[least], objectives[most]))
    return document


def with_gnb_ids_as_long_as_they_say(document: dict[str, Any]) -> dict[str, Any]:
    for _, each in places(document):
        if isinstance(each, dict) and "gnbIdValue" in each:
            each["gnbIdValue"] >>= 32 - each["gnbIdLength"]
    return document


def places(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every value in a document."""
    yield path, value
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in entries:
        yield from places(each, (*path, key))


def spoilt(document: dict[str, Any], rng: random.Random) -> tuple[dict[str, Any], Path]:
    """A copy with a field too many, or a value of the wrong kind; and where."""
    found = copy.deepcopy(document)
    path, value = rng.choice([(path, value) for path, value in places(found) if path])
    if isinstance(value, dict) and rng.random() < 0.5:
        value["stray"] = 1
        return found, path
    parent: Any = found
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = rng.choice([None, True, {"stray": 1}, [], "no", -1.5])
    return found, path


@pytest.mark.parametrize("name", PUBLISHED)
@settings(max_examples=25)
@given(data=st.data())
def test_what_a_published_schema_allows_is_taken_and_what_it_refuses_is_named(name: str, data: st.DataObject) -> None:
    published = Draft7Validator(PUBLISHED[name])
    document = with_floors_below_ceilings(data.draw(made_by(PUBLISHED[name])))
    with_gnb_ids_as_long_as_they_say(document)
    assert published.is_valid(document)
    type_name = type_of(json.dumps(document))
    assert name.startswith(type_name)
    policy = parse_standard(type_name, json.dumps(document))
    assert policy.document == document
    given_to_the_ric = GIVEN_TO_A_RIC[type_name]
    assert given_to_the_ric.is_valid(document)

    wrong, path = spoilt(document, data.draw(st.randoms(use_true_random=False)))
    if published.is_valid(wrong):  # a negative number of what may be any
        with suppress(PolicyError):
            parse_standard(type_name, json.dumps(wrong))
        return
    assert not given_to_the_ric.is_valid(wrong)
    with pytest.raises(PolicyError) as refused:
        parse_standard(type_name, json.dumps(wrong))
    # One of a choice may be named in the place of what holds it.
    told = str(refused.value).partition(":")[0].partition(" is ")[0].split(".")
    assert told[: len(path)] == [str(key) for key in path][: len(told)], refused.value


@pytest.mark.parametrize("type_name", STANDARD_TYPES)
def test_the_types_that_a_ric_is_given_are_schemas(type_name: str) -> None:
    Draft7Validator.check_schema(make_standard_type(type_name, 1)["create_schema"])

"""JSON schemas of our models as other components take them: draft-07, without references."""

from __future__ import annotations

from typing import Any

DRAFT = "http://json-schema.org/draft-07/schema#"


def inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """`schema` (pydantic's) with what it refers to in its place."""
    definitions = schema.get("$defs", {})
    result: dict[str, Any] = _inlined({key: value for key, value in schema.items() if key != "$defs"}, definitions)
    return result


def _inlined(value: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(value, list):
        return [_inlined(each, definitions) for each in value]
    if not isinstance(value, dict):
        return value
    own = {key: _inlined(each, definitions) for key, each in value.items() if key != "$ref"}
    if "$ref" not in value:
        return own
    return {**_inlined(definitions[value["$ref"].rpartition("/")[2]], definitions), **own}


def without_null(value: Any) -> Any:
    """A schema in which what may be left out may not be null instead."""
    if isinstance(value, list):
        return [without_null(each) for each in value]
    if not isinstance(value, dict):
        return value
    own = {key: without_null(each) for key, each in value.items() if each is not None}
    choices = own.get("anyOf", [])
    if {"type": "null"} not in choices:
        return own
    (kept,) = [choice for choice in choices if choice != {"type": "null"}]
    return kept | {key: each for key, each in own.items() if key != "anyOf"}

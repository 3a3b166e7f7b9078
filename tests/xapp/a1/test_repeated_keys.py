"""Keys that stand twice in one object."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xapp.a1.repeated_keys import MAX_NAMED, repeated_keys

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(VALUES)
def test_what_was_an_object_has_each_key_once(value: Any) -> None:
    assert repeated_keys(json.dumps(value)) == repeated_keys(json.dumps(value).encode()) == ()


@given(VALUES, st.dictionaries(st.text("abc", min_size=1, max_size=5), VALUES, min_size=1, max_size=4), st.data())
def test_one_that_is_there_again_is_named_however_deep(around: Any, inner: dict[str, Any], data: Any) -> None:
    key = data.draw(st.sampled_from(sorted(inner)))
    twice = f'{json.dumps(inner)[:-1]}, "{key}": 1}}'
    text = f'{{"around": {json.dumps(around)}, "inner": [0, {twice}]}}'
    assert repeated_keys(text) == (f"the key {key} is there twice in one object, expected once",)


def test_the_same_key_in_two_objects_is_not_twice() -> None:
    assert repeated_keys('{"a": {"b": 1}, "b": [{"a": 1}, {"a": 2}]}') == ()


def test_so_many_are_named_and_no_more_of_each_than_a_line_has_room_for() -> None:
    many = ", ".join(f'"{key:050}": 1' for key in range(100))
    lines = repeated_keys(f"{{{many}, {many}}}")
    assert len(lines) == MAX_NAMED and all(len(line) < 120 for line in lines)


@pytest.mark.parametrize("text", ["", "{", '{"a": 1, "a": ', "[" * 100_000, b"\xff", "1" * 10_000, "NaN"])
def test_what_is_no_json_is_for_its_reader_to_refuse(text: str | bytes) -> None:
    assert repeated_keys(text) == ()

"""One is one, and any other number is many."""

from __future__ import annotations

import pytest

from policy.errors import counted


@pytest.mark.parametrize(
    ("count", "words", "read"),
    [
        (0, ("cell",), "0 cells"),
        (1, ("cell",), "1 cell"),
        (2, ("cell",), "2 cells"),
        (1, ("process", "processes"), "1 process"),
        (3, ("process", "processes"), "3 processes"),
        (1, ("slice is within its ratio", "slices are within their ratios"), "1 slice is within its ratio"),
    ],
)
def test_a_noun_follows_its_number(count: int, words: tuple[str, ...], read: str) -> None:
    assert counted(count, *words) == read

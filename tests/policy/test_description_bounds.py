"""Whatever bundle.json holds, by torch or the engine: a leader or one line, at once and within memory."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from policy.bundle import Bundle, load_bundle, save_bundle
from policy.bundle_files import BUNDLES, DESCRIPTION, BundleError
from policy.engine.model import read_model
from policy.errors import UserMistake
from policy.follower import new_follower_model
from policy.grammar import LAB
from policy.leader_models import recorded_answers
from policy.leader_models.language_model import ModelConfig, new_leader_model
from policy.model_kinds import KINDS, TEXT
from policy.prompt.compact import PromptLayout

KEPT = Path(__file__).parent / "kept_bundles"
SMALL = ModelConfig(hidden_size=16, num_layers=1, num_heads=2, intermediate_size=24)
DIGITS = 4000
"""As many as Python reads; more are no JSON to it."""


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


VALUES = {
    "10^18": 10**18,
    "2^40": 1 << 40,
    "a million": 1_000_000,
    "minus a million": -1_000_000,
    "4000 digits": 10**DIGITS,
    "infinity": float("inf"),
    "NaN": float("nan"),
    "1e300": 1e300,
    "nested 500 deep": nested(500),
    "a long text": "x" * 100_000,
    "null": None,
    "a list": [1, 2],
    "an object": {"a": 1},
    "true": True,
    "a fraction": 0.5,
}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The first two entries of every list, and every entry of every object, but for what was measured."""
    items = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for key, inner in items:
        if key in ("provenance", "metrics", "answers"):
            continue
        yield (*path, key)
        yield from places(inner, (*path, key))


def changed(description: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy of what is changed; the rest is the same."""
    made = inner = copy.copy(description)
    for key in path[:-1]:
        inner[key] = inner = copy.copy(inner[key])
    inner[path[-1]] = value
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("bundles") / "mine"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(recorded_answers, "TRIED", 1)  # what every description is written and read with
        save_bundle(Bundle(new_leader_model(SMALL, PromptLayout(), 0), new_follower_model(SMALL, 0), LAB, 6, 100), made)
    return made


@pytest.mark.parametrize("name", VALUES)
def test_any_value_anywhere_is_one_line(folder: Path, tmp_path: Path, name: str) -> None:
    good = json.loads((folder / DESCRIPTION).read_text())
    copied = tmp_path / "copied"
    shutil.copytree(folder, copied)
    tried = 0
    for path in places(good):
        (copied / DESCRIPTION).write_text(json.dumps(changed(good, path, VALUES[name])))
        for load in (load_bundle, read_model):
            try:
                load(copied)
            except UserMistake as error:
                assert "\n" not in str(error) and len(str(error)) < 1000, path
            tried += 1
    assert tried > 100


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {TEXT}))
@pytest.mark.parametrize("size", ["hidden_size", "num_layers", "intermediate_size"])
def test_a_model_larger_than_its_file_is_not_even_made(kind: str, size: str, tmp_path: Path) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(KEPT / kind, copied)
    load_bundle(copied)
    good = json.loads((copied / DESCRIPTION).read_text())
    (copied / DESCRIPTION).write_text(json.dumps(changed(good, ("leader", size), 1 << 20)))
    with pytest.raises(BundleError, match="is larger than leader"):
        load_bundle(copied)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"[" * 1_000_000, "not JSON"),
        (b'{"a":' * 200_000, "not JSON"),
        (b'{"format_version": ' + b"9" * 10_000 + b"}", "not JSON"),
        (b'{"format_version": ' + b"9" * 300 + b"}", "format_version holds 999"),
        (b'{"format_version": 1e999}', "format_version holds inf"),
        (b'{"format_version": ' + b"[" * 400 + b"]" * 400 + b"}", "format_version is nested more than 32 deep"),
        (b'{"format_version": "' + b"x" * 100_000 + b'"}', "format_version is 'xxx"),
    ],
)
def test_a_description_that_is_nested_or_giant_is_one_line(tmp_path: Path, content: bytes, line: str) -> None:
    (tmp_path / DESCRIPTION).write_bytes(content)
    for load in (load_bundle, read_model):
        with pytest.raises(BundleError, match=line) as caught:
            load(tmp_path)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_the_shipped_ones_are_within_bounds() -> None:
    for name in ("lab", "paper"):
        assert load_bundle(BUNDLES / name)

"""JSON in octets, read with bounds: one error names the path of whatever is missing or wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from xapp.e2.asn1.errors import E2DecodeError

MAX_BYTES = 256 * 1024
"""A node of 16 cells and 64 slices describes itself in less."""
MAX_ITEMS = 64
"""Of any list, by the service model."""

Tree = dict[str, Any]
T = TypeVar("T")


def read_object(data: bytes, what: str) -> Tree:
    """Read one JSON object. Raises E2DecodeError."""
    if len(data) > MAX_BYTES:
        raise E2DecodeError(f"{what}: {len(data)} octets, expected at most {MAX_BYTES}")
    try:
        tree = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise E2DecodeError(f"{what} is not JSON: {str(error)[:80]}") from None
    if not isinstance(tree, dict):
        raise E2DecodeError(f"{what} is a JSON {type(tree).__name__}, expected an object")
    return tree


def write_object(tree: Mapping[str, Any]) -> bytes:
    return json.dumps(tree, separators=(",", ":")).encode()


class Node:
    """One JSON object, and where it stands."""

    __slots__ = ("path", "tree")

    def __init__(self, tree: object, path: str) -> None:
        if not isinstance(tree, dict):
            raise E2DecodeError(f"{path} is {_shown(tree)}, expected an object")
        self.tree: Tree = tree
        self.path = path

    def __contains__(self, key: str) -> bool:
        return key in self.tree

    def get(self, key: str, kind: type[T]) -> T:
        """Return what stands under the key, of that type."""
        value = self.tree.get(key)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise E2DecodeError(f"{self.path}.{key} is {_shown(value)}, expected {_KINDS[kind]}")
        return value

    def number(self, key: str, most: int) -> int:
        """Return a whole number from 0 to `most`."""
        value = self.get(key, int)
        if not 0 <= value <= most:
            raise E2DecodeError(f"{self.path}.{key} is {_shown(value)}, expected 0 to {most}")
        return value

    def node(self, *keys: str) -> Node:
        """Return the object under the first of the keys that is there."""
        key = next((each for each in keys if each in self.tree), keys[0])
        return Node(self.tree.get(key), f"{self.path}.{key}")

    def nodes(self, key: str, *, may_lack: bool = False) -> list[Node]:
        """Return the objects of a list."""
        if may_lack and key not in self.tree:
            return []
        items = self.get(key, list)
        if len(items) > MAX_ITEMS:
            raise E2DecodeError(f"{self.path}.{key} has {len(items)} items, expected at most {MAX_ITEMS}")
        return [Node(item, f"{self.path}.{key}[{place}]") for place, item in enumerate(items)]


_KINDS: dict[type, str] = {int: "a whole number", str: "text", list: "a list", dict: "an object"}


def _shown(value: object) -> str:
    text = repr(value)
    return "missing" if value is None else text if len(text) <= 40 else text[:37] + "..."

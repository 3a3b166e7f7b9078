"""Bytes that independent implementations agree on."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest


class Vector(NamedTuple):
    name: str
    data: bytes
    dialect: str
    value: Any
    """As schema.py writes values; None where only the bytes are known."""


def plain(value: Any) -> Any:
    """asn1tools notation to ours: ('name', x) is a choice, (octets, size) a bit string."""
    match value:
        case dict():
            return {key: plain(each) for key, each in value.items()}
        case list():
            return [plain(each) for each in value]
        case (str() as name, inner):
            return {name: plain(inner)}
        case (bytes() as octets, int() as size):
            return "".join(f"{octet:08b}" for octet in octets)[:size]
        case bytes():
            return value.hex()
        case _:
            return value


def load_vectors() -> dict[str, Vector]:
    entries = json.loads((Path(__file__).parent / "vectors.json").read_text())["vectors"]
    vectors = (
        Vector(
            entry["name"],
            bytes.fromhex(entry["hex"]),
            entry["dialect"],
            plain(ast.literal_eval(entry["value"])) if entry["value"] else None,
        )
        for entry in entries
    )
    return {vector.name: vector for vector in vectors}


@pytest.fixture(scope="session")
def vectors() -> dict[str, Vector]:
    """By name."""
    return load_vectors()

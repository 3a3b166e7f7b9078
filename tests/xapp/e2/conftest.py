"""Bytes that independent implementations agree on, and values of every type."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import strategies as st

from xapp.e2.asn1 import schema
from xapp.e2.kpm import schema as kpm_schema


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


@cache
def schema_values(kind: schema.Type) -> st.SearchStrategy[Any]:
    """Every kind of value that a composed type can write."""
    match kind:
        case schema.Integer(lo=None):
            return st.integers(-(2**63), 2**63 - 1)
        case schema.Integer():
            inside = st.integers(kind.lo, kind.hi)
            return inside | st.integers(kind.hi + 1, kind.hi + 300) if kind.extensible else inside
        case kpm_schema.HeaderOfEitherAge():  # an old one may read as a new one
            return schema_values(kind.today)
        case schema.Real():
            return st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(["nan", "inf", "-inf"])
        case schema.Boolean():
            return st.booleans()
        case schema.Null():
            return st.none()
        case schema.Printable():
            longest = kind.hi + 3 if kind.extensible else (kind.hi or 200)
            visible = st.characters(min_codepoint=0x20, max_codepoint=0x7E)
            return st.text(visible, min_size=kind.lo, max_size=min(longest, kind.lo + 20))
        case schema.Octets():
            return st.binary(min_size=kind.lo, max_size=kind.hi or 40).map(bytes.hex)
        case schema.Bits():
            return st.text("01", min_size=kind.lo, max_size=kind.hi or 40)
        case schema.Enumerated():
            return st.sampled_from(kind.names)
        case schema.Unsupported():
            return st.nothing()
        case schema.Choice():
            return st.one_of([st.fixed_dictionaries({name: schema_values(each)}) for name, each in kind.alternatives])
        case schema.Sequence():
            must = {name: schema_values(each) for name, each, optional in kind.fields if not optional}
            may = {name: schema_values(each) for name, each, optional in kind.fields if optional}
            may |= {name: schema_values(each) for name, each in kind.additions}
            return st.fixed_dictionaries(must, optional={name: each for name, each in may.items() if not each.is_empty})
        case schema.ListOf():
            return st.lists(schema_values(kind.item), min_size=kind.lo, max_size=kind.lo + 2)
    raise TypeError(kind)


@pytest.fixture(scope="session")
def values_of() -> Callable[[schema.Type], st.SearchStrategy[Any]]:
    return schema_values

"""How a RAN function introduces itself, in every service model alike: RANfunction-Name of E2SM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class RanFunctionName(NamedTuple):
    short_name: str
    oid: str
    description: str
    instance: int | None = None


def name_to_value(name: RanFunctionName) -> dict[str, Any]:
    """As schema.py writes it."""
    value: dict[str, Any] = {
        "ranFunction-ShortName": name.short_name,
        "ranFunction-E2SM-OID": name.oid,
        "ranFunction-Description": name.description,
    }
    if name.instance is not None:
        value["ranFunction-Instance"] = name.instance
    return value


def name_from_value(value: Mapping[str, Any]) -> RanFunctionName:
    """The inverse of `name_to_value`."""
    return RanFunctionName(
        value["ranFunction-ShortName"],
        value["ranFunction-E2SM-OID"],
        value["ranFunction-Description"],
        value.get("ranFunction-Instance"),
    )

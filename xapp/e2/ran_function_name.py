"""How a RAN function introduces itself, in every service model alike: RANfunction-Name of E2SM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from xapp.e2.asn1.schema import Integer, Optional, Printable, Sequence

NAME = Printable(1, 150, extensible=True)
RAN_FUNCTION_NAME = Sequence(
    {
        "ranFunction-ShortName": NAME,
        "ranFunction-E2SM-OID": Printable(1, 1000, extensible=True),
        "ranFunction-Description": NAME,
        "ranFunction-Instance": Optional(Integer()),
    }
)


class RanFunctionName(NamedTuple):
    short_name: str
    oid: str
    description: str
    instance: int | None = None


def name_to_value(name: RanFunctionName) -> dict[str, Any]:
    """Return the name as the type RAN_FUNCTION_NAME writes it."""
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

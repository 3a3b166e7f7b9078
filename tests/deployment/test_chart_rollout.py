"""When an upgrade of the release replaces the pod: for what the xApp reads at its start only."""

from __future__ import annotations

import json
from typing import Any

import chart

from xapp.config.live import LIVE
from xapp.packaging import descriptor


def annotations(values: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = chart.render(values).one("Deployment")["spec"]["template"]["metadata"]["annotations"]
    return found


def controls_with(name: str, value: Any) -> dict[str, Any]:
    section, _, field = name.rpartition(".")
    return {"controls": PLUG_IN | ({section: {field: value}} if section else {field: value})}


PLUG_IN = {"leader": "my_module:MyLeader"}
"""A leader that may have a process of its own, as one of the fields says."""


def changed(value: Any, schema: dict[str, Any]) -> Any:
    """Another value that the schema allows."""
    if "enum" in schema:
        return next(other for other in schema["enum"] if other != value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, list):
        some = {} if schema["items"]["type"] == "object" else "10.0.0.0/8"  # a section with its defaults, or a network
        return value[:1] if value else [some]
    if isinstance(value, str):
        return f"{value}/x" if "pattern" in schema else f"{value}x"  # of a URL, or a leader: a folder
    return value + 2


def test_the_pod_is_replaced_for_what_is_read_at_the_start_only() -> None:
    shipped = json.loads((descriptor.FOLDER / descriptor.DESCRIPTOR_FILE).read_text())["controls"]
    schema = json.loads((descriptor.FOLDER / descriptor.SCHEMA_FILE).read_text())["properties"]
    others = {"decision_deadline_ms": 40.0}  # has no default
    for name, value in shipped.items():
        if isinstance(value, dict):
            inside = schema[name]["properties"]
            others.update({f"{name}.{inner}": changed(each, inside[inner]) for inner, each in value.items()})
        else:
            others[name] = changed(value, schema[name])
    before = annotations({"controls": PLUG_IN})
    assert {name for name, other in others.items() if annotations(controls_with(name, other)) == before} == set(LIVE)
    assert annotations({"env": {"A": "1"}}) != before


def test_a_static_route_table_changes_under_a_running_pod() -> None:
    other = {**chart.MINIMAL, "rmr": {"staticRoutes": "newrt|start\nnewrt|end|0\n"}}
    assert annotations(chart.MINIMAL) == annotations(other)

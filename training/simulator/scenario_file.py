"""Scenarios as files: a base and what is changed of it, in TOML.

    base = "mix"
    load = 0.8

    [[traffic]]                  # all classes anew; without it the base's stay
    traffic_class = "EMBB"
    ue_share = 1.0
    deadline_slots = 6
    load_share = 1.0

The file's name is the scenario's, unless the file gives one. `stackmac scenarios --show NAME` prints one whole.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, TypeVar, get_origin, get_type_hints

from policy.cell_state import TrafficClass
from training.simulator.scenario import SCENARIOS, Scenario, ScenarioError
from training.simulator.traffic import TrafficProfile

WORDS = {float: "a number", int: "a whole number", bool: "true or false", str: "text"}
Config = TypeVar("Config", Scenario, TrafficProfile)


def load_scenario(path: Path) -> Scenario:
    """The scenario of a file. Raises ScenarioError, one line with the file's name."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ScenarioError(f"scenario {path}: {reason}") from None
    base = document.pop("base", None)
    if base is not None and (not isinstance(base, str) or base not in SCENARIOS):
        raise ScenarioError(f"scenario {path}: base is {base!r}, expected one of {', '.join(SCENARIOS)}")
    document.setdefault("name", path.stem)
    if document["name"] in list(SCENARIOS):
        raise ScenarioError(
            f"scenario {path}: name is {document['name']!r}, which is taken; give it one of its own, name = ..."
        )
    try:
        return scenario_from(document, SCENARIOS[base] if base is not None else None)
    except ValueError as error:
        raise ScenarioError(f"scenario {path}: {error}") from None


def scenario_from(document: Mapping[str, Any], base: Scenario | None = None) -> Scenario:
    """A scenario of plain values, as TOML and JSON have them; what is not there is the base's. Raises ValueError."""
    changes = dict(document)
    if isinstance(changes.get("traffic"), list | tuple):
        changes["traffic"] = tuple(_made(TrafficProfile, one, "traffic.") for one in changes["traffic"])
    if base is not None:
        changes = {**{one.name: getattr(base, one.name) for one in fields(Scenario)}, **changes}
    return _made(Scenario, changes)


def as_toml(scenario: Scenario) -> str:
    """Every field, as a file that `load_scenario` takes; its name is left to the file."""
    lines = [
        f"{one.name} = {_literal(getattr(scenario, one.name))}"
        for one in fields(scenario)
        if one.name not in ("name", "traffic")
    ]
    for profile in scenario.traffic:
        lines += [
            "",
            "[[traffic]]",
            *(f"{one.name} = {_literal(getattr(profile, one.name))}" for one in fields(profile)),
        ]
    return "\n".join(lines) + "\n"


def _made(kind: type[Config], given: Any, where: str = "") -> Config:
    if not isinstance(given, Mapping):
        raise ScenarioError(f"{where.rstrip('.')} is {given!r}, expected a table")
    known = get_type_hints(kind)
    names = [one.name for one in fields(kind)]
    for name in given:
        if name not in names:
            raise ScenarioError(f"{where}{name} is no field; known: {', '.join(names)}")
    try:
        return kind(**{name: _value(where + name, value, known[name]) for name, value in given.items()})
    except TypeError:
        missing = [one.name for one in fields(kind) if one.name not in given and one.default is one.default_factory]
        raise ScenarioError(f"{', '.join(where + name for name in missing)}: missing") from None


def _value(name: str, value: Any, hint: Any) -> Any:
    """A field's value of its own type, so that equal scenarios have equal hashes."""
    if hint is TrafficClass:
        words = [one.name for one in TrafficClass]
        if isinstance(value, str) and value in words:
            return TrafficClass[value]
        if isinstance(value, int) and value in list(TrafficClass):
            return TrafficClass(value)
        raise ScenarioError(f"{name} is {value!r}, expected one of {', '.join(words)}")
    if hint is float and type(value) in (int, float) and math.isfinite(value):
        return float(value)
    if hint in (int, bool, str) and type(value) is hint:
        return value
    inner: tuple[Any, ...] = getattr(hint, "__args__", ())
    if get_origin(hint) is tuple and isinstance(value, list | tuple):
        if inner[0] is TrafficProfile and value and all(isinstance(item, TrafficProfile) for item in value):
            return tuple(value)
        if inner[0] is not TrafficProfile and (... in inner or len(value) == len(inner)) and value:
            return tuple(_value(name, item, inner[0]) for item in value)
    if get_origin(hint) is Literal and isinstance(value, str) and value in inner:
        return value
    expected = ", ".join(inner) if get_origin(hint) is Literal else WORDS.get(hint, "a list of the field's length")
    raise ScenarioError(f"{name} is {value!r}, expected {expected}")


def _literal(value: Any) -> str:
    if isinstance(value, TrafficClass):
        return json.dumps(value.name)
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_literal, value)) + "]"
    return json.dumps(value) if isinstance(value, bool | str) else repr(value)

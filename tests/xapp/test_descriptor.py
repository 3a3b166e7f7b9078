"""The descriptor and its schema: what the code says, and what the platform's onboarder accepts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from xapp import descriptor
from xapp.config import Controls, load_controls

SEMVER = re.compile(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?\Z")
DNS_LABEL = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?\Z")


def read(name: str) -> Any:
    return json.loads((descriptor.FOLDER / name).read_text(encoding="utf-8"))


def walk(value: Any) -> Any:
    yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from walk(inner)


def test_the_files_are_what_the_code_says() -> None:
    for path, text in descriptor.files().items():
        assert path.read_text(encoding="utf-8") == text, "run: python -m xapp.descriptor --write"


def test_drift_is_reported_and_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(descriptor, "FOLDER", tmp_path / "descriptors")
    assert descriptor.main([]) == 1
    assert "--write" in capsys.readouterr().out
    assert descriptor.main(["--write"]) == 0
    assert descriptor.main([]) == 0
    (tmp_path / "descriptors" / descriptor.SCHEMA_FILE).write_text("{}")
    assert descriptor.main([]) == 1


def test_the_descriptor_configures_the_xapp_with_its_defaults() -> None:
    assert load_controls(descriptor.FOLDER / descriptor.DESCRIPTOR_FILE) == Controls()


def test_the_descriptor_has_the_shape_that_the_onboarder_enforces() -> None:
    document = read(descriptor.DESCRIPTOR_FILE)
    assert DNS_LABEL.match(document["name"])
    assert SEMVER.match(document["version"])
    (container,) = document["containers"]
    assert "." in container["image"]["registry"]
    assert isinstance(container["command"], list) and isinstance(container["args"], list)
    ports = {port["name"]: port for port in document["messaging"]["ports"]}
    assert set(ports) == {"http", "rmrdata", "rmrroute"}
    assert all(port["container"] == container["name"] for port in ports.values())
    messages = ("txMessages", "rxMessages", "policies")
    for port in ports.values():
        assert len([key for key in messages if key in port]) in (0, 3), "all or none"
    # A top-level rmr section wins over messaging.ports: the two must not differ.
    assert {key: document["rmr"][key] for key in messages} == {key: ports["rmrdata"][key] for key in messages}
    assert document["rmr"]["protPort"] == f"tcp:{ports['rmrdata']['port']}"
    assert document["rmr"]["txMessages"] and document["rmr"]["rxMessages"]
    for name in ("livenessProbe", "readinessProbe"):
        probe = document[name]
        assert set(probe) == {"httpGet", "initialDelaySeconds", "periodSeconds"}
        assert probe["httpGet"]["port"] == ports["http"]["port"]
        assert probe["httpGet"]["path"].startswith("/ric/v1/health/")


def test_nothing_in_the_descriptor_is_empty_null_or_a_yaml_boolean() -> None:
    for value in walk(read(descriptor.DESCRIPTOR_FILE)):
        assert value is not None
        assert value != {}
        if isinstance(value, dict):
            assert not {"n", "y", "no", "yes", "on", "off"} & {key.lower() for key in value}


def test_the_schema_stands_alone_and_knows_every_control() -> None:
    schema = read(descriptor.SCHEMA_FILE)
    assert schema["$schema"].startswith("http://json-schema.org/draft-07/")
    keys = {key for value in walk(schema) if isinstance(value, dict) for key in value}
    assert not {"$ref", "$defs", "definitions", "prefixItems"} & keys
    assert set(schema["properties"]) == set(Controls.model_fields)
    assert schema["additionalProperties"] is False
    assert schema["properties"]["rmr"]["properties"]["port"]["maximum"] == 65535

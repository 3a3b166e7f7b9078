"""The descriptor and its schema: what the code says, and what the platform's onboarder accepts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from waiting import PATIENCE_S

from policy.schedulers.schedulers import SCHEDULERS
from xapp.config.model import Controls, load_controls, parse_controls
from xapp.packaging import descriptor
from xapp.rmr import transport
from xapp.run.app import App


def read(name: str) -> Any:
    return json.loads((descriptor.FOLDER / name).read_text(encoding="utf-8"))


def walk(value: Any) -> Any:
    yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from walk(inner)


def test_the_files_are_what_the_code_says() -> None:
    for path, text in descriptor.files().items():
        assert path.read_text(encoding="utf-8") == text, "run: python -m xapp.packaging.descriptor --write"


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


@pytest.fixture
def app() -> Iterator[App]:
    """A real one, without a platform."""
    loopback = {"bind_host": "127.0.0.1", "port": 0}
    nowhere = {"submgr_url": "http://127.0.0.1:9", "e2mgr_url": "http://127.0.0.1:9", "appmgr_url": ""}
    running = App(parse_controls({"rmr": loopback, "http": loopback, "ric": nowhere}), SCHEDULERS["proportional_fair"])
    running.start()
    yield running
    running.stop()


def test_the_probes_ask_what_the_xapp_answers_even_before_it_has_routes(app: App) -> None:
    document = read(descriptor.DESCRIPTOR_FILE)
    assert not app.ready()[0]
    for name in ("livenessProbe", "readinessProbe"):
        get = document[name]["httpGet"]
        assert get["port"] == document["controls"]["http"]["port"]
        assert (
            httpx.get(
                f"http://127.0.0.1:{app.server.port}{get['path']}", trust_env=False, timeout=PATIENCE_S
            ).status_code
            == 200
        )


def test_the_descriptor_names_every_message_that_the_xapp_receives(app: App) -> None:
    received = {*app.parts.receiver.message_types, transport.HEALTH_REQUEST}
    assert {descriptor.MESSAGE_NUMBERS[name] for name in descriptor.MESSAGES["rxMessages"]} == received


def test_a_descriptor_without_messages_gets_the_built_in_ones_and_the_platform_hears_them(app: App) -> None:
    (served,) = httpx.get(
        f"http://127.0.0.1:{app.server.port}/ric/v1/config", trust_env=False, timeout=PATIENCE_S
    ).json()
    document, built_in = json.loads(served["config"]), descriptor.make_descriptor()
    for section in descriptor.MESSAGING:
        assert document[section] == built_in[section]
    assert document["controls"]["http"]["bind_host"] == "127.0.0.1"


def test_a_descriptors_own_messages_are_what_the_platform_hears() -> None:
    document = {"rmr": {"txMessages": ["MINE"], "rxMessages": []}, "controls": {}}
    assert descriptor.completed(document) == document


def test_the_schema_stands_alone_and_knows_every_control() -> None:
    schema = read(descriptor.SCHEMA_FILE)
    assert schema["$schema"].startswith("http://json-schema.org/draft-07/")
    keys = {key for value in walk(schema) if isinstance(value, dict) for key in value}
    assert not {"$ref", "$defs", "definitions", "prefixItems"} & keys
    assert set(schema["properties"]) == set(Controls.model_fields)
    assert schema["additionalProperties"] is False
    assert schema["properties"]["rmr"]["properties"]["port"]["maximum"] == 65535

"""Symptom data: all of it, whatever fails, and no secrets."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from typing import Any

import pytest

from xapp.monitoring.symptom_data import symptom_data, versions, without_secrets


def unpacked(parts: dict[str, Callable[[], Any]]) -> dict[str, str]:
    archive = zipfile.ZipFile(io.BytesIO(symptom_data(parts)))
    assert archive.testzip() is None
    return {name: archive.read(name).decode() for name in archive.namelist()}


def test_every_part_is_a_file() -> None:
    files = unpacked({"a.json": lambda: {"x": (1, object)}, "b.txt": lambda: "text", "c.txt": lambda: b"\xff bytes"})
    assert list(files) == ["a.json", "b.txt", "c.txt"]
    assert '"x"' in files["a.json"]
    assert (files["b.txt"], files["c.txt"]) == ("text", "\ufffd bytes")


def test_a_part_that_fails_costs_that_part_only() -> None:
    def fail() -> None:
        raise RuntimeError("no status today")

    files = unpacked({"status.json": fail, "b.txt": lambda: "text"})
    assert list(files) == ["status.json.failed.txt", "b.txt"]
    assert "no status today" in files["status.json.failed.txt"]


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("http://me:secret@host:8080/x", "http://***@host:8080/x"),
        ('{"url": "redis://:pw@host"}', '{"url": "redis://***@host"}'),
        ('{"db_password": "x y", "n": 1}', '{"db_password": "***", "n": 1}'),
        ('{"apiKey":"k"}', '{"apiKey":"***"}'),
        ('{"tokens": [1, 2], "host": "a@b"}', '{"tokens": [1, 2], "host": "a@b"}'),
        ("GET http://host/a@b", "GET http://host/a@b"),
    ],
)
def test_secrets_are_taken_out(text: str, clean: str) -> None:
    assert without_secrets(text) == clean
    assert unpacked({"x": lambda: text}) == {"x": clean}


def test_versions_name_what_this_is_built_on() -> None:
    found = versions()
    assert found["stackmac"] and found["python"] and found["torch"]

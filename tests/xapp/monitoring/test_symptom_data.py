"""Symptom data: all of it, whatever fails, and no secrets."""

from __future__ import annotations

import io
import itertools
import json
import threading
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
from waiting import PATIENCE_S

from xapp.monitoring.symptom_data import (
    KEPT_S,
    MAX_FILE_CHARACTERS,
    MAX_LINE_CHARACTERS,
    PIECE_CHARACTERS,
    SymptomData,
    symptom_data,
    versions,
    without_secrets,
)


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


def test_symptom_data_are_made_once_for_all_who_ask_within_a_while() -> None:
    now_s, made = 100.0, 0

    def part() -> str:
        nonlocal made
        made += 1
        return str(made)

    data = SymptomData({"x": part}, clock=lambda: now_s)
    first = data.newest()
    now_s += KEPT_S - 0.1
    assert data.newest() is first
    now_s += 0.1
    assert data.newest() != first
    assert made == 2


def test_those_who_ask_while_symptom_data_are_made_wait_for_the_same() -> None:
    begun, go_on, made = threading.Event(), threading.Event(), []

    def part() -> str:
        begun.set()
        assert go_on.wait(PATIENCE_S)
        made.append(1)
        return "x"

    data, got = SymptomData({"x": part}), []
    clients = [threading.Thread(target=lambda: got.append(data.newest())) for _ in range(6)]
    for client in clients:
        client.start()
    assert begun.wait(PATIENCE_S)
    go_on.set()
    for client in clients:
        client.join(PATIENCE_S)
    assert (len(got), len(set(got)), len(made)) == (6, 1, 1)


def test_symptom_data_are_made_in_pieces_between_which_others_run() -> None:
    pauses = 0

    def pause() -> None:
        nonlocal pauses
        pauses += 1

    numbers = {str(number): number for number in range(100_000)}
    parts: dict[str, Callable[[], Any]] = {
        "a.json": lambda: numbers,
        "b.txt": lambda: (f"line {number}" for number in range(100_000)),
        "c.txt": lambda: "x" * 100 + "\n" * 100_000,
    }
    archive = zipfile.ZipFile(io.BytesIO(symptom_data(parts, pause=pause)))
    contents = [archive.read(name) for name in archive.namelist()]
    assert json.loads(contents[0]) == numbers
    assert contents[1].decode().split("\n")[-1] == "line 99999"
    assert pauses >= sum(map(len, contents[:2])) / PIECE_CHARACTERS


def test_a_file_of_symptom_data_has_a_bound() -> None:
    endless = itertools.repeat("x" * 1000)
    files = unpacked({"a.txt": lambda: endless, "b.txt": lambda: "y" * (MAX_LINE_CHARACTERS + 1), "c": lambda: "z"})
    assert len(files["a.txt"]) <= MAX_FILE_CHARACTERS + 100
    assert files["a.txt"].endswith(f"(cut: more than {MAX_FILE_CHARACTERS} characters)")
    assert files["b.txt"] == "y" * MAX_LINE_CHARACTERS + " (cut)"
    assert files["c"] == "z"


def test_secrets_are_taken_out_of_every_line_wherever_pieces_end() -> None:
    secrets = [{"url": f"http://me:secret{number}@host", "password": f"secret{number}"} for number in range(5000)]
    files = unpacked({"a.json": lambda: secrets, "b.txt": lambda: iter([json.dumps(each) for each in secrets])})
    assert json.loads(files["a.json"]) == [{"url": "http://***@host", "password": "***"}] * 5000
    assert "secret" not in files["b.txt"]

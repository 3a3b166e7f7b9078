"""The version stands in setup.py; wherever else it is written it is that one."""

from __future__ import annotations

import json
import re
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
(VERSION,) = re.findall(r'^    version="(\d+\.\d+\.\d+)",', (ROOT / "setup.py").read_text(encoding="utf-8"), re.M)


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_installed_package_has_it() -> None:
    assert version("stackmac") == VERSION


def test_the_citation_and_the_newest_changes_are_of_it() -> None:
    citation = yaml.safe_load(text("CITATION.cff"))
    assert citation["version"] == VERSION
    assert {"cff-version", "message", "title", "authors"} <= citation.keys(), "what the format asks for"
    assert re.findall(r"^## (\S+)", text("CHANGELOG.md"), re.M)[0] == VERSION


@pytest.mark.parametrize("name", ["Dockerfile", "docs/install.md"])
def test_images_and_charts_that_are_named_are_of_it(name: str) -> None:
    named = re.findall(r"stackmac:(\d+\.\d+\.\d+)", text(name)) + re.findall(r" --version=(\S+)", text(name))
    assert named and set(named) == {VERSION}


def test_the_descriptor_has_it() -> None:
    descriptor = json.loads(text("descriptors/config-file.json"))
    assert (descriptor["version"], descriptor["containers"][0]["image"]["tag"]) == (VERSION, VERSION)

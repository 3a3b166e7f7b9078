"""The configuration in force and its file: found, followed by content, and never worse than what was there."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from xapp.config.live import LIVE, Configuration, default_path
from xapp.config.model import ConfigError, Controls


def write(path: Path, **controls: Any) -> Path:
    path.write_text(json.dumps({"name": "mine", "version": "3.2.1", "controls": controls}))
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "config-file.json", lease_periods=2, report_period_ms=50)


# -- where it is ------------------------------------------------------------------------------------------------------


def test_the_platform_says_where_the_descriptor_is_as_a_file_or_as_its_folder(path: Path, tmp_path: Path) -> None:
    for name in ("XAPP_DESCRIPTOR_PATH", "CONFIG_FILE"):
        assert default_path({name: str(path)}) == path
        assert default_path({name: str(tmp_path)}) == path
        assert default_path({name: str(tmp_path / "none")}) is None
    assert default_path({"XAPP_DESCRIPTOR_PATH": str(tmp_path / "none"), "CONFIG_FILE": str(path)}) == path
    assert default_path({}) is None


# -- following the file -----------------------------------------------------------------------------------------------


def test_what_can_change_takes_effect_and_the_rest_asks_for_a_restart(path: Path) -> None:
    configuration = Configuration.from_file(path)
    assert not configuration.poll()
    write(path, lease_periods=5, report_period_ms=20, ric={"poll_period_s": 7.0, "e2mgr_url": "http://elsewhere"})
    assert configuration.poll()
    controls = configuration.controls
    assert (controls.lease_periods, controls.ric.poll_period_s) == (5, 7.0)
    assert (controls.report_period_ms, controls.ric.e2mgr_url) == (50, Controls().ric.e2mgr_url)
    assert configuration.status()["restart_needed"] == ["report_period_ms", "ric.e2mgr_url"]
    assert not configuration.poll()
    write(path, lease_periods=5, report_period_ms=50, ric={"poll_period_s": 7.0})
    assert not configuration.poll()
    assert configuration.status()["restart_needed"] == []


def test_every_live_field_is_a_field_and_can_change(path: Path) -> None:
    other = {
        "decision_deadline_ms": 11.0,
        "lease_periods": 9,
        "log_level": "debug",
        "ric": {"poll_period_s": 8.0},
        "a1": {
            "floor_window_periods": 3,
            "slices": [{"sst": 1, "sd": "", "traffic_classes": ["embb"], "cells": [], "ue_ids": [4]}],
        },
        "stale_after_periods": 17.0,
    }
    configuration = Configuration.from_file(path)
    write(path, report_period_ms=50, **other)
    assert configuration.poll()
    dumped = configuration.controls.model_dump(mode="json")
    for name in LIVE:
        expected, actual = other, dumped
        for part in name.split("."):
            expected, actual = expected[part], actual[part]  # type: ignore[assignment]
        assert actual == expected, name
    assert configuration.status()["restart_needed"] == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is not JSON"),
        ('{"controls": 7}', "controls is 7"),
        ('{"controls": {"lease_periods": 0}}', "controls.lease_periods is 0"),
        ("[" * 100_000, "is not JSON"),
        ("{}", "no `controls` section"),
    ],
)
def test_a_file_that_cannot_be_used_changes_nothing_and_is_reported_once(
    path: Path, content: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    configuration = Configuration.from_file(path)
    before = configuration.controls
    path.write_text(content)
    for _ in range(3):
        assert not configuration.poll()
    assert configuration.controls is before
    assert words in configuration.status()["error"]
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1
    write(path, lease_periods=2, report_period_ms=50)
    assert not configuration.poll()
    assert configuration.status()["error"] == ""
    path.write_text(content)
    assert not configuration.poll()
    assert words in configuration.status()["error"]
    write(path, lease_periods=3, report_period_ms=50)
    assert configuration.poll()
    assert configuration.status()["error"] == ""


def test_a_file_that_is_away_for_a_while_changes_nothing(path: Path) -> None:
    configuration = Configuration.from_file(path)
    content = path.read_text()
    path.unlink()
    assert not configuration.poll()
    assert "cannot read" in configuration.status()["error"]
    path.write_text(content)
    assert not configuration.poll()
    assert configuration.status()["error"] == ""


def test_every_swap_of_a_config_map_is_seen(tmp_path: Path) -> None:
    """Kubernetes: the file is a link into ..data, which is a link to a folder that is replaced as a whole."""

    def publish(version: int) -> None:
        folder = tmp_path / f"..{version}"
        folder.mkdir()
        write(folder / "config-file.json", lease_periods=version)
        new = tmp_path / "..data_tmp"
        new.symlink_to(folder.name)
        os.replace(new, tmp_path / "..data")

    publish(1)
    (tmp_path / "config-file.json").symlink_to("..data/config-file.json")
    configuration = Configuration.from_file(tmp_path / "config-file.json")
    for version in (2, 3, 4):
        publish(version)
        assert configuration.poll()
        assert configuration.controls.lease_periods == version


def test_overrides_win_over_every_content(path: Path) -> None:
    configuration = Configuration.from_file(path, {"leader": "max_rate"})
    write(path, lease_periods=4, report_period_ms=50, leader="round_robin")
    assert configuration.poll()
    assert configuration.controls.leader == "max_rate"
    assert configuration.status()["restart_needed"] == []


def test_a_file_that_cannot_be_used_at_the_start_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        Configuration.from_file(tmp_path / "none")
    with pytest.raises(ConfigError, match=r"controls\.typo"):
        Configuration.from_file(write(tmp_path / "c.json", typo=1))


# -- what the platform is told ----------------------------------------------------------------------------------------


def test_the_document_is_the_whole_descriptor_with_the_controls_in_force(path: Path) -> None:
    configuration = Configuration.from_file(path)
    write(path, lease_periods=5, report_period_ms=20)
    configuration.poll()
    document = configuration.document()
    assert (document["name"], document["version"]) == ("mine", "3.2.1") == (configuration.name, configuration.version)
    assert (document["controls"]["lease_periods"], document["controls"]["report_period_ms"]) == (5, 50)


def test_controls_without_a_file_never_change() -> None:
    configuration = Configuration(Controls())
    assert not configuration.poll()
    assert configuration.name == "stackmac"
    assert configuration.status() == {"path": "", "sha256": "", "error": "", "restart_needed": []}


def test_the_operators_page_lists_what_takes_effect_at_once() -> None:
    text = (Path(__file__).parents[3] / "docs" / "operations.md").read_text(encoding="utf-8")
    (sentence,) = re.findall(r"These take effect at once:\s+(.*?)\.\s+Every other", text, re.DOTALL)
    assert re.findall(r"`([a-z0-9_.]+)`", sentence) == list(LIVE)

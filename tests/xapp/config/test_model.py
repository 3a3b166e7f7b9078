"""Configuration: safe defaults, and one line for whatever is wrong."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from xapp.config.model import ConfigError, Controls, NodeConfig, load_controls, parse_controls


def limits(model: type[BaseModel], path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any, str]]:
    """(field, a value just outside its range, the bound) for every bound of every number in the model."""
    found: list[tuple[tuple[str, ...], Any, str]] = []
    for name, field in model.model_fields.items():
        here = (*path, name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found += limits(field.annotation, here)
        for rule in field.metadata:
            for kind, step in (("ge", -1), ("gt", 0), ("le", 1), ("lt", 0)):
                if (bound := getattr(rule, kind, None)) is not None:
                    found.append((here, bound + step, str(bound)))
    return found


def nested(path: tuple[str, ...], value: Any) -> Any:
    for name in reversed(path):
        value = {name: value}
    return value


def test_every_field_has_a_default_and_a_meaning() -> None:
    controls = parse_controls({})
    assert controls == Controls()
    assert controls.deadline_ms == 0.8 * controls.report_period_ms
    assert Controls(decision_deadline_ms=7.5).deadline_ms == 7.5
    models: list[type[BaseModel]] = [Controls]
    for model in models:
        for field in model.model_fields.values():
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                models.append(field.annotation)
            else:
                assert field.description


@pytest.mark.parametrize(("path", "value", "bound"), limits(Controls), ids=lambda part: str(part))
def test_a_number_out_of_range_is_one_line_with_field_value_and_bound(
    path: tuple[str, ...], value: Any, bound: str
) -> None:
    with pytest.raises(ConfigError) as error:
        parse_controls(nested(path, value))
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(f"controls.{'.'.join(path)} is {value!r}: ")
    assert bound in str(error.value)


def test_all_bounds_are_looked_at() -> None:
    assert len(limits(Controls)) >= 20


@pytest.mark.parametrize(
    ("controls", "line"),
    [
        ({"leaders": "x"}, "controls.leaders is 'x': Extra inputs are not permitted"),
        ({"rmr": {"prot": 4560}}, "controls.rmr.prot is 4560: Extra inputs are not permitted"),
        ({"leader": ""}, "controls.leader is '': String should have at least 1 character"),
        ({"measurements": []}, "controls.measurements is []: "),
        ({"measurements": ["CQI", 5]}, "controls.measurements.1 is 5: Input should be a valid string"),
        ({"log_level": "loud"}, "controls.log_level is 'loud': Input should be 'debug', 'info', 'warning' or 'error'"),
        ({"report_period_ms": 99.5}, "controls.report_period_ms is 99.5: "),
        ({"coalesce_ms": float("nan")}, "controls.coalesce_ms is nan: "),
        ({"http": "0.0.0.0:8080"}, "controls.http is '0.0.0.0:8080': "),
        ([], "controls is []: "),
        (None, "controls is None: "),
        ({"leader": 10**80}, "..."),
        ({"control": "both"}, "controls.control is 'both': Input should be 'auto', 'dcm', 'ccc', 'rc' or 'none'"),
        ({"nodes": [{"plmn": "1-1"}]}, "controls.nodes.0.plmn is '1-1': "),
        ({"nodes": [{"sst": 256}]}, "controls.nodes.0.sst is 256: "),
        ({"nodes": [{"sd": "12345"}]}, "controls.nodes.0.sd is '12345': "),
        ({"nodes": [{}, {"cells": ["00F110000000011"]}]}, "controls.nodes.1.cells.0 is '00F110000000011': "),
        ({"nodes": [{"dialect": "oai"}]}, "controls.nodes.0.dialect is 'oai': "),
        ({"nodes": [{"num_prb": 276}]}, "controls.nodes.0.num_prb is 276: "),
        (
            {"nodes": [{"num_prb": 106, "rbg_size_prb": 4}]},
            "num_prb 106 in groups of 4 are 27 RBGs, expected at most 18",
        ),
    ],
)
def test_whatever_is_wrong_is_one_line_that_names_it(controls: object, line: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(line)) as error:
        parse_controls(controls)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 200


def test_all_that_is_wrong_is_named_at_once() -> None:
    controls = {"leaders": "x", "http": {"port": 70_000}, "nodes": [{"sst": 256}], "ric": {"submgr_url": "submgr"}}
    with pytest.raises(ConfigError) as error:
        parse_controls(controls)
    assert str(error.value).split("; ") == [
        "controls.nodes.0.sst is 256: Input should be less than or equal to 255 (range 0 to 255)",
        "controls.http.port is 70000: Input should be less than or equal to 65535 (range 0 to 65535)",
        "controls.ric.submgr_url is 'submgr': expected http://HOST:PORT",
        "controls.leaders is 'x': Extra inputs are not permitted (is it leader?)",
    ]


def test_the_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Controls().leader = "other"  # type: ignore[misc]


def test_a_descriptors_controls_are_loaded(tmp_path: Path) -> None:
    path = tmp_path / "config-file.json"
    path.write_text(json.dumps({"name": "stackmac", "controls": {"report_period_ms": 20, "http": {"port": 0}}}))
    controls = load_controls(path)
    assert (controls.report_period_ms, controls.http.port, controls.rmr.port) == (20, 0, 4560)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"{", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[]", "has no `controls` section"),
        (b'"controls"', "has no `controls` section"),
        (b'{"name": "stackmac"}', "has no `controls` section"),
        (b'{"controls": {"rmr": {"port": 65536}}}', "controls.rmr.port is 65536"),
    ],
)
def test_a_file_that_is_no_descriptor_is_one_line(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "config-file.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=problem) as error:
        load_controls(path)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(ConfigError, match="cannot read the configuration"):
            load_controls(path)


def test_the_first_entry_that_fits_a_nodes_name_counts() -> None:
    controls = parse_controls({"nodes": [{"name": "gnb_001_*", "sst": 2}, {"name": "gnb_00?_02", "sst": 3}]})
    assert [controls.node(name).sst for name in ("gnb_001_02", "gnb_002_02", "GNB_001_02")] == [2, 3, 1]
    assert parse_controls({"nodes": [{"sst": 9}]}).node("any").sst == 9


@pytest.mark.parametrize(("plmn", "octets"), [("00101", "00f110"), ("310260", "130062"), ("26201", "62f210")])
def test_a_plmn_is_written_as_e2_writes_it(plmn: str, octets: str) -> None:
    assert NodeConfig(plmn=plmn).plmn_octets.hex() == octets


@pytest.mark.parametrize(("num_prb", "size", "rbgs"), [(36, 2, 18), (51, 4, 13), (106, 8, 14), (273, 16, 18)])
def test_rbgs_follow_from_prbs(num_prb: int, size: int, rbgs: int) -> None:
    node = NodeConfig(num_prb=num_prb)
    assert (node.rbg_prb, node.num_rbgs) == (size, rbgs)
    assert NodeConfig(num_prb=68, rbg_size_prb=4).num_rbgs == 17

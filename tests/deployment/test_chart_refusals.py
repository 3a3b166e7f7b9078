"""What our chart refuses, and that it names what is wrong."""

from __future__ import annotations

import json
from typing import Any, get_args

import chart
import pytest
from pydantic import BaseModel

from xapp.config.model import ConfigError, Controls, RmrConfig, parse_controls
from xapp.rmr.endpoint import open_endpoint
from xapp.rmr.settings import resolve_settings

REFUSED: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({"image": {"pullPolicy": "Sometimes"}}, ("/image/pullPolicy", "'Always'")),
    ({"image": {"digest": "sha256:12"}}, ("/image/digest",)),
    ({"image": {"repository": "Upper Case"}}, ("/image/repository",)),
    ({"imagePullSecrets": [{"name": "x"}]}, ("/imagePullSecrets/0", "string")),
    ({"name": "Stack_MAC"}, ("/name",)),
    ({"name": "a" * 30}, ("the RMR host", "58 characters", "at most 57")),
    ({"typo": 1}, ("typo",)),
    ({"controls": {"report_period_ms": 5}}, ("/controls/report_period_ms", "10")),
    ({"controls": {"typo": 5}}, ("/controls", "typo")),
    ({"controls": {"log_level": "loud"}}, ("/controls/log_level", "warning")),
    ({"controls": {"http": {"port": 0}}}, ("controls.http.port", "0 (any free one)")),
    ({"controls": {"http": {"port": 4561}}}, ("three different ones", "4561")),
    ({"controls": {"ric": {"submgr_url": "service-submgr:8088"}}}, ("/controls/ric/submgr_url", "service-submgr:8088")),
    ({"controls": {"ric": {"e2mgr_url": ""}}}, ("/controls/ric/e2mgr_url",)),
    ({"controls": {"ric": {"appmgr_url": "http://appmgr:99999"}}}, ("/controls/ric/appmgr_url", "99999")),
    ({"controls": {"leader": "bundeld"}}, ("/controls/leader", "bundeld")),
    ({"controls": {"rmr": {"route_sources": ["10.244.0.0/33"]}}}, ("/controls/rmr/route_sources/0", "10.244.0.0/33")),
    ({"controls": {"leader_process": True}}, ("controls.leader_process", "module:Class", "bundled")),
    ({"env": {"ANSWER": 42}}, ("/env/ANSWER", "string")),
    ({"rmr": {"routePort": 99999}}, ("/rmr/routePort", "65")),
    ({"rmr": {"staticRoutes": "mse|12040|-1|e2term:38000"}}, ("/rmr/staticRoutes",)),
    ({"model": {"bundle": "leader"}}, ("model.bundle", "existingClaim")),
    ({"model": {"bundle": "../leader", "create": True}}, ("/model/bundle",)),
    ({"resources": {"limits": {"cpu": []}}}, ("/resources/limits/cpu",)),
    ({"podLabels": {"app": "other"}}, ("/podLabels/app",)),
    ({"podAnnotations": {"checksum/config": "0"}}, ("checksum",)),
    ({"dbaas": {"port": None}}, ("/dbaas", "'port'")),
    ({"httpToken": {"existingSecret": "s", "key": "../key"}}, ("/httpToken/key",)),
    ({"httpToken": {"existingSecret": "Not A Name"}}, ("/httpToken/existingSecret",)),
    ({"serviceMonitor": None}, ("missing property 'serviceMonitor'",)),
    ({"terminationGracePeriodSeconds": 5}, ("/terminationGracePeriodSeconds", "15")),
    ({"replicas": 2}, ("replicas",)),
]


@pytest.mark.parametrize(("values", "words"), REFUSED, ids=[f"{i}-{words[0]}" for i, (_, words) in enumerate(REFUSED)])
def test_a_bad_value_is_refused_by_name(values: dict[str, Any], words: tuple[str, ...]) -> None:
    with pytest.raises(chart.helm.HelmError) as refused:
        chart.render(values)
    for word in words:
        assert word in str(refused.value)


SEVERAL_FIELDS: dict[str, list[tuple[dict[str, Any], tuple[str, ...]]]] = {
    "A1Config": [
        ({"a1": {"slice_sla_type_id": 20100}}, ("controls.a1", "slice_sla_type_id", "20100")),
        ({"a1": {"qos_type_id": 20101}}, ("controls.a1", "qos_type_id", "[20008 20101 20101]")),
    ],
    "KpiGuardConfig": [
        ({"kpi_guard": {"window_ms": 150}}, ("ignored_ms is 200", "less than window_ms, 150")),
        ({"kpi_guard": {"rc_ignored_ms": 10_000}}, ("rc_ignored_ms is 10000", "rc_window_ms, 10000")),
    ],
    "NodeConfig": [
        ({"nodes": [{}, {"rbg_size_prb": 4}]}, ("controls.nodes.1", "num_prb 106 in groups of 4", "18 RBGs")),
        ({"nodes": [{"num_prb": 37, "rbg_size_prb": 2}]}, ("controls.nodes.0", "num_prb 37 in groups of 2")),
    ],
    "SliceId": [
        ({"nodes": [{"slices": [{"sst": 1, "max_ratio": 5}]}]}, ("controls.nodes.0.slices.0", "both or neither")),
        (
            {"nodes": [{"slices": [{"sst": 1}, {"sst": 2, "min_ratio": 9, "max_ratio": 0}]}]},
            ("controls.nodes.0.slices.1", "min_ratio 9 is above max_ratio 0"),
        ),
    ],
}
"""By model: what it refuses because of several fields at once. No JSON schema says that; the chart's templates do."""
CONTROLS = [(controls, words) for of_model in SEVERAL_FIELDS.values() for controls, words in of_model]


@pytest.mark.parametrize(("controls", "words"), CONTROLS)
def test_fields_that_do_not_go_together_are_refused_by_name(controls: dict[str, Any], words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError):
        parse_controls(controls)
    with pytest.raises(chart.helm.HelmError) as refused:
        chart.render({"controls": controls})
    for word in words:
        assert word in str(refused.value)


def test_route_tables_from_some_networks_need_another_transport_than_librmr() -> None:
    rmr = {"transport": "librmr", "route_sources": ["10.0.0.0/8"]}
    with pytest.raises(chart.helm.HelmError, match=r"controls\.rmr\.transport is librmr"):
        chart.render({"controls": {"rmr": rmr}})
    with pytest.raises(ConfigError, match=r"controls\.rmr\.transport is 'librmr'"):
        open_endpoint(resolve_settings(RmrConfig.model_validate(rmr), {}), "librmr")


def test_every_model_that_looks_at_several_fields_has_such_a_case() -> None:
    assert {model.__name__ for model in models_of(Controls) if model.__pydantic_decorators__.model_validators} == set(
        SEVERAL_FIELDS
    )


def models_of(model: type[BaseModel]) -> set[type[BaseModel]]:
    """The model, and all those that its fields hold."""
    found = {model}
    waiting: list[Any] = [field.annotation for field in model.model_fields.values()]
    while waiting:
        kind = waiting.pop()
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found |= models_of(kind)
        waiting += get_args(kind)
    return found


TAKEN: list[dict[str, Any]] = [
    {"a1": {"slice_sla_type_id": 20102, "qos_type_id": 20008}},
    {"kpi_guard": {"window_ms": 201}},
    {"nodes": [{"num_prb": 36, "rbg_size_prb": 2}, {"num_prb": 275}, {"rbg_size_prb": 16, "num_prb": 275}]},
    {"nodes": [{"slices": [{"sst": 1, "min_ratio": None}, {"sst": 2, "min_ratio": 0, "max_ratio": 0}]}]},
    {"rmr": {"transport": "auto", "route_sources": ["10.0.0.0/8", "fd00::/8"]}},
    {"leader": "my_module:MyLeader", "leader_process": True},
    {"ric": {"appmgr_url": "", "submgr_url": "https://[::1]:8088/path/"}},
]


@pytest.mark.parametrize("controls", TAKEN)
def test_what_goes_together_is_taken_as_it_is(controls: dict[str, Any]) -> None:
    document = json.loads(
        chart.render({"controls": controls}).one("ConfigMap", "-appconfig")["data"]["config-file.json"]
    )
    assert parse_controls(document["controls"]) == parse_controls(controls)


def test_names_that_grow_too_long_are_refused() -> None:
    with pytest.raises(chart.helm.HelmError, match="at most 63"):
        chart.render(namespace="a-namespace-with-a-name-that-is-much-too-long-for-a-service")

"""What our chart refuses, and that it names what is wrong."""

from __future__ import annotations

from typing import Any

import chart
import pytest

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


def test_names_that_grow_too_long_are_refused() -> None:
    with pytest.raises(chart.helm.HelmError, match="at most 63"):
        chart.render(namespace="a-namespace-with-a-name-that-is-much-too-long-for-a-service")

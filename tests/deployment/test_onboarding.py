"""The descriptor can be onboarded: it breaks no rule of the onboarder, and its values survive the generated chart."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onboarder_rules
import pytest
import yaml

from xapp.packaging import descriptor

FOLDER = descriptor.FOLDER
Change = Callable[[dict[str, Any], dict[str, Any]], object]


def read(name: str) -> Any:
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


def container(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["containers"][0]
    return found


def port(document: dict[str, Any], name: str = "rmrdata") -> dict[str, Any]:
    found: dict[str, Any] = next(port for port in document["messaging"]["ports"] if port["name"] == name)
    return found


def test_the_descriptor_breaks_no_rule() -> None:
    assert onboarder_rules.problems(read(descriptor.DESCRIPTOR_FILE), read(descriptor.SCHEMA_FILE)) == []


BROKEN: list[tuple[str, Change]] = [
    ("name", lambda d, s: d.update(name="Stack_MAC")),
    ("name", lambda d, s: d.update(name="x" * 43)),
    ("version", lambda d, s: d.update(version="1.0")),
    ("version", lambda d, s: d.update(version="1.01.0")),
    ("containers", lambda d, s: d.update(containers=[])),
    ("registry", lambda d, s: container(d)["image"].update(registry="localhost:5000")),
    ("tag", lambda d, s: container(d)["image"].pop("tag")),
    ("command", lambda d, s: container(d).update(command="stackmac run")),
    ("args", lambda d, s: container(d).update(args=["a", "b", "a"])),
    ("livenessProbe", lambda d, s: d["livenessProbe"].update(exec={"command": ["x"]})),
    ("readinessProbe", lambda d, s: d["readinessProbe"].pop("httpGet")),
    ("periodSeconds", lambda d, s: d["livenessProbe"].update(periodSeconds="15")),
    ("timeoutSeconds", lambda d, s: d["livenessProbe"].update(timeoutSeconds="5s")),
    ("httpGet.port", lambda d, s: d["livenessProbe"]["httpGet"].update(port="http")),
    ("httpGet.path", lambda d, s: d["livenessProbe"]["httpGet"].update(path="ric/v1/health/alive")),
    ("messaging", lambda d, s: d.pop("messaging")),
    ("rmr-data", lambda d, s: port(d).update(name="rmr-data")),
    ("container", lambda d, s: port(d).update(container="other")),
    ("not an integer", lambda d, s: port(d).update(port="4560")),
    ("all of", lambda d, s: port(d).pop("policies")),
    ("RIC_NONSENSE", lambda d, s: port(d)["rxMessages"].append("RIC_NONSENSE")),
    ("policy type", lambda d, s: port(d).update(policies=["1"])),
    ("no routes", lambda d, s: port(d).update(txMessages=[])),
    ("rmr: expected", lambda d, s: d.pop("rmr")),
    ("rmr.txMessages", lambda d, s: d["rmr"].update(txMessages=["RIC_ALARM"])),
    ("rmr.protPort", lambda d, s: d["rmr"].update(protPort="tcp:4561")),
    ("rmr.maxSize", lambda d, s: d["rmr"].update(maxSize="2072")),
    ("appenv.ANSWER", lambda d, s: d.update(appenv={"ANSWER": 42})),
    ("appenv.not-a-name", lambda d, s: d.update(appenv={"not-a-name": "1"})),
    ("metrics", lambda d, s: d.update(metrics=[])),
    ("controls: expected", lambda d, s: d.update(controls={})),
    ("controls.report_period_ms", lambda d, s: d["controls"].update(report_period_ms=1)),
    ("controls.ric.submgr_url", lambda d, s: d["controls"]["ric"].update(submgr_url="submgr:8088")),
    ("controls.leader", lambda d, s: d["controls"].update(leader="bundeld")),
    ("controls.rmr.route_sources.0", lambda d, s: d["controls"]["rmr"].update(route_sources=["10.0.0.0/33"])),
    ("'typo' was unexpected", lambda d, s: d["controls"].update(typo=1)),
    ("fileStorage", lambda d, s: d["controls"].update(fileStorage=True)),
    ("draft-07", lambda d, s: s.update({"$schema": "https://json-schema.org/draft/2020-12/schema"})),
    ("references", lambda d, s: s["properties"].update(rmr={"$ref": "#/definitions/rmr"})),
    ("schema: ", lambda d, s: s.update(type="objekt")),
    ("null", lambda d, s: d["controls"].update(decision_deadline_ms=None)),
    ("'n'", lambda d, s: d["controls"].update(n=1)),
    ("template", lambda d, s: d["controls"].update({'a"b': 1})),
    ("{{", lambda d, s: s.update(description="{{ .Values }}")),
]


@pytest.mark.parametrize(("word", "change"), BROKEN, ids=[f"{i}-{word}" for i, (word, _) in enumerate(BROKEN)])
def test_each_broken_rule_is_named(word: str, change: Change) -> None:
    document, schema = read(descriptor.DESCRIPTOR_FILE), read(descriptor.SCHEMA_FILE)
    change(document, schema)
    found = onboarder_rules.problems(document, schema)
    assert any(word in line for line in found), found


def as_template(value: Any, *path: str) -> Any:
    """The descriptor as the onboarder writes it into a chart: each value looked up in the chart's values."""
    if isinstance(value, dict):
        return {key: as_template(inner, *path, key) for key, inner in value.items()}
    return "<<index .Values " + " ".join(f"`{key}`" for key in path) + " | toJson>>"


def rendered_by_helm(document: dict[str, Any], folder: Path) -> Any:
    """What the pod would read, were `document` onboarded."""
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text(f"apiVersion: v2\nname: {document['name']}\nversion: {document['version']}\n")
    (folder / "values.yaml").write_text(yaml.dump(document, default_flow_style=False))
    text = json.dumps(as_template(document), indent=2).replace('"<<', "{{").replace('>>"', "}}")
    (folder / "templates" / "config.json").write_text(text)
    helm = pytest.importorskip("helm_python")
    with helm.Chart.load(folder) as chart:
        (rendered,) = chart.render(namespace="ricxapp", name=document["name"]).values()
    return json.loads(rendered)


def test_what_the_pod_reads_is_what_was_onboarded(tmp_path: Path) -> None:
    document = read(descriptor.DESCRIPTOR_FILE)
    assert rendered_by_helm(document, tmp_path) == document


def test_a_key_that_yaml_reads_as_a_boolean_would_be_lost(tmp_path: Path) -> None:
    document = copy.deepcopy(read(descriptor.DESCRIPTOR_FILE))
    document["controls"]["y"] = 1
    assert rendered_by_helm(document, tmp_path) != document

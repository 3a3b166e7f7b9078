"""Our chart, rendered by the real Helm engine; importing it skips the tests where that engine is not available."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

helm = pytest.importorskip("helm_python")

CHART = Path(__file__).parents[2] / "helm" / "stackmac"
NAMESPACE = "ricxapp"
RELEASE = "stackmac"

EVERYTHING: dict[str, Any] = {
    "image": {"registry": "registry.example.org:5000", "repository": "ran/stackmac", "digest": "sha256:" + "0" * 64},
    "imagePullSecrets": ["registry-example"],
    "controls": {"report_period_ms": 50, "coalesce_ms": 0, "http": {"port": 8081}, "rmr": {"port": 4570}},
    "env": {"RMR_LOG_VLEVEL": "3"},
    "rmr": {"routePort": 4571},
    "model": {"bundle": "site/leader-7", "create": True, "storageClass": "fast"},
    "networkPolicy": {"enabled": True, "monitoringNamespace": "monitoring"},
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
    "httpToken": {"existingSecret": "stackmac-token", "key": "bearer"},
    "dashboards": {"enabled": True, "annotations": {"grafana_folder": "RAN"}},
    "podAnnotations": {"example.org/owner": "ran"},
    "podLabels": {"team": "ran"},
    "nodeSelector": {"kubernetes.io/arch": "amd64"},
    "tolerations": [{"key": "ran", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "priorityClassName": "ran-critical",
}
MINIMAL: dict[str, Any] = {
    "dbaas": {"host": ""},
    "serviceAccount": {"create": False},
    "rmr": {"staticRoutes": "newrt|start\nmse|12040|-1|e2term:38000\nnewrt|end|1\n"},
}
EXISTING: dict[str, Any] = {
    "dbaas": {"existingConfigMap": "dbaas-appconfig"},
    "model": {"existingClaim": "models", "bundle": "leader"},
    "serviceAccount": {"name": "somebody"},
}
VALUES = {"defaults": {}, "everything": EVERYTHING, "minimal": MINIMAL, "existing": EXISTING}
"""The sets of values that the tests render."""


class Rendered(NamedTuple):
    """All objects of a release, and what Helm says after installing it."""

    objects: list[dict[str, Any]]
    notes: str

    def all(self, kind: str) -> list[dict[str, Any]]:
        return [each for each in self.objects if each["kind"] == kind]

    def one(self, kind: str, ending: str = "") -> dict[str, Any]:
        """The only object of its kind whose name ends so."""
        (found,) = (each for each in self.all(kind) if each["metadata"]["name"].endswith(ending))
        return found

    @property
    def pod(self) -> dict[str, Any]:
        spec: dict[str, Any] = self.one("Deployment")["spec"]["template"]["spec"]
        return spec

    @property
    def container(self) -> dict[str, Any]:
        (container,) = self.pod["containers"]
        found: dict[str, Any] = container
        return found

    @property
    def environment(self) -> dict[str, str]:
        """Of the container, out of the chart's own ConfigMaps."""
        return dict(self.one("ConfigMap", "-appenv")["data"])


class _StrictLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """Refuses a key that stands twice in one object, of which others silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"a key twice among {keys}"
        return super().construct_mapping(node, deep)


def render(
    values: dict[str, Any] | None = None, *, release: str = RELEASE, namespace: str = NAMESPACE, folder: Path = CHART
) -> Rendered:
    """A release with these values over the chart's own. Raises HelmError."""
    with helm.Chart.load(folder) as chart:
        texts = chart.render(values or {}, name=release, namespace=namespace)
    documents = (text for path, text in texts.items() if path.endswith(".yaml"))
    objects = [each for text in documents for each in yaml.load_all(text, _StrictLoader) if each]
    return Rendered(objects, next(text for path, text in texts.items() if path.endswith("NOTES.txt")))

"""Our chart, as the real Helm engine lints, renders and refuses it, against what the xApp really serves and reads."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import chart
import httpx
import kubernetes_validate
import promql_parser
import pytest
import yaml
from waiting import PATIENCE_S

from policy.schedulers.schedulers import SCHEDULERS
from xapp.config.model import load_controls, parse_controls
from xapp.packaging import descriptor
from xapp.ric.alarms import Problem
from xapp.ric.subscription_body import ClientEndpoint, http_host_of
from xapp.rmr.settings import MAX_HOST_BYTES, resolve_settings
from xapp.run.app import App

KUBERNETES = ("1.25", "1.37")
"""The oldest version that the chart allows and the newest that there are schemas of."""
CUSTOM_KINDS = ("ServiceMonitor", "PrometheusRule")
"""Of an operator: Kubernetes has no schema of them."""
each_set_of_values = pytest.mark.parametrize("values", chart.VALUES.values(), ids=chart.VALUES)


@pytest.fixture(scope="module")
def xapp_url() -> Iterator[str]:
    """A real xApp without a platform."""
    loopback = {"bind_host": "127.0.0.1", "port": 0}
    nowhere = {"submgr_url": "http://127.0.0.1:9", "e2mgr_url": "http://127.0.0.1:9"}
    app = App(parse_controls({"rmr": loopback, "http": loopback, "ric": nowhere}), SCHEDULERS["proportional_fair"])
    app.start()
    yield f"http://127.0.0.1:{app.server.port}"
    app.stop()


def probe_paths(container: dict[str, Any]) -> dict[str, str]:
    return {name: probe["httpGet"]["path"] for name, probe in container.items() if name.endswith("Probe")}


def mounted(rendered: chart.Rendered, path: str) -> str:
    """What the container reads at `path`, which must lie in a mounted ConfigMap."""
    folder, _, name = path.rpartition("/")
    (mount,) = (mount for mount in rendered.container["volumeMounts"] if mount["mountPath"] == folder)
    (volume,) = (volume for volume in rendered.pod["volumes"] if volume["name"] == mount["name"])
    (found,) = (each for each in rendered.all("ConfigMap") if each["metadata"]["name"] == volume["configMap"]["name"])
    text: str = found["data"][name]
    return text


def configuration(rendered: chart.Rendered) -> dict[str, Any]:
    """The descriptor that the container's own arguments name."""
    args = rendered.container["args"]
    document: dict[str, Any] = json.loads(mounted(rendered, args[args.index("--config") + 1]))
    return document


@each_set_of_values
def test_lint_has_nothing_to_say_but_that_there_is_no_icon(values: dict[str, Any]) -> None:
    report = chart.helm.lint(chart.CHART, values, strict=True, namespace=chart.NAMESPACE)
    assert [message["error"] for message in report["messages"]] == ["icon is recommended"]
    assert report["errors"] == []


@each_set_of_values
def test_kubernetes_accepts_every_object(values: dict[str, Any]) -> None:
    assert_kubernetes_accepts(chart.render(values), *KUBERNETES)


def assert_kubernetes_accepts(rendered: chart.Rendered, *versions: str) -> None:
    objects = [each for each in rendered.objects if each["kind"] not in CUSTOM_KINDS]
    assert {"Deployment", "Service", "ConfigMap"} <= {each["kind"] for each in objects}
    for version in versions:
        for each in objects:
            kubernetes_validate.validate(each, version, strict=True)


def test_names_that_yaml_takes_for_something_else_stay_names() -> None:
    values = {
        **chart.EVERYTHING,
        "name": "true",
        "imagePullSecrets": ["123", "1e3"],
        "env": {"on": "1", "y": "2"},
        "dbaas": {"existingConfigMap": "7"},
        "model": {"create": True, "storageClass": "1e3"},
        "serviceAccount": {"name": "12"},
        "networkPolicy": {"enabled": True, "platformNamespace": "3", "monitoringNamespace": "007"},
        "priorityClassName": "100",
    }
    rendered = chart.render(values, release="123", namespace="42")
    assert_kubernetes_accepts(rendered, KUBERNETES[-1])
    (*_, volume) = chart.render({"model": {"existingClaim": "8"}}).pod["volumes"]
    assert volume["persistentVolumeClaim"]["claimName"] == "8"
    assert rendered.pod["hostname"] == "true"
    assert {"on": "1", "y": "2"}.items() <= rendered.environment.items()


def optional_paths(schema: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Everything in the values that the schema lets somebody take away (Helm: set it to null), set to null."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        inner = schema.get("properties", {}).get(name, {})
        if name not in schema.get("required", ()) and name not in ("enabled", "create"):
            found[name] = None
        elif isinstance(value, dict) and "properties" in inner and name != "controls":
            found[name] = optional_paths(inner, value)
    return found


def test_what_the_schema_lets_somebody_take_away_leaves_a_chart_that_renders() -> None:
    schema = json.loads((chart.CHART / descriptor.VALUES_SCHEMA_FILE).read_text())
    taken_away = optional_paths(schema, yaml.safe_load((chart.CHART / "values.yaml").read_text()))
    assert {"nodeSelector", "podLabels"} <= {name for name, value in taken_away.items() if value is None}
    for section in ("networkPolicy", "serviceMonitor", "prometheusRule", "dashboards"):
        taken_away[section]["enabled"] = True
    rendered = chart.render(taken_away)
    assert_kubernetes_accepts(rendered, KUBERNETES[-1])
    assert "<nil>" not in json.dumps(rendered.objects)


def test_labels_of_ones_own_take_the_place_of_the_charts() -> None:
    values = {**chart.EVERYTHING, "podLabels": {"app.kubernetes.io/instance": "own"}}
    rendered = chart.render(values)
    # By this label the operator's usual installation finds its monitors.
    assert rendered.one("ServiceMonitor")["metadata"]["labels"]["release"] == "prometheus"
    labels = rendered.one("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert (labels["app.kubernetes.io/instance"], labels["app"]) == ("own", "ricxapp-stackmac")


@each_set_of_values
def test_names_and_labels_are_what_kubernetes_takes(values: dict[str, Any]) -> None:
    for each in chart.render(values).objects:
        assert each["metadata"]["namespace"] == chart.NAMESPACE
        assert len(each["metadata"]["name"]) <= 63
        assert all(isinstance(value, str) and len(value) <= 63 for value in each["metadata"]["labels"].values())


def test_the_charts_versions_are_the_packages() -> None:
    about = yaml.safe_load((chart.CHART / "Chart.yaml").read_text())
    package = descriptor.make_descriptor()["version"]
    assert (about["version"], about["appVersion"]) == (package, package)


@each_set_of_values
def test_services_and_selectors_lead_to_the_pod(values: dict[str, Any]) -> None:
    rendered = chart.render(values)
    deployment = rendered.one("Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"].items()
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels
    named = {port["name"]: port["containerPort"] for port in rendered.container["ports"]}
    offered = {}
    for service in rendered.all("Service"):
        assert service["spec"]["selector"].items() <= labels
        # Readiness wants routes, and routes come through the service.
        assert service["spec"]["publishNotReadyAddresses"] is True
        for port in service["spec"]["ports"]:
            assert port["port"] == named[port["targetPort"]]
            offered[port["name"]] = port["port"]
    assert offered == named
    for policy in rendered.all("NetworkPolicy"):
        assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels
        assert {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]} == set(named)
    for monitor in rendered.all("ServiceMonitor"):
        (http,) = (
            service
            for service in rendered.all("Service")
            if monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        )
        (endpoint,) = monitor["spec"]["endpoints"]
        assert endpoint["port"] in [port["name"] for port in http["spec"]["ports"]]


@each_set_of_values
def test_the_xapp_reads_the_rendered_configuration_and_listens_where_the_services_lead(
    values: dict[str, Any], tmp_path: Path
) -> None:
    rendered = chart.render(values)
    document = configuration(rendered)
    (tmp_path / "config-file.json").write_text(json.dumps(document))
    controls = load_controls(tmp_path / "config-file.json")
    named = {port["name"]: port["containerPort"] for port in rendered.container["ports"]}
    assert (named["http"], named["rmrdata"]) == (controls.http.port, controls.rmr.port)
    # The platform takes the ports from what an xApp registers with: the same document.
    assert {port["name"]: port["port"] for port in document["messaging"]["ports"]} == named
    assert document["rmr"]["protPort"] == f"tcp:{named['rmrdata']}"
    for name in ("livenessProbe", "readinessProbe"):
        assert document[name]["httpGet"]["port"] == named["http"]


def test_without_values_the_pod_reads_the_shipped_descriptor() -> None:
    shipped = json.loads((descriptor.FOLDER / descriptor.DESCRIPTOR_FILE).read_text())
    assert configuration(chart.render()) == shipped


def test_values_go_into_the_configuration_also_where_they_are_zero_or_empty() -> None:
    controls = {"coalesce_ms": 0, "measurements": ["CQI"], "ric": {"appmgr_url": ""}, "decision_deadline_ms": 40}
    shown = configuration(chart.render({"controls": controls}))["controls"]
    shipped = json.loads((descriptor.FOLDER / descriptor.DESCRIPTOR_FILE).read_text())["controls"]
    assert shown == {**shipped, **controls, "ric": {**shipped["ric"], "appmgr_url": ""}}


def test_the_model_of_a_volume_becomes_the_leader() -> None:
    for values, claim in ((chart.EVERYTHING, "ricxapp-stackmac-models"), (chart.EXISTING, "models")):
        rendered = chart.render(values)
        (mount,) = (mount for mount in rendered.container["volumeMounts"] if mount["name"] == "models")
        (volume,) = (volume for volume in rendered.pod["volumes"] if volume["name"] == "models")
        assert mount["readOnly"] and volume["persistentVolumeClaim"]["claimName"] == claim
        leader = configuration(rendered)["controls"]["leader"]
        assert leader == f"{mount['mountPath']}/{values['model']['bundle']}"
    assert chart.render(chart.EVERYTHING).one("PersistentVolumeClaim")["metadata"]["name"] == "ricxapp-stackmac-models"
    assert not chart.render(chart.EXISTING).all("PersistentVolumeClaim")
    overruled = {**chart.EXISTING, "controls": {"leader": "max_weight"}}
    assert configuration(chart.render(overruled))["controls"]["leader"] == "max_weight"


def test_the_environment_is_what_the_platform_gives_an_xapp() -> None:
    assert chart.render().environment == {
        "ALARM_MGR_SERVICE_NAME": "service-ricplt-alarmmanager-rmr.ricplt",
        "ALARM_MGR_SERVICE_PORT": "4560",
        "CONFIG_FILE": "/opt/ric/config/config-file.json",
        "DBAAS_SERVICE_HOST": "service-ricplt-dbaas-tcp.ricplt.svc.cluster.local",
        "DBAAS_SERVICE_PORT": "6379",
        "OMP_NUM_THREADS": "1",
        "RMR_RTG_SVC": "4561",
        "RMR_SRC_ID": "service-ricxapp-stackmac-rmr.ricxapp",
        "XAPP_DESCRIPTOR_PATH": "/opt/ric/config",
    }
    everything = chart.render(chart.EVERYTHING).environment
    assert (everything["RMR_RTG_SVC"], everything["RMR_LOG_VLEVEL"]) == ("4571", "3")


def test_the_names_are_those_that_the_platform_derives() -> None:
    rendered = chart.render()
    names = {service["metadata"]["name"] for service in rendered.all("Service")}
    assert names == {"service-ricxapp-stackmac-http", "service-ricxapp-stackmac-rmr"}
    controls = parse_controls(configuration(rendered)["controls"])
    settings = resolve_settings(controls.rmr, rendered.environment)
    host = controls.http.host or http_host_of(settings.host)
    assert host == "service-ricxapp-stackmac-http.ricxapp"
    # submgr and the route manager replace "http" by "rmr" in the host that a subscription names.
    assert ClientEndpoint(host, 8080, settings.port).rmr_host == rendered.environment["RMR_SRC_ID"]
    assert rendered.pod["hostname"] == configuration(rendered)["name"] == "stackmac"


def test_redis_is_the_platforms_or_none_or_told_by_a_config_map_of_the_platform() -> None:
    assert not [name for name in chart.render(chart.MINIMAL).environment if name.startswith("DBAAS")]
    existing = chart.render(chart.EXISTING)
    assert not [name for name in existing.environment if name.startswith("DBAAS")]
    references = [source["configMapRef"]["name"] for source in existing.container["envFrom"]]
    # What comes later wins: the chart's own.
    assert references == ["dbaas-appconfig", existing.one("ConfigMap", "-appenv")["metadata"]["name"]]


def test_a_static_route_table_is_mounted_where_the_environment_says() -> None:
    rendered = chart.render(chart.MINIMAL)
    environment = rendered.environment
    assert environment["RMR_RTG_SVC"] == "-1"
    text = chart.MINIMAL["rmr"]["staticRoutes"]
    assert mounted(rendered, environment["RMR_SEED_RT"]) == text
    indented = chart.render({"rmr": {"staticRoutes": f"\n  {text}"}})
    assert mounted(indented, environment["RMR_SEED_RT"]) == text


@each_set_of_values
def test_the_probes_and_the_monitor_ask_for_what_the_xapp_serves(values: dict[str, Any], xapp_url: str) -> None:
    rendered = chart.render(values)
    paths = probe_paths(rendered.container)
    assert set(paths) == {"startupProbe", "livenessProbe", "readinessProbe"}
    answers = {
        name: httpx.get(xapp_url + path, trust_env=False, timeout=PATIENCE_S).status_code
        for name, path in paths.items()
    }
    # Alive at once; ready with routes only.
    assert answers == {"startupProbe": 200, "livenessProbe": 200, "readinessProbe": 503}
    for monitor in rendered.all("ServiceMonitor"):
        answer = httpx.get(xapp_url + monitor["spec"]["endpoints"][0]["path"], trust_env=False, timeout=PATIENCE_S)
        assert (answer.status_code, "stackmac_" in answer.text) == (200, True)


def test_the_token_is_mounted_where_the_configuration_reads_it_and_nowhere_without_a_secret() -> None:
    rendered = chart.render(chart.EVERYTHING)
    folder, _, key = configuration(rendered)["controls"]["http"]["token_file"].rpartition("/")
    (mount,) = (mount for mount in rendered.container["volumeMounts"] if mount["mountPath"] == folder)
    (volume,) = (volume for volume in rendered.pod["volumes"] if volume["name"] == mount["name"])
    assert (volume["secret"]["secretName"], key, mount["readOnly"]) == ("stackmac-token", "bearer", True)
    # Of the pod's group, nobody else's.
    assert (volume["secret"]["defaultMode"], rendered.pod["securityContext"]["fsGroup"]) == (0o440, 65532)
    without = chart.render()
    assert configuration(without)["controls"]["http"]["token_file"] == ""
    assert not [volume for volume in without.pod["volumes"] if "secret" in volume]


def test_alert_rules_ask_for_metrics_of_this_release_that_the_xapp_exports(xapp_url: str) -> None:
    rendered = chart.render(chart.EVERYTHING, release="other", namespace="cells")
    rule = rendered.one("PrometheusRule")
    assert rule["metadata"]["labels"]["release"] == "prometheus"
    (group,) = rule["spec"]["groups"]
    exported = httpx.get(f"{xapp_url}/ric/v1/metrics", trust_env=False, timeout=PATIENCE_S).text
    problems = set(re.findall(r'^stackmac_alarm\{problem="(\w+)"\}', exported, re.MULTILINE))
    services = [service["metadata"]["name"] for service in rendered.all("Service")]
    asked = set()
    for each in group["rules"]:
        promql_parser.parse(each["expr"])
        (name, selector) = re.findall(r"(stackmac_\w+)\{(.*?)\}", each["expr"])[0]
        labels = dict(re.findall(r'(\w+)="([^"]*)"', selector))
        assert labels.pop("namespace") == "cells" and labels.pop("service") in services
        assert re.search(rf"^{name}[ {{]", exported, re.MULTILINE), name
        asked |= set(labels.values())
    assert asked == problems == {problem.name.lower() for problem in Problem}
    assert not chart.render().all("PrometheusRule")


def test_the_network_policy_lets_the_platform_to_every_port_and_monitoring_to_one() -> None:
    assert not chart.render().all("NetworkPolicy")
    rendered = chart.render(chart.EVERYTHING)
    policy = rendered.one("NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    let_in = {
        rule["from"][0]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]: [
            port["port"] for port in rule["ports"]
        ]
        for rule in policy["ingress"]
    }
    assert let_in == {"ricplt": ["http", "rmrdata", "rmrroute"], "monitoring": ["http"]}
    only_platform = chart.render({"networkPolicy": {"enabled": True}}).one("NetworkPolicy")["spec"]
    assert len(only_platform["ingress"]) == 1


def test_one_pod_at_a_time_with_time_to_stop_and_without_a_token() -> None:
    rendered = chart.render()
    spec = rendered.one("Deployment")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    assert rendered.pod["terminationGracePeriodSeconds"] > 10
    assert rendered.pod["automountServiceAccountToken"] is False
    account = rendered.one("ServiceAccount")
    assert account["automountServiceAccountToken"] is False
    assert rendered.pod["serviceAccountName"] == account["metadata"]["name"]


def test_the_root_is_read_only_and_only_tmp_can_be_written() -> None:
    rendered = chart.render(chart.EVERYTHING)
    assert rendered.container["securityContext"]["readOnlyRootFilesystem"] is True
    writable = {mount["mountPath"] for mount in rendered.container["volumeMounts"] if not mount.get("readOnly")}
    assert writable == {"/tmp"}


def test_the_notes_say_what_is_special() -> None:
    assert "ATTENTION" not in chart.render().notes
    assert "ATTENTION" in chart.render(namespace="elsewhere").notes
    assert "No Redis" in chart.render(chart.MINIMAL).notes
    assert "8080:8081" in chart.render(chart.EVERYTHING).notes


def test_dashboards_reach_grafana_as_they_are(tmp_path: Path) -> None:
    folder = tmp_path / "stackmac"
    shutil.copytree(chart.CHART, folder)
    (folder / "dashboards").mkdir(exist_ok=True)
    text = json.dumps({"title": "own", "panels": [{"legendFormat": "{{ instance }}"}]}, indent=2) + "\n"
    (folder / "dashboards" / "own.json").write_text(text)
    found = chart.render(chart.EVERYTHING, folder=folder).one("ConfigMap", "-dashboards")
    assert set(found["data"]) == {path.name for path in (folder / "dashboards").glob("*.json")}
    assert found["data"]["own.json"] == text
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert not [
        each for each in chart.render(folder=folder).all("ConfigMap") if "dashboards" in each["metadata"]["name"]
    ]


def test_the_longest_name_is_one_that_the_xapp_takes() -> None:
    rendered = chart.render({"name": "a" * 29})
    host = rendered.environment["RMR_SRC_ID"]
    assert len(host) == MAX_HOST_BYTES
    assert resolve_settings(parse_controls(configuration(rendered)["controls"]).rmr, rendered.environment).host == host


def test_the_packaged_chart_renders_the_same(tmp_path: Path) -> None:
    archive = Path(chart.helm.package(chart.CHART, destination=tmp_path))
    assert chart.render(chart.EVERYTHING, folder=archive) == chart.render(chart.EVERYTHING)

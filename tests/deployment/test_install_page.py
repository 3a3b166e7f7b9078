"""What docs/install.md tells people to type is what the chart takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import chart
import kubernetes_validate
import pod_security
import pytest
import typer.main
import yaml

from training.learning.command import train_app
from training.run_folder import RunFolder

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")


def block(pattern: str) -> str:
    found = re.search(pattern, PAGE, re.DOTALL)
    assert found is not None
    return found[1]


SITE: dict[str, Any] = yaml.safe_load(block(r"```yaml\n# site.yaml\n(.*?)```"))


def test_the_values_of_the_page_install() -> None:
    rendered = chart.render(SITE)
    assert rendered.container["image"].startswith(f"{SITE['image']['registry']}/stackmac:")
    assert rendered.container["envFrom"][0]["configMapRef"]["name"] == "dbaas-appconfig"


@pytest.mark.parametrize("command", re.findall(r"^helm (?:install|upgrade) .*$", PAGE, re.MULTILINE))
def test_each_helm_command_of_the_page_renders(command: str) -> None:
    values = dict(SITE)
    for assignment in re.findall(r"--set (\S+)", command):
        for key, value in chart.helm.parse_set_string(assignment).items():
            values[key] = {**values.get(key, {}), **value}
    rendered = chart.render(values, namespace=command.split("--namespace ")[1].split()[0])
    if "model.bundle" in command:
        assert rendered.pod["volumes"][-1]["persistentVolumeClaim"]["claimName"] == claim_of_the_page()


def claim_of_the_page() -> str:
    claim: str = helper_pod()["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"]
    return claim


def helper_pod() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(block(r"<<'POD'\n(.*?)\nPOD\n"))
    return document


def test_the_folder_that_the_page_copies_is_where_training_leaves_a_bundle() -> None:
    words = shlex.split(block(r"`stackmac (train --[^`]* --out [^`]*)`"))
    given = typer.main.get_command(train_app).make_context("train", words[1:]).params
    assert block(r"kubectl -n ricxapp cp (\S+) models:") == str(RunFolder(given["out"], {}).bundle)
    assert block(r"--set model\.bundle=(\S+)") == block(r"models:/models/(\S+)")


def test_the_pod_of_the_page_is_one_and_is_admitted_beside_ours() -> None:
    kubernetes_validate.validate(helper_pod(), "1.37", strict=True)
    assert pod_security.violations(helper_pod()["spec"]) == []


def test_the_refusal_that_the_page_shows_is_helms() -> None:
    shown = " ".join(block(r"by name: `(at .*?)`\.").split())
    with pytest.raises(chart.helm.HelmError) as refused:
        chart.render({"controls": {"report_period_ms": 5}})
    assert shown in str(refused.value)
    shown = " ".join(block(r"do not go together \(`(.*?)`\)").split())
    with pytest.raises(chart.helm.HelmError) as refused:
        chart.render({"controls": {"kpi_guard": {"window_ms": 150}}})
    assert shown in str(refused.value)


def test_a_process_is_installed_with_what_the_image_compiles() -> None:
    image = re.findall(r"bin/python -m (\S+)", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    commands = block(r"## As a process\n\n```sh\n(.*?)```")
    made = [module for module in image if module != "compileall"]
    assert len(made) == 2
    assert re.findall(r"python -m (\S+?)\)?\s", commands) == made
    assert "(cd / && " in commands, "beside the installed package, not the sources"


def test_fields_that_need_no_restart_are_the_ones_that_the_page_and_the_chart_name() -> None:
    from xapp.config.live import LIVE

    values = (chart.CHART / "values.yaml").read_text(encoding="utf-8")
    for name in LIVE:
        assert f"`{name}`" in PAGE
        assert name in values


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", PAGE):
        assert (ROOT / "docs" / target).exists(), target

"""The dashboard's file: what the code says, in the shape that Grafana reads. What it asks for: test_app.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import promql_parser
import pytest

import xapp.packaging.grafana
from xapp.packaging.grafana import FILE, GRID_COLUMNS, PANELS, main, render

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
UNITS = {"ops", "s", "short", "percentunit"}


@pytest.fixture(scope="module")
def dashboard() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return document


def test_the_file_is_what_the_code_says() -> None:
    assert FILE.read_text(encoding="utf-8") == render(), "run python -m xapp.packaging.grafana --write"
    assert main([]) == 0


def test_a_file_that_is_not_is_said_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(xapp.packaging.grafana, "FILE", tmp_path / "dashboards" / "stackmac.json")
    assert main([]) == 1
    assert "--write" in capsys.readouterr().out
    assert (main(["--write"]), main([])) == (0, 0)


def test_it_can_be_imported_anywhere(dashboard: dict[str, Any]) -> None:
    """No id, which belongs to one Grafana, and no data source but the variable's."""
    assert "id" not in dashboard and dashboard["uid"] == "stackmac" and dashboard["title"]
    assert dashboard["schemaVersion"] >= 36 and isinstance(dashboard["version"], int)
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    assert (variables["datasource"]["type"], variables["datasource"]["query"]) == ("datasource", "prometheus")
    assert variables["instance"]["datasource"] == DATASOURCE
    for panel in dashboard["panels"]:
        assert panel["datasource"] == DATASOURCE
        assert all(target["datasource"] == DATASOURCE for target in panel["targets"])


def test_panels_have_what_grafana_draws(dashboard: dict[str, Any]) -> None:
    panels = dashboard["panels"]
    assert len(panels) == len(PANELS) == len({panel["id"] for panel in panels}) == len({p["title"] for p in panels})
    for panel in panels:
        assert panel["type"] in ("stat", "timeseries")
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS and panel["fieldConfig"]["overrides"] == []
        assert panel["options"] and panel["targets"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


def test_panels_lie_beside_each_other(dashboard: dict[str, Any]) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] >= 0 and place["x"] + place["w"] <= GRID_COLUMNS
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells


def test_queries_are_promql_and_look_at_the_chosen_instances(dashboard: dict[str, Any]) -> None:
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            expr = target["expr"]
            promql_parser.parse(expr.replace("$__rate_interval", "1m"))
            assert expr.count("stackmac_") == expr.count('instance=~"$instance"') > 0, expr
            assert expr.count("rate(") == expr.count("[$__rate_interval]")

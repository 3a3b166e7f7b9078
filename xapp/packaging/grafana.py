"""The Grafana dashboard of the xApp's metrics, out of the code: `python -m xapp.packaging.grafana [--write]`.

The chart hands every file of its folder `dashboards` to Grafana; elsewhere the file is imported by hand.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

FILE = Path(__file__).parents[2] / "helm" / "stackmac" / "dashboards" / "stackmac.json"
SCHEMA_VERSION = 39
"""Grafana's, of the dashboard model: 10.4 and later read it as it is, later ones migrate it."""
GRID_COLUMNS = 24
_DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
_HERE = 'instance=~"$instance"'
_RATE = "[$__rate_interval]"
QUANTILES = (0.5, 0.95, 0.99)


class Query(NamedTuple):
    """PromQL and what its series are called."""

    expr: str
    legend: str


class Panel(NamedTuple):
    """One panel; `width` of 24 columns."""

    title: str
    description: str
    queries: tuple[Query, ...]
    unit: str = "ops"
    kind: str = "timeseries"
    width: int = 12
    height: int = 8
    stacked: bool = False


def _rate(metric: str, matchers: str = "", by: str = "") -> str:
    where = ", ".join(filter(None, (_HERE, matchers)))
    return f"sum{f' by ({by}) ' if by else ''}(rate({metric}{{{where}}}{_RATE}))"


def _events(*events: str) -> tuple[Query, ...]:
    return tuple(Query(_rate(f"stackmac_{event}_total"), event.replace("_", " ")) for event in events)


def _state(name: str, legend: str = "") -> Query:
    return Query(f"sum(stackmac_{name}{{{_HERE}}})", legend or name.replace("_", " "))


def _quantiles(histogram: str) -> tuple[Query, ...]:
    buckets = _rate(f"{histogram}_bucket", by="le")
    return tuple(Query(f"histogram_quantile({q:g}, {buckets})", f"p{100 * q:g}") for q in QUANTILES)


def _stat(title: str, description: str, *queries: Query, unit: str = "short") -> Panel:
    return Panel(title, description, queries, unit, "stat", 3, 4)


_ALL = _rate("stackmac_decisions_total")
PANELS: tuple[Panel, ...] = (
    _stat("Decisions", "Cells decided a second.", Query(_ALL, "decisions"), unit="ops"),
    _stat(
        "Decided as meant",
        "Share of the decisions that are the leader's own, not a fallback's.",
        Query(_rate("stackmac_decisions_total", 'decided_by!~"fallback:.*"') + f" / {_ALL}", "share"),
        unit="percentunit",
    ),
    _stat("E2 nodes", "Connected nodes.", _state("nodes_connected")),
    _stat(
        "Subscriptions",
        "Active, of those wanted.",
        _state("subscriptions_active", "active"),
        _state("subscriptions_wanted", "wanted"),
    ),
    _stat("In control", "Instances that control: 1, unless all wait or stand by.", _state("in_control")),
    _stat("Alarms", "Raised and not cleared.", _state("alarms_active")),
    _stat("Shared data", "1 = the shared data layer answers.", _state("sdl_healthy", "SDL")),
    _stat(
        "Loop p99",
        "Report frame received to control handed to RMR.",
        _quantiles("stackmac_loop_seconds")[-1],
        unit="s",
    ),
    Panel(
        "Decisions by who made them",
        "`model`, a scheduler's name, or `fallback:` and why the leader was not heard.",
        (Query(_rate("stackmac_decisions_total", by="decided_by"), "{{decided_by}}"),),
        stacked=True,
    ),
    Panel(
        "Fallbacks and missed deadlines",
        "Why the classical schedule was sent; answers of the leader that came after their deadline.",
        (
            Query(
                _rate("stackmac_decisions_total", 'decided_by=~"fallback:.*"', "decided_by"),
                "{{decided_by}}",
            ),
            *_events("late_answers", "leader_errors", "guard_changes"),
        ),
    ),
    Panel(
        "Controls",
        "Sent to nodes, and what came back.",
        _events("controls_sent", "controls_acked", "controls_failed", "controls_unanswered"),
    ),
    Panel(
        "Releases",
        "Cells given back to their nodes; because reports stopped: stale.",
        _events("releases_sent", "releases_acked", "releases_failed", "stale_releases"),
    ),
    Panel(
        "Quotas",
        "UEs of nodes without DCM function that may be under a quota; quotas that wait for their turn.",
        tuple(_state(n) for n in ("ues_limited", "quotas_waiting")),
        unit="short",
    ),
    Panel(
        "Loop latency",
        "From the frame that opens a report period to its control handed to RMR.",
        _quantiles("stackmac_loop_seconds"),
        unit="s",
    ),
    Panel(
        "Decision time",
        "From a cell's state to its decision: mostly the model.",
        _quantiles("stackmac_decision_seconds"),
        unit="s",
    ),
    Panel(
        "Reports",
        "Indications in; undecodable ones; reports that a newer one replaced before they were decided.",
        _events("indications_received", "decode_errors", "superseded_reports"),
    ),
    Panel(
        "Dropped",
        "What could not be used, by reason; docs/troubleshooting.md says what to do about it.",
        (Query(_rate("stackmac_dropped_total", by="reason"), "{{reason}}"),),
    ),
    Panel(
        "Nodes, subscriptions, shared data",
        "",
        tuple(_state(n) for n in ("nodes_connected", "subscriptions_active", "subscriptions_wanted", "sdl_healthy")),
        unit="short",
    ),
    Panel(
        "Policies",
        "A1 requests by how they were answered.",
        _events("a1_ok", "a1_error", "a1_deleted", "a1_queries_sent"),
    ),
    Panel(
        "Policies in force",
        "Not enforced: the reasons are in GET /ric/v1/policies.",
        tuple(_state(n) for n in ("policies", "policies_not_enforced")),
        unit="short",
    ),
)


def make_dashboard() -> dict[str, Any]:
    """The document that Grafana imports."""
    return {
        "uid": "stackmac",
        "title": "stackmac",
        "description": "The loop of the stackmac xApp: reports in, decisions, controls out.",
        "tags": ["o-ran", "xapp"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "",
        "annotations": {"list": []},
        "links": [],
        "templating": {"list": _variables()},
        "panels": _laid_out(PANELS),
    }


def _variables() -> list[dict[str, Any]]:
    return [
        {"name": "datasource", "type": "datasource", "label": "Data source", "query": "prometheus"},
        {
            "name": "instance",
            "type": "query",
            "label": "Instance",
            "datasource": _DATASOURCE,
            "query": {"qryType": 1, "query": "label_values(stackmac_in_control, instance)", "refId": "instances"},
            "definition": "label_values(stackmac_in_control, instance)",
            "refresh": 2,
            "multi": True,
            "includeAll": True,
            "current": {"text": ["All"], "value": ["$__all"]},
        },
    ]


def _laid_out(panels: Sequence[Panel]) -> list[dict[str, Any]]:
    """Lay panels out from left to right, row after row."""
    x = y = row_height = 0
    documents = []
    for number, panel in enumerate(panels, 1):
        if x + panel.width > GRID_COLUMNS:
            x, y, row_height = 0, y + row_height, 0
        documents.append(_panel(panel, number, {"h": panel.height, "w": panel.width, "x": x, "y": y}))
        x, row_height = x + panel.width, max(row_height, panel.height)
    return documents


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0}
    options: dict[str, Any] = {
        "legend": {"displayMode": "table", "placement": "right", "calcs": ["mean", "max"], "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    if panel.kind == "stat":
        options = {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "colorMode": "value"}
    else:
        defaults["custom"] = {
            "fillOpacity": 20 if panel.stacked else 0,
            "stacking": {"mode": "normal" if panel.stacked else "none"},
            "showPoints": "never",
        }
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "gridPos": place,
        "datasource": _DATASOURCE,
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": _DATASOURCE,
                "editorMode": "code",
                "expr": query.expr,
                "legendFormat": query.legend,
                "range": True,
            }
            for index, query in enumerate(panel.queries)
        ],
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
    }


def render() -> str:
    """The text of the file."""
    return json.dumps(make_dashboard(), indent=2, ensure_ascii=False) + "\n"


def main(args: list[str]) -> int:
    """`--write` writes the file; without it the exit status says whether it is up to date."""
    if FILE.exists() and FILE.read_text(encoding="utf-8") == render():
        return 0
    if "--write" not in args:
        print(f"{FILE} is not what the code says: run python -m xapp.packaging.grafana --write")
        return 1
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(render(), encoding="utf-8")
    print(f"wrote {FILE}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

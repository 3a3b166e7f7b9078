"""What a running xApp says of itself, asked over HTTP: metrics as documented, symptom data, status."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from waiting import PATIENCE_S

from policy.schedulers.schedulers import SCHEDULERS
from xapp.config.model import parse_controls
from xapp.monitoring.metrics import COUNTERS, GAUGES
from xapp.run.app import App

DOCUMENT = Path(__file__).parents[3] / "docs" / "metrics.md"
ROW = re.compile(r"\| `(stackmac_[a-z0-9_]+)(\{([a-z_]+)\})?` \| (counter|gauge|histogram) \| (.+) \|")


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    """Of a real xApp without a platform, which has a password in one of its URLs."""
    loopback = {"bind_host": "127.0.0.1", "port": 0}
    nowhere = {"submgr_url": "http://me:secret@127.0.0.1:9", "e2mgr_url": "http://127.0.0.1:9", "appmgr_url": ""}
    controls = parse_controls({"rmr": loopback, "http": loopback, "ric": nowhere})
    app = App(controls, SCHEDULERS["proportional_fair"], log_lines=lambda: ["first line", "last line"])
    app.start()
    with httpx.Client(
        base_url=f"http://127.0.0.1:{app.server.port}/ric/v1", trust_env=False, timeout=PATIENCE_S
    ) as client:
        yield client
    app.stop()


def test_every_metric_is_documented_and_every_documented_metric_is_there(http: httpx.Client) -> None:
    families = list(text_string_to_metric_families(http.get("/metrics").text))
    served = {family.name + "_total" * (family.type == "counter"): family for family in families}
    rows = [ROW.match(line) for line in DOCUMENT.read_text(encoding="utf-8").splitlines()]
    documented = {row[1]: row for row in rows if row is not None}
    created = {name for name in served if name.endswith("_created")}
    assert set(documented) == set(served) - created
    for name, row in documented.items():
        assert served[name].type == row[4], name
        labels = {label for sample in served[name].samples for label in sample.labels} - {"le"}
        assert labels <= {row[3]}, name


def test_what_the_document_says_is_what_the_code_says() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    for name, what in COUNTERS.items():
        assert f"| `stackmac_{name}_total` | counter | {what} |" in text
    for name, what in GAUGES.items():
        assert f"| `stackmac_{name}` | gauge | {what} |" in text


def test_all_that_the_installation_page_looks_at_is_in_the_status_from_the_start(http: httpx.Client) -> None:
    page = (DOCUMENT.parent / "install.md").read_text(encoding="utf-8")
    (rows,) = re.findall(r"\| in the status \| means \|\n\|---\|---\|\n((?:\|.*\n)+)", page)
    names = [name for row in rows.splitlines() for name in re.findall(r"`([a-z_.]+)`", row.split("|")[1])]
    assert len(names) >= 10
    status = http.get("/status").json()
    for name in names:
        found = status
        for part in name.split("."):
            assert part in found, name
            found = found[part]
    assert status["rmr"]["route_tables"] == 0, "nobody brought one"


def test_symptom_data_hold_everything_and_no_secret(http: httpx.Client) -> None:
    answer = http.get("/symptomdata")
    assert answer.headers["content-type"] == "application/zip"
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    files = {name: archive.read(name).decode() for name in archive.namelist()}
    assert not [name for name in files if name.endswith("failed.txt")]
    assert set(files) >= {
        "status.json",
        "configuration.json",
        "decisions.json",
        "subscriptions.json",
        "nodes.json",
        "metrics.txt",
        "log.txt",
        "versions.json",
    }
    assert files["log.txt"] == "first line\nlast line"
    assert json.loads(files["status.json"])["subscriptions"] == {}
    configuration: Any = json.loads(files["configuration.json"])
    assert configuration["controls"]["ric"]["submgr_url"] == "http://***@127.0.0.1:9"
    assert "secret" not in "".join(files.values())


def test_status_names_what_an_operator_asks_first(http: httpx.Client) -> None:
    status = http.get("/status").json()
    assert status["instance"]["role"] == "control"
    assert status["alarms"] == []
    assert status["configuration"]["error"] == ""

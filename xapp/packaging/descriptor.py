"""The xApp descriptor and the schema of its `controls`, both out of the code: `python -m xapp.packaging.descriptor
[--write]`.

The platform's onboarder takes the two files of descriptors/. It puts the schema in the place of `properties.controls`
of its own (draft-07), so the schema may refer to nothing. Our own chart carries the same descriptor, and the schema as
part of its values' schema.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from xapp.a1.json_schema import DRAFT, inlined
from xapp.a1.policy_model import POLICY_TYPE_ID, make_policy_type
from xapp.a1.standard_types import type_names
from xapp.config.model import CONFIG_IN_POD, NAME, A1Config, Controls, HttpConfig, RmrConfig, controls_schema
from xapp.ric.alarms import alarm_definitions
from xapp.rmr.transport import (
    A1_POLICY_QUERY,
    A1_POLICY_REQUEST,
    A1_POLICY_RESPONSE,
    HEALTH_REQUEST,
    HEALTH_RESPONSE,
    RIC_CONTROL_ACK,
    RIC_CONTROL_FAILURE,
    RIC_CONTROL_REQUEST,
    RIC_INDICATION,
)

FOLDER = Path(__file__).parents[2] / "descriptors"
DESCRIPTOR_FILE = "config-file.json"
SCHEMA_FILE = "schema.json"
POLICY_TYPE_FILE = "a1-policy-type.json"
ALARMS_FILE = "alarm-definitions.json"
"""What the platform's alarm manager is to be told."""
CHART = FOLDER.parent / "helm" / NAME
VALUES_SCHEMA_FILE = "values.schema.json"

ROUTE_MANAGER_PORT = 4561
MAX_RMR_BYTES = 131_072
"""The largest indication that the platform passes on."""
ALARM_MANAGER = {
    "ALARM_MGR_SERVICE_NAME": "service-ricplt-alarmmanager-rmr.ricplt",
    "ALARM_MGR_SERVICE_PORT": "4560",
}
"""Where OSC's charts put it: no route manager makes a route for alarms."""
ALIVE = "/ric/v1/health/alive"
MODEL_LOADED_S = 60
"""HTTP answers once the model is loaded: seconds, on a busy node most of a minute."""
PROBE_TIMEOUT_S = 5
"""Kubernetes' own single second is missed when a decision has the only core."""

MESSAGE_NUMBERS: dict[str, int] = {
    "RIC_HEALTH_CHECK_REQ": HEALTH_REQUEST,
    "RIC_HEALTH_CHECK_RESP": HEALTH_RESPONSE,
    "RIC_CONTROL_REQ": RIC_CONTROL_REQUEST,
    "RIC_CONTROL_ACK": RIC_CONTROL_ACK,
    "RIC_CONTROL_FAILURE": RIC_CONTROL_FAILURE,
    "RIC_INDICATION": RIC_INDICATION,
    "A1_POLICY_REQ": A1_POLICY_REQUEST,
    "A1_POLICY_RESP": A1_POLICY_RESPONSE,
    "A1_POLICY_QUERY": A1_POLICY_QUERY,
}
"""The platform's names for what this xApp sends and receives. Route tables themselves (20 to 22) are never routed."""
MESSAGES: dict[str, list[Any]] = {
    "txMessages": ["RIC_CONTROL_REQ", "RIC_HEALTH_CHECK_RESP", "A1_POLICY_RESP", "A1_POLICY_QUERY"],
    "rxMessages": ["RIC_INDICATION", "RIC_CONTROL_ACK", "RIC_CONTROL_FAILURE", "RIC_HEALTH_CHECK_REQ", "A1_POLICY_REQ"],
    "policies": [POLICY_TYPE_ID, *type_names(A1Config())],
}
MESSAGING = ("messaging", "rmr")
"""Sections that routes are made of; a descriptor without either gets the built-in ones."""


def make_descriptor() -> dict[str, Any]:
    """The descriptor; its controls are the defaults of the configuration."""
    http_port, rmr_port = HttpConfig().port, RmrConfig().port
    return {
        "name": NAME,
        "version": version(NAME),
        "containers": [
            {
                "name": NAME,
                "image": {"registry": "registry.example.org", "name": NAME, "tag": version(NAME)},
                "command": [NAME],
                "args": ["run", "--config", CONFIG_IN_POD],
            }
        ],
        "messaging": {
            "ports": [
                {"name": "http", "container": NAME, "port": http_port, "description": "health, config, metrics"},
                {"name": "rmrdata", "container": NAME, "port": rmr_port, "description": "E2 messages", **MESSAGES},
                {"name": "rmrroute", "container": NAME, "port": ROUTE_MANAGER_PORT, "description": "route tables"},
            ]
        },
        # An older platform reads this instead of messaging.ports; where both are there it wins.
        "rmr": {"protPort": f"tcp:{rmr_port}", "maxSize": MAX_RMR_BYTES, "numWorkers": 1, **MESSAGES},
        "livenessProbe": _probe(ALIVE, http_port, initial_delay_s=MODEL_LOADED_S, period_s=15),
        # Not health/ready: that wants routes, and the route manager reaches a pod through a service of the generated
        # chart, which leads to ready pods only. Each would wait for the other.
        "readinessProbe": _probe(ALIVE, http_port, initial_delay_s=5, period_s=10),
        # What the platform's own libraries read and the generated chart does not set.
        "appenv": {"CONFIG_FILE": CONFIG_IN_POD, **ALARM_MANAGER},
        # A null in a chart's values deletes its key: what is not set is left out.
        "controls": Controls().model_dump(mode="json", exclude_none=True),
    }


def completed(document: dict[str, Any]) -> dict[str, Any]:
    """A descriptor as the platform wants to have it: with the sections that routes are made of."""
    if any(section in document for section in MESSAGING):
        return document
    built_in = make_descriptor()
    return {**document, **{section: built_in[section] for section in MESSAGING}}


def _probe(path: str, port: int, *, initial_delay_s: int, period_s: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": port},
        "initialDelaySeconds": initial_delay_s,
        "periodSeconds": period_s,
        "timeoutSeconds": PROBE_TIMEOUT_S,
    }


def make_schema() -> dict[str, Any]:
    """JSON schema (draft-07) of the `controls` section, without references."""
    return {"$schema": DRAFT, **inlined(controls_schema())}


def make_values_schema(written: dict[str, Any]) -> dict[str, Any]:
    """JSON schema of the chart's values: `written` by hand, but for `controls`."""
    controls = {key: value for key, value in make_schema().items() if key != "$schema"}
    return {**written, "properties": {**written["properties"], "controls": controls}}


def render(document: dict[str, Any]) -> str:
    """The text of a file."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def files() -> dict[Path, str]:
    """What descriptors/ and the chart must hold."""
    values_schema = CHART / VALUES_SCHEMA_FILE
    return {
        FOLDER / DESCRIPTOR_FILE: render(make_descriptor()),
        FOLDER / SCHEMA_FILE: render(make_schema()),
        FOLDER / POLICY_TYPE_FILE: render(make_policy_type()),
        FOLDER / ALARMS_FILE: render(alarm_definitions()),
        CHART / "files" / DESCRIPTOR_FILE: render(make_descriptor()),
        values_schema: render(make_values_schema(json.loads(values_schema.read_text(encoding="utf-8")))),
    }


def main(args: list[str]) -> int:
    """`--write` writes the files; without it the exit status says whether they are up to date."""
    stale = [path for path, text in files().items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if "--write" not in args:
        for path in stale:
            print(f"{path} is not what the code says: run python -m xapp.packaging.descriptor --write")
        return 1 if stale else 0
    for path in stale:
        path.parent.mkdir(exist_ok=True)
        path.write_text(files()[path], encoding="utf-8")
        print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

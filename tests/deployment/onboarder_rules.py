"""What the platform's onboarder asks of a descriptor and its schema, and what would silently break in its chart.

The onboarder checks a descriptor against its own JSON schema, writes it into a chart's values, makes each value a
template expression, and runs `helm lint`. So there are rules that it states, and rules that follow from how it works.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from jsonschema import Draft7Validator
from jsonschema.exceptions import SchemaError

DNS_LABEL = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")
SEMVER = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(-(0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*)(\.(0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*))*)?(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?"
)
OCTET = r"(25[0-5]|2[0-4]\d|1?\d?\d)"
REGISTRY = re.compile(rf"([A-Za-z0-9.-]+\.[A-Za-z]+|({OCTET}\.){{3}}{OCTET})(:\d+)?")
"""A host with a dot, or an IPv4 address; `localhost:5000` is neither."""
ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
MAX_NAME = 63 - len("service-ricxapp--http")
"""A longer name is cut off in the services' names, which must be what the platform derives from it."""
PORT_NAMES = ("http", "rmrdata", "rmrroute")
MESSAGES = ("txMessages", "rxMessages", "policies")
MESSAGE_NUMBERS = {
    "RIC_HEALTH_CHECK_REQ": 100,
    "RIC_HEALTH_CHECK_RESP": 101,
    "RIC_ALARM": 110,
    "RIC_ALARM_QUERY": 111,
    "RIC_CONTROL_REQ": 12040,
    "RIC_CONTROL_ACK": 12041,
    "RIC_CONTROL_FAILURE": 12042,
    "RIC_INDICATION": 12050,
    "A1_POLICY_REQ": 20010,
    "A1_POLICY_RESP": 20011,
    "A1_POLICY_QUERY": 20012,
}
"""Names that the route manager turns into numbers; one that it does not know becomes a route record without a type."""
YAML_BOOLEANS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "~"})


def problems(descriptor: dict[str, Any], schema: dict[str, Any]) -> list[str]:
    """Everything that is wrong, a line each; empty = it can be onboarded."""
    return [
        *_identity(descriptor),
        *_containers(descriptor),
        *(line for name in ("livenessProbe", "readinessProbe") for line in _probe(name, descriptor.get(name))),
        *_messaging(descriptor),
        *_rmr(descriptor),
        *_environment(descriptor),
        *_controls(descriptor, schema),
        *_survives_yaml_and_templates(descriptor, schema),
    ]


def _identity(descriptor: dict[str, Any]) -> Iterator[str]:
    name, version = descriptor.get("name"), descriptor.get("version")
    if not isinstance(name, str) or not DNS_LABEL.fullmatch(name) or len(name) > MAX_NAME:
        yield f"name {name!r}: expected a DNS label of at most {MAX_NAME} characters"
    if not isinstance(version, str) or not SEMVER.fullmatch(version):
        yield f"version {version!r}: expected a semantic version"


def _containers(descriptor: dict[str, Any]) -> Iterator[str]:
    containers = descriptor.get("containers")
    if not isinstance(containers, list) or not containers:
        yield "containers: expected at least one"
        return
    for container in containers:
        image = container.get("image", {})
        if not DNS_LABEL.fullmatch(str(container.get("name"))):
            yield f"container name {container.get('name')!r}: expected a DNS label"
        if not REGISTRY.fullmatch(str(image.get("registry"))):
            yield f"image registry {image.get('registry')!r}: expected a host with a dot or an IPv4 address"
        yield from (f"image {key}: expected text" for key in ("name", "tag") if not isinstance(image.get(key), str))
        for key in ("command", "args"):
            words = container.get(key, [])
            if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
                yield f"{key} {words!r}: expected a list of words"
            elif words and words.index(words[-1]) < len(words) - 1:
                # The chart puts a comma after each word that differs from the last one.
                yield f"{key} {words!r}: the last word must not occur before"


def _probe(name: str, probe: Any) -> Iterator[str]:
    if probe is None:
        return  # optional
    kinds = {"httpGet", "exec"} & set(probe)
    if len(kinds) != 1:
        yield f"{name}: expected exactly one of httpGet and exec, has {sorted(kinds)}"
    for key in {"initialDelaySeconds", "periodSeconds", *probe} - {"httpGet", "exec"}:
        if type(probe.get(key)) is not int:
            yield f"{name}.{key} {probe.get(key)!r}: expected an integer"
    if "httpGet" in probe:
        if type(probe["httpGet"].get("port")) is not int:
            yield f"{name}.httpGet.port {probe['httpGet'].get('port')!r}: expected an integer"
        if not str(probe["httpGet"].get("path")).startswith("/"):
            yield f"{name}.httpGet.path {probe['httpGet'].get('path')!r}: expected a path"
    if "exec" in probe and len(probe["exec"].get("command", [])) != 1:
        yield f"{name}.exec.command: expected one word (several come out as one)"


def _messaging(descriptor: dict[str, Any]) -> Iterator[str]:
    ports = descriptor.get("messaging", {}).get("ports")
    if not ports:
        yield "messaging.ports: expected (without it the chart cannot be rendered)"
        return
    names = [port.get("name") for port in ports]
    if sorted(names) != sorted(PORT_NAMES):
        yield f"messaging.ports are called {names}: expected {list(PORT_NAMES)}"
    containers = {container.get("name") for container in descriptor.get("containers") or ()}
    for port in ports:
        name = port.get("name")
        if port.get("container") not in containers:
            yield f"port {name}: no container {port.get('container')!r}"
        if type(port.get("port")) is not int:
            yield f"port {name}: {port.get('port')!r} is not an integer"
        if len(set(MESSAGES) & set(port)) not in (0, len(MESSAGES)):
            yield f"port {name}: expected all of {MESSAGES} or none"
        yield from _messages(f"port {name}", port)
        if name == "rmrdata" and not (port.get("txMessages") and port.get("rxMessages")):
            yield "port rmrdata: without messages the route manager makes no routes"


def _messages(where: str, section: dict[str, Any]) -> Iterator[str]:
    for key in ("txMessages", "rxMessages"):
        for message in section.get(key, ()):
            if message not in MESSAGE_NUMBERS:
                yield f"{where}: {key} has {message!r}, which the route manager does not know"
    for policy in section.get("policies", ()):
        if type(policy) is not int:
            yield f"{where}: policy type {policy!r} is not an integer"


def _rmr(descriptor: dict[str, Any]) -> Iterator[str]:
    """The older section wins over messaging.ports where both are there."""
    rmr = descriptor.get("rmr")
    data = [port for port in descriptor.get("messaging", {}).get("ports", ()) if port.get("name") == "rmrdata"]
    if rmr is None or not data:
        yield "rmr: expected beside messaging.ports, for platforms that read only that"
        return
    if rmr.get("protPort") != f"tcp:{data[0].get('port')}":
        yield f"rmr.protPort {rmr.get('protPort')!r}: expected tcp: and the port of rmrdata"
    for key in ("maxSize", "numWorkers"):
        if type(rmr.get(key)) is not int:
            yield f"rmr.{key} {rmr.get(key)!r}: expected an integer"
    yield from (f"rmr.{key} differs from messaging.ports" for key in MESSAGES if rmr.get(key) != data[0].get(key))


def _environment(descriptor: dict[str, Any]) -> Iterator[str]:
    for name, value in descriptor.get("appenv", {}).items():
        if not isinstance(value, str):
            yield f"appenv.{name} {value!r}: expected text"
        if not ENVIRONMENT_NAME.fullmatch(name):
            yield f"appenv.{name}: no name for an environment variable"
    if not isinstance(descriptor.get("metrics", {}), dict):
        yield "metrics: expected an object"


def _controls(descriptor: dict[str, Any], schema: dict[str, Any]) -> Iterator[str]:
    try:
        Draft7Validator.check_schema(schema)
    except SchemaError as error:
        yield f"schema: {error.message}"
        return
    if "draft-07" not in str(schema.get("$schema")):
        yield "schema: expected draft-07"
    references = [value["$ref"] for value in walk(schema) if isinstance(value, dict) and "$ref" in value]
    if references:  # it becomes a part of another schema
        yield f"schema refers to {references}: expected no references"
        return
    controls = descriptor.get("controls")
    if not controls or not isinstance(controls, dict):
        yield "controls: expected (an empty section fails every schema)"
        return
    if "fileStorage" in controls:
        yield "controls.fileStorage: the chart would mount a folder of the host"
    for error in Draft7Validator(schema).iter_errors(controls):
        yield f"controls{''.join(f'.{part}' for part in error.path)}: {error.message}"


def _survives_yaml_and_templates(descriptor: dict[str, Any], schema: dict[str, Any]) -> Iterator[str]:
    for value in walk(descriptor):
        if value is None:
            yield "null: in a chart's values it deletes its key"
        for key in value if isinstance(value, dict) else ():
            if key.lower() in YAML_BOOLEANS:
                yield f"key {key!r}: YAML reads it as something else"
            if re.search(r'["\\{}]', key):
                yield f"key {key!r}: not inside a template"
    yield from (f"{{{{ in {value!r}" for value in walk(schema) if isinstance(value, str) and "{{" in value)


def walk(value: Any) -> Iterator[Any]:
    """`value` and everything in it; keys too where they could matter are the caller's business."""
    yield value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for each in inner:
        yield from walk(each)

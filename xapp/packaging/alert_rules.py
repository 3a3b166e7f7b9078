"""Prometheus alert rules, one for each alarm that the xApp raises: `python -m xapp.packaging.alert_rules [--write]`.

The chart puts them into a PrometheusRule. The alarms themselves decide what lasts long enough; a rule only waits for
two scrapes to agree, and for an instance that stands by nobody is woken.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from xapp.config.model import NAME
from xapp.ric.alarms import Problem

FILE = Path(__file__).parents[2] / "helm" / NAME / "files" / "alert-rules.json"
SELECTOR = "$SELECTOR"
"""The chart puts its release's labels here."""
AGREE = "30s"
SEVERITIES = {"CRITICAL": "critical", "MAJOR": "critical", "MINOR": "warning", "WARNING": "warning"}
"""The alarm manager's words, and those that Prometheus' routes usually go by."""


def make_rules() -> list[dict[str, Any]]:
    """The rules of a PrometheusRule's group."""
    return [_away(), *(_of(problem) for problem in Problem)]


def _of(problem: Problem) -> dict[str, Any]:
    selector = f'{SELECTOR},problem="{problem.name.lower()}"'
    name = "".join(part.capitalize() for part in problem.name.split("_"))
    return {
        "alert": f"Stackmac{name}",
        "expr": f"max by (namespace, service, problem) (stackmac_alarm{{{selector}}}) > 0",
        "for": AGREE,
        "labels": {"severity": SEVERITIES[problem.severity], "alarm": str(problem.number)},
        "annotations": {"summary": problem.text.capitalize(), "description": problem.what_to_do},
    }


def _away() -> dict[str, Any]:
    return {
        "alert": "StackmacAway",
        "expr": f"absent(stackmac_in_control{{{SELECTOR}}})",
        "for": "2m",
        "labels": {"severity": "critical"},
        "annotations": {
            "summary": "Stackmac answers no scrape",
            "description": "See the pod; meanwhile every node's own scheduler serves its cells",
        },
    }


def render() -> str:
    """The text of the file."""
    return json.dumps(make_rules(), indent=2, ensure_ascii=False) + "\n"


def main(args: list[str]) -> int:
    """`--write` writes the file; without it the exit status says whether it is up to date."""
    is_current = FILE.exists() and FILE.read_text(encoding="utf-8") == render()
    if "--write" not in args:
        if not is_current:
            print(f"{FILE} is not what the code says: run python -m xapp.packaging.alert_rules --write")
        return 0 if is_current else 1
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(render(), encoding="utf-8")
    print(f"wrote {FILE}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

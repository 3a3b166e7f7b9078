"""What an experiment found, and the files it leaves: NAME.csv, NAME.png, NAME.svg, NAME.md and NAME.json in OUT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from training.experiments.budget import Budget
from training.experiments.figure import Figure, draw
from training.experiments.table import Table
from training.simulator.scenario import Scenario


class Report(NamedTuple):
    """Numbers, their picture, and what they mean."""

    table: Table
    figure: Figure
    definitions: str
    """What the words of the paragraph mean: printed with it."""
    paragraph: str
    sample: str
    """n: cells, world seeds, training seeds, slots; and what the intervals are over."""
    scenarios: Sequence[Scenario]
    findings: Mapping[str, Any] = {}
    """The headline as numbers."""


class Written(NamedTuple):
    csv: Path
    png: Path
    svg: Path
    markdown: Path
    json: Path


def write(name: str, summary: str, report: Report, out: Path, budget: Budget, command: str) -> Written:
    """All but NAME.json, which training.experiments.kept writes."""
    out.mkdir(parents=True, exist_ok=True)
    files = Written(*(out / f"{name}.{ending}" for ending in ("csv", "png", "svg", "md", "json")))
    files.csv.write_text(report.table.as_csv(), encoding="utf-8")
    draw(report.figure, files.png, files.svg)
    files.markdown.write_text(markdown(name, summary, report, budget, command), encoding="utf-8")
    return files


def markdown(name: str, summary: str, report: Report, budget: Budget, command: str) -> str:
    """The paragraph, and all that is needed to check it."""
    hashes = ", ".join(f"{s.name} `{s.hash}`" for s in report.scenarios)
    return (
        "\n\n".join(
            (
                f"# {name}: {summary}",
                f"*{budget.mark}.* {report.paragraph}",
                f"**Definitions.** {report.definitions}",
                f"**Sample.** {report.sample} Intervals are 95 %, Student's t.",
                f"**Scenarios.** {hashes or 'a world of its own, none of the scenarios'}",
                f"**Command.** `{command}`",
                f"![{name}]({name}.png)",
                f"Columns of [{name}.csv]({name}.csv):\n\n{report.table.legend()}",
            )
        )
        + "\n"
    )

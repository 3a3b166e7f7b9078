"""An experiment's results as one file that is kept, and everything else made of it again, byte for byte.

NAME.json holds what every part of the study came to (each metric of each player by world and training), beside what was
concluded. `remake` runs the experiment once more with these results instead of playing: intervals, table, paragraph and
figure are worked out anew, so that whoever doubts an interval, or changes how a figure is drawn, plays nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from training.command_line.result_file import NUMBERS, as_plain
from training.experiments.budget import Budget
from training.experiments.registry import EXPERIMENTS
from training.experiments.report import Report, Written, write
from training.experiments.study import Asked, Options, Part, Results, Study, StudyError

DEPTH = 1
"""Characters that each level of the file is set in."""

DIGITS = 9
"""Of a finding. The last of a double differ from processor to processor: of logarithms, least squares."""


class KeptStudy(Study):
    """A study that plays nothing: it is given the results that another was given, in their order."""

    def __init__(self, out: Path, budget: Budget, options: Options, asked: Sequence[Asked]) -> None:
        super().__init__(out, budget, options)
        self._kept = iter(asked)

    def _run(self, parts: Sequence[Part], jobs: int) -> list[Results]:
        found = []
        for part in parts:
            kept = next(self._kept, None)
            if kept is None or kept.label != part.label:
                theirs = "nothing more" if kept is None else repr(kept.label)
                raise StudyError(f"the file has {theirs} where {part.label!r} is asked for: another version made it")
            self.asked.append(kept)
            found.append(kept.result)
        return found


def write_all(name: str, report: Report, study: Study, command: str, out: Path) -> Written:
    """The five files of an experiment: NAME.csv, .png, .svg, .md and .json in `out`."""
    files = write(name, EXPERIMENTS[name].summary, report, out, study.budget, command)
    files.json.write_text(as_text(document_of(name, report, study, command)), encoding="utf-8")
    return files


def document_of(name: str, report: Report, study: Study, command: str) -> dict[str, Any]:
    """Everything that is kept."""
    # What was played once may have been asked for under several labels, such as a warm start that trainings share.
    parts = {(one.key, one.label): one for one in study.asked}
    order = {named: k for k, named in enumerate(parts)}
    return {
        "experiment": name,
        "budget": asdict(study.budget),
        "options": study.options._asdict(),
        "command": command,
        "scenarios": {s.name: {"hash": s.hash, **asdict(s)} for s in report.scenarios},
        "sample": report.sample,
        "paragraph": report.paragraph,
        "findings": _rounded(as_plain(report.findings)),
        "rows": as_plain(report.table.rows),
        "parts": [one._asdict() for one in parts.values()],
        "asked": [order[one.key, one.label] for one in study.asked],
    }


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def as_text(document: dict[str, Any]) -> str:
    """JSON, numbers of a list on one line."""
    text = json.dumps(document, indent=DEPTH)
    return NUMBERS.sub(lambda found: "[" + " ".join(found[1].split()) + "]", text) + "\n"


def remake(file: Path, out: Path) -> Written:
    """The five files anew from NAME.json; the same bytes where nothing but the machine has changed.

    Raises StudyError for what is no such file, or was made by a version that asked for other parts.
    """
    try:
        kept = json.loads(file.read_bytes())
        name, command = kept["experiment"], kept["command"]
        budget, options = Budget(**kept["budget"]), Options(**{k: _frozen(v) for k, v in kept["options"].items()})
        parts = [Asked(**part) for part in kept["parts"]]
        asked = [parts[k] for k in kept["asked"]]
        run = EXPERIMENTS[name].run
    except OSError as error:
        raise StudyError(f"{file}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise StudyError(f"{file}: no results of `stackmac experiment` ({type(error).__name__}: {error})") from error
    study = KeptStudy(out, budget, options, asked)
    return write_all(name, run(study), study, command, out)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value

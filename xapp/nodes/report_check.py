"""What a cell's KPM reports lack, as far as they show it. Asked for on demand, never in the decision path."""

from __future__ import annotations

from xapp.control.measurement_pace import pace_text
from xapp.control.receiver import CellLink
from xapp.control_kinds.control_kind import Problem
from xapp.e2.ue_id.ue_id import ue_name
from xapp.e2.ue_id.ue_key import own_number

MAX_NAMED = 5
"""Of UEs that cannot be told apart, so many are named and the rest counted."""


def report_problems(link: CellLink) -> list[Problem]:
    """Return the problems of a cell's newest report."""
    tracker = link.tracker
    problems = []
    if tracker.reports_per_measurement > 1:
        text = f"{tracker.cell}: {pace_text(tracker.reports_per_measurement)}"
        problems.append(Problem("measurements_repeat", text))
    if twins := tracker.twins:
        named = [f"{count} named {name}" for count, name in _names(link)[:MAX_NAMED]]
        more = f" and {len(twins) - MAX_NAMED} more" if len(twins) > MAX_NAMED else ""
        text = f"{tracker.cell}: {sum(twins.values())} UEs cannot be told apart: {', '.join(named)}{more}"
        problems.append(Problem("ue_twins", f"{text}; they are never limited"))
    return problems


def _names(link: CellLink) -> list[tuple[int, str]]:
    """How many UEs share each id, and the id in words."""
    twins, report, has_dcm = link.tracker.twins, link.tracker.kpm, link.tracker.has_dcm
    keys = report.ue_keys if report is not None else ()
    row_of = {own_number(key) if has_dcm else key: row for row, key in enumerate(keys)}
    names = []
    for key, count in twins.items():
        ue_id = report.ue_id(row_of[key]) if report is not None and key in row_of else None
        names.append((count, ue_name(ue_id) if ue_id is not None else str(own_number(key))))
    return names
